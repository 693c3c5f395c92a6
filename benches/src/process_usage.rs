//! What a process and its descendants use, from /proc (manual page proc(5)).

use std::{collections::HashSet, fs, io, time::Duration};

use anyhow::{Context, Result};

/// Processor time that all threads of the processes used so far, in the kernel's nanoseconds: far finer than the ticks
/// of `/proc/pid/stat`. Threads and processes that have ended do not count.
///
/// # Errors
/// When the process is gone, or the kernel keeps no scheduler statistics.
pub(crate) fn processor_time(pid: u32) -> Result<Duration> {
    let mut total = Duration::ZERO;
    for process in tree(pid) {
        let tasks = format!("/proc/{process}/task");
        let Some(entries) = unless_ended(process != pid, fs::read_dir(&tasks)).context(tasks)? else {
            continue;
        };
        for task in entries.flatten() {
            let file = task.path().join("schedstat");
            let name = file.display().to_string();
            // Threads come and go; the one that the process began with stays.
            let Some(text) = unless_ended(true, fs::read_to_string(&file)).context(name.clone())? else {
                continue;
            };
            let running = text.split_whitespace().next().and_then(|field| field.parse().ok());
            total += Duration::from_nanos(running.with_context(|| format!("{name}: {text}"))?);
        }
    }
    Ok(total)
}

/// Memory of the processes in KiB, each shared page divided by those who share it (PSS).
///
/// # Errors
/// When the process is gone or belongs to somebody else.
pub(crate) fn memory_kib(pid: u32) -> Result<u64> {
    let mut total = 0;
    for process in tree(pid) {
        let file = format!("/proc/{process}/smaps_rollup");
        let read = unless_ended(process != pid, fs::read_to_string(&file));
        let Some(text) = read.context(file.clone())? else { continue };
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
        let kib: Option<u64> = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        total += kib.with_context(|| format!("{file} has no Pss"))?;
    }
    Ok(total)
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
fn tree(pid: u32) -> HashSet<u32> {
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
        assert!(processor_time(id()).unwrap() > Duration::ZERO);
        assert!(memory_kib(id()).unwrap() > 0);
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
                memory_kib(id()).unwrap();
                processor_time(id()).unwrap();
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        let mut child = Command::new("true").spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        assert!(memory_kib(pid).is_err());
        assert!(processor_time(pid).is_err());
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
