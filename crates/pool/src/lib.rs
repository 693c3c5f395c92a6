//! Server connections: check out, wait, release, reset, retire.
//!
//! All but the quota lives on one worker thread (`Rc`, `Cell`): no lock, no atomic, no channel on the way of a query.
#![warn(clippy::wildcard_enum_match_arm)]

mod consequences;
mod counts;
mod dial;
mod parameters;
mod permit;
mod planning;
mod pool;
mod prepared;
mod quota;
mod reset;
mod sequence_values;
mod server;
mod settings;
mod shared;
mod state;
mod statements;
mod waiter;

pub use counts::{Counts, PoolState};
pub use dial::{DialFailure, DialPlan, Gate};
pub use parameters::{ParameterSet, ParameterSets};
pub use permit::{ListeningPlace, PinPermit, Place};
pub use planning::{bears_on_plans, bears_on_plans_in_transaction};
pub use pool::Pool;
pub use prepared::{Evicted, Prepared, Under};
pub use quota::{Account, AccountId, Bounds, Caps, Order, Quota, Scope, Usage};
pub use reset::{Reset, settle};
pub use sequence_values::{SequenceValues, Writing};
pub use server::{Body, CleanServer, Server, ServerActivity};
pub use settings::{CommitResolution, PoolMode, Settings, StatePolicy};
pub use state::{DATE_STYLE, Replay, SessionState, SessionStates, transition};
pub use statements::{Interner, Statement, StatementId};
pub use waiter::{Delivery, TELL_AFTER, Waiter, has_news};
