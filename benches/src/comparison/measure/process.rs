//! What a process and its descendants use, from /proc (manual page proc(5)).

use std::{collections::HashSet, fs, io, time::Duration};

use anyhow::{Context, Result};

/// What processes used of the processor so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Processor time, in the kernel's nanoseconds: far finer than the ticks of `/proc/pid/stat`.
    pub(crate) processor: Duration,
    /// Context switches of both kinds.
    pub(crate) switches: u64,
}

impl Usage {
    /// What came on top of `before`.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            processor: self.processor.saturating_sub(before.processor),
            switches: self.switches.saturating_sub(before.switches),
        }
    }
}

/// What all threads of the processes used so far. Threads and processes that have ended do not count.
///
/// # Errors
/// When the process is gone, or the kernel keeps no scheduler statistics.
pub(crate) fn usage(pid: u32) -> Result<Usage> {
    let mut total = Usage::default();
    for process in tree(pid) {
        let tasks = format!("/proc/{process}/task");
        let Some(entries) = unless_ended(process != pid, fs::read_dir(&tasks)).context(tasks)? else {
            continue;
        };
        for task in entries.flatten() {
            // Threads come and go; the one that the process began with stays.
            let read = |file: &str| unless_ended(true, fs::read_to_string(task.path().join(file)));
            let (Some(schedule), Some(status)) = (read("schedstat")?, read("status")?) else { continue };
            let running = schedule.split_whitespace().next().and_then(|field| field.parse().ok());
            total.processor +=
                Duration::from_nanos(running.with_context(|| format!("schedstat: {schedule}"))?);
            total.switches += switches(&status);
        }
    }
    Ok(total)
}

/// Context switches of a thread, from its `status`.
fn switches(status: &str) -> u64 {
    let counts = status.lines().filter_map(|line| line.split_once("ctxt_switches:"));
    counts.filter_map(|(_, count)| count.trim().parse::<u64>().ok()).sum()
}

/// The memory of processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory {
    /// Resident, in KiB; pages that several of them share count for each.
    pub(crate) rss_kib: u64,
    /// The same, each shared page divided by those who share it.
    pub(crate) pss_kib: u64,
}

/// The memory of the process and its descendants.
///
/// # Errors
/// When the process is gone or belongs to somebody else.
pub(crate) fn memory(pid: u32) -> Result<Memory> {
    let mut total = Memory { rss_kib: 0, pss_kib: 0 };
    for process in tree(pid) {
        let file = format!("/proc/{process}/smaps_rollup");
        let read = unless_ended(process != pid, fs::read_to_string(&file));
        let Some(text) = read.context(file.clone())? else { continue };
        let kib = |label: &str| -> Result<u64> {
            let line = text.lines().find_map(|line| line.strip_prefix(label));
            let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
            kib.with_context(|| format!("{file} has no {label}"))
        };
        total.rss_kib += kib("Rss:")?;
        total.pss_kib += kib("Pss:")?;
    }
    Ok(total)
}

/// How many files and sockets the process has open; 0 if it is gone.
pub(crate) fn open_files(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// `None` for what a process or thread that ended meanwhile left unread, where it `may_end`: a walk over /proc is no
/// snapshot.
fn unless_ended<T>(may_end: bool, read: io::Result<T>) -> io::Result<Option<T>> {
    let ended = |error: &io::Error| {
        error.kind() == io::ErrorKind::NotFound
            || error.raw_os_error() == Some(nix::errno::Errno::ESRCH as i32)
    };
    match read {
        Err(error) if may_end && ended(&error) => Ok(None),
        read => read.map(Some),
    }
}

/// The process and all its descendants.
pub(super) fn tree(pid: u32) -> HashSet<u32> {
    let mut tree = HashSet::from([pid]);
    let entries = fs::read_dir("/proc").into_iter().flatten();
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let mut others: Vec<(u32, u32)> = pids.filter_map(|pid| Some((pid, parent(pid)?))).collect();
    loop {
        let before = tree.len();
        others.retain(|(pid, parent)| !(tree.contains(parent) && tree.insert(*pid)));
        if tree.len() == before {
            return tree;
        }
    }
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the command in parentheses and may itself hold spaces and parentheses.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, id};

    use super::*;

    #[test]
    fn a_process_has_memory_and_has_used_the_processor() {
        assert!(usage(id()).unwrap().processor > Duration::ZERO);
        let Memory { rss_kib, pss_kib } = memory(id()).unwrap();
        assert!(rss_kib >= pss_kib && pss_kib > 0, "{rss_kib}, {pss_kib}");
        assert!(open_files(id()) > 0);
    }

    #[test]
    fn both_kinds_of_context_switches_count() {
        let status = "Name:\tx\nvoluntary_ctxt_switches:\t150\nnonvoluntary_ctxt_switches:\t545\n";
        assert_eq!(switches(status), 695);
        assert_eq!(switches("Name:\tx\n"), 0);
    }

    #[test]
    fn children_that_end_during_the_walk_are_left_out() {
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    Command::new("true").status().unwrap();
                }
            });
            for _ in 0..300 {
                memory(id()).unwrap();
                usage(id()).unwrap();
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        let mut child = Command::new("true").spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        assert!(memory(pid).is_err());
        assert!(usage(pid).is_err());
    }

    #[test]
    fn children_belong_to_the_tree() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let found = tree(id()).contains(&child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found);
    }
}
