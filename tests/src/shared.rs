use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU32, Ordering},
};

use lab::{Cluster, Options};

/// A primary and two standbys that all tests of this process share. Its warden ends it with the process.
pub(crate) fn cluster() -> Arc<Cluster> {
    static CLUSTER: OnceLock<Arc<Cluster>> = OnceLock::new();
    Arc::clone(CLUSTER.get_or_init(|| Arc::new(start(2))))
}

/// A new cluster, as [`Setup::own`](crate::Setup::own) has it.
///
/// # Panics
/// When it does not start.
#[must_use]
pub fn start(standbys: usize) -> Cluster {
    let options = Options { standbys, max_connections: 300, ..Options::default() };
    let cluster = Cluster::start(options).expect("a cluster starts");
    cluster
        .psql(0, &format!("grant select on pg_authid to {}", cluster.monitor().user))
        .expect("the superuser may grant");
    cluster
}

/// A number that no other herd of this process has.
pub(crate) fn next_number() -> u32 {
    static NUMBER: AtomicU32 = AtomicU32::new(1);
    NUMBER.fetch_add(1, Ordering::Relaxed)
}
