//! Session pooling: a client has one server until it leaves.

use e2e::Setup;
use testkit::Batch;

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
    second.send(Batch::new().query("select 'second'").bytes()).await.unwrap();
    herd.proxy(0).until_waiting(1).await;
    first.terminate().await;
    assert_eq!(second.until_ready().await[1].row(), [Some("second".to_owned())]);
}

#[tokio::test]
async fn a_reset_gives_back_what_the_client_began_with() {
    for (mode, pin) in [("session", ""), ("transaction", ""), ("transaction", "create temp table kept ()")] {
        let herd = Setup::shared().set("pool.mode", mode).set("pool.size", 1).start();
        let parameters = herd.app().with("work_mem", "7MB").with("timezone", "Asia/Tokyo");
        let mut client = parameters.connect().await.unwrap();
        client.execute(pin).await;
        let both = "select current_setting('work_mem') || current_setting('timezone')";
        assert_eq!(client.value(both).await, "7MBAsia/Tokyo", "{mode} {pin}");
        for reset in ["reset all", "reset work_mem", "set work_mem to default", "discard all"] {
            client.execute("set work_mem = '8MB'").await;
            client.execute(reset).await;
            assert_eq!(client.value(both).await, "7MBAsia/Tokyo", "{mode} {pin}: {reset}");
            assert_eq!(client.parameter("TimeZone"), Some("Asia/Tokyo"));
            // in one write
            client.execute("set work_mem = '9MB'").await;
            client.send(Batch::new().query(reset).query(both).bytes()).await.unwrap();
            client.until_ready().await;
            let answer = client.until_ready().await;
            let row = answer.iter().find(|message| message.tag == b'D').unwrap().row();
            assert_eq!(row[0].as_deref(), Some("7MBAsia/Tokyo"), "{mode} {pin}: {reset}");
        }
        for sql in ["begin", "reset all", "commit"] {
            client.execute(sql).await;
        }
        assert_eq!(client.value(both).await, "7MBAsia/Tokyo", "{mode} {pin}");
    }
}
