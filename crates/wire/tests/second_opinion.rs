//! What is written here, another implementation of the protocol reads, and writes again byte for byte.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use bytes::BytesMut;
use pgwire::messages::{DecodeContext, PgWireBackendMessage, PgWireFrontendMessage};
use wire::{
    SqlState,
    message::{
        backend::{self, Authentication, ColumnType, TxStatus},
        error::ErrorMessage,
        frontend::{self, Parse, Target},
        startup,
    },
};

fn context() -> DecodeContext {
    let mut context = DecodeContext::default();
    context.awaiting_frontend_ssl = false;
    context.awaiting_frontend_startup = false;
    context
}

#[track_caller]
fn check_backend(write: impl FnOnce(&mut Vec<u8>)) {
    let mut ours = Vec::new();
    write(&mut ours);
    let message = PgWireBackendMessage::decode(&mut BytesMut::from(&*ours), &context()).unwrap().unwrap();
    let mut theirs = BytesMut::new();
    message.encode(&mut theirs).unwrap();
    assert_eq!(ours, theirs, "{message:?}");
}

#[track_caller]
fn check_frontend(write: impl FnOnce(&mut Vec<u8>)) {
    let mut ours = Vec::new();
    write(&mut ours);
    let message = PgWireFrontendMessage::decode(&mut BytesMut::from(&*ours), &context()).unwrap().unwrap();
    let mut theirs = BytesMut::new();
    message.encode(&mut theirs).unwrap();
    assert_eq!(ours, theirs, "{message:?}");
}

#[test]
fn messages_to_clients_are_read_alike_elsewhere() {
    for status in [TxStatus::Idle, TxStatus::InTransaction, TxStatus::Failed] {
        check_backend(|out| backend::ready_for_query(status, out));
    }
    for request in [
        Authentication::Ok,
        Authentication::Cleartext,
        Authentication::Md5 { salt: *b"salt" },
        Authentication::Sasl { mechanisms: b"SCRAM-SHA-256\0\0" },
        Authentication::SaslContinue(b"r=nonce,s=c2FsdA==,i=4096"),
        Authentication::SaslFinal(b"v=proof"),
    ] {
        check_backend(|out| request.write(out));
    }
    check_backend(|out| backend::command_complete("INSERT 0 1", out));
    check_backend(|out| backend::parameter_status(b"TimeZone", b"UTC", out));
    check_backend(|out| backend::backend_key_data(42, b"abcd", out));
    check_backend(|out| backend::negotiate_protocol_version(2, &[b"_pq_.x"], out));
    check_backend(|out| backend::row_description(&[("a", ColumnType::Int4), ("b", ColumnType::Text)], out));
    check_backend(|out| backend::data_row([Some(&b"1"[..]), None, Some(b"")].into_iter(), out));
    for tag in *b"123nIsc" {
        check_backend(|out| backend::bare(tag, out));
    }
    let error =
        ErrorMessage::error(SqlState::CANNOT_CONNECT_NOW, "no primary").with_detail("d").with_hint("h");
    check_backend(|out| error.write(out));
    check_backend(|out| ErrorMessage::notice("held").write(out));
}

#[test]
fn messages_to_servers_are_read_alike_elsewhere() {
    check_frontend(|out| frontend::query(b"select 1", out));
    check_frontend(frontend::sync);
    check_frontend(frontend::terminate);
    let types = [0, 2, 0, 0, 0, 23, 0, 0, 0, 25];
    check_frontend(|out| Parse { statement: b"s1", query: b"select $1", parameter_types: &types }.write(out));
    check_frontend(|out| Target::Statement(b"s1").write(b'D', out));
    check_frontend(|out| Target::Portal(b"p").write(b'C', out));
}

#[test]
fn a_startup_packet_is_read_alike_elsewhere() {
    let mut ours = Vec::new();
    startup::session(startup::PROTOCOL_3_0, &[(b"database", b"shop"), (b"user", b"app")], &mut ours);
    let mut context = DecodeContext::default();
    context.awaiting_frontend_ssl = false;
    let message = PgWireFrontendMessage::decode(&mut BytesMut::from(&*ours), &context).unwrap().unwrap();
    let PgWireFrontendMessage::Startup(packet) = message else { panic!("{message:?}") };
    assert_eq!((packet.protocol_number_major, packet.protocol_number_minor), (3, 0));
    assert_eq!(packet.parameters.get("user").map(String::as_str), Some("app"));
    assert_eq!(packet.parameters.get("database").map(String::as_str), Some("shop"));
}
