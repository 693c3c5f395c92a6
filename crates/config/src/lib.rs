//! Configuration: TOML, `DATABASE_URL` and environment in, checked [`Settings`] of the other crates out.
//!
//! The way of a value: `tree` keeps where each value was written, `environment` lays `PGHERD__…` over the file,
//! `raw` reads the sections by the table that also documents them, `build` checks what belongs together. Every
//! mistake is collected with its place; there are settings only if there is none. `agent` reads the agent's own file
//! in the same way.

mod agent;
mod build;
mod change;
mod edit;
mod environment;
mod file;
mod load;
mod mistake;
mod nearest;
mod raw;
mod reference;
mod section;
mod settings;
mod tree;
mod url;
mod userlist;
mod value;

#[cfg(test)]
mod tests;

pub use agent::{AgentFile, DEFAULT_AGENT_FILE, load_agent};
pub use change::{Change, Row, differences, rows};
pub use edit::{EditError, NewNode, NewValue, add_node, drop_node};
pub use load::{DEFAULT_FILE, Source, from_database_url, load};
pub use mistake::{Mistake, Mistakes, Origin};
pub use reference::{agent_reference, reference};
pub use settings::{
    AdminSettings, AuthQuery, AuthSettings, ClusterSettings, FunctionLists, ListenSettings, LogFormat,
    LogSettings, OtherClusters, ProxySettings, Settings, Workers,
};
