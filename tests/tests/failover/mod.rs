//! pgherd decides itself who is the primary.

mod automatic;
mod detached;
mod nodes;
mod planned;
mod rejoin;
mod spare;
mod synchronous;

use e2e::{Herd, Setup, eventually};

use crate::topology::{PATIENCE, show};

/// What the manager's statements need, on all nodes. The functions and parameters are those of the manual's
/// "Recovery Control Functions" and "GRANT".
const GRANTS: &str = "
    grant alter system on parameter primary_conninfo, primary_slot_name, synchronous_standby_names to pgherd;
    grant execute on function pg_promote(boolean, integer), pg_reload_conf() to pgherd;
    grant pg_checkpoint, pg_signal_backend to pgherd;";

/// A new cluster whose one proxy manages it.
pub(crate) fn managed(standbys: usize) -> Setup {
    manage(Setup::own(standbys))
}

/// Has its one proxy manage the cluster.
pub(crate) fn manage(setup: Setup) -> Setup {
    setup.set("cluster.0.manage", "single").set("proxy.state_dir", "state")
}

/// Starts it, with what the monitor's role needs.
pub(crate) fn start(setup: Setup) -> Herd {
    let herd = setup.start();
    herd.cluster().psql(0, GRANTS).unwrap();
    herd.cluster().wait_for_all().unwrap();
    herd
}

/// What the last failover cost clients: time to the first write and to the new primary in ms, requests held, errors told
/// and with which SQLSTATEs.
pub(crate) fn toll(herd: &Herd) -> (u64, u64, u64, u64, String) {
    let row = eventually("the first write is counted", PATIENCE, || {
        show(herd, "FAILOVERS").pop().filter(|row| !row[11].is_empty())
    });
    let number = |column: usize| row[column].parse().unwrap_or_default();
    (number(11), number(8), number(12), number(14), row[15].clone())
}

/// The story of the last failover, a line a step.
pub(crate) fn story(herd: &Herd) -> String {
    let steps = show(herd, "FAILOVER_STEPS");
    let last = steps.last().map(|row| row[1].clone());
    let steps = steps.iter().filter(|row| Some(&row[1]) == last.as_ref());
    let lines: Vec<String> =
        steps.map(|row| format!("{:>9} ms {:8} {}", row[2], row[3], row[4..].join("|"))).collect();
    lines.join("\n")
}
