//! A driver that people use, over the extended protocol and in binary, as it comes.

use std::sync::Arc;

use tokio::io::AsyncReadExt;
use tokio_postgres::{Client, Config, NoTls, error::SqlState};

use super::Fake;
use crate::{Console, ConsoleClient, ConsoleRole, serve};

async fn connect() -> Client {
    let (near, mut far) = tokio::io::duplex(1 << 16);
    let console = Arc::new(Console::new(Vec::new(), Arc::new(Fake::new())));
    tokio::spawn(async move {
        // The startup packet: its length, which counts itself, comes first.
        let length = far.read_u32().await.unwrap() as usize;
        far.read_exact(&mut vec![0; length - 4]).await.unwrap();
        let client = ConsoleClient { id: 1, user: "root".into(), role: ConsoleRole::Admin };
        serve(far, client, console).await;
    });
    let (client, connection) = Config::new().user("root").connect_raw(near, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

#[tokio::test]
async fn a_driver_reads_numbers_texts_and_nulls() {
    let client = connect().await;
    let rows = client.query("SHOW DATABASES", &[]).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].get::<_, &str>("name"), "shop");
    assert_eq!(rows[0].get::<_, i32>("port"), 5432);
    assert_eq!(rows[0].get::<_, Option<&str>>("force_user"), None);
    let nodes = client.query("SHOW NODES", &[]).await.unwrap();
    assert_eq!(nodes[2].get::<_, i64>("lag_bytes"), 2);
    assert!(client.query_one("SHOW REGIONS", &[]).await.is_err(), "three rows are not one");
    let events = client.query("SHOW EVENTS", &[]).await.unwrap();
    let time = events[1].get::<_, std::time::SystemTime>("time");
    assert_eq!(time.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs(), 1);
}

#[tokio::test]
async fn a_driver_runs_commands_in_transactions_and_outlives_errors() {
    let mut client = connect().await;
    let transaction = client.transaction().await.unwrap();
    assert_eq!(transaction.execute("RELOAD", &[]).await.unwrap(), 0);
    transaction.commit().await.unwrap();
    let error = client.query("SHOW POOLZ", &[]).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::SYNTAX_ERROR));
    assert_eq!(client.query_one("SELECT 1", &[]).await.unwrap().get::<_, i32>(0), 1);
    assert_eq!(
        client.batch_execute("SET a = 1; PAUSE; RESUME").await.map_err(|error| error.to_string()),
        Ok(())
    );
}
