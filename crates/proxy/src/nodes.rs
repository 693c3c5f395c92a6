//! Nodes that operators add and drop: a change of the configuration file, and a reload of it.

use std::{
    fs::{self, File, Permissions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, chown},
    path::{Path, PathBuf},
};

use admin::{DropError, ReloadRefused};
use config::{EditError, NewNode, NewValue, Source};
use health::AttachError;
use topology::NodeId;

use crate::{
    arguments::environment,
    proxy::{Proxy, refused},
};

impl Proxy {
    /// Writes a node into the file and takes it over.
    ///
    /// # Errors
    /// All that is wrong with it; nothing has changed.
    pub(crate) async fn add_node(
        &self,
        cluster: usize,
        node: &admin::NewNode,
    ) -> Result<Vec<String>, ReloadRefused> {
        let node = written(node);
        self.change_file(cluster, |text, cluster| config::add_node(text, cluster, &node)).await
    }

    /// Detaches a node, takes it out of the file, and forgets it.
    ///
    /// # Errors
    /// [`DropError`]; the node is as it was.
    pub(crate) async fn drop_node(&self, cluster: usize, node: NodeId) -> Result<Vec<String>, DropError> {
        let health = self.healths.get(cluster).ok_or(AttachError::Stopped(health::Stopped))?;
        let snapshot = health.snapshots().load_full();
        let view = snapshot.node(node).ok_or(AttachError::Refused(topology::DetachError::NoNode))?;
        let detached = health.detach(node).await?;
        let dropped = self
            .change_file(cluster, |text, cluster| config::drop_node(text, cluster, &view.host, view.port))
            .await;
        if dropped.is_err() && detached.is_news {
            health.attach(node).await?;
        }
        Ok(dropped?)
    }

    /// Changes the file and nothing else, and takes that over.
    async fn change_file(
        &self,
        cluster: usize,
        edit: impl FnOnce(&str, &str) -> Result<String, EditError>,
    ) -> Result<Vec<String>, ReloadRefused> {
        let _one_at_a_time = self.reloading.lock().await;
        let Source::File(path) = &self.source else {
            return refuse(
                "there is no configuration file that could be changed: the nodes are those of DATABASE_URL",
            );
        };
        let previous = self.settings();
        let Some(cluster) = previous.clusters.get(cluster) else {
            return refuse("there is no such cluster any more");
        };
        let text = fs::read_to_string(path)
            .or_else(|error| refuse(format!("cannot read {}: {error}", path.display())))?;
        let mut as_written =
            self.source.load_text(&text, environment()).map_err(|mistakes| refused(&mistakes))?;
        as_written.order_clusters_as(&previous).or_else(|error| refuse(error.to_string()))?;
        if let Some(change) = config::differences(&previous, &as_written).first() {
            return refuse(format!(
                "the file is not what is in force: {} is {} in it, not {}; RELOAD first",
                change.key, change.new, change.old
            ));
        }
        let edited = edit(&text, &cluster.topology.cluster)
            .or_else(|error| refuse(format!("{}: {error}; change it by hand and RELOAD", path.display())))?;
        let settings =
            self.source.load_text(&edited, environment()).map_err(|mistakes| refused(&mistakes))?;
        let cannot_write = |error: io::Error| {
            refuse(format!("cannot write {}: {error}; change it by hand and RELOAD", path.display()))
        };
        let draft = Draft::write(path, &edited).or_else(cannot_write)?;
        let mut changes = self.take_over(settings).await?;
        if let Err(error) = draft.put_in_place() {
            let path = path.display();
            tracing::error!(%path, %error, "the configuration file could not be replaced");
            changes.push(format!("{path} could not be replaced, so that a RELOAD undoes this: {error}"));
        }
        Ok(changes)
    }
}

fn written(node: &admin::NewNode) -> NewNode {
    let address = match node.host.contains(':') {
        true => format!("[{}]:{}", node.host, node.port),
        false => format!("{}:{}", node.host, node.port),
    };
    let texts = [
        ("region", &node.region),
        ("zone", &node.zone),
        ("agent", &node.agent),
        ("data_directory", &node.data_directory),
    ];
    let texts = texts.into_iter().filter_map(|(key, text)| Some((key, NewValue::Text(text.clone()?))));
    let priority = node.priority.map(|priority| ("priority", NewValue::Number(priority)));
    NewNode { name: node.name.clone(), address, more: texts.chain(priority).collect() }
}

fn refuse<T>(why: impl Into<String>) -> Result<T, ReloadRefused> {
    Err(ReloadRefused { mistakes: vec![why.into()] })
}

/// A file's next content, beside it until it takes its place. It goes away if it is dropped before.
struct Draft {
    temporary: PathBuf,
    path: PathBuf,
}

impl Draft {
    /// With the owner and permissions of what it will replace.
    fn write(path: &Path, content: &str) -> io::Result<Self> {
        let path = path.canonicalize()?; // a link stays one
        let metadata = fs::metadata(&path)?;
        let mut name = std::ffi::OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(format!(".{}.new", std::process::id()));
        let temporary = path.with_file_name(name);
        let mut file =
            File::options().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        let draft = Self { temporary, path };
        let own = file.metadata()?;
        if (own.uid(), own.gid()) != (metadata.uid(), metadata.gid()) {
            chown(&draft.temporary, Some(metadata.uid()), Some(metadata.gid()))?;
        }
        file.set_permissions(Permissions::clone(&metadata.permissions()))?;
        file.write_all(content.as_bytes())?;
        file.sync_all()?;
        Ok(draft)
    }

    fn put_in_place(self) -> io::Result<()> {
        fs::rename(&self.temporary, &self.path)?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // once it is in place there is nothing to remove
        let _ = fs::remove_file(&self.temporary);
    }
}
