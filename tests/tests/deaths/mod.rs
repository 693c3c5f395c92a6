//! Clients die after any byte that they send (CHECKS R12). Whoever gets their server connection next finds nothing of
//! them, and what they had not finished to write is not there.

mod scenarios;

use std::{collections::HashSet, time::Duration};

use e2e::{Herd, Setup, eventually};
use scenarios::{SCENARIOS, tag};
use testkit::{Client, Message};
use tokio::time::Instant;
use wire::message::startup;

use crate::crosstalk::Dice;

/// How a client ends its connection.
#[derive(Debug, Clone, Copy)]
enum Death {
    /// FIN, at once.
    Leaves,
    /// RST, at once.
    Breaks,
    /// FIN, after the server had time to answer.
    LeavesLater,
    /// RST, after a part of what it sends went ahead of the rest.
    BreaksInTwo,
}

const DEATHS: [Death; 4] = [Death::Leaves, Death::Breaks, Death::LeavesLater, Death::BreaksInTwo];

/// How many clients die however long it takes.
const AT_LEAST: usize = 100;

/// Everything of a client that could be left on a server connection, in one row.
const PROBE: &str = "select '$', current_setting('work_mem'), current_setting('search_path'), current_user,
    coalesce(current_setting('leak.tag', true), ''), coalesce(to_regclass('pg_temp.leaked')::text, ''),
    (select count(*) from pg_prepared_statements where name = 'leaked'),
    (select count(*) from pg_cursors), (select count(*) from pg_listening_channels()),
    (select count(*) from pg_locks where pid = pg_backend_pid() and locktype = 'advisory'),
    current_setting('client_encoding')";

/// What it gives after its tag where nothing is left.
const CLEAN: [&str; 10] = ["4MB", "\"$user\", public", "app", "", "", "0", "0", "0", "0", "UTF8"];

#[tokio::test]
async fn nothing_is_left_by_clients_that_die_after_any_byte() {
    run(Some(Duration::from_secs(12))).await;
}

#[tokio::test]
#[ignore = "takes minutes: every byte of 40 scenarios, four deaths each; run by make test-long"]
async fn nothing_is_left_by_clients_that_die_after_each_byte() {
    run(None).await;
}

#[tokio::test]
async fn clients_that_die_while_they_log_in_leave_nothing() {
    let herd = Setup::shared().set("pool.size", 1).start();
    let app = herd.app();
    let mut packet = Vec::new();
    let pairs = [(&b"user"[..], app.user.as_bytes()), (b"database", app.database.as_bytes())];
    startup::session(app.version, &pairs, &mut packet);
    // The first message of SCRAM, which is answered, after the packet.
    packet.extend_from_slice(b"p\0\0\0\x37SCRAM-SHA-256\0\0\0\0\x21n,,n=,r=aaaaaaaaaaaaaaaaaaaaaaaaaa");
    for cut in 0..=packet.len() {
        for breaks in [false, true] {
            let mut client = Client::open(app.address).await.unwrap();
            client.send(&packet[..cut]).await.unwrap();
            if breaks { client.reset() } else { drop(client) }
        }
    }
    let mut next = herd.connect().await;
    probe(&mut next, 0).await;
    assert!(!herd.proxy(0).log().contains("panicked"), "a task of the proxy panicked");
    println!("{} clients died in their login", 2 * (packet.len() + 1));
}

/// Lets clients die, in an order made by chance, until the time is over or every death was died.
async fn run(span: Option<Duration>) {
    let herd = Setup::shared().set("pool.size", 1).start();
    herd.psql("create table sink (tag text)").unwrap();
    // Roles are shared by all databases of the cluster.
    herd.psql_directly(
        "do $$ begin create role dead_role; grant dead_role to app; exception when duplicate_object then null; end $$",
    )
    .unwrap();
    let seed = std::env::var("E2E_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0x5eed_u64);
    println!("seed {seed} (E2E_SEED)");
    let mut dice = Dice::new(seed, 12);

    let mut cuts: Vec<(usize, usize, Death)> = Vec::new();
    for (at, scenario) in SCENARIOS.iter().enumerate() {
        for cut in 0..=scenario.bytes(0).len() {
            cuts.extend(DEATHS.map(|death| (at, cut, death)));
        }
    }
    for at in (1..cuts.len()).rev() {
        cuts.swap(at, usize::try_from(dice.below(at as u64 + 1)).expect("it is below a length"));
    }

    let mut next = herd.proxy(0).connect_to("read-write").await;
    let begun = Instant::now();
    let mut died = 0;
    let mut unfinished: Vec<(String, String)> = Vec::new();
    for (number, &(at, cut, death)) in cuts.iter().enumerate() {
        // On a busy machine it takes longer, for the same number at least.
        if number >= AT_LEAST && span.is_some_and(|span| begun.elapsed() > span) {
            break;
        }
        let bytes = SCENARIOS[at].bytes(number);
        if cut < bytes.len() {
            let what = format!("{}, {death:?} after {cut} of {} bytes", SCENARIOS[at].name, bytes.len());
            unfinished.push((tag(number), what));
        }
        die(&herd, &bytes[..cut], death, &mut dice).await;
        died += 1;
        let what = probe(&mut next, number).await;
        assert_eq!(what, CLEAN, "left by {number}: {}, {death:?} after {cut} bytes", SCENARIOS[at].name);
    }
    println!("{died} of {} clients died in {} scenarios, {:?}", cuts.len(), SCENARIOS.len(), begun.elapsed());
    check_writes(&herd, &unfinished);
    assert!(!herd.proxy(0).log().contains("panicked"), "a task of the proxy panicked");
}

/// Sends the bytes and dies.
async fn die(herd: &Herd, bytes: &[u8], death: Death, dice: &mut Dice) {
    let mut client = herd.proxy(0).connect_to("read-write").await;
    // A pause only makes for variety: whatever happens in it, what is checked later has to hold.
    let pause = Duration::from_millis(dice.below(4));
    // It may have been told to go.
    match death {
        Death::Leaves | Death::Breaks => drop(client.send(bytes).await),
        Death::LeavesLater => {
            let _ = client.send(bytes).await;
            tokio::time::sleep(pause).await;
        }
        Death::BreaksInTwo => {
            let split = usize::try_from(dice.below(bytes.len() as u64 + 1)).expect("it is below a length");
            let _ = client.send(&bytes[..split]).await;
            tokio::time::sleep(pause).await;
            let _ = client.send(&bytes[split..]).await;
        }
    }
    match death {
        Death::Leaves | Death::LeavesLater => drop(client),
        Death::Breaks | Death::BreaksInTwo => client.reset(),
    }
}

/// Asks as the next owner of the one server connection; gives what is left on it.
async fn probe(next: &mut Client, number: usize) -> Vec<String> {
    let own = format!("next {number}");
    let answers = next.query(&PROBE.replacen('$', &own, 1)).await;
    // what changed between servers, and that it had to wait on a busy machine, is told in between
    let told = |tag: &u8| !matches!(tag, b'S' | b'N');
    let tags: Vec<u8> = answers.iter().map(|message| message.tag).filter(told).collect();
    assert_eq!(tags, b"TDCZ", "{number}: {answers:?}");
    let row = answers.iter().find(|message| message.tag == b'D').map(Message::row).unwrap_or_default();
    let mut row: Vec<String> = row.into_iter().map(Option::unwrap_or_default).collect();
    assert_eq!(row.remove(0), own, "an answer to somebody else's question");
    row
}

/// Nothing was written by clients that had not sent everything, and no server connection is in the middle of anything.
fn check_writes(herd: &Herd, unfinished: &[(String, String)]) {
    let written = herd.psql_directly("select tag from sink").unwrap();
    let written: HashSet<&str> = written.lines().collect();
    let wrong: Vec<_> = unfinished.iter().filter(|(tag, _)| written.contains(tag.as_str())).collect();
    assert!(wrong.is_empty(), "written by clients that died before they had asked for it: {wrong:#?}");
    let busy = format!(
        "select count(*) from pg_stat_activity where datname = '{}' and usename = 'app' and state <> 'idle'",
        herd.database()
    );
    eventually("all server connections are idle", Duration::from_secs(10), || {
        (herd.cluster().psql(0, &busy).unwrap() == "0").then_some(())
    });
}
