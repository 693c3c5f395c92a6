//! What Patroni and HAProxy are told.

use super::stack::MAX_CONNECTIONS;

/// Patroni's times in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Times {
    /// How long the leader's key lasts without its leader.
    pub(crate) ttl: u32,
    /// Between two looks at the world.
    pub(crate) loop_wait: u32,
    /// How long etcd and PostgreSQL are tried; twice that and `loop_wait` have to fit into `ttl`.
    pub(crate) retry_timeout: u32,
}

impl Times {
    /// Patroni's defaults.
    pub(crate) const DEFAULT: Self = Self { ttl: 30, loop_wait: 10, retry_timeout: 10 };
    /// The least `ttl` that Patroni takes.
    pub(crate) const SHORT: Self = Self { ttl: 20, loop_wait: 5, retry_timeout: 7 };
}

/// A member as its file describes it.
#[derive(Debug)]
pub(super) struct Place<'a> {
    pub(super) name: &'a str,
    pub(super) folder: &'a str,
    pub(super) programs: &'a str,
    pub(super) password: &'a str,
    pub(super) port: u16,
    pub(super) api_port: u16,
    pub(super) etcd_port: u16,
}

/// The file of one member. PostgreSQL's settings are those that the lab gives its clusters.
pub(super) fn member(place: &Place<'_>, times: Times) -> String {
    let Place { name, folder, programs, password, port, api_port, etcd_port } = place;
    let Times { ttl, loop_wait, retry_timeout } = times;
    format!(
        r#"scope: main
name: {name}
restapi: {{listen: "127.0.0.1:{api_port}", connect_address: "127.0.0.1:{api_port}"}}
etcd3: {{hosts: ["127.0.0.1:{etcd_port}"]}}
bootstrap:
  dcs:
    ttl: {ttl}
    loop_wait: {loop_wait}
    retry_timeout: {retry_timeout}
    postgresql:
      use_pg_rewind: true
      parameters: {{max_connections: {MAX_CONNECTIONS}, max_wal_senders: 16, max_replication_slots: 16, wal_keep_size: 128MB}}
  initdb: [{{encoding: UTF8}}, {{locale: C}}, "no-sync"]
postgresql:
  listen: "127.0.0.1:{port}"
  connect_address: "127.0.0.1:{port}"
  data_dir: {folder}/{name}
  bin_dir: {programs}
  pgpass: {folder}/{name}.pgpass
  pg_hba: ["host replication all 127.0.0.1/32 scram-sha-256", "host all all 127.0.0.1/32 scram-sha-256"]
  authentication:
    superuser: {{username: postgres, password: "{password}"}}
    replication: {{username: replicator, password: "{password}"}}
    rewind: {{username: rewinder, password: "{password}"}}
  parameters:
    unix_socket_directories: "{folder}"
    fsync: "off"
    shared_buffers: 16MB
    dynamic_shared_memory_type: mmap
    password_encryption: scram-sha-256
    hot_standby_feedback: "on"
    max_slot_wal_keep_size: 1GB
    max_wal_size: 256MB
    min_wal_size: 80MB
    wal_receiver_status_interval: 1s
    wal_retrieve_retry_interval: 200ms
"#
    )
}

/// HAProxy's file, with the health check and its times as Patroni's documentation has them: the member that says it is
/// the primary gets all connections. `members` are names, ports and ports of the REST API.
pub(super) fn haproxy(port: u16, members: &[(String, u16, u16)]) -> String {
    let mut text = format!(
        "global\n    maxconn 400\n\n\
         defaults\n    mode tcp\n    retries 2\n    timeout connect 4s\n    timeout client 30m\n    \
         timeout server 30m\n    timeout check 5s\n\n\
         listen primary\n    bind 127.0.0.1:{port}\n    option httpchk OPTIONS /primary\n    \
         http-check expect status 200\n    \
         default-server inter 3s fall 3 rise 2 on-marked-down shutdown-sessions\n"
    );
    for (name, port, api_port) in members {
        text +=
            &format!("    server {name} 127.0.0.1:{port} maxconn {MAX_CONNECTIONS} check port {api_port}\n");
    }
    text
}
