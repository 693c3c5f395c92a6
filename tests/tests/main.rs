//! The product from end to end, a module per topic. See the library of this package for what tests are built on.

#![expect(clippy::unwrap_used, reason = "a test panics where it cannot go on")]

mod admin;
mod agent;
mod config;
mod crosstalk;
mod deaths;
mod demo;
mod doctor;
mod drivers;
mod failover;
mod in_process;
mod load;
mod matrix;
mod model;
mod patroni;
mod pooling;
mod protocol;
mod regress;
mod routing;
mod storms;
mod tidy;
mod topology;
