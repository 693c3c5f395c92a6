//! Commits whose server is lost before it has answered: what their clients are told is what the next primary has.

use std::sync::Arc;

use e2e::{Herd, Relay, Setup, Swallow};
use lab::{Cluster, Options};
use testkit::{Batch, Client, Message};

use super::{show, wait_for_event};

/// A cluster whose first node is reached through a relay, with the table `ledger`.
fn relayed(standbys: usize, settings: &[(&str, &str)]) -> (Herd, Relay) {
    let cluster = Cluster::start(Options { standbys, max_connections: 100, ..Options::default() }).unwrap();
    cluster.psql(0, &format!("grant select on pg_authid to {}", cluster.monitor().user)).unwrap();
    let relay = Relay::start(cluster.node(0).port());
    let mut setup = Setup::of_cluster(Arc::new(cluster))
        .set("cluster.0.nodes.0.address", format!("127.0.0.1:{}", relay.port()))
        .set("cluster.0.crash_grace", "20s");
    for (key, value) in settings {
        setup = setup.set(key, *value);
    }
    let herd = setup.start();
    herd.psql("create table ledger (id bigint primary key)").unwrap();
    herd.cluster().wait_for_all().unwrap();
    (herd, relay)
}

/// The ways in which a client may write and commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Each statement a Query, the next when the one before is answered.
    Simple,
    /// A Query for the commit alone.
    Mixed,
    /// Each statement a batch of the extended protocol.
    Extended,
    /// Prepared under names.
    Prepared,
    /// All in one batch.
    Pipelined,
    /// A Sync behind each, and all sent at once.
    Synced,
    /// COMMIT AND CHAIN.
    Chained,
    /// Behind another statement in the batch of the commit.
    Behind,
}

pub(super) const WAYS: [Way; 8] = [
    Way::Simple,
    Way::Mixed,
    Way::Extended,
    Way::Prepared,
    Way::Pipelined,
    Way::Synced,
    Way::Chained,
    Way::Behind,
];

impl Way {
    /// What is sent and answered before the commit, and what the commit is sent in.
    pub(super) fn batches(self, id: i64) -> (Vec<Batch>, Batch) {
        let insert = format!("insert into ledger values ({id})");
        let run = |batch: Batch, sql: &str| {
            batch.parse("", sql).bind("", "", &[]).describe_portal("").execute("", 0)
        };
        let query = |sql: &str| Batch::new().query(sql);
        let unit = |sql: &str| run(Batch::new(), sql).sync();
        match self {
            Self::Simple => (vec![query("begin"), query(&insert)], query("commit")),
            Self::Mixed => (vec![unit("begin"), unit(&insert)], query("end")),
            Self::Extended => (vec![unit("begin"), unit(&insert)], unit("commit")),
            Self::Prepared => {
                let (commit, write) = (format!("commit_{id}"), format!("write_{id}"));
                let bound = |batch: Batch, name: &str| batch.bind("", name, &[]).execute("", 0).sync();
                (
                    vec![query("begin"), bound(Batch::new().parse(&write, &insert), &write)],
                    bound(Batch::new().parse(&commit, "commit"), &commit),
                )
            }
            Self::Pipelined => {
                let all = run(run(run(Batch::new(), "begin"), &insert), "commit").sync();
                (Vec::new(), all)
            }
            Self::Synced => {
                let all = run(run(run(Batch::new(), "begin").sync(), &insert).sync(), "commit").sync();
                (Vec::new(), all)
            }
            Self::Chained => (vec![query("begin"), query(&insert)], query("commit and chain")),
            Self::Behind => {
                let batch = run(run(Batch::new(), "select count(*) from ledger"), "commit").sync();
                (vec![query("begin"), query(&insert)], batch)
            }
        }
    }

    /// ReadyForQuery messages that answer what the commit is sent in.
    pub(super) fn answers(self) -> usize {
        if self == Self::Synced { 3 } else { 1 }
    }
}

/// What a client was told of its commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    Committed,
    /// It failed before the commit was sent.
    Rolled,
    Error(String),
    /// Disconnected.
    Nothing,
}

/// A client whose commit is under way.
struct Committing {
    client: Client,
    way: Way,
    id: i64,
}

async fn begin(herd: &Herd, way: Way, id: i64) -> Committing {
    let mut client = herd.connect().await;
    let (before, commit) = way.batches(id);
    for batch in before {
        let answer = client.run(&batch).await;
        assert!(answer.iter().all(|message| message.tag != b'E'), "{way:?}: {answer:?}");
    }
    client.send(commit.bytes()).await.unwrap();
    Committing { client, way, id }
}

impl Committing {
    async fn told(&mut self) -> Told {
        let mut answers = Vec::new();
        for _ in 0..self.way.answers() {
            answers.extend(self.client.until_ready().await);
        }
        told(&answers)
    }
}

pub(super) fn told(answers: &[Message]) -> Told {
    let error = answers.iter().find(|message| message.tag == b'E');
    if let Some(code) = error.and_then(Message::sqlstate) {
        return Told::Error(code);
    }
    let commits = |message: &Message| message.tag == b'C' && message.body == b"COMMIT\0";
    if answers.iter().any(commits) { Told::Committed } else { Told::Nothing }
}

/// Whether a node has the row.
fn has(herd: &Herd, node: usize, id: i64) -> bool {
    let sql = format!("select count(*) from ledger where id = {id}");
    let cluster = herd.cluster();
    cluster.psql_as(node, cluster.superuser(), herd.database(), &sql).unwrap() == "1"
}

/// Commits found committed, found aborted, and unknown, as the console counts them.
pub(super) fn counted(herd: &Herd) -> [u64; 3] {
    let rows = show(herd, "EXTENDED STATS");
    let row = rows.iter().find(|row| row[0] == herd.database()).unwrap();
    row[row.len() - 3..].iter().map(|count| count.parse().unwrap()).collect::<Vec<_>>().try_into().unwrap()
}

/// Runs every way against a relay that swallows, lets `lose` have the primary lost once all commits are in doubt, and
/// compares what `node` has with what each client is told.
async fn resolve(
    herd: &Herd,
    relay: &Relay,
    swallow: Swallow,
    ways: &[Way],
    node: usize,
    lose: impl FnOnce(),
) -> Vec<Told> {
    relay.swallow(swallow);
    let mut committing = Vec::new();
    for (id, &way) in (1..).zip(ways) {
        committing.push(begin(herd, way, id).await);
        relay.wait_until_swallowed(u32::try_from(id).unwrap());
    }
    relay.swallow(Swallow::Nothing);
    lose();
    let mut all = Vec::new();
    for one in &mut committing {
        let told = one.told().await;
        let there = has(herd, node, one.id);
        match &told {
            Told::Committed => assert!(there, "{:?}: told COMMIT, and it is not there", one.way),
            Told::Error(code) if code == "40001" => {
                assert!(!there, "{:?}: told 40001, and it is there", one.way);
            }
            Told::Error(_) | Told::Rolled | Told::Nothing => {}
        }
        if one.way == Way::Chained && told == Told::Committed {
            // the transaction that COMMIT began is lost, which its first statement is told
            assert_eq!(one.client.failure("select 1").await.as_deref(), Some("40001"));
            one.client.query("rollback").await;
        }
        let after = one.client.query("select 1").await;
        assert!(after.iter().all(|message| message.tag != b'E'), "{:?}: {after:?}", one.way);
        all.push(told);
    }
    all
}

#[tokio::test]
async fn commits_whose_answer_a_crash_swallowed_are_told_as_commits() {
    let (herd, relay) = relayed(0, &[]);
    let told = resolve(&herd, &relay, Swallow::Answers, &WAYS, 0, || {
        herd.cluster().kill(0).unwrap();
        herd.cluster().start_node(0).unwrap();
    })
    .await;
    assert_eq!(told, vec![Told::Committed; WAYS.len()]);
    assert_eq!(counted(&herd), [WAYS.len() as u64, 0, 0]);
}

#[tokio::test]
async fn commits_that_a_crash_prevented_are_told_as_40001() {
    let (herd, relay) = relayed(0, &[]);
    let ways = [Way::Simple, Way::Extended, Way::Prepared];
    let told = resolve(&herd, &relay, Swallow::Commits, &ways, 0, || {
        herd.cluster().kill(0).unwrap();
        herd.cluster().start_node(0).unwrap();
    })
    .await;
    assert_eq!(told, vec![Told::Error("40001".to_owned()); ways.len()]);
    assert_eq!(counted(&herd), [0, ways.len() as u64, 0]);
}

#[tokio::test]
async fn commits_that_the_promoted_standby_has_are_told_as_commits() {
    let (herd, relay) = relayed(1, &[]);
    let told = resolve(&herd, &relay, Swallow::Answers, &WAYS, 1, || {
        herd.cluster().wait_for_all().unwrap();
        herd.cluster().kill(0).unwrap();
        wait_for_event(&herd, "primary_lost");
        herd.cluster().promote(1).unwrap();
    })
    .await;
    assert_eq!(told, vec![Told::Committed; WAYS.len()]);
}

#[tokio::test]
async fn commits_that_the_promoted_standby_never_got_are_told_as_40001() {
    let (herd, relay) = relayed(1, &[]);
    let cluster = herd.cluster();
    cluster.psql(1, "alter system set primary_conninfo = ''").unwrap();
    cluster.psql(1, "select pg_reload_conf()").unwrap();
    let receives = "select count(*) from pg_stat_wal_receiver";
    e2e::eventually("the standby is cut off", super::PATIENCE, || {
        (cluster.psql(1, receives).ok()? == "0").then_some(())
    });
    let told = resolve(&herd, &relay, Swallow::Answers, &WAYS, 1, || {
        cluster.kill(0).unwrap();
        wait_for_event(&herd, "primary_lost");
        cluster.promote(1).unwrap();
    })
    .await;
    assert_eq!(told, vec![Told::Error("40001".to_owned()); WAYS.len()]);
}

#[tokio::test]
async fn a_connection_that_was_cut_is_no_crash_and_its_commit_is_found() {
    let (herd, relay) = relayed(0, &[]);
    herd.psql_directly("checkpoint").unwrap();
    let terminate = format!(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = '{}' and pid <> pg_backend_pid()",
        herd.database()
    );
    let told = resolve(&herd, &relay, Swallow::Answers, &WAYS, 0, || {
        herd.psql_directly(&terminate).unwrap();
    })
    .await;
    assert_eq!(told, vec![Told::Committed; WAYS.len()]);
}

#[tokio::test]
async fn without_resolution_a_commit_in_doubt_is_08007() {
    let (herd, relay) = relayed(0, &[("pool.commit_resolution", "off")]);
    let told = resolve(&herd, &relay, Swallow::Answers, &WAYS, 0, || {
        herd.cluster().kill(0).unwrap();
        herd.cluster().start_node(0).unwrap();
    })
    .await;
    assert!(told.iter().all(|told| *told == Told::Error("08007".to_owned())), "{told:?}");
}

#[tokio::test]
async fn who_waits_for_the_truth_is_told_08007_when_it_cancels_or_the_hold_is_over() {
    let (herd, relay) = relayed(0, &[("session.max_hold", "2s")]);
    relay.swallow(Swallow::Answers);
    let mut waiting = begin(&herd, Way::Extended, 1).await;
    let mut cancelled = begin(&herd, Way::Simple, 2).await;
    relay.wait_until_swallowed(2);
    herd.cluster().kill(0).unwrap();
    wait_for_event(&herd, "primary_lost");
    cancelled.client.cancel().await.unwrap();
    assert_eq!(cancelled.told().await, Told::Error("08007".to_owned()));
    assert_eq!(waiting.told().await, Told::Error("08007".to_owned()));
    assert_eq!(counted(&herd), [0, 0, 2]);
    relay.swallow(Swallow::Nothing);
    herd.cluster().start_node(0).unwrap();
    assert!(has(&herd, 0, 1) && has(&herd, 0, 2), "they had committed");
    cancelled.client.execute("insert into ledger values (3)").await;
}

#[tokio::test]
async fn a_commit_within_a_larger_text_is_in_doubt_and_not_told_as_rolled_back() {
    let (herd, relay) = relayed(0, &[]);
    let mut client = herd.connect().await;
    client.execute("begin").await;
    relay.swallow(Swallow::Answers);
    client.send(Batch::new().query("insert into ledger values (1); commit").bytes()).await.unwrap();
    relay.wait_until_swallowed(1);
    relay.swallow(Swallow::Nothing);
    herd.cluster().kill(0).unwrap();
    herd.cluster().start_node(0).unwrap();
    assert_eq!(told(&client.until_ready().await), Told::Error("08007".to_owned()));
    assert!(has(&herd, 0, 1));
}

#[tokio::test]
async fn the_end_of_a_connection_through_somebody_else_proves_nothing() {
    let (herd, relay) = relayed(0, &[]);
    let told = resolve(&herd, &relay, Swallow::Commits, &[Way::Pipelined], 0, || {
        herd.cluster().kill(0).unwrap();
        herd.cluster().start_node(0).unwrap();
    })
    .await;
    assert_eq!(told, [Told::Error("08007".to_owned())]);
}

#[tokio::test]
async fn a_transaction_that_only_read_leaves_no_doubt() {
    let (herd, relay) = relayed(0, &[]);
    let mut client = herd.connect().await;
    client.execute("begin").await;
    client.value("select count(*) from ledger").await;
    relay.swallow(Swallow::Answers);
    client.send(Batch::new().query("commit").bytes()).await.unwrap();
    relay.wait_until_swallowed(1);
    relay.swallow(Swallow::Nothing);
    herd.cluster().kill(0).unwrap();
    herd.cluster().start_node(0).unwrap();
    assert_eq!(told(&client.until_ready().await), Told::Error("40001".to_owned()));
    assert_eq!(counted(&herd), [0; 3]);
}
