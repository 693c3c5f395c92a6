//! One client, from the end of its login to its last byte: routing, forwarding, what it set, what it is told when a
//! server is lost. Sessions live on worker threads and share nothing that is locked.

mod again;
mod answered;
mod cancel;
mod client;
mod effects;
mod exchange;
mod forward;
mod greet;
mod handle;
mod inquiry;
mod io;
mod local;
mod lost;
mod names;
mod pin;
mod pool_set;
mod prepare;
mod receive;
mod refusal;
mod refused;
mod rename;
mod route;
mod scan;
mod serve;
mod session;
mod settings;
mod startup;
mod stats;
mod task;
mod wait;
mod welcome;
mod worker;
mod world;

pub use cancel::{CancelKey, CancelKeys};
pub use client::{NewClient, Setting};
pub use greet::{Greeted, Greeter, Lookup, Unavailable, Users};
pub use handle::{ClientId, ClientState};
pub use pool_set::FunctionsNow;
pub use settings::*;
pub use worker::{
    ClientReport, Command, PauseScope, PoolReport, ServerReport, StatsReport, WorkerHandle, WorkerId,
    WorkerReport, spawn_worker,
};
pub use world::{ClusterHandle, FunctionSource, World};
