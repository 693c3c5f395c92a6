//! On which cores everything runs.

use clap::ValueEnum;
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};
use serde::Serialize;

use anyhow::{Context, Result};

use super::process::tree;

/// Where clients, proxies and servers run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Placement {
    /// All of them on one core: the steadiest, and then tps stand for the processor time of the whole chain.
    OneCpu,
    /// On any core, as a user of this machine would have it.
    Unpinned,
}

impl Placement {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::OneCpu, Self::Unpinned];

    /// The name for people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::OneCpu => "one cpu",
            Self::Unpinned => "unpinned",
        }
    }
}

/// The cores that this process was given.
#[derive(Debug)]
pub(crate) struct Machine {
    all: CpuSet,
    last: usize,
    /// How many there are.
    pub(crate) cores: usize,
}

impl Machine {
    /// Looks.
    ///
    /// # Errors
    /// When the system does not say.
    pub(crate) fn look() -> Result<Self> {
        let all =
            sched_getaffinity(Pid::from_raw(0)).context("the system does not say which cores there are")?;
        let cores: Vec<_> = (0..CpuSet::count()).filter(|&core| all.is_set(core).unwrap_or(false)).collect();
        Ok(Self { all, last: cores.last().copied().unwrap_or_default(), cores: cores.len() })
    }

    /// Puts this thread, and what it starts from now on, in its place.
    ///
    /// # Errors
    /// When the system does not let it.
    pub(crate) fn place(&self, placement: Placement) -> Result<()> {
        self.place_thread(Pid::from_raw(0), placement)
    }

    /// Puts a process and its descendants in their place; what is not allowed to us stays where it is.
    pub(crate) fn place_processes(&self, pid: u32, placement: Placement) {
        for process in tree(pid) {
            let tasks = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
            for thread in tasks.filter_map(|task| task.file_name().to_str()?.parse().ok()) {
                // Threads come and go.
                let _ = self.place_thread(Pid::from_raw(thread), placement);
            }
        }
    }

    fn place_thread(&self, thread: Pid, placement: Placement) -> Result<()> {
        let mut one = CpuSet::new();
        one.set(self.last).context("the core has too high a number")?;
        let set = match placement {
            Placement::OneCpu => &one,
            Placement::Unpinned => &self.all,
        };
        sched_setaffinity(thread, set).context("the system does not let us choose cores")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_goes_to_one_core_and_back() {
        let machine = Machine::look().unwrap();
        machine.place(Placement::OneCpu).unwrap();
        assert_eq!(Machine::look().unwrap().cores, 1);
        machine.place(Placement::Unpinned).unwrap();
        assert_eq!(Machine::look().unwrap().cores, machine.cores);
    }
}
