//! Databases as clients name them.

use super::{cap, check_pool, pool_settings, timeouts};
use crate::{
    nearest::nearest,
    raw::{Database, DatabaseEntry, Pool, WholeCluster},
    section::Context,
};

/// Names that lead to the console.
const CONSOLE: [&str; 2] = ["pgherd", "pgbouncer"];

/// Builds all databases. `pools` is `[pool]`, whose mistakes are reported already.
pub(super) fn build(
    entries: &[DatabaseEntry],
    pools: &Pool,
    clusters: &[WholeCluster],
    context: &mut Context<'_>,
) -> Vec<session::DatabaseSettings> {
    let mut databases = Vec::new();
    for (position, DatabaseEntry { keys, pool }) in entries.iter().enumerate() {
        let name = &keys.name.value.0;
        let earlier = || entries[..position].iter().map(|entry| entry.keys.name.value.0.as_str());
        if CONSOLE.contains(&name.as_str()) {
            context.mistakes.push(keys.name.mistake(format!("{name:?} is the console's name")));
        } else if earlier().any(|other| other == name) {
            context.mistakes.push(keys.name.mistake(format!("{name:?} is listed twice")));
        } else if earlier().any(|other| other == "*") {
            context
                .mistakes
                .push(keys.name.mistake(format!("{name:?} is never reached, put it before \"*\"")));
        }
        let sizes = |pool: &Pool| (pool.min_size.value, pool.size.value);
        if sizes(pool) != sizes(pools) {
            check_pool(pool, context);
        }
        databases.push(session::DatabaseSettings {
            name: name.clone(),
            server_name: keys.server_name.value.clone().map(|name| name.0),
            cluster: cluster(keys, clusters, context),
            policy: keys.policy.value.map(|policy| policy.0),
            pool: pool_settings(pool),
            timeouts: timeouts(pool),
            max_server_connections: cap(&keys.max_server_connections),
        });
    }
    databases
}

/// The index of the database's cluster; 0 together with a mistake.
fn cluster(keys: &Database, clusters: &[WholeCluster], context: &mut Context<'_>) -> usize {
    let names = || clusters.iter().map(|cluster| cluster.keys.name.value.0.as_str());
    let Some(wanted) = keys.cluster.value.as_ref().map(|name| name.0.as_str()) else {
        if clusters.len() > 1 {
            context.mistakes.push(keys.cluster.mistake("there are several clusters, which one is meant?"));
        }
        return 0;
    };
    names().position(|name| name == wanted).unwrap_or_else(|| {
        let mut mistake = keys.cluster.mistake(format!("there is no cluster {wanted:?}"));
        mistake.suggestion = nearest(wanted, names()).map(str::to_owned);
        context.mistakes.push(mistake);
        0
    })
}
