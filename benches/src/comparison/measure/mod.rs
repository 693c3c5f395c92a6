//! What is read while clients work: processor time, context switches and memory of a proxy, its system calls, and how
//! long each transaction took its client.

mod latency;
mod placement;
mod process;
mod syscalls;

use anyhow::Result;

pub(crate) use latency::Latency;
pub(crate) use placement::{Machine, Placement};
pub(crate) use process::{Memory, Usage, memory, open_files, usage};
pub(crate) use syscalls::Tracer;

use super::target::Target;

/// Reads what a proxy uses from now on.
#[derive(Debug)]
pub(crate) struct Meter {
    running: Option<(u32, Usage)>,
}

impl Meter {
    /// Begins. Nothing is measured where the process is not known.
    ///
    /// # Errors
    /// When the process is gone.
    pub(crate) fn start(target: &Target) -> Result<Self> {
        let running = target.pid().map(|pid| usage(pid).map(|usage| (pid, usage))).transpose()?;
        Ok(Self { running })
    }

    /// What was used since.
    ///
    /// # Errors
    /// When the process is gone.
    pub(crate) fn stop(self) -> Result<Option<Usage>> {
        self.running.map(|(pid, before)| Ok(usage(pid)?.since(before))).transpose()
    }
}
