//! What is known of the functions of each database, for the classification of statements.

mod code;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use conn::Row;
use sql::{Functions as _, PinCauses};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use wire::SqlState;

use crate::lookup::{LookupError, Lookups};

/// Time between loads of one database's functions.
const REFRESH_AFTER: Duration = Duration::from_secs(60);

/// Time after a load that failed.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Time after one that found no node to ask, as when the proxy has just started.
const NO_NODE_RETRY_AFTER: Duration = Duration::from_millis(250);

/// Databases whose functions are known; further ones keep to the built-in lists.
const DATABASES_LIMIT: usize = 256;

/// Requests to load that may wait.
pub(crate) const WANTED_LIMIT: usize = 64;

/// Every function by schema and name, and whether one of that name may write. An aggregate may if a function that it is
/// made of may: its own volatility is always "immutable". Procedures cannot be called in a query.
const SQL: &str = "\
    SELECT n.nspname, p.proname, bool_or(p.provolatile = 'v' OR EXISTS (\
        SELECT FROM pg_aggregate a JOIN pg_proc f \
        ON f.oid IN (a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn) \
        WHERE a.aggfnoid = p.oid AND f.provolatile = 'v')) \
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace \
    WHERE p.prokind <> 'p' \
    GROUP BY n.nspname, p.proname";

/// The functions of one database. Harmless are those of which no overload is volatile; whatever is volatile and
/// harmless all the same is in the built-in lists of `sql`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct FunctionCatalog {
    /// By name alone, over all schemas.
    bare: HashMap<Box<[u8]>, Standing>,
    /// The harmless ones by schema.
    harmless: HashMap<Box<[u8]>, HashSet<Box<[u8]>>>,
    /// What those leave behind in the session that leave something, by name, with their schemas.
    left: HashMap<Box<[u8]>, Vec<Leaving>>,
}

/// A function's schema, and what it leaves behind.
type Leaving = (Box<[u8]>, PinCauses);

/// What an unqualified name may mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    /// Nothing that may write.
    Harmless,
    /// A volatile function of `pg_catalog`.
    VolatileBuiltIn,
    /// A volatile function of another schema.
    Volatile,
}

impl FunctionCatalog {
    /// From rows of schema, name, and `t` if one of the functions is volatile, which it is as well if it leaves something
    /// behind. Rows of another shape are passed over.
    fn of_rows(rows: &[Row], left: HashMap<code::Name, PinCauses>) -> Self {
        let mut catalog = Self::default();
        for ((schema, name), causes) in left {
            catalog.left.entry(name).or_default().push((schema, causes));
        }
        catalog.left.values_mut().for_each(|functions| functions.sort_unstable_by(|a, b| a.0.cmp(&b.0)));
        for row in rows {
            let [Some(schema), Some(name), Some(volatile)] = row.as_slice() else { continue };
            let leaves = catalog.leaves_behind(Some(schema.as_bytes()), name.as_bytes()).is_some();
            let standing = match (volatile == "t" || leaves, schema == "pg_catalog") {
                (false, _) => Standing::Harmless,
                (true, true) => Standing::VolatileBuiltIn,
                (true, false) => Standing::Volatile,
            };
            let known = catalog.bare.entry(name.as_bytes().into()).or_insert(standing);
            *known = standing.max(*known);
            if standing == Standing::Harmless {
                catalog.harmless.entry(schema.as_bytes().into()).or_default().insert(name.as_bytes().into());
            }
        }
        catalog
    }
}

impl sql::Functions for FunctionCatalog {
    fn is_harmless(&self, schema: Option<&[u8]>, name: &[u8]) -> bool {
        match schema {
            None => self.bare.get(name) == Some(&Standing::Harmless),
            Some(schema) => self.harmless.get(schema).is_some_and(|names| names.contains(name)),
        }
    }

    fn shadows(&self, schema: Option<&[u8]>, name: &[u8]) -> bool {
        schema.is_none() && self.bare.get(name) == Some(&Standing::Volatile)
    }

    fn leaves_behind(&self, schema: Option<&[u8]>, name: &[u8]) -> Option<PinCauses> {
        let of_name = self.left.get(name)?.iter();
        let meant = of_name.filter(|(of, _)| schema.is_none_or(|schema| **of == *schema));
        meant.map(|(_, causes)| *causes).reduce(PinCauses::and)
    }
}

/// A catalog and a version that grows with each change of it.
pub(crate) type Versioned = (u64, Arc<FunctionCatalog>);

/// A database to be loaded, and why.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// Nothing is known of it. It is asked for again and again until there is, so only the first one counts.
    Unknown(Box<str>),
    /// What is known may be outdated.
    Refresh(Box<str>),
}

/// What is known by now, by database.
#[derive(Debug)]
pub(crate) struct Catalogs {
    known: ArcSwap<HashMap<Box<str>, Versioned>>,
    versions: AtomicU64,
    wanted: mpsc::Sender<Want>,
    nothing: Arc<FunctionCatalog>,
}

impl Catalogs {
    pub(crate) fn new(wanted: mpsc::Sender<Want>) -> Self {
        Self { known: ArcSwap::default(), versions: AtomicU64::default(), wanted, nothing: Arc::default() }
    }

    /// What is known of a database; version 0, and nothing, until its first load has ended. Never waits.
    pub(crate) fn functions(&self, database: &str) -> Versioned {
        self.known.load().get(database).cloned().unwrap_or_else(|| {
            let _ = self.wanted.try_send(Want::Unknown(database.into()));
            (0, Arc::clone(&self.nothing))
        })
    }

    /// Whether a database was loaded, or will not be: see [`DATABASES_LIMIT`]. Never waits.
    pub(crate) fn is_known(&self, database: &str) -> bool {
        self.functions(database).0 > 0 || self.known.load().len() >= DATABASES_LIMIT
    }

    /// A database cannot be loaded: what is known of it, if only nothing, is all there is for now.
    fn give_up(&self, database: &str) {
        if !self.known.load().contains_key(database) {
            self.publish(database, FunctionCatalog::default());
        }
    }

    /// Has a database loaded soon. If too many wait already, it has to be asked for again.
    pub(crate) fn refresh(&self, database: &str) {
        let _ = self.wanted.try_send(Want::Refresh(database.into()));
    }

    fn publish(&self, database: &str, catalog: FunctionCatalog) {
        let known = self.known.load();
        if known.get(database).is_some_and(|(_, old)| **old == catalog) {
            return;
        }
        // no database has a version twice, not even one that was forgotten meanwhile
        let version = self.versions.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let mut next = HashMap::clone(&known);
        next.insert(database.into(), (version, Arc::new(catalog)));
        self.known.store(Arc::new(next));
    }

    /// There is no such database.
    fn forget(&self, database: &str) {
        let mut next = HashMap::clone(&self.known.load());
        next.remove(database);
        self.known.store(Arc::new(next));
    }
}

/// What is due for a database at its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// It is loaded again.
    Load,
    /// It did not exist, and makes room for others: names that are made up are not looked for for ever.
    Forget,
}

/// Loads what is wanted, and again every minute. Runs until nobody can want anything any more.
pub(crate) async fn load_all(
    catalogs: std::sync::Weak<Catalogs>,
    lookups: Arc<Lookups>,
    mut wanted: mpsc::Receiver<Want>,
) {
    let mut schedule: BTreeMap<Box<str>, (Instant, Then)> = BTreeMap::new();
    loop {
        let due = schedule.iter().min_by_key(|(_, (at, _))| *at).map(|(name, (at, _))| (name.clone(), *at));
        let database = tokio::select! {
            wanted = wanted.recv() => match wanted {
                Some(Want::Unknown(database)) if schedule.contains_key(&database) => continue,
                Some(Want::Refresh(database)) if schedule.contains_key(&database) => database,
                Some(Want::Unknown(database) | Want::Refresh(database)) if schedule.len() < DATABASES_LIMIT => database,
                Some(_) => continue,
                None => return,
            },
            database = turn(due) => {
                if let Some((_, Then::Forget)) = schedule.get(&database) {
                    let Some(catalogs) = catalogs.upgrade() else { return };
                    catalogs.forget(&database);
                    schedule.remove(&database);
                    continue;
                }
                database
            }
        };
        let loaded = load(&lookups, &database).await;
        let Some(catalogs) = catalogs.upgrade() else { return };
        let (after, then) = match loaded {
            Ok(catalog) => {
                catalogs.publish(&database, catalog);
                (REFRESH_AFTER, Then::Load)
            }
            Err(LookupError::NoNode) => (NO_NODE_RETRY_AFTER, Then::Load),
            Err(error) => {
                let is_gone = error.sqlstate() == Some(SqlState::INVALID_CATALOG_NAME);
                let then = if is_gone { Then::Forget } else { Then::Load };
                let error: &dyn std::error::Error = &error;
                tracing::debug!(%database, error, "the functions could not be read");
                catalogs.give_up(&database);
                (RETRY_AFTER, then)
            }
        };
        schedule.insert(database, (Instant::now() + after, then));
    }
}

async fn turn(due: Option<(Box<str>, Instant)>) -> Box<str> {
    match due {
        Some((database, at)) => {
            sleep_until(at).await;
            database
        }
        None => std::future::pending().await,
    }
}

async fn load(lookups: &Lookups, database: &str) -> Result<FunctionCatalog, LookupError> {
    let left = code::load(lookups, database).await?;
    Ok(FunctionCatalog::of_rows(&lookups.query(database, SQL, &[]).await?, left))
}

#[cfg(test)]
mod tests {
    use sql::PinCause;

    use super::*;

    fn catalog(rows: &[(&str, &str, &str)]) -> FunctionCatalog {
        let row = |(schema, name, volatile): &(&str, &str, &str)| -> Row {
            [schema, name, volatile].map(|value| Some((*value).to_owned())).to_vec()
        };
        let left = rows.iter().filter(|(_, name, _)| name.starts_with("leave")).map(|(schema, name, _)| {
            let key = (schema.as_bytes().into(), name.as_bytes().into());
            (key, PinCauses::of(PinCause::Settings))
        });
        FunctionCatalog::of_rows(&rows.iter().map(row).collect::<Vec<_>>(), left.collect())
    }

    #[test]
    fn a_function_is_harmless_if_no_overload_that_the_call_may_mean_is_volatile() {
        let catalog = catalog(&[
            ("public", "total", "f"),
            ("public", "audit", "t"),
            ("shop", "price", "f"),
            ("old", "price", "t"),
            ("pg_catalog", "new_builtin", "t"),
        ]);
        assert!(catalog.is_harmless(None, b"total"));
        assert!(catalog.is_harmless(Some(b"public"), b"total"));
        assert!(!catalog.is_harmless(Some(b"shop"), b"total"));
        assert!(!catalog.is_harmless(None, b"audit"));
        assert!(!catalog.is_harmless(None, b"price"), "search_path decides which one is meant");
        assert!(catalog.is_harmless(Some(b"shop"), b"price"));
        assert!(!catalog.is_harmless(Some(b"old"), b"price"));
        assert!(!catalog.is_harmless(None, b"new_builtin"));
        assert!(!catalog.is_harmless(None, b"unheard_of"));
    }

    #[test]
    fn only_volatile_functions_outside_pg_catalog_shadow_built_in_ones() {
        let catalog = catalog(&[
            ("pg_catalog", "format", "f"),
            ("public", "format", "t"),
            ("pg_catalog", "lower", "f"),
            ("public", "lower", "f"),
            ("pg_catalog", "random", "t"),
        ]);
        let shadows = |name: &[u8]| catalog.shadows(None, name);
        assert!(shadows(b"format") && !catalog.shadows(Some(b"pg_catalog"), b"format"));
        assert!(!shadows(b"lower") && !shadows(b"random") && !shadows(b"x"));
    }

    #[test]
    fn a_function_that_leaves_something_behind_is_not_harmless_whatever_it_is_declared() {
        let catalog = catalog(&[("public", "leave", "f"), ("shop", "leave", "f"), ("public", "x", "f")]);
        assert!(!catalog.is_harmless(None, b"leave") && catalog.shadows(None, b"leave"));
        let settings = Some(PinCauses::of(PinCause::Settings));
        assert_eq!(catalog.leaves_behind(None, b"leave"), settings);
        assert_eq!(catalog.leaves_behind(Some(b"shop"), b"leave"), settings);
        assert_eq!(catalog.leaves_behind(Some(b"other"), b"leave"), None);
        assert_eq!(catalog.leaves_behind(None, b"x"), None);
    }

    #[test]
    fn the_version_grows_only_with_a_change() {
        let (wanted, mut waiting) = mpsc::channel(1);
        let catalogs = Catalogs::new(wanted);
        assert_eq!(catalogs.functions("shop").0, 0);
        assert_eq!(waiting.try_recv(), Ok(Want::Unknown("shop".into())));
        catalogs.publish("shop", catalog(&[("public", "a", "f")]));
        let first = catalogs.functions("shop");
        catalogs.publish("shop", catalog(&[("public", "a", "f")]));
        let same = catalogs.functions("shop");
        assert_eq!((first.0, same.0), (1, 1));
        assert!(Arc::ptr_eq(&first.1, &same.1));
        catalogs.publish("shop", catalog(&[("public", "a", "t")]));
        assert_eq!(catalogs.functions("shop").0, 2);
        assert!(waiting.try_recv().is_err(), "what is known is not asked for again");
        assert!(!catalogs.is_known("closed"));
        catalogs.give_up("closed");
        catalogs.give_up("shop");
        assert!(catalogs.is_known("closed") && catalogs.functions("shop").0 == 2);
        catalogs.forget("shop");
        assert!(!catalogs.is_known("shop"));
        catalogs.publish("shop", catalog(&[("public", "a", "f")]));
        assert!(catalogs.functions("shop").0 > 2, "it may be another one of that name");
    }
}
