use std::{
    fmt::Write as _,
    fs::{self, DirBuilder},
    os::unix::fs::DirBuilderExt,
};

use anyhow::{Context, Result};

use super::Cluster;
use crate::{directory::write_private, node::Node};

/// Included at the end of postgresql.conf. pg_rewind and pg_basebackup bring the other node's copy along, so it is
/// written anew after them.
const LAB_CONF: &str = "lab.conf";

/// What a failover manager sets by ALTER SYSTEM.
const ALTERED: [&str; 3] = ["primary_conninfo", "primary_slot_name", "synchronous_standby_names"];

/// The longest path of a Unix socket that Linux takes.
const SOCKET_PATH_MAX: usize = 107;

impl Cluster {
    /// Makes an empty data directory that belongs to the servers' user.
    pub(super) fn make_data_directory(&self, node: &Node) -> Result<()> {
        if node.data().exists() {
            fs::remove_dir_all(node.data())
                .with_context(|| format!("could not remove {}", node.data().display()))?;
        }
        let made = DirBuilder::new().mode(0o700).create(node.data());
        made.with_context(|| format!("could not make {}", node.data().display()))?;
        self.account.give(node.data())
    }

    /// Makes postgresql.conf read our file.
    pub(super) fn include_lab_conf(&self, node: &Node) -> Result<()> {
        let path = node.data().join("postgresql.conf");
        let mut content =
            fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))?;
        let _ = writeln!(content, "include '{LAB_CONF}'");
        write_private(&path, &content)?;
        self.account.give(&path)
    }

    /// Writes what differs from PostgreSQL's defaults; `primary` is who to stream from as a standby. What somebody else
    /// has said about that by ALTER SYSTEM would go over it, and is forgotten.
    pub(super) fn write_lab_conf(&self, node: &Node, primary: Option<&Node>) -> Result<()> {
        let mut content = String::from("# written by pgherd's lab at each change of role\n");
        let mut set = |name: &str, value: &str| {
            let quoted = value.replace('\\', "\\\\").replace('\'', "''");
            let _ = writeln!(content, "{name} = '{quoted}'");
        };
        set("listen_addresses", "127.0.0.1");
        set("port", &node.port().to_string());
        set("unix_socket_directories", &self.socket_directory());
        set("cluster_name", node.name());
        set("max_connections", &self.options.max_connections.to_string());
        let durable = if self.options.fsync { "on" } else { "off" };
        set("fsync", durable);
        for (name, value) in SETTINGS {
            set(name, value);
        }
        for (name, value) in &self.options.settings {
            set(name, value);
        }
        if let Some(primary) = primary {
            let (login, port) = (self.monitor(), primary.port());
            set(
                "primary_conninfo",
                &format!(
                    "host=127.0.0.1 port={port} user={} password={} application_name={} sslmode=disable",
                    login.user,
                    login.password,
                    node.name()
                ),
            );
            set("primary_slot_name", &node.slot());
        }
        let path = node.data().join(LAB_CONF);
        write_private(&path, &content)?;
        self.account.give(&path)?;
        self.forget_altered(node)
    }

    /// Takes what says whom to follow out of the file that ALTER SYSTEM writes.
    fn forget_altered(&self, node: &Node) -> Result<()> {
        let path = node.data().join("postgresql.auto.conf");
        let content =
            fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))?;
        let is_altered = |line: &&str| ALTERED.iter().any(|name| line.starts_with(name));
        if !content.lines().any(|line| is_altered(&line)) {
            return Ok(());
        }
        let kept: String =
            content.lines().filter(|line| !is_altered(line)).flat_map(|line| [line, "\n"]).collect();
        write_private(&path, &kept)?;
        self.account.give(&path)
    }

    /// Makes the next start of a node one as a standby.
    pub(super) fn write_standby_signal(&self, node: &Node) -> Result<()> {
        let path = node.data().join("standby.signal");
        write_private(&path, "")?;
        self.account.give(&path)
    }

    /// Where people find the Unix sockets; nowhere when the path is too long or the setting could not name it.
    fn socket_directory(&self) -> String {
        let path = self.directory.join("sockets").to_string_lossy().into_owned();
        let longest = path.len() + "/.s.PGSQL.65535.lock".len();
        if longest > SOCKET_PATH_MAX || path.contains([',', '"', '\'']) { String::new() } else { path }
    }

    /// Makes the directory of the Unix sockets.
    pub(super) fn make_socket_directory(&self) -> Result<()> {
        let path = self.directory.join("sockets");
        fs::create_dir_all(&path).with_context(|| format!("could not make {}", path.display()))?;
        self.account.give(&path)
    }
}

/// Small servers, many of them on one machine, that can be rewound and follow each other quickly.
const SETTINGS: [(&str, &str); 18] = [
    ("shared_buffers", "16MB"),
    // In the data directory, where a killed server's goes with it, instead of /dev/shm.
    ("dynamic_shared_memory_type", "mmap"),
    ("password_encryption", "scram-sha-256"),
    ("wal_level", "replica"),
    ("wal_log_hints", "on"),
    ("hot_standby", "on"),
    // Otherwise vacuum on the primary cancels reads on the standbys.
    ("hot_standby_feedback", "on"),
    ("max_wal_senders", "16"),
    ("max_replication_slots", "16"),
    // What a node can be away for before it has to be copied anew.
    ("wal_keep_size", "128MB"),
    // A node that never comes back must not fill the disk.
    ("max_slot_wal_keep_size", "1GB"),
    ("max_wal_size", "256MB"),
    ("min_wal_size", "80MB"),
    ("wal_receiver_status_interval", "1s"),
    ("wal_retrieve_retry_interval", "200ms"),
    ("log_line_prefix", "%m [%p] %q%u@%d "),
    ("log_timezone", "UTC"),
    ("timezone", "UTC"),
];
