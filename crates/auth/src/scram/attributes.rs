use base64::{Engine, prelude::BASE64_STANDARD};

use super::MESSAGE_LIMIT;

/// A SCRAM message that breaks the grammar; names the part that was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed SCRAM message: {0}")]
pub struct MalformedScram(pub &'static str);

/// Reads `a=value,b=value`, in the order that RFC 5802 section 7 prescribes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attributes<'a> {
    whole: &'a str,
    rest: Option<&'a str>,
}

impl<'a> Attributes<'a> {
    pub(super) fn new(message: &'a [u8]) -> Result<Self, MalformedScram> {
        if message.len() > MESSAGE_LIMIT {
            return Err(MalformedScram("it is too long"));
        }
        let whole = std::str::from_utf8(message).map_err(|_| MalformedScram("it is not UTF-8"))?;
        if whole.contains('\0') {
            return Err(MalformedScram("it contains a NUL"));
        }
        Ok(Self { whole, rest: Some(whole) })
    }

    /// Takes the next attribute, which must have this name.
    pub(super) fn expect(&mut self, name: char, missing: &'static str) -> Result<&'a str, MalformedScram> {
        self.next()?
            .filter(|(found, _)| *found == name)
            .map(|(_, value)| value)
            .ok_or(MalformedScram(missing))
    }

    /// Takes the next attribute; `None` after the last.
    pub(super) fn next(&mut self) -> Result<Option<(char, &'a str)>, MalformedScram> {
        let Some(rest) = self.rest else { return Ok(None) };
        let (attribute, rest) = match rest.split_once(',') {
            Some((attribute, rest)) => (attribute, Some(rest)),
            None => (rest, None),
        };
        self.rest = rest;
        match attribute.split_once('=') {
            Some((name, value)) if name.len() == 1 && name.bytes().all(|b| b.is_ascii_alphabetic()) => {
                Ok(name.chars().next().map(|name| (name, value)))
            }
            _ => Err(MalformedScram("an attribute is a letter, an equals sign and a value")),
        }
    }

    /// What has been taken so far, without the comma after it.
    pub(super) fn taken(&self) -> &'a str {
        match self.rest {
            Some(rest) => {
                let end = self.whole.len().saturating_sub(rest.len()).saturating_sub(1);
                self.whole.get(..end).unwrap_or_default()
            }
            None => self.whole,
        }
    }

    /// What has not been taken yet.
    pub(super) fn rest(&self) -> &'a str {
        self.rest.unwrap_or_default()
    }
}

/// A nonce: printable ASCII without commas, and not empty.
pub(super) fn nonce(value: &str) -> Result<&str, MalformedScram> {
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_graphic() && b != b',') {
        Ok(value)
    } else {
        Err(MalformedScram("a nonce is printable ASCII"))
    }
}

/// A proof or signature: base64 of exactly 32 bytes.
pub(super) fn signature(value: &str) -> Result<[u8; 32], MalformedScram> {
    let malformed = MalformedScram("a proof or signature is base64 of 32 bytes");
    let bytes = BASE64_STANDARD.decode(value).map_err(|_| malformed)?;
    bytes.try_into().map_err(|_| malformed)
}
