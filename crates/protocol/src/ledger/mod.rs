//! Reply accounting: every message forwarded adds what the server owes, every server message pays one.

use std::collections::VecDeque;

use wire::message::backend::TxStatus;

/// A reply that the server owes, named after the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owed {
    /// ParseComplete.
    Parse,
    /// BindComplete.
    Bind,
    /// ParameterDescription, then RowDescription or NoData.
    DescribeStatement,
    /// RowDescription or NoData.
    DescribePortal,
    /// Rows or COPY, then CommandComplete, EmptyQueryResponse or PortalSuspended.
    Execute,
    /// CloseComplete.
    Close,
    /// ReadyForQuery.
    Sync,
    /// Whatever a simple query brings, then ReadyForQuery.
    Query,
    /// FunctionCallResponse, then ReadyForQuery.
    FunctionCall,
    /// Nothing: the client's CopyDone or CopyFail stands here in the order of things.
    CopyEnd,
}

impl Owed {
    fn is_answered_by_ready(self) -> bool {
        matches!(self, Self::Sync | Self::Query | Self::FunctionCall)
    }
}

/// Who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The client: the reply is forwarded.
    Client,
    /// The proxy: the reply is swallowed.
    Proxy,
}

/// A reply that the proxy itself gives, in its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Local {
    /// ParseComplete for a statement that the server has already.
    ParseComplete,
    /// CloseComplete for a statement that the server keeps for others.
    CloseComplete,
    /// CommandComplete of a DEALLOCATE of such a statement.
    Deallocated,
    /// ReadyForQuery with the server's present status, for a query that was answered locally.
    Ready,
}

/// To whom a server message belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// Forward it.
    Client,
    /// Swallow it.
    Proxy,
}

/// What a server message was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Part of an answer, or the whole of one that no ReadyForQuery follows.
    Reply(Owner),
    /// ReadyForQuery: the unit is answered.
    Ready(Owner),
    /// An ErrorResponse to something that was asked.
    Error(Owner),
    /// NoticeResponse, ParameterStatus, NotificationResponse: at any time, owed to nobody.
    Asynchronous,
}

/// A message that nobody is owed: the connection has lost its place and must be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server sent a message of type {tag:#04x} that nobody asked for")]
pub struct Unowed {
    /// The message's type.
    pub tag: u8,
}

/// What a client still expects of a server that is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abandoned {
    /// ReadyForQuery messages owed to it.
    pub ready_owed: usize,
    /// It sent requests that no Sync follows yet.
    pub unit_open: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    Owed(Owed, Origin),
    Local(Local),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Mode {
    /// Replies come in order.
    #[default]
    Normal,
    /// After the first part of an answer in two parts: ParameterDescription came, RowDescription or NoData is owed.
    Described,
    /// The server takes COPY data; a Sync that reaches it now is ignored (manual, "COPY Operations").
    CopyIn,
    /// An extended-protocol error with no Sync sent yet: the server skips all until one comes.
    Skipping,
}

/// What one server connection owes, oldest first. Its memory is kept and reused, so steady traffic allocates nothing.
#[derive(Debug, Default)]
pub struct Ledger {
    entries: VecDeque<Entry>,
    mode: Mode,
    status: TxStatus,
    ready_owed: usize,
}

impl Ledger {
    /// The status of the last ReadyForQuery.
    #[must_use]
    #[inline]
    pub fn status(&self) -> TxStatus {
        self.status
    }

    /// Nothing is owed and the server waits for a request.
    #[must_use]
    #[inline]
    pub fn is_settled(&self) -> bool {
        self.entries.is_empty() && self.mode == Mode::Normal
    }

    /// Replies owed; bounds how far a client may run ahead.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no reply is owed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// ReadyForQuery messages owed.
    #[must_use]
    #[inline]
    pub fn ready_owed(&self) -> usize {
        self.ready_owed
    }

    /// The server waits for COPY data.
    #[must_use]
    pub fn is_copy_in(&self) -> bool {
        self.mode == Mode::CopyIn
    }

    /// The server skips requests until a Sync.
    #[must_use]
    pub fn is_skipping(&self) -> bool {
        self.mode == Mode::Skipping
    }

    /// Notes that a request was forwarded or injected.
    #[inline]
    pub fn owe(&mut self, owed: Owed, origin: Origin) {
        match self.mode {
            Mode::Skipping if owed != Owed::Sync => return,
            Mode::Skipping => self.mode = Mode::Normal,
            Mode::CopyIn => match owed {
                Owed::Sync => return,
                Owed::CopyEnd => {
                    self.mode = Mode::Normal;
                    return;
                }
                Owed::Parse
                | Owed::Bind
                | Owed::DescribeStatement
                | Owed::DescribePortal
                | Owed::Execute
                | Owed::Close
                | Owed::Query
                | Owed::FunctionCall => {}
            },
            // Nothing before it can begin a COPY that it would end.
            Mode::Normal if owed == Owed::CopyEnd && self.entries.is_empty() => return,
            Mode::Normal | Mode::Described => {}
        }
        if owed.is_answered_by_ready() {
            self.ready_owed = self.ready_owed.saturating_add(1);
        }
        self.entries.push_back(Entry::Owed(owed, origin));
    }

    /// Notes an answer that the proxy gives in its turn; take it with [`Ledger::take_local`].
    #[inline]
    pub fn answer_locally(&mut self, local: Local) {
        if self.mode != Mode::Skipping {
            self.entries.push_back(Entry::Local(local));
        }
    }

    /// The next answer of the proxy's own whose turn has come.
    #[inline]
    pub fn take_local(&mut self) -> Option<Local> {
        match self.entries.front() {
            Some(&Entry::Local(local)) if self.mode != Mode::Described => {
                self.pay();
                Some(local)
            }
            _ => None,
        }
    }

    /// Takes one server message into account. `body` is needed for ReadyForQuery alone.
    ///
    /// # Errors
    /// [`Unowed`] when nothing that was asked can bring this message.
    #[inline]
    pub fn receive(&mut self, tag: u8, body: &[u8]) -> Result<Verdict, Unowed> {
        match tag {
            b'D' | b'd' => self.data(tag),
            b'N' | b'S' | b'A' => Ok(Verdict::Asynchronous),
            b'Z' => self.ready(body),
            b'E' => self.error(),
            _ => self.other(tag),
        }
    }

    /// Writes off everything that is owed, because the server is lost: how many ReadyForQuery its client still
    /// expects, and whether more is open behind the last of them, to be ended by a Sync yet to come.
    pub fn abandon(&mut self) -> Abandoned {
        let last_ready = self.entries.iter().rposition(
            |entry| matches!(entry, Entry::Owed(owed, Origin::Client) if owed.is_answered_by_ready()),
        );
        let after = last_ready.map_or(0, |at| at.saturating_add(1));
        let unit_open = self.mode == Mode::Skipping || self.entries.len() > after;
        let ready_owed = self
            .entries
            .drain(..)
            .filter(|entry| matches!(entry, Entry::Owed(owed, Origin::Client) if owed.is_answered_by_ready()))
            .count();
        self.mode = Mode::Normal;
        self.ready_owed = 0;
        Abandoned { ready_owed, unit_open }
    }

    /// The oldest reply owed, unless an answer of the proxy's own stands before it. Never [`Owed::CopyEnd`].
    fn front(&self) -> Option<(Owed, Owner)> {
        match *self.entries.front()? {
            Entry::Owed(owed, Origin::Client) => Some((owed, Owner::Client)),
            Entry::Owed(owed, Origin::Proxy) => Some((owed, Owner::Proxy)),
            Entry::Local(_) => None,
        }
    }

    #[inline]
    fn data(&mut self, tag: u8) -> Result<Verdict, Unowed> {
        match self.front() {
            Some((Owed::Query | Owed::Execute, owner)) => Ok(Verdict::Reply(owner)),
            _ => Err(Unowed { tag }),
        }
    }

    fn ready(&mut self, body: &[u8]) -> Result<Verdict, Unowed> {
        let unowed = Unowed { tag: b'Z' };
        let (owed, owner) = self.front().ok_or(unowed)?;
        if !owed.is_answered_by_ready() || self.mode == Mode::Described {
            return Err(unowed);
        }
        self.status = TxStatus::read(body).map_err(|_| unowed)?;
        self.ready_owed = self.ready_owed.saturating_sub(1);
        self.pay();
        Ok(Verdict::Ready(owner))
    }

    fn error(&mut self) -> Result<Verdict, Unowed> {
        let (owed, owner) = self.front().ok_or(Unowed { tag: b'E' })?;
        match owed {
            Owed::Query | Owed::FunctionCall => self.mode = Mode::Normal,
            Owed::Parse
            | Owed::Bind
            | Owed::DescribeStatement
            | Owed::DescribePortal
            | Owed::Execute
            | Owed::Close
            | Owed::Sync
            | Owed::CopyEnd => self.skip_to_sync(),
        }
        Ok(Verdict::Error(owner))
    }

    /// After an error in the extended protocol the server discards everything up to the next Sync, a Query too.
    fn skip_to_sync(&mut self) {
        self.mode = Mode::Normal;
        while let Some(&entry) = self.entries.front() {
            match entry {
                Entry::Owed(Owed::Sync, _) => return,
                Entry::Owed(owed, _) if owed.is_answered_by_ready() => {
                    self.ready_owed = self.ready_owed.saturating_sub(1);
                }
                Entry::Owed(..) | Entry::Local(_) => {}
            }
            self.entries.pop_front();
        }
        self.mode = Mode::Skipping;
    }

    fn other(&mut self, tag: u8) -> Result<Verdict, Unowed> {
        let unowed = Unowed { tag };
        let (owed, owner) = self.front().ok_or(unowed)?;
        match (owed, tag) {
            (Owed::Parse, b'1') | (Owed::Bind, b'2') | (Owed::Close, b'3') => self.pay(),
            (Owed::DescribePortal, b'T' | b'n') => self.pay(),
            (Owed::DescribeStatement, b't') if self.mode == Mode::Normal => self.mode = Mode::Described,
            (Owed::DescribeStatement, b'T' | b'n') if self.mode == Mode::Described => {
                self.mode = Mode::Normal;
                self.pay();
            }
            (Owed::Execute, b'C' | b'I' | b's') => {
                self.mode = Mode::Normal;
                self.pay();
            }
            (Owed::Execute | Owed::Query, b'H' | b'c') => {}
            (Owed::Execute | Owed::Query, b'G') => self.copy_in_begins(),
            (Owed::Query, b'T' | b'C' | b'I') => self.mode = Mode::Normal,
            (Owed::FunctionCall, b'V') => {}
            _ => return Err(unowed),
        }
        Ok(Verdict::Reply(owner))
    }

    /// Removes the oldest entry, and the ends of a COPY behind it that did not take place.
    fn pay(&mut self) {
        self.entries.pop_front();
        while matches!(self.entries.front(), Some(Entry::Owed(Owed::CopyEnd, _))) {
            self.entries.pop_front();
        }
    }

    /// The server reads COPY data from here on and ignores each Sync before the CopyDone or CopyFail; what the
    /// client sent ahead of this answer is judged now.
    fn copy_in_begins(&mut self) {
        let mut at = 1;
        while let Some(&entry) = self.entries.get(at) {
            match entry {
                Entry::Owed(Owed::CopyEnd, _) => {
                    self.entries.remove(at);
                    return;
                }
                Entry::Owed(Owed::Sync, _) => {
                    self.entries.remove(at);
                    self.ready_owed = self.ready_owed.saturating_sub(1);
                }
                Entry::Owed(..) | Entry::Local(_) => at = at.saturating_add(1),
            }
        }
        self.mode = Mode::CopyIn;
    }
}

#[cfg(test)]
#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::wildcard_enum_match_arm,
    reason = "a test may panic"
)]
mod tests;
