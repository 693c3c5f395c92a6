//! R14: cancels that race with the reuse of the server connections that they are for.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use e2e::Setup;
use testkit::{Batch, Client, ConnectionParameters};
use tokio::task::{JoinHandle, JoinSet};
use wire::message::{backend::TxStatus, startup};

use super::{LONG, SHORT, answer::Answer, of_primary, seed, weather};
use crate::crosstalk::Dice;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancels_hit_nobody_but_those_they_are_for() {
    run(SHORT, 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes; run by make test-long"]
async fn cancels_hit_nobody_but_those_they_are_for_for_minutes() {
    run(LONG, 10_000).await;
}

#[derive(Debug, Default)]
struct Figures {
    cancels: AtomicU64,
    guesses: AtomicU64,
    hits: AtomicU64,
    /// Requests of clients that nobody may cancel.
    spared: AtomicU64,
}

fn add(figure: &AtomicU64) {
    figure.fetch_add(1, Ordering::Relaxed);
}

/// Half of the clients are cancelled, at any moment; half never are, and use the same server connections.
async fn run(span: Duration, at_least: u64) {
    const EACH: u64 = 8;
    let herd = Setup::shared().set("pool.size", 3).start();
    let (seed, over) = (seed(), Arc::new(AtomicBool::new(false)));
    let figures = Arc::new(Figures::default());
    let mut all = JoinSet::new();
    for id in 0..EACH {
        let one = |stream| One {
            id,
            dice: Dice::new(seed, stream),
            parameters: of_primary(&herd),
            figures: Arc::clone(&figures),
            over: Arc::clone(&over),
        };
        all.spawn(one(3 * id).be_cancelled());
        all.spawn(one(3 * id + 1).be_spared());
    }
    weather(all, over, span).await;
    let load = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
    println!(
        "cancel races: {} cancels, {} hits; {} guesses at keys, 0 hits; {} requests of others, 0 cancelled",
        load(&figures.cancels),
        load(&figures.hits),
        load(&figures.guesses),
        load(&figures.spared)
    );
    assert!(load(&figures.cancels) >= at_least && load(&figures.spared) >= at_least, "{figures:?}");
    assert!(load(&figures.hits) > 0 && load(&figures.guesses) > 0, "{figures:?}");
    assert!(!herd.proxy(0).log().contains("panicked"), "a task of the proxy panicked");
}

struct One {
    id: u64,
    dice: Dice,
    parameters: ConnectionParameters,
    figures: Arc<Figures>,
    over: Arc<AtomicBool>,
}

impl One {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// A request of one to three units that takes a few milliseconds, and how often the server becomes ready.
    fn request(&mut self, tag: &str) -> (Batch, usize) {
        let text = format!("select '{tag}' || pg_sleep({})", self.dice.below(4) as f64 / 1000.0);
        let bound = |batch: Batch| batch.parse("", &text).bind("", "", &[]).execute("", 0).sync();
        match self.dice.below(4) {
            0 => (Batch::new().query(&text), 1),
            1 => (bound(Batch::new()), 1),
            2 => (bound(Batch::new().query(&text)).query(&text), 3),
            _ => (Batch::new().query("begin").query(&text).query("commit"), 3),
        }
    }

    /// Asks, while cancels for it arrive before, during and after its requests.
    async fn be_cancelled(mut self) {
        let mut client = self.parameters.connect().await.unwrap();
        let mut sequence = 0;
        while !self.is_over() {
            sequence += 1;
            let tag = format!("k{}-{sequence}", self.id);
            let (batch, times) = self.request(&tag);
            let canceller = self.canceller(&client);
            let answer = Answer::to(&mut client, &batch, times).await;
            canceller.await.unwrap();
            assert!(answer.status.is_some(), "{tag}: the connection ended: {answer:?}");
            assert!(answer.rows.iter().all(|row| *row == tag), "{tag}: {answer:?}");
            for code in &answer.errors {
                assert!(["57014", "25P02"].contains(&&**code), "{tag}: {answer:?}");
                if code == "57014" {
                    add(&self.figures.hits);
                }
            }
            if answer.status != Some(TxStatus::Idle) {
                // COMMIT itself was cancelled, or came before what it ends.
                Answer::to(&mut client, &Batch::new().query("rollback"), 1).await;
            }
        }
    }

    /// Sends one cancel or two within the next milliseconds.
    fn canceller(&mut self, client: &Client) -> JoinHandle<()> {
        let mut packet = Vec::new();
        let (pid, secret) = client.key();
        startup::cancel_request(pid, secret, &mut packet);
        let mut after = vec![self.dice.below(6000)];
        if self.dice.once_in(3) {
            after.push(self.dice.below(2000));
        }
        let (address, figures) = (self.parameters.address, Arc::clone(&self.figures));
        tokio::spawn(async move {
            for microseconds in after {
                tokio::time::sleep(Duration::from_micros(microseconds)).await;
                add(&figures.cancels);
                shoot(address, &packet).await;
            }
        })
    }

    /// Asks, and is answered: nobody has its key, only one like it.
    async fn be_spared(mut self) {
        let mut client = self.parameters.connect().await.unwrap();
        let mut sequence = 0;
        while !self.is_over() {
            sequence += 1;
            let tag = format!("s{}-{sequence}", self.id);
            let (batch, times) = self.request(&tag);
            let guess = self.dice.once_in(4).then(|| self.guess(&client));
            let answer = Answer::to(&mut client, &batch, times).await;
            if let Some(guess) = guess {
                guess.await.unwrap();
            }
            assert!(answer.errors.is_empty(), "{tag}, whom nobody cancelled: {answer:?}");
            assert!(
                !answer.rows.is_empty() && answer.rows.iter().all(|row| *row == tag),
                "{tag}: {answer:?}"
            );
            assert_eq!(answer.status, Some(TxStatus::Idle));
            add(&self.figures.spared);
        }
    }

    /// Sends a cancel with a key that differs in a bit.
    fn guess(&mut self, client: &Client) -> JoinHandle<()> {
        let (pid, secret) = client.key();
        let mut secret = secret.to_vec();
        let at = usize::try_from(self.dice.below(secret.len() as u64)).expect("it is below a length");
        secret[at] ^= 1 << self.dice.below(8);
        let mut packet = Vec::new();
        startup::cancel_request(pid, &secret, &mut packet);
        let (address, figures) = (self.parameters.address, Arc::clone(&self.figures));
        tokio::spawn(async move {
            add(&figures.guesses);
            shoot(address, &packet).await;
        })
    }
}

async fn shoot(address: SocketAddr, packet: &[u8]) {
    let mut connection = Client::open(address).await.unwrap();
    connection.send(packet).await.unwrap();
    assert_eq!(connection.next().await, None, "a cancel is not answered");
}
