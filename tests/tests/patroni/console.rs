//! Planned moves by pgherd's console, which asks Patroni for them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use e2e::eventually;
use testkit::ConnectionParameters;

use super::{Witness, cluster::Version, has, proxy::By, report_swaps, start};
use crate::load::Load;

/// How long a transaction of the load takes at least.
const TRANSACTION: Duration = Duration::from_millis(20);

/// A client that runs transactions of several statements, one after the other.
struct Transactions {
    stop: Arc<AtomicBool>,
    committed: Arc<AtomicU64>,
    thread: JoinHandle<Vec<String>>,
}

impl Transactions {
    /// Begins; ids are numbers from 0.
    fn start(parameters: ConnectionParameters) -> Self {
        let (stop, committed) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&committed));
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut client = parameters.connect().await.unwrap();
                let mut errors = Vec::new();
                let mut id = 0;
                while !stopped.load(Relaxed) {
                    let statements =
                        ["begin".to_owned(), format!("insert into moves values ({id})"), "commit".to_owned()];
                    let mut failed = false;
                    for statement in &statements {
                        if let Err(error) = client.rows(statement).await {
                            errors.push(error);
                            failed = true;
                        }
                        tokio::time::sleep(TRANSACTION / 3).await;
                    }
                    if !failed {
                        count.fetch_add(1, Relaxed);
                    }
                    id += 1;
                }
                errors
            })
        });
        Self { stop, committed, thread }
    }

    fn wait_for(&self, count: u64) {
        let goal = self.committed.load(Relaxed) + count;
        eventually("transactions commit", Duration::from_secs(60), || {
            (self.committed.load(Relaxed) >= goal).then_some(())
        });
    }

    /// How many committed, and what failed.
    fn stop(self) -> (u64, Vec<String>) {
        self.stop.store(true, Relaxed);
        let errors = self.thread.join().unwrap();
        (self.committed.load(Relaxed), errors)
    }
}

fn planned(version: Version) {
    if !has(version) {
        return;
    }
    let (cluster, followers) = start(version, "");
    let console = followers.iter().find(|follower| follower.by == By::Etcd).unwrap();
    let (from, to) = (cluster.leader().unwrap(), cluster.follower());
    let [from, to] = [from, to].map(|at| cluster.members[at].name.clone());
    let load = Load::of(console.app(), 3, 1);
    let transactions = Transactions::start(console.app());
    transactions.wait_for(10);
    let refused = console.command(&format!("SWITCHOVER TO {from}")).unwrap_err();
    assert!(refused.contains("is the primary already"), "{refused}");

    let witness = Witness::start(&cluster);
    console.command(&format!("SWITCHOVER TO {to}")).unwrap();
    assert_eq!(console.primary().as_deref(), Some(&*to), "it answers when another node is the primary");
    report_swaps(&format!("SWITCHOVER by the console, {version:?}"), &followers, &to, witness);
    transactions.wait_for(10);
    load.wait_for_writes(100);
    let (committed, errors) = transactions.stop();
    let ledger = load.stop();
    let leader = cluster.leader().unwrap();
    let missing = ledger.count_missing_among(&cluster.rows_on(leader));
    ledger.report(&format!("SWITCHOVER by the console under Patroni {version:?}"), missing);
    println!("{committed} transactions of several statements, errors {errors:?}");
    ledger.assert_no_errors();
    assert!(errors.is_empty() && missing == 0, "{errors:?}");
    let kept: u64 =
        cluster.psql_in(leader, "shop", "select count(*) from moves").unwrap().trim().parse().unwrap();
    assert_eq!(kept, committed);

    // The old leader follows, and can be restarted; then Patroni is paused, and goes on.
    cluster.wait("both members run", || console.command(&format!("RESTART NODE {from}")).ok());
    console.command("RESTART NODES").unwrap();
    let refused = console.command("RESTORE TOPOLOGY").unwrap_err();
    assert!(refused.contains("SWITCHOVER TO a node"), "{refused}");
    for (command, paused) in [("MAINTENANCE ON", "t"), ("MAINTENANCE OFF", "f")] {
        console.command(command).unwrap();
        cluster.wait(command, || {
            console.show("PATRONI").iter().all(|row| row[12].as_deref() == Some(paused)).then_some(())
        });
    }
}

#[test]
#[ignore = "needs `scripts/need patroni`; run by make test-patroni"]
fn a_switchover_by_the_console_is_no_error_for_transactions_either() {
    planned(Version::Three);
}

#[test]
#[ignore = "needs `scripts/need patroni`; run by make test-patroni"]
fn a_switchover_of_patroni_4_by_the_console_is_no_error_for_transactions_either() {
    planned(Version::Four);
}
