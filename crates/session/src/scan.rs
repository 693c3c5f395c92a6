//! A first look at client input, to know where it must go before any of it goes anywhere.

use std::{collections::VecDeque, rc::Rc};

use pool::{SessionState, Statement};
use protocol::{UnitEnd, unit_end};
use sql::{Class, Effect, Kind, PinCause};
use wire::{
    frame::{Direction, FrameError, MESSAGE_LIMIT, Peek, peek},
    message::frontend::{BindNames, Parse, query_text},
};

use crate::{
    names::Names,
    pool_set::PoolSet,
    sql_prepared::{class_by_name, executed},
};

/// What was found out about a message while scanning, so that forwarding need not do it again: one entry for each
/// Query and Parse, in order.
#[derive(Debug)]
pub(crate) enum Scanned {
    /// The class of a Query's text.
    Query(Class),
    /// The statement of a Parse.
    Parse(Rc<Statement>),
}

/// What the units at the start of some input need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Group {
    /// Everything in them may run on a replica.
    pub(crate) replica: bool,
    /// They begin with a text that an aborted server leaves no trace of, so that it may be run again elsewhere.
    pub(crate) replayable: bool,
    /// A statement of theirs carries a routing hint.
    pub(crate) hinted: bool,
    /// What they open.
    pub(crate) opens: Opens,
    /// On which server connection they are at home.
    pub(crate) seeks: Seeks,
}

/// What outlasts the units of a group on their server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opens {
    /// No transaction is begun.
    Nothing,
    /// A transaction is begun.
    Transaction,
}

/// Which server connection of a node is best.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seeks {
    /// The one whose settings fit.
    Any,
    /// The one that has what the client got from sequences.
    SequenceValues,
    /// One that it may keep.
    Pin,
}

/// What a scan found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scan {
    /// No whole unit yet.
    Incomplete,
    /// One or more whole units.
    Units(Group),
}

/// Looks at all whole units of `input`, of a session in this state. Fills `scanned` for them.
///
/// # Errors
/// [`FrameError`] for a head that is none.
pub(crate) fn scan(
    input: &[u8],
    names: &Names,
    state: &Rc<SessionState>,
    pools: &PoolSet,
    scanned: &mut VecDeque<Scanned>,
) -> Result<Scan, FrameError> {
    scanned.clear();
    let mut group =
        Group { replica: true, replayable: true, hinted: false, opens: Opens::Nothing, seeks: Seeks::Any };
    let mut units = 0_u32;
    let mut last = None;
    let mut rest = input;
    while let Peek::Whole { header, body } = peek(rest, Direction::Frontend, MESSAGE_LIMIT)? {
        match header.tag {
            b'Q' => {
                let class = query_text(body).map_or(UNKNOWN, |text| {
                    executed(text, names).into_iter().for_each(|statement| pools.reclassify(statement));
                    class_by_name(text, pools.classify(text), names, state, pools)
                });
                group.add(class, units == 0);
                scanned.push_back(Scanned::Query(class));
            }
            b'P' => {
                if let Ok(parse) = Parse::read(body) {
                    let statement = pools.intern(parse.query, parse.parameter_types, state);
                    let class = if names.are_in_code(parse.query) { UNKNOWN } else { statement.class() };
                    group.add(class, units == 0);
                    scanned.push_back(Scanned::Parse(statement));
                }
            }
            b'B' => {
                if let Some(class) = bound_class(body, names, pools) {
                    group.add(class, units == 0);
                }
            }
            b'F' => group.add(UNKNOWN, units == 0),
            _ => {}
        }
        if let Some(end) = unit_end(header.tag) {
            units += 1;
            last = Some(end);
            if end == UnitEnd::Terminate {
                break;
            }
        }
        rest = rest.get(header.total_len()..).unwrap_or_default();
    }
    // It goes on, on the same server, with what is not known yet and may write: asyncpg prepares so, and then copies.
    group.replica &= last != Some(UnitEnd::Flush);
    Ok(if units == 0 { Scan::Incomplete } else { Scan::Units(group) })
}

/// What is known of a statement that could not be looked at.
pub(crate) const UNKNOWN: Class = Class {
    kind: Kind::Write,
    effect: Effect::None,
    statements: sql::Statements::One,
    hinted: false,
    replayable: false,
};

impl Group {
    fn add(&mut self, class: Class, first_unit: bool) {
        self.replica &= matches!(class.kind, Kind::Read | Kind::Empty | Kind::Begin { replica: true });
        self.hinted |= class.hinted;
        if matches!(class.kind, Kind::Begin { .. }) {
            self.opens = Opens::Transaction;
        }
        if let Effect::Pin(causes) = class.effect {
            let passes = causes.without(PinCause::SequenceValue).is_none();
            self.seeks = if passes && self.seeks != Seeks::Pin { Seeks::SequenceValues } else { Seeks::Pin };
        }
        if first_unit {
            self.replayable &=
                class.replayable || matches!(class.kind, Kind::Read | Kind::Empty | Kind::Begin { .. });
        }
    }
}

fn bound_class(body: &[u8], names: &Names, pools: &PoolSet) -> Option<Class> {
    let bind = BindNames::read(body).ok()?;
    let statement = names.find(bind.statement)?;
    pools.reclassify(statement);
    Some(statement.class())
}
