use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, bail};

/// Major versions whose servers the lab knows how to run, newest first.
const SUPPORTED: std::ops::RangeInclusive<u32> = 13..=18;

/// The programs that a cluster needs, all in one directory in every distribution. pg_basebackup and pg_rewind make
/// standbys quicker; collections that carry little more than the server lack them.
const PROGRAMS: [&str; 3] = ["initdb", "postgres", "psql"];

/// A directory of PostgreSQL server programs of one supported version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    directory: PathBuf,
    major: u32,
}

impl Binaries {
    /// Looks in `PGHERD_PG_BIN`, then Debian's `/usr/lib/postgresql/18` down to `13`, then where `pg_config`
    /// points, then in `PATH`. A directory named by `PGHERD_PG_BIN` is the only one that counts.
    ///
    /// # Errors
    /// When there are none, with a word about how to install them; when `PGHERD_PG_BIN` names a directory
    /// without them.
    pub fn find() -> Result<Self> {
        if let Some(directory) = env::var_os("PGHERD_PG_BIN").filter(|value| !value.is_empty()) {
            let directory = PathBuf::from(directory);
            let Some(found) = Self::in_directory(&directory) else {
                bail!(
                    "PGHERD_PG_BIN is {}, where {} of PostgreSQL {} to {} are not all found",
                    directory.display(),
                    PROGRAMS.join(", "),
                    SUPPORTED.start(),
                    SUPPORTED.end(),
                );
            };
            return Ok(found);
        }
        let debian = SUPPORTED.rev().map(|major| PathBuf::from(format!("/usr/lib/postgresql/{major}/bin")));
        let path = env::var_os("PATH").unwrap_or_default();
        let searched = debian.chain(pg_config_bindir()).chain(env::split_paths(&path));
        for directory in searched {
            if let Some(found) = Self::in_directory(&directory) {
                return Ok(found);
            }
        }
        bail!(
            "no PostgreSQL server programs ({}) of version {} to {} found; install them (Debian, Ubuntu: \
             `apt-get install postgresql`; Fedora: `dnf install postgresql-server`) or name their directory in \
             PGHERD_PG_BIN",
            PROGRAMS.join(", "),
            SUPPORTED.start(),
            SUPPORTED.end(),
        );
    }

    /// The programs in `directory`, if all are there and of a supported version.
    fn in_directory(directory: &Path) -> Option<Self> {
        if !PROGRAMS.iter().all(|program| directory.join(program).is_file()) {
            return None;
        }
        let output = Command::new(directory.join("postgres")).arg("--version").output().ok()?;
        let major = major_version(&String::from_utf8_lossy(&output.stdout))?;
        SUPPORTED.contains(&major).then(|| Self { directory: directory.to_owned(), major })
    }

    /// Where they are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The major version, e.g. 15.
    #[must_use]
    pub fn major(&self) -> u32 {
        self.major
    }

    /// The path of one program, e.g. `pgbench`, whether it is there or not.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

/// What `pg_config --bindir` says, if there is a `pg_config`.
fn pg_config_bindir() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    let line = String::from_utf8(output.stdout).ok()?;
    Some(PathBuf::from(line.trim())).filter(|directory| directory.is_absolute())
}

/// The number behind `postgres (PostgreSQL) `: `15.3 (Debian …)`, `18beta1`.
fn major_version(text: &str) -> Option<u32> {
    let version = text.split_once("(PostgreSQL) ")?.1;
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_releases_and_betas() {
        assert_eq!(major_version("postgres (PostgreSQL) 15.3 (Debian 15.3-0+deb12u1)\n"), Some(15));
        assert_eq!(major_version("postgres (PostgreSQL) 18beta1\n"), Some(18));
        assert_eq!(major_version("postgres (EnterpriseDB) 15.3\n"), None);
        assert_eq!(major_version(""), None);
    }

    #[test]
    fn a_directory_without_the_programs_is_passed_over() {
        assert_eq!(Binaries::in_directory(Path::new("/nonexistent")), None);
        assert_eq!(Binaries::in_directory(Path::new("/")), None);
    }
}
