//! Reply accounting: every message forwarded adds what the server owes, every server message pays one.

use std::collections::VecDeque;

use wire::message::backend::TxStatus;

pub use reply::{
    Abandoned, AfterCommit, Local, Origin, Owed, OwedCommit, Owner, Reached, Unowed, Untold, Verdict,
};

mod commit;
mod reply;

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
    /// Syncs sent before the end of the present COPY: the server ignores those that it reads while it takes data.
    ignored: usize,
    /// ReadyForQuery that may come beyond those owed. A COPY can fail before its server has read a Sync that was
    /// taken for ignored, and then that Sync is answered; nothing that the server sends tells whether it will be.
    surplus: usize,
}

impl Ledger {
    /// The status of the last ReadyForQuery.
    #[must_use]
    #[inline]
    pub fn status(&self) -> TxStatus {
        self.status
    }

    /// Nothing is owed, nothing can come, and the server waits for a request.
    #[must_use]
    #[inline]
    pub fn is_settled(&self) -> bool {
        self.is_answered() && self.surplus == 0
    }

    /// Nothing is owed and the server waits for a request. After a COPY that failed, one more ReadyForQuery may yet
    /// come, which is nobody's; the answer to any further request shows that it will not.
    #[must_use]
    #[inline]
    pub fn is_answered(&self) -> bool {
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

    /// Whether the server may skip what is sent next: something is owed that may fail, and no Sync came behind it.
    #[must_use]
    pub fn may_skip(&self) -> bool {
        let is_sync = |entry: &&Entry| matches!(entry, Entry::Owed(Owed::Sync, _));
        self.mode != Mode::Normal
            || self
                .entries
                .iter()
                .rev()
                .take_while(|entry| !is_sync(entry))
                .any(|entry| matches!(entry, Entry::Owed(owed, _) if !owed.is_answered_by_ready()))
    }

    /// Notes that a request was forwarded or injected.
    #[inline]
    pub fn owe(&mut self, owed: Owed, origin: Origin) {
        match self.mode {
            Mode::Skipping if owed != Owed::Sync => return,
            Mode::Skipping => self.mode = Mode::Normal,
            Mode::CopyIn => match owed {
                Owed::Sync => {
                    self.ignored = self.ignored.saturating_add(1);
                    return;
                }
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
            |entry| matches!(entry, Entry::Owed(owed, Origin::Client | Origin::Commit) if owed.is_answered_by_ready()),
        );
        let after = last_ready.map_or(0, |at| at.saturating_add(1));
        let unit_open = self.mode == Mode::Skipping || self.entries.len() > after;
        let ready_owed = self
            .entries
            .drain(..)
            .filter(|entry| {
                matches!(entry, Entry::Owed(owed, Origin::Client | Origin::Commit) if owed.is_answered_by_ready())
            })
            .count();
        *self = Self { entries: std::mem::take(&mut self.entries), status: self.status, ..Self::default() };
        Abandoned { ready_owed, unit_open }
    }

    /// The oldest reply owed, unless an answer of the proxy's own stands before it. Never [`Owed::CopyEnd`].
    #[must_use]
    pub fn front(&self) -> Option<(Owed, Owner)> {
        match *self.entries.front()? {
            Entry::Owed(owed, origin) => Some((owed, origin.owner())),
            Entry::Local(_) => None,
        }
    }

    #[inline]
    fn data(&mut self, tag: u8) -> Result<Verdict, Unowed> {
        match self.front() {
            Some((Owed::Query | Owed::Execute, owner)) => {
                self.surplus = 0;
                Ok(Verdict::Reply(owner))
            }
            _ => Err(Unowed { tag }),
        }
    }

    fn ready(&mut self, body: &[u8]) -> Result<Verdict, Unowed> {
        let unowed = Unowed { tag: b'Z' };
        let status = TxStatus::read(body).map_err(|_| unowed)?;
        let owner = match self.front() {
            Some((Owed::Sync, owner)) => owner,
            // part of their answer comes first, and would have shown that there is no surplus
            Some((Owed::Query | Owed::FunctionCall, owner)) if self.surplus == 0 => owner,
            _ => return self.ready_beyond(status).ok_or(unowed),
        };
        self.status = status;
        self.ready_owed = self.ready_owed.saturating_sub(1);
        self.pay();
        Ok(Verdict::Ready(owner))
    }

    /// The answer to a Sync that was taken for ignored. If it ends the skipping, it is what the client's error is
    /// followed by; else a later Sync was taken to be answered by what came before, and the client has its answer.
    fn ready_beyond(&mut self, status: TxStatus) -> Option<Verdict> {
        self.surplus = self.surplus.checked_sub(1)?;
        self.status = status;
        let owner = if self.mode == Mode::Skipping { Owner::Client } else { Owner::Proxy };
        match self.mode {
            Mode::Skipping => self.mode = Mode::Normal,
            Mode::Normal => {}
            Mode::Described | Mode::CopyIn => return None,
        }
        Some(if owner == Owner::Client { Verdict::Ready(owner) } else { Verdict::Reply(owner) })
    }

    fn error(&mut self) -> Result<Verdict, Unowed> {
        let (owed, owner) = self.front().ok_or(Unowed { tag: b'E' })?;
        match owed {
            Owed::Query | Owed::FunctionCall => {
                self.mode = Mode::Normal;
                self.only_ready_is_left();
            }
            Owed::Parse
            | Owed::Bind
            | Owed::DescribeStatement
            | Owed::DescribePortal
            | Owed::Execute
            | Owed::Close
            | Owed::CopyEnd => self.skip_to_sync(),
            // it failed to commit
            Owed::Sync => return Ok(Verdict::Error(owner)),
        }
        self.surplus = std::mem::take(&mut self.ignored);
        Ok(Verdict::Error(owner))
    }

    /// After an error nothing more comes of a Query or FunctionCall but ReadyForQuery.
    fn only_ready_is_left(&mut self) {
        if let Some(Entry::Owed(owed, origin)) = self.entries.front_mut() {
            *owed = Owed::Sync;
            // a commit that failed is none
            if *origin == Origin::Commit {
                *origin = Origin::Client;
            }
        }
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
                self.ignored = 0; // a COPY that came to its end has read what was sent before
                self.pay();
            }
            (Owed::Execute | Owed::Query, b'H' | b'c') => {}
            (Owed::Execute | Owed::Query, b'G') => self.copy_in_begins(),
            (Owed::Query, b'T' | b'C' | b'I') => {
                self.mode = Mode::Normal;
                self.ignored = 0;
            }
            (Owed::FunctionCall, b'V') => {}
            _ => return Err(unowed),
        }
        self.surplus = 0;
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
        self.mode = Mode::CopyIn;
        self.ignored = 0;
        let is_sync = |entry: &Entry| matches!(entry, Entry::Owed(Owed::Sync, _));
        let other = |entry: &Entry| matches!(entry, Entry::Owed(..)) && !is_sync(entry);
        let end = self.entries.iter().skip(1).position(other).map(|at| at.saturating_add(1));
        match end.and_then(|at| self.entries.get(at)) {
            Some(Entry::Owed(Owed::CopyEnd, _)) => self.mode = Mode::Normal,
            // A request stands where the end of the data has to: the server ends the connection when it reads it,
            // and only a COPY that failed before leads there, which leaves all Syncs to be answered.
            Some(_) => return,
            None => {}
        }
        let mut at = 1;
        let ahead = end.unwrap_or(self.entries.len());
        for _ in 1..ahead {
            if self.entries.get(at).is_some_and(is_sync) {
                self.entries.remove(at);
                self.ready_owed = self.ready_owed.saturating_sub(1);
                self.ignored = self.ignored.saturating_add(1);
            } else {
                at = at.saturating_add(1);
            }
        }
        if end.is_some() {
            self.entries.remove(at);
        }
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
