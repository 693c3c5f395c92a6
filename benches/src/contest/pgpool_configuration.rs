//! What Pgpool-II is told, and the scripts that it runs.

use std::fmt::Write as _;

use lab::{Cluster, Login};

/// Pgpool's user for its commands.
pub(super) const OPERATOR: &str = "operator";

/// Its ports.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ports {
    /// For clients.
    pub(super) clients: u16,
    /// For commands.
    pub(super) commands: u16,
}

/// pgpool.conf. Health checks, which are off by default, are on; everything else that matters for a failover, such as
/// `failover_on_backend_error = on`, has its default.
pub(super) fn main(cluster: &Cluster, ports: Ports) -> String {
    let folder = cluster.directory().display();
    let Login { user, password } = cluster.superuser();
    let Ports { clients, commands } = ports;
    let mut text = format!(
        "backend_clustering_mode = 'streaming_replication'\nlisten_addresses = '127.0.0.1'\nport = {clients}\n\
         socket_dir = '{folder}/sockets'\npcp_listen_addresses = '127.0.0.1'\npcp_port = {commands}\n\
         pcp_socket_dir = '{folder}/sockets'\nwd_ipc_socket_dir = '{folder}/sockets'\n\
         pid_file_name = '{folder}/pgpool.own'\nlogdir = '{folder}'\n\
         enable_pool_hba = on\npool_passwd = 'pool_passwd'\nnum_init_children = 100\nmax_pool = 1\n\
         health_check_period = 1\nhealth_check_timeout = 2\nhealth_check_max_retries = 1\n\
         health_check_retry_delay = 1\nhealth_check_user = '{user}'\nhealth_check_password = '{password}'\n\
         health_check_database = 'postgres'\n\
         sr_check_period = 1\nsr_check_user = '{user}'\nsr_check_password = '{password}'\n\
         sr_check_database = 'postgres'\n\
         failover_command = '{folder}/failover.sh %d %m %P %R'\n\
         follow_primary_command = '{folder}/follow.sh %d %p %D %r'\n"
    );
    for (at, node) in cluster.nodes().iter().enumerate() {
        let _ = write!(
            text,
            "backend_hostname{at} = '127.0.0.1'\nbackend_port{at} = {}\nbackend_weight{at} = 1\n\
             backend_data_directory{at} = '{}'\nbackend_flag{at} = 'ALLOW_TO_FAILOVER'\n",
            node.port(),
            node.data().display(),
        );
    }
    text
}

/// pool_hba.conf: as PostgreSQL's own.
pub(super) const HBA: &str = "host all all 127.0.0.1/32 scram-sha-256\n";

/// pool_passwd: SCRAM needs the password itself.
pub(super) fn passwords(cluster: &Cluster) -> String {
    let line = |login: &Login| format!("{}:TEXT{}\n", login.user, login.password);
    line(cluster.application()) + &line(cluster.superuser())
}

/// The script that promotes the node that Pgpool has chosen once the primary has failed.
pub(super) fn failover(cluster: &Cluster) -> String {
    let programs = cluster.binaries().directory().display();
    format!(
        "#!/bin/sh\n\
         # failed node, new main node, old primary, data folder of the new main node\n\
         failed=$1 new=$2 old_primary=$3 data=$4\n\
         [ \"$new\" -ge 0 ] && [ \"$failed\" = \"$old_primary\" ] || exit 0\n\
         exec '{programs}/pg_ctl' -D \"$data\" -w promote >/dev/null\n"
    )
}

/// The script that has another node follow the new primary and be taken in again: as in Pgpool's documentation, one that
/// does not run is left alone, any other is stopped and rewound.
pub(super) fn follow(cluster: &Cluster, ports: Ports) -> String {
    let programs = cluster.binaries().directory().display();
    let (superuser, monitor) = (cluster.superuser(), cluster.monitor());
    let folder = cluster.directory().display();
    format!(
        r#"#!/bin/sh
# node, its port and data folder, port of the new primary
set -eu
node=$1 port=$2 data=$3 primary=$4
name=$(basename "$data")
PATH='{programs}':/usr/sbin:$PATH
export PGPASSWORD='{password}' PCPPASSFILE='{folder}/pcppass' LC_ALL=C
pg_isready -q -h 127.0.0.1 -p "$port" || exit 0
psql -Xqw -h 127.0.0.1 -p "$primary" -U '{user}' -c checkpoint postgres
pg_ctl -D "$data" -m fast -w stop >/dev/null
# what is the node's own
cp "$data/lab.conf" "$data.lab.conf"
pg_rewind -D "$data" --source-server="host=127.0.0.1 port=$primary user={user} dbname=postgres sslmode=disable"
{{
    grep -v '^primary_' "$data.lab.conf"
    echo "primary_conninfo = 'host=127.0.0.1 port=$primary user={monitor} password={monitor_password} application_name=$name sslmode=disable'"
}} >"$data/lab.conf"
touch "$data/standby.signal"
pg_ctl -D "$data" -l "$data.log" -w start >/dev/null
pcp_attach_node -w -h 127.0.0.1 -p {commands} -U {OPERATOR} "$node"
"#,
        user = superuser.user,
        password = superuser.password,
        monitor = monitor.user,
        monitor_password = monitor.password,
        commands = ports.commands,
    )
}
