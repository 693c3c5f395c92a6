//! What is a node's own in its data folder: its configuration and certificates. `pg_rewind` and `pg_basebackup` bring
//! the other node's along, so they are put aside before and put back afterwards.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{Node, auto_conf, conninfo::Conninfo, machine, places};
use crate::api::{Refusal, SourceRequest};

/// How deep folders of configuration go.
const DEPTH_MAX: usize = 8;

/// How the node has replicated so far, as its configuration says.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Replication {
    pub(super) primary_conninfo: String,
    pub(super) primary_slot_name: String,
}

/// There may be a password in it.
impl std::fmt::Debug for Replication {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replication")
            .field("primary_slot_name", &self.primary_slot_name)
            .finish_non_exhaustive()
    }
}

/// The name of [`Replication`] among what was put aside.
const REPLICATION: &str = "replication.json";
/// The folder of the files among what was put aside.
const FILES: &str = "files";

impl Node {
    /// How the node has replicated so far. What was put aside before an interrupted rewind wins: the configuration in
    /// the data folder may be the other node's since. Nothing is known where there are no data.
    pub(super) async fn replication(&self) -> Replication {
        if let Ok(text) = fs::read(self.places.own().join(REPLICATION)) {
            return serde_json::from_slice(&text).unwrap_or_default();
        }
        // a configuration that cannot be read must not keep a node from coming back
        Replication {
            primary_conninfo: self.configured("primary_conninfo").await.unwrap_or_default(),
            primary_slot_name: self.configured("primary_slot_name").await.unwrap_or_default(),
        }
    }

    /// Puts the node's own files aside, unless an interrupted rewind has done so already. From then on until
    /// [`Node::own_is_back`] the server is not started.
    ///
    /// # Errors
    /// When a file cannot be copied.
    pub(super) fn put_own_aside(&self, replication: &Replication) -> Result<(), Refusal> {
        let place = self.places.own();
        if place.exists() {
            return Ok(());
        }
        let work = || -> io::Result<()> {
            let part = self.places.own_part();
            let _ = fs::remove_dir_all(&part);
            make_private(&part)?;
            self.copy_own(&self.places.data, &part.join(FILES))?;
            places::write_whole(&part.join(REPLICATION), &serde_json::to_vec(replication)?)?;
            fs::rename(&part, &place)?;
            places::sync(self.places.parent())
        };
        work().map_err(|error| machine("could not put the node's configuration aside", &error))
    }

    /// Puts the node's own files into a data folder that came from elsewhere, and makes it a standby's. `previous`
    /// says whether there are any.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(super) fn make_standby(
        &self,
        data: &Path,
        own: Own,
        request: &SourceRequest,
        replication: &Replication,
        password: Option<&str>,
    ) -> Result<(), Refusal> {
        let work = || -> io::Result<()> {
            match own {
                Own::Aside => copy(&self.places.own().join(FILES), data, DEPTH_MAX)?,
                Own::InPlace => self.copy_own(&self.places.data, data)?,
                Own::Nothing => {}
            }
            let path = data.join("postgresql.auto.conf");
            let text = fs::read_to_string(&path).unwrap_or_default();
            let conninfo = self.conninfo(request, replication, password);
            let slot = request.slot.as_deref().or(Some(&replication.primary_slot_name));
            let slot = slot.filter(|slot| !slot.is_empty());
            let settings = [("primary_conninfo", Some(conninfo.as_str())), ("primary_slot_name", slot)];
            places::write_whole(&path, auto_conf::with(&text, &settings).as_bytes())?;
            let _ = fs::remove_file(data.join("recovery.signal"));
            places::write_whole(&data.join("standby.signal"), b"")
        };
        work().map_err(|error| machine("could not write the standby's configuration", &error))
    }

    /// A rewind is finished.
    ///
    /// # Errors
    /// When what was put aside cannot be removed.
    pub(super) fn own_is_back(&self) -> Result<(), Refusal> {
        let discarded = self.places.discard(&self.places.own());
        discarded.map_err(|error| machine("could not remove what was put aside", &error))?;
        self.sweep();
        Ok(())
    }

    /// The standby's `primary_conninfo`: what it was, with another host and port; what it lacks is the agent's.
    fn conninfo(&self, request: &SourceRequest, replication: &Replication, password: Option<&str>) -> String {
        let source = &self.settings.source;
        let mut all = Conninfo::parse(&replication.primary_conninfo).unwrap_or_else(|error| {
            tracing::warn!("primary_conninfo: {error}; the agent's own settings are used");
            Conninfo::default()
        });
        for keyword in ["hostaddr", "service", "dbname", "target_session_attrs"] {
            all.remove(keyword);
        }
        all.set("host", request.host.as_str());
        all.set("port", request.port.to_string());
        let is_own_role = all.value("user").is_none_or(str::is_empty);
        all.set_missing("user", source.user.as_str());
        if let Some(password) = password.filter(|_| is_own_role && all.value("passfile").is_none()) {
            all.set_missing("password", password);
        }
        all.set_missing("sslmode", source.ssl_mode.as_str());
        if let Some(path) = source.root_certificate.as_ref().filter(|_| is_own_role) {
            all.set_missing("sslrootcert", path.to_string_lossy());
        }
        if let Some(name) = &request.application_name {
            all.set("application_name", name.as_str());
        }
        all.to_text()
    }

    /// Copies the node's own files of a data folder.
    fn copy_own(&self, from: &Path, to: &Path) -> io::Result<()> {
        if !to.exists() {
            make_private(to)?;
        }
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            if self.is_own(&entry.path()) {
                copy(&entry.path(), &to.join(entry.file_name()), DEPTH_MAX)?;
            }
        }
        Ok(())
    }

    fn is_own(&self, path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_config = ["conf", "crt", "key", "pem"]
            .iter()
            .any(|ending| path.extension().is_some_and(|extension| extension == *ending) && !path.is_dir());
        is_config || self.settings.postgres.own_files.iter().any(|own| *own == name)
    }
}

/// Where a node's own files are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Own {
    /// Put aside by a rewind.
    Aside,
    /// In the data folder.
    InPlace,
    /// The node had no data.
    Nothing,
}

fn make_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().mode(0o700).create(folder)
}

/// Copies a file, a symbolic link or a folder over what is there.
fn copy(from: &Path, to: &Path, depth: usize) -> io::Result<()> {
    let kind = fs::symlink_metadata(from)?.file_type();
    if kind.is_dir() {
        if depth == 0 {
            return Err(io::Error::other(format!("{} is nested too deeply", from.display())));
        }
        if !to.exists() {
            make_private(to)?;
        }
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()), depth - 1)?;
        }
        return places::sync(to);
    }
    let there = fs::symlink_metadata(to).is_ok();
    if kind.is_symlink() {
        if there {
            fs::remove_file(to)?;
        }
        return std::os::unix::fs::symlink(fs::read_link(from)?, to);
    }
    if !kind.is_file() {
        return Ok(());
    }
    let new = PathBuf::from(format!("{}.new", to.display()));
    fs::copy(from, &new)?;
    fs::File::open(&new)?.sync_all()?;
    fs::rename(new, to)
}
