//! Where the commit of a transaction block stands among the replies owed.

use super::{
    Entry, Ledger, Mode,
    reply::{AfterCommit, Local, Origin, Owed, OwedCommit, Owner, Reached, Untold},
};

impl Ledger {
    /// Whether a commit was sent and not answered.
    #[must_use]
    pub fn owes_commit(&self) -> bool {
        self.entries.iter().any(|entry| matches!(entry, Entry::Owed(_, Origin::Commit)))
    }

    /// Whether the answer to an Execute of the proxy's own is owed.
    #[must_use]
    pub fn owes_own_result(&self) -> bool {
        self.entries.iter().any(|entry| matches!(entry, Entry::Owed(Owed::Execute, Origin::Proxy)))
    }

    /// Where the oldest commit that was not answered stands; `None`: there is none. What the proxy executes on its own is
    /// taken to have a Flush or Sync between it and the commit.
    #[must_use]
    pub fn owed_commit(&self) -> Option<OwedCommit> {
        let is_commit = |entry: &Entry| matches!(entry, Entry::Owed(_, Origin::Commit));
        let at = self.entries.iter().position(is_commit)?;
        let behind = self.entries.get(at.saturating_add(1));
        let after = match (self.entries.get(at), behind) {
            (Some(Entry::Owed(Owed::Query, _)), _) => AfterCommit::Ready,
            (_, None) => AfterCommit::Open,
            (_, Some(Entry::Owed(Owed::Sync, Origin::Client))) => AfterCommit::Ready,
            (_, Some(_)) => AfterCommit::More,
        };
        let before = if self.mode == Mode::Normal {
            self.entries
                .iter()
                .take(at)
                .map(untold)
                .filter(|told| *told != Some(None))
                .map(Option::flatten)
                .collect()
        } else {
            None
        };
        let is_sent_off = |entry: &Entry| {
            matches!(entry, Entry::Owed(owed, _) if owed.is_answered_by_ready())
                || matches!(entry, Entry::Owed(Owed::Execute, Origin::Proxy))
        };
        let reached =
            if self.entries.iter().take(at).any(is_sent_off) { Reached::Not } else { Reached::Perhaps };
        Some(OwedCommit { before, after, reached })
    }

    /// Takes the oldest commit that was not answered out, with all that stands before it and the ReadyForQuery behind it,
    /// because the client is told of its answer.
    pub fn settle_commit(&mut self) {
        let is_commit = |entry: &Entry| matches!(entry, Entry::Owed(_, Origin::Commit));
        let Some(at) = self.entries.iter().position(is_commit) else { return };
        let ends_unit = matches!(self.owed_commit(), Some(OwedCommit { after: AfterCommit::Ready, .. }));
        let is_query = matches!(self.entries.get(at), Some(Entry::Owed(Owed::Query, _)));
        let last = if ends_unit && !is_query { at.saturating_add(1) } else { at };
        let is_ready = |entry: &Entry| matches!(entry, Entry::Owed(owed, _) if owed.is_answered_by_ready());
        let settled = self.entries.drain(..=last).filter(is_ready).count();
        self.ready_owed = self.ready_owed.saturating_sub(settled);
    }
}

/// What the client is told in the place of an entry before a commit. `None`: it cannot be; `Some(None)`: nothing.
fn untold(entry: &Entry) -> Option<Option<Untold>> {
    let owed = match *entry {
        Entry::Local(Local::ParseComplete) => return Some(Some(Untold::Parse)),
        Entry::Local(Local::CloseComplete) => return Some(Some(Untold::Close)),
        Entry::Local(Local::Deallocated | Local::Prepared | Local::Ready) => return None,
        Entry::Owed(_, origin) if origin.owner() == Owner::Proxy => return Some(None),
        Entry::Owed(owed, _) => owed,
    };
    match owed {
        Owed::Parse => Some(Some(Untold::Parse)),
        Owed::Bind => Some(Some(Untold::Bind)),
        Owed::DescribeStatement => Some(Some(Untold::DescribeStatement)),
        Owed::DescribePortal => Some(Some(Untold::DescribePortal)),
        Owed::Close => Some(Some(Untold::Close)),
        Owed::Execute | Owed::Sync | Owed::Query | Owed::FunctionCall | Owed::CopyEnd => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Owes what the letters stand for; small ones are the proxy's own, and `!` makes the one before it a commit.
    fn ledger(letters: &str) -> Ledger {
        let mut ledger = Ledger::default();
        let letters: Vec<char> = letters.chars().filter(|letter| *letter != ' ').collect();
        for (at, letter) in letters.iter().enumerate() {
            let owed = match letter.to_ascii_uppercase() {
                'P' => Owed::Parse,
                'B' => Owed::Bind,
                'D' => Owed::DescribePortal,
                'E' => Owed::Execute,
                'C' => Owed::Close,
                'S' => Owed::Sync,
                'Q' => Owed::Query,
                _ => continue,
            };
            let origin = match letters.get(at.saturating_add(1)) {
                Some('!') => Origin::Commit,
                _ if letter.is_ascii_lowercase() => Origin::Proxy,
                _ => Origin::Client,
            };
            ledger.owe(owed, origin);
        }
        ledger
    }

    #[track_caller]
    fn check(letters: &str, before: Option<&[Untold]>, after: AfterCommit, left: usize) {
        let mut ledger = ledger(letters);
        let before_commit = letters.split('!').next().unwrap_or_default();
        let is_behind = ["Q Q", "be", "S "].iter().any(|sent_off| before_commit.contains(sent_off));
        let reached = if is_behind { Reached::Not } else { Reached::Perhaps };
        let expected = OwedCommit { before: before.map(<[_]>::to_vec), after, reached };
        assert_eq!(ledger.owed_commit(), Some(expected), "{letters}");
        ledger.settle_commit();
        assert_eq!(ledger.abandon().ready_owed, left, "{letters}");
    }

    #[test]
    fn a_commit_that_nothing_runs_before_can_be_answered() {
        check("Q!", Some(&[]), AfterCommit::Ready, 0);
        check("beC Q!Q", Some(&[Untold::Close]), AfterCommit::Ready, 1);
        let extended = [Untold::Parse, Untold::Bind, Untold::DescribePortal];
        check("PBD bec E!S", Some(&extended), AfterCommit::Ready, 0);
        check("PBD E!", Some(&extended), AfterCommit::Open, 0);
        check("B E!BES Q", Some(&[Untold::Bind]), AfterCommit::More, 2);
    }

    #[test]
    fn what_ran_before_a_commit_has_an_answer_that_nobody_knows() {
        check("BEB E!S", None, AfterCommit::Ready, 0);
        check("BES B E!S", None, AfterCommit::Ready, 0);
        check("Q Q!", None, AfterCommit::Ready, 0);
    }

    #[test]
    fn a_commit_that_failed_is_none() {
        let mut ledger = ledger("Q!");
        assert!(ledger.owes_commit());
        ledger.receive(b'E', b"").unwrap();
        assert!(!ledger.owes_commit() && ledger.owed_commit().is_none());
    }
}
