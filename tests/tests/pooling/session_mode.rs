//! Session pooling: a client has one server until it leaves.

use e2e::Setup;

const PID: &str = "select pg_backend_pid()";

#[tokio::test]
async fn a_session_keeps_its_server_and_all_that_is_on_it() {
    let herd = Setup::shared().set("pool.mode", "session").set("pool.size", 2).start();
    let mut client = herd.connect().await;
    let pid = client.value(PID).await;
    client.execute("create temp table kept as select 1 as a").await;
    client.execute("prepare kept as select a + 1 from kept").await;
    client.execute("select set_config('work_mem', '8MB', false)").await;
    let mut other = herd.connect().await;
    assert_ne!(other.value(PID).await, pid);
    assert_eq!(client.value("execute kept").await, "2");
    assert_eq!(client.value("show work_mem").await, "8MB");
    assert_eq!(client.value(PID).await, pid);
}

#[tokio::test]
async fn the_next_session_finds_a_clean_server() {
    let herd = Setup::shared().set("pool.mode", "session").set("pool.size", 1).start();
    for round in 0..3 {
        let mut client = herd.connect().await;
        assert_eq!(client.value("show work_mem").await, "4MB", "round {round}");
        assert_eq!(
            client.value("select count(*) from pg_prepared_statements where name = 'leftover'").await,
            "0"
        );
        client.execute("set work_mem = '8MB'").await;
        client.execute("prepare leftover as select 1").await;
        client.execute("create temp table leftover_table (a int)").await;
        if round == 0 { client.terminate().await } else { client.reset() }
    }
}

#[tokio::test]
async fn a_session_waits_for_another_to_leave() {
    let herd = Setup::shared().set("pool.mode", "session").set("pool.size", 1).start();
    let mut first = herd.connect().await;
    assert_eq!(first.value("select 1").await, "1");
    let mut second = herd.connect().await;
    second.send(testkit::Batch::new().query("select 'second'").bytes()).await.unwrap();
    herd.proxy(0).until_waiting(1).await;
    first.terminate().await;
    assert_eq!(second.until_ready().await[1].row(), [Some("second".to_owned())]);
}
