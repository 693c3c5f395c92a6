//! What a session keeps when its primary is replaced.

use e2e::Setup;
use lab::StopMode;
use testkit::{Batch, Client};
use wire::message::backend::TxStatus;

use super::wait_for_event;

#[tokio::test]
async fn an_open_transaction_ends_with_one_40001_and_the_connection_stays() {
    for stop_first in [false, true] {
        let herd = Setup::own(1).start();
        herd.psql("create table kept (a int)").unwrap();
        herd.cluster().wait_for_all().unwrap();
        let mut simple = herd.connect().await;
        let mut piped = herd.connect().await;
        for client in [&mut simple, &mut piped] {
            client.execute("set application_name = 'kept'").await;
            client.execute("begin").await;
            client.execute("insert into kept values (1)").await;
        }
        if stop_first {
            herd.cluster().stop(0, StopMode::Fast).unwrap();
        }
        herd.cluster().promote(1).unwrap();
        wait_for_event(&herd, "promoted");

        let mut errors = Vec::new();
        let mut messages = simple.query("insert into kept values (2)").await;
        errors.extend(messages.iter().filter(|message| message.tag == b'E').map(|e| e.sqlstate().unwrap()));
        assert_eq!(Client::status(&messages), TxStatus::Failed, "{messages:?}");
        messages = simple.query("select 1").await;
        errors.extend(messages.iter().filter(|message| message.tag == b'E').map(|e| e.sqlstate().unwrap()));
        assert_eq!(errors, ["40001", "25P02"]);
        messages = simple.query("rollback").await;
        assert_eq!(Client::status(&messages), TxStatus::Idle, "{messages:?}");
        assert!(messages.iter().all(|message| message.tag != b'E'), "{messages:?}");

        // A driver's way of ending it, in one pipeline.
        let commit = Batch::new().parse("", "commit").bind("", "", &[]).execute("", 0).sync();
        let messages = piped.run(&commit).await;
        let code = messages.iter().find(|message| message.tag == b'E').and_then(testkit::Message::sqlstate);
        assert_eq!(code.as_deref(), Some("40001"), "{messages:?}");
        piped.execute("rollback").await;

        for client in [&mut simple, &mut piped] {
            client.execute("begin").await;
            client.execute("insert into kept values (3)").await;
            client.execute("commit").await;
            assert_eq!(client.value("show application_name").await, "kept");
        }
        assert_eq!(herd.psql_directly("select array_agg(a) from kept").unwrap(), "{3,3}");
    }
}

#[tokio::test]
async fn idle_clients_notice_nothing_of_a_dead_primary() {
    let herd = Setup::own(1).start();
    herd.psql("create table idle (n int)").unwrap();
    herd.cluster().wait_for_all().unwrap();
    let mut clients = Vec::new();
    for n in 0..100 {
        let mut client = herd.connect().await;
        client.execute(&format!("set work_mem = '{}kB'", 9000 + n)).await;
        let prepare = Batch::new().parse("own", &format!("insert into idle values ({n} + $1::int)")).sync();
        assert!(client.run(&prepare).await.iter().all(|message| message.tag != b'E'));
        clients.push(client);
    }
    herd.cluster().kill(0).unwrap();
    wait_for_event(&herd, "primary_lost");
    herd.cluster().promote(1).unwrap();
    wait_for_event(&herd, "promoted");
    for (n, client) in clients.iter_mut().enumerate() {
        let heard = client.run(&Batch::new().bind("", "own", &[Some("1000")]).execute("", 0).sync()).await;
        let tags: Vec<char> = heard.iter().map(|message| char::from(message.tag)).collect();
        assert_eq!(tags, ['2', 'C', 'Z'], "client {n}: {heard:?}");
        assert_eq!(client.value("show work_mem").await, format!("{}kB", 9000 + n));
    }
    assert_eq!(
        herd.psql_directly("select count(distinct n), min(n), max(n) from idle").unwrap(),
        "100|1000|1099"
    );
}

#[tokio::test]
async fn a_prepared_rollback_ends_a_transaction_whose_server_was_lost() {
    let herd = Setup::own(0).start();
    let mut client = herd.connect().await;
    // As pgjdbc does it, which names what it runs often.
    let prepare = |name: &str| Batch::new().parse(name, "ROLLBACK").sync();
    let call = |name: &str| Batch::new().bind("", name, &[]).describe_portal("").execute("", 1).sync();
    let tags = |messages: &[testkit::Message]| messages.iter().map(|m| char::from(m.tag)).collect::<String>();
    assert_eq!(tags(&client.run(&prepare("S_3")).await), "1Z");
    for name in ["S_3", "S_4"] {
        client.execute("begin").await;
        let pid = client.value("select pg_backend_pid()").await;
        herd.psql_directly(&format!("select pg_terminate_backend({pid}, 10000)")).unwrap();
        assert_eq!(client.failure("select 1").await.as_deref(), Some("40001"));
        assert_eq!(client.failure("select 1").await.as_deref(), Some("25P02"));
        if name == "S_4" {
            assert_eq!(tags(&client.run(&prepare(name)).await), "1Z");
            assert_eq!(tags(&client.run(&prepare(name)).await), "EZ");
        }
        let messages = client.run(&call(name)).await;
        assert_eq!(tags(&messages), "2nCZ", "{messages:?}");
        assert_eq!(Client::status(&messages), TxStatus::Idle);
    }
    client.execute("begin").await;
    assert_eq!(tags(&client.run(&call("S_4")).await), "2nCZ");
}
