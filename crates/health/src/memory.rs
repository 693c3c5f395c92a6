//! What survives a restart, in a file of a few lines.

use std::{
    io,
    path::{Path, PathBuf},
};

use topology::{Branch, Epoch, Fork, Remembered};
use wire::TimelineId;

use crate::state_file;

/// A state file that cannot be used. Starting without it could mean to write to an abandoned timeline, so a person
/// has to look.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// It cannot be read.
    #[error("cannot read the state file {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It was not written by pgherd, or not wholly.
    #[error("the state file {path} is damaged; remove it if the cluster has just one primary")]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The same of the file of standing orders.
    #[error(
        "the state file {path} is damaged; remove it, and say MAINTENANCE ON and DETACH NODE again where they hold"
    )]
    DamagedOrders {
        /// The file.
        path: PathBuf,
    },
}

/// What an earlier run remembered; `None` if there was none.
pub(crate) fn read(path: &Path) -> Result<Option<Remembered>, MemoryError> {
    let Some(text) = state_file::read(path)? else { return Ok(None) };
    parse(&text).map(Some).ok_or_else(|| MemoryError::Damaged { path: path.into() })
}

/// The lines are those of [`content`]; versions that knew no branch wrote three.
fn parse(text: &str) -> Option<Remembered> {
    let lines: Option<Vec<_>> = text.lines().map(|line| line.split_once(" = ")).collect();
    let lines = lines.filter(|_| text.ends_with('\n'))?;
    let [("system_id", system_id), ("timeline", timeline), middle @ .., ("epoch", epoch)] = lines.as_slice()
    else {
        return None;
    };
    let (branch, sync_names) = match middle {
        [branch @ .., ("sync_names", names)] => (branch, Some((*names).into())),
        branch => (branch, None),
    };
    Some(Remembered {
        system_id: system_id.parse().ok()?,
        timeline: TimelineId(timeline.parse().ok()?),
        branch: if branch.is_empty() { None } else { Some(parse_branch(branch)?) },
        sync_names,
        epoch: Epoch(epoch.parse().ok()?),
    })
}

fn parse_branch(lines: &[(&str, &str)]) -> Option<Branch> {
    let [("written_at", address), ("wal_lsn", wal_lsn), rest @ ..] = lines else { return None };
    let (others, fork) = rest.split_at(rest.iter().take_while(|(name, _)| *name == "other_node").count());
    let fork = match fork {
        [] => None,
        [("parent", parent), ("switch_lsn", switch_lsn)] => {
            Some(Fork { timeline: TimelineId(parent.parse().ok()?), switch_lsn: switch_lsn.parse().ok()? })
        }
        _ => return None,
    };
    Some(Branch {
        address: (*address).into(),
        others: others.iter().map(|(_, address)| (*address).into()).collect(),
        wal_lsn: wal_lsn.parse().ok()?,
        fork,
    })
}

/// The epoch stands last, so that a file which lacks its end is not taken for an older version's.
fn content(remembered: &Remembered) -> String {
    let Remembered { system_id, timeline, branch, sync_names, epoch } = remembered;
    let mut content = format!("system_id = {system_id}\ntimeline = {timeline}\n");
    if let Some(Branch { address, others, wal_lsn, fork }) = branch {
        content += &format!("written_at = {address}\nwal_lsn = {wal_lsn}\n");
        for other in others.iter() {
            content += &format!("other_node = {other}\n");
        }
        if let Some(Fork { timeline, switch_lsn }) = fork {
            content += &format!("parent = {timeline}\nswitch_lsn = {switch_lsn}\n");
        }
    }
    if let Some(names) = sync_names {
        // what does not fit into a line is remembered as something that cannot be read
        let line = if names.contains(char::is_control) { "?" } else { names };
        content += &format!("sync_names = {line}\n");
    }
    content + &format!("epoch = {epoch}\n")
}

/// Replaces the file as a whole: after a crash it is the old one or the new one. One that knows of a later timeline or
/// epoch stays: while a new process takes over, the old one still runs, and may see less.
pub(crate) fn write(path: &Path, remembered: &Remembered) -> io::Result<()> {
    state_file::replace(path, &content(remembered), || {
        read(path).is_ok_and(|present| present.is_some_and(|present| is_later(&present, remembered)))
    })
}

/// Whether `present` tells more of the same cluster than `other`.
fn is_later(present: &Remembered, other: &Remembered) -> bool {
    let age = |remembered: &Remembered| (remembered.timeline, remembered.epoch);
    present.system_id == other.system_id && age(present) > age(other)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use wire::Lsn;

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("pgherd-health-{}-{name}", std::process::id()));
            fs::create_dir(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn branches() -> [Option<Branch>; 3] {
        let others = ["b.example:5432".into(), "/run/postgres = c:5433".into()].into();
        let branch = Branch { address: "::1:5432".into(), others, wal_lsn: Lsn(0x3_0000_0148), fork: None };
        let fork = Some(Fork { timeline: TimelineId(2), switch_lsn: Lsn(0x300_0148) });
        [None, Some(Branch { fork, others: [].into(), ..branch.clone() }), Some(branch)]
    }

    fn remembered(branch: Option<Branch>) -> Remembered {
        let sync_names =
            branch.as_ref().and_then(|branch| branch.fork).map(|_| "ANY 1 (\"a = b\", c)".into());
        let (system_id, timeline) = (7_412_345_678_901_234_567, TimelineId(3));
        Remembered { system_id, timeline, branch, sync_names, epoch: Epoch(12) }
    }

    #[test]
    fn what_is_written_is_read_back_and_leaves_no_other_file() {
        let folder = Folder::new("memory");
        let path = folder.0.join("sub/main.state");
        assert_eq!(read(&path).unwrap(), None);
        for branch in branches() {
            write(&path, &remembered(branch.clone())).unwrap();
            assert_eq!(read(&path).unwrap(), Some(remembered(branch)));
        }
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_process_that_sees_less_does_not_undo_what_another_has_written() {
        let folder = Folder::new("later");
        let path = folder.0.join("main.state");
        let newer = remembered(None);
        write(&path, &newer).unwrap();
        for older in [
            Remembered { timeline: TimelineId(2), epoch: Epoch(40), ..newer.clone() },
            Remembered { epoch: Epoch(11), ..newer.clone() },
        ] {
            write(&path, &older).unwrap();
            assert_eq!(read(&path).unwrap().as_ref(), Some(&newer));
        }
        let other = Remembered { system_id: 1, timeline: TimelineId(1), ..newer };
        write(&path, &other).unwrap();
        assert_eq!(read(&path).unwrap(), Some(other));
    }

    #[test]
    fn a_file_of_an_earlier_version_is_read() {
        let text = "system_id = 7412345678901234567\ntimeline = 3\nepoch = 12\n";
        assert_eq!(parse(text), Some(remembered(None)));
    }

    #[test]
    fn a_damaged_file_is_refused_whatever_the_damage() {
        let folder = Folder::new("damaged");
        let path = folder.0.join("main.state");
        for branch in branches() {
            let whole = content(&remembered(branch));
            let mut damaged: Vec<Vec<u8>> =
                (0..whole.len()).map(|len| whole.as_bytes()[..len].to_vec()).collect();
            damaged.push(whole.replace("timeline = 3", "timeline = 4294967296").into());
            damaged.push(format!("{whole}more = 1\n").into());
            damaged.push(vec![0xff; 100]);
            damaged.push(vec![b'x'; 2 << 20]);
            for content in damaged {
                fs::write(&path, &content).unwrap();
                assert!(matches!(read(&path), Err(MemoryError::Damaged { .. })), "{content:?}");
            }
        }
    }
}
