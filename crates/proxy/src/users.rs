//! Who may log in: the configured roles, and those that a query on the cluster finds.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use auth::Secret;
use config::{AuthQuery, AuthSettings};
use health::Health;
use session::{Lookup, Unavailable, Users};
use tokio::time::Instant;

/// Answers are remembered for this many roles at most.
const REMEMBERED_MAX: usize = 10_000;

/// After a failed login the role is looked up again at most this often.
const FRESH_AT_MOST_EVERY: Duration = Duration::from_secs(1);

/// See the module.
pub(crate) struct KnownUsers {
    settings: ArcSwap<AuthSettings>,
    health: Option<Arc<Health>>,
    found: Mutex<HashMap<Box<str>, Found>>,
}

#[derive(Clone)]
struct Found {
    at: Instant,
    secret: Option<Arc<Secret>>,
}

impl KnownUsers {
    /// Looks roles up on the cluster that `health` watches.
    pub(crate) fn new(settings: AuthSettings, health: Option<Arc<Health>>) -> Self {
        Self { settings: ArcSwap::from_pointee(settings), health, found: Mutex::default() }
    }

    /// Goes on under these settings; what was found under others is looked up again.
    pub(crate) fn replace(&self, settings: AuthSettings) {
        let changed = self.settings.load().query != settings.query;
        self.settings.store(Arc::new(settings));
        if changed {
            self.found.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }

    /// The configured roles, by name.
    pub(crate) fn names(&self) -> Vec<Box<str>> {
        let mut names: Vec<_> = self.settings.load().users.keys().map(|name| Box::from(&**name)).collect();
        names.sort();
        names
    }

    async fn look_up(
        &self,
        user: &str,
        query: &AuthQuery,
        fresh: bool,
    ) -> Result<Option<Arc<Secret>>, Unavailable> {
        let remembered = self.found.lock().unwrap_or_else(PoisonError::into_inner).get(user).cloned();
        let now = Instant::now();
        if let Some(found) = &remembered {
            let good_for = if fresh { FRESH_AT_MOST_EVERY } else { query.cache };
            if now.duration_since(found.at) < good_for {
                return Ok(found.secret.clone());
            }
        }
        let Some(health) = self.health.as_ref() else { return Ok(None) };
        let rows = health.query(&query.database, &query.sql, &[Some(user)]).await;
        let secret = match rows {
            Ok(rows) => secret_in(user, &rows),
            Err(error) => {
                if query.optional {
                    tracing::debug!(
                        error = &error as &dyn std::error::Error,
                        "a role could not be looked up"
                    );
                } else {
                    tracing::warn!(error = &error as &dyn std::error::Error, "a role could not be looked up");
                }
                // during an outage what was known goes on to serve
                return match remembered {
                    Some(found) => Ok(found.secret),
                    None if query.optional => Ok(None),
                    None => Err(Unavailable),
                };
            }
        };
        if let (Some(secret), Some(Found { secret: Some(previous), .. })) = (&secret, &remembered) {
            secret.adopt(previous);
        }
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if found.len() >= REMEMBERED_MAX {
            found.clear();
        }
        found.insert(user.into(), Found { at: now, secret: secret.clone() });
        Ok(secret)
    }
}

/// The secret in the row of `user`: its name, then its password as in `pg_authid`.
fn secret_in(user: &str, rows: &[conn::Row]) -> Option<Arc<Secret>> {
    let row = rows.iter().find(|row| matches!(row.first(), Some(Some(name)) if name == user))?;
    let text = row.get(1)?.as_deref()?;
    match Secret::parse(text) {
        Ok(secret) => Some(Arc::new(secret)),
        Err(error) => {
            tracing::warn!(%error, "a role's stored password cannot be used");
            None
        }
    }
}

impl Users for KnownUsers {
    fn secret<'a>(&'a self, user: &'a str, fresh: bool) -> Lookup<'a> {
        Box::pin(async move {
            let settings = self.settings.load_full();
            if let Some(secret) = settings.users.get(user) {
                return Ok(Some(Arc::clone(secret)));
            }
            match &settings.query {
                Some(query) => self.look_up(user, query, fresh).await,
                None => Ok(None),
            }
        })
    }
}
