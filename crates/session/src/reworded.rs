//! Errors about a text that was changed on its way, in the words of what the client wrote.

use std::rc::Rc;

use pool::Statement;
use wire::message::backend::finish;

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
