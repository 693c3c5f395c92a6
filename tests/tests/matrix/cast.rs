//! One client for each thing that it can be in the middle of when the primary is lost.

use e2e::Herd;
use testkit::{Batch, Client, Message};
use tokio::runtime::{Builder, Runtime};
use wire::message::backend::TxStatus;

/// Rows that a COPY to the client has: more than fits between server and client, who does not read them.
const COPIED: u32 = 4_000_000;

/// See the module. Each has done its part up to the middle.
pub(super) struct Cast {
    runtime: Runtime,
    transaction: Client,
    cursor: Client,
    prepared: Client,
    listener: Client,
    pipeline: Client,
    copy_in: Client,
    copy_out: Client,
    /// What ties a session to its server connection, by name.
    pinned: Vec<(&'static str, Client)>,
}

impl Cast {
    /// Enters, each up to the middle of what it does. Makes its table first.
    pub(super) fn enter(herd: &Herd) -> Self {
        herd.psql("create table scene (who text, n int)").unwrap();
        herd.cluster().wait_for_all().unwrap();
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let mut clients: Vec<Client> = runtime.block_on(async {
            let mut clients = Vec::new();
            for _ in 0..7 {
                clients.push(herd.connect().await);
            }
            clients
        });
        let mut next = || clients.pop().unwrap();
        let (mut transaction, mut cursor, mut prepared, mut listener) = (next(), next(), next(), next());
        let (mut pipeline, mut copy_in, mut copy_out) = (next(), next(), next());
        let pinned = runtime.block_on(async {
            transaction.execute("begin").await;
            transaction.execute("insert into scene values ('transaction', 1)").await;
            cursor.execute("begin; declare c cursor for select generate_series(1, 1000)").await;
            cursor.execute("fetch 10 from c").await;
            let parse = Batch::new().parse("own", "insert into scene values ('prepared', $1)").sync();
            prepared.run(&parse).await;
            listener.execute("listen scene").await;
            begin_copy(&mut copy_in, "copy scene from stdin", b'G').await;
            copy_in.send(Batch::new().message(b'd', b"copy in\t1\n").bytes()).await.unwrap();
            // in a transaction that has written, so that no standby does it
            copy_out.execute("begin").await;
            copy_out.execute("insert into scene values ('copy out', 1)").await;
            let copy = format!("copy (select generate_series(1, {COPIED})) to stdout");
            begin_copy(&mut copy_out, &copy, b'H').await;
            let mut pinned = Vec::new();
            for (what, sql) in [
                ("a temporary table", "create temporary table own (n int)"),
                ("an advisory lock", "select pg_advisory_lock(4711)"),
                ("a cursor with hold", "declare h cursor with hold for select 1"),
            ] {
                let mut client = herd.connect().await;
                client.execute(sql).await;
                pinned.push((what, client));
            }
            // the last, in the middle of which the fault comes
            let mut batch = Batch::new().parse("add", "insert into scene values ('pipeline', 1)");
            for sql in ["add", "add", "wait", "add"] {
                batch = match sql {
                    "wait" => batch.parse("", "select pg_sleep(60)").bind("", "", &[]).execute("", 0),
                    name => batch.bind("", name, &[]).execute("", 0),
                };
            }
            pipeline.send(batch.sync().bytes()).await.unwrap();
            pinned
        });
        e2e::eventually("the pipeline waits", crate::topology::PATIENCE, || {
            let waiting = "select count(*) from pg_stat_activity where wait_event = 'PgSleep'";
            (herd.psql_directly(waiting).ok()? == "1").then_some(())
        });
        Self { runtime, transaction, cursor, prepared, listener, pipeline, copy_in, copy_out, pinned }
    }

    /// The primary was lost and has been replaced: each is told what became of its part, and those who can go on.
    pub(super) fn leave(self, herd: &Herd) {
        let Self { runtime, mut transaction, mut cursor, mut prepared, .. } = self;
        let (mut listener, mut pipeline) = (self.listener, self.pipeline);
        runtime.block_on(async {
            for (client, sql) in [
                (&mut transaction, "insert into scene values ('transaction', 2)"),
                (&mut cursor, "fetch 10 from c"),
            ] {
                let heard = client.query(sql).await;
                assert_eq!(
                    (codes(&heard).as_slice(), Client::status(&heard)),
                    (&["40001".to_owned()][..], TxStatus::Failed)
                );
                goes_on(client, sql).await;
            }

            let call = Batch::new().bind("", "own", &[Some("7")]).execute("", 0).sync();
            assert_eq!(codes(&prepared.run(&call).await), Vec::<String>::new());

            let heard = pipeline.until_ready().await;
            assert_eq!(codes(&heard), ["08007"], "{heard:?}");
            goes_on(&mut pipeline, "the pipeline").await;

            // whoever copies learns it by an error, and goes on if the protocol allows it
            for (what, mut client) in [("COPY FROM", self.copy_in), ("COPY TO", self.copy_out)] {
                let end = Batch::new().message(b'd', b"copy in\t2\n").message(b'c', b"");
                if what == "COPY FROM" {
                    let _ = client.send(end.bytes()).await;
                }
                let heard = client.until_ready().await;
                let codes = codes(&heard);
                println!("{what}: {codes:?}");
                // cut within a message, nothing can follow it
                let Some(b'Z') = heard.last().map(|message| message.tag) else { continue };
                assert!(matches!(codes.as_slice(), [code] if code != "57014"), "{what}: {codes:?}");
                goes_on(&mut client, what).await;
            }

            for (what, mut client) in self.pinned {
                let heard = client.query("select 1").await;
                assert_eq!(codes(&heard), ["57P01"], "{what}: {heard:?}");
                assert_ne!(heard.last().map(|message| message.tag), Some(b'Z'), "{what}");
            }

            herd.psql("notify scene, 'again'").unwrap();
            loop {
                let message = listener.next().await.expect("the listener stays connected");
                if message.tag == b'A' {
                    break;
                }
            }
        });
        let rows = herd.psql_directly("select who, n from scene order by 1, 2").unwrap();
        assert_eq!(rows, "prepared|7", "what was not told to have succeeded");
    }
}

async fn begin_copy(client: &mut Client, sql: &str, begins: u8) {
    client.send(Batch::new().query(sql).bytes()).await.unwrap();
    let heard = client.next().await.unwrap();
    assert_eq!(heard.tag, begins, "{heard:?}");
}

fn codes(messages: &[Message]) -> Vec<String> {
    messages.iter().filter(|message| message.tag == b'E').filter_map(Message::sqlstate).collect()
}

async fn goes_on(client: &mut Client, what: &str) {
    let heard = client.query("rollback").await;
    assert_eq!(Client::status(&heard), TxStatus::Idle, "{what}: {heard:?}");
    assert_eq!(client.value("select 'well'").await, "well", "{what}");
}
