//! Asking the server whether what pins a session is still there. A pin ends when the answer proves that nothing is
//! left, never because a statement looks as if it had ended it.

use std::{task::Context, time::Duration};

use pool::{Body, Server};
use protocol::{Origin, Owed};
use wire::message::{backend::TxStatus, frontend};

use crate::{
    exchange::{Entrance, Inquiry},
    io::send,
    pin::{PinReason, Pins},
    session::{ClientBody, Session},
};

/// Functions may release locks and drop tables unseen: at the end of a transaction it is asked at least this often.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How to ask about a reason: the letter that stands for it in the answer, and a query that has a row while it is
/// there. Outside a transaction every advisory lock of the server process is one of the session, and every cursor one
/// WITH HOLD. Whatever lies in a schema depends on it.
const QUESTIONS: [(PinReason, u8, &str); 4] = [
    (
        PinReason::TemporaryTable,
        b't',
        "SELECT FROM pg_catalog.pg_depend WHERE refclassid OPERATOR(pg_catalog.=) \
         'pg_catalog.pg_namespace'::pg_catalog.regclass::pg_catalog.oid \
         AND refobjid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()",
    ),
    (PinReason::SqlPrepare, b'p', "SELECT FROM pg_catalog.pg_prepared_statements WHERE from_sql"),
    (
        PinReason::AdvisoryLock,
        b'a',
        "SELECT FROM pg_catalog.pg_locks WHERE locktype OPERATOR(pg_catalog.=) 'advisory' \
         AND pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()",
    ),
    (PinReason::HoldCursor, b'h', "SELECT FROM pg_catalog.pg_cursors WHERE is_holdable"),
];

/// One text that says which of `pins` are still there, a letter for each; `''` if none is.
fn question(pins: Pins) -> String {
    let mut text = String::from("SELECT pg_catalog.concat(''");
    for (_, letter, rows) in QUESTIONS.iter().filter(|(reason, ..)| pins.has(*reason)) {
        text.push_str(", CASE WHEN EXISTS (");
        text.push_str(rows);
        text.push_str(") THEN '");
        text.push(char::from(*letter));
        text.push_str("' END");
    }
    text.push_str(") /* pgherd: what is left in this session */");
    text
}

/// Reads the DataRow that answers [`question`]; `None`: it is none of ours.
fn answer(row: &[u8]) -> Option<Pins> {
    let value = row.strip_prefix(&[0, 1])?;
    let (len, letters) = value.split_first_chunk::<4>()?;
    if usize::try_from(u32::from_be_bytes(*len)).ok()? != letters.len() {
        return None;
    }
    letters.iter().try_fold(Pins::default(), |pins, letter| {
        let known = QUESTIONS.iter().find(|(_, known, _)| known == letter)?;
        Some(pins.and(known.0.into()))
    })
}

impl Session {
    /// Nothing is under way between client and server, and no transaction is open.
    pub(crate) fn is_at_rest(&self, server: &Server) -> bool {
        server.ledger.is_answered()
            && server.ledger.status() == TxStatus::Idle
            && self.body == ClientBody::Boundary
            && !self.exchange().unit_open
            && self.exchange().entrance == Entrance::Open
            && server.body == Body::Boundary
            && server.input.is_empty()
            && server.output.is_empty()
            && server.cancels().get() == 0
    }

    /// A text is sent that may end a pin.
    pub(crate) fn note_release(&mut self, text: &[u8]) {
        if self.pins().may_end() && sql::may_release(text) {
            self.exchange_mut().inquiry = Inquiry::Due;
        }
    }

    /// A client's transaction ended: what pins it now has come true, and what was not asked for long is worth asking again.
    pub(crate) fn note_end_of_transaction(&mut self) {
        let (pins, now) = (self.pins(), self.worker.now());
        let exchange = self.exchange_mut();
        exchange.established = pins;
        if !pins.may_end() {
            return;
        }
        match exchange.inquiry {
            Inquiry::NotDue { since } if now.duration_since(since) >= ASK_AGAIN_AFTER => {
                exchange.inquiry = Inquiry::Due;
            }
            Inquiry::Failed => exchange.inquiry = Inquiry::Due,
            Inquiry::NotDue { .. } | Inquiry::Due | Inquiry::Asked { .. } => {}
        }
    }

    /// Whether the server should be asked now.
    pub(crate) fn should_inquire(&self, server: &Server) -> bool {
        self.pins().may_end()
            && self.exchange().inquiry == Inquiry::Due
            && server.ledger.is_settled()
            && self.is_at_rest(server)
    }

    /// The answer is awaited; until it is there the client's next request is not sent.
    pub(crate) fn is_inquiring(&self) -> bool {
        matches!(self.exchange().inquiry, Inquiry::Asked { .. })
    }

    /// Asks.
    pub(crate) fn inquire(&mut self, cx: &mut Context<'_>, server: &mut Server) {
        let mut out = Vec::new();
        frontend::query(question(self.pins()).as_bytes(), &mut out);
        server.ledger.owe(Owed::Query, Origin::Proxy);
        server.prepared.set_unnamed(None); // a simple query destroys it
        self.exchange_mut().inquiry = Inquiry::Asked { found: None };
        // a server that cannot be written to is noticed, with its reason, when it is read from
        if send(cx, &mut server.stream, &mut server.output, &out).is_err() {
            server.output.clear();
        }
    }

    /// A message of the answer.
    pub(crate) fn inquiry_answer(&mut self, tag: u8, body: &[u8]) {
        let now = self.worker.now();
        let inquiry = &mut self.exchange_mut().inquiry;
        match (tag, &mut *inquiry) {
            (b'D', Inquiry::Asked { found }) => *found = answer(body),
            (b'Z', Inquiry::Asked { found: Some(found) }) => {
                let left = *found;
                *inquiry = Inquiry::NotDue { since: now };
                self.keep_pins(self.pins().without(Pins::PROVABLE).and(left));
            }
            (b'Z', Inquiry::Asked { found: None }) => *inquiry = Inquiry::Failed,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_pins_is_asked_for() {
        let text = question(PinReason::HoldCursor.into());
        assert!(text.contains("pg_cursors") && !text.contains("pg_locks"), "{text}");
        assert_eq!(QUESTIONS.iter().fold(Pins::default(), |pins, q| pins.and(q.0.into())), Pins::PROVABLE);
    }

    #[test]
    fn an_answer_names_what_is_left_and_anything_else_is_none() {
        assert_eq!(answer(b"\0\x01\0\0\0\0"), Some(Pins::default()));
        let both = Pins::from(PinReason::TemporaryTable).and(PinReason::AdvisoryLock.into());
        assert_eq!(answer(b"\0\x01\0\0\0\x02ta"), Some(both));
        for other in [&b""[..], b"\0\x01", b"\0\x01\xff\xff\xff\xff", b"\0\x01\0\0\0\x01x", b"\0\x02\0\0\0\0"]
        {
            assert_eq!(answer(other), None, "{other:?}");
        }
    }
}
