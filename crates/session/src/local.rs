//! Answers without a server: requests that fail before they reach one, and what is left of a transaction whose
//! server is gone. Speaks as PostgreSQL does in a failed transaction block.

use std::rc::Rc;

use pool::Statement;
use sql::Kind;
use wire::{
    SqlState,
    frame::{Direction, FrameError, MESSAGE_LIMIT, Peek, peek},
    message::{
        backend::{TxStatus, bare, command_complete, finish, ready_for_query},
        error::ErrorMessage,
        frontend::{BindNames, Parse, Target, query_text},
    },
};

use crate::names::Names;

/// Answers a client until it is out of the failure.
#[derive(Debug)]
pub(crate) struct Responder {
    status: TxStatus,
    /// What the next request is told; later ones are told 25P02.
    error: Option<Box<ErrorMessage>>,
    /// An extended-protocol request failed: everything up to the next Sync is skipped.
    skipping: bool,
    /// The statement bound last ends the transaction.
    ends_transaction: bool,
}

/// What texts and names mean.
pub(crate) trait Meaning {
    /// What a text does.
    fn kind(&self, text: &[u8]) -> Kind;
    /// The statement of a Parse.
    fn statement(&self, parse: &Parse<'_>) -> Rc<Statement>;
    /// The client's statements.
    fn names(&mut self) -> &mut Names;
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

    /// Answers the whole messages at the start of `input` into `out`. What the client prepares and closes meanwhile
    /// is in its names afterwards.
    ///
    /// # Errors
    /// [`FrameError`] for a head that is none.
    pub(crate) fn answer(
        &mut self,
        input: &[u8],
        meaning: &mut impl Meaning,
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
            let ready = self.answer_one(header.tag, body, meaning, out);
            if ready && self.status == TxStatus::Idle && self.error.is_none() {
                return Ok(Progress::Out(consumed));
            }
        }
    }

    /// Answers one message; true after a ReadyForQuery.
    fn answer_one(&mut self, tag: u8, body: &[u8], meaning: &mut impl Meaning, out: &mut Vec<u8>) -> bool {
        match tag {
            b'S' => {
                self.skipping = false;
                ready_for_query(self.status, out);
                return true;
            }
            _ if self.skipping => {}
            b'Q' => {
                meaning.names().remove(b"");
                let kind = query_text(body).map_or(Kind::Write, |text| meaning.kind(text));
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
            b'P' => self.parse(body, meaning, out),
            b'B' => {
                let names = meaning.names();
                let found = BindNames::read(body).ok().and_then(|bind| names.find(bind.statement));
                self.ends_transaction = found.is_some_and(|found| self.may_run(found.class().kind));
                if self.ends_transaction { bare(b'2', out) } else { self.fail(out) }
            }
            b'D' => self.describe(body, meaning.names(), out),
            b'C' => {
                if let Ok(Target::Statement(name)) = Target::read(body) {
                    meaning.names().remove(name);
                }
                bare(b'3', out);
            }
            b'E' if self.ends_transaction => {
                self.ends_transaction = false;
                self.end_transaction(Kind::Rollback { chain: false }, out);
            }
            b'E' => self.fail(out),
            _ => {} // Flush, and COPY data that was under way when the server was lost
        }
        false
    }

    /// Whether a failed transaction takes a statement of this kind: one that ends it, once its failure was told.
    fn may_run(&self, kind: Kind) -> bool {
        self.error.is_none() && self.status == TxStatus::Failed && ends(kind)
    }

    fn parse(&mut self, body: &[u8], meaning: &mut impl Meaning, out: &mut Vec<u8>) {
        let Ok(parse) = Parse::read(body) else { return self.fail(out) };
        if parse.statement.is_empty() {
            meaning.names().remove(b"");
        }
        if !self.may_run(meaning.kind(parse.query)) {
            return self.fail(out);
        }
        if meaning.names().find(parse.statement).is_some() {
            let name = String::from_utf8_lossy(parse.statement);
            let text = format!("prepared statement \"{name}\" already exists");
            self.error = Some(Box::new(ErrorMessage::error(SqlState::DUPLICATE_PREPARED_STATEMENT, text)));
            return self.fail(out);
        }
        let statement = meaning.statement(&parse);
        meaning.names().insert(parse.statement, statement);
        bare(b'1', out);
    }

    fn describe(&mut self, body: &[u8], names: &Names, out: &mut Vec<u8>) {
        match Target::read(body) {
            Ok(Target::Statement(name))
                if names.find(name).is_some_and(|found| self.may_run(found.class().kind)) =>
            {
                finish(out, b't', |out| out.extend_from_slice(&[0, 0])); // no parameters
                bare(b'n', out);
            }
            Ok(Target::Portal(_)) if self.ends_transaction => bare(b'n', out),
            Ok(Target::Statement(_) | Target::Portal(_)) | Err(_) => self.fail(out),
        }
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
    use pool::{Interner, SessionStates};
    use wire::message::frontend;

    use super::*;

    struct Known {
        interner: Interner,
        names: Names,
    }

    impl Meaning for Known {
        fn kind(&self, text: &[u8]) -> Kind {
            sql::classify(text, &sql::NoFunctions).kind
        }

        fn statement(&self, parse: &Parse<'_>) -> Rc<Statement> {
            let classify = |text: &[u8]| sql::classify(text, &sql::NoFunctions);
            let empty = SessionStates::default().empty();
            self.interner.intern(parse.query, parse.parameter_types, &empty, 1, classify)
        }

        fn names(&mut self) -> &mut Names {
            &mut self.names
        }
    }

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
        let mut known = Known { interner: Interner::new(1 << 20), names: Names::default() };
        check_known(responder, &mut known, input, expected, out_of_it);
    }

    #[track_caller]
    fn check_known(
        responder: &mut Responder,
        known: &mut Known,
        input: &[u8],
        expected: &str,
        out_of_it: bool,
    ) {
        let mut out = Vec::new();
        let progress = responder.answer(input, known, &mut out).unwrap();
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
    fn statements_prepared_before_and_meanwhile_end_the_transaction() {
        let mut known = Known { interner: Interner::new(1 << 20), names: Names::default() };
        let mut responder = Responder::transaction_failed(None);
        let message = |tag: u8, body: &[u8]| {
            let mut out = Vec::new();
            frontend::header(tag, body.len(), &mut out);
            out.extend_from_slice(body);
            out
        };
        let parse = |name: &str, text: &str| {
            let mut out = Vec::new();
            let (statement, query) = (name.as_bytes(), text.as_bytes());
            Parse { statement, query, parameter_types: &[0, 0] }.write(&mut out);
            out
        };
        let run =
            [message(b'B', b"\0s\0\0\0\0\0\0\0"), message(b'E', b"\0\0\0\0\0"), message(b'S', b"")].concat();
        let sync = message(b'S', b"");
        check_known(&mut responder, &mut known, &run, "EZe", false);
        check_known(
            &mut responder,
            &mut known,
            &[parse("s", "select 1"), sync.clone()].concat(),
            "EZe",
            false,
        );
        check_known(
            &mut responder,
            &mut known,
            &[parse("s", "rollback"), sync.clone()].concat(),
            "1Ze",
            false,
        );
        check_known(
            &mut responder,
            &mut known,
            &[parse("s", "rollback"), sync.clone()].concat(),
            "EZe",
            false,
        );
        check_known(
            &mut responder,
            &mut known,
            &[message(b'D', b"Ss\0"), sync.clone()].concat(),
            "tnZe",
            false,
        );
        check_known(&mut responder, &mut known, &run, "2CZi", true);
        let mut again = Responder::transaction_failed(None);
        check_known(&mut again, &mut known, &[message(b'C', b"Ss\0"), sync].concat(), "3Ze", false);
        check_known(&mut again, &mut known, &run, "EZe", false);
        assert_eq!(known.names.len(), 0);
    }

    #[test]
    fn copy_data_that_was_under_way_is_ignored() {
        let mut responder = Responder::transaction_failed(None);
        check(&mut responder, b"d\0\0\0\x06abc\0\0\0\x04", "", false);
        check(&mut responder, &query("end"), "CZi", true);
    }
}
