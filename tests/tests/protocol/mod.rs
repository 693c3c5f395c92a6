//! What clients see of the protocol: everything looks as if they talked to PostgreSQL itself.

mod cancel;
mod copy;
mod differential;
mod hostile;
mod large;
mod listeners;
mod login;
mod messages;
mod programs;
mod replication;
mod tls;
