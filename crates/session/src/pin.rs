//! Why a session keeps its server connection after the end of a transaction, and since when.

use pool::PinPermit;
use sql::{PinCause, PinCauses};

use crate::{
    exchange::{Exchange, Inquiry},
    session::Session,
};

/// A reason to keep the server connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PinReason {
    /// The pool is in session mode.
    SessionPooling,
    /// A temporary table, or anything else in the temporary schema.
    TemporaryTable,
    /// `LISTEN`.
    Listen,
    /// SQL `PREPARE`.
    SqlPrepare,
    /// A session-level advisory lock.
    AdvisoryLock,
    /// A cursor `WITH HOLD`.
    HoldCursor,
    /// `LOAD`.
    Load,
    /// A setting that cannot be followed.
    Settings,
    /// It asks for values that it got from sequences.
    SequenceValue,
    /// Several session changes in one text.
    Mixed,
    /// A statement was too long to be looked at.
    LongStatement,
    /// Settings were undone in part, by ROLLBACK TO SAVEPOINT.
    SettingsInDoubt,
}

impl PinReason {
    const ALL: [Self; 12] = [
        Self::SessionPooling,
        Self::TemporaryTable,
        Self::Listen,
        Self::SqlPrepare,
        Self::AdvisoryLock,
        Self::HoldCursor,
        Self::Load,
        Self::Settings,
        Self::SequenceValue,
        Self::Mixed,
        Self::LongStatement,
        Self::SettingsInDoubt,
    ];

    /// The words in the console.
    fn as_str(self) -> &'static str {
        match self {
            Self::SessionPooling => "session pooling",
            Self::TemporaryTable => "temporary table",
            Self::Listen => "LISTEN",
            Self::SqlPrepare => "SQL PREPARE",
            Self::AdvisoryLock => "advisory lock",
            Self::HoldCursor => "WITH HOLD cursor",
            Self::Load => "LOAD",
            Self::Settings => "setting that cannot be followed",
            Self::SequenceValue => "currval or lastval",
            Self::Mixed => "several session changes in one text",
            Self::LongStatement => "statement too long to be looked at",
            Self::SettingsInDoubt => "settings undone in part",
        }
    }
}

impl From<PinCause> for PinReason {
    fn from(cause: PinCause) -> Self {
        match cause {
            PinCause::TemporaryTable => Self::TemporaryTable,
            PinCause::Listen => Self::Listen,
            PinCause::SqlPrepare => Self::SqlPrepare,
            PinCause::AdvisoryLock => Self::AdvisoryLock,
            PinCause::HoldCursor => Self::HoldCursor,
            PinCause::Load => Self::Load,
            PinCause::Settings => Self::Settings,
            PinCause::SequenceValue => Self::SequenceValue,
            PinCause::Mixed => Self::Mixed,
        }
    }
}

/// A set of reasons. While it is empty, the server connection goes back at the end of each transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Pins(u16);

impl Pins {
    /// Those of which the server can be asked whether they are still there.
    pub(crate) const PROVABLE: Self = Self(
        Self::bit(PinReason::TemporaryTable)
            | Self::bit(PinReason::SqlPrepare)
            | Self::bit(PinReason::AdvisoryLock)
            | Self::bit(PinReason::HoldCursor),
    );

    /// Those while which names and literals in a text may mean something else than the settings that are known tell.
    const UNSETTLING: Self = Self(
        Self::bit(PinReason::TemporaryTable)
            | Self::bit(PinReason::Settings)
            | Self::bit(PinReason::Mixed)
            | Self::bit(PinReason::LongStatement)
            | Self::bit(PinReason::SettingsInDoubt),
    );

    /// Those that a transaction which never commits does not leave behind.
    const TRANSACTIONAL: Self = Self(
        Self::bit(PinReason::TemporaryTable)
            | Self::bit(PinReason::HoldCursor)
            | Self::bit(PinReason::Listen),
    );

    const fn bit(reason: PinReason) -> u16 {
        1 << reason as u16
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn has(self, reason: PinReason) -> bool {
        self.0 & Self::bit(reason) != 0
    }

    pub(crate) fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    pub(crate) fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = PinReason> {
        PinReason::ALL.into_iter().filter(move |reason| self.has(*reason))
    }

    /// While there are these, texts may mean something else than the settings that are known tell.
    pub(crate) fn unsettle(self) -> bool {
        self.0 & Self::UNSETTLING.0 != 0
    }

    /// What of them is lost with the server connection, if `established` of them were there when its last transaction
    /// began: a temporary table of a transaction that is lost as a whole was never there. Who asks for a sequence's value
    /// that is lost is told so then.
    pub(crate) fn lost(self, established: Self) -> Self {
        let begun = self.without(established);
        self.without(Self(begun.0 & Self::TRANSACTIONAL.0)).without(PinReason::SequenceValue.into())
    }

    /// Whether they last until something ends them: the values of sequences are kept for a moment at most, which does
    /// not count as pinned.
    pub(crate) fn last(self) -> bool {
        !self.without(PinReason::SequenceValue.into()).is_empty()
    }

    /// There are some, and the server can be asked about each.
    pub(crate) fn may_end(self) -> bool {
        !self.is_empty() && self.without(Self::PROVABLE).is_empty()
    }
}

impl From<PinReason> for Pins {
    fn from(reason: PinReason) -> Self {
        Self(Self::bit(reason))
    }
}

impl From<PinCauses> for Pins {
    fn from(causes: PinCauses) -> Self {
        causes.iter().fold(Self::default(), |pins, cause| pins.and(PinReason::from(cause).into()))
    }
}

/// The words in the console.
impl std::fmt::Display for Pins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (n, reason) in self.iter().enumerate() {
            if n > 0 {
                f.write_str(", ")?;
            }
            f.write_str(reason.as_str())?;
        }
        Ok(())
    }
}

impl Session {
    /// The reasons why it keeps its server connection.
    pub(crate) fn pins(&self) -> Pins {
        self.handle.pinned.get()
    }

    /// Keeps the server connection until the reasons are gone.
    pub(crate) fn pin(&mut self, reasons: impl Into<Pins>) {
        let (before, reasons) = (self.pins(), reasons.into());
        if before.is_empty() {
            tracing::debug!(client = %self.handle.id, %reasons, "pinned");
            self.handle.pinned_since.set(self.worker.now());
        }
        self.handle.pinned.set(before.and(reasons));
        let counts = self.pins().last() && !self.pins().has(PinReason::SessionPooling);
        let pool = |exchange: &Exchange| self.worker.pool(&self.pools, exchange.node);
        let permit = self
            .exchange
            .as_deref()
            .filter(|exchange| counts && exchange.pin_permit.is_none())
            .map(|exchange| PinPermit::take(&pool(exchange)));
        if let Some(exchange) = self.exchange.as_deref_mut() {
            exchange.pin_permit = exchange.pin_permit.take().or(permit);
            exchange.pinned_since_discard = exchange.pinned_since_discard.and(reasons);
            // it may fail, be undone, or have taken no lock
            exchange.inquiry = Inquiry::Due;
            if reasons.unsettle() {
                self.unsettle();
            }
        }
    }

    /// Of the reasons for which the server connection is kept, these are left.
    pub(crate) fn keep_pins(&mut self, left: Pins) {
        let before = self.pins();
        self.handle.pinned.set(left);
        if !left.last() && before.last() {
            tracing::debug!(client = %self.handle.id, "no longer pinned");
            if let Some(exchange) = self.exchange.as_deref_mut() {
                exchange.pin_permit = None;
            }
        }
    }

    /// DISCARD ALL has run: of the reasons those are left that came behind it, and session pooling.
    pub(crate) fn unpin(&mut self) {
        let session = self.pins().has(PinReason::SessionPooling).then_some(PinReason::SessionPooling);
        let anew = self.exchange.as_deref().map(|exchange| exchange.pinned_since_discard);
        self.keep_pins(session.map_or(Pins::default(), Pins::from).and(anew.unwrap_or_default()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_lasting_reason_keeps_all_others() {
        let mut pins = Pins::from(PinReason::TemporaryTable).and(PinReason::AdvisoryLock.into());
        assert!(pins.may_end());
        assert_eq!(pins.to_string(), "temporary table, advisory lock");
        pins = pins.and(PinReason::Load.into());
        assert!(!pins.may_end());
        assert!(!Pins::default().may_end());
    }

    #[test]
    fn what_a_lost_transaction_would_have_left_is_not_missed() {
        let (table, lock) = (Pins::from(PinReason::TemporaryTable), Pins::from(PinReason::AdvisoryLock));
        let none = Pins::default();
        assert_eq!(table.lost(none), none);
        assert_eq!(table.and(lock).lost(none), lock);
        assert_eq!(table.lost(table), table);
    }

    #[test]
    fn every_cause_has_its_own_reason() {
        let causes = PinCauses::of(PinCause::Mixed).and(PinCauses::of(PinCause::HoldCursor));
        assert_eq!(Pins::from(causes).to_string(), "WITH HOLD cursor, several session changes in one text");
        let all = PinReason::ALL.into_iter().fold(Pins::default(), |pins, reason| pins.and(reason.into()));
        assert_eq!(all.iter().count(), PinReason::ALL.len());
    }
}
