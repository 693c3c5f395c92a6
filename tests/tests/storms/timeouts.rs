//! R13: a pool that is too small, statements that take too long, and a timeout for everything.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use e2e::{Setup, eventually};
use testkit::{Batch, Client, ConnectionParameters};
use tokio::task::JoinSet;
use wire::message::backend::TxStatus;

use super::{LONG, SHORT, answer::Answer, of_primary, seed, weather};
use crate::crosstalk::Dice;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_runs_out_of_time_gets_nobody_elses_rows() {
    run(100, SHORT, 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes; run by make test-long"]
async fn whoever_runs_out_of_time_gets_nobody_elses_rows_for_minutes() {
    run(300, LONG, 10_000).await;
}

/// Errors that a timeout brings about, and what fails because of one that came before.
const OF_TIME: [&str; 4] = ["57014", "53300", "25P03", "57P05"];
const BEHIND_ONE: [&str; 2] = ["25P02", "26000"];

#[derive(Debug, Default)]
struct Figures {
    requests: u64,
    rows: u64,
    errors: BTreeMap<String, u64>,
}

async fn run(clients: u64, span: Duration, at_least: u64) {
    let herd = Setup::shared()
        .set("pool.size", 5)
        .set("pool.query_timeout", "100ms")
        .set("pool.wait_timeout", "150ms")
        .set("pool.idle_transaction_timeout", "100ms")
        .set("pool.client_idle_timeout", "200ms")
        .start();
    let (seed, over) = (seed(), Arc::new(AtomicBool::new(false)));
    let figures = Arc::new(Mutex::new(Figures::default()));
    let mut all = JoinSet::new();
    for id in 0..clients {
        let client = Hurried {
            id,
            dice: Dice::new(seed, id + 1),
            sequence: 0,
            parameters: if id % 2 == 0 { herd.app() } else { of_primary(&herd) },
            figures: Arc::clone(&figures),
        };
        all.spawn(client.play(Arc::clone(&over)));
    }
    weather(all, over, span).await;
    let figures = Arc::try_unwrap(figures).unwrap().into_inner().unwrap();
    let fired: u64 = OF_TIME.iter().filter_map(|code| figures.errors.get(*code)).sum();
    println!(
        "timeout storm: {clients} clients on 5 connections, {} requests, {fired} timeouts fired, {} rows verified, \
         0 wrong; errors {:?}",
        figures.requests, figures.rows, figures.errors
    );
    assert!(fired >= at_least && figures.rows >= at_least, "too little happened");
    assert!(!herd.proxy(0).log().contains("panicked"), "a task of the proxy panicked");
    for node in 0..herd.cluster().nodes().len() {
        let busy = format!(
            "select count(*) from pg_stat_activity where datname = '{}' and usename = 'app' and state <> 'idle'",
            herd.database()
        );
        eventually("all server connections are idle", Duration::from_secs(10), || {
            (herd.cluster().psql(node, &busy).unwrap() == "0").then_some(())
        });
    }
}

/// A client that asks for more than there is time for.
struct Hurried {
    id: u64,
    dice: Dice,
    sequence: u64,
    parameters: ConnectionParameters,
    figures: Arc<Mutex<Figures>>,
}

impl Hurried {
    async fn play(mut self, over: Arc<AtomicBool>) {
        while !over.load(Ordering::Relaxed) {
            // While nobody is free a login may run out of time too.
            let Ok(mut client) = self.parameters.connect().await else { continue };
            while !over.load(Ordering::Relaxed) {
                if !self.ask(&mut client).await {
                    break;
                }
            }
        }
    }

    /// One request, looked at row by row; false when the connection has ended.
    async fn ask(&mut self, client: &mut Client) -> bool {
        self.sequence += 1;
        let tag = format!("h{}-{}", self.id, self.sequence);
        let rows = 1 + self.dice.below(9);
        // Around the limits, on both sides.
        let nap = self.dice.below(25) * if self.dice.once_in(4) { 10 } else { 1 };
        let slow = format!(
            "select '{tag}: ' || g || pg_sleep({}) from generate_series(1, {rows}) g",
            nap as f64 / 1000.0 / rows as f64
        );
        let bound = |batch: Batch| batch.parse("", &slow).bind("", "", &[]).execute("", 0);
        let count = usize::try_from(rows).expect("it is small");
        let answer = match self.dice.below(7) {
            0 => (Answer::to(client, &Batch::new().query(&slow), 1).await, count),
            1 => (Answer::to(client, &bound(Batch::new()).sync(), 1).await, count),
            // As drivers prepare: the server answers a Flush, and the rest of the unit comes after a while.
            2 => {
                let head =
                    Batch::new().close_statement("p").parse("p", &slow).describe_statement("p").flush();
                let tail = Batch::new().bind("", "p", &[]).execute("", 0).close_statement("p").sync();
                let _ = client.send(head.bytes()).await;
                self.pause(120).await;
                (Answer::to(client, &tail, 1).await, count)
            }
            // Several units on their way at once.
            3 => {
                let batch = (0..3).fold(Batch::new(), |batch, _| bound(batch).sync());
                (Answer::to(client, &batch, 3).await, 3 * count)
            }
            // A transaction that dawdles.
            4 => {
                let begun = Answer::to(client, &Batch::new().query("begin").query(&slow), 2).await;
                self.pause(150).await;
                let mut rest = Answer::default();
                if begun.status.is_some() {
                    rest = Answer::to(client, &Batch::new().query(&slow).query("rollback"), 2).await;
                }
                (begun.and(rest), 2 * count)
            }
            // The server's own limit, to the millisecond.
            5 => {
                let limit = 1 + self.dice.below(40);
                let batch =
                    Batch::new().query(&format!("begin; set local statement_timeout = {limit}; {slow}"));
                (Answer::to(client, &batch.query("rollback"), 2).await, count)
            }
            _ => {
                self.pause(350).await;
                (Answer::to(client, &Batch::new().query(&slow), 1).await, count)
            }
        };
        let (answer, count) = answer;
        self.judge(client, &tag, &answer, count).await
    }

    /// Whoever waits for the right moment to ask meets others at theirs.
    async fn pause(&mut self, milliseconds: u64) {
        tokio::time::sleep(Duration::from_millis(self.dice.below(milliseconds))).await;
    }

    async fn judge(&mut self, client: &mut Client, tag: &str, answer: &Answer, rows: usize) -> bool {
        for row in &answer.rows {
            assert!(row.starts_with(&format!("{tag}: ")), "{tag} got {row}");
        }
        for code in &answer.errors {
            let is_known = OF_TIME.contains(&&**code) || BEHIND_ONE.contains(&&**code);
            assert!(is_known, "{tag}: {code} in {answer:?}");
        }
        let told = !answer.errors.is_empty();
        assert!(told || answer.rows.len() == rows, "{tag}: {} of {rows} rows: {answer:?}", answer.rows.len());
        assert!(told || answer.status.is_some(), "{tag}: the connection ended without a word: {answer:?}");
        {
            let mut figures = self.figures.lock().expect("nobody panics with it");
            figures.requests += 1;
            figures.rows += answer.rows.len() as u64;
            for code in &answer.errors {
                *figures.errors.entry(code.clone()).or_default() += 1;
            }
        }
        match answer.status {
            None => false,
            Some(TxStatus::Idle) => true,
            Some(TxStatus::InTransaction | TxStatus::Failed) => {
                let ended = Answer::to(client, &Batch::new().query("rollback"), 1).await;
                ended.status == Some(TxStatus::Idle)
            }
        }
    }
}
