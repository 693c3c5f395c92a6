//! Many clients, few servers.

mod leaks;
mod session_mode;
mod sharing;
mod statement_mode;
mod statements;
mod timeouts;
