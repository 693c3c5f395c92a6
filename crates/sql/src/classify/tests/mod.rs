mod bombs;
mod calls;
mod copy_explain;
mod many;
mod pins;
mod properties;
mod reads;
mod sessions;
mod transactions;
mod writes;

use crate::{Class, Effect, Kind, NoFunctions, PinCause, PinCauses, Statements, classify};

#[track_caller]
fn check(sql: &str, expected: Class) {
    assert_eq!(classify(sql.as_bytes(), &NoFunctions), expected, "{sql}");
}

/// A read of one statement.
const READ: Class = Class { replayable: true, ..of(Kind::Read) };
/// A query or change of rows that only the primary can run.
const WRITE: Class = Class { replayable: true, ..of(Kind::Write) };
/// Anything else that only the primary can run.
const OTHER: Class = of(Kind::Write);
/// A change of settings that can be followed.
const SETTINGS: Class = Class { effect: Effect::Settings, ..of(Kind::Session) };

/// One statement without an effect.
const fn of(kind: Kind) -> Class {
    Class { kind, effect: Effect::None, statements: Statements::One, hinted: false, replayable: false }
}

/// A statement for the primary that pins.
const fn pin(cause: PinCause) -> Class {
    Class { effect: Effect::pin(cause), ..OTHER }
}

/// A change of the session that pins.
const fn session_pin(cause: PinCause) -> Class {
    Class { effect: Effect::pin(cause), ..of(Kind::Session) }
}
