//! Sockets, TLS and the first words of a connection, both sides: clients are accepted and greeted, servers dialed
//! and logged in to. The only crate that opens a socket.
//!
//! Nothing here sets a deadline: whoever calls wraps the call in one, and dropping a future closes its socket.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]

mod cancel;
mod dial;
mod dial_error;
mod greet;
mod handover;
mod inbox;
mod listener;
mod login;
mod proxy_header;
mod query;
mod random;
mod server_connection;
mod settings;
mod socket;
mod stream;
#[cfg(test)]
mod tests;
mod tls;
mod unix_listener;
mod web;

pub use cancel::cancel;
pub use dial::{Login, Target, addresses, dial};
pub use dial_error::{AuthFailure, DialError, ServerError, TlsFailure};
pub use greet::{GreetError, Greeting, accept_startup};
pub use handover::{is_own_user, receive_descriptors, send_descriptors};
pub use inbox::ReadError;
pub use listener::Listener;
pub use proxy_header::{ProxyHeaderFailure, read_proxy_header};
pub use query::{QueryError, Row};
pub use random::fill_random;
pub use server_connection::{IdleMessage, Parameter, ServerConnection};
pub use settings::*;
pub use socket::Socket;
pub use stream::Stream;
pub use tls::{ClientTlsConfig, ServerTlsConfig, TlsFileError, WebTlsConfig};
pub use web::dial_web;
