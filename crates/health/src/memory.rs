//! What survives a restart, in a file of three lines.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use topology::{Epoch, Remembered};
use wire::TimelineId;

/// The longest state file that is read, in bytes.
const FILE_LIMIT: u64 = 4096;

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
}

/// What an earlier run remembered; `None` if there was none.
pub(crate) fn read(path: &Path) -> Result<Option<Remembered>, MemoryError> {
    let failed = |source| MemoryError::Read { path: path.into(), source };
    let text = match fs::metadata(path).and_then(|metadata| {
        if metadata.len() > FILE_LIMIT { Ok(String::new()) } else { fs::read_to_string(path) }
    }) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => String::new(),
        Err(error) => return Err(failed(error)),
    };
    parse(&text).map(Some).ok_or_else(|| MemoryError::Damaged { path: path.into() })
}

fn parse(text: &str) -> Option<Remembered> {
    let mut lines = text.lines();
    let mut value = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(" = ")?.parse::<u64>().ok();
    let system_id = value("system_id")?;
    let timeline = TimelineId(u32::try_from(value("timeline")?).ok()?);
    let epoch = Epoch(value("epoch")?);
    (lines.next().is_none() && text.ends_with('\n')).then_some(Remembered { system_id, timeline, epoch })
}

/// Replaces the file as a whole: after a crash it is the old one or the new one.
pub(crate) fn write(path: &Path, remembered: Remembered) -> io::Result<()> {
    let Remembered { system_id, timeline, epoch } = remembered;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    // Two proxies that share a directory by mistake must not write into one temporary file.
    name.push(format!(".{}.new", std::process::id()));
    let temporary = parent.join(name);
    let mut file = File::create(&temporary)?;
    write!(file, "system_id = {system_id}\ntimeline = {timeline}\nepoch = {epoch}\n")?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(parent)?.sync_all()
}

#[cfg(test)]
mod tests {
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

    const REMEMBERED: Remembered =
        Remembered { system_id: 7_412_345_678_901_234_567, timeline: TimelineId(3), epoch: Epoch(12) };

    #[test]
    fn what_is_written_is_read_back_and_leaves_no_other_file() {
        let folder = Folder::new("memory");
        let path = folder.0.join("sub/main.state");
        assert_eq!(read(&path).unwrap(), None);
        for epoch in [12, 13] {
            let remembered = Remembered { epoch: Epoch(epoch), ..REMEMBERED };
            write(&path, remembered).unwrap();
            assert_eq!(read(&path).unwrap(), Some(remembered));
        }
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_damaged_file_is_refused_whatever_the_damage() {
        let folder = Folder::new("damaged");
        let path = folder.0.join("main.state");
        write(&path, REMEMBERED).unwrap();
        let whole = fs::read_to_string(&path).unwrap();
        let mut damaged: Vec<Vec<u8>> =
            (0..whole.len()).map(|len| whole.as_bytes()[..len].to_vec()).collect();
        damaged.push(whole.replace("timeline = 3", "timeline = 4294967296").into());
        damaged.push(format!("{whole}more = 1\n").into());
        damaged.push(vec![0xff; 100]);
        damaged.push(vec![b'x'; 10_000]);
        for content in damaged {
            fs::write(&path, &content).unwrap();
            assert!(matches!(read(&path), Err(MemoryError::Damaged { .. })), "{content:?}");
        }
    }
}
