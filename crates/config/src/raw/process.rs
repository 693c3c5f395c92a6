//! The process itself: who it is, what it logs, where it listens.

use std::path::PathBuf;

use conn::ListenAddress;
use ipnet::IpNet;
use routing::Policy;

use crate::{
    section::{Preset::Text, Preset::Unset, section},
    settings::{LogFormat, Workers},
    value::{Count, FileMode, Label, List, LogFilter, OneOf, TlsMode},
};

section! {
    /// The proxy itself.
    Proxy, "proxy", repeated: false {
        /// A name for people, in logs and the console.
        name: Label = Text("pgherd"), Reload;
        /// The region this proxy stands in; reads prefer replicas of the same region.
        region: Label = Text("local"), Reload;
        /// The zone inside the region; its replicas come before the rest of the region.
        zone: Option<Label> = Unset("\"eu-1a\""), Reload;
        /// Threads that serve clients: a number from 1 to 64, or "auto": a quarter of the cores, from 1 to 4.
        workers: Workers = Text("auto"), Restart;
        /// The folder where each cluster's highest timeline is remembered over restarts, so that an old primary is
        /// not believed after one. Unset: it is not remembered.
        state_dir: Option<PathBuf> = Unset("\"/var/lib/pgherd\""), Restart;
        /// A Unix socket over which a new process, started with --takeover, gets the listening sockets of this one, so
        /// that a new version refuses nobody; the folder must be there and is best one of pgherd's own. Clients stay
        /// with the old process until they leave. Each process counts for itself: until the old one has ended there
        /// may be twice as many clients and server connections as the limits say; PAUSE, DISABLE and SET hold in the
        /// process that they were said to. Unset: nothing is handed over.
        takeover_socket: Option<PathBuf> = Unset("\"/run/pgherd/takeover\""), Restart;
        /// Most server connections in total. When there are as many, the one that has been idle for longest is closed
        /// for whoever has waited for longest, whatever the pool. 0: as many as the pools allow.
        max_server_connections: Count<0, 1_000_000> = Text("0"), Reload;
    }
}

section! {
    /// What is logged, to standard error.
    Log, "log", repeated: false {
        /// "text" or "json"; one line an event in both.
        format: OneOf<LogFormat> = Text("text"), Restart;
        /// The least level: off, error, warn, info, debug or trace; also by module: "info,session=debug".
        level: LogFilter = Text("info"), Reload;
    }
}

section! {
    /// An address that clients connect to. Without any there is one with the defaults. A socket that listens there
    /// already and was passed by systemd (LISTEN_FDS) is used as it is.
    Listen, "listen", repeated: true {
        /// IP address and port; or a folder and port, as libpq's `host` and `port` name the Unix socket in it
        /// ("/run/pgherd:5432"), or that socket's path ("/run/pgherd/.s.PGSQL.5432"). The folder must be there.
        address: ListenAddress = Text("127.0.0.1:6432"), Restart;
        /// What clients of this address may do: "smart" (reads to replicas, the rest to the primary), "read-write"
        /// (everything to the primary), "read-only" (everything to replicas), "sync" (everything to replicas that commits
        /// wait for, as the primary's pg_stat_replication says: sync_state sync or quorum) or "async" (to the others).
        policy: OneOf<Policy> = Text("smart"), Restart;
        /// Who may connect to a Unix socket: its permissions, in octal digits.
        socket_mode: FileMode = Text("0777"), Restart;
        /// Addresses of load balancers that begin each connection with a PROXY header (version 1 or 2), which says
        /// whose it is: networks such as "10.0.0.0/8". They must send one, and from nobody else is one taken.
        proxy_protocol: List<IpNet> = Text(""), Restart;
    }
}

section! {
    /// HTTP for load balancers and orchestrators, which answers 200 or 503: /livez (the process runs), /startupz (it has
    /// started), /readyz (new clients should come here), and Patroni's checks. /primary (also /, /leader, /master and
    /// /read-write), /replica, /read-only, /sync, /quorum, /async (all with ?lag=16MB and the like), /health, /liveness and
    /// /readiness say what clients of pgherd would get; below /node/NAME they say how one node is, so that a HAProxy
    /// before the nodes themselves follows pgherd by "http-check send meth OPTIONS uri-lf /node/%[srv_name]/primary".
    /// /cluster is JSON; ?cluster=NAME asks about one of several clusters.
    Health, "health", repeated: false {
        /// IP address and port. Unset: nobody is answered.
        listen: Option<ListenAddress> = Unset("\"127.0.0.1:9127\""), Restart;
    }
}

section! {
    /// TLS towards clients.
    Tls, "tls", repeated: false {
        /// "off", "allow" (clients choose) or "require" (clients without are refused).
        mode: OneOf<TlsMode> = Text("off"), Reload;
        /// PEM file with the certificate chain, leaf first.
        certificate: Option<PathBuf> = Unset("\"server.crt\""), Reload;
        /// PEM file with the leaf's private key. It must not be readable by everybody.
        key: Option<PathBuf> = Unset("\"server.key\""), Reload;
    }
}
