//! The forms of SET and RESET.

use std::borrow::Cow;

use super::characteristics::read_characteristics;
use crate::class::PinCause;
use crate::name::{inside_quotes, is_temporary_schema};
use crate::token::{Keyword, Token, TokenKind, Tokenizer};

/// What a SET or RESET statement is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SetStatement<'a> {
    /// Gives a setting a value for the session.
    Set(SettingName<'a>),
    /// Gives a setting back the value it had at the start of the session.
    Reset(SettingName<'a>),
    /// `SET SESSION CHARACTERISTICS`: the source of its modes.
    Characteristics(&'a [u8]),
    /// `RESET ALL`.
    ResetAll,
    /// `SET LOCAL`.
    Local,
    /// Is about the transaction itself.
    Transaction,
    /// Changes the session in a way that the client must keep its connection for.
    Pin(PinCause),
}

/// A setting as a statement names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SettingName<'a> {
    /// By key words of its own, such as `TIME ZONE`.
    Known(&'static str),
    /// By name: the source, dots and quotes included.
    Written(&'a [u8]),
    /// In a plain string, quotes not included.
    Quoted(&'a [u8]),
}

/// How long a setting lasts, or whether the proxy can bring it about again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lifetime {
    /// For the session, and a replay of the statement restores it.
    Session,
    /// For the transaction at most, whatever the statement says.
    Transaction,
    /// For the session, but the proxy cannot follow it: the rules of quoting change, a replay would do otherwise, or the
    /// name cannot be read.
    Untracked,
}

impl<'a> SettingName<'a> {
    /// In lower case, without quotes, as `pg_settings` has it but for its capitals.
    pub(crate) fn canonical(self) -> Cow<'a, [u8]> {
        let written = match self {
            Self::Known(name) => return Cow::Borrowed(name.as_bytes()),
            Self::Written(name) | Self::Quoted(name) => name,
        };
        let plain = |b: &u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.');
        let name = if written.iter().all(plain) {
            Cow::Borrowed(written)
        } else {
            let mut name = Vec::with_capacity(written.len());
            let mut tokens = Tokenizer::new(written);
            while let Some(token) = tokens.next() {
                name.extend_from_slice(match token.kind {
                    TokenKind::QuotedName => inside_quotes(token.text()),
                    _ => token.text(),
                });
            }
            name.make_ascii_lowercase();
            Cow::Owned(name)
        };
        match &*name {
            b"sort_mem" => Cow::Borrowed(b"work_mem"),
            b"vacuum_mem" => Cow::Borrowed(b"maintenance_work_mem"),
            _ => name,
        }
    }

    /// Whether this is the setting `lower`.
    pub(crate) fn is(self, lower: &str) -> bool {
        match self {
            Self::Known(name) => name == lower,
            Self::Written(name) => inside_quotes_if_any(name).eq_ignore_ascii_case(lower.as_bytes()),
            Self::Quoted(name) => name.eq_ignore_ascii_case(lower.as_bytes()),
        }
    }

    /// Whether a part of the name is written with escapes, so that it may be any setting.
    fn is_escaped(self) -> bool {
        match self {
            Self::Known(_) | Self::Quoted(_) => false,
            // a look for one byte spares most names the comparisons
            Self::Written(name) => {
                name.contains(&b'&') && name.windows(3).any(|start| start.eq_ignore_ascii_case(b"u&\""))
            }
        }
    }

    /// What becomes of a value that is given to it.
    pub(crate) fn lifetime(self) -> Lifetime {
        const TRANSACTION: [&str; 3] =
            ["transaction_isolation", "transaction_read_only", "transaction_deferrable"];
        const UNTRACKED: [&str; 3] = ["standard_conforming_strings", "backslash_quote", "seed"];
        if TRANSACTION.iter().any(|name| self.is(name)) {
            Lifetime::Transaction
        } else if UNTRACKED.iter().any(|name| self.is(name)) || self.is_escaped() {
            Lifetime::Untracked
        } else {
            Lifetime::Session
        }
    }
}

fn inside_quotes_if_any(name: &[u8]) -> &[u8] {
    if name.starts_with(b"\"") { inside_quotes(name) } else { name }
}

/// Reads what follows SET, the `;` included.
pub(crate) fn read_set<'a>(tokens: &mut Tokenizer<'a>) -> SetStatement<'a> {
    let Some(mut first) = tokens.next() else { return SetStatement::Pin(PinCause::Settings) };
    if first.keyword == Keyword::Session {
        match tokens.next() {
            Some(second) if second.keyword == Keyword::Authorization => {
                return value(SettingName::Known("session_authorization"), tokens);
            }
            Some(second) if second.keyword == Keyword::Characteristics => {
                let modes = read_characteristics(tokens);
                return modes.map_or(SetStatement::Pin(PinCause::Settings), SetStatement::Characteristics);
            }
            Some(second) => first = second,
            None => return SetStatement::Pin(PinCause::Settings),
        }
    }
    match first.keyword {
        Keyword::Local => {
            tokens.skip_statement();
            SetStatement::Local
        }
        Keyword::Transaction | Keyword::Constraints => {
            tokens.skip_statement();
            SetStatement::Transaction
        }
        Keyword::Role => value(SettingName::Known("role"), tokens),
        Keyword::Names => value(SettingName::Known("client_encoding"), tokens),
        Keyword::Schema => value(SettingName::Known("search_path"), tokens),
        Keyword::Time if passes(tokens, Keyword::Zone) => value(SettingName::Known("timezone"), tokens),
        Keyword::Xml if passes(tokens, Keyword::Option) => value(SettingName::Known("xmloption"), tokens),
        _ => named(first, tokens),
    }
}

/// Reads what follows RESET, the `;` included.
pub(crate) fn read_reset<'a>(tokens: &mut Tokenizer<'a>) -> SetStatement<'a> {
    let Some(first) = tokens.next() else { return SetStatement::Pin(PinCause::Settings) };
    let name = match first.keyword {
        Keyword::All => {
            tokens.skip_statement();
            return SetStatement::ResetAll;
        }
        Keyword::Session if passes(tokens, Keyword::Authorization) => {
            SettingName::Known("session_authorization")
        }
        Keyword::Role => SettingName::Known("role"),
        Keyword::Time if passes(tokens, Keyword::Zone) => SettingName::Known("timezone"),
        Keyword::Transaction => {
            tokens.skip_statement();
            return SetStatement::Transaction;
        }
        _ if first.kind == TokenKind::Semicolon => return SetStatement::Pin(PinCause::Settings),
        _ => setting_name(first, tokens),
    };
    tokens.skip_statement();
    match name.lifetime() {
        Lifetime::Session => SetStatement::Reset(name),
        Lifetime::Transaction => SetStatement::Transaction,
        Lifetime::Untracked => SetStatement::Pin(PinCause::Settings),
    }
}

/// `name {TO | =} value`, from the name on.
fn named<'a>(first: Token<'a>, tokens: &mut Tokenizer<'a>) -> SetStatement<'a> {
    if first.kind == TokenKind::Semicolon {
        return SetStatement::Pin(PinCause::Settings);
    }
    let name = setting_name(first, tokens);
    match tokens.next() {
        Some(token) if token.keyword == Keyword::To || token.text() == b"=" => value(name, tokens),
        Some(token) => {
            if token.kind != TokenKind::Semicolon {
                tokens.skip_statement();
            }
            SetStatement::Pin(PinCause::Settings)
        }
        None => SetStatement::Pin(PinCause::Settings),
    }
}

/// The value and the rest of the statement. Where the value is the one that the session started with, it is a reset.
fn value<'a>(name: SettingName<'a>, tokens: &mut Tokenizer<'a>) -> SetStatement<'a> {
    let first = tokens.next().filter(|token| token.kind != TokenKind::Semicolon);
    let resets = match first {
        None => name.is("client_encoding"), // SET NAMES alone
        Some(first) => match first.keyword {
            Keyword::Default => true,
            Keyword::None => name == SettingName::Known("role"),
            Keyword::Local => name == SettingName::Known("timezone"),
            _ => false,
        },
    };
    if first.is_some() {
        tokens.skip_statement();
    }
    match name.lifetime() {
        Lifetime::Transaction => SetStatement::Transaction,
        Lifetime::Untracked => SetStatement::Pin(PinCause::Settings),
        Lifetime::Session if resets => SetStatement::Reset(name),
        Lifetime::Session => match first {
            None => SetStatement::Pin(PinCause::Settings),
            Some(first) if name.is("search_path") && is_temporary_schema(first.text()) => {
                SetStatement::Pin(PinCause::Settings)
            }
            Some(_) => SetStatement::Set(name),
        },
    }
}

/// `first` with the dotted parts that follow it.
fn setting_name<'a>(first: Token<'a>, tokens: &mut Tokenizer<'a>) -> SettingName<'a> {
    let mut last = first;
    while let Some(dot) = tokens.peek().filter(|token| token.kind == TokenKind::Dot) {
        last = dot;
        tokens.next();
        if let Some(part) = tokens.peek().filter(Token::is_name) {
            last = part;
            tokens.next();
        }
    }
    SettingName::Written(between(first, last))
}

/// The source from the start of `first` to the end of `last`.
pub(crate) fn between<'a>(first: Token<'a>, last: Token<'a>) -> &'a [u8] {
    first.from.get(..first.from.len().saturating_sub(last.behind().len())).unwrap_or_default()
}

/// Passes the next token if it is `keyword`.
fn passes(tokens: &mut Tokenizer<'_>, keyword: Keyword) -> bool {
    let is_next = tokens.peek().is_some_and(|token| token.keyword == keyword);
    if is_next {
        tokens.next();
    }
    is_next
}
