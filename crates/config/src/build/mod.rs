//! From sections that are right by themselves to settings that are right together.

mod access;
mod cluster;
mod database;
mod hands;
mod patroni;
mod user;

use std::{collections::BTreeMap, path::Path, path::PathBuf, sync::Arc, time::Duration};

use conn::{ListenAddress, ProxyPeers};

use crate::{
    file::{self, Content},
    mistake::{Mistake, Origin},
    nearest::nearest,
    raw::{Document, Listen, Pool, Proxy, Routing, Session, Tls},
    section::{Context, Field},
    settings::{FunctionLists, ListenSettings, LogSettings, ProxySettings, Settings},
    tree::Table,
    value::{Count, FunctionName, Label, List, TlsMode},
};

impl Context<'_> {
    /// A path of the configuration, which is relative to its file.
    fn path(&self, path: &Path) -> PathBuf {
        self.base.join(path)
    }

    /// Checks that a file is there for whoever reads it later.
    pub(crate) fn check_file(&mut self, field: &Field<Option<PathBuf>>, content: Content) -> Option<PathBuf> {
        let path = self.path(field.value.as_ref()?);
        if let Err(error) = file::check(&path, content) {
            self.mistakes.push(field.mistake(format_args!("{}: {error}", path.display())));
        }
        Some(path)
    }

    /// A warning for a configuration that everybody may read and that has secrets in it.
    pub(crate) fn warn_of_public_secrets(&mut self, file: &Arc<str>, table: &Table) {
        if access::has_inline_secret(table, file) {
            self.warnings.push(Mistake {
                origin: Origin::Whole(file.clone()),
                key: String::new(),
                problem: "there are secrets in it and everybody may read it; chmod o-rwx it, or use { file = \"…\" }"
                    .to_owned(),
                suggestion: None,
            });
        }
    }
}

/// Checks what belongs together. `None` only together with a mistake in `context`.
pub(crate) fn settings(document: &Document, context: &mut Context<'_>) -> Option<Settings> {
    let mut secrets = BTreeMap::new();
    let client_tls = client_tls(&document.tls, context);
    let (auth, admin) = access::build(document, &mut secrets, context);
    let state_dir = document.proxy.state_dir.value.as_ref().map(|path| context.path(path));
    let clusters = cluster::build(
        &document.clusters,
        state_dir.as_deref(),
        document.session.drain_timeout.value.0,
        &mut secrets,
        context,
    );
    let databases = database::build(&document.databases, &document.pool, &document.clusters, context);
    check_pool(&document.pool, context);
    let users = user::build(&document.users, context);
    let listeners = listeners(&document.listen, context);
    let function_lists = function_lists(&document.routing, context);
    warn_of_lonely_region(document, context);
    let takeover_socket = document.proxy.takeover_socket.value.as_ref().map(|path| context.path(path));
    let Proxy { name, region, zone, workers, max_server_connections, .. } = &document.proxy;
    Some(Settings {
        proxy: ProxySettings {
            name: name.value.0.clone(),
            region: region.value.0.clone(),
            zone: zone.value.clone().map(|zone| zone.0),
            workers: workers.value,
            state_dir,
            takeover_socket,
            max_server_connections: cap(max_server_connections),
        },
        log: LogSettings { format: document.log.format.value.0, level: document.log.level.value.0.clone() },
        listeners,
        health_listener: document.health.listen.value.clone(),
        client_tls: client_tls?,
        auth,
        admin,
        session: session_settings(&document.session),
        routing: routing_settings(&document.routing, &document.proxy),
        function_lists,
        clusters,
        databases,
        users,
        warnings: Vec::new(),
        rows: Vec::new(),
        loaded: Arc::default(),
        secrets,
    })
}

fn client_tls(tls: &Tls, context: &mut Context<'_>) -> Option<conn::ClientTls> {
    let certificate = context.check_file(&tls.certificate, Content::Public);
    let key = context.check_file(&tls.key, Content::Secret);
    let mode = tls.mode.value.0;
    if mode == TlsMode::Off {
        return Some(conn::ClientTls::Off);
    }
    let both = certificate.zip(key);
    if both.is_none() {
        context.mistakes.push(tls.mode.mistake("needs both tls.certificate and tls.key"));
    }
    let (certificate, key) = both?;
    let certificate = conn::Certificate { certificate, key };
    Some(match mode {
        TlsMode::Off => conn::ClientTls::Off,
        TlsMode::Allow => conn::ClientTls::Allow(certificate),
        TlsMode::Require => conn::ClientTls::Require(certificate),
    })
}

fn listeners(listen: &[Listen], context: &mut Context<'_>) -> Vec<ListenSettings> {
    if listen.is_empty() && context.mistakes.is_empty() {
        context.mistakes.push(Mistake {
            origin: context.source.clone(),
            key: "listen".to_owned(),
            problem: "listen is empty: nobody could connect".to_owned(),
            suggestion: None,
        });
    }
    for (position, later) in listen.iter().enumerate() {
        let taken = listen[..position].iter().any(|earlier| earlier.address.value == later.address.value);
        let any_free = matches!(later.address.value, ListenAddress::Tcp(address) if address.port() == 0);
        if taken && !any_free {
            let problem = format!("{} is listed twice", later.address.value);
            context.mistakes.push(later.address.mistake(problem));
        }
        if matches!(later.address.value, ListenAddress::Unix(_)) && !later.proxy_protocol.value.0.is_empty() {
            let problem = "the peers of a Unix socket have no addresses";
            context.mistakes.push(later.proxy_protocol.mistake(problem));
        }
    }
    listen
        .iter()
        .map(|one| ListenSettings {
            address: one.address.value.clone(),
            policy: one.policy.value.0,
            socket_mode: one.socket_mode.value.0,
            proxy_protocol: ProxyPeers(one.proxy_protocol.value.0.clone()),
        })
        .collect()
}

fn function_lists(routing: &Routing, context: &mut Context<'_>) -> FunctionLists {
    let names =
        |list: &Field<List<FunctionName>>| list.value.0.iter().map(|name| name.0.clone()).collect::<Vec<_>>();
    let lists = FunctionLists {
        primary: names(&routing.primary_functions),
        replica: names(&routing.replica_functions),
    };
    for name in lists.replica.iter().filter(|name| lists.primary.contains(name)) {
        let problem = format!("{name:?} is in primary_functions too");
        context.mistakes.push(routing.replica_functions.mistake(problem));
    }
    lists
}

/// A region without a node is allowed (reads go to the nearest by round trip), but often a slip.
fn warn_of_lonely_region(document: &Document, context: &mut Context<'_>) {
    let region: &Field<Label> = &document.proxy.region;
    let regions = || {
        document.clusters.iter().flat_map(|cluster| &cluster.nodes).map(|node| node.region.value.0.as_str())
    };
    if region.written && !regions().any(|other| other == region.value.0) {
        let mut warning = region.mistake(format!("no node stands in {:?}", region.value.0));
        warning.suggestion = nearest(&region.value.0, regions()).map(str::to_owned);
        context.warnings.push(warning);
    }
}

fn session_settings(session: &Session) -> session::Settings {
    session::Settings {
        max_clients: session.max_clients.value.0,
        login_timeout: session.login_timeout.value.0,
        max_hold: session.max_hold.value.0,
        max_held: session.max_held.value.0,
        // their type bounds them to a gibibyte
        input_limit: u32::try_from(session.input_limit.value.0).unwrap_or(u32::MAX),
        notification_limit: u32::try_from(session.notification_limit.value.0).unwrap_or(u32::MAX),
        max_statements: session.max_statements.value.0,
        max_statement_bytes: u32::try_from(session.max_statement_bytes.value.0).unwrap_or(u32::MAX),
        drain_timeout: session.drain_timeout.value.0,
        shutdown_delay: session.shutdown_delay.value.0,
        takeover_timeout: limit(session.takeover_timeout.value.0),
        shutdown_timeout: session.shutdown_timeout.value.0,
    }
}

fn routing_settings(routing: &Routing, proxy: &Proxy) -> routing::Settings {
    routing::Settings {
        region: proxy.region.value.0.clone(),
        zone: proxy.zone.value.clone().map(|zone| zone.0),
        max_lag_bytes: routing.max_lag_bytes.value.0,
        max_lag: routing.max_lag.value.0,
        max_sample_age: routing.max_sample_age.value.0,
        read_your_writes: routing.read_your_writes.value.0,
        read_only_fallback: routing.read_only_fallback.value.0,
    }
}

/// A bound that is off at zero.
fn cap<const MAX: u32>(field: &Field<Count<0, MAX>>) -> Option<u32> {
    (field.value.0 > 0).then_some(field.value.0)
}

fn check_pool(pool: &Pool, context: &mut Context<'_>) {
    let Pool { size, min_size, .. } = pool;
    if min_size.value.0 > size.value.0 {
        let mut mistake = min_size
            .mistake(format_args!("{} is more than {} = {}", min_size.value.0, size.key, size.value.0));
        if !min_size.written {
            mistake.origin = size.origin.clone();
        }
        context.mistakes.push(mistake);
    }
}

/// A time that is off at zero.
fn limit(time: Duration) -> Option<Duration> {
    (!time.is_zero()).then_some(time)
}

fn timeouts(pool: &Pool) -> session::Timeouts {
    session::Timeouts {
        query: limit(pool.query_timeout.value.0),
        idle_transaction: limit(pool.idle_transaction_timeout.value.0),
        client_idle: limit(pool.client_idle_timeout.value.0),
    }
}

fn pool_settings(pool: &Pool) -> pool::Settings {
    pool::Settings {
        mode: pool.mode.value.0,
        size: pool.size.value.0,
        min_size: pool.min_size.value.0,
        reserve_size: pool.reserve_size.value.0,
        reserve_timeout: pool.reserve_timeout.value.0,
        wait_timeout: pool.wait_timeout.value.0,
        max_waiting: pool.max_waiting.value.0,
        server_lifetime: pool.server_lifetime.value.0,
        server_idle_timeout: pool.server_idle_timeout.value.0,
        connect_timeout: pool.connect_timeout.value.0,
        session_state: pool.session_state.value.0,
        max_pinned: pool.max_pinned.value.map(|count| count.0),
        max_prepared_statements: pool.max_prepared_statements.value.0,
        commit_resolution: pool.commit_resolution.value.0,
    }
}
