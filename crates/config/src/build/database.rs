//! Databases as clients name them.

use std::collections::BTreeSet;

use super::{cap, check_pool, pool_settings, timeouts};
use crate::{
    nearest::nearest,
    raw::{Database, DatabaseEntry, DatabaseUser, Pool, UserPool, WholeCluster},
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
    for (position, DatabaseEntry { keys, pool, users, user_pools }) in entries.iter().enumerate() {
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
            users: database_users(pool, users, user_pools, context).into(),
        });
    }
    databases
}

/// What holds for single roles in a database whose pools are as `pools` else; `*` comes last.
fn database_users(
    pools: &Pool,
    entries: &[DatabaseUser],
    user_pools: &[UserPool],
    context: &mut Context<'_>,
) -> Vec<session::DatabaseUserSettings> {
    for (position, entry) in entries.iter().enumerate() {
        let name = &entry.name.value.0;
        if entries[..position].iter().any(|earlier| earlier.name.value.0 == *name) {
            context.mistakes.push(entry.name.mistake(format!("{name:?} is listed twice")));
        }
    }
    let sizes = |pool: &Pool| (pool.min_size.value, pool.size.value);
    for user in user_pools.iter().filter(|user| sizes(&user.pool) != sizes(pools)) {
        check_pool(&user.pool, context);
    }
    let named = entries.iter().map(|entry| entry.name.value.0.as_str());
    let named: BTreeSet<&str> = named.chain(user_pools.iter().map(|user| user.name.as_str())).collect();
    let mut users = Vec::new();
    for name in named {
        let pool = user_pools.iter().find(|user| user.name == name);
        let pool = pool.or_else(|| user_pools.iter().find(|user| user.name == "*"));
        let pool = pool.map_or(pools, |user| &user.pool);
        let entry = entries.iter().find(|entry| entry.name.value.0 == name);
        let entry = entry.or_else(|| entries.iter().find(|entry| entry.name.value.0 == "*"));
        users.push(session::DatabaseUserSettings {
            name: name.to_owned(),
            pool: pool_settings(pool),
            timeouts: timeouts(pool),
            max_server_connections: entry.and_then(|entry| cap(&entry.max_server_connections)),
        });
    }
    users.sort_by_key(|user| user.name == "*");
    users
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
