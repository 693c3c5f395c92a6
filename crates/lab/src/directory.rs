use std::{
    env,
    fs::{self, File, TryLockError},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::secret::random_number;

/// The file that marks a directory as a cluster's.
pub(crate) const RECORD: &str = "cluster.txt";

/// The file whose lock says that the directory is in use.
const LOCK: &str = "cluster.lock";

/// How often a lock is tried, for two seconds in all. A child that a program forked while it had the lock open shares it until the child
/// runs its own program, and a warden holds it until the last of its processes is gone: neither is a running cluster.
const LOCK_TRIES: u32 = 200;

/// The pause between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// A cluster's directory.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    origin: Origin,
    lock: File,
}

/// What a directory was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Made (or found empty) now.
    New,
    /// Left behind by a kept cluster.
    Kept,
}

impl Directory {
    /// Makes or finds the directory; `None`: a new one in the system's temporary directory. It is locked, so that
    /// nobody else begins in it and takes what runs there for something left behind.
    ///
    /// # Errors
    /// When a cluster runs in it, or when it holds something that is no cluster: removing it in the end would remove
    /// somebody's files.
    pub(crate) fn prepare(wish: Option<&Path>) -> Result<Self> {
        let path = match wish {
            Some(path) => path.to_owned(),
            None => env::temp_dir().join(format!("pgherd-{:08x}", random_number()?)),
        };
        if !path.exists() {
            // Servers may run as another user, who has to walk in; what is secret inside is closed by itself.
            let made = fs::DirBuilder::new().mode(0o755).create(&path);
            made.with_context(|| format!("could not make {}", path.display()))?;
        }
        let path = path.canonicalize().with_context(|| format!("could not resolve {}", path.display()))?;
        let is_kept = || path.join(RECORD).is_file();
        if !path.join(LOCK).exists() && !is_kept() {
            check_empty(&path)?;
        }
        let lock = lock(&path)?;
        let origin = if is_kept() { Origin::Kept } else { Origin::New };
        if origin == Origin::New {
            check_empty(&path)?;
        }
        Ok(Self { path, origin, lock })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What it was before.
    pub(crate) fn origin(&self) -> Origin {
        self.origin
    }

    /// The lock. It lasts until the last process that has this file open is gone.
    pub(crate) fn into_lock(self) -> File {
        self.lock
    }
}

/// That there is nothing in it, a lock apart.
fn check_empty(path: &Path) -> Result<()> {
    let mut entries =
        fs::read_dir(path).with_context(|| format!("could not read {}", path.display()))?.flatten();
    if entries.any(|entry| entry.file_name() != LOCK) {
        bail!("{} is neither empty nor the directory of a kept cluster", path.display());
    }
    Ok(())
}

fn lock(directory: &Path) -> Result<File> {
    let path = directory.join(LOCK);
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).open(&path);
    let file = file.with_context(|| format!("could not open {}", path.display()))?;
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("could not lock {}", path.display()));
            }
        }
    }
    bail!("another cluster runs in {}", directory.display())
}

/// Writes a file that only its owner can read, whole or not at all: a reader sees the old file or the new one.
///
/// # Errors
/// When the folder cannot be written to.
pub fn write_private(path: &Path, content: &str) -> Result<()> {
    use std::io::Write as _;
    let mut name = path.file_name().context("a file has a name")?.to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    let _ = fs::remove_file(&new);
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)
        .with_context(|| format!("could not make {}", new.display()))?;
    file.write_all(content.as_bytes()).with_context(|| format!("could not write {}", new.display()))?;
    fs::rename(&new, path).with_context(|| format!("could not replace {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_with_foreign_files_is_refused() {
        let directory = Directory::prepare(None).unwrap();
        let path = directory.path().to_owned();
        assert!(Directory::prepare(Some(&path)).is_err(), "it is locked");
        drop(directory);
        assert_eq!(Directory::prepare(Some(&path)).unwrap().origin(), Origin::New);
        fs::write(path.join("thesis.tex"), "x").unwrap();
        assert!(Directory::prepare(Some(&path)).is_err());
        fs::write(path.join(RECORD), "x").unwrap();
        assert_eq!(Directory::prepare(Some(&path)).unwrap().origin(), Origin::Kept);
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_lock_that_is_let_go_in_a_moment_is_waited_for() {
        let directory = Directory::prepare(None).unwrap();
        let path = directory.path().to_owned();
        let holder = thread::spawn(move || {
            thread::sleep(LOCK_PAUSE * 5);
            drop(directory);
        });
        Directory::prepare(Some(&path)).unwrap();
        holder.join().unwrap();
        fs::remove_dir_all(path).unwrap();
    }
}
