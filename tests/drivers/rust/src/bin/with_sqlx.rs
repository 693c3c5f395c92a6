//! sqlx with its defaults: its pool, which asks each connection whether it lives, and a cache of prepared statements.

use std::{borrow::Cow, time::Duration};

use anyhow::{Result, ensure};
use drivers::{CLIENTS, Check, run, variable};
use futures_util::{StreamExt, TryStreamExt, future::join_all};
use sqlx::{
    Connection, Executor, FromRow, PgConnection, PgPool, QueryBuilder, Row,
    migrate::{Migration, MigrationType, Migrator},
    postgres::{PgConnectOptions, PgListener, PgPoolOptions},
    types::Json,
};

fn options() -> PgConnectOptions {
    PgConnectOptions::new()
        .host(&variable("PGHOST"))
        .port(variable("PGPORT").parse().expect("a port is a number"))
        .username(&variable("PGUSER"))
        .password(&variable("PGPASSWORD"))
        .database(&variable("PGDATABASE"))
}

async fn pool(size: u32) -> Result<PgPool> {
    Ok(PgPoolOptions::new().max_connections(size).connect_with(options()).await?)
}

/// The SQLSTATE of what has to fail.
fn state<T>(result: Result<T, sqlx::Error>) -> Option<String> {
    Some(result.err()?.as_database_error()?.code()?.into_owned())
}

#[derive(Debug, PartialEq, sqlx::Type)]
#[sqlx(type_name = "mood", rename_all = "lowercase")]
enum Mood {
    Sad,
    Ok,
    Happy,
}

#[derive(Debug, FromRow)]
struct Item {
    worker: i32,
    note: Option<String>,
}

async fn values() -> Result<()> {
    let pool = pool(5).await?;
    for mood in [Mood::Sad, Mood::Ok, Mood::Happy] {
        let row = sqlx::query("select $1::int, $2, $3::bytea, $4::int[], $5::jsonb, $6::mood, $7::text")
            .bind(7)
            .bind("ä€😀'\\")
            .bind(&b"\0\x01\xff"[..])
            .bind(vec![Some(1), None])
            .bind(Json(serde_json::json!({"a": [1, null]})))
            .bind(&mood)
            .bind(None::<String>)
            .fetch_one(&pool)
            .await?;
        ensure!(row.get::<i32, _>(0) == 7 && row.get::<String, _>(1) == "ä€😀'\\");
        ensure!(
            row.get::<Vec<u8>, _>(2) == b"\0\x01\xff" && row.get::<Vec<Option<i32>>, _>(3) == [Some(1), None]
        );
        ensure!(row.get::<Mood, _>(5) == mood && row.get::<Option<String>, _>(6).is_none());
    }
    Ok(())
}

async fn worker(pool: PgPool, id: i32) -> Result<()> {
    for n in 0..20 {
        let mut connection = pool.acquire().await?;
        let note = format!("w{id}-{n}");
        sqlx::query("insert into items (worker, n, note) values ($1, $2, $3)")
            .bind(id)
            .bind(n)
            .bind(&note)
            .execute(&mut *connection)
            .await?;
        let item: Item = sqlx::query_as("select worker, note from items where worker = $1 and n = $2")
            .bind(id)
            .bind(n)
            .fetch_one(&mut *connection)
            .await?;
        ensure!(item.worker == id && item.note == Some(note));
        drop(connection);
        let (low, high) = ((id % 10).min(n % 10) + 1, (id % 10).max(n % 10) + 1);
        let mut transaction = pool.begin().await?;
        for (account, amount) in [(low, -1_i64), (high, 1)] {
            sqlx::query("update accounts set balance = balance + $2 where id = $1")
                .bind(account)
                .bind(amount)
                .execute(&mut *transaction)
                .await?;
        }
        // Dropped, it is rolled back.
        if n % 5 != 0 {
            transaction.commit().await?;
        }
    }
    Ok(())
}

async fn many_clients() -> Result<()> {
    let pool = pool(CLIENTS as u32).await?;
    for ended in join_all((0..CLIENTS).map(|id| tokio::spawn(worker(pool.clone(), id)))).await {
        ended??;
    }
    let mut transaction = pool.begin().await?;
    let (notes, sum): (i64, i64) =
        sqlx::query_as("select count(distinct note), (select sum(balance)::int8 from accounts) from items")
            .fetch_one(&mut *transaction)
            .await?;
    ensure!(notes == i64::from(CLIENTS) * 20 && sum == 10_000, "{notes} {sum}");
    Ok(())
}

async fn own_writes() -> Result<()> {
    let mut connection = PgConnection::connect_with(&options()).await?;
    connection.execute("create table own (n int)").await?;
    for n in 0..50 {
        sqlx::query("insert into own values ($1)").bind(n).execute(&mut connection).await?;
        let count: i64 = sqlx::query_scalar("select count(*) from own").fetch_one(&mut connection).await?;
        ensure!(count == i64::from(n) + 1);
    }
    Ok(())
}

async fn transactions() -> Result<()> {
    let mut connection = PgConnection::connect_with(&options()).await?;
    let mut transaction = connection.begin().await?;
    transaction.execute("create table tx (a int primary key); insert into tx values (1)").await?;
    let mut savepoint = transaction.begin().await?;
    ensure!(
        state(sqlx::query("insert into tx values (1)").execute(&mut *savepoint).await).as_deref()
            == Some("23505")
    );
    savepoint.rollback().await?;
    sqlx::query("insert into tx values (2)").execute(&mut *transaction).await?;
    transaction.commit().await?;
    let all: Vec<i32> = sqlx::query_scalar("select a from tx order by a").fetch_all(&mut connection).await?;
    ensure!(all == [1, 2]);
    ensure!(state(sqlx::query("selec 1").execute(&mut connection).await).as_deref() == Some("42601"));
    ensure!(
        state(sqlx::query("select 1 / $1").bind(0).execute(&mut connection).await).as_deref()
            == Some("22012")
    );
    let mut read_only = connection.begin_with("begin read only").await?;
    ensure!(
        state(sqlx::query("insert into tx values (9)").execute(&mut *read_only).await).as_deref()
            == Some("25006")
    );
    Ok(())
}

async fn many_statements() -> Result<()> {
    let mut connection = PgConnection::connect_with(&options()).await?;
    // Its cache keeps 100, and closes what it drops.
    for round in 0..2 {
        for n in 0..250 {
            let sum: i32 = sqlx::query_scalar(&format!("select $1::int + {n}"))
                .bind(round)
                .fetch_one(&mut connection)
                .await?;
            ensure!(sum == round + n);
        }
    }
    let mut insert = QueryBuilder::new("insert into items (worker, n) ");
    insert.push_values(0..5000, |mut row, n| {
        row.push_bind(-1).push_bind(n);
    });
    ensure!(insert.build().execute(&mut connection).await?.rows_affected() == 5000);
    Ok(())
}

async fn copy() -> Result<()> {
    let mut connection = PgConnection::connect_with(&options()).await?;
    let mut sink = connection.copy_in_raw("copy copied from stdin").await?;
    for n in 0..5000 {
        sink.send(format!("{n}\tnote {n}\t\\N\n").into_bytes()).await?;
    }
    ensure!(sink.finish().await? == 5000);
    let parts: Vec<_> = connection.copy_out_raw("copy copied to stdout").await?.try_collect().await?;
    ensure!(
        parts.iter().map(|part| part.iter().filter(|&&byte| byte == b'\n').count()).sum::<usize>() == 5000
    );
    let mut sink = connection.copy_in_raw("copy copied from stdin").await?;
    sink.send(&b"9999\tx\t\\N\n"[..]).await?;
    sink.abort("given up").await?;
    let count: i64 = sqlx::query_scalar("select count(*) from copied").fetch_one(&mut connection).await?;
    ensure!(count == 5000);
    Ok(())
}

async fn listen() -> Result<()> {
    let pool = pool(3).await?;
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen_all(["driver_sqlx", "driver_other"]).await?;
    for n in 0..5 {
        sqlx::query("select pg_notify('driver_sqlx', $1)").bind(n.to_string()).execute(&pool).await?;
    }
    for n in 0..5 {
        ensure!(listener.recv().await?.payload() == n.to_string());
    }
    listener.unlisten_all().await?;
    Ok(())
}

async fn given_up() -> Result<()> {
    let pool = pool(2).await?;
    for n in 0..4 {
        // sqlx has no cancel: the connection is finished before it is used again.
        let slept = tokio::time::timeout(
            Duration::from_millis(100),
            sqlx::query("select pg_sleep(0.5)").execute(&pool),
        )
        .await;
        ensure!(slept.is_err());
        let one: i32 = sqlx::query_scalar("select $1::int").bind(n).fetch_one(&pool).await?;
        ensure!(one == n);
    }
    Ok(())
}

async fn large() -> Result<()> {
    let pool = pool(2).await?;
    let series = "select n, repeat('x', 500) from generate_series(1, 40000) n";
    ensure!(sqlx::query(series).fetch_all(&pool).await?.len() == 40_000);
    let mut rows = sqlx::query(series).fetch(&pool);
    let mut count = 0;
    while rows.try_next().await?.is_some() {
        count += 1;
    }
    ensure!(count == 40_000);
    // Left half-way.
    ensure!(sqlx::query(series).fetch(&pool).next().await.is_some());
    let one: i32 = sqlx::query_scalar("select 1").fetch_one(&pool).await?;
    ensure!(one == 1);
    Ok(())
}

async fn migrations() -> Result<()> {
    let migration = |version, sql: &'static str| {
        Migration::new(version, Cow::Borrowed("made"), MigrationType::Simple, Cow::Borrowed(sql), false)
    };
    let migrator = || Migrator {
        migrations: Cow::Owned(vec![
            migration(1, "create table migrated (a int); create index on migrated (a)"),
            migration(2, "alter table migrated add b text"),
        ]),
        ..Migrator::DEFAULT
    };
    let pool = pool(CLIENTS as u32).await?;
    // Several at a time, as if several copies of an application started; they lock each other out.
    let all = (0..4).map(|_| {
        let pool = pool.clone();
        let migrator = migrator();
        tokio::spawn(async move { migrator.run(&pool).await })
    });
    for ended in join_all(all).await {
        ended??;
    }
    let mut transaction = pool.begin().await?;
    let count: i64 =
        sqlx::query_scalar("select count(*) from _sqlx_migrations").fetch_one(&mut *transaction).await?;
    ensure!(count == 2);
    Ok(())
}

#[tokio::main]
async fn main() {
    let checks: [Check; 10] = [
        ("values of all kinds come back as they went, types of one's own too", || Box::pin(values())),
        ("more clients than server connections, in transactions and with prepared statements", || {
            Box::pin(many_clients())
        }),
        ("reads outside of transactions see the client's own writes", || Box::pin(own_writes())),
        ("transactions, savepoints and errors", || Box::pin(transactions())),
        ("many different statements, more than are kept, and one with thousands of values", || {
            Box::pin(many_statements())
        }),
        ("COPY in and out, and one that is given up", || Box::pin(copy())),
        ("LISTEN and NOTIFY", || Box::pin(listen())),
        ("statements that are given up do not disturb the next", || Box::pin(given_up())),
        ("large results, at once and as streams", || Box::pin(large())),
        ("migrations, several at a time, under an advisory lock", || Box::pin(migrations())),
    ];
    run("sqlx", &checks).await
}
