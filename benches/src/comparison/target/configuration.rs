//! What the proxies are told: the same pools, the same list of users with the same SCRAM verifier, TLS with the same
//! certificate for clients who want it and none towards the server, no log of connections.

use lab::Login;

use super::{Certificate, Pool, Prepared};

/// Where a proxy listens and what it leads to.
#[derive(Debug)]
pub(crate) struct Route<'a> {
    /// The proxy's port.
    pub(crate) port: u16,
    /// PostgreSQL's ports, the primary's first.
    pub(crate) server_ports: Vec<u16>,
    /// The database.
    pub(crate) database: &'a str,
    /// The clients' role.
    pub(crate) application: &'a Login,
    /// The file of users and verifiers, as PgBouncer and pgherd read it.
    pub(crate) user_list: &'a str,
    /// What TLS clients are shown.
    pub(crate) certificate: &'a Certificate,
    /// The role of pgherd's probes.
    pub(crate) monitor: &'a Login,
    /// pgherd's `[proxy] workers`.
    pub(crate) workers: &'a str,
}

impl Route<'_> {
    fn primary_port(&self) -> u16 {
        self.server_ports.first().copied().unwrap_or_default()
    }
}

/// PgBouncer's rules of who may enter how.
pub(crate) fn pgbouncer_hba(route: &Route<'_>) -> String {
    let database = route.database;
    format!("host {database}_trust all 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
}

/// PgBouncer's file; `hba` is that of its rules.
pub(crate) fn pgbouncer(route: &Route<'_>, prepared: Prepared, hba: &str) -> String {
    let Route { port, database, user_list, certificate, application: Login { user, password }, .. } = route;
    let (size, few) = (Pool::Twenty.size(), Pool::Eight.size());
    let prepared = match prepared {
        Prepared::Works => "max_prepared_statements = 200\n",
        Prepared::Unsupported => "",
    };
    let server = format!("host=127.0.0.1 port={} dbname={database}", route.primary_port());
    format!(
        "[databases]\n{database} = {server}\n{database}_eight = {server} pool_size={few}\n\
         {database}_trust = {server} user={user} password={password}\n\n\
         [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
         auth_type = hba\nauth_hba_file = {hba}\nauth_file = {user_list}\n\
         pool_mode = transaction\ndefault_pool_size = {size}\nmax_client_conn = 10000\n\
         client_tls_sslmode = allow\nclient_tls_cert_file = {}\nclient_tls_key_file = {}\n\
         server_tls_sslmode = disable\nlog_connections = 0\nlog_disconnections = 0\n{prepared}",
        certificate.certificate, certificate.key
    )
}

/// HAProxy's file. It takes two file descriptors for each connection and does not start if they are not to be had.
pub(crate) fn haproxy(route: &Route<'_>) -> String {
    let (port, server_port) = (route.port, route.primary_port());
    format!(
        "global\n    nbthread 1\n    maxconn 450\n\n\
         defaults\n    mode tcp\n    timeout connect 5s\n    timeout client 1h\n    timeout server 1h\n\n\
         listen postgres\n    bind 127.0.0.1:{port}\n    server primary 127.0.0.1:{server_port}\n"
    )
}

/// pgherd's file.
pub(crate) fn pgherd(route: &Route<'_>) -> String {
    let Route { port, server_ports, database, user_list, certificate, monitor, workers, .. } = route;
    let (size, few) = (Pool::Twenty.size(), Pool::Eight.size());
    let nodes: Vec<_> =
        server_ports.iter().map(|port| format!("{{ address = \"127.0.0.1:{port}\" }}")).collect();
    let workers =
        if workers.parse::<u16>().is_ok() { (*workers).to_owned() } else { format!("\"{workers}\"") };
    format!(
        "[proxy]\nworkers = {workers}\n\n[[listen]]\naddress = \"127.0.0.1:{port}\"\n\n[log]\nlevel = \"warn\"\n\n\
         [tls]\nmode = \"allow\"\ncertificate = \"{}\"\nkey = \"{}\"\n\n[auth]\nfile = \"{user_list}\"\n\n\
         [[cluster]]\nnodes = [{}]\n\n[cluster.monitor]\nuser = \"{}\"\nsecret = \"{}\"\n\n\
         [cluster.tls]\nmode = \"disable\"\n\n[pool]\nmode = \"transaction\"\nsize = {size}\n\n\
         [[database]]\nname = \"{database}_eight\"\nserver_name = \"{database}\"\n\n[database.pool]\nsize = {few}\n\n\
         [[database]]\nname = \"*\"\n",
        certificate.certificate,
        certificate.key,
        nodes.join(", "),
        monitor.user,
        monitor.password
    )
}
