//! Looks at each node around every proxy, to know when a new primary may first be written to.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use testkit::ConnectionParameters;

use super::cluster::PatroniCluster;

/// Time between two looks at a node.
const PAUSE: Duration = Duration::from_millis(2);

/// Asks standbys, as fast as is bearable, whether they still are.
pub(super) struct Witness {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<BTreeMap<String, u64>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Witness {
    /// Begins to look at all members that are in recovery now.
    pub(super) fn start(cluster: &PatroniCluster) -> Self {
        let (stop, seen) = (Arc::<AtomicBool>::default(), Arc::<Mutex<BTreeMap<String, u64>>>::default());
        let standbys = (0..cluster.members.len()).filter(|at| {
            cluster.psql(*at, "select pg_is_in_recovery()").is_ok_and(|answer| answer.trim() == "t")
        });
        let threads = standbys
            .map(|at| {
                let (parameters, name) = (cluster.directly(at), cluster.members[at].name.clone());
                let (stop, seen) = (Arc::clone(&stop), Arc::clone(&seen));
                thread::spawn(move || look(&parameters, &name, &stop, &seen))
            })
            .collect();
        Self { stop, seen, threads }
    }

    /// When this node was first seen not to be in recovery, in microseconds since midnight (UTC).
    pub(super) fn writable_at(self, name: &str) -> u64 {
        let seen = e2e::eventually("the promotion was witnessed", Duration::from_secs(10), || {
            self.seen.lock().unwrap().get(name).copied()
        });
        self.stop.store(true, Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
        seen
    }
}

fn look(
    parameters: &ConnectionParameters,
    name: &str,
    stop: &AtomicBool,
    seen: &Mutex<BTreeMap<String, u64>>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        while !stop.load(Relaxed) {
            // A node may be restarted under the witness.
            let Ok(mut client) = parameters.connect().await else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            while !stop.load(Relaxed) {
                let Ok(rows) = client.rows("select pg_is_in_recovery()").await else { break };
                if rows[0][0].as_deref() == Some("f") {
                    seen.lock().unwrap().entry(name.to_owned()).or_insert_with(now);
                    return;
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    });
}

#[expect(clippy::disallowed_methods, reason = "compared with the times in a log")]
fn now() -> u64 {
    let today = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() % (86_400 * 1_000_000);
    u64::try_from(today).unwrap()
}
