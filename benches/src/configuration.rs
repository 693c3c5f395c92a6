//! What the proxies are told: the same pool, the same list of users with the same SCRAM verifier, no TLS, no log of
//! connections.

use crate::through::Prepared;

/// Most server connections of a pool; those of HAProxy are as many as its clients.
pub(crate) const POOL_SIZE: u16 = 20;

/// Where a proxy listens and what it leads to.
#[derive(Debug)]
pub(crate) struct Route<'a> {
    /// The proxy's port.
    pub(crate) port: u16,
    /// PostgreSQL's port.
    pub(crate) server_port: u16,
    /// The database.
    pub(crate) database: &'a str,
    /// The file of users and verifiers, as PgBouncer and pgherd read it.
    pub(crate) user_list: &'a str,
    /// User and password for pgherd's probes.
    pub(crate) monitor: (&'a str, &'a str),
}

/// PgBouncer's file.
pub(crate) fn pgbouncer(route: &Route<'_>, prepared: Prepared) -> String {
    let Route { port, server_port, database, user_list, .. } = route;
    let prepared = match prepared {
        Prepared::Works => "max_prepared_statements = 200\n",
        Prepared::Unsupported => "",
    };
    format!(
        "[databases]\n{database} = host=127.0.0.1 port={server_port} dbname={database}\n\n[pgbouncer]\n\
         listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
         auth_type = scram-sha-256\nauth_file = {user_list}\n\
         pool_mode = transaction\ndefault_pool_size = {POOL_SIZE}\nmax_client_conn = 10000\n\
         client_tls_sslmode = disable\nserver_tls_sslmode = disable\n\
         log_connections = 0\nlog_disconnections = 0\n{prepared}"
    )
}

/// HAProxy's file. It takes two file descriptors for each connection and does not start if they are not to be had.
pub(crate) fn haproxy(route: &Route<'_>) -> String {
    let Route { port, server_port, .. } = route;
    format!(
        "global\n    nbthread 1\n    maxconn 450\n\n\
         defaults\n    mode tcp\n    timeout connect 5s\n    timeout client 1h\n    timeout server 1h\n\n\
         listen postgres\n    bind 127.0.0.1:{port}\n    server primary 127.0.0.1:{server_port}\n"
    )
}

/// pgherd's file.
pub(crate) fn pgherd(route: &Route<'_>) -> String {
    let Route { port, server_port, user_list, monitor: (monitor, password), .. } = route;
    format!(
        "[[listen]]\naddress = \"127.0.0.1:{port}\"\n\n[log]\nlevel = \"warn\"\n\n[auth]\nfile = \"{user_list}\"\n\n\
         [[cluster]]\nnodes = [{{ address = \"127.0.0.1:{server_port}\" }}]\n\n\
         [cluster.monitor]\nuser = \"{monitor}\"\nsecret = \"{password}\"\n\n\
         [cluster.tls]\nmode = \"disable\"\n\n[pool]\nmode = \"transaction\"\nsize = {POOL_SIZE}\n"
    )
}
