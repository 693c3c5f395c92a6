//! R15: prepared statements under churn. Each client knows what each of its names means, and hears what a server of its
//! own would tell it.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use e2e::{Herd, Setup};
use testkit::{Batch, Client, ConnectionParameters};
use tokio::task::JoinSet;
use wire::message::backend::TxStatus;

use super::{LONG, SHORT, answer::Answer, of_primary, seed, weather};
use crate::crosstalk::Dice;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_name_means_what_its_client_prepared() {
    run(60, SHORT, 300).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes; run by make test-long"]
async fn every_name_means_what_its_client_prepared_for_minutes() {
    run(200, LONG, 50_000).await;
}

#[derive(Debug, Default)]
struct Figures {
    executions: AtomicU64,
    errors_asked_for: AtomicU64,
    changes: AtomicU64,
}

async fn run(clients: u64, span: Duration, at_least: u64) {
    /// Far fewer than there are texts, so that they displace each other all the time.
    const KEPT: u32 = 10;
    let herd =
        Setup::shared().set("pool.size", 6).set("pool.max_prepared_statements", i64::from(KEPT)).start();
    for schema in ["one", "two"] {
        herd.psql(&format!("create schema {schema}; create table {schema}.churn (place text); insert into {schema}.churn values ('{schema}')"))
            .unwrap();
    }
    // Roles are shared by all databases of the cluster.
    herd.psql_directly(
        "do $$ begin create role churn_role; exception when duplicate_object then null; end $$;
         grant churn_role to app; grant usage on schema one, two to churn_role;
         alter default privileges for role app in schema one grant select on tables to churn_role;
         grant select on one.churn, two.churn to churn_role",
    )
    .unwrap();
    let (seed, over) = (seed(), Arc::new(AtomicBool::new(false)));
    let figures = Arc::new(Figures::default());
    let mut all = JoinSet::new();
    for id in 0..clients {
        let model = Model {
            id,
            dice: Dice::new(seed, id + 1),
            parameters: of_primary(&herd),
            names: HashMap::new(),
            place: "one",
            role: "app",
            figures: Arc::clone(&figures),
        };
        all.spawn(model.play(Arc::clone(&over)));
    }
    all.spawn(change_tables(of_primary(&herd), Arc::clone(&figures), Arc::clone(&over)));
    weather(all, over, span).await;
    report(&herd, &figures, clients, KEPT).await;
    assert!(figures.executions.load(Ordering::Relaxed) >= at_least, "{figures:?}");
}

async fn report(herd: &Herd, figures: &Figures, clients: u64, kept: u32) {
    let load = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
    println!(
        "prepared statements: {clients} clients, {} executions, {} errors asked for, 0 others, {} changes of tables",
        load(&figures.executions),
        load(&figures.errors_asked_for),
        load(&figures.changes)
    );
    assert!(!herd.proxy(0).log().contains("panicked"), "a task of the proxy panicked");
    // Every server connection in turn holds no more than it may.
    let mut all = Vec::new();
    for _ in 0..6 {
        let mut client = of_primary(herd).connect().await.unwrap();
        client.execute("begin").await;
        let count = client.value("select count(*) from pg_prepared_statements").await;
        assert!(count.parse::<u32>().unwrap() <= kept, "{count} statements on a server connection");
        all.push(client);
    }
}

/// Changes under the statements what makes their plans useless, but not what they say.
async fn change_tables(parameters: ConnectionParameters, figures: Arc<Figures>, over: Arc<AtomicBool>) {
    let mut client = parameters.connect().await.unwrap();
    while !over.load(Ordering::Relaxed) {
        for change in [
            "alter table one.churn add column more int",
            "begin; drop table one.churn; create table one.churn (place text); \
             insert into one.churn values ('one'); commit",
            "create index on two.churn (place)",
            "alter table two.churn alter column place type varchar(10)",
            "alter table two.churn alter column place type text",
        ] {
            client.execute(change).await;
            figures.changes.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
    }
}

/// A client, and what a server of its own would know of it.
struct Model {
    id: u64,
    dice: Dice,
    parameters: ConnectionParameters,
    /// What each name means: the constant in its text.
    names: HashMap<&'static str, String>,
    /// The first schema in search_path.
    place: &'static str,
    role: &'static str,
    figures: Arc<Figures>,
}

/// A request, and what has to come back.
struct Expected {
    batch: Batch,
    times: usize,
    rows: Vec<String>,
    errors: Vec<&'static str>,
}

const NAMES: [&str; 4] = ["a", "b", "c", "S_1"];

impl Model {
    async fn play(mut self, over: Arc<AtomicBool>) {
        while !over.load(Ordering::Relaxed) {
            let mut client = self.parameters.connect().await.unwrap();
            (self.place, self.role) = ("one", "app");
            self.names.clear();
            client.execute("set search_path = one").await;
            while !over.load(Ordering::Relaxed) && !self.dice.once_in(200) {
                let expected = self.request();
                self.check(&mut client, expected).await;
            }
        }
    }

    async fn check(&mut self, client: &mut Client, expected: Expected) {
        let answer = Answer::to(client, &expected.batch, expected.times).await;
        let told = (&answer.rows, &answer.errors);
        let wanted = (&expected.rows, &expected.errors.iter().map(|&code| code.to_owned()).collect());
        let shown = String::from_utf8_lossy(expected.batch.bytes()).into_owned();
        assert_eq!(told, wanted, "client {}: {}", self.id, shown.escape_debug());
        assert_eq!(answer.status, Some(TxStatus::Idle), "client {}", self.id);
        self.figures.executions.fetch_add(answer.rows.len() as u64, Ordering::Relaxed);
        self.figures.errors_asked_for.fetch_add(answer.errors.len() as u64, Ordering::Relaxed);
    }

    fn text(constant: &str) -> String {
        format!("select '{constant}' || $1 || place || current_user from churn")
    }

    /// Some texts are one client's alone, some everybody's, under any name.
    fn constant(&mut self) -> String {
        match self.dice.below(3) {
            0 => format!("own-{}-{}-", self.id, self.dice.below(5)),
            _ => format!("shared-{}-", self.dice.below(12)),
        }
    }

    fn row(&self, constant: &str, value: &str) -> String {
        format!("{constant}{value}{}{}", self.place, self.role)
    }

    fn request(&mut self) -> Expected {
        let name = NAMES[usize::try_from(self.dice.below(NAMES.len() as u64)).expect("it is small")];
        let value = self.dice.below(1000).to_string();
        let one = |batch: Batch, rows, errors| Expected { batch, times: 1, rows, errors };
        let bound = |batch: Batch, name: &str| batch.bind("", name, &[Some(&value)]).execute("", 0);
        match self.dice.below(16) {
            // Prepare a name that may have a meaning already.
            0 | 1 => {
                let constant = self.constant();
                let batch = bound(Batch::new().parse(name, &Self::text(&constant)), name).sync();
                if self.names.contains_key(name) {
                    return one(batch, vec![], vec!["42P05"]);
                }
                let row = self.row(&constant, &value);
                self.names.insert(name, constant);
                one(batch, vec![row], vec![])
            }
            // Give a name another meaning.
            2 => {
                let constant = self.constant();
                let batch = Batch::new().close_statement(name).parse(name, &Self::text(&constant));
                let row = self.row(&constant, &value);
                self.names.insert(name, constant);
                one(bound(batch, name).sync(), vec![row], vec![])
            }
            3 => {
                self.names.remove(name);
                one(Batch::new().close_statement(name).sync(), vec![], vec![])
            }
            4 => {
                let known = self.names.remove(name).is_some();
                let batch = Batch::new().query(&format!("deallocate \"{name}\""));
                one(batch, vec![], if known { vec![] } else { vec!["26000"] })
            }
            5 => self.forget_all(),
            // A text that is none leaves the name as it was.
            6 => one(bound(Batch::new().parse(name, "selec 1"), name).sync(), vec![], vec!["42601"]),
            7 => self.settings(),
            8 => self.in_a_transaction_rolled_back(name, &value),
            9 => {
                let constant = self.constant();
                let row = self.row(&constant, &value);
                one(bound(Batch::new().parse("", &Self::text(&constant)), "").sync(), vec![row], vec![])
            }
            // Two units at once, the second of which fails half-way.
            10 => {
                let constant = self.constant();
                let row = self.row(&constant, &value);
                let batch = bound(Batch::new().parse("", &Self::text(&constant)), "").sync();
                let batch = batch.parse("", "select 1 / $1::int").bind("", "", &[Some("0")]).execute("", 0);
                let batch = bound(batch, name).sync();
                Expected { batch, times: 2, rows: vec![row], errors: vec!["22012"] }
            }
            _ => match self.names.get(name) {
                Some(constant) => {
                    let row = self.row(constant, &value);
                    let batch = bound(bound(Batch::new(), name), name).describe_statement(name).sync();
                    one(batch, vec![row.clone(), row], vec![])
                }
                None => one(bound(Batch::new(), name).sync(), vec![], vec!["26000"]),
            },
        }
    }

    fn forget_all(&mut self) -> Expected {
        self.names.clear();
        let (batch, times) = if self.dice.once_in(2) {
            (Batch::new().query("deallocate all"), 1)
        } else {
            (self.place, self.role) = ("one", "app");
            (Batch::new().query("discard all").query("set search_path = one"), 2)
        };
        Expected { batch, times, rows: vec![], errors: vec![] }
    }

    /// Names of tables, and rights, mean something else afterwards.
    fn settings(&mut self) -> Expected {
        let batch = if self.dice.once_in(2) {
            self.place = if self.place == "one" { "two" } else { "one" };
            Batch::new().query(&format!("set search_path = {}", self.place))
        } else {
            self.role = if self.role == "app" { "churn_role" } else { "app" };
            Batch::new().query(&format!("set role {}", self.role))
        };
        Expected { batch, times: 1, rows: vec![], errors: vec![] }
    }

    /// A rollback takes settings back, and leaves statements.
    fn in_a_transaction_rolled_back(&mut self, name: &'static str, value: &str) -> Expected {
        let constant = self.constant();
        let other = if self.place == "one" { "two" } else { "one" };
        let row = format!("{constant}{value}{other}{}", self.role);
        let batch = Batch::new()
            .query("begin")
            .query(&format!("set search_path = {other}"))
            .close_statement(name)
            .parse(name, &Self::text(&constant))
            .bind("", name, &[Some(value)])
            .execute("", 0)
            .sync()
            .query("rollback");
        self.names.insert(name, constant);
        Expected { batch, times: 4, rows: vec![row], errors: vec![] }
    }
}
