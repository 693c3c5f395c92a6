//! Acting on a node: the agent that runs beside PostgreSQL (`pgherd agent`), its client, and command hooks.
//!
//! A proxy can ask PostgreSQL by SQL for much, but not to start, to stop for good, or to take another server's history.
//! Whoever does that runs on the node: [`serve`] does what `api` lists and nothing else, for whoever has a certificate
//! of the right authority. [`Client`] is the other end. Where a node has no agent, a command of the operator's may do
//! the same ([`Hooks`]); [`Hands`] knows which of the two a node has, so that nobody else need care.
//!
//! `node` is PostgreSQL on this machine: its files, its processes and the programs that it brings along.

mod address;
mod api;
mod client;
mod hands;
mod hooks;
mod keys;
mod node;
mod program;
mod server;
mod settings;
mod tls;

pub use address::Address;
pub use api::{
    Activity, Control, Kind, Last, Refusal, Report, RestartRequest, ServerState, SourceRequest, StartRequest,
    Status, StopMode, StopRequest, Verb,
};
pub use client::{CallError, Client};
pub use hands::{ActError, Acted, Action, Hands, HandsSettings, Means, NodeSettings};
pub use hooks::{Hook, HookError, HookSettings, Hooks, Output, Party, Scene, Template, UnknownPlaceholder};
pub use keys::{KeyError, KeyRequest, make_keys};
pub use node::NodeError;
pub use server::{ServeError, serve};
pub use settings::{CopyCheck, OldFolder, PostgresSettings, Settings, SourceSettings};
pub use tls::{ClientTls, TlsFileError, TlsFiles};
