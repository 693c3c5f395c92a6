//! Clusters that tests use one after the other, since it takes longer to make one than to put one in order.

use std::{
    fs,
    ops::Deref,
    sync::{Arc, Mutex, PoisonError},
};

use lab::Cluster;

use super::beside;

/// Clusters that nobody uses at the moment. Their wardens end them with the process.
static IDLE: Mutex<Vec<Arc<Cluster>>> = Mutex::new(Vec::new());

/// A primary, node 0, and a standby that streams from it. Their agents have to be gone when this is dropped, and so has
/// what their superuser would not expect: all else, such as who is the primary, is put in order for the next test.
#[derive(Debug)]
pub(super) struct Lent {
    cluster: Arc<Cluster>,
    is_spoilt: bool,
}

impl Lent {
    /// One that is idle, or else a new one.
    pub(super) fn take() -> Self {
        let idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let cluster = match idle {
            Some(cluster) => {
                put_in_order(&cluster);
                cluster
            }
            None => beside::cluster(1),
        };
        Self { cluster, is_spoilt: false }
    }

    /// Nobody can use it any more.
    pub(super) fn spoil(&mut self) {
        self.is_spoilt = true;
    }
}

impl Deref for Lent {
    type Target = Arc<Cluster>;

    fn deref(&self) -> &Arc<Cluster> {
        &self.cluster
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if !self.is_spoilt && !std::thread::panicking() {
            IDLE.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&self.cluster));
        }
    }
}

/// Makes it what [`Lent`] promises.
fn put_in_order(cluster: &Cluster) {
    for entry in fs::read_dir(cluster.directory()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy();
        // what agents leave beside the data
        let is_left = |node: &lab::Node| {
            name.strip_prefix(node.name()).is_some_and(|end| end.starts_with('.') && end != ".log")
        };
        if cluster.nodes().iter().any(is_left) {
            if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) }.unwrap();
        }
    }
    if cluster.primary().is_err() {
        cluster.start_node(0).unwrap();
    }
    let primary = cluster.primary().unwrap();
    cluster.rejoin(1 - primary).unwrap();
    if primary != 0 {
        cluster.switchover(0).unwrap();
    }
    cluster.psql(0, "drop table if exists t").unwrap();
    cluster.wait_for_all().unwrap();
}
