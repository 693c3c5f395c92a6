//! Where things stand: the data folder, and what the agent keeps beside it. Nothing of the agent's is inside, since
//! `pg_rewind` removes what its source does not have, and a copy replaces the folder as a whole.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// Paths of a node.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// The data folder itself.
    pub(crate) data: PathBuf,
}

impl Places {
    /// Resolves symbolic links, so that the folder can be told from what a server's process says it works in. The
    /// folder need not be there, but the one around it.
    ///
    /// # Errors
    /// When that is not there.
    pub(crate) fn of(data_dir: &Path) -> io::Result<Self> {
        if let Ok(data) = data_dir.canonicalize() {
            return Ok(Self { data });
        }
        let name = data_dir.file_name().ok_or_else(|| io::Error::other("it has no name"))?;
        let parent = data_dir.parent().unwrap_or(Path::new("/")).canonicalize()?;
        Ok(Self { data: parent.join(name) })
    }

    fn beside(&self, ending: &str) -> PathBuf {
        let mut name = self.data.file_name().unwrap_or_default().to_owned();
        name.push(ending);
        self.data.with_file_name(name)
    }

    /// The folder around it.
    pub(crate) fn parent(&self) -> &Path {
        self.data.parent().unwrap_or(Path::new("/"))
    }

    /// Its presence says that the server must not be started.
    pub(crate) fn fence(&self) -> PathBuf {
        self.beside(".fenced")
    }

    /// Locked while an agent looks after the folder.
    pub(crate) fn lock(&self) -> PathBuf {
        self.beside(".agent-lock")
    }

    /// What the server prints while it starts, unless another file is configured.
    pub(crate) fn log(&self) -> PathBuf {
        self.beside(".log")
    }

    /// The node's own configuration while a rewind is under way; its presence says that it was not finished.
    pub(crate) fn own(&self) -> PathBuf {
        self.beside(".own")
    }

    /// The same before it is whole.
    pub(crate) fn own_part(&self) -> PathBuf {
        self.beside(".own-part")
    }

    /// A copy that is being made.
    pub(crate) fn copying(&self) -> PathBuf {
        self.beside(".copying")
    }

    /// A copy that is whole and checked, about to take the place of the data.
    pub(crate) fn copied(&self) -> PathBuf {
        self.beside(".copied")
    }

    /// The data that a copy took the place of.
    pub(crate) fn before_reinit(&self) -> PathBuf {
        self.beside(".before-reinit")
    }

    /// What is being removed.
    pub(crate) fn removing(&self) -> PathBuf {
        self.beside(".removing")
    }

    /// `standby.signal` while a crashed standby is recovered.
    pub(crate) fn standby_aside(&self) -> PathBuf {
        self.data.join("standby.signal.pgherd")
    }

    /// Whether there is a data folder with something in it.
    pub(crate) fn has_data(&self) -> bool {
        self.data.join("PG_VERSION").is_file()
    }

    /// Whether its files make the server a standby (or one that recovers from an archive).
    pub(crate) fn is_standby(&self) -> bool {
        ["standby.signal", "recovery.signal"].iter().any(|name| self.data.join(name).exists())
    }

    /// Whether the folder can be renamed: it cannot where a file system is mounted on it.
    pub(crate) fn is_mount_point(&self) -> bool {
        let device = |path: &Path| path.metadata().map(|metadata| metadata.dev()).ok();
        self.data.exists() && device(&self.data) != device(self.parent())
    }

    /// The major version of the data.
    pub(crate) fn major_version(&self) -> Option<u32> {
        fs::read_to_string(self.data.join("PG_VERSION")).ok()?.trim().parse().ok()
    }

    /// Brings the folders beside the data into order after an end in the middle of things. Wherever a copy was
    /// interrupted, the data folder is then the old one as a whole or the new one as a whole.
    ///
    /// # Errors
    /// When a folder cannot be renamed.
    pub(crate) fn settle(&self) -> io::Result<Option<&'static str>> {
        let said = if self.data.exists() {
            None
        } else if self.copied().exists() {
            // between the two renames of a swap: the copy is whole
            fs::rename(self.copied(), &self.data)?;
            Some("finished the swap of a copy that was interrupted")
        } else if self.before_reinit().exists() {
            fs::rename(self.before_reinit(), &self.data)?;
            Some("put the data back after an interrupted swap")
        } else {
            None
        };
        // a recovery that was interrupted: without the file the next start would make a primary
        if self.standby_aside().exists() {
            fs::rename(self.standby_aside(), self.data.join("standby.signal"))?;
        }
        sync(self.parent())?;
        self.discard(&self.copying())?;
        self.discard(&self.copied())?;
        let _ = fs::remove_dir_all(self.own_part());
        Ok(said)
    }

    /// Removes a folder that may be large: it is out of the way at once, and removed by [`Places::sweep`].
    ///
    /// # Errors
    /// When it cannot be renamed.
    pub(crate) fn discard(&self, folder: &Path) -> io::Result<()> {
        if !folder.exists() {
            return Ok(());
        }
        let place = self.removing();
        fs::create_dir_all(&place)?;
        let free = (0..u32::MAX).map(|number| place.join(number.to_string())).find(|path| !path.exists());
        fs::rename(folder, free.ok_or_else(|| io::Error::other("no name is free"))?)
    }

    /// Removes what was discarded. Blocks.
    pub(crate) fn sweep(&self) -> io::Result<()> {
        match fs::remove_dir_all(self.removing()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

/// Makes renames and new names in a folder last.
///
/// # Errors
/// When the system says so.
pub(crate) fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Writes a file for its owner alone, whole or not at all, and lasting.
///
/// # Errors
/// When the folder cannot be written to.
pub(crate) fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    let _ = fs::remove_file(&new);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    sync(path.parent().unwrap_or(Path::new("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("pgherd-places-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn folder(&self, ending: &str, content: &str) {
            let path = self.0.join(format!("main{ending}"));
            fs::create_dir_all(&path).unwrap();
            fs::write(path.join("PG_VERSION"), content).unwrap();
        }

        fn places(&self) -> Places {
            Places::of(&self.0.join("main")).unwrap()
        }

        fn data(&self) -> String {
            fs::read_to_string(self.0.join("main/PG_VERSION")).unwrap()
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn an_interrupted_copy_leaves_the_old_data() {
        let scratch = Scratch::new("copying");
        scratch.folder("", "old");
        scratch.folder(".copying", "half");
        scratch.places().settle().unwrap();
        assert_eq!(scratch.data(), "old");
        assert!(!scratch.places().copying().exists());
    }

    #[test]
    fn a_copy_that_was_not_swapped_in_yet_is_forgotten() {
        let scratch = Scratch::new("copied");
        scratch.folder("", "old");
        scratch.folder(".copied", "new");
        scratch.places().settle().unwrap();
        assert_eq!(scratch.data(), "old");
        assert!(!scratch.places().copied().exists());
        scratch.places().sweep().unwrap();
        assert!(!scratch.places().removing().exists());
    }

    #[test]
    fn a_swap_that_was_interrupted_in_the_middle_is_finished() {
        let scratch = Scratch::new("swap");
        scratch.folder(".before-reinit", "old");
        scratch.folder(".copied", "new");
        assert!(scratch.places().settle().unwrap().is_some());
        assert_eq!(scratch.data(), "new");
        assert!(scratch.places().before_reinit().exists());
    }

    #[test]
    fn without_a_copy_the_old_data_comes_back() {
        let scratch = Scratch::new("back");
        scratch.folder(".before-reinit", "old");
        scratch.places().settle().unwrap();
        assert_eq!(scratch.data(), "old");
    }

    #[test]
    fn a_missing_data_folder_still_has_places() {
        let scratch = Scratch::new("spare");
        assert!(!scratch.places().has_data());
        assert!(scratch.places().fence().ends_with("main.fenced"));
        assert!(Places::of(Path::new("/nonexistent/at/all")).is_err());
    }
}
