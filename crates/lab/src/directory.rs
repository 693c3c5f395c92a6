use std::{
    env, fs,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::secret::random_number;

/// The file that marks a directory as a cluster's.
pub(crate) const RECORD: &str = "cluster.txt";

/// A cluster's directory.
#[derive(Debug)]
pub(crate) enum Directory {
    /// Made (or found empty) now.
    New(PathBuf),
    /// Left behind by a kept cluster.
    Kept(PathBuf),
}

impl Directory {
    /// Makes or finds the directory; `None`: a new one in the system's temporary directory.
    ///
    /// # Errors
    /// When it holds something that is no cluster: removing it in the end would remove somebody's files.
    pub(crate) fn prepare(wish: Option<&Path>) -> Result<Self> {
        let path = match wish {
            Some(path) => path.to_owned(),
            None => env::temp_dir().join(format!("pgherd-{:08x}", random_number()?)),
        };
        if !path.exists() {
            // Servers may run as another user, who has to walk in; what is secret inside is closed by itself.
            let made = fs::DirBuilder::new().mode(0o755).create(&path);
            made.with_context(|| format!("could not make {}", path.display()))?;
            return Ok(Self::New(canonical(&path)?));
        }
        let path = canonical(&path)?;
        if path.join(RECORD).is_file() {
            return Ok(Self::Kept(path));
        }
        let mut entries =
            fs::read_dir(&path).with_context(|| format!("could not read {}", path.display()))?;
        if entries.next().is_some() {
            bail!("{} is neither empty nor the directory of a kept cluster", path.display());
        }
        Ok(Self::New(path))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        let (Self::New(path) | Self::Kept(path)) = self;
        path
    }
}

fn canonical(path: &Path) -> Result<PathBuf> {
    path.canonicalize().with_context(|| format!("could not resolve {}", path.display()))
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
        assert!(matches!(Directory::prepare(Some(&path)).unwrap(), Directory::New(_)));
        fs::write(path.join("thesis.tex"), "x").unwrap();
        assert!(Directory::prepare(Some(&path)).is_err());
        fs::write(path.join(RECORD), "x").unwrap();
        assert!(matches!(Directory::prepare(Some(&path)).unwrap(), Directory::Kept(_)));
        fs::remove_dir_all(path).unwrap();
    }
}
