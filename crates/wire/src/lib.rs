//! Bytes to frames and messages, both directions, without allocation where the traffic passes.
//!
//! Pure: no socket, clock or log. Everything that reads here reads hostile bytes, so nothing indexes, nothing
//! overflows and nothing allocates what a length field merely claims.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]

pub mod frame;
pub mod message;
mod position;
mod proxy_header;
mod reader;
mod sqlstate;

pub use position::{Lsn, ParseLsnError, TimelineId};
pub use proxy_header::{ProxyHeader, ProxyHeaderError};
pub use reader::{Malformed, Reader};
pub use sqlstate::SqlState;
