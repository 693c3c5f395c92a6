//! Many clients, few servers.

mod leaks;
mod session_mode;
mod sharing;
mod statements;
mod timeouts;
