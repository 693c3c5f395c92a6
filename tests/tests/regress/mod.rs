//! PostgreSQL's own regression SQL: whatever is called a read runs on a real standby.

mod corpus;
mod differences;
mod functions;
mod installcheck;
mod pipeline;
mod script;
mod suite;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use e2e::{Herd, Setup};
use sql::Kind;
use testkit::{Batch, Client, ConnectionParameters, Message};
use wire::message::{backend::TxStatus, startup::PROTOCOL_3_0};

use corpus::Corpus;
use functions::Known;
use script::Statement;

/// Scripts that take the server apart, or are about psql.
const LEFT_OUT: &[&str] = &["infinite_recurse", "psql", "psql_crosstab", "stats", "tablespace"];

/// Scripts of the short run, after `test_setup`; those that others build on come first.
const SHORT: &[&str] = &[
    "create_function_sql",
    "create_misc",
    "create_operator",
    "create_view",
    "create_aggregate",
    "aggregates",
    "arrays",
    "case",
    "copyselect",
    "date",
    "explain",
    "expressions",
    "functional_deps",
    "groupingsets",
    "int8",
    "join",
    "json",
    "limit",
    "matview",
    "numerology",
    "prepare",
    "privileges",
    "rangefuncs",
    "rowsecurity",
    "rules",
    "select",
    "select_for_update",
    "select_into",
    "select_views",
    "sequence",
    "strings",
    "subselect",
    "tablesample",
    "temp",
    "transactions",
    "triggers",
    "union",
    "unlogged",
    "window",
    "with",
    "xml",
    "xmlmap",
];

#[tokio::test]
async fn no_read_of_the_regression_scripts_is_refused_by_a_standby() {
    classify_and_run(|script| SHORT.contains(&script)).await;
}

#[tokio::test]
#[ignore = "takes minutes; run by make test-regress"]
async fn no_read_of_all_regression_scripts_is_refused_by_a_standby() {
    classify_and_run(|_| true).await;
}

async fn classify_and_run(wanted: impl Fn(&str) -> bool) {
    let Some(corpus) = Corpus::get() else { return };
    let herd = Setup::own(1).regions(["us"]).set("routing.read_your_writes", "off").start();
    // Where the servers can read it.
    let corpus = copy(&corpus.regress(), &herd.cluster().directory().join("regress"));
    let mut scripts: Vec<String> = fs::read_dir(corpus.join("sql"))
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_suffix(".sql").map(str::to_owned))
        .filter(|name| !LEFT_OUT.contains(&name.as_str()) && name != "test_setup" && wanted(name))
        .collect();
    scripts.sort_by_key(|name| {
        (SHORT.iter().position(|other| other == name).unwrap_or(SHORT.len()), name.clone())
    });
    scripts.insert(0, "test_setup".to_owned());
    let mut tally = Tally::default();
    for script in &scripts {
        let text = fs::read(corpus.join("sql").join(format!("{script}.sql"))).unwrap();
        let statements = script::split(&String::from_utf8_lossy(&text), &corpus);
        Run::new(&herd).await.script(&statements, script, &mut tally).await;
    }
    println!("regression SQL: {} scripts, {tally:?}", scripts.len());
    assert!(tally.reads_run > 1000, "too little was tried: {tally:?}");
    assert!(tally.shown_to_clients.is_empty(), "{:#?}", tally.shown_to_clients);
}

fn copy(from: &Path, to: &Path) -> PathBuf {
    let status = Command::new("cp").arg("-r").arg(from).arg(to).status().unwrap();
    assert!(status.success());
    to.to_owned()
}

/// What became of the statements.
#[derive(Debug, Default)]
struct Tally {
    reads: u32,
    session: u32,
    others: u32,
    /// Reads that the primary carried out, and that were not in the middle of a transaction: run on the standby.
    reads_run: u32,
    /// The standby's own errors for them, by SQLSTATE, most of them about temporary tables that only the other
    /// session has.
    errors: BTreeMap<String, u32>,
    /// Reads refused because it is a standby, silently run again by the proxy.
    refused: Vec<String>,
    /// The same, but a client of the proxy was told.
    shown_to_clients: Vec<String>,
}

/// One script: the same session on the primary and on the standby.
struct Run<'a> {
    herd: &'a Herd,
    primary: Client,
    standby: Client,
    watch: [Client; 2],
    known: Known,
    in_step: bool,
}

impl<'a> Run<'a> {
    async fn new(herd: &'a Herd) -> Self {
        let connect = async |node: usize| {
            let mut client = superuser(herd, herd.cluster().node(node).port()).connect().await.unwrap();
            client.execute("set statement_timeout = '5s'; set lock_timeout = '1s'").await;
            client
        };
        let (primary, standby) = (connect(0).await, connect(1).await);
        let mut watch = [connect(0).await, connect(1).await];
        let mut known = Known::default();
        known.load(&mut watch[0], "true").await;
        Self { herd, primary, standby, watch, known, in_step: false }
    }

    async fn script(mut self, statements: &[Statement], script: &str, tally: &mut Tally) {
        let mut in_transaction = false;
        for Statement { text, data } in statements {
            let kind = sql::classify(text.as_bytes(), &self.known).kind;
            match kind {
                Kind::Read | Kind::Empty => tally.reads += 1,
                Kind::Session => tally.session += 1,
                Kind::Write
                | Kind::Begin { .. }
                | Kind::Commit { .. }
                | Kind::Rollback { .. }
                | Kind::Control => tally.others += 1,
            }
            let mut batch = Batch::new().query(text);
            if let Some(data) = data {
                batch = batch.message(b'd', data.as_bytes());
            }
            // What comes when no COPY waits for it is ignored.
            for _ in 0..text.to_lowercase().matches("from std").count() {
                batch = batch.message(b'c', b"");
            }
            let messages = self.primary.run(&batch).await;
            let Some(b'Z') = messages.last().map(|message| message.tag) else {
                // The statement ended its own session.
                return;
            };
            let failed = messages.iter().any(|message| message.tag == b'E');
            if kind == Kind::Read && !in_transaction && !failed {
                self.on_standby(text, script, tally).await;
            } else if kind == Kind::Session && !in_transaction {
                self.standby.query(text).await;
            } else {
                self.in_step = false;
                if self.known.may_change_with(text) {
                    self.known.load(&mut self.watch[0], "n.nspname <> 'pg_catalog'").await;
                }
            }
            in_transaction = Client::status(&messages) != TxStatus::Idle;
        }
    }

    async fn on_standby(&mut self, text: &str, script: &str, tally: &mut Tally) {
        if !self.in_step {
            let position = self.watch[0].value("select pg_current_wal_insert_lsn()").await;
            let replayed = format!("select pg_last_wal_replay_lsn() >= '{position}'");
            while self.watch[1].value(&replayed).await != "t" {}
            self.in_step = true;
        }
        tally.reads_run += 1;
        let messages = self.standby.query(text).await;
        let Some(error) = messages.iter().find(|message| message.tag == b'E') else { return };
        let code = error.sqlstate().unwrap_or_default();
        *tally.errors.entry(code.clone()).or_default() += 1;
        let because_standby = code == "25006" || error.complaint().contains("recovery");
        if !because_standby {
            return;
        }
        let shown = format!("{script}: {} => {code} {}", text.trim(), error.complaint());
        let proxy = self.herd.proxy(0);
        let mut client = superuser(self.herd, proxy.port()).connect().await.unwrap();
        let told = client.query(text).await;
        match told.iter().find(|message| message.tag == b'E').and_then(Message::sqlstate) {
            Some(code) if code == "25006" || code == "0A000" || code == "55000" => {
                tally.shown_to_clients.push(shown);
            }
            _ => tally.refused.push(shown),
        }
    }
}

/// The superuser in the herd's database, at any port.
fn superuser(herd: &Herd, port: u16) -> ConnectionParameters {
    let login = herd.cluster().superuser();
    ConnectionParameters {
        address: ([127, 0, 0, 1], port).into(),
        user: login.user.clone(),
        password: login.password.clone(),
        database: herd.database().to_owned(),
        more: Vec::new(),
        version: PROTOCOL_3_0,
    }
}
