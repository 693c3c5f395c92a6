//! What a text with [`Effect::Settings`](crate::Effect::Settings) or a DEALLOCATE changes, by name.

use std::borrow::Cow;

use super::channel::{Channel, read_channel};
use super::characteristics::next_mode;
use super::config::{another_follows, config_call, plain_string};
use super::statement::{Lifetime, SetStatement, SettingName, between, read_reset, read_set};
use crate::name::{folded, is_named};
use crate::token::{Keyword, Token, TokenKind, Tokenizer};

/// A change of a setting, or of the channels that are listened to, that outlives the transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettingChange<'a> {
    /// The setting has a value of the client's.
    Set {
        /// The setting in lower case; `timezone`, `client_encoding`, `search_path`, `xmloption`, `role` and
        /// `session_authorization` where the statement has words of its own for it. The last one resets the role too.
        name: Cow<'a, [u8]>,
        /// The statement that brings it about again, as written but without `;`: `SET search_path TO a, b` or
        /// `SELECT set_config('a', 'b', false)`.
        statement: Cow<'a, [u8]>,
    },
    /// The setting is as it was when the session began.
    Reset {
        /// The setting, as above.
        name: Cow<'a, [u8]>,
    },
    /// All settings are, but for the role and the session's user.
    ResetAll,
    /// The session listens to a channel.
    Listen {
        /// Its name as the server knows it: in lower case or as quoted, and cut to 63 bytes; never empty.
        channel: Cow<'a, [u8]>,
    },
    /// It does no longer.
    Unlisten {
        /// The channel's name, as above.
        channel: Cow<'a, [u8]>,
    },
    /// It listens to no channel.
    UnlistenAll,
}

/// The changes that `text` asks for, in order, if its effect is [`Effect::Settings`](crate::Effect::Settings),
/// [`Effect::Listen`](crate::Effect::Listen) or [`Effect::Unlisten`](crate::Effect::Unlisten). They hold only once the
/// transaction has committed.
pub fn setting_changes(text: &[u8]) -> impl Iterator<Item = SettingChange<'_>> {
    SettingChanges { tokens: Tokenizer::new(text), place: Place::Statement }
}

/// The settings that `text` gives values for the transaction, if its effect is
/// [`Effect::LocalSettings`](crate::Effect::LocalSettings); `None` for one whose name is not in the text. Others may be
/// among them.
pub fn local_settings(text: &[u8]) -> impl Iterator<Item = Option<Cow<'_, [u8]>>> {
    let mut tokens = Tokenizer::new(text);
    let mut previous = Keyword::Other;
    std::iter::from_fn(move || {
        while let Some(token) = tokens.next() {
            let before = std::mem::replace(&mut previous, token.keyword);
            if before == Keyword::Set && token.keyword == Keyword::Local {
                return Some(match read_set(&mut tokens) {
                    SetStatement::Set(name) | SetStatement::Reset(name) => Some(name.canonical()),
                    SetStatement::Transaction => Some(Cow::Borrowed(&b"transaction_isolation"[..])),
                    SetStatement::Characteristics(_)
                    | SetStatement::ResetAll
                    | SetStatement::Local
                    | SetStatement::Pin(_) => None,
                });
            }
            if is_named(token, b"set_config") {
                let open = tokens.next();
                let name = open.and_then(|_| plain_string(&mut tokens));
                return Some(name.map(|name| SettingName::Quoted(name).canonical()));
            }
        }
        None
    })
}

/// The statement that `DEALLOCATE name` forgets, as the server knows it: in lower case or as quoted, and cut to 63
/// bytes. `None` for `DEALLOCATE ALL` and every other text.
#[must_use]
pub fn deallocated_name(text: &[u8]) -> Option<Cow<'_, [u8]>> {
    let mut tokens = Tokenizer::new(text);
    let first = std::iter::from_fn(|| tokens.next()).find(|token| token.kind != TokenKind::Semicolon)?;
    if first.keyword != Keyword::Deallocate {
        return None;
    }
    deallocated(&mut tokens).map(folded)
}

/// The name behind DEALLOCATE; `None` if all are meant, or none.
pub(crate) fn deallocated<'a>(tokens: &mut Tokenizer<'a>) -> Option<Token<'a>> {
    let mut name = tokens.next().filter(Token::is_name)?;
    if name.keyword == Keyword::Prepare
        && let Some(next) = tokens.peek().filter(Token::is_name)
    {
        name = next;
    }
    (name.keyword != Keyword::All).then_some(name)
}

#[derive(Debug)]
struct SettingChanges<'a> {
    tokens: Tokenizer<'a>,
    place: Place<'a>,
}

/// What comes next.
#[derive(Debug)]
enum Place<'a> {
    /// A statement.
    Statement,
    /// A `set_config` call of the SELECT that has begun.
    Call,
    /// A mode of the SET SESSION CHARACTERISTICS that was passed.
    Mode(Tokenizer<'a>),
}

impl<'a> Iterator for SettingChanges<'a> {
    type Item = SettingChange<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let part = match &mut self.place {
                Place::Statement => None,
                Place::Call => Some(self.next_call()),
                Place::Mode(modes) => {
                    let change = next_mode(modes).map(|(name, statement)| SettingChange::Set {
                        name: Cow::Borrowed(name.as_bytes()),
                        statement: Cow::Borrowed(statement.as_bytes()),
                    });
                    if change.is_none() {
                        self.place = Place::Statement;
                    }
                    Some(change)
                }
            };
            match part {
                Some(Some(change)) => return Some(change),
                Some(None) => continue,
                None => {}
            }
            let first = self.tokens.next()?;
            let change = match first.keyword {
                Keyword::Set => read_set(&mut self.tokens),
                Keyword::Reset => read_reset(&mut self.tokens),
                Keyword::Listen => match read_channel(&mut self.tokens) {
                    Channel::Named(name) => return Some(SettingChange::Listen { channel: folded(name) }),
                    Channel::All | Channel::Escaped | Channel::Invalid => continue,
                },
                Keyword::Unlisten => match read_channel(&mut self.tokens) {
                    Channel::Named(name) => return Some(SettingChange::Unlisten { channel: folded(name) }),
                    Channel::All => return Some(SettingChange::UnlistenAll),
                    Channel::Escaped | Channel::Invalid => continue,
                },
                Keyword::Select => {
                    self.place = Place::Call;
                    continue;
                }
                _ if first.kind == TokenKind::Semicolon => continue,
                _ => {
                    self.tokens.skip_statement();
                    continue;
                }
            };
            match change {
                SetStatement::Set(name) => {
                    let statement = Cow::Borrowed(source(first));
                    return Some(SettingChange::Set { name: name.canonical(), statement });
                }
                SetStatement::Characteristics(modes) => self.place = Place::Mode(Tokenizer::new(modes)),
                SetStatement::Reset(name) => return Some(SettingChange::Reset { name: name.canonical() }),
                SetStatement::ResetAll => return Some(SettingChange::ResetAll),
                SetStatement::Local | SetStatement::Transaction | SetStatement::Pin(_) => {}
            }
        }
    }
}

impl<'a> SettingChanges<'a> {
    /// The change that the next call makes for the session, if it does; the end of the list ends the statement.
    fn next_call(&mut self) -> Option<SettingChange<'a>> {
        let mut ahead = self.tokens.clone();
        let call = config_call(&mut ahead);
        let more = call.and_then(|_| another_follows(&mut ahead));
        let (Some(call), Some(more)) = (call, more) else {
            self.tokens.skip_statement(); // a SELECT of another kind
            self.place = Place::Statement;
            return None;
        };
        self.tokens = ahead;
        if !more {
            self.place = Place::Statement;
        }
        (call.lifetime == Lifetime::Session).then(|| Self::replay(call.name, call.source))
    }

    fn replay(name: SettingName<'a>, call: &[u8]) -> SettingChange<'a> {
        let statement = Cow::Owned([b"SELECT ", call].concat());
        SettingChange::Set { name: name.canonical(), statement }
    }
}

/// The source of the statement that starts with `first`, without the `;` and the comments at its end.
fn source<'a>(first: Token<'a>) -> &'a [u8] {
    let mut tokens = Tokenizer::new(first.from);
    let mut last = first;
    while let Some(token) = tokens.next().filter(|token| token.kind != TokenKind::Semicolon) {
        last = token;
    }
    between(first, last)
}
