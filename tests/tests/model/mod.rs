//! Random conversations against a reference (CHECKS R03): some clients share fewer server connections, servers die and
//! hang, clients die in the middle of their words; and every client that lives hears, message by message, what a server
//! of its own would have told it.

mod backend;
mod script;
mod server;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use proptest::{
    prelude::*,
    test_runner::{Config, RngSeed, TestRunner},
};
use testkit::{Batch, Client, ConnectionParameters, Message};
use tokio::{runtime::Runtime, task::JoinSet};

use crate::in_process;
use backend::{Backend, Fault, Reply};
use script::{End, Life, Op, life};

#[test]
fn every_client_hears_what_a_server_of_its_own_would_say() {
    run(150);
}

#[test]
#[ignore = "takes minutes; run by make test-long"]
fn every_client_hears_what_a_server_of_its_own_would_say_in_many_conversations() {
    run(10_000);
}

/// Replies that were as they should be.
static HEARD: AtomicU64 = AtomicU64::new(0);
/// What makes each statement's text its own.
static NUMBER: AtomicU64 = AtomicU64::new(0);

fn run(conversations: u32) {
    let seed = std::env::var("E2E_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0x5eed_u64);
    println!("seed {seed} (E2E_SEED)");
    let runtime = Runtime::new().unwrap();
    let parameters = start(&runtime);
    let config = Config {
        cases: conversations,
        max_shrink_iters: 200,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(seed),
        ..Config::default()
    };
    let lives = prop::collection::vec(life(), 1..5);
    let outcome = TestRunner::new(config).run(&lives, |lives| {
        runtime.block_on(converse(&parameters, lives));
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    println!(
        "model: {conversations} conversations of up to 4 clients on 2 connections, {} replies as they should be",
        HEARD.load(Ordering::Relaxed)
    );
}

fn start(runtime: &Runtime) -> ConnectionParameters {
    let port = runtime.block_on(server::start());
    let pool = pool::Settings { size: 2, max_prepared_statements: 3, ..pool::Settings::default() };
    let timeouts =
        session::Timeouts { query: Some(Duration::from_millis(100)), ..session::Timeouts::default() };
    in_process::start(port, pool, timeouts)
}

/// All of them at the same time; then one more, who finds the servers as they should be.
async fn converse(parameters: &ConnectionParameters, lives: Vec<Life>) {
    let mut clients = JoinSet::new();
    for life in lives {
        clients.spawn(live(parameters.clone(), life));
    }
    while let Some(ended) = clients.join_next().await {
        if let Err(panicked) = ended {
            std::panic::resume_unwind(panicked.into_panic());
        }
    }
    let probe = Life { turns: vec![vec![Op::Query(script::Text::Reads)]; 3], end: End::Leaves, fragment: 9 };
    live(parameters.clone(), probe).await;
}

async fn live(parameters: ConnectionParameters, life: Life) {
    let mut client = parameters.connect().await.unwrap();
    let mut reference = Backend::default();
    let (mut doomed, mut sent) = (false, Vec::new());
    for turn in &life.turns {
        doomed |= turn.iter().any(Op::kills);
        let messages = write(turn);
        let bytes = messages.concat();
        send(&mut client, &bytes, life.fragment).await;
        sent.extend_from_slice(&bytes);
        if doomed {
            // What a lost server leaves open is told in one of several ways; then the client goes.
            survive(&mut client, &sent).await;
            return;
        }
        for message in messages {
            for expected in answers(&mut reference, &message) {
                let heard = next(&mut client).await;
                assert_eq!(heard.as_ref(), Some(&expected), "in {life:#?}");
                HEARD.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    match &life.end {
        End::Leaves => client.terminate().await,
        End::Dies { turn, after, resets } => {
            let bytes = write(turn).concat();
            let bytes = &bytes[..bytes.len() * usize::from(*after) / 256];
            let _ = client.send(bytes).await;
            if *resets { client.reset() } else { drop(client) }
        }
    }
}

/// The messages of a turn, which a Sync ends.
fn write(turn: &[Op]) -> Vec<Vec<u8>> {
    let mut batch = Batch::new();
    for op in turn {
        batch = op.write(batch, &format!("t{}", NUMBER.fetch_add(1, Ordering::Relaxed)));
    }
    let batch = batch.sync();
    let (mut rest, mut messages) = (batch.bytes(), Vec::new());
    while let Some(&[_, a, b, c, d]) = rest.first_chunk() {
        let (message, behind) = rest.split_at(u32::from_be_bytes([a, b, c, d]) as usize + 1);
        messages.push(message.to_vec());
        rest = behind;
    }
    messages
}

async fn send(client: &mut Client, bytes: &[u8], fragment: usize) {
    for part in bytes.chunks(fragment.min(bytes.len())) {
        // It may have been told to go, and reads that.
        let _ = client.send(part).await;
        tokio::task::yield_now().await;
    }
}

/// What a server of the client's own would answer.
fn answers(reference: &mut Backend, message: &[u8]) -> Vec<Reply> {
    let step = reference.take(message[0], &message[5..]);
    let mut replies = step.replies;
    match step.fault {
        None => {}
        Some((Fault::Hangs, _)) => replies.extend(reference.cancelled(message[0] == b'Q')),
        Some((Fault::Dies | Fault::Breaks, tag)) => unreachable!("{tag} is not compared"),
    }
    replies
}

/// The next message that answers something.
async fn next(client: &mut Client) -> Option<Reply> {
    loop {
        let message = client.next().await?;
        if let Some(reply) = reply(&message) {
            return Some(reply);
        }
    }
}

fn reply(message: &Message) -> Option<Reply> {
    Some(match message.tag {
        b'S' | b'N' | b'A' => return None,
        b'D' => Reply::Row(message.row().swap_remove(0).unwrap_or_default()),
        b'C' => Reply::Complete(String::from_utf8_lossy(&message.body).trim_end_matches('\0').to_owned()),
        b'E' => Reply::Error(message.sqlstate().unwrap_or_default().leak()),
        b'Z' => Reply::Ready(message.status()),
        tag => Reply::Bare(tag),
    })
}

/// Reads what a lost server's client is told, which is nobody else's, and asks again until it is served as before, or
/// disconnected. Whatever was on its way when the server was lost fails, questions of this function too.
async fn survive(client: &mut Client, sent: &[u8]) {
    const SILENCE: Duration = Duration::from_millis(500);
    for _ in 0..40 {
        let tag = format!("last{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let batch = Batch::new().query("rollback").query(&format!("select '{tag}' from t"));
        let _ = client.send(batch.bytes()).await;
        while let Ok(heard) = client.next_within(SILENCE).await {
            let Some(message) = heard else { return };
            match reply(&message) {
                Some(Reply::Row(row)) if row == tag => return,
                Some(Reply::Row(row)) if row.starts_with("last") => {}
                Some(Reply::Row(row)) => {
                    let quoted = format!("'{row}'");
                    let is_own = sent.windows(quoted.len()).any(|window| window == quoted.as_bytes());
                    assert!(is_own, "a row of somebody else's: {row}");
                }
                _ => {}
            }
        }
    }
    panic!("the client is not served again");
}
