use std::{net::SocketAddr, path::PathBuf, time::Duration};

use crate::tls::TlsFiles;

/// What `pgherd agent` is told by its file. That the values fit is checked by whoever reads that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where callers connect to.
    pub listen: SocketAddr,
    /// Its certificate and key, and who may call: holders of a certificate of this authority.
    pub tls: TlsFiles,
    /// The server that it looks after.
    pub postgres: PostgresSettings,
    /// How it logs in where it copies from.
    pub source: SourceSettings,
}

/// The PostgreSQL server of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresSettings {
    /// The data folder. Files of the agent's own stand beside it, so the folder around it must be writable.
    pub data_dir: PathBuf,
    /// The folder of PostgreSQL's programs; `None`: Debian's for the version of the data, else where `PATH` leads.
    pub bin_dir: Option<PathBuf>,
    /// `postgresql.conf`, where it is not in the data folder.
    pub config_file: Option<PathBuf>,
    /// What the server prints while it starts; `None`: beside the data folder.
    pub log_file: Option<PathBuf>,
    /// A shell command that starts the server instead of `pg_ctl`.
    pub start_command: Option<String>,
    /// A shell command that stops the server instead of a signal.
    pub stop_command: Option<String>,
    /// How long a start may take when the caller does not say.
    pub start_timeout: Duration,
    /// How long a stop may take when the caller does not say.
    pub stop_timeout: Duration,
    /// How long a fence waits for a fast stop before it is immediate.
    pub fence_timeout: Duration,
    /// Names of files and folders in the data folder that are the node's own besides `*.conf`, `*.crt`, `*.key` and
    /// `*.pem`.
    pub own_files: Vec<String>,
}

/// How a node logs in to the one that it copies from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceSettings {
    /// A role with REPLICATION, and for `pg_rewind` the right to execute the functions that it reads files with.
    pub user: String,
    /// The file that holds its password, read whenever it is needed; `None`: the servers ask for none.
    pub password_file: Option<PathBuf>,
    /// The database to connect to where one is needed.
    pub database: String,
    /// libpq's sslmode.
    pub ssl_mode: String,
    /// libpq's sslrootcert.
    pub root_certificate: Option<PathBuf>,
    /// How long a rewind or a copy may take when the caller does not say.
    pub copy_timeout: Duration,
    /// How a copy is checked before it takes the place of the old data.
    pub check: CopyCheck,
    /// What becomes of the old data.
    pub old_folder: OldFolder,
}

/// How a copy is checked before it takes the place of the old data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CopyCheck {
    /// All files of the manifest are there, with their sizes, and the control file is of the right system.
    #[default]
    Files,
    /// Every file's checksum too, which reads the whole copy again.
    Checksums,
}

/// What becomes of the old data folder after a copy took its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OldFolder {
    /// It is removed as soon as the copy has been started.
    #[default]
    Remove,
    /// It stays until the next copy.
    Keep,
}
