//! Many clients, few servers.

mod leaks;
mod pipelines;
mod session_mode;
mod sharing;
mod statements;
