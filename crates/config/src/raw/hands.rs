//! What a cluster's nodes can be acted on with.

use std::path::PathBuf;

use crate::{
    section::{Preset::Text, Preset::Unset, section},
    value::{CommandLine, Time},
};

section! {
    /// How the nodes' agents (`pgherd agent`) are called: over mutual TLS. `pgherd keygen` makes all of these files.
    Agents, "cluster.agents", repeated: false {
        /// PEM file with this proxy's certificate chain, leaf first.
        certificate: Option<PathBuf> = Unset("\"proxy.crt\""), Reload;
        /// PEM file with the leaf's private key. It must not be readable by everybody.
        key: Option<PathBuf> = Unset("\"proxy.key\""), Reload;
        /// PEM file of the authority that signed the agents' certificates.
        root_certificate: Option<PathBuf> = Unset("\"ca.crt\""), Reload;
    }
}

section! {
    /// Shell commands, run on this machine by `sh -c`; where a node has an agent, that does what it can instead. In them
    /// stand, as with Pgpool-II: %d %h %p %D the number (from 0), host, port and data_directory of the node that it is
    /// about; %m %H %r %R those of the primary from now on, and %M %P (both) %N %S number, host and port of the one
    /// before; %% a percent sign. Nobody is -1, or an empty word. Names are in the environment: PGHERD_CLUSTER,
    /// PGHERD_NODE, PGHERD_NEW_PRIMARY, PGHERD_OLD_PRIMARY; and the key's own in PGHERD_HOOK. An exit status other than 0
    /// is a failure. What they print is logged. Try them with `pgherd hook`.
    Hooks, "cluster.hooks", repeated: false {
        /// After another node has become the primary; the node is the one that was lost.
        failover_command: Option<CommandLine> =
            Unset("\"/etc/pgherd/failover.sh %d %h %p %D %m %H %M %P %r %R %N %S\""), Reload;
        /// For each other standby after that.
        follow_primary_command: Option<CommandLine> =
            Unset("\"/etc/pgherd/follow_primary.sh %d %h %p %D %m %H %M %P %r %R\""), Reload;
        /// Makes the node a running standby of the new primary, whatever became of it.
        rejoin_command: Option<CommandLine> = Unset("\"/etc/pgherd/rejoin.sh %h %D %H %r\""), Reload;
        /// Starts PostgreSQL on the node.
        start_command: Option<CommandLine> = Unset("\"ssh postgres@%h pg_ctl -D %D -w start\""), Reload;
        /// Stops it.
        stop_command: Option<CommandLine> = Unset("\"ssh postgres@%h pg_ctl -D %D -m fast stop\""), Reload;
        /// Restarts it.
        restart_command: Option<CommandLine> = Unset("\"ssh postgres@%h pg_ctl -D %D -m fast restart\""), Reload;
        /// Makes sure that the node takes no writes any more, from nobody: by its power supply, its cloud, its switch.
        fence_command: Option<CommandLine> = Unset("\"/etc/pgherd/power off %h\""), Reload;
        /// Undoes that.
        unfence_command: Option<CommandLine> = Unset("\"/etc/pgherd/power on %h\""), Reload;
        /// How long each of them may take before it is ended.
        timeout: Time<100, 86_400_000> = Text("5min"), Reload;
    }
}
