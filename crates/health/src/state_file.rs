//! Small files of state, read whole and replaced whole.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use crate::MemoryError;

/// The longest that is read, in bytes.
const FILE_LIMIT: u64 = 1 << 20;

/// Its text; `None` if there is no such file. What is too long or no text is empty, which no state file is.
pub(crate) fn read(path: &Path) -> Result<Option<String>, MemoryError> {
    let text = fs::metadata(path).and_then(|metadata| {
        if metadata.len() > FILE_LIMIT { Ok(String::new()) } else { fs::read_to_string(path) }
    });
    match text {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Some(String::new())),
        Err(source) => Err(MemoryError::Read { path: path.into(), source }),
    }
}

/// Replaces the file as a whole: after a crash it is the old one or the new one. It stays if `is_obsolete` says so, which
/// is asked while nobody else can write.
pub(crate) fn replace(path: &Path, content: &str, is_obsolete: impl FnOnce() -> bool) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent)?;
    let directory = File::open(parent)?;
    directory.lock()?; // until it is dropped: nobody else writes between the look and the change
    if is_obsolete() {
        return Ok(());
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    // Two proxies that share a directory by mistake must not write into one temporary file.
    name.push(format!(".{}.new", std::process::id()));
    let temporary = parent.join(name);
    let mut file = File::create(&temporary)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    directory.sync_all()
}
