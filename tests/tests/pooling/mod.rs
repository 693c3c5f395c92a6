//! Many clients, few servers.

mod again;
mod leaks;
mod pins;
mod session_mode;
mod session_state;
mod sharing;
mod statements;
