//! One file per message family.

pub mod backend;
pub mod error;
pub mod frontend;
pub mod startup;
