//! Answers without a server: requests that fail before they reach one, and what is left of a transaction whose
//! server is gone. Speaks as PostgreSQL does in a failed transaction block.

use sql::Kind;
use wire::{
    SqlState,
    frame::{Direction, FrameError, MESSAGE_LIMIT, Peek, peek},
    message::{
        backend::{TxStatus, bare, command_complete, ready_for_query},
        error::ErrorMessage,
        frontend::{Parse, query_text},
    },
};

/// Answers a client until it is out of the failure.
#[derive(Debug)]
pub(crate) struct Responder {
    status: TxStatus,
    /// What the next request is told; later ones are told 25P02.
    error: Option<Box<ErrorMessage>>,
    /// An extended-protocol request failed: everything up to the next Sync is skipped.
    skipping: bool,
    /// The text parsed last ends the transaction.
    ends_transaction: bool,
}

/// How far a responder got with some input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It consumed this much and goes on.
    Goes(usize),
    /// It consumed this much, and the client is out of the failure.
    Out(usize),
    /// The client said goodbye.
    Terminate,
}

impl Responder {
    /// The next request fails with `error`; then the session goes on as before.
    pub(crate) fn request_fails(error: ErrorMessage) -> Self {
        Self {
            status: TxStatus::Idle,
            error: Some(Box::new(error)),
            skipping: false,
            ends_transaction: false,
        }
    }

    /// A transaction failed. `error` is what the client has not been told yet, if anything.
    pub(crate) fn transaction_failed(error: Option<ErrorMessage>) -> Self {
        Self {
            status: TxStatus::Failed,
            error: error.map(Box::new),
            skipping: false,
            ends_transaction: false,
        }
    }

    /// The error of a request was told already, its Sync is yet to come.
    pub(crate) fn skip_to_sync(status: TxStatus) -> Self {
        Self { status, error: None, skipping: true, ends_transaction: false }
    }

    /// What the client has not been told yet.
    pub(crate) fn into_error(self) -> Option<ErrorMessage> {
        self.error.map(|error| *error)
    }

    /// Answers the whole messages at the start of `input` into `out`. `classify` tells what a text does.
    ///
    /// # Errors
    /// [`FrameError`] for a head that is none.
    pub(crate) fn answer(
        &mut self,
        input: &[u8],
        classify: impl Fn(&[u8]) -> Kind,
        out: &mut Vec<u8>,
    ) -> Result<Progress, FrameError> {
        let mut consumed = 0;
        loop {
            let rest = input.get(consumed..).unwrap_or_default();
            let Peek::Whole { header, body } = peek(rest, Direction::Frontend, MESSAGE_LIMIT)? else {
                return Ok(Progress::Goes(consumed));
            };
            if header.tag == b'X' {
                return Ok(Progress::Terminate);
            }
            consumed += header.total_len();
            let ready = self.answer_one(header.tag, body, &classify, out);
            if ready && self.status == TxStatus::Idle && self.error.is_none() {
                return Ok(Progress::Out(consumed));
            }
        }
    }

    /// Answers one message; true after a ReadyForQuery.
    fn answer_one(
        &mut self,
        tag: u8,
        body: &[u8],
        classify: &impl Fn(&[u8]) -> Kind,
        out: &mut Vec<u8>,
    ) -> bool {
        match tag {
            b'S' => {
                self.skipping = false;
                ready_for_query(self.status, out);
                return true;
            }
            _ if self.skipping => {}
            b'Q' => {
                let kind = query_text(body).map_or(Kind::Write, classify);
                if !self.end_transaction(kind, out) {
                    self.tell(out);
                }
                ready_for_query(self.status, out);
                return true;
            }
            b'F' => {
                self.tell(out);
                ready_for_query(self.status, out);
                return true;
            }
            b'P' => {
                let kind = Parse::read(body).map_or(Kind::Write, |parse| classify(parse.query));
                self.ends_transaction = self.error.is_none() && ends(kind) && self.status == TxStatus::Failed;
                self.answer_or_skip(b'1', out);
            }
            b'B' => self.answer_or_skip(b'2', out),
            b'D' => self.answer_or_skip(b'n', out),
            b'C' => bare(b'3', out),
            b'E' if self.ends_transaction => {
                self.ends_transaction = false;
                self.end_transaction(Kind::Rollback { chain: false }, out);
            }
            b'E' => self.fail(out),
            _ => {} // Flush, and COPY data that was under way when the server was lost
        }
        false
    }

    fn answer_or_skip(&mut self, tag: u8, out: &mut Vec<u8>) {
        if self.ends_transaction { bare(tag, out) } else { self.fail(out) }
    }

    fn fail(&mut self, out: &mut Vec<u8>) {
        self.tell(out);
        self.skipping = true;
    }

    fn tell(&mut self, out: &mut Vec<u8>) {
        match self.error.take() {
            Some(error) => error.write(out),
            None => ErrorMessage::error(
                SqlState::IN_FAILED_SQL_TRANSACTION,
                "current transaction is aborted, commands ignored until end of transaction block",
            )
            .write(out),
        }
    }

    fn end_transaction(&mut self, kind: Kind, out: &mut Vec<u8>) -> bool {
        if self.error.is_some() || self.status != TxStatus::Failed || !ends(kind) {
            return false;
        }
        command_complete("ROLLBACK", out);
        self.status = TxStatus::Idle;
        true
    }
}

fn ends(kind: Kind) -> bool {
    matches!(kind, Kind::Commit { chain: false } | Kind::Rollback { chain: false })
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::message::frontend;

    fn tags(mut out: &[u8]) -> String {
        let mut tags = String::new();
        while let Ok(Peek::Whole { header, body }) = peek(out, Direction::Backend, MESSAGE_LIMIT) {
            tags.push(char::from(header.tag));
            if header.tag == b'Z' {
                tags.push(char::from(body[0]).to_ascii_lowercase());
            }
            out = &out[header.total_len()..];
        }
        tags
    }

    fn query(text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        frontend::query(text.as_bytes(), &mut out);
        out
    }

    fn batch(text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        Parse { statement: b"", query: text.as_bytes(), parameter_types: &[0, 0] }.write(&mut out);
        for (tag, body) in
            [(b'B', &b"\0\0\0\0\0\0\0\0"[..]), (b'D', b"P\0"), (b'E', b"\0\0\0\0\0"), (b'S', b"")]
        {
            frontend::header(tag, body.len(), &mut out);
            out.extend_from_slice(body);
        }
        out
    }

    #[track_caller]
    fn check(responder: &mut Responder, input: &[u8], expected: &str, out_of_it: bool) {
        let mut out = Vec::new();
        let classify = |text: &[u8]| sql::classify(text, &sql::NoFunctions).kind;
        let progress = responder.answer(input, classify, &mut out).unwrap();
        assert_eq!(tags(&out), expected);
        assert_eq!(matches!(progress, Progress::Out(_)), out_of_it, "{progress:?}");
    }

    fn lost() -> ErrorMessage {
        ErrorMessage::error(SqlState::SERIALIZATION_FAILURE, "failover")
    }

    #[test]
    fn a_failed_transaction_is_told_once_and_stays_failed_until_it_is_ended() {
        let mut responder = Responder::transaction_failed(Some(lost()));
        check(&mut responder, &query("select 1"), "EZe", false);
        check(&mut responder, &query("select 1"), "EZe", false);
        check(&mut responder, &query("rollback"), "CZi", true);
    }

    #[test]
    fn a_commit_that_has_not_been_told_yet_is_not_taken_for_a_rollback() {
        let mut responder = Responder::transaction_failed(Some(lost()));
        check(&mut responder, &query("commit"), "EZe", false);
        check(&mut responder, &query("commit"), "CZi", true);
    }

    #[test]
    fn the_extended_protocol_skips_to_its_sync_and_can_end_the_transaction() {
        let mut responder = Responder::transaction_failed(Some(lost()));
        check(&mut responder, &batch("select 1"), "EZe", false);
        check(&mut responder, &batch("rollback"), "12nCZi", true);
    }

    #[test]
    fn a_request_that_fails_on_its_own_leaves_the_session_as_it_was() {
        check(&mut Responder::request_fails(lost()), &batch("select 1"), "EZi", true);
        check(&mut Responder::request_fails(lost()), &query("select 1"), "EZi", true);
        check(&mut Responder::skip_to_sync(TxStatus::Idle), &batch("select 1"), "Zi", true);
    }

    #[test]
    fn copy_data_that_was_under_way_is_ignored() {
        let mut responder = Responder::transaction_failed(None);
        check(&mut responder, b"d\0\0\0\x06abc\0\0\0\x04", "", false);
        check(&mut responder, &query("end"), "CZi", true);
    }
}
