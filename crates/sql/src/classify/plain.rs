//! The tokens of which most of a statement consists: they say nothing but what they are, so that most of the time goes into one
//! loop that calls nothing.

use super::scan::{Access, Before, Form, Scan, WithList};
use crate::functions::{Functions, starts_as_view};
use crate::token::{Keyword, Token, TokenKind, Tokenizer};

impl<'a, F: Functions + ?Sized> Scan<'a, '_, F> {
    /// Whether nothing is open for which every token has to be looked at.
    #[inline(always)]
    pub(super) fn follows_nothing(&self) -> bool {
        self.with_list == WithList::Absent && self.config.is_none()
    }

    /// Does what [`Self::step`] would do with the tokens that follow, as long as that is little more than to remember them, and
    /// while [it follows nothing](Self::follows_nothing). The one behind them, if it is known by then.
    #[inline(always)]
    pub(super) fn pass_plain(&mut self, tokens: &mut Tokenizer<'a>) -> Option<Token<'a>> {
        let mut previous = self.previous?;
        let says_more = loop {
            let Some(mut token) = tokens.next_plain() else { break None };
            match token.kind {
                TokenKind::Word | TokenKind::QuotedName => {
                    if (token.keyword != Keyword::Other && says_more(token.keyword)) || starts_as_view(token)
                    {
                        break Some(token);
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
                        break Some(token);
                    }
                    self.depth = self.depth.saturating_add(1);
                }
                TokenKind::Close => self.depth = self.depth.saturating_sub(1),
                TokenKind::Dot => {
                    if self.may_create() {
                        break Some(token);
                    }
                    self.before_dot = previous.is_name().then_some(previous);
                }
                TokenKind::Semicolon => break Some(token),
                _ => {}
            }
            previous = token;
        };
        self.previous = Some(previous);
        says_more
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

/// Whether `Scan::keyword` may do something about a key word. The others matter only to what follows them.
#[inline(always)]
pub(super) fn says_more(keyword: Keyword) -> bool {
    matches!(
        keyword,
        Keyword::Insert
            | Keyword::Update
            | Keyword::Delete
            | Keyword::Merge
            | Keyword::No
            | Keyword::Share
            | Keyword::Key
            | Keyword::Into
            | Keyword::Temp
            | Keyword::Temporary
            | Keyword::Local
            | Keyword::Global
            | Keyword::On
            | Keyword::With
            | Keyword::Atomic
            | Keyword::Case
            | Keyword::End
    )
}
