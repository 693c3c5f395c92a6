//! Both ends of the protocol for tests: a client that sends what it is told to, byte for byte, and a server that
//! answers by script. For tests only, so what cannot go on panics, and every wait has a deadline.

mod batch;
mod client;
mod message;
mod server;

pub use batch::Batch;
pub use client::{Client, Connecting, ConnectionParameters, Refused};
pub use message::Message;
pub use server::{FakeServer, Peer};

/// How long anything may take that a test waits for.
pub const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);
