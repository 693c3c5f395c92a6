//! Which node a statement reaches.

mod hints;
mod own_writes;
mod policies;
mod statements;
mod transactions;

use std::{collections::BTreeMap, time::Duration};

use e2e::{Herd, Setup};
use testkit::{Batch, Client, Message};
use tokio::time::{Instant, sleep};

/// A herd whose one proxy stands in `us` and has no clients but this one, so that the console shows where each of
/// its requests went.
struct Watched {
    herd: Herd,
    client: Client,
    admin: Client,
}

/// What a request came to.
struct Outcome {
    /// The nodes that it was sent to.
    nodes: Vec<String>,
    /// How often it was silently run again.
    reruns: u64,
    messages: Vec<Message>,
}

impl Watched {
    /// Runs `schema` on the primary as superuser, and begins.
    async fn new(setup: Setup, schema: &str) -> Self {
        let herd = setup.regions(["us"]).start();
        herd.psql_directly(schema).unwrap();
        herd.cluster().wait_for_all().unwrap();
        // What is known of the database's functions is a minute old at most: begin with what there is now.
        let proxy = herd.proxy(0);
        proxy.kill();
        proxy.spawn();
        proxy.wait_until_ready();
        proxy.wait_until_standbys_are_known();
        let (client, admin) = (proxy.connect().await, proxy.admin().await);
        Self { herd, client, admin }
    }

    /// Waits until the proxy has read which functions the database has, which it does once somebody asks: until this
    /// read goes to the replica.
    async fn until_functions_are_known(&mut self, sql: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.query(sql).await.nodes != ["us"] {
            assert!(Instant::now() < deadline, "{sql} never goes to the replica");
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn query(&mut self, sql: &str) -> Outcome {
        self.run(&Batch::new().query(sql)).await
    }

    async fn run(&mut self, batch: &Batch) -> Outcome {
        let (before, reruns_before) = self.counts().await;
        let messages = self.client.run(batch).await;
        let (after, reruns) = self.counts().await;
        let grown = |(name, count): (&String, &u64)| (before.get(name) != Some(count)).then(|| name.clone());
        Outcome { nodes: after.iter().filter_map(grown).collect(), reruns: reruns - reruns_before, messages }
    }

    /// Requests sent to each node, and requests that were run again.
    async fn counts(&mut self) -> (BTreeMap<String, u64>, u64) {
        let nodes = self.admin.rows("SHOW NODES").await.unwrap();
        let number = |cell: &Option<String>| cell.as_ref().map_or(0, |text| text.parse::<u64>().unwrap());
        let nodes = nodes.iter().map(|row| (row[0].clone().unwrap(), number(&row[18]) + number(&row[19])));
        let nodes = nodes.collect();
        let stats = self.admin.rows("SHOW EXTENDED STATS").await.unwrap();
        // Behind PgBouncer's columns: clients, logins, reads, others, reruns, held, bytes, three counts of commits.
        (nodes, stats.iter().map(|row| number(&row[row.len() - 6])).sum())
    }

    /// That a text goes to this node alone.
    async fn check(&mut self, sql: &str, node: &str) {
        let Outcome { nodes, reruns, messages } = self.query(sql).await;
        assert_eq!(nodes, [node], "{sql}: {messages:?}");
        assert_eq!(reruns, 0, "{sql}: {messages:?}");
    }
}

impl Outcome {
    /// The SQLSTATE of the first error.
    fn error(&self) -> Option<String> {
        self.messages.iter().find(|message| message.tag == b'E').and_then(Message::sqlstate)
    }
}
