//! Messages that do not fit into any buffer.

use e2e::{Herd, Setup};
use testkit::{Batch, Client};

const LARGE: usize = 64 * 1024 * 1024;

#[tokio::test]
async fn a_row_of_64_mib_passes() {
    let mut client = Herd::common().connect().await;
    let messages = client.query(&format!("select repeat('x', {LARGE}), 'end'")).await;
    let row = messages.iter().find(|message| message.tag == b'D').unwrap();
    let row = row.row();
    assert_eq!(row[0].as_ref().map(String::len), Some(LARGE));
    assert!(row[0].as_ref().unwrap().bytes().all(|byte| byte == b'x'));
    assert_eq!(row[1].as_deref(), Some("end"));
    assert_eq!(client.value("select 1").await, "1");
}

#[tokio::test]
async fn a_parameter_of_64_mib_passes() {
    let mut client = Herd::common().connect().await;
    let text = "y".repeat(LARGE);
    let batch = Batch::new()
        .parse("", "select length($1), md5($1)")
        .bind("", "", &[Some(&text)])
        .execute("", 0)
        .sync();
    let messages = client.run(&batch).await;
    let row = messages.iter().find(|message| message.tag == b'D').unwrap_or_else(|| panic!("{messages:?}"));
    assert_eq!(row.row()[0].as_deref(), Some(&*LARGE.to_string()));
    let expected = client.value(&format!("select md5(repeat('y', {LARGE}))")).await;
    assert_eq!(row.row()[1].as_deref(), Some(&*expected));
}

#[tokio::test]
async fn a_statement_of_8_mib_passes_in_both_protocols() {
    let mut client = Herd::common().connect().await;
    let sql = format!("select length('{}')", "z".repeat(8 * 1024 * 1024));
    assert_eq!(client.value(&sql).await, "8388608");
    let messages = client.run(&Batch::new().parse("", &sql).bind("", "", &[]).execute("", 0).sync()).await;
    let row = messages.iter().find(|message| message.tag == b'D').unwrap_or_else(|| panic!("{messages:?}"));
    assert_eq!(row.row()[0].as_deref(), Some("8388608"));
    assert_eq!(client.value("select 1").await, "1");
}

#[tokio::test]
async fn a_function_call_of_2_mib_passes_within_a_transaction() {
    const LO_WRITE: u32 = 955;
    const LENGTH: u32 = 2 * 1024 * 1024;
    let mut client = Herd::common().connect().await;
    client.execute("begin").await;
    let oid = client.value("select lo_creat(-1)").await;
    let descriptor: u32 = client.value(&format!("select lo_open({oid}, 131072)")).await.parse().unwrap();
    let mut body = LO_WRITE.to_be_bytes().to_vec();
    body.extend_from_slice(&[0, 1, 0, 1, 0, 2, 0, 0, 0, 4]); // all in binary format; two arguments
    body.extend_from_slice(&descriptor.to_be_bytes());
    body.extend_from_slice(&LENGTH.to_be_bytes());
    body.resize(body.len() + LENGTH as usize, b'x');
    body.extend_from_slice(&[0, 1]);
    let messages = client.run(&Batch::new().message(b'F', &body)).await;
    assert_eq!(messages[0].body, [[0, 0, 0, 4], LENGTH.to_be_bytes()].concat(), "{messages:?}");
    assert_eq!(client.value(&format!("select length(lo_get({oid}))")).await, LENGTH.to_string());
    client.execute("rollback").await;
}

#[tokio::test]
async fn a_long_bind_waits_for_the_names_at_its_head() {
    let herd = Setup::shared().start();
    let mut client = herd.connect().await;
    let mut neighbour = herd.connect().await;
    client.run(&Batch::new().parse("measured", "select length($1)").sync()).await;
    let text = "y".repeat(2 * 1024 * 1024);
    let batch = Batch::new().bind("", "measured", &[Some(&text)]).execute("", 0).sync();
    let mut rest = batch.bytes();
    for part in [5, 4, 100] {
        let (now, later) = rest.split_at(part);
        client.send(now).await.unwrap();
        assert_eq!(neighbour.value("select 1").await, "1"); // until this was read
        rest = later;
    }
    client.send(rest).await.unwrap();
    let messages = client.until_ready().await;
    let row = messages.iter().find(|message| message.tag == b'D').unwrap_or_else(|| panic!("{messages:?}"));
    assert_eq!(row.row()[0].as_deref(), Some("2097152"));
}

#[tokio::test]
async fn a_client_that_does_not_read_costs_no_memory() {
    let herd = Setup::shared().start();
    let pid = herd.proxy(0).pid().unwrap();
    let mut client = herd.connect().await;
    client.execute("select 1").await;
    let before = resident_kib(pid);
    client
        .send(Batch::new().query("select repeat('x', 100000) from generate_series(1, 2000)").bytes())
        .await
        .unwrap();
    let mut neighbour = herd.connect().await;
    for _ in 0..200 {
        assert_eq!(neighbour.value("select 1").await, "1");
    }
    let grown = resident_kib(pid).saturating_sub(before);
    println!("a result of 200 MB that nobody reads: {grown} KiB");
    assert!(grown < 4096, "{grown} KiB for a result that nobody reads");
    let messages = client.until_ready().await;
    assert_eq!(messages.iter().filter(|message| message.tag == b'D').count(), 2000);
    let _ = Client::status(&messages);
}

/// Memory that a process occupies.
fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
