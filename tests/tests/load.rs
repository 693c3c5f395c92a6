//! Clients at work while nodes come and go, and a ledger of what they were promised.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use e2e::{Herd, eventually};
use testkit::{Batch, Client, ConnectionParameters, Message};
use tokio::{task::JoinSet, time::Instant};

/// How long a condition may take to come about.
const PATIENCE: Duration = Duration::from_secs(20);

const INSERT: &str = "insert into ledger values ($1)";

/// An insert that succeeded.
#[derive(Debug)]
pub(crate) struct Insert {
    /// The row's id.
    pub(crate) id: i64,
    /// When it was sent.
    pub(crate) begun: Instant,
    /// When its success was heard of.
    pub(crate) acknowledged: Instant,
}

/// What clients were told.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Inserts that succeeded.
    pub(crate) acknowledged: Vec<Insert>,
    /// Ids of rows of which it is not known (08007).
    doubtful: BTreeSet<i64>,
    /// How many inserts failed, by SQLSTATE.
    pub(crate) write_errors: BTreeMap<String, u32>,
    reads: Vec<Instant>,
    /// How many reads failed, by SQLSTATE.
    pub(crate) read_errors: BTreeMap<String, u32>,
}

/// Autocommit clients on a thread of their own: writers insert rows with unique ids into the table `ledger`, over the
/// simple, the extended and the prepared protocol in turn; readers count its rows.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    writes: Arc<AtomicU64>,
    reads: Arc<AtomicU64>,
    thread: JoinHandle<Ledger>,
}

impl Load {
    /// Starts it, table included, and waits until it is well under way.
    pub(crate) fn start(herd: &Herd, writers: i64, readers: u32) -> Self {
        herd.psql_directly("create table ledger (id bigint primary key); alter table ledger owner to app")
            .unwrap();
        herd.cluster().wait_for_all().unwrap();
        Self::of(herd.app(), writers, readers)
    }

    /// The same for a table that is there already, by any way to it.
    pub(crate) fn of(parameters: ConnectionParameters, writers: i64, readers: u32) -> Self {
        let (stop, writes, reads) =
            (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let thread = thread::spawn({
            let (stop, writes, reads) = (Arc::clone(&stop), Arc::clone(&writes), Arc::clone(&reads));
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async move {
                    let mut clients = JoinSet::new();
                    for number in 0..writers {
                        clients.spawn(write(parameters.clone(), number, stop.clone(), writes.clone()));
                    }
                    for _ in 0..readers {
                        clients.spawn(read(parameters.clone(), stop.clone(), reads.clone()));
                    }
                    let mut ledger = Ledger::default();
                    while let Some(page) = clients.join_next().await {
                        ledger.add(page.unwrap());
                    }
                    ledger
                })
            }
        });
        let load = Self { stop, writes, reads, thread };
        if writers > 0 {
            load.wait_for_writes(100);
        }
        if readers > 0 {
            load.wait_for_reads(100);
        }
        load
    }

    /// Waits until so many more inserts have succeeded.
    pub(crate) fn wait_for_writes(&self, count: u64) {
        self.wait_for("writes", &self.writes, count);
    }

    /// Waits until so many more reads have succeeded.
    pub(crate) fn wait_for_reads(&self, count: u64) {
        self.wait_for("reads", &self.reads, count);
    }

    fn wait_for(&self, what: &str, counter: &AtomicU64, count: u64) {
        let goal = counter.load(Relaxed) + count;
        eventually(&format!("{count} more {what}"), PATIENCE, || {
            assert!(!self.thread.is_finished(), "a client panicked");
            (counter.load(Relaxed) >= goal).then_some(())
        });
    }

    /// Ends it.
    pub(crate) fn stop(self) -> Ledger {
        self.stop.store(true, Relaxed);
        self.thread.join().expect("no client panicked")
    }
}

impl Ledger {
    fn add(&mut self, other: Self) {
        self.acknowledged.extend(other.acknowledged);
        self.doubtful.extend(other.doubtful);
        self.reads.extend(other.reads);
        let sum = |into: &mut BTreeMap<String, u32>, from: BTreeMap<String, u32>| {
            from.into_iter().for_each(|(code, count)| *into.entry(code).or_default() += count);
        };
        sum(&mut self.write_errors, other.write_errors);
        sum(&mut self.read_errors, other.read_errors);
    }

    /// The longest time without a successful insert.
    pub(crate) fn write_gap(&self) -> Duration {
        longest_gap(self.acknowledged.iter().map(|insert| insert.acknowledged).collect())
    }

    /// The longest time without a successful read.
    pub(crate) fn read_gap(&self) -> Duration {
        longest_gap(self.reads.clone())
    }

    /// How many acknowledged rows a node does not have. The node must not have rows of which nobody was told, nor any
    /// twice (the primary key sees to that).
    pub(crate) fn count_missing(&self, herd: &Herd, node: usize) -> usize {
        self.count_missing_among(&rows_on(herd, node))
    }

    /// The same for a node's rows.
    pub(crate) fn count_missing_among(&self, rows: &BTreeSet<i64>) -> usize {
        let acknowledged: BTreeSet<i64> = self.acknowledged.iter().map(|insert| insert.id).collect();
        let phantoms: Vec<_> =
            rows.difference(&acknowledged).filter(|id| !self.doubtful.contains(id)).collect();
        assert!(phantoms.is_empty(), "rows whose insert failed: {phantoms:?}");
        acknowledged.difference(rows).count()
    }

    /// How many rows whose insert began after `instant` a node has.
    pub(crate) fn count_begun_since(&self, herd: &Herd, node: usize, instant: Instant) -> usize {
        let rows = rows_on(herd, node);
        self.acknowledged.iter().filter(|insert| insert.begun > instant && rows.contains(&insert.id)).count()
    }

    /// Prints the figures.
    pub(crate) fn report(&self, what: &str, missing: usize) {
        println!(
            "{what}: {} writes acknowledged, {missing} of them lost, write gap {} ms, write errors {:?}; \
             {} reads, read gap {} ms, read errors {:?}",
            self.acknowledged.len(),
            self.write_gap().as_millis(),
            self.write_errors,
            self.reads.len(),
            self.read_gap().as_millis(),
            self.read_errors,
        );
    }

    /// That no client saw an error.
    pub(crate) fn assert_no_errors(&self) {
        let (writes, reads) = (&self.write_errors, &self.read_errors);
        assert!(writes.is_empty() && reads.is_empty(), "writes: {writes:?}, reads: {reads:?}");
    }

    /// That no read failed, and no write but those that were under way when the primary died.
    pub(crate) fn assert_only_doubts(&self) {
        assert!(self.write_errors.keys().all(|code| code == "08007"), "writes: {:?}", self.write_errors);
        assert!(self.read_errors.is_empty(), "reads: {:?}", self.read_errors);
    }
}

fn rows_on(herd: &Herd, node: usize) -> BTreeSet<i64> {
    let cluster = herd.cluster();
    let text = cluster.psql_as(node, cluster.superuser(), herd.database(), "select id from ledger").unwrap();
    text.lines().map(|line| line.parse().unwrap()).collect()
}

fn longest_gap(mut instants: Vec<Instant>) -> Duration {
    instants.sort();
    instants.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
}

async fn write(
    parameters: ConnectionParameters,
    number: i64,
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
) -> Ledger {
    let mut page = Ledger::default();
    let mut client = parameters.connect().await.unwrap();
    assert_eq!(outcome(&client.run(&Batch::new().parse("insert", INSERT).sync()).await), Ok(()));
    for n in 0_i64.. {
        if stop.load(Relaxed) {
            break;
        }
        let id = (number << 32) | n;
        let batch = insert(number, id);
        let begun = Instant::now();
        match outcome(&client.run(&batch).await) {
            Ok(()) => {
                page.acknowledged.push(Insert { id, begun, acknowledged: Instant::now() });
                count.fetch_add(1, Relaxed);
            }
            Err(code) => {
                if code == "08007" {
                    page.doubtful.insert(id);
                }
                *page.write_errors.entry(code).or_default() += 1;
            }
        }
    }
    client.terminate().await;
    page
}

fn insert(number: i64, id: i64) -> Batch {
    let value = id.to_string();
    let bound = |batch: Batch, name| batch.bind("", name, &[Some(&*value)]).execute("", 0).sync();
    match number % 3 {
        0 => Batch::new().query(&INSERT.replace("$1", &value)),
        1 => bound(Batch::new().parse("", INSERT), ""),
        _ => bound(Batch::new(), "insert"),
    }
}

async fn read(parameters: ConnectionParameters, stop: Arc<AtomicBool>, count: Arc<AtomicU64>) -> Ledger {
    let mut page = Ledger::default();
    let mut client: Client = parameters.connect().await.unwrap();
    while !stop.load(Relaxed) {
        match outcome(&client.query("select id from ledger limit 3").await) {
            Ok(()) => {
                page.reads.push(Instant::now());
                count.fetch_add(1, Relaxed);
            }
            Err(code) => *page.read_errors.entry(code).or_default() += 1,
        }
    }
    client.terminate().await;
    page
}

/// The SQLSTATE of the first error.
fn outcome(messages: &[Message]) -> Result<(), String> {
    assert_eq!(messages.last().map(|message| message.tag), Some(b'Z'), "disconnected after {messages:?}");
    match messages.iter().find(|message| message.tag == b'E') {
        Some(error) => Err(error.sqlstate().unwrap_or_default()),
        None => Ok(()),
    }
}
