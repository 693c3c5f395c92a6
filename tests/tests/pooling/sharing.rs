//! Server connections go from client to client.

use std::time::Duration;

use e2e::{Setup, eventually};
use testkit::{Batch, Client, ConnectionParameters};
use tokio::{task::JoinSet, time::Instant};

use crate::topology::{PATIENCE, show};

#[tokio::test]
async fn fifty_clients_share_three_servers() {
    let herd = Setup::shared().set("pool.size", 3).start();
    herd.psql("create table shared_work (client int, n int)").unwrap();
    let mut clients = JoinSet::new();
    for id in 0..50 {
        let mut client = herd.proxy(0).connect_to("read-write").await;
        clients.spawn(async move {
            for n in 0..10 {
                client.execute("begin").await;
                client.execute(&format!("insert into shared_work values ({id}, {n})")).await;
                let own = format!("select count(*) from shared_work where client = {id}");
                assert_eq!(client.value(&own).await, (n + 1).to_string());
                client.execute("commit").await;
            }
        });
    }
    let count = format!(
        "select count(*) from pg_stat_activity where datname = '{}' and usename = 'app'",
        herd.database()
    );
    let mut most = 0;
    while !clients.is_empty() {
        let servers: u32 = herd.cluster().psql(0, &count).unwrap().parse().unwrap();
        most = most.max(servers);
        while let Some(done) = clients.try_join_next() {
            done.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!((1..=3).contains(&most), "{most} server connections");
    assert_eq!(herd.psql_directly("select count(*) from shared_work").unwrap(), "500");
}

/// Their settings are proven by the first while the other waits, and it gets a server that does not have them.
#[tokio::test(flavor = "multi_thread")]
async fn two_clients_with_the_same_settings_that_wait_for_servers_are_both_welcomed() {
    let herd = Setup::shared().set("pool.size", 2).start();
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(herd.proxy(0).connect_to("read-write").await);
    }
    let [mut first, mut second, mut between] = <[Client; 3]>::try_from(clients).unwrap();
    first.execute("begin").await;
    second.execute("begin").await;
    let address = ([127, 0, 0, 1], herd.proxy(0).port_of("read-write")).into();
    let newcomer = ConnectionParameters { address, ..herd.app() }.with("work_mem", "5555kB");
    let log_in = || {
        let newcomer = newcomer.clone();
        tokio::spawn(async move { newcomer.connect().await.unwrap() })
    };
    let queue = |length: &str| {
        eventually("they wait", PATIENCE, || (show(&herd, "POOLS")[0][3] == length).then_some(()));
    };
    let one = log_in();
    queue("1");
    let holder = tokio::spawn(async move {
        between.execute("begin").await;
        between
    });
    queue("2");
    let other = log_in();
    queue("3");
    first.execute("commit").await;
    let (mut one, _holder) = (one.await.unwrap(), holder.await.unwrap());
    second.execute("commit").await;
    let mut other = other.await.unwrap();
    for client in [&mut one, &mut other] {
        assert_eq!(client.value("show work_mem").await, "5555kB");
    }
}

#[tokio::test]
async fn a_client_that_waits_too_long_gets_53300_and_keeps_its_session() {
    let herd = Setup::shared().set("pool.size", 1).set("pool.wait_timeout", "500ms").start();
    let mut owner = herd.proxy(0).connect_to("read-write").await;
    let mut waiting = herd.proxy(0).connect_to("read-write").await;
    waiting.execute("set work_mem = '5MB'").await;
    owner.execute("begin").await;
    let began = Instant::now();
    let messages = waiting.query("select 1").await;
    assert_eq!(messages[0].sqlstate().as_deref(), Some("53300"), "{messages:?}");
    assert!(messages[0].complaint().starts_with("ERROR"), "{messages:?}");
    assert!(began.elapsed() >= Duration::from_millis(400), "{:?}", began.elapsed());
    assert_eq!(messages.last().unwrap().tag, b'Z');
    // A pipeline is skipped to its Sync.
    let batch = Batch::new().parse("", "select 2").bind("", "", &[]).execute("", 0).sync();
    let messages = waiting.run(&batch).await;
    let tags: Vec<u8> = messages.iter().map(|message| message.tag).collect();
    assert!(tags.ends_with(b"EZ"), "{messages:?}");
    owner.execute("commit").await;
    assert_eq!(waiting.value("show work_mem").await, "5MB");
}

#[tokio::test]
async fn who_has_waited_for_the_reserve_gets_a_connection_beyond_the_size() {
    let herd = Setup::shared()
        .set("pool.size", 1)
        .set("pool.reserve_size", 1)
        .set("pool.reserve_timeout", "300ms")
        .set("pool.wait_timeout", "2s")
        .start();
    let mut owner = herd.proxy(0).connect_to("read-write").await;
    let mut second = herd.proxy(0).connect_to("read-write").await;
    let mut third = herd.proxy(0).connect_to("read-write").await;
    owner.execute("begin").await;
    let began = Instant::now();
    second.execute("begin").await;
    assert!(began.elapsed() >= Duration::from_millis(300), "it waited first: {:?}", began.elapsed());
    assert_eq!(third.failure("select 1").await.as_deref(), Some("53300"), "the reserve has an end, too");
    second.execute("commit").await;
    assert_eq!(third.value("select 1").await, "1");
    owner.execute("commit").await;
}

#[tokio::test]
async fn the_minimum_is_kept_and_made_up_again() {
    let herd = Setup::shared().set("pool.size", 5).set("pool.min_size", 3).start();
    herd.proxy(0).connect_to("read-write").await.execute("select 1").await;
    let of_pool = format!("from pg_stat_activity where datname = '{}' and usename = 'app'", herd.database());
    let full =
        || (herd.cluster().psql(0, &format!("select count(*) {of_pool}")).unwrap() == "3").then_some(());
    eventually("the pool is warm", Duration::from_secs(10), full);
    let oldest = format!("select max(backend_start) {of_pool}");
    let before = herd.cluster().psql(0, &oldest).unwrap();
    herd.cluster().psql(0, &format!("select pg_terminate_backend(pid) {of_pool}")).unwrap();
    eventually("it is warm again", Duration::from_secs(10), || {
        full().filter(|()| herd.cluster().psql(0, &oldest).unwrap() > before)
    });
}

#[tokio::test]
async fn a_full_queue_refuses_the_next_client() {
    let herd = Setup::shared().set("pool.size", 1).set("pool.max_waiting", 1).start();
    let mut owner = herd.proxy(0).connect_to("read-write").await;
    let mut first = herd.proxy(0).connect_to("read-write").await;
    let mut second = herd.proxy(0).connect_to("read-write").await;
    owner.execute("begin").await;
    first.send(Batch::new().query("select 'first'").bytes()).await.unwrap();
    herd.proxy(0).until_waiting(1).await;
    assert_eq!(second.failure("select 'second'").await.as_deref(), Some("53300"));
    owner.execute("commit").await;
    assert_eq!(first.until_ready().await[1].row(), [Some("first".to_owned())]);
    assert_eq!(second.value("select 'second'").await, "second");
}

#[tokio::test]
async fn those_who_waited_longest_come_first() {
    let herd = Setup::shared().set("pool.size", 1).start();
    let mut owner = herd.proxy(0).connect_to("read-write").await;
    owner.execute("create table turns (n serial, client int)").await;
    owner.execute("begin").await;
    let mut waiting: Vec<Client> = Vec::new();
    for id in 0..5 {
        let mut client = herd.proxy(0).connect_to("read-write").await;
        client
            .send(Batch::new().query(&format!("insert into turns (client) values ({id})")).bytes())
            .await
            .unwrap();
        herd.proxy(0).until_waiting(id + 1).await;
        waiting.push(client);
    }
    owner.execute("commit").await;
    for client in &mut waiting {
        assert_eq!(client.until_ready().await.last().unwrap().tag, b'Z');
    }
    assert_eq!(owner.value("select string_agg(client::text, '' order by n) from turns").await, "01234");
}

#[tokio::test]
async fn a_transaction_keeps_its_server_and_others_get_other_ones() {
    let herd = Setup::shared().set("pool.size", 2).start();
    let mut a = herd.proxy(0).connect_to("read-write").await;
    let mut b = herd.proxy(0).connect_to("read-write").await;
    let pid = "select pg_backend_pid()";
    a.execute("begin").await;
    b.execute("begin").await;
    let (of_a, of_b) = (a.value(pid).await, b.value(pid).await);
    assert_ne!(of_a, of_b);
    assert_eq!(a.value(pid).await, of_a);
    assert_eq!(b.value(pid).await, of_b);
    a.execute("commit").await;
    b.execute("commit").await;
}

#[tokio::test]
async fn a_client_that_dies_in_a_transaction_leaves_no_transaction_behind() {
    let herd = Setup::shared().set("pool.size", 1).start();
    let mut next = herd.proxy(0).connect_to("read-write").await;
    next.execute("create table half_done (a int)").await;
    for polite in [true, false] {
        let mut dying = herd.proxy(0).connect_to("read-write").await;
        dying.execute("begin").await;
        dying.execute("insert into half_done values (1)").await;
        dying.execute("lock table half_done in access exclusive mode").await;
        if polite {
            dying.terminate().await
        } else {
            dying.reset()
        }
        assert_eq!(next.value("select count(*) from half_done").await, "0", "polite: {polite}");
    }
}

#[tokio::test]
async fn a_query_whose_client_died_does_not_go_on() {
    let herd = Setup::shared().set("pool.size", 1).start();
    let mut dying = herd.proxy(0).connect_to("read-write").await;
    dying.send(Batch::new().query("select pg_sleep(60)").bytes()).await.unwrap();
    let running =
        "select count(*) from pg_stat_activity where query = 'select pg_sleep(60)' and state = 'active'
                   and datname = current_database()";
    let until = |wanted: &'static str| {
        let herd = &herd;
        e2e::eventually_async("the query's state", Duration::from_secs(10), move || async move {
            (herd.psql_directly(running).unwrap() == wanted).then_some(())
        })
    };
    until("1").await;
    dying.reset();
    until("0").await;
    let mut next = herd.proxy(0).connect_to("read-write").await;
    assert_eq!(next.value("select 1").await, "1");
}

#[tokio::test]
async fn an_idle_server_that_was_ended_is_replaced_without_a_word() {
    let herd = Setup::shared().set("pool.size", 2).start();
    let mut client = herd.proxy(0).connect_to("read-write").await;
    for _ in 0..5 {
        assert_eq!(client.value("select 1").await, "1");
        herd.psql_directly(
            "select pg_terminate_backend(pid, 1000) from pg_stat_activity
             where datname = current_database() and usename = 'app'",
        )
        .unwrap();
    }
    assert_eq!(client.value("select 2").await, "2");
}

#[tokio::test]
async fn a_request_is_run_again_though_part_of_the_next_was_sent() {
    let herd = Setup::shared().set("pool.size", 1).start();
    let mut client = herd.proxy(0).connect_to("read-write").await;
    let text = "y".repeat(14_000);
    let batch = Batch::new()
        .query("select pg_sleep(2), 'first'")
        .parse("", "select length($1)")
        .bind("", "", &[Some(&text)])
        .execute("", 0)
        .sync();
    let (now, later) = batch.bytes().split_at(12_000);
    client.send(now).await.unwrap();
    let end = "select pg_terminate_backend(pid, 1000) from pg_stat_activity
               where query like 'select pg_sleep(2), ''first''%' and state = 'active' and datname = current_database()";
    eventually("the first request runs", Duration::from_secs(20), || {
        (herd.psql_directly(end).unwrap() == "t").then_some(())
    });
    client.send(later).await.unwrap();
    let first = client.until_ready().await;
    assert!(first.iter().any(|message| message.tag == b'D'), "{first:?}");
    let second = client.until_ready().await;
    let row = second.iter().find(|message| message.tag == b'D').unwrap_or_else(|| panic!("{second:?}"));
    assert_eq!(row.row()[0].as_deref(), Some("14000"));
}

#[tokio::test]
async fn reset_all_leads_back_to_the_startup_parameters_of_a_pinned_client_too() {
    let herd = Setup::shared().set("pool.size", 2).start();
    let app = herd.app().with("work_mem", "9MB").with("application_name", "mine");
    let mut client = app.connect().await.unwrap();
    for statement in ["select 1", "create temp table pinned (a int)"] {
        client.execute(statement).await;
        for reset in ["reset all", "select 1; reset all", "reset work_mem"] {
            client.execute("set work_mem = '7MB'").await;
            assert_eq!(client.value("show work_mem").await, "7MB");
            client.execute(reset).await;
            assert_eq!(client.value("show work_mem").await, "9MB", "{statement}; {reset}");
            assert_eq!(client.value("show application_name").await, "mine", "{statement}; {reset}");
            assert_eq!(client.parameter("application_name"), Some("mine"), "{statement}; {reset}");
        }
    }
}

#[tokio::test]
async fn a_write_without_its_sync_is_undone_when_its_client_dies() {
    let herd = Setup::shared().set("pool.size", 1).start();
    herd.psql("create table unsynced (a int)").unwrap();
    let mut next = herd.proxy(0).connect_to("read-write").await;
    for _ in 0..3 {
        let mut client = herd.proxy(0).connect_to("read-write").await;
        let insert = Batch::new().parse("", "insert into unsynced values (1)").bind("p", "", &[]);
        client.send(insert.execute("p", 0).flush().bytes()).await.unwrap();
        let answers = [client.next().await, client.next().await, client.next().await];
        assert_eq!(answers.map(|message| message.unwrap().tag), *b"12C");
        client.reset();
        assert_eq!(next.value("select count(*) from pg_cursors").await, "0");
        assert_eq!(next.value("select count(*) from unsynced").await, "0");
    }
}

#[tokio::test]
async fn a_pool_that_is_made_smaller_closes_what_it_has_too_many() {
    let herd = Setup::shared().set("pool.size", 4).start();
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = herd.proxy(0).connect_to("read-write").await;
        client.execute("begin").await;
        client.execute("select 1").await;
        clients.push(client);
    }
    let servers = || {
        let of_pool = format!("datname = '{}' and usename = 'app'", herd.database());
        herd.cluster().psql(0, &format!("select count(*) from pg_stat_activity where {of_pool}")).unwrap()
    };
    assert_eq!(servers(), "4");
    clients[0].execute("commit").await;
    herd.proxy(0).admin().await.execute("SET pool.size = 2").await;
    eventually("the idle one is closed", Duration::from_secs(10), || (servers() == "3").then_some(()));
    for client in &mut clients[1..] {
        assert_eq!(client.value("select 1").await, "1", "transactions go on");
        client.execute("commit").await;
    }
    eventually("two are left", Duration::from_secs(10), || (servers() == "2").then_some(()));
    for client in &mut clients {
        assert_eq!(client.value("select 1").await, "1");
    }
    assert_eq!(servers(), "2");
}

#[tokio::test]
async fn who_waits_for_a_while_is_told_so_once() {
    let herd = Setup::shared().set("pool.size", 1).start();
    let mut owner = herd.proxy(0).connect_to("read-write").await;
    let mut waiting = herd.proxy(0).connect_to("read-write").await;
    owner.execute("begin").await;
    waiting.send(Batch::new().query("select 'at last'").bytes()).await.unwrap();
    let notice = waiting.next().await.expect("it is told").complaint();
    assert_eq!(notice, "NOTICE: all server connections are busy; the statement waits for one");
    let more = waiting.next_within(Duration::from_millis(500)).await;
    assert!(more.is_err(), "{more:?}");
    owner.execute("commit").await;
    assert_eq!(waiting.until_ready().await[1].row(), [Some("at last".to_owned())]);
    assert_eq!(waiting.query("select 1").await[0].tag, b'T', "what does not wait has no notice");
}

#[tokio::test]
async fn connections_are_replaced_at_the_end_of_their_lifetime_and_not_within_transactions() {
    let herd = Setup::shared().set("pool.size", 1).set("pool.server_lifetime", "1s").start();
    let mut client = herd.proxy(0).connect_to("read-write").await;
    client.execute("begin").await;
    let first = client.value("select pg_backend_pid()").await;
    client.execute("select pg_sleep(1.5)").await;
    assert_eq!(client.value("select pg_backend_pid()").await, first);
    client.execute("commit").await;
    assert_ne!(client.value("select pg_backend_pid()").await, first);
}
