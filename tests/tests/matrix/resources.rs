//! What machines run out of, and clocks: F20, F21, F37.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    thread::sleep,
    time::Duration,
};

use e2e::{Herd, Setup, start_cluster};
use lab::{Cluster, StopMode};
use tokio::time::Instant;

use super::{
    case::{Allowed, Bars, Case, assert_never},
    sandbox,
};
use crate::{
    failover::{manage, managed, start, story},
    topology::events,
};

/// Where Debian's package `faketime` puts its library.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

/// The primary cannot write its WAL, and crashes each time it tries to. Whether it frees enough by its recovery, or is
/// replaced: what was acknowledged stays, and writes go on.
#[test]
#[ignore = "takes long, and a mount namespace"]
fn f20_a_primary_whose_disk_for_wal_is_full_loses_nothing_that_was_sent() {
    if !sandbox::is_entered(
        "matrix::resources::f20_a_primary_whose_disk_for_wal_is_full_loses_nothing_that_was_sent",
    ) {
        return;
    }
    let cluster = Arc::new(start_cluster(2));
    cluster.stop(0, StopMode::Fast).unwrap();
    let disk = SmallDisk::under(&cluster.node(0).data().join("pg_wal"), &cluster);
    cluster.start_node(0).unwrap();
    let herd = start(manage(Setup::of_cluster(cluster)));
    let bars = Bars::of_ms(6000, 6000);
    let case = Case::begin("F20 disk for WAL full", Allowed::Doubts, bars, &herd, 50);
    println!("it is filled: {:#}", fill(&herd));
    case.load.wait_for_writes(300);
    println!("{:?}\n{}", events(&herd), story(&herd));
    let primary = herd.cluster().primary().unwrap();
    case.end(&herd, primary);
    drop((herd, disk));
}

/// Writes until the primary cannot any more, slowly enough for its standbys to keep up: one that lacks more than
/// `max_lost_bytes` would not be promoted. What ends it.
fn fill(herd: &Herd) -> anyhow::Error {
    herd.psql("create table filler (line text)").unwrap();
    loop {
        let chunk = "insert into filler select repeat('x', 1000) from generate_series(1, 4000)";
        if let Err(error) = herd.psql(chunk).and_then(|_| herd.cluster().wait_for_all()) {
            return error;
        }
    }
}

/// A file system of 160 MiB in memory in place of a folder.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn under(folder: &Path, cluster: &Cluster) -> Self {
        let aside = folder.with_extension("aside");
        fs::rename(folder, &aside).unwrap();
        fs::create_dir(folder).unwrap();
        run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=160m,mode=0700", "tmpfs"]).arg(folder));
        run(Command::new("cp").arg("-a").arg(aside.join(".")).arg(folder));
        cluster.give_to_server(folder).unwrap();
        fs::remove_dir_all(aside).unwrap();
        Self(folder.into())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A primary that gets an eighth of its time.
#[test]
#[ignore = "takes long"]
fn f21_a_primary_that_is_slow_is_not_replaced() {
    let herd = start(managed(2));
    let bars = Bars::of_ms(2000, 2000);
    let case = Case::begin("F21 CPU an eighth of the time", Allowed::Nothing, bars, &herd, 50);
    let end = Instant::now() + Duration::from_secs(20);
    while Instant::now() < end {
        herd.cluster().freeze(0).unwrap();
        sleep(Duration::from_millis(175));
        herd.cluster().thaw(0).unwrap();
        sleep(Duration::from_millis(25));
    }
    case.end(&herd, 0);
    assert_never(&herd, "primary_lost");
}

#[test]
#[ignore = "takes long, and libfaketime"]
fn f37_a_clock_that_jumps_is_nothing() {
    assert!(Path::new(FAKETIME).exists(), "the package faketime is not installed");
    let cluster = Arc::new(start_cluster(2));
    let clock = cluster.directory().join("clock");
    let set = |offset: &str| fs::write(&clock, offset).unwrap();
    set("+0");
    let setup = manage(Setup::of_cluster(cluster))
        .environment("LD_PRELOAD", FAKETIME)
        .environment("FAKETIME_TIMESTAMP_FILE", clock.to_str().unwrap())
        .environment("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .environment("FAKETIME_NO_CACHE", "1");
    let herd = start(setup);
    let case = Case::begin("F37 pgherd's clock ±1 h", Allowed::Nothing, Bars::of_ms(500, 500), &herd, 50);
    for offset in ["+3600", "-3600", "+0"] {
        set(offset);
        sleep(Duration::from_secs(4));
        case.load.wait_for_writes(100);
    }
    case.end(&herd, 0);
    assert_never(&herd, "primary_lost");
}
