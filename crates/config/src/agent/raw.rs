//! The sections of an agent's file as they are written.

use std::path::PathBuf;

use agent::{CopyCheck, OldFolder};
use conn::{ListenAddress, ServerTlsMode};

use crate::{
    raw::Log,
    section::{Preset::Required, Preset::Text as Default, Preset::Unset, Reader, Section, section},
    value::{FileName, List, Name, OneOf, Text, Time, Words},
};

section! {
    /// The agent itself. It runs on a node as the operating system's user of PostgreSQL, never as root.
    Agent, "agent", repeated: false {
        /// IP address and port that proxies call.
        listen: ListenAddress = Default("0.0.0.0:8432"), Reload;
    }
}

section! {
    /// Mutual TLS: who has a certificate of the authority, for use by a client, may call; nobody else gets further than
    /// the handshake. `pgherd keygen` makes all of these files.
    AgentTls, "tls", repeated: false {
        /// PEM file with the agent's certificate chain, leaf first. It names the host as proxies do.
        certificate: PathBuf = Required("\"agent.crt\""), Reload;
        /// PEM file with the leaf's private key. It must not be readable by everybody.
        key: PathBuf = Required("\"agent.key\""), Reload;
        /// PEM file of the authority that signed the callers' certificates.
        root_certificate: PathBuf = Required("\"ca.crt\""), Reload;
    }
}

section! {
    /// The server that the agent looks after.
    Postgres, "postgres", repeated: false {
        /// The data folder. The agent keeps files of its own beside it (<data_dir>.fenced, .copying, .before-reinit and
        /// the like), so its user must own the folder around it too; it cannot be a mount point itself.
        data_dir: PathBuf = Required("\"/var/lib/postgresql/15/main\""), Reload;
        /// The folder of PostgreSQL's programs. Unset: Debian's for the version of the data, else where PATH leads.
        bin_dir: Option<PathBuf> = Unset("\"/usr/lib/postgresql/15/bin\""), Reload;
        /// postgresql.conf, where it is not in the data folder, as on Debian.
        config_file: Option<PathBuf> = Unset("\"/etc/postgresql/15/main/postgresql.conf\""), Reload;
        /// What the server prints while it starts. Unset: <data_dir>.log.
        log_file: Option<PathBuf> = Unset("\"/var/log/postgresql/start.log\""), Reload;
        /// A shell command that starts the server. Unset: pg_ctl. A server that pg_ctl starts ends together with an
        /// agent that runs as a service of systemd, unless its unit says KillMode=process; this does not.
        start_command: Option<Text> = Unset("\"systemctl start postgresql@15-main\""), Reload;
        /// A shell command that stops it; PGHERD_STOP_MODE is fast or immediate. Unset: a signal, as pg_ctl does.
        stop_command: Option<Text> = Unset("\"systemctl stop postgresql@15-main\""), Reload;
        /// How long a start may take when the caller does not say.
        start_timeout: Time<100, 86_400_000> = Default("60s"), Reload;
        /// How long a stop may take when the caller does not say.
        stop_timeout: Time<100, 86_400_000> = Default("60s"), Reload;
        /// How long a fence waits for a fast stop before it becomes an immediate one.
        fence_timeout: Time<0, 3_600_000> = Default("5s"), Reload;
        /// Names in the data folder that are the node's own, whatever it is copied from or rewound to, besides *.conf,
        /// *.crt, *.key and *.pem.
        own_files: List<FileName> = Default("conf.d"), Reload;
    }
}

section! {
    /// How the agent logs in to the server that it rewinds to or copies from. Where that is a caller says; who logs in
    /// is never sent.
    Source, "source", repeated: false {
        /// A role with LOGIN and REPLICATION; `pgherd init-sql` prints what pg_rewind needs besides. Standbys stream as
        /// this role too, unless the node's own primary_conninfo names another.
        user: Name = Default("pgherd"), Reload;
        /// A file with its password and nothing else. It must not be readable by everybody. Unset: none is asked for.
        password_file: Option<PathBuf> = Unset("\"password\""), Reload;
        /// The database to connect to where one is needed.
        database: Name = Default("postgres"), Reload;
        /// As libpq's: "disable", "allow", "prefer", "require", "verify-ca" or "verify-full".
        sslmode: OneOf<ServerTlsMode> = Default("prefer"), Reload;
        /// PEM file of trusted authorities.
        root_certificate: Option<PathBuf> = Unset("\"root.crt\""), Reload;
        /// How long a rewind or a copy may take when the caller does not say.
        copy_timeout: Time<1_000, 2_592_000_000> = Default("1d"), Reload;
        /// How a copy is checked before it takes the place of the data: "files" (all there, with their sizes) or
        /// "checksums" (the copy is read again as a whole).
        check: OneOf<CopyCheck> = Default("files"), Reload;
        /// What becomes of the old data, <data_dir>.before-reinit: "remove" (once the copy has been started) or "keep"
        /// (until the next copy).
        old_folder: OneOf<OldFolder> = Default("remove"), Reload;
    }
}

impl Words for CopyCheck {
    const WORDS: &'static [(&'static str, Self)] = &[("files", Self::Files), ("checksums", Self::Checksums)];
}

impl Words for OldFolder {
    const WORDS: &'static [(&'static str, Self)] = &[("remove", Self::Remove), ("keep", Self::Keep)];
}

/// Every section, in the order of the reference.
pub(crate) static SECTIONS: [Section; 5] =
    [Agent::SECTION, AgentTls::SECTION, Postgres::SECTION, Source::SECTION, Log::SECTION];

/// The file as a whole has no keys of its own.
const ROOT: Section = Section { path: "", repeated: false, docs: &[], keys: &[] };

/// The whole file, each value right by itself.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) agent: Agent,
    pub(crate) tls: AgentTls,
    pub(crate) postgres: Postgres,
    pub(crate) source: Source,
    pub(crate) log: Log,
}

impl Document {
    /// Reads all of it; mistakes go to the reader's context. `None` only together with a mistake.
    pub(crate) fn read(root: &mut Reader<'_, '_>) -> Option<Self> {
        root.refuse_unknown(&ROOT);
        let agent = Agent::read(&mut root.child("agent"));
        let tls = AgentTls::read(&mut root.child("tls"));
        let postgres = Postgres::read(&mut root.child("postgres"));
        let source = Source::read(&mut root.child("source"));
        let log = Log::read(&mut root.child("log"));
        Some(Self { agent: agent?, tls: tls?, postgres: postgres?, source: source?, log: log? })
    }
}
