use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};
use wire::{
    SqlState,
    message::{
        backend::{self, TxStatus},
        error::ErrorMessage,
    },
};

use super::socket_pair;
use crate::{IdleMessage, QueryError, ServerConnection, Stream, inbox::Inbox};

fn connection() -> (ServerConnection, UnixStream) {
    let (near, far) = socket_pair();
    (ServerConnection::new(Stream::Plain(near), (1, Box::default()), Vec::new(), Inbox::default()), far)
}

fn ready(out: &mut Vec<u8>) {
    backend::ready_for_query(TxStatus::Idle, out);
}

fn error(severity: fn(SqlState, &'static str) -> ErrorMessage, code: SqlState, out: &mut Vec<u8>) {
    severity(code, "no").write(out);
}

#[tokio::test]
async fn rows_come_with_their_nulls_and_parameters_stay_current() {
    let (mut connection, mut far) = connection();
    let mut out = Vec::new();
    backend::row_description(&[("a", backend::ColumnType::Text)], &mut out);
    backend::data_row([Some(&b"x"[..]), None].into_iter(), &mut out);
    backend::command_complete("SELECT 1", &mut out);
    ErrorMessage::notice("by the way").write(&mut out);
    backend::parameter_status(b"in_hot_standby", b"on", &mut out);
    backend::parameter_status(b"in_hot_standby", b"off", &mut out);
    ready(&mut out);
    far.write_all(&out).await.unwrap();
    assert_eq!(connection.simple_query("select").await.unwrap(), [vec![Some("x".to_owned()), None]]);
    assert_eq!(connection.in_hot_standby(), Some(false));
    assert_eq!(connection.parameters.len(), 1);
}

#[tokio::test]
async fn parameters_travel_apart_from_the_text() {
    let (mut connection, mut far) = connection();
    let mut out = Vec::new();
    for tag in [b'1', b'2', b'n'] {
        backend::bare(tag, &mut out);
    }
    ready(&mut out);
    far.write_all(&out).await.unwrap();
    connection.query("select $1, $2", &[Some("a'b"), None]).await.unwrap();
    let mut sent = vec![0; 1000];
    let len = far.read(&mut sent).await.unwrap();
    sent.truncate(len);
    let parse = b"P\0\0\0\x15\0select $1, $2\0\0\0";
    let bind = b"B\0\0\0\x17\0\0\0\0\0\x02\0\0\0\x03a'b\xff\xff\xff\xff\0\0";
    assert_eq!(sent, [&parse[..], bind, b"E\0\0\0\x09\0\0\0\0\0", b"S\0\0\0\x04"].concat());
}

#[tokio::test]
async fn after_an_error_the_connection_serves_on_and_after_a_fatal_one_it_says_why() {
    let (mut connection, mut far) = connection();
    let mut out = Vec::new();
    error(ErrorMessage::error, SqlState::SYNTAX_ERROR, &mut out);
    ready(&mut out);
    ready(&mut out);
    error(ErrorMessage::fatal, SqlState::ADMIN_SHUTDOWN, &mut out);
    far.write_all(&out).await.unwrap();
    let mut codes = Vec::new();
    for _ in 0..2 {
        codes.push(connection.simple_query("x").await.map_err(|error| error.sqlstate()));
    }
    assert_eq!(codes, [Err(Some(SqlState::SYNTAX_ERROR)), Ok(Vec::new())]);
    far.shutdown().await.unwrap();
    let last = connection.simple_query("x").await.unwrap_err();
    assert_eq!(last.sqlstate(), Some(SqlState::ADMIN_SHUTDOWN));
}

#[tokio::test]
async fn a_query_that_was_dropped_half_way_leaves_a_connection_that_says_so() {
    let (mut connection, _far) = connection();
    {
        let mut query = Box::pin(connection.simple_query("select"));
        let woken = std::task::Waker::noop();
        assert!(query.as_mut().poll(&mut std::task::Context::from_waker(woken)).is_pending());
    }
    assert!(matches!(connection.simple_query("select").await, Err(QueryError::Unfinished)));
}

#[tokio::test]
async fn hostile_answers_are_refused_at_their_head() {
    for (answer, too_large) in [
        (&b"D\x3f\xff\xff\xff"[..], true),
        (b"D\0\0\0\x0a\0\x01\0\0\0\x05", false),
        (b"D\0\0\0\x06\xff\xff", false),
        (b"G\0\0\0\x07\0\0\0", false),
        (b"W\0\0\0\x07\0\0\0", false),
        (b"K\0\0\0\x0c\0\0\0\x01four", false),
        (b"Z\0\0\0\x05?", false),
        (b"\0\0\0\0\0", false),
    ] {
        let (mut connection, mut far) = connection();
        far.write_all(answer).await.unwrap();
        let refused = connection.simple_query("select").await.unwrap_err();
        assert_eq!(matches!(refused, QueryError::TooLarge), too_large, "{answer:?}");
        assert_eq!(matches!(refused, QueryError::Protocol), !too_large, "{answer:?}");
    }
}

#[tokio::test]
async fn an_idle_connection_hears_of_role_and_end() {
    let (mut connection, mut far) = connection();
    let mut out = Vec::new();
    ErrorMessage::notice("by the way").write(&mut out);
    backend::parameter_status(b"in_hot_standby", b"off", &mut out);
    error(ErrorMessage::fatal, SqlState::ADMIN_SHUTDOWN, &mut out);
    far.write_all(&out).await.unwrap();
    drop(far);
    assert!(
        matches!(connection.idle_message().await, IdleMessage::Parameter(name) if *name == *b"in_hot_standby")
    );
    assert_eq!(connection.in_hot_standby(), Some(false));
    let IdleMessage::Ended(why) = connection.idle_message().await else { panic!("the FATAL was missed") };
    assert_eq!(why.code, SqlState::ADMIN_SHUTDOWN);
    assert!(matches!(connection.idle_message().await, IdleMessage::Lost(_)));
}
