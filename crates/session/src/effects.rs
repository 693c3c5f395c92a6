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
}

/// The last command tag of a unit, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum LastTag {
    /// Any other.
    #[default]
    Other,
    /// COMMIT
    Commit,
    /// ROLLBACK
    Rollback,
}

impl LastTag {
    /// Reads a CommandComplete body.
    pub(crate) fn read(body: &[u8]) -> Self {
        match body {
            b"COMMIT\0" => Self::Commit,
            b"ROLLBACK\0" => Self::Rollback,
            _ => Self::Other,
        }
    }
}

/// What has come true at the end of a unit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// These changes, in order. Often none.
    Committed(Vec<Change>),
    /// Part of a transaction's changes was undone, and which part is not known.
    InDoubt,
}

/// Changes that were asked for and are not certain yet. Empty, it owns no memory.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// With the number of the unit that asked for it.
    asked: Vec<(u32, Change)>,
    /// Done in the open transaction.
    in_transaction: Vec<Change>,
    last_tag: LastTag,
}

impl Effects {
    /// Whether command tags matter at present.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.asked.is_empty() && self.in_transaction.is_empty()
    }

    /// Unit number `unit` asks for the changes of `text`.
    pub(crate) fn ask(&mut self, unit: u32, text: &[u8]) {
        let changes = sql::setting_changes(text).map(|change| match change {
            SettingChange::Set { name, statement } => Change::Set {
                name: name.into_owned().into(),
                replay: Replay::Statement(statement.into_owned().into()),
            },
            SettingChange::Reset { name } => Change::Reset { name: name.into_owned().into() },
            SettingChange::ResetAll => Change::ResetAll,
        });
        self.asked.extend(changes.map(|change| (unit, change)));
    }

    /// Unit number `unit` asks for DISCARD ALL.
    pub(crate) fn ask_discard(&mut self, unit: u32) {
        self.asked.push((unit, Change::DiscardAll));
    }

    /// A command of the present unit completed.
    pub(crate) fn completed(&mut self, tag: LastTag) {
        self.last_tag = tag;
    }

    /// Unit number `unit` ended with `status`, after an error if `failed`.
    pub(crate) fn unit_ended(&mut self, unit: u32, failed: bool, status: TxStatus) -> Outcome {
        let tag = std::mem::take(&mut self.last_tag);
        let of_unit = self.asked.iter().take_while(|(n, _)| *n <= unit).count();
        let done = self.asked.drain(..of_unit);
        if failed {
            drop(done);
        } else {
            self.in_transaction.extend(done.map(|(_, change)| change));
        }
        match (status, tag) {
            (TxStatus::Idle, LastTag::Rollback) => self.in_transaction.clear(),
            (TxStatus::Idle, _) if failed => self.in_transaction.clear(),
            (TxStatus::Idle, LastTag::Commit | LastTag::Other)
            | (TxStatus::InTransaction, LastTag::Commit) => {
                return Outcome::Committed(std::mem::take(&mut self.in_transaction));
            }
            (TxStatus::InTransaction, LastTag::Rollback) if !self.in_transaction.is_empty() => {
                self.in_transaction.clear();
                return Outcome::InDoubt;
            }
            (TxStatus::InTransaction | TxStatus::Failed, _) => {}
        }
        Outcome::Committed(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(outcome: Outcome) -> Vec<String> {
        let Outcome::Committed(changes) = outcome else { return vec!["in doubt".into()] };
        let name = |change: &Change| match change {
            Change::Set { name, .. } | Change::Reset { name } => String::from_utf8_lossy(name).into_owned(),
            Change::ResetAll | Change::DiscardAll => format!("{change:?}"),
        };
        changes.iter().map(name).collect()
    }

    #[test]
    fn a_setting_is_believed_when_its_unit_succeeded_outside_a_transaction() {
        let mut effects = Effects::default();
        effects.ask(1, b"SET work_mem TO '1MB'");
        assert_eq!(names(effects.unit_ended(1, false, TxStatus::Idle)), ["work_mem"]);
        effects.ask(2, b"SET work_mem TO '2MB'");
        assert!(names(effects.unit_ended(2, true, TxStatus::Idle)).is_empty());
        assert!(effects.is_empty());
    }

    #[test]
    fn in_a_transaction_it_is_believed_at_commit_and_forgotten_at_rollback() {
        for (tag, expected) in [(LastTag::Commit, vec!["work_mem"]), (LastTag::Rollback, vec![])] {
            let mut effects = Effects::default();
            effects.ask(2, b"SET work_mem TO '1MB'");
            assert!(names(effects.unit_ended(1, false, TxStatus::InTransaction)).is_empty());
            assert!(names(effects.unit_ended(2, false, TxStatus::InTransaction)).is_empty());
            effects.completed(tag);
            assert_eq!(names(effects.unit_ended(3, false, TxStatus::Idle)), expected);
        }
    }

    #[test]
    fn a_rollback_to_a_savepoint_leaves_it_in_doubt() {
        let mut effects = Effects::default();
        effects.ask(1, b"SET work_mem TO '1MB'");
        effects.unit_ended(1, false, TxStatus::InTransaction);
        effects.completed(LastTag::Rollback);
        assert_eq!(effects.unit_ended(2, false, TxStatus::InTransaction), Outcome::InDoubt);
    }

    #[test]
    fn a_commit_that_fails_takes_everything_back() {
        let mut effects = Effects::default();
        effects.ask(1, b"SET work_mem TO '1MB'");
        effects.unit_ended(1, false, TxStatus::InTransaction);
        assert!(names(effects.unit_ended(2, true, TxStatus::Idle)).is_empty());
    }
}
