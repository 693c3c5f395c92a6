//! The texts that a client's messages bring to run, in their order.

use std::rc::Rc;

use pool::Statement;
use wire::{
    frame::{Direction, MESSAGE_LIMIT, Peek, peek},
    message::frontend::{BindNames, Parse, query_text},
};

use crate::{names::Names, sql_prepared::executed};

/// A text to be run or prepared.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Text<'a> {
    /// That of a Query or a Parse.
    Sent(&'a [u8]),
    /// A statement that was prepared before, which a Bind or an EXECUTE names.
    Prepared(&'a Rc<Statement>),
}

impl<'a> Text<'a> {
    /// Its bytes.
    pub(crate) fn bytes(self) -> &'a [u8] {
        match self {
            Self::Sent(text) => text,
            Self::Prepared(statement) => statement.text(),
        }
    }
}

/// The texts in the whole messages at the start of `input`, from a client with these names.
pub(crate) fn texts<'a>(input: &'a [u8], names: &'a Names) -> impl Iterator<Item = Text<'a>> {
    let mut rest = input;
    let mut next = None;
    std::iter::from_fn(move || {
        if let Some(executed) = next.take() {
            return Some(Text::Prepared(executed));
        }
        while let Ok(Peek::Whole { header, body }) = peek(rest, Direction::Frontend, MESSAGE_LIMIT) {
            rest = rest.get(header.total_len()..).unwrap_or_default();
            let text = match header.tag {
                b'Q' => query_text(body).ok().map(Text::Sent),
                b'P' => Parse::read(body).ok().map(|parse| Text::Sent(parse.query)),
                b'B' => {
                    let bind = BindNames::read(body).ok();
                    bind.and_then(|bind| names.find(bind.statement)).map(Text::Prepared)
                }
                _ => None,
            };
            if let (b'Q', Some(Text::Sent(query))) = (header.tag, text) {
                next = executed(query, names);
            }
            if text.is_some() {
                return text;
            }
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use pool::{Interner, SessionStates};
    use wire::message::frontend;

    use super::*;

    #[test]
    fn what_is_sent_and_what_is_named_comes_in_order() {
        let classify = |text: &[u8]| sql::classify(text, &sql::NoFunctions);
        let empty = SessionStates::default().empty();
        let statement = Interner::new(1 << 20).intern(b"select 'named'", &[0, 0], &empty, 1, classify);
        let mut names = Names::default();
        names.insert(b"plan", statement);
        let mut input = Vec::new();
        Parse { statement: b"", query: b"select 'parsed'", parameter_types: &[0, 0] }.write(&mut input);
        for name in ["plan", "nobody"] {
            let body = format!("\0{name}\0\0\0\0\0\0\0");
            frontend::header(b'B', body.len(), &mut input);
            input.extend_from_slice(body.as_bytes());
        }
        frontend::header(b'S', 0, &mut input);
        frontend::query(b"execute plan", &mut input);
        frontend::query(b"select 1", &mut input);
        let found: Vec<_> = texts(&input, &names).map(|text| String::from_utf8_lossy(text.bytes())).collect();
        assert_eq!(
            found,
            ["select 'parsed'", "select 'named'", "execute plan", "select 'named'", "select 1"]
        );
    }
}
