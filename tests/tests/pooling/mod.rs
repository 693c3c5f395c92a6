//! Many clients, few servers.

mod again;
mod caps;
mod conditions;
mod functions;
mod leaks;
mod listen;
mod pins;
mod pipelines;
mod refused_logins;
mod sequences;
mod session_mode;
mod session_state;
mod settings;
mod sharing;
mod sql_prepare;
mod statement_mode;
mod statements;
mod storm;
mod timeouts;
mod users;
mod wildcards;
