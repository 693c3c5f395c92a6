//! Clients that do nothing, which is what most clients do at any time.

use testkit::{Batch, Client, ConnectionParameters};
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinSet,
};

/// Logins under way at a time.
const LOGINS: usize = 16;

/// Each with a setting and a prepared statement of its own.
#[derive(Debug)]
pub(super) struct Idle {
    runtime: Runtime,
    clients: Vec<Client>,
}

impl Idle {
    pub(super) fn start(parameters: &ConnectionParameters, count: usize) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let clients = runtime.block_on(async {
            let mut logins = JoinSet::new();
            let mut clients = Vec::new();
            for number in 0..count {
                if logins.len() >= LOGINS {
                    clients.extend(logins.join_next().await.map(Result::unwrap));
                }
                logins.spawn(log_in(parameters.clone().with("application_name", &format!("idle {number}"))));
            }
            while let Some(client) = logins.join_next().await {
                clients.push(client.unwrap());
            }
            clients
        });
        Self { runtime, clients }
    }

    pub(super) fn count(&self) -> usize {
        self.clients.len()
    }

    /// How many cannot go on as if nothing had happened: they were disconnected, told something, or have lost what was
    /// theirs.
    pub(super) fn count_disturbed(mut self) -> usize {
        let clients = &mut self.clients;
        self.runtime.block_on(async {
            let mut disturbed = 0;
            for client in clients {
                let heard = client.run(&Batch::new().bind("", "own", &[]).execute("", 0).sync()).await;
                let tags: String = heard.iter().map(|message| char::from(message.tag)).collect();
                let row = heard.iter().find(|message| message.tag == b'D').map(testkit::Message::row);
                let name = row.and_then(|mut row| row.pop().flatten()).unwrap_or_default();
                if tags != "2DCZ" || !name.starts_with("idle ") {
                    println!("an idle client got {heard:?}");
                    disturbed += 1;
                }
            }
            disturbed
        })
    }
}

async fn log_in(parameters: ConnectionParameters) -> Client {
    let mut client = parameters.connect().await.unwrap();
    let prepared =
        client.run(&Batch::new().parse("own", "select current_setting('application_name')").sync()).await;
    assert!(prepared.iter().all(|message| message.tag != b'E'), "{prepared:?}");
    client
}
