//! What a client's statements change in its session, known before they run and believed after they committed.

use pool::Replay;
use sql::SettingChange;
use wire::message::backend::TxStatus;

/// A change of the session's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// SET, or set_config.
    Set { name: Box<[u8]>, replay: Replay },
    /// RESET, or SET TO DEFAULT.
    Reset { name: Box<[u8]> },
    /// RESET ALL.
    ResetAll,
    /// DISCARD ALL.
    DiscardAll,
    /// LISTEN.
    Listen { channel: Box<[u8]> },
    /// UNLISTEN of one channel.
    Unlisten { channel: Box<[u8]> },
    /// UNLISTEN of all.
    UnlistenAll,
}

impl Change {
    fn is_of_channels(&self) -> bool {
        matches!(self, Self::Listen { .. } | Self::Unlisten { .. } | Self::UnlistenAll)
    }
}

/// A command tag, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tag {
    /// Of a statement that commits nothing by itself.
    Plain,
    /// COMMIT, or DISCARD ALL, which commits like it.
    Commit,
    /// ROLLBACK, of a transaction or to a savepoint.
    Rollback,
    /// BEGIN or START TRANSACTION.
    Begin,
    /// Of a statement that may have committed on its own, outside a transaction block: CALL or VACUUM do.
    Other,
}

impl Tag {
    /// Reads a CommandComplete body.
    pub(crate) fn read(body: &[u8]) -> Self {
        const PLAIN: [&[u8]; 14] = [
            b"SELECT ",
            b"INSERT ",
            b"UPDATE ",
            b"DELETE ",
            b"MERGE ",
            b"SET\0",
            b"RESET\0",
            b"SHOW\0",
            b"BEGIN\0",
            b"SAVEPOINT\0",
            b"RELEASE\0",
            b"LISTEN\0",
            b"UNLISTEN\0",
            b"NOTIFY\0",
        ];
        match body {
            b"COMMIT\0" | b"DISCARD ALL\0" => Self::Commit,
            b"ROLLBACK\0" => Self::Rollback,
            b"BEGIN\0" | b"START TRANSACTION\0" => Self::Begin,
            _ if PLAIN.iter().any(|plain| body.starts_with(plain)) => Self::Plain,
            _ => Self::Other,
        }
    }
}

/// What has come true at the end of a unit.
#[derive(Debug, PartialEq, Eq, Default)]
pub(crate) struct Outcome {
    /// These changes, in order. Often none.
    pub(crate) committed: Vec<Change>,
    /// Some others may have been undone or not; which is not known.
    pub(crate) in_doubt: bool,
}

/// Which statement of its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Run by the Execute with this number, counted from 0.
    Execute(u32),
    /// Somewhere in a simple Query: what it changes is certain when all of it has succeeded.
    Query,
}

#[derive(Debug)]
enum Asked {
    Change(Change),
    /// The end of the transaction: its ROLLBACK is not one to a savepoint.
    End,
}

/// Changes that were asked for and are not certain yet. Empty, it owns no memory.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// With the number of the unit that asked for it.
    asked: Vec<(u32, Place, Asked)>,
    /// Done in the open transaction.
    in_transaction: Vec<Change>,
    committed: Vec<Change>,
    in_doubt: bool,
    /// Since the oldest change in the transaction something ran that may have committed.
    may_be_committed: bool,
    /// What runs next runs in a transaction block, where nothing commits but COMMIT.
    in_block: bool,
    /// Commands of the present unit that have completed.
    completed: u32,
}

impl Effects {
    /// Whether there is nothing to find out.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.asked.is_empty() && self.in_transaction.is_empty() && self.committed.is_empty() && !self.in_doubt
    }

    /// Unit number `unit` asks for the changes of `text`. True if one of them is a reset.
    pub(crate) fn ask(&mut self, unit: u32, place: Place, text: &[u8]) -> bool {
        let before = self.asked.len();
        let changes = sql::setting_changes(text).map(|change| match change {
            SettingChange::Set { name, statement } => Change::Set {
                name: name.into_owned().into(),
                replay: Replay::Statement(statement.into_owned().into()),
            },
            SettingChange::Reset { name } => Change::Reset { name: name.into_owned().into() },
            SettingChange::ResetAll => Change::ResetAll,
            SettingChange::Listen { channel } => Change::Listen { channel: channel.into_owned().into() },
            SettingChange::Unlisten { channel } => Change::Unlisten { channel: channel.into_owned().into() },
            SettingChange::UnlistenAll => Change::UnlistenAll,
        });
        self.asked.extend(changes.map(|change| (unit, place, Asked::Change(change))));
        let new = self.asked.get(before..).unwrap_or_default();
        new.iter().any(|(_, _, asked)| {
            matches!(asked, Asked::Change(Change::Reset { .. } | Change::ResetAll | Change::DiscardAll))
        })
    }

    /// Unit number `unit` asks for DISCARD ALL.
    pub(crate) fn ask_discard(&mut self, unit: u32, place: Place) {
        self.asked.push((unit, place, Asked::Change(Change::DiscardAll)));
    }

    /// Unit number `unit` ends the transaction.
    pub(crate) fn ask_end(&mut self, unit: u32, place: Place) {
        if !self.is_empty() {
            self.asked.push((unit, place, Asked::End));
        }
    }

    /// A command of the present unit, number `unit`, completed.
    #[inline]
    pub(crate) fn completed(&mut self, unit: u32, body: &[u8]) {
        let tag = Tag::read(body);
        if !self.is_empty() {
            self.take_in(unit, tag);
        }
        self.completed += 1;
        match tag {
            Tag::Begin => self.in_block = true,
            Tag::Commit | Tag::Rollback => self.in_block = false,
            Tag::Plain | Tag::Other => {}
        }
    }

    /// A command of the present unit completed without a tag, or was suspended.
    #[inline]
    pub(crate) fn completed_without_tag(&mut self) {
        self.completed += 1;
    }

    fn take_in(&mut self, unit: u32, tag: Tag) {
        let mut ends = false;
        while let Some(&(asked_by, place, _)) = self.asked.first()
            && asked_by <= unit
        {
            let here = match place {
                Place::Execute(at) => at <= self.completed,
                Place::Query => matches!(self.asked.first(), Some((_, _, Asked::End))),
            };
            if !here {
                break;
            }
            match self.asked.remove(0).2 {
                Asked::Change(change) => self.in_transaction.push(change),
                Asked::End => ends = true,
            }
        }
        match tag {
            Tag::Plain | Tag::Begin => {}
            Tag::Commit => {
                self.committed.append(&mut self.in_transaction);
                self.may_be_committed = false;
            }
            Tag::Rollback => {
                let mut left = self.roll_back(!ends || self.may_be_committed);
                if ends { &mut self.committed } else { &mut self.in_transaction }.append(&mut left);
                self.may_be_committed = false;
            }
            Tag::Other => self.may_be_committed |= !self.in_block && !self.in_transaction.is_empty(),
        }
    }

    /// Forgets what was done in the transaction. If it is `doubtful` whether all of it was undone, what is left are the
    /// LISTEN: a client that listens to more than it wants misses nothing.
    fn roll_back(&mut self, doubtful: bool) -> Vec<Change> {
        let mut left = std::mem::take(&mut self.in_transaction);
        self.in_doubt |= doubtful && left.iter().any(|change| !change.is_of_channels());
        left.retain(|change| doubtful && matches!(change, Change::Listen { .. }));
        left
    }

    /// Unit number `unit` ended with `status`, after an error if `failed`.
    pub(crate) fn unit_ended(&mut self, unit: u32, failed: bool, status: TxStatus) -> Outcome {
        self.completed = 0;
        self.in_block = status != TxStatus::Idle;
        if self.is_empty() {
            return Outcome::default();
        }
        let of_unit = self.asked.iter().take_while(|(n, ..)| *n <= unit).count();
        for (_, _, asked) in self.asked.drain(..of_unit) {
            if let (Asked::Change(change), false) = (asked, failed) {
                self.in_transaction.push(change);
            }
        }
        if status == TxStatus::Idle {
            if failed {
                let mut left = self.roll_back(self.may_be_committed);
                self.committed.append(&mut left);
            } else {
                self.committed.append(&mut self.in_transaction);
            }
            self.may_be_committed = false;
        }
        Outcome {
            committed: std::mem::take(&mut self.committed),
            in_doubt: std::mem::take(&mut self.in_doubt),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(outcome: &Outcome) -> Vec<String> {
        let name = |change: &Change| match change {
            Change::Set { name, .. } | Change::Reset { name } => String::from_utf8_lossy(name).into_owned(),
            Change::Listen { channel } => format!("+{}", String::from_utf8_lossy(channel)),
            Change::Unlisten { channel } => format!("-{}", String::from_utf8_lossy(channel)),
            Change::ResetAll | Change::DiscardAll | Change::UnlistenAll => format!("{change:?}"),
        };
        let doubt = outcome.in_doubt.then(|| "in doubt".to_owned());
        outcome.committed.iter().map(name).chain(doubt).collect()
    }

    /// A unit in the words of SQL: each text runs and completes, up to one that is `error`.
    #[track_caller]
    fn check(effects: &mut Effects, unit: u32, texts: &[&str], status: TxStatus, expected: &[&str]) {
        for (at, &text) in (0..).zip(texts) {
            let place = Place::Execute(at);
            match text {
                "commit" | "rollback" => effects.ask_end(unit, place),
                _ if ["set", "listen", "unlisten"].iter().any(|word| text.starts_with(word)) => {
                    assert!(!effects.ask(unit, place, text.as_bytes()))
                }
                _ => {}
            }
        }
        let mut failed = false;
        for text in texts {
            let tag = match *text {
                "error" => {
                    failed = true;
                    break;
                }
                "commit" => "COMMIT",
                "rollback" | "rollback to a" => "ROLLBACK",
                "call" => "CALL",
                "begin" => "BEGIN",
                _ => "SELECT 1",
            };
            effects.completed(unit, format!("{tag}\0").as_bytes());
        }
        assert_eq!(names(&effects.unit_ended(unit, failed, status)), expected, "{texts:?}");
    }

    #[track_caller]
    fn check_new(texts: &[&str], status: TxStatus, expected: &[&str]) {
        let mut effects = Effects::default();
        check(&mut effects, 0, texts, status, expected);
        if status == TxStatus::Idle {
            assert!(effects.is_empty());
        }
    }

    #[test]
    fn a_setting_is_believed_when_its_unit_succeeded_outside_a_transaction() {
        check_new(&["set a to 1"], TxStatus::Idle, &["a"]);
        check_new(&["set a to 1", "error"], TxStatus::Idle, &[]);
        let mut effects = Effects::default();
        effects.ask(1, Place::Query, b"set a to 1; set b to 1");
        effects.completed(1, b"SET\0");
        effects.completed(1, b"SET\0");
        assert_eq!(names(&effects.unit_ended(1, false, TxStatus::Idle)), ["a", "b"]);
    }

    #[test]
    fn in_a_transaction_it_is_believed_at_commit_and_forgotten_at_rollback() {
        for (end, expected) in [("commit", &["a"][..]), ("rollback", &[])] {
            let mut effects = Effects::default();
            check(&mut effects, 0, &["begin"], TxStatus::InTransaction, &[]);
            check(&mut effects, 1, &["set a to 1"], TxStatus::InTransaction, &[]);
            check(&mut effects, 2, &[end], TxStatus::Idle, expected);
            assert!(effects.is_empty());
        }
    }

    #[test]
    fn a_commit_holds_whatever_follows_in_its_unit() {
        check_new(&["begin", "set a to 1", "commit", "error"], TxStatus::Idle, &["a"]);
        check_new(&["begin", "set a to 1", "commit", "set b to 1", "error"], TxStatus::Idle, &["a"]);
        check_new(&["begin", "set a to 1", "commit", "begin", "set b to 1"], TxStatus::InTransaction, &["a"]);
    }

    #[test]
    fn a_rollback_takes_back_what_is_before_it_alone() {
        check_new(&["begin", "set a to 1", "rollback", "set b to 1"], TxStatus::Idle, &["b"]);
        check_new(&["begin", "set a to 1", "rollback", "begin"], TxStatus::InTransaction, &[]);
    }

    #[test]
    fn a_rollback_to_a_savepoint_leaves_it_in_doubt() {
        check_new(&["begin", "set a to 1", "rollback to a"], TxStatus::InTransaction, &["in doubt"]);
        check_new(&["begin", "set a to 1", "rollback to a", "commit"], TxStatus::Idle, &["in doubt"]);
        let mut effects = Effects::default();
        check(&mut effects, 0, &["begin", "set a to 1", "savepoint", "error"], TxStatus::Failed, &[]);
        check(&mut effects, 1, &["rollback to a"], TxStatus::InTransaction, &["in doubt"]);
    }

    #[test]
    fn what_a_statement_may_have_committed_before_an_error_is_in_doubt() {
        check_new(&["set a to 1", "call", "error"], TxStatus::Idle, &["in doubt"]);
        check_new(&["set a to 1", "call"], TxStatus::Idle, &["a"]);
        check_new(&["begin", "set a to 1", "call", "rollback"], TxStatus::Idle, &[]);
    }

    #[test]
    fn a_listen_is_kept_where_it_is_not_known_whether_it_was_undone() {
        let rollback = ["begin", "listen a", "unlisten b", "set c to 1", "rollback to a"];
        let mut effects = Effects::default();
        check(&mut effects, 0, &rollback, TxStatus::InTransaction, &["in doubt"]);
        check(&mut effects, 1, &["commit"], TxStatus::Idle, &["+a"]);
        check(&mut effects, 2, &rollback, TxStatus::InTransaction, &["in doubt"]);
        check(&mut effects, 3, &["rollback"], TxStatus::Idle, &[]);
        check_new(&["begin", "listen a", "rollback to a", "commit"], TxStatus::Idle, &["+a"]);
        check_new(&["begin", "unlisten a", "rollback"], TxStatus::Idle, &[]);
        check_new(&["listen a", "call", "error"], TxStatus::Idle, &["+a"]);
    }

    #[test]
    fn a_commit_that_fails_takes_everything_back() {
        let mut effects = Effects::default();
        check(&mut effects, 1, &["set a to 1"], TxStatus::InTransaction, &[]);
        check(&mut effects, 2, &["error"], TxStatus::Idle, &[]);
        assert!(effects.is_empty());
    }
}
