//! A name before a parenthesis: a function, or one of the things that look like a call.

use super::scan::{Access, AfterClose, Scan, Undone, WithList};
use crate::class::{Effect, PinCause};
use crate::functions::{Functions, Standing, standing};
use crate::name::{NameBuffer, is_named_exactly};
use crate::token::{Keyword, Token, TokenKind};

/// A call of `set_config` that is open.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConfigCall {
    /// Open parentheses inside it.
    depth: usize,
    argument: Argument,
}

/// Where in the arguments of `set_config(name, value, is_local)` it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Argument {
    Name,
    Value,
    /// At the start of the third one.
    IsLocal,
    /// The third one is `true` so far.
    True,
    /// It is something else, or there are more.
    Other,
}

impl<F: Functions + ?Sized> Scan<'_, '_, F> {
    /// `name` stands before an opening parenthesis.
    pub(super) fn call(&mut self, name: Token<'_>) {
        if self.is_no_call(name) {
            return;
        }
        let mut name_buffer = NameBuffer::new();
        let schema = match self.qualifier {
            None => None,
            Some(qualifier) if is_named_exactly(qualifier, b"pg_catalog") => Some(&b"pg_catalog"[..]),
            Some(qualifier) => return self.call_in_schema(qualifier, name),
        };
        let Some(folded) = name_buffer.fold(name) else {
            return if name.kind == TokenKind::EscapedName {
                self.call_by_escaped_name();
            } else {
                self.raise(Access::Unvouched);
            };
        };
        match standing(folded) {
            Standing::Harmless => {
                if self.functions.shadows(schema, folded) {
                    self.unvouched(schema, folded);
                }
            }
            Standing::Unknown => {
                if !self.functions.is_harmless(schema, folded) {
                    self.unvouched(schema, folded);
                }
            }
            Standing::Node => self.raise(Access::Unvouched),
            Standing::Writes => self.raise(Access::Write),
            Standing::Outside => {
                self.raise(Access::Write);
                self.undone = Undone::InPart;
            }
            Standing::SessionLock => self.pin(PinCause::AdvisoryLock),
            Standing::SequenceValue => self.pin(PinCause::SequenceValue),
            Standing::SessionState => self.pin(PinCause::Settings),
            Standing::SetConfig => self.set_config(),
        }
    }

    /// A function in another schema than `pg_catalog`.
    #[cold]
    fn call_in_schema(&mut self, schema: Token<'_>, name: Token<'_>) {
        let (mut schema_buffer, mut name_buffer) = (NameBuffer::new(), NameBuffer::new());
        match (schema_buffer.fold(schema), name_buffer.fold(name)) {
            (Some(schema), Some(name)) => {
                if !self.functions.is_harmless(Some(schema), name) {
                    self.unvouched(Some(schema), name);
                }
            }
            (None, _) if schema.kind == TokenKind::EscapedName => self.call_by_escaped_name(),
            (_, None) if name.kind == TokenKind::EscapedName => self.call_by_escaped_name(),
            _ => self.raise(Access::Unvouched),
        }
    }

    /// A function that may write, and may leave something behind in the session.
    fn unvouched(&mut self, schema: Option<&[u8]>, name: &[u8]) {
        match self.functions.leaves_behind(schema, name) {
            Some(causes) => {
                self.raise(Access::Write);
                self.effect = self.effect.then(Effect::Pin(causes));
            }
            None => self.raise(Access::Unvouched),
        }
    }

    /// Whether the parenthesis behind `name` holds something other than a function's arguments.
    fn is_no_call(&self, name: Token<'_>) -> bool {
        let before = self.before;
        match before.keyword {
            // an alias or a WITH query with its columns, or a type with its modifiers
            Keyword::As | Keyword::With | Keyword::Recursive | Keyword::Ordinality => return true,
            Keyword::Grouping if name.text().eq_ignore_ascii_case(b"sets") => return true,
            _ => {}
        }
        match before.kind {
            TokenKind::Cast => return true,
            TokenKind::Comma if self.with_list == WithList::At(self.depth) => return true,
            _ => {}
        }
        if self.qualifier.is_some() || name.kind == TokenKind::EscapedName {
            return false;
        }
        if name.opens_parenthesis() {
            return true;
        }
        before.kind == TokenKind::Close
            && (self.after_close == AfterClose::Alias
                || name.text().eq_ignore_ascii_case(b"over")
                || name.text().eq_ignore_ascii_case(b"filter"))
    }

    /// Nobody writes a function's name with escapes but to hide it.
    fn call_by_escaped_name(&mut self) {
        self.pin(PinCause::Settings);
    }

    fn pin(&mut self, cause: PinCause) {
        self.raise(Access::Write);
        self.effect = self.effect.then(Effect::pin(cause));
    }

    /// `set_config` among other things: harmless to the session only if its third argument is the word `true`.
    fn set_config(&mut self) {
        self.raise(Access::Write);
        if self.config.is_some() {
            self.pin(PinCause::Settings);
            return;
        }
        self.config = Some(ConfigCall { depth: self.depth.saturating_add(1), argument: Argument::Name });
    }

    /// A token while a call of `set_config` is open.
    #[cold]
    pub(super) fn step_config(&mut self, token: Token<'_>) {
        let Some(call) = self.config else { return };
        let argument = match token.kind {
            TokenKind::Close if self.depth == call.depth => {
                self.config = None;
                if call.argument == Argument::True {
                    self.effect = self.effect.then(Effect::LocalSettings);
                } else {
                    self.pin(PinCause::Settings);
                }
                return;
            }
            TokenKind::Comma if self.depth == call.depth => match call.argument {
                Argument::Name => Argument::Value,
                Argument::Value => Argument::IsLocal,
                Argument::IsLocal | Argument::True | Argument::Other => Argument::Other,
            },
            // its own parenthesis
            TokenKind::Open if self.depth < call.depth => Argument::Name,
            _ => match call.argument {
                Argument::IsLocal if token.keyword == Keyword::True => Argument::True,
                Argument::Name | Argument::Value => call.argument,
                Argument::IsLocal | Argument::True | Argument::Other => Argument::Other,
            },
        };
        self.config = Some(ConfigCall { argument, ..call });
    }
}
