//! Writers in explicit transactions while their server dies at random moments: each verdict is compared with what is there.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use e2e::{Herd, Setup, eventually};
use lab::Signal;
use testkit::ConnectionParameters;
use tokio::{task::JoinSet, time::Instant};

use super::{
    PATIENCE,
    commits::{Told, WAYS, Way, counted, told},
};

/// Verdicts by id.
type Verdicts = BTreeMap<i64, (Way, Told)>;

/// Writers on a thread of their own, a transaction of one insert after the other.
struct Storm {
    stop: Arc<AtomicBool>,
    committed: Arc<AtomicU64>,
    thread: thread::JoinHandle<Verdicts>,
}

impl Storm {
    fn start(herd: &Herd, writers: usize) -> Self {
        let (stop, committed, next) =
            (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default(), Arc::new(AtomicI64::new(1)));
        let parameters = herd.app();
        let thread = thread::spawn({
            let (stop, committed) = (Arc::clone(&stop), Arc::clone(&committed));
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async move {
                    let mut clients = JoinSet::new();
                    for number in 0..writers {
                        let way = WAYS[number % WAYS.len()];
                        let (stop, committed, next) =
                            (Arc::clone(&stop), Arc::clone(&committed), Arc::clone(&next));
                        clients.spawn(write(parameters.clone(), way, stop, committed, next));
                    }
                    let mut verdicts = Verdicts::new();
                    while let Some(some) = clients.join_next().await {
                        verdicts.extend(some.unwrap());
                    }
                    verdicts
                })
            }
        });
        let storm = Self { stop, committed, thread };
        storm.wait_for_commits(50);
        storm
    }

    fn wait_for_commits(&self, count: u64) {
        let goal = self.committed.load(Relaxed) + count;
        eventually("commits go on", PATIENCE, || {
            assert!(!self.thread.is_finished(), "a client panicked");
            (self.committed.load(Relaxed) >= goal).then_some(())
        });
    }

    fn stop(self) -> Verdicts {
        self.stop.store(true, Relaxed);
        self.thread.join().expect("no client panicked")
    }
}

async fn write(
    parameters: ConnectionParameters,
    way: Way,
    stop: Arc<AtomicBool>,
    committed: Arc<AtomicU64>,
    next: Arc<AtomicI64>,
) -> Verdicts {
    let mut verdicts = Verdicts::new();
    let mut client = parameters.connect().await.unwrap();
    'transactions: while !stop.load(Relaxed) {
        let id = next.fetch_add(1, Relaxed);
        let (before, commit) = way.batches(id);
        for batch in before {
            let answers = client.run(&batch).await;
            assert!(answers.last().is_some_and(|last| last.tag == b'Z'), "{way:?}: {answers:?}");
            if answers.iter().any(|message| message.tag == b'E') {
                client.query("rollback").await;
                verdicts.insert(id, (way, Told::Rolled));
                continue 'transactions;
            }
        }
        client.send(commit.bytes()).await.unwrap();
        let mut answers = Vec::new();
        for _ in 0..way.answers() {
            answers.extend(client.until_ready().await);
        }
        let verdict = told(&answers);
        if verdict == Told::Committed {
            committed.fetch_add(1, Relaxed);
        }
        if verdict != Told::Committed || way == Way::Chained {
            // its failure may have been told of the commit alone, or of what is behind it
            client.query("rollback").await;
            client.query("rollback").await;
        }
        verdicts.insert(id, (way, verdict));
    }
    client.terminate().await;
    verdicts
}

/// How the primary dies.
#[derive(Debug, Clone, Copy)]
enum Death {
    /// One backend is killed, and the server starts anew in place.
    Backend,
    /// All its processes are killed, and it is started again.
    Restart,
    /// All its processes are killed, and the standby is promoted.
    Promotion,
}

/// Has the primary of `herd` die, and waits until clients commit again.
fn kill(herd: &Herd, storm: &Storm, death: Death, primary: &mut usize) {
    let cluster = herd.cluster();
    match death {
        Death::Backend => {
            let sql = format!(
                "select pid from pg_stat_activity where datname = '{}' and state <> 'idle' and \
                 pid <> pg_backend_pid() order by random() limit 1",
                herd.database()
            );
            let victim = eventually("a backend", PATIENCE, || {
                cluster.psql(*primary, &sql).ok().filter(|pid| !pid.is_empty())
            });
            // It may be gone by now; then nothing happens.
            let _ = lab::signal(victim.parse().unwrap(), Signal::SIGKILL);
        }
        Death::Restart => {
            cluster.kill(*primary).unwrap();
            cluster.start_node(*primary).unwrap();
        }
        Death::Promotion => {
            let standby = 1 - *primary;
            cluster.kill(*primary).unwrap();
            cluster.promote(standby).unwrap();
            *primary = standby;
        }
    }
    storm.wait_for_commits(40);
    if let Death::Promotion = death {
        cluster.rejoin(1 - *primary).unwrap();
        wait_for_acknowledged_commits(herd, *primary);
        storm.wait_for_commits(40);
    }
}

/// From here on what is acknowledged is on both nodes.
fn wait_for_acknowledged_commits(herd: &Herd, primary: usize) {
    let cluster = herd.cluster();
    cluster.psql(1 - primary, "alter system reset synchronous_standby_names").unwrap();
    cluster.psql(1 - primary, "select pg_reload_conf()").unwrap();
    cluster.psql(primary, "alter system set synchronous_standby_names = '*'").unwrap();
    cluster.psql(primary, "select pg_reload_conf()").unwrap();
    let synchronous = "select count(*) from pg_stat_replication where sync_state = 'sync'";
    eventually("the standby is synchronous", PATIENCE, || {
        (cluster.psql(primary, synchronous).ok()? == "1").then_some(())
    });
}

/// Deaths of these kinds; the figures, and that no verdict is wrong.
fn weather(standbys: usize, writers: usize, deaths: impl IntoIterator<Item = Death>) -> [u64; 3] {
    let herd = Setup::own(standbys).set("cluster.0.crash_grace", "20s").start();
    herd.psql("create table ledger (id bigint primary key)").unwrap();
    herd.cluster().wait_for_all().unwrap();
    if standbys > 0 {
        wait_for_acknowledged_commits(&herd, 0);
    }
    let storm = Storm::start(&herd, writers);
    let (mut primary, mut count) = (0, 0);
    let began = Instant::now();
    for death in deaths {
        // Not at the same moment of all transactions each time.
        thread::sleep(Duration::from_micros(u64::from(began.elapsed().subsec_nanos() % 20_000)));
        kill(&herd, &storm, death, &mut primary);
        count += 1;
    }
    let verdicts = storm.stop();
    let sql = "select id from ledger";
    let cluster = herd.cluster();
    let rows = cluster.psql_as(primary, cluster.superuser(), herd.database(), sql).unwrap();
    let rows: std::collections::BTreeSet<i64> = rows.lines().map(|line| line.parse().unwrap()).collect();
    let counted = counted(&herd);
    let mut errors = BTreeMap::<String, u32>::new();
    let mut wrong = Vec::new();
    for (id, (way, told)) in &verdicts {
        let there = rows.contains(id);
        match told {
            Told::Committed if there => {}
            Told::Rolled if !there => {}
            Told::Error(code) if code == "08007" || !there => {
                *errors.entry(format!("{way:?} {code}")).or_default() += 1;
            }
            Told::Committed | Told::Rolled | Told::Error(_) | Told::Nothing => {
                wrong.push(format!("{id}: {way:?} was told {told:?}, and there: {there}"));
            }
        }
    }
    println!(
        "{count} deaths: {} transactions, in doubt: {} found committed, {} found aborted, {} unknown; errors {errors:?}",
        verdicts.len(),
        counted[0],
        counted[1],
        counted[2],
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
    counted
}

#[test]
fn no_verdict_on_a_commit_is_wrong_when_servers_die() {
    use Death::{Backend, Promotion, Restart};
    weather(1, 16, [Backend, Restart, Backend, Promotion, Backend]);
}

#[test]
#[ignore = "takes minutes; make test-long runs it"]
fn hundreds_of_commits_in_doubt_are_resolved() {
    use Death::{Backend, Promotion, Restart};
    let crashes = (0..120).map(|n| if n % 4 == 0 { Restart } else { Backend });
    let mut all = weather(0, 24, crashes);
    let promotions = (0..30).map(|n| if n % 2 == 0 { Promotion } else { Backend });
    weather(1, 24, promotions).into_iter().zip(&mut all).for_each(|(more, sum)| *sum += more);
    println!("all in all: {all:?}");
    assert!(all[0] + all[1] >= 300, "{all:?}");
}
