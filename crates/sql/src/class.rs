//! What a text is found to be.

/// What running a text means for routing and for the server connection it runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Class {
    /// Where it may run and what it does to the transaction.
    pub kind: Kind,
    /// What outlives the transaction on the server connection.
    pub effect: Effect,
    /// How many statements the text holds.
    pub statements: Statements,
    /// Whether [`hint`](crate::hint) finds one.
    pub hinted: bool,
    /// One statement that either commits wholly or leaves nothing: it may be sent again if it is known not to have
    /// committed. False for everything that is not surely so.
    pub replayable: bool,
}

/// How many statements a text holds; empty ones do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Statements {
    /// Nothing but whitespace, comments and `;`.
    None,
    /// One, with or without a `;`.
    One,
    /// Several.
    Many,
}

/// Where a text may run and what it does to the transaction.
///
/// Several statements in one text are [`Kind::Read`] if each of them is and [`Kind::Write`] otherwise, transaction
/// control included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Nothing to run.
    Empty,
    /// May run on a replica.
    Read,
    /// Everything else, unknown statements included: the primary.
    Write,
    /// `BEGIN` or `START TRANSACTION`.
    Begin {
        /// Declared `READ ONLY` and not `SERIALIZABLE`, which a standby cannot give.
        replica: bool,
    },
    /// `COMMIT`, `END` or `PREPARE TRANSACTION`.
    Commit {
        /// `AND CHAIN`: the next transaction begins at once.
        chain: bool,
    },
    /// `ROLLBACK` or `ABORT` of the whole transaction.
    Rollback {
        /// `AND CHAIN`: the next transaction begins at once.
        chain: bool,
    },
    /// Means something only inside a transaction: savepoints, `SET TRANSACTION`, `SET LOCAL`, `SET CONSTRAINTS`.
    Control,
    /// Changes the session and touches no table: `SET`, `RESET`, `DISCARD`, `DEALLOCATE`, `LISTEN`, `UNLISTEN`, and
    /// a `SELECT` of nothing but `set_config` calls.
    Session,
}

/// What outlives the transaction on the server connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Nothing.
    None,
    /// Nothing, but until its end settings have values that last no longer:
    /// [`local_settings`](crate::local_settings) names them.
    LocalSettings,
    /// Only settings that can be followed: [`setting_changes`](crate::setting_changes) names them.
    Settings,
    /// It listens to channels; settings that can be followed may change too. The same function names both.
    Listen,
    /// It no longer listens to channels, and changes nothing else. The same function names them.
    Unlisten,
    /// `DISCARD ALL`.
    DiscardAll,
    /// `DEALLOCATE ALL`.
    DeallocateAll,
    /// `DEALLOCATE` of one statement: [`deallocated_name`](crate::deallocated_name) names it.
    Deallocate,
    /// Something that only this server connection has: the client must keep it.
    Pin(PinCauses),
}

impl Effect {
    /// Something that the client must keep its server connection for.
    #[must_use]
    pub const fn pin(cause: PinCause) -> Self {
        Self::Pin(PinCauses::of(cause))
    }

    /// The effect of running one after the other in one text.
    #[must_use]
    #[inline(always)]
    pub(crate) fn then(self, next: Self) -> Self {
        if next == Self::None { self } else { self.with(next) }
    }

    #[inline(never)]
    fn with(self, next: Self) -> Self {
        match (self, next) {
            (Self::None, effect) | (effect, Self::None) => effect,
            (Self::LocalSettings, effect) | (effect, Self::LocalSettings) => effect,
            (Self::Pin(causes), Self::Pin(more)) => Self::Pin(causes.and(more)),
            // a client that listens for longer misses nothing
            (pin @ Self::Pin(_), Self::Unlisten) | (Self::Unlisten, pin @ Self::Pin(_)) => pin,
            // that it is pinned will end before the settings do, and before it stops to listen
            (Self::Pin(causes), Self::Listen) | (Self::Listen, Self::Pin(causes)) => {
                Self::Pin(causes.and(PinCauses::of(PinCause::Listen)))
            }
            (Self::Pin(causes), _) | (_, Self::Pin(causes)) => {
                Self::Pin(causes.and(PinCauses::of(PinCause::Mixed)))
            }
            (Self::Unlisten, Self::Unlisten) => Self::Unlisten,
            (Self::Settings | Self::Unlisten, Self::Settings | Self::Unlisten) => Self::Settings,
            (
                Self::Settings | Self::Listen | Self::Unlisten,
                Self::Settings | Self::Listen | Self::Unlisten,
            ) => Self::Listen,
            (Self::DiscardAll | Self::DeallocateAll | Self::Deallocate, _)
            | (_, Self::DiscardAll | Self::DeallocateAll | Self::Deallocate) => Self::pin(PinCause::Mixed),
        }
    }
}

/// Why a client must keep its server connection: one cause or several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PinCauses(u16);

impl PinCauses {
    /// One.
    #[must_use]
    pub const fn of(cause: PinCause) -> Self {
        Self(1 << cause as u8)
    }

    /// These and those.
    #[must_use]
    pub const fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Those but this one; `None` if no other is left.
    #[must_use]
    pub fn without(self, cause: PinCause) -> Option<Self> {
        let left = self.0 & !Self::of(cause).0;
        (left != 0).then_some(Self(left))
    }

    /// Whether this is one of them.
    #[must_use]
    pub const fn has(self, cause: PinCause) -> bool {
        self.0 & Self::of(cause).0 != 0
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = PinCause> {
        PinCause::ALL.into_iter().filter(move |cause| self.has(*cause))
    }
}

/// A cause for which a client must keep its server connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PinCause {
    /// A temporary table, view, sequence, function or anything else in the temporary schema.
    TemporaryTable,
    /// `LISTEN` whose channel the text does not show, or that stands beside transaction control.
    Listen,
    /// SQL `PREPARE`.
    SqlPrepare,
    /// A session-level advisory lock.
    AdvisoryLock,
    /// A cursor `WITH HOLD`.
    HoldCursor,
    /// `LOAD`.
    Load,
    /// A setting, or other session state, that cannot be followed from the text alone, such as a `search_path` that
    /// makes the next table temporary.
    Settings,
    /// `currval` or `lastval`: a value that the session got from a sequence earlier.
    SequenceValue,
    /// Several effects whose order or outcome the text does not show, such as `BEGIN; SET …; COMMIT`.
    Mixed,
}

impl PinCause {
    const ALL: [Self; 9] = [
        Self::TemporaryTable,
        Self::Listen,
        Self::SqlPrepare,
        Self::AdvisoryLock,
        Self::HoldCursor,
        Self::Load,
        Self::Settings,
        Self::SequenceValue,
        Self::Mixed,
    ];
}
