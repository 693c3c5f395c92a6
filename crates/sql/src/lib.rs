//! Statement text to [`Class`]: may it run on a replica, does it open or close a transaction, and what does it leave
//! behind on the server connection.
//!
//! Pure: no socket, clock or log. [`classify`] makes one pass over the text, or two where a list of `set_config`
//! calls is tried first, allocates nothing and does not recurse, so a 16 MiB statement costs 16 MiB of reading and
//! no memory. It is a tokenizer and rules, not a parser: what it does not know is a write, which is always right and
//! at worst needless.
//!
//! What text alone cannot show, and a standby must be trusted to refuse (SQLSTATE 25006 or 0A000): functions behind
//! views, operators, casts, policies and `row.function` notation, and unlogged tables.
//!
//! Two things must hold for the session whose text it is: `standard_conforming_strings` is on, and its client
//! encoding has no character that holds an ASCII byte other than itself (SJIS, BIG5, GBK, UHC, JOHAB and GB18030
//! do). Elsewhere a backslash may mean something else to the server, so such sessions belong on the primary, pinned.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]

mod class;
mod classify;
mod commit;
mod functions;
mod hint;
mod lock;
mod name;
mod parameter_types;
mod prepared;
mod release;
mod settings;
mod shape;
mod token;

pub use class::{Class, Effect, Kind, PinCause, PinCauses, Statements};
pub use classify::{calls_nextval, classify, effect_of_code, gets_from_sequence, names_sequence_value};
pub use commit::{holds_commit, is_commit, is_copy};
pub use functions::{Functions, NoFunctions};
pub use hint::{Hint, HintTarget, hint};
pub use lock::calls_advisory_lock;
pub use prepared::{
    NameUse, NameVerb, Preparation, kind_of_execute, may_name_statements, names_in_code, preparation,
    statement_names,
};
pub use release::may_release;
pub use settings::{SettingChange, deallocated_name, local_settings, setting_changes};
pub use shape::shape;
