//! tokio-postgres with its defaults: every statement is prepared under a name of its own, requests are pipelined.

use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::Bytes;
use drivers::{CLIENTS, Check, run, variable};
use futures_util::{
    SinkExt, StreamExt, TryStreamExt,
    future::{join_all, poll_fn, try_join_all},
    pin_mut,
};
use tokio_postgres::{AsyncMessage, Client, Config, IsolationLevel, NoTls, error::SqlState};

fn config() -> Config {
    let mut config = Config::new();
    config.host(variable("PGHOST")).port(variable("PGPORT").parse().expect("a port is a number"));
    config.user(variable("PGUSER")).password(variable("PGPASSWORD")).dbname(variable("PGDATABASE"));
    config
}

async fn connect() -> Result<Client> {
    let (client, connection) = config().connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// The SQLSTATE of what has to fail.
fn state<T>(result: Result<T, tokio_postgres::Error>) -> Option<SqlState> {
    result.err().and_then(|error| error.code().cloned())
}

async fn values() -> Result<()> {
    let client = connect().await?;
    let json = serde_json::json!({"a": [1, null, "ä"]});
    for _ in 0..5 {
        let row = client
            .query_one(
                "select $1::int, $2::text, $3::bytea, $4::int[], $5::jsonb, $6::float8, $7::bool, 'happy'::mood::text",
                &[&7_i32, &"ä€😀'\\", &&b"\0\x01\xff"[..], &vec![Some(1_i32), None], &json, &1.5e300_f64, &None::<bool>],
            )
            .await?;
        ensure!(row.get::<_, i32>(0) == 7 && row.get::<_, &str>(1) == "ä€😀'\\");
        ensure!(
            row.get::<_, &[u8]>(2) == b"\0\x01\xff" && row.get::<_, Vec<Option<i32>>>(3) == [Some(1), None]
        );
        ensure!(row.get::<_, serde_json::Value>(4) == json && row.get::<_, f64>(5) == 1.5e300);
        ensure!(row.get::<_, Option<bool>>(6).is_none() && row.get::<_, &str>(7) == "happy");
    }
    Ok(())
}

async fn worker(id: i32) -> Result<()> {
    let mut client = connect().await?;
    let insert = client.prepare("insert into items (worker, n, note) values ($1, $2, $3)").await?;
    let select = client.prepare("select note from items where worker = $1 and n = $2").await?;
    let add = client.prepare("update accounts set balance = balance + $2 where id = $1").await?;
    for n in 0..20 {
        let note = format!("w{id}-{n}");
        client.execute(&insert, &[&id, &n, &note]).await?;
        let row = client.query_one(&select, &[&id, &n]).await?;
        ensure!(row.get::<_, &str>(0) == note);
        let (low, high) = ((id % 10).min(n % 10) + 1, (id % 10).max(n % 10) + 1);
        let transaction = client.transaction().await?;
        if low != high {
            transaction.execute(&add, &[&low, &-1_i64]).await?;
            transaction.execute(&add, &[&high, &1_i64]).await?;
        }
        // Dropped, it is rolled back.
        if n % 5 != 0 {
            transaction.commit().await?;
        }
    }
    Ok(())
}

async fn many_clients() -> Result<()> {
    for ended in join_all((0..CLIENTS).map(|id| tokio::spawn(worker(id)))).await {
        ended??;
    }
    let mut client = connect().await?;
    let transaction = client.transaction().await?;
    let row = transaction
        .query_one("select count(distinct note), (select sum(balance)::int8 from accounts) from items", &[])
        .await?;
    ensure!(row.get::<_, i64>(0) == i64::from(CLIENTS) * 20 && row.get::<_, i64>(1) == 10_000);
    Ok(())
}

async fn pipelined() -> Result<()> {
    let client = connect().await?;
    let statement = client.prepare("select $1::int").await?;
    let numbers: Vec<i32> = (0..500).collect();
    let asked = numbers
        .iter()
        .map(async |n| client.query_one(&statement, &[n]).await.map(|row| row.get::<_, i32>(0)));
    ensure!(try_join_all(asked).await? == numbers);
    let (one, failed, two) = tokio::join!(
        client.query_one("select 1", &[]),
        client.query_one("select 1 / $1::int", &[&0]),
        client.query_one("select 2", &[])
    );
    ensure!(one?.get::<_, i32>(0) == 1 && two?.get::<_, i32>(0) == 2);
    ensure!(state(failed) == Some(SqlState::DIVISION_BY_ZERO));
    Ok(())
}

async fn own_writes() -> Result<()> {
    let client = connect().await?;
    client.batch_execute("create table own (n int)").await?;
    for n in 0..50_i32 {
        client.execute("insert into own values ($1)", &[&n]).await?;
        let row = client.query_one("select count(*) from own", &[]).await?;
        ensure!(row.get::<_, i64>(0) == i64::from(n) + 1);
    }
    Ok(())
}

async fn transactions() -> Result<()> {
    let mut client = connect().await?;
    let mut transaction =
        client.build_transaction().isolation_level(IsolationLevel::Serializable).start().await?;
    transaction.batch_execute("create table tx (a int primary key); insert into tx values (1)").await?;
    let savepoint = transaction.transaction().await?;
    ensure!(
        state(savepoint.execute("insert into tx values (1)", &[]).await) == Some(SqlState::UNIQUE_VIOLATION)
    );
    savepoint.rollback().await?;
    transaction.execute("insert into tx values (2)", &[]).await?;
    transaction.commit().await?;
    let row = client.query_one("select array_agg(a order by a) from tx", &[]).await?;
    ensure!(row.get::<_, Vec<i32>>(0) == [1, 2]);
    ensure!(state(client.prepare("selec 1").await) == Some(SqlState::SYNTAX_ERROR));
    let read_only = client.build_transaction().read_only(true).start().await?;
    ensure!(
        state(read_only.execute("insert into tx values (9)", &[]).await)
            == Some(SqlState::READ_ONLY_SQL_TRANSACTION)
    );
    Ok(())
}

async fn copy() -> Result<()> {
    let client = connect().await?;
    let sink = client.copy_in::<_, Bytes>("copy copied from stdin").await?;
    pin_mut!(sink);
    for n in 0..5000 {
        sink.send(Bytes::from(format!("{n}\tnote {n}\t\\N\n"))).await?;
    }
    ensure!(sink.finish().await? == 5000);
    let lines: Vec<Bytes> = client.copy_out("copy copied to stdout").await?.try_collect().await?;
    ensure!(
        lines.iter().map(|part| part.iter().filter(|&&byte| byte == b'\n').count()).sum::<usize>() == 5000
    );
    // Dropped half-way, it is undone.
    let sink = client.copy_in::<_, Bytes>("copy copied from stdin").await?;
    drop(sink);
    let row = client.query_one("select count(*) from copied", &[]).await?;
    ensure!(row.get::<_, i64>(0) == 5000);
    Ok(())
}

async fn listen() -> Result<()> {
    let (listener, mut connection) = config().connect(NoTls).await?;
    let (sender, mut heard) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notification(notification) = message {
                let _ = sender.send(notification.payload().to_owned());
            }
        }
    });
    listener.batch_execute("listen driver_tokio").await?;
    let other = connect().await?;
    for n in 0..5 {
        other.execute("select pg_notify('driver_tokio', $1)", &[&n.to_string()]).await?;
    }
    for n in 0..5 {
        ensure!(heard.recv().await == Some(n.to_string()));
    }
    Ok(())
}

async fn cancel() -> Result<()> {
    let client = connect().await?;
    let token = client.cancel_token();
    for n in 0..3_i32 {
        let (slept, cancelled) = tokio::join!(client.query_one("select pg_sleep(30)", &[]), async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            token.cancel_query(NoTls).await
        });
        cancelled?;
        ensure!(state(slept) == Some(SqlState::QUERY_CANCELED));
        ensure!(client.query_one("select $1::int", &[&n]).await?.get::<_, i32>(0) == n);
    }
    Ok(())
}

async fn large() -> Result<()> {
    let mut client = connect().await?;
    let series = "select n, repeat('x', 500) from generate_series(1, 40000) n";
    ensure!(client.query(series, &[]).await?.len() == 40_000);
    let rows = client.query_raw(series, Vec::<i32>::new()).await?;
    ensure!(rows.fold(0, async |count, _| count + 1).await == 40_000);
    // Left half-way.
    let mut rows = Box::pin(client.query_raw(series, Vec::<i32>::new()).await?);
    ensure!(rows.next().await.is_some());
    drop(rows);
    let transaction = client.transaction().await?;
    let portal = transaction.bind(series, &[]).await?;
    ensure!(transaction.query_portal(&portal, 10).await?.len() == 10);
    ensure!(transaction.query_portal(&portal, 100).await?[0].get::<_, i32>(0) == 11);
    Ok(())
}

async fn changes() -> Result<()> {
    let client = connect().await?;
    client.batch_execute("create table changing (a int); insert into changing values (1)").await?;
    ensure!(client.query_one("select * from changing where a = $1", &[&1_i32]).await?.len() == 1);
    client.batch_execute("alter table changing add b text").await?;
    ensure!(client.query_one("select * from changing where a = $1", &[&1_i32]).await?.len() == 2);
    Ok(())
}

#[tokio::main]
async fn main() {
    let checks: [Check; 10] = [
        ("values of all kinds come back as they went", || Box::pin(values())),
        ("more clients than server connections, in transactions and with prepared statements", || {
            Box::pin(many_clients())
        }),
        ("hundreds of requests on their way at once, with an error in the middle", || Box::pin(pipelined())),
        ("reads outside of transactions see the client's own writes", || Box::pin(own_writes())),
        ("transactions, savepoints and errors", || Box::pin(transactions())),
        ("COPY in and out, and one that is given up", || Box::pin(copy())),
        ("LISTEN and NOTIFY", || Box::pin(listen())),
        ("cancellation reaches the statement, and the connection goes on", || Box::pin(cancel())),
        ("large results, at once, as streams and through portals", || Box::pin(large())),
        ("a table that changes between statements", || Box::pin(changes())),
    ];
    run("tokio-postgres", &checks).await
}
