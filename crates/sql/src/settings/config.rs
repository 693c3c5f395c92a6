//! `SELECT set_config('name', 'value', false), …` and nothing else.

use super::statement::{Lifetime, SettingName, between};
use crate::name::{inside_quotes, is_named, is_temporary_schema};
use crate::token::{Keyword, Token, TokenKind, Tokenizer};

/// What a SELECT that is a list of `set_config` calls with literal arguments changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConfigList {
    /// All for the transaction.
    Transaction,
    /// All for the session.
    Session,
    /// Some of each.
    Both,
}

/// One `set_config` call with literal arguments.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConfigCall<'a> {
    /// The setting.
    pub(crate) name: SettingName<'a>,
    /// The call, from the function's name to its `)`.
    pub(crate) source: &'a [u8],
    /// How long the setting lasts.
    pub(crate) lifetime: Lifetime,
}

/// Reads the statement behind a SELECT, its `;` included, if it is such a list; otherwise `tokens` stays.
pub(crate) fn config_list(tokens: &mut Tokenizer<'_>) -> Option<ConfigList> {
    let mut ahead = tokens.clone();
    let mut found = None;
    loop {
        let call = config_call(&mut ahead)?;
        let this = match call.lifetime {
            Lifetime::Session => ConfigList::Session,
            Lifetime::Transaction => ConfigList::Transaction,
            Lifetime::Untracked => return None,
        };
        found = match found {
            None => Some(this),
            Some(earlier) if earlier == this => Some(this),
            Some(_) => Some(ConfigList::Both),
        };
        if !another_follows(&mut ahead)? {
            *tokens = ahead;
            return found;
        }
    }
}

/// `[pg_catalog.] set_config ( 'name' , 'value' , true | false )`.
pub(crate) fn config_call<'a>(tokens: &mut Tokenizer<'a>) -> Option<ConfigCall<'a>> {
    let first = tokens.next()?;
    if is_named(first, b"pg_catalog") {
        expect(tokens, TokenKind::Dot)?;
        tokens.next().filter(|token| is_named(*token, b"set_config"))?;
    } else if !is_named(first, b"set_config") {
        return None;
    }
    expect(tokens, TokenKind::Open)?;
    let name = SettingName::Quoted(plain_string(tokens)?);
    expect(tokens, TokenKind::Comma)?;
    let value = plain_string(tokens)?;
    expect(tokens, TokenKind::Comma)?;
    let local = match tokens.next()?.keyword {
        Keyword::True => true,
        Keyword::False => false,
        _ => return None,
    };
    let last = expect(tokens, TokenKind::Close)?;
    let lifetime = match name.lifetime() {
        Lifetime::Session if local => Lifetime::Transaction,
        Lifetime::Session if name.is("search_path") && is_temporary_schema(value) => Lifetime::Untracked,
        lifetime => lifetime,
    };
    Some(ConfigCall { name, source: between(first, last), lifetime })
}

/// Passes what follows a call: a label, then a comma, a `;` or the end of the text. `None` if it is anything else.
pub(crate) fn another_follows(tokens: &mut Tokenizer<'_>) -> Option<bool> {
    let mut next = tokens.next();
    if next.is_some_and(|token| token.keyword == Keyword::As) {
        tokens.next().filter(Token::is_name)?;
        next = tokens.next();
    }
    match next {
        None => Some(false),
        Some(token) => match token.kind {
            TokenKind::Comma => Some(true),
            TokenKind::Semicolon => Some(false),
            _ => None,
        },
    }
}

fn expect<'a>(tokens: &mut Tokenizer<'a>, kind: TokenKind) -> Option<Token<'a>> {
    tokens.next().filter(|token| token.kind == kind)
}

/// The inside of `'…'` without a prefix.
pub(crate) fn plain_string<'a>(tokens: &mut Tokenizer<'a>) -> Option<&'a [u8]> {
    let token = expect(tokens, TokenKind::String)?;
    token.text().starts_with(b"'").then(|| inside_quotes(token.text()))
}
