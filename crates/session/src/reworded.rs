//! Errors about a text that was changed on its way, in the words of what the client wrote.

use std::rc::Rc;

use pool::{Server, Statement};
use wire::message::{
    backend::finish,
    error::{ErrorMessage, ErrorView},
};

use crate::session::Session;

/// Longer errors pass as they are, in bytes.
pub(crate) const REWORDED_MAX: u32 = 64 * 1024;

/// How the text of a unit was changed: what errors say of it is changed back.
#[derive(Debug)]
pub(crate) struct Reworded {
    pub(crate) unit: u32,
    pub(crate) statement: Rc<Statement>,
    pub(crate) name: Box<[u8]>,
    /// A position in the sent text behind this one, counted in characters from 1, is so much further on in the client's.
    pub(crate) after: usize,
    pub(crate) shift: isize,
}

impl Reworded {
    /// The message for the client, of an error with this body.
    pub(crate) fn error(&self, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        finish(&mut out, b'E', |out| {
            for field in body.split(|&b| b == 0) {
                let Some((code, value)) = field.split_first() else { continue };
                out.push(*code);
                match code {
                    b'P' => self.position(value, out),
                    b'M' | b'D' | b'H' | b'W' => self.text(value, out),
                    _ => out.extend_from_slice(value),
                }
                out.push(0);
            }
            out.push(0);
        });
        out
    }

    fn position(&self, value: &[u8], out: &mut Vec<u8>) {
        let position = std::str::from_utf8(value).ok().and_then(|value| value.parse::<usize>().ok());
        let moved = position
            .filter(|position| *position > self.after)
            .and_then(|position| position.checked_add_signed(self.shift));
        match moved {
            Some(moved) => out.extend_from_slice(moved.to_string().as_bytes()),
            None => out.extend_from_slice(value),
        }
    }

    /// With the client's name wherever the server's stands.
    fn text(&self, mut value: &[u8], out: &mut Vec<u8>) {
        while let [first, rest @ ..] = value {
            match value.strip_prefix(self.statement.server_name()) {
                Some(behind) if !behind.first().is_some_and(u8::is_ascii_digit) => {
                    out.extend_from_slice(&self.name);
                    value = behind;
                }
                Some(_) | None => {
                    out.push(*first);
                    value = rest;
                }
            }
        }
    }
}

/// What was sent ahead of a simple query, with a Sync of its own.
#[derive(Debug, Default)]
pub(crate) enum Ahead {
    /// Nothing, or it is there.
    #[default]
    Nothing,
    /// Statements, for the query that is this unit.
    Awaited(u32),
    /// It failed, with this message: the query will fail for it, and the client is told this.
    Failed(Vec<u8>),
}

impl Ahead {
    pub(crate) fn is_awaited(&self) -> bool {
        matches!(self, Self::Awaited(_))
    }

    /// Its query was answered.
    pub(crate) fn forget(&mut self) {
        if matches!(self, Self::Failed(_)) {
            *self = Self::Nothing;
        }
    }

    /// Its ReadyForQuery came.
    pub(crate) fn is_over(&mut self) {
        if self.is_awaited() {
            *self = Self::Nothing;
        }
    }
}

impl Session {
    /// Remembers how a unit was changed.
    pub(crate) fn note_reworded(&mut self, reworded: Reworded) {
        self.exchange_mut().reworded.push_back(reworded);
    }

    /// What was sent ahead of a query failed.
    pub(crate) fn ahead_failed(&mut self, server: &mut Server, body: &[u8]) {
        let Ahead::Awaited(unit) = self.exchange().ahead else { return };
        let mut error = Vec::new();
        if body.ends_with(b"\0\0") {
            finish(&mut error, b'E', |out| out.extend_from_slice(body));
        } else {
            let view = ErrorView::read(body);
            let code = view.code.unwrap_or(wire::SqlState::INTERNAL_ERROR);
            ErrorMessage::error(code, String::from_utf8_lossy(view.message).into_owned()).write(&mut error);
        }
        self.take_back(&mut server.prepared, unit);
        self.exchange_mut().ahead = Ahead::Failed(error);
    }

    /// Whether an error has to be seen whole, since it may speak of a text that was changed.
    pub(crate) fn may_reword(&self) -> bool {
        let exchange = self.exchange();
        !exchange.reworded.is_empty() || !matches!(exchange.ahead, Ahead::Nothing)
    }

    /// This unit and those before it are answered: what is known of how they were changed is of no more use.
    pub(crate) fn forget_reworded(&mut self, unit: u32) {
        let exchange = self.exchange_mut();
        exchange.ahead.forget();
        while exchange.reworded.front().is_some_and(|reworded| reworded.unit <= unit) {
            exchange.reworded.pop_front();
        }
    }

    /// The message that the client gets instead of an error, if it speaks of what the client did not write.
    pub(crate) fn reword(&mut self, server: &Server, body: &[u8]) -> Option<Vec<u8>> {
        let exchange = self.exchange_mut();
        if let Ahead::Failed(error) = std::mem::take(&mut exchange.ahead) {
            return Some(error);
        }
        let done = exchange.units_done(&server.ledger);
        let reworded = exchange.reworded.iter().find(|reworded| reworded.unit == done)?;
        body.ends_with(b"\0\0").then(|| reworded.error(body))
    }
}

/// How many characters a text has in UTF-8, or in an encoding of one byte for each.
pub(crate) fn characters(text: &[u8]) -> isize {
    let count = std::str::from_utf8(text).map_or(text.len(), |text| text.chars().count());
    isize::try_from(count).unwrap_or(isize::MAX)
}

#[cfg(test)]
mod tests {
    use pool::{Interner, SessionStates};

    use super::*;

    #[test]
    fn an_error_names_and_points_to_what_the_client_wrote() {
        let classify = |text: &[u8]| sql::classify(text, &sql::NoFunctions);
        let empty = SessionStates::default().empty();
        let statement = Interner::new(1 << 20).intern(b"select 1", &[0, 0], &empty, 1, classify);
        let reworded = Reworded { unit: 0, statement, name: b"plan".as_slice().into(), after: 9, shift: -4 };
        let body = b"SERROR\0C42P01\0Mno \"pgherd_1\", not \"pgherd_12\"\0P20\0\0";
        let expected = b"SERROR\0C42P01\0Mno \"plan\", not \"pgherd_12\"\0P16\0\0";
        assert_eq!(reworded.error(body).get(5..), Some(&expected[..]));
        assert_eq!(reworded.error(b"P9\0\0").get(5..), Some(&b"P9\0\0"[..]));
        assert_eq!(characters("aä".as_bytes()), 2);
    }
}
