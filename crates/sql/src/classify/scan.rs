//! The body of a statement: words that write, and what it calls.

use super::call::ConfigCall;
use super::plain::{Behind, says_more};
use super::{Outcome, Verdict};
use crate::class::{Effect, Kind, PinCause};
use crate::functions::{Functions, is_node_view};
use crate::name::{is_named, is_temporary_schema};
use crate::token::{Keyword, Token, TokenKind, Tokenizer};

/// What sort of statement is scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// SELECT, VALUES, TABLE, WITH, or any of them in parentheses.
    Query,
    /// INSERT, UPDATE, DELETE, MERGE.
    Change,
    /// CREATE.
    Create,
    /// Any other: a write, looked through for what it leaves behind.
    Unknown,
}

/// The worst that was found so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Access {
    /// It reads.
    Read,
    /// It calls a function that is not known to be harmless.
    Unvouched,
    /// It changes or locks rows, or calls a function that belongs on the primary.
    Write,
    /// It makes a table: SELECT INTO.
    Into,
}

/// Whether a rollback undoes all that the statement does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Undone {
    Wholly,
    InPart,
}

/// The list of names behind WITH: `WITH a (x, y) AS (…), b (z) AS (…)`. Only the first such list of a statement is
/// followed; in another one, a name with columns behind a comma is taken for a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WithList {
    /// None so far, or it is over.
    Absent,
    /// Open at this depth of parentheses.
    At(usize),
}

/// Where INSERT, UPDATE, DELETE and MERGE are a statement's first word, and not a column's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Commands {
    /// At the start of the statement and of a WITH query, and behind a WITH list.
    AtParentheses,
    /// Anywhere: a WITH list may end in a SEARCH or CYCLE clause, whose last word is any name.
    Anywhere,
}

/// What follows `)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AfterClose {
    /// No expression: a name there is an alias, and what is in parentheses behind it are its columns.
    Alias,
    /// The statement has `DISTINCT ON (…)`, behind which a call may stand.
    Expression,
}

/// Walks the tokens of one statement.
pub(super) struct Scan<'a, 'f, F: ?Sized> {
    pub(super) functions: &'f F,
    pub(super) form: Form,
    pub(super) access: Access,
    pub(super) effect: Effect,
    pub(super) undone: Undone,
    pub(super) with_list: WithList,
    pub(super) after_close: AfterClose,
    commands: Commands,
    pub(super) config: Option<ConfigCall>,
    /// Open parentheses.
    pub(super) depth: usize,
    /// Open BEGIN ATOMIC and CASE of a function's body, in which `;` ends no statement.
    pub(super) atomic_depth: usize,
    pub(super) previous: Option<Token<'a>>,
    /// What stands before the last dot.
    pub(super) before_dot: Option<Token<'a>>,
    /// The name before the last name's dot.
    pub(super) qualifier: Option<Token<'a>>,
    /// What stands before the last name and its qualifiers.
    pub(super) before: Before,
}

/// The token before a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Before {
    pub(super) kind: TokenKind,
    pub(super) keyword: Keyword,
}

impl Before {
    const NOTHING: Self = Self { kind: TokenKind::Other, keyword: Keyword::Other };
}

impl<'a, 'f, F: Functions + ?Sized> Scan<'a, 'f, F> {
    /// Before the first token.
    pub(super) fn new(form: Form, functions: &'f F) -> Self {
        Self {
            functions,
            form,
            access: if form == Form::Query { Access::Read } else { Access::Write },
            effect: Effect::None,
            undone: Undone::Wholly,
            with_list: WithList::Absent,
            after_close: AfterClose::Alias,
            commands: Commands::AtParentheses,
            config: None,
            depth: 0,
            atomic_depth: 0,
            previous: None,
            before_dot: None,
            qualifier: None,
            before: Before::NOTHING,
        }
    }

    /// Walks from `first` to the end of the statement, its `;` included.
    #[inline(always)]
    pub(super) fn statement(&mut self, first: Token<'a>, tokens: &mut Tokenizer<'a>) -> Outcome {
        match first.keyword {
            // at the start they say no more than what the form says
            Keyword::Select | Keyword::Insert | Keyword::Update | Keyword::Delete => {
                self.previous = Some(first)
            }
            _ => self.step(first),
        }
        loop {
            let behind = if self.follows_nothing() { self.pass_plain(tokens) } else { Behind::Unknown };
            let token = match behind {
                Behind::Token(token) => token,
                Behind::Nothing => break,
                Behind::Unknown => match tokens.next() {
                    Some(token) if token.kind != TokenKind::Semicolon || !self.may_end() => token,
                    _ => break,
                },
            };
            self.step(token);
        }
        self.outcome()
    }

    /// Walks from the parenthesis `open` to the one that closes it.
    pub(super) fn parenthesised(&mut self, open: Token<'a>, tokens: &mut Tokenizer<'a>) -> Outcome {
        self.step(open);
        while self.depth > 0 {
            let Some(token) = tokens.next() else { break };
            self.step(token);
        }
        self.outcome()
    }

    /// Whether it is a SELECT INTO.
    pub(super) fn creates_table(&self) -> bool {
        self.access == Access::Into
    }

    fn outcome(&self) -> Outcome {
        let cut_short = if self.config.is_some() { Effect::pin(PinCause::Settings) } else { Effect::None };
        Outcome {
            verdict: match self.access {
                Access::Read => Verdict::Read,
                Access::Unvouched => Verdict::Unvouched,
                Access::Write | Access::Into => Verdict::Fixed(Kind::Write),
            },
            effect: self.effect.then(cut_short),
            replayable: matches!(self.form, Form::Query | Form::Change)
                && self.access != Access::Into
                && self.undone == Undone::Wholly,
        }
    }

    pub(super) fn raise(&mut self, access: Access) {
        self.access = self.access.max(access);
    }

    fn step(&mut self, mut token: Token<'a>) {
        if self.config.is_some() {
            self.step_config(token);
        }
        match token.kind {
            TokenKind::Word => {
                if token.keyword != Keyword::Other {
                    if self.previous_kind() == TokenKind::Dot || self.is_column(token.keyword) {
                        token.keyword = Keyword::Other;
                    } else if says_more(token.keyword, self.previous_keyword()) {
                        self.keyword(token);
                    }
                }
                self.pass_name(token);
            }
            TokenKind::QuotedName | TokenKind::EscapedName => self.pass_name(token),
            TokenKind::Open => {
                if let Some(name) = self.previous.filter(Token::is_name) {
                    self.call(name);
                }
                self.depth = self.depth.saturating_add(1);
            }
            TokenKind::Close => self.depth = self.depth.saturating_sub(1),
            TokenKind::Dot => self.pass_dot(),
            TokenKind::String
            | TokenKind::Number
            | TokenKind::Parameter
            | TokenKind::Operator
            | TokenKind::Comma
            | TokenKind::Semicolon
            | TokenKind::Cast
            | TokenKind::Other => {}
        }
        if let WithList::At(depth) = self.with_list {
            self.follow_with_list(depth, token);
        }
        self.previous = Some(token);
    }

    fn previous_kind(&self) -> TokenKind {
        self.previous.map_or(TokenKind::Other, |token| token.kind)
    }

    fn previous_keyword(&self) -> Keyword {
        self.previous.map_or(Keyword::Other, |token| token.keyword)
    }

    fn pass_name(&mut self, token: Token<'a>) {
        if let Some(previous) = self.previous {
            if previous.kind == TokenKind::Dot {
                self.qualifier = self.before_dot;
            } else {
                self.qualifier = None;
                self.before = Before { kind: previous.kind, keyword: previous.keyword };
            }
        }
        if is_node_view(token) {
            self.raise(Access::Unvouched);
        }
        // a rule of the server's turns this UPDATE into set_config
        if matches!(self.before.keyword, Keyword::Update | Keyword::Only)
            && (token.kind == TokenKind::EscapedName || is_named(token, b"pg_settings"))
        {
            self.effect = self.effect.then(Effect::pin(PinCause::Settings));
        }
    }

    fn pass_dot(&mut self) {
        self.before_dot = self.previous.filter(Token::is_name);
        // INTO behind what may be a column called `insert` or the command
        let into = self.form == Form::Query
            && self.access == Access::Write
            && matches!(self.before.keyword, Keyword::Into | Keyword::Table);
        let creates = self.form == Form::Create || self.access == Access::Into || into;
        let temporary =
            |name: Token<'_>| name.kind == TokenKind::EscapedName || is_temporary_schema(name.text());
        if creates && self.previous.is_some_and(temporary) {
            self.effect = self.effect.then(Effect::pin(PinCause::TemporaryTable));
        }
    }

    /// Whether a word that may begin a command is a column's name here.
    fn is_column(&self, word: Keyword) -> bool {
        matches!(word, Keyword::Insert | Keyword::Merge)
            && self.form == Form::Query
            && self.commands == Commands::AtParentheses
            && self.previous.is_some_and(|token| !matches!(token.kind, TokenKind::Open | TokenKind::Close))
    }

    /// A key word that is no part of a dotted name: one that [says more](says_more).
    fn keyword(&mut self, token: Token<'a>) {
        let previous = self.previous_keyword();
        match token.keyword {
            Keyword::Insert | Keyword::Update | Keyword::Delete | Keyword::Merge
                if self.commands == Commands::Anywhere
                    || matches!(self.previous_kind(), TokenKind::Open | TokenKind::Close) =>
            {
                self.raise(Access::Write);
            }
            // FOR UPDATE, FOR NO KEY UPDATE, FOR SHARE, FOR KEY SHARE
            Keyword::Update | Keyword::No | Keyword::Share | Keyword::Key if previous == Keyword::For => {
                self.raise(Access::Write);
            }
            Keyword::Into if !matches!(previous, Keyword::Insert | Keyword::Merge) => {
                self.raise(Access::Into)
            }
            Keyword::Temp | Keyword::Temporary | Keyword::Local | Keyword::Global
                if previous == Keyword::Into =>
            {
                self.effect = self.effect.then(Effect::pin(PinCause::TemporaryTable));
            }
            Keyword::On if previous == Keyword::Distinct => self.after_close = AfterClose::Expression,
            Keyword::With => {
                if self.previous.is_none_or(|token| token.kind == TokenKind::Open) {
                    self.commands = Commands::Anywhere;
                }
                if self.with_list == WithList::Absent {
                    self.with_list = WithList::At(self.depth);
                }
            }
            Keyword::Atomic if self.form == Form::Create && previous == Keyword::Begin => {
                self.atomic_depth = 1
            }
            Keyword::Case if self.atomic_depth > 0 => self.atomic_depth = self.atomic_depth.saturating_add(1),
            Keyword::End => self.atomic_depth = self.atomic_depth.saturating_sub(1),
            _ => {}
        }
    }

    /// Ends the WITH list at the first token that is no part of one. Anything looser would take a call behind a comma
    /// for the name of a WITH query.
    fn follow_with_list(&mut self, depth: usize, token: Token<'a>) {
        let previous = self.previous_keyword();
        let goes_on = match token.kind {
            _ if self.depth > depth && token.kind != TokenKind::Open => true,
            TokenKind::Open if self.depth > depth.saturating_add(1) => true,
            TokenKind::Open => self.previous_kind() != TokenKind::Close && previous != Keyword::With,
            TokenKind::Close => self.depth == depth,
            TokenKind::Comma => self.previous_kind() == TokenKind::Close,
            TokenKind::Word | TokenKind::QuotedName | TokenKind::EscapedName => {
                matches!(
                    token.keyword,
                    Keyword::With | Keyword::Recursive | Keyword::As | Keyword::Not | Keyword::Materialized
                ) || matches!(previous, Keyword::With | Keyword::Recursive)
                    || self.previous_kind() == TokenKind::Comma
            }
            _ => false,
        };
        if !goes_on {
            self.with_list = WithList::Absent;
        }
    }
}
