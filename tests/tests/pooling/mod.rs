//! Many clients, few servers.

mod leaks;
mod pipelines;
mod session_mode;
mod sharing;
mod statement_mode;
mod statements;
mod timeouts;
