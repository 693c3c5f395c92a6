//! A spare takes the place of a lost standby, whether it runs or has to be made one first.

use std::{fs, path::Path, sync::Arc};

use agent::StopRequest;
use e2e::{Herd, Setup, eventually};
use lab::Cluster;

use super::{GRANTS, manage, planned::console};
use crate::{
    agent::beside::{Beside, cluster},
    load::Load,
    topology::{PATIENCE, show, wait_for_event, wait_for_state},
};

const US: usize = 1;
/// The spare.
const AP: usize = 2;

/// What becomes of a spare, on one cluster: it runs at first, and has no data later on.
#[tokio::test(flavor = "multi_thread")]
async fn a_spare_serves_reads_while_a_standby_is_lost_and_is_copied_first_if_it_has_no_data() {
    let cluster = cluster(2);
    cluster.psql(0, GRANTS).unwrap();
    let beside = with_configuration_elsewhere(&cluster).await;
    let herd = start(&cluster, &beside);
    herd.psql("create table ledger (id bigint primary key)").unwrap();
    cluster.wait_for_all().unwrap();
    let load = Load::of(herd.app(), 2, 4);
    assert_eq!((standing(&herd), reads(&herd)), ("spare".to_owned(), 0));

    it_runs(&herd, &load);
    it_has_no_data(&herd, &load, &beside).await;
    let ledger = load.stop();
    ledger.report("spares", ledger.count_missing(&herd, 0));
    ledger.assert_no_errors();
    after_a_restart_of_pgherd(&herd);
}

/// As Debian has it: the configuration of node AP is not lost with its data.
async fn with_configuration_elsewhere(cluster: &Arc<Cluster>) -> Beside {
    let folder = cluster.directory().join("etc");
    fs::create_dir(&folder).unwrap();
    let file = folder.join("postgresql.conf");
    let beside = Beside::start_with(cluster, AP, &format!("config_file = {file:?}"));
    let agent = beside.client();
    agent.stop(&StopRequest::default(), PATIENCE).await.unwrap();
    for name in ["postgresql.conf", "lab.conf"] {
        fs::rename(cluster.node(AP).data().join(name), folder.join(name)).unwrap();
    }
    cluster.give_to_server(&folder).unwrap();
    agent.start(&Default::default(), PATIENCE).await.unwrap();
    beside
}

fn start(cluster: &Arc<Cluster>, beside: &Beside) -> Herd {
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let tls = beside.tls("proxy");
    manage(Setup::of_cluster(Arc::clone(cluster)))
        .set("cluster.0.failover.spare_after", "500ms")
        .set("cluster.0.nodes.2.spare", true)
        .set("cluster.0.nodes.2.agent", beside.address().to_string())
        .set("cluster.0.agents.certificate", path(&tls.certificate))
        .set("cluster.0.agents.key", path(&tls.key))
        .set("cluster.0.agents.root_certificate", path(&tls.root_certificate))
        .start()
}

fn it_runs(herd: &Herd, load: &Load) {
    herd.cluster().kill(US).unwrap();
    it_stands_in(herd);
    assert!(wait_for_event(herd, "spare_serves").contains("serves in place of us"));
    us_is_back(herd);
    // what was under way may have ended later
    let before = reads(herd);
    load.wait_for_reads(200);
    let late = reads(herd) - before;
    assert!(late < 50, "{late} reads of a spare that stepped back");
}

async fn it_has_no_data(herd: &Herd, load: &Load, beside: &Beside) {
    beside.client().stop(&StopRequest::default(), PATIENCE).await.unwrap();
    fs::remove_dir_all(herd.cluster().node(AP).data()).unwrap();
    wait_for_state(herd, AP, "standby", "down");
    assert_eq!(standing(herd), "spare");
    // nor does anybody complain
    let checked = console(herd, "CHECK REPLICATION 20").unwrap();
    assert!(checked.lines().any(|line| line.starts_with("ap|main|spare|||ok|")), "{checked}");
    let checked = console(herd, "CHECK CLUSTER").unwrap();
    assert!(checked.contains("a spare need not run"), "{checked}");
    herd.cluster().kill(US).unwrap();
    assert!(wait_for_event(herd, "spare_called").contains("is to be made a standby"));
    load.wait_for_reads(100);
    it_stands_in(herd);
    assert!(beside.log().contains("checked the copy"), "{}", beside.log());
}

fn after_a_restart_of_pgherd(herd: &Herd) {
    herd.proxy(0).kill();
    herd.proxy(0).spawn();
    herd.proxy(0).wait_until_ready();
    let load = Load::of(herd.app(), 0, 2);
    it_stands_in(herd);
    us_is_back(herd);
    load.stop().assert_no_errors();
}

/// Waits until the spare serves in the place of us, and is read from.
fn it_stands_in(herd: &Herd) {
    eventually("it stands in", 3 * PATIENCE, || (standing(herd) == "standing in for us").then_some(()));
    let before = reads(herd);
    eventually("it is read from", PATIENCE, || (reads(herd) > before + 50).then_some(()));
}

/// Starts us and waits until the spare has stepped back.
fn us_is_back(herd: &Herd) {
    herd.cluster().start_node(US).unwrap();
    eventually("it steps back", PATIENCE, || (standing(herd) == "spare").then_some(()));
    wait_for_state(herd, US, "standby", "up");
}

fn row(herd: &Herd) -> Vec<String> {
    show(herd, "NODES").into_iter().find(|row| row[0] == "ap").expect("all nodes are shown")
}

/// What the console says about the spare's standing.
fn standing(herd: &Herd) -> String {
    row(herd).pop().unwrap_or_default()
}

/// How many reads were sent to the spare.
fn reads(herd: &Herd) -> u64 {
    row(herd)[18].parse().unwrap()
}
