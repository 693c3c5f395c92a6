use std::{
    os::unix::{
        fs::{MetadataExt, chown},
        process::CommandExt,
    },
    path::Path,
    process::Command,
};

use anyhow::{Context, Result, bail};
use nix::unistd::{Uid, User};

/// The operating system user that servers run as: PostgreSQL refuses to run as root.
#[derive(Debug, Clone)]
pub(crate) enum Account {
    /// Whoever runs the lab.
    Own,
    /// The lab runs as root; its servers run as this user.
    Other(Box<User>),
}

impl Account {
    /// The own user, or for root `postgres` if there is one and else `nobody`.
    pub(crate) fn choose() -> Result<Self> {
        if !Uid::effective().is_root() {
            return Ok(Self::Own);
        }
        for name in ["postgres", "nobody"] {
            if let Some(user) = User::from_name(name).with_context(|| format!("could not look up {name}"))? {
                return Ok(Self::Other(Box::new(user)));
            }
        }
        bail!("PostgreSQL does not run as root, and there is neither a user `postgres` nor `nobody`")
    }

    /// Makes `command` run as this user. The standard library also drops root's supplementary groups.
    pub(crate) fn apply(&self, command: &mut Command) {
        if let Self::Other(user) = self {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw()).env("HOME", "/").env("USER", &user.name);
        }
    }

    /// Makes this user the owner of `path`.
    pub(crate) fn give(&self, path: &Path) -> Result<()> {
        if let Self::Other(user) = self {
            chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
                .with_context(|| format!("could not give {} to {}", path.display(), user.name))?;
        }
        Ok(())
    }

    /// Checks that this user can walk into `directory`: initdb's own complaint does not say which parent is shut.
    pub(crate) fn check_reach(&self, directory: &Path) -> Result<()> {
        let Self::Other(user) = self else { return Ok(()) };
        for ancestor in directory.ancestors() {
            let metadata =
                ancestor.metadata().with_context(|| format!("could not read {}", ancestor.display()))?;
            let search = if metadata.uid() == user.uid.as_raw() {
                0o100
            } else if metadata.gid() == user.gid.as_raw() {
                0o010
            } else {
                0o001
            };
            if metadata.mode() & search == 0 {
                bail!(
                    "servers run as {}, who may not enter {}; choose another directory or run `chmod o+x {}`",
                    user.name,
                    ancestor.display(),
                    ancestor.display(),
                );
            }
        }
        Ok(())
    }
}
