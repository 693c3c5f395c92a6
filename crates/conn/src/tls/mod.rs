//! TLS 1.2 and 1.3 by rustls, both sides.

mod client_side;
mod pem;
mod server_side;
mod verify;
mod web;

pub use client_side::ClientTlsConfig;
pub use pem::TlsFileError;
pub use server_side::ServerTlsConfig;
pub use web::WebTlsConfig;

/// The application protocol of a TLS connection (manual, "SSL Session Encryption").
pub(crate) const ALPN: &[u8] = b"postgresql";
