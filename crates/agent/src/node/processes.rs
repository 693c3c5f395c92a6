//! PostgreSQL's processes of a data folder, found by where they work: a process id in a file may be a leftover that
//! belongs to somebody else by now.

use std::{
    fs,
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// A server's first process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Postmaster {
    pub(crate) pid: u32,
    pub(crate) says: Says,
}

/// What it says of itself in the last line of `postmaster.pid`, which `pg_ctl` waits for too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Says {
    /// It accepts connections.
    Ready,
    /// It follows a primary and accepts none.
    Standby,
    /// It recovers, or has said nothing yet.
    Starting,
    /// It shuts down.
    Stopping,
}

impl Postmaster {
    /// The one of a data folder.
    pub(crate) fn find(data: &Path) -> Option<Self> {
        let content = fs::read_to_string(data.join("postmaster.pid")).ok()?;
        let mut lines = content.lines();
        let pid = lines.next()?.trim().parse().ok()?;
        let says = match lines.nth(6).map(str::trim) {
            Some("ready") => Says::Ready,
            Some("standby") => Says::Standby,
            Some("stopping") => Says::Stopping,
            _ => Says::Starting,
        };
        is_server_in(pid, data).then_some(Self { pid, says })
    }
}

/// What the process is that `postmaster.pid` names, if it is not the folder's server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leftover {
    /// It is about to be gone.
    Exiting,
    /// It has ended and is only kept in the system's table, because whoever should have noticed has not: in a container
    /// the first process often does not. A server that starts would take it for a living one.
    Zombie,
    /// Nothing, or somebody else's by now.
    Nothing,
}

/// See [`Leftover`].
pub(crate) fn leftover(data: &Path) -> Leftover {
    let content = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    // a server for a single user writes a negative number
    let pid = content.lines().next().and_then(|line| line.trim().trim_start_matches('-').parse::<u32>().ok());
    let Some(pid) = pid else { return Leftover::Nothing };
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return Leftover::Nothing };
    // the name in parentheses may hold anything; the state follows it (proc(5))
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
    let exe = fs::read_link(format!("/proc/{pid}/exe"));
    let has_no_program = exe.is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound);
    match state {
        Some('Z') => Leftover::Zombie,
        _ if has_no_program => Leftover::Exiting,
        _ => Leftover::Nothing,
    }
}

/// The lock files of a server that `postmaster.pid` names: that file itself, and the one beside its socket, if it is the
/// same server's (of several sockets only the first is told; manual, "Database File Layout").
pub(crate) fn locks(data: &Path) -> Vec<PathBuf> {
    let file = data.join("postmaster.pid");
    let content = fs::read_to_string(&file).unwrap_or_default();
    let lines: Vec<&str> = content.lines().map(str::trim).collect();
    let mut locks = Vec::new();
    if let [pid, _, _, port, sockets, ..] = lines[..]
        && !sockets.is_empty()
    {
        let lock = data.join(sockets).join(format!(".s.PGSQL.{port}.lock"));
        let its = fs::read_to_string(&lock).unwrap_or_default();
        locks.extend(its.lines().next().is_some_and(|its| its.trim() == pid).then_some(lock));
    }
    // the last one, since the others are found by it
    locks.push(file);
    locks
}

/// All of PostgreSQL's processes that work in a data folder: a postmaster's children may outlive it for a moment, and
/// nothing can be started until they are gone.
pub(crate) fn servers_in(data: &Path) -> Vec<u32> {
    all().filter(|&pid| is_server_in(pid, data)).collect()
}

/// Programs that copy into `folders` on behalf of an agent that is gone.
pub(crate) fn copiers_into(folders: &[&Path]) -> Vec<u32> {
    let folders: Vec<&[u8]> = folders.iter().map(|path| path.as_os_str().as_encoded_bytes()).collect();
    let copies = |pid: &u32| {
        let is_copier = program(*pid).is_some_and(|name| name == "pg_basebackup" || name == "pg_rewind");
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        is_copier && arguments.split(|byte| *byte == 0).any(|argument| folders.contains(&argument))
    };
    all().filter(copies).collect()
}

/// Sends a signal; that a process is gone already is no error.
///
/// # Errors
/// When it belongs to somebody else.
pub(crate) fn signal(pid: u32, what: Signal) -> Result<(), Errno> {
    let pid = i32::try_from(pid).map_err(|_| Errno::ESRCH)?;
    match kill(Pid::from_raw(pid), what) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(errno) => Err(errno),
    }
}

fn all() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// The file name of the program that a process runs; an upgrade may have replaced it since.
fn program(pid: u32) -> Option<String> {
    let path = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let name = path.file_name()?.to_string_lossy().into_owned();
    Some(name.strip_suffix(" (deleted)").unwrap_or(&name).to_owned())
}

/// A zombie has no working directory, so it is none.
fn is_server_in(pid: u32, data: &Path) -> bool {
    fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|its| its == data)
        && program(pid).is_some_and(|name| name == "postgres" || name == "postmaster")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zombie_is_told_from_a_server() {
        let folder = std::env::temp_dir().join(format!("pgherd-zombie-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        fs::write(folder.join("postmaster.pid"), format!("{}\n", child.id())).unwrap();
        while leftover(&folder) != Leftover::Zombie {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert_eq!(leftover(&folder), Leftover::Nothing);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn locks_of_another_server_are_left_alone() {
        let folder = std::env::temp_dir().join(format!("pgherd-locks-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (own, lock) = (folder.join("postmaster.pid"), folder.join(".s.PGSQL.5432.lock"));
        let content = format!("7\n{0}\n1763770000\n5432\n{0}\n127.0.0.1\n 1 2\nready\n", folder.display());
        fs::write(&own, &content).unwrap();
        assert_eq!(locks(&folder).len(), 1);
        fs::write(&lock, "7\n").unwrap();
        assert_eq!(locks(&folder), [lock.clone(), own.clone()]);
        fs::write(&lock, "77\n").unwrap();
        assert_eq!(locks(&folder).len(), 1);
        // a server without sockets, and one for a single user
        fs::write(&own, "7\n/data\n1763770000\n5432\n\n127.0.0.1\n").unwrap();
        assert_eq!(locks(&folder).len(), 1);
        fs::write(&own, "-7\n").unwrap();
        assert_eq!(locks(&folder), [own]);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_leftover_process_id_is_not_believed() {
        let folder = std::env::temp_dir().join(format!("pgherd-processes-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("postmaster.pid"), format!("{}\n", std::process::id())).unwrap();
        assert_eq!(Postmaster::find(&folder), None);
        fs::write(folder.join("postmaster.pid"), "not a number\n").unwrap();
        assert_eq!(Postmaster::find(&folder), None);
        assert!(servers_in(&folder).is_empty());
        fs::remove_dir_all(folder).unwrap();
    }
}
