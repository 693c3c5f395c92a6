//! Clusters and the databases in them.

use std::path::PathBuf;

use conn::ServerTlsMode;
use routing::Policy;

use super::{
    Agents, DatabaseUser, Hooks, Patroni, Pool, UserPool,
    user::{self, Role},
};
use crate::{
    section::{Preset::Required, Preset::Text, Preset::Unset, Reader, Section, section},
    settings::Manage,
    tree::Table,
    value::{
        AgentAddress, Count, HostPort, Label, List, Name, OffOrWindow, OneOf, RemoteFolder, SecretSource,
        Size, Time,
    },
};

section! {
    /// A primary with its standbys. At least one is needed.
    Cluster, "cluster", repeated: true {
        /// Its name.
        name: Label = Text("main"), Restart;
        /// Who decides about the primary: "off" (others do, and pgherd follows them) or "single" (this process does; it must
        /// be the only one that is started so, and needs a state_dir).
        manage: OneOf<Manage> = Text("off"), Restart;
        /// A node is down after this many probes in a row went unanswered.
        down_after_probes: Count<1, 100> = Text("3"), Reload;
        /// How long a crashed primary that answers 57P03 counts as recovering instead of down.
        crash_grace: Time<0, 3_600_000> = Text("5s"), Reload;
        /// Most server connections to each of its nodes, besides those of the monitor. 0: as many as the pools allow.
        max_server_connections: Count<0, 1_000_000> = Text("0"), Reload;
        /// Most server connections to each of its nodes that are being made at a time; further ones wait their turn.
        max_logins: Count<1, 100_000> = Text("16"), Reload;
    }
}

section! {
    /// A PostgreSQL server of the cluster. Its role is found, never configured. Also written as a list:
    /// nodes = [{ address = "…", region = "…" }, …].
    ClusterNode, "cluster.nodes", repeated: true {
        /// Host and port; without a port, 5432.
        address: HostPort = Required("\"10.0.1.1:5432\""), Reload;
        /// The region it stands in.
        region: Label = Text("local"), Reload;
        /// The zone inside the region.
        zone: Option<Label> = Unset("\"eu-1a\""), Reload;
        /// How gladly it is made the primary: of several with the same WAL, in the same region, the highest is. 0: never
        /// but by an operator's word.
        priority: Count<0, 1000> = Text("100"), Reload;
        /// Whether it is a spare: nothing is read from it, and it is promoted only if nobody else can be, until another node
        /// was missed for spare_after of [cluster.failover]. Then it serves in that one's place until that one is back. If
        /// it does not run or has no data it is made a standby first, by its agent or rejoin_command, with manage = "single".
        spare: bool = Text("false"), Reload;
        /// A name for people, unique in the cluster. Unset: the address.
        name: Option<Label> = Unset("\"pg-eu\""), Reload;
        /// Where its agent (`pgherd agent`) is called, by the name in its certificate; without a port, 8432. Unset: it
        /// has none.
        agent: Option<AgentAddress> = Unset("\"10.0.1.1:8432\""), Reload;
        /// Its data folder, for the commands of [cluster.hooks].
        data_directory: Option<RemoteFolder> = Unset("\"/var/lib/postgresql/15/main\""), Reload;
    }
}

section! {
    /// How the cluster's nodes are watched.
    Monitor, "cluster.monitor", repeated: false {
        /// The role that probes log in as. With pg_monitor and REPLICATION it sees everything; no superuser needed.
        user: Name = Text("pgherd"), Reload;
        /// Its secret: a password, or where it is: { file = "…" } or { env = "…" }. Unset: the servers ask for none.
        secret: Option<SecretSource> = Unset("{ file = \"/run/secrets/pgherd\" }"), Reload;
        /// The database that probes connect to.
        database: Name = Text("postgres"), Reload;
        /// Time between probes of a node.
        interval: Time<10, 60_000> = Text("500ms"), Reload;
        /// How long one probe may take.
        timeout: Time<10, 60_000> = Text("500ms"), Reload;
    }
}

section! {
    /// How a failover is decided, with manage = "single".
    Failover, "cluster.failover", repeated: false {
        /// The regions in the order in which the primary is best placed; the others come behind them.
        regions: List<Label> = Text(""), Reload;
        /// A standby that lacks more WAL than this of what the primary was last seen to have is not promoted but by an
        /// operator's word (FAILOVER TO node FORCE).
        max_lost_bytes: Size<0, 1_099_511_627_776> = Text("1MB"), Reload;
        /// Least time between two failovers that were not asked for, unless the new primary has certainly died.
        damping: Time<0, 86_400_000> = Text("60s"), Reload;
        /// How long standbys may take to be cut off from the old primary and to say how far they are; those that take
        /// longer do not count.
        recruit_timeout: Time<10, 60_000> = Text("1s"), Reload;
        /// For how long a node must have been missed until a spare takes its place; with manage = "off", too. It is to be
        /// longer than a restart takes. The spare is one of the lost node's region if there is one, then of the first of
        /// regions, then that of the highest priority; one that runs before one that has to be made a standby.
        spare_after: Time<0, 86_400_000> = Text("60s"), Reload;
        /// When the primary may go back by itself to the node that is best placed, by regions and then priority: "off", or a
        /// part of each day, "02:00-04:00", in UTC unless it says "02:00-04:00 +01:00". As SWITCHOVER does it, if all nodes
        /// are well and nothing has happened for the time that damping is.
        failback: OffOrWindow = Text("off"), Reload;
    }
}

section! {
    /// TLS towards the cluster's servers.
    ClusterTls, "cluster.tls", repeated: false {
        /// As libpq's sslmode: "disable", "allow", "prefer", "require", "verify-ca" or "verify-full".
        mode: OneOf<ServerTlsMode> = Text("prefer"), Reload;
        /// PEM file of trusted authorities. Unset: the system's.
        root_certificate: Option<PathBuf> = Unset("\"root.crt\""), Reload;
    }
}

section! {
    /// A database as clients name it; the first entry that fits wins. Without any, every name leads to the database
    /// of that name in the one cluster.
    Database, "database", repeated: true {
        /// What clients ask for; "*" is every name.
        name: Name = Text("*"), Reload;
        /// Its name on the servers. Unset: the same.
        server_name: Option<Name> = Unset("\"shop\""), Reload;
        /// The name of its cluster. May be left out if there is only one.
        cluster: Option<Label> = Unset("\"main\""), Reload;
        /// What it may be used for, whatever the listener says: "smart", "read-write" or "read-only". Unset: what
        /// the listener says.
        policy: Option<OneOf<Policy>> = Unset("\"read-only\""), Reload;
        /// Most server connections of it, over all users and nodes; with the name "*", of each database that the entry
        /// is for. 0: as many as the pools allow.
        max_server_connections: Count<0, 1_000_000> = Text("0"), Reload;
    }
}

/// `[pool]` for one database.
pub(super) const DATABASE_POOL: Section = Section {
    path: "database.pool",
    docs: &[" The keys of [pool], for this database; what is not written is as in [pool]."],
    ..Pool::SECTION
};

/// A cluster with its subsections.
#[derive(Debug)]
pub(crate) struct WholeCluster {
    pub(crate) keys: Cluster,
    pub(crate) nodes: Vec<ClusterNode>,
    pub(crate) monitor: Monitor,
    pub(crate) failover: Failover,
    pub(crate) tls: ClusterTls,
    /// `None`: not written.
    pub(crate) patroni: Option<Patroni>,
    pub(crate) agents: Agents,
    pub(crate) hooks: Hooks,
}

impl WholeCluster {
    pub(super) fn read(reader: &mut Reader<'_, '_>) -> Option<Self> {
        let keys = Cluster::read(reader);
        if reader.table.get("nodes").is_none() {
            reader.lacks("nodes", "a list such as [{ address = \"10.0.1.1:5432\", region = \"eu\" }]");
        }
        let nodes = reader.children("nodes", ClusterNode::read);
        let monitor = Monitor::read(&mut reader.child("monitor"));
        let failover = Failover::read(&mut reader.child("failover"));
        let tls = ClusterTls::read(&mut reader.child("tls"));
        let is_patroni = reader.table.get("patroni").is_some();
        let patroni = is_patroni.then(|| Patroni::read(&mut reader.child("patroni"))).flatten();
        let agents = Agents::read(&mut reader.child("agents"));
        let hooks = Hooks::read(&mut reader.child("hooks"));
        Some(Self {
            keys: keys?,
            nodes,
            monitor: monitor?,
            failover: failover?,
            tls: tls?,
            patroni,
            agents: agents?,
            hooks: hooks?,
        })
    }
}

/// A database with its pools.
#[derive(Debug)]
pub(crate) struct DatabaseEntry {
    pub(crate) keys: Database,
    pub(crate) pool: Pool,
    pub(crate) users: Vec<DatabaseUser>,
    /// What holds for the pools of single roles; empty if none is special.
    pub(crate) user_pools: Vec<UserPool>,
}

impl DatabaseEntry {
    /// `pools` is `[pool]`, whose values hold where `[database.pool]` has none; `roles` are those of `[[user]]`.
    pub(super) fn read(reader: &mut Reader<'_, '_>, pools: &Table, roles: &[Role<'_>]) -> Option<Self> {
        let keys = Database::read(reader);
        let pool = Pool::read(&mut Reader { inherited: vec![pools], ..reader.child("pool") });
        let users = user::database_users(reader);
        let user_pools = user::effective(reader, roles, pools);
        Some(Self { keys: keys?, pool: pool?, users, user_pools })
    }
}
