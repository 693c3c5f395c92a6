//! Failovers under load, by several contenders.

mod access;
mod load;
mod options;
mod patroni;
mod patroni_configuration;
mod pgherd;
mod pgherd_configuration;
mod pgpool;
mod pgpool_configuration;
mod process;
mod report;
mod round;
mod run;
mod stack;

pub(crate) use options::Options;
pub(crate) use run::run;
