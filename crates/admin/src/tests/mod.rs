//! The console over a byte stream, and the scene that its tests share.

mod driver;
mod extended;
mod scene;
mod simple;

pub(crate) use scene::{Fake, reports, some_agents, world};
