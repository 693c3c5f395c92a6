//! Bytes that no honest client sends: the proxy and its other clients do not care.

use e2e::{Herd, Setup};
use testkit::{Batch, Client};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What a smuggled statement would leave behind.
const SMUGGLED: &str = "insert into smuggled values (1)";

/// Message types and bodies whose inner counts and lengths are then replaced by lies, at these places.
fn bodies() -> Vec<(u8, Vec<u8>, Vec<usize>)> {
    let bind = b"\0\0\0\0\0\x01\0\0\0\x01x\0\0".to_vec();
    let parse = b"\0select 1\0\0\x01\0\0\0\x17".to_vec();
    let call = b"\0\0\x03\xbd\0\0\0\x01\0\0\0\x02-1\0\0".to_vec();
    vec![
        (b'P', parse, vec![10]),
        (b'B', bind, vec![2, 4, 6]),
        (b'E', b"\0\0\0\0\0".to_vec(), vec![1]),
        (b'D', b"S\0".to_vec(), vec![]),
        (b'C', b"P\0".to_vec(), vec![]),
        (b'Q', b"select 1\0".to_vec(), vec![]),
        (b'F', call, vec![4, 6, 8]),
        (b'd', b"data".to_vec(), vec![]),
        (b'f', b"why\0".to_vec(), vec![]),
        (b'c', vec![], vec![]),
        (b'S', vec![], vec![]),
        (b'H', vec![], vec![]),
        (b'p', b"password\0".to_vec(), vec![]),
    ]
}

/// Lengths that lie.
const LENGTHS: [u32; 12] =
    [0, 1, 2, 3, 5, 0x7fff, 0x8000, 0xffff, 0x7fff_fffe, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];

/// All messages: with a lie in the length field, or in one of the body's own fields.
fn lies() -> Vec<Vec<u8>> {
    let mut lies = Vec::new();
    for (tag, body, fields) in bodies() {
        for length in LENGTHS {
            let mut message = vec![tag];
            message.extend_from_slice(&length.to_be_bytes());
            message.extend_from_slice(&body);
            lies.push(message);
        }
        for field in fields {
            for lie in LENGTHS {
                let mut lying = body.clone();
                let room = lying.len() - field;
                let bytes =
                    if room >= 4 { lie.to_be_bytes().to_vec() } else { lie.to_be_bytes()[2..].to_vec() };
                let end = field + bytes.len().min(room);
                lying[field..end].copy_from_slice(&bytes[..end - field]);
                lies.push(Batch::new().message(tag, &lying).bytes().to_vec());
            }
        }
    }
    lies
}

#[tokio::test]
async fn lying_lengths_harm_nobody_and_smuggle_nothing() {
    let herd = Setup::shared().set("pool.size", 2).start();
    let pid = herd.proxy(0).pid().unwrap();
    let mut canary = herd.connect().await;
    canary.execute("create table smuggled (a int)").await;
    let lies = lies();
    for lie in &lies {
        let mut liar = herd.connect().await;
        // The rest of the connection is what a message would have to be long to swallow.
        let batch = Batch::new().raw(lie).query(SMUGGLED);
        let in_body = Batch::new().message(b'd', Batch::new().query(SMUGGLED).bytes());
        let _ = liar.send(in_body.bytes()).await;
        let _ = liar.send(&batch.bytes()[..lie.len()]).await;
        liar.reset();
        assert_eq!(canary.value("select 'canary'").await, "canary", "after {}", lie.escape_ascii());
    }
    println!("{} lies", lies.len());
    assert_eq!(herd.proxy(0).pid(), Some(pid), "the proxy has ended");
    assert_eq!(canary.value("select count(*) from smuggled").await, "0");
    assert!(!herd.proxy(0).log().contains("panicked"), "a task panicked");
}

#[tokio::test]
async fn a_violation_of_the_protocol_is_named_and_ends_the_connection() {
    let herd = Herd::common();
    for message in [
        &b"Q\0\0\0\x03"[..],
        b"!\0\0\0\x04",
        b"Q\xff\xff\xff\xff",
        b"Q\0\0\0\x08abcd",
        b"D\0\0\0\x06X\0S\0\0\0\x04",
    ] {
        let mut client = herd.connect().await;
        client.send(message).await.unwrap();
        let mut heard = Vec::new();
        let patience = std::time::Duration::from_secs(5);
        while let Some(answer) = client.next_within(patience).await.unwrap_or_else(|_| {
            panic!("{} was answered with {heard:?} and then nothing", message.escape_ascii())
        }) {
            heard.push(answer);
            if heard.last().is_some_and(|message| message.tag == b'Z') {
                break;
            }
        }
        let error = heard.iter().find(|message| message.tag == b'E');
        let error = error.unwrap_or_else(|| panic!("{}: {heard:?}", message.escape_ascii()));
        assert_eq!(error.sqlstate().as_deref(), Some("08P01"), "{}", message.escape_ascii());
    }
}

/// How often the proxy has given a client a server connection.
async fn assignments(herd: &Herd) -> u64 {
    let mut admin = herd.proxy(0).admin().await;
    let rows = admin.rows("SHOW STATS_TOTALS").await.unwrap();
    rows.iter().map(|row| row[1].as_deref().unwrap().parse::<u64>().unwrap()).sum()
}

#[tokio::test]
async fn the_head_of_a_long_message_alone_makes_no_work() {
    let herd = Setup::shared().set("pool.size", 2).start();
    let mut canary = herd.connect().await;
    for tag in b"QFPBdDCESHcf" {
        let mut client = herd.connect().await;
        let before = assignments(&herd).await;
        client.send(&[&[*tag][..], &[0, 0x20, 0, 0]].concat()).await.unwrap();
        if b"DCESHcf".contains(tag) {
            let error = client.next().await.expect("a violation is named");
            assert_eq!(error.sqlstate().as_deref(), Some("08P01"), "{}", char::from(*tag));
            assert!(client.next().await.is_none());
        }
        for _ in 0..10 {
            assert_eq!(canary.value("select 'canary'").await, "canary");
        }
        let made = assignments(&herd).await - before;
        assert!(made < 50, "{}: {made} server connections were given out", char::from(*tag));
    }
}

#[tokio::test]
async fn strangers_at_the_door_are_sent_away() {
    let herd = Herd::common();
    let mut greetings: Vec<Vec<u8>> = [
        &b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..],
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"EHLO localhost\r\n",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
        b"\0\0\0\0",
        b"\0\0\0\x04",
        b"\x7f\xff\xff\xff\0\x03\0\0",
        b"\0\0\0\x09\0\x03\0\0x",
        b"\0\0\0\x08\x04\xd2\x16\x2e",
        b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x01\0\0\0\x01",
    ]
    .map(<[u8]>::to_vec)
    .to_vec();
    // SSLRequest and GSSENCRequest, for ever.
    greetings.push([&b"\0\0\0\x08\x04\xd2\x16\x2f"[..], b"\0\0\0\x08\x04\xd2\x16\x30"].concat().repeat(1000));
    for greeting in greetings {
        let mut stranger = tokio::net::TcpStream::connect(herd.app().address).await.unwrap();
        let _ = stranger.write_all(&greeting).await;
        let _ = stranger.shutdown().await;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(testkit::PATIENCE, stranger.read_to_end(&mut answer))
            .await
            .expect("the proxy hangs up");
        assert!(answer.len() < 1000, "{}", greeting.escape_ascii());
    }
    let mut client: Client = herd.connect().await;
    assert_eq!(client.value("select 1").await, "1");
}
