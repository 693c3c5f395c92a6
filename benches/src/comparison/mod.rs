//! Clients' work, by several ways, measured in turns.

mod measure;
mod options;
mod plan;
mod report;
mod run;
mod stage;
mod system_calls;
mod target;
mod workload;

pub(crate) use options::Options;
pub(crate) use run::run;
