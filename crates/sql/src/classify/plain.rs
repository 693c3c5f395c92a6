//! The tokens of which most of a statement consists: they say nothing but what they are, so that most of the time goes into one
//! loop that calls nothing.

use super::scan::{Access, Before, Form, Scan, WithList};
use crate::functions::{Functions, starts_as_view};
use crate::token::{Keyword, Token, TokenKind, Tokenizer};

/// What stands behind the tokens that were passed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Behind<'a> {
    /// A token that says more.
    Token(Token<'a>),
    /// The end of the statement, its `;` included.
    Nothing,
    /// It was not looked at.
    Unknown,
}

impl<'a, F: Functions + ?Sized> Scan<'a, '_, F> {
    /// Whether nothing is open for which every token has to be looked at.
    #[inline(always)]
    pub(super) fn follows_nothing(&self) -> bool {
        self.with_list == WithList::Absent && self.config.is_none()
    }

    /// Whether a `;` ends the statement here.
    #[inline(always)]
    pub(super) fn may_end(&self) -> bool {
        self.depth == 0 && self.atomic_depth == 0
    }

    /// Does what [`Self::step`] would do with the tokens that follow, as long as that is little more than to remember them, and
    /// while [it follows nothing](Self::follows_nothing).
    #[inline(always)]
    pub(super) fn pass_plain(&mut self, tokens: &mut Tokenizer<'a>) -> Behind<'a> {
        let Some(mut previous) = self.previous else { return Behind::Unknown };
        let behind = loop {
            let Some(mut token) = tokens.next_plain() else { break Behind::Unknown };
            match token.kind {
                TokenKind::Word | TokenKind::QuotedName => {
                    if (token.keyword != Keyword::Other && says_more(token.keyword, previous.keyword))
                        || starts_as_view(token)
                    {
                        break Behind::Token(token);
                    }
                    if previous.kind == TokenKind::Dot {
                        token.keyword = Keyword::Other;
                        self.qualifier = self.before_dot;
                    } else {
                        self.qualifier = None;
                        self.before = Before { kind: previous.kind, keyword: previous.keyword };
                    }
                }
                TokenKind::Open => {
                    if previous.is_name() {
                        self.previous = Some(previous); // there already, `previous` may stay in registers
                        self.call_previous();
                    }
                    self.depth = self.depth.saturating_add(1);
                    if self.config.is_some() {
                        previous = token;
                        break Behind::Unknown;
                    }
                }
                TokenKind::Close => self.depth = self.depth.saturating_sub(1),
                TokenKind::Dot => {
                    if self.may_create() {
                        break Behind::Token(token);
                    }
                    self.before_dot = previous.is_name().then_some(previous);
                }
                TokenKind::Semicolon if self.may_end() => break Behind::Nothing,
                _ => {}
            }
            previous = token;
        };
        self.previous = Some(previous);
        behind
    }

    /// The last token is the name before an opening parenthesis.
    #[inline(never)]
    fn call_previous(&mut self) {
        if let Some(name) = self.previous {
            self.call(name);
        }
    }

    /// Whether a schema's name may be that of something that is made.
    fn may_create(&self) -> bool {
        match self.form {
            Form::Query => self.access >= Access::Write,
            Form::Change => self.access >= Access::Into,
            Form::Create | Form::Unknown => true,
        }
    }
}

/// Whether `Scan::keyword` may do something about a key word that stands behind `previous`. The others matter only to what
/// follows them.
#[inline(always)]
pub(super) fn says_more(keyword: Keyword, previous: Keyword) -> bool {
    match keyword {
        Keyword::Into => !matches!(previous, Keyword::Insert | Keyword::Merge),
        Keyword::No | Keyword::Share | Keyword::Key => previous == Keyword::For,
        Keyword::Temp | Keyword::Temporary | Keyword::Local | Keyword::Global => previous == Keyword::Into,
        Keyword::On => previous == Keyword::Distinct,
        Keyword::Insert | Keyword::Update | Keyword::Delete | Keyword::Merge => true,
        Keyword::With | Keyword::Atomic | Keyword::Case | Keyword::End => true,
        _ => false,
    }
}
