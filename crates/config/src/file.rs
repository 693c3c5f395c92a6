//! Reading files, secret ones with care.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::Path,
};

/// A file's use to us; decides what it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// May be read by everybody.
    Public,
    /// Must not be accessible to users outside the file's group.
    Secret,
}

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it is no file")]
    NoFile,
    #[error("it holds secrets and everybody may access it; chmod o-rwx it")]
    WorldAccessible,
    #[error("it is longer than {FILE_MAX} bytes")]
    TooLong,
    #[error("it is not UTF-8")]
    NotText,
}

/// No configuration or userlist is longer.
const FILE_MAX: u64 = 16 << 20;

/// Reads a whole text file. The permissions are those of the file that was opened, not of a path that may change.
///
/// # Errors
/// [`FileError`] if it cannot be read, is not text, or may be read by more users than `content` allows.
pub(crate) fn read(path: &Path, content: Content) -> Result<String, FileError> {
    let file = open(path, content)?;
    let mut bytes = Vec::new();
    file.take(FILE_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(FileError::TooLong);
    }
    String::from_utf8(bytes).map_err(|_| FileError::NotText)
}

/// Checks a file that somebody else will read.
///
/// # Errors
/// As [`read`].
pub(crate) fn check(path: &Path, content: Content) -> Result<(), FileError> {
    open(path, content).map(drop)
}

/// Whether everybody may read the file.
pub(crate) fn is_public(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o007 != 0)
}

fn open(path: &Path, content: Content) -> Result<File, FileError> {
    if !path.metadata()?.is_file() {
        return Err(FileError::NoFile); // before it is opened, which may wait for ever on a pipe
    }
    let file = File::open(path)?;
    let mode = file.metadata()?.permissions().mode();
    match content {
        Content::Secret if mode & 0o007 != 0 => Err(FileError::WorldAccessible),
        Content::Secret | Content::Public => Ok(file),
    }
}
