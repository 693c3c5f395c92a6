//! One client, from the end of its login to its last byte: routing, forwarding, what it set, what it is told when a
//! server is lost. Sessions live on worker threads and share nothing that is locked.

mod abandoned;
mod again;
mod ahead;
mod answered;
mod aside;
mod cancel;
mod client;
mod clock;
mod conditions;
mod disabled;
mod effects;
mod exchange;
mod forward;
mod greet;
mod handle;
mod in_doubt;
mod inquiry;
mod io;
mod leave;
mod listen;
mod local;
mod lost;
mod names;
mod noted;
mod oversized;
mod pin;
mod pool_set;
mod prepare;
mod quiet;
mod receive;
mod refusal;
mod refused;
mod release;
mod rename;
mod replication;
mod reworded;
mod route;
mod scan;
mod sequence_values;
mod serve;
mod session;
mod settings;
mod sql_prepared;
mod standing_hint;
mod startup;
mod statement_mode;
mod stats;
mod task;
mod texts;
mod unconfirmed;
mod unsuited;
mod wait;
mod welcome;
mod witness;
mod worker;
mod world;

pub use cancel::{CancelKey, CancelKeys, Elsewhere};
pub use client::{NewClient, Purpose, Setting};
pub use disabled::Disabled;
pub use greet::{Arrival, Greeted, Greeter, Lookup, Unavailable, Users, Via};
pub use handle::{ClientId, ClientState};
pub use pool_set::FunctionsNow;
pub use settings::*;
pub use worker::{
    Busy, ClientReport, Command, HoldReport, ListenerReport, PauseScope, PoolReport, Resumption,
    ServerReport, ServerRole, StatementReport, StatsReport, WorkerHandle, WorkerId, WorkerReport,
    spawn_worker,
};
pub use world::{ClusterHandle, FunctionSource, World};
