//! Words, strings and statements of console text.

/// A piece of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A bare word or number.
    Word(String),
    /// `"…"`
    Quoted(String),
    /// `'…'`
    Text(String),
    /// Any other character.
    Symbol(char),
    /// `;`
    End,
}

/// The next statement of `text`, without its `;`, and what follows it; `None` when only blanks, comments and `;` are
/// left. `EXPLAIN ROUTE` takes all the rest: it explains texts, and a text may hold several statements.
pub(crate) fn next_statement(text: &str) -> Option<(&str, &str)> {
    let mut start = text;
    loop {
        start = skip_blanks(start);
        match start.strip_prefix(';') {
            Some(rest) => start = rest,
            None if start.is_empty() => return None,
            None => break,
        }
    }
    let mut words = Vec::new();
    let mut rest = start;
    loop {
        let before = rest;
        match next_token(rest) {
            None => return Some((start, "")),
            Some((Token::End, after)) => return Some((upto(start, before), after)),
            Some((token, after)) => {
                rest = after;
                if words.len() < 2 {
                    words.push(token);
                    if is_explain_route(&words) {
                        return Some((start, ""));
                    }
                }
            }
        }
    }
}

/// Whether these are the words `EXPLAIN ROUTE`.
pub(super) fn is_explain_route(words: &[Token]) -> bool {
    let is = |token: &Token, expected: &str| matches!(token, Token::Word(word) if word.eq_ignore_ascii_case(expected));
    matches!(words, [first, second] if is(first, "explain") && is(second, "route"))
}

/// The token at the start of `text`, behind blanks and comments, and what follows it.
pub(super) fn next_token(text: &str) -> Option<(Token, &str)> {
    let text = skip_blanks(text);
    let first = text.chars().next()?;
    let behind = &text[first.len_utf8()..];
    Some(match first {
        ';' => (Token::End, behind),
        '"' => {
            let (inside, rest) = quoted(behind, '"');
            (Token::Quoted(inside), rest)
        }
        '\'' => {
            let (inside, rest) = quoted(behind, '\'');
            (Token::Text(inside), rest)
        }
        _ if is_word(first) => {
            let end = text.find(|c| !is_word(c) && !matches!(c, '.' | '-' | '$')).unwrap_or(text.len());
            // `--` begins a comment even behind a word
            let end = text[..end].find("--").unwrap_or(end);
            (Token::Word(text[..end].to_owned()), &text[end..])
        }
        _ => (Token::Symbol(first), behind),
    })
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Up to the closing quote; a doubled one stands for itself. Unclosed, it takes all the rest.
fn quoted(text: &str, quote: char) -> (String, &str) {
    let mut inside = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once(quote) {
        inside.push_str(before);
        match behind.strip_prefix(quote) {
            Some(more) => {
                inside.push(quote);
                rest = more;
            }
            None => return (inside, behind),
        }
    }
    inside.push_str(rest);
    (inside, "")
}

pub(super) fn skip_blanks(text: &str) -> &str {
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '\0');
        if let Some(comment) = rest.strip_prefix("--") {
            rest = comment.split_once('\n').map_or("", |(_, behind)| behind);
        } else if let Some(comment) = rest.strip_prefix("/*") {
            rest = comment.split_once("*/").map_or("", |(_, behind)| behind);
        } else {
            return rest;
        }
    }
}

/// The part of `text` before `tail`, which is its end.
fn upto<'a>(text: &'a str, tail: &str) -> &'a str {
    text.get(..text.len().saturating_sub(tail.len())).unwrap_or(text)
}
