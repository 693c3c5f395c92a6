//! Requests to nodes, in a cluster of three regions.

use std::{hint::black_box, time::Duration};

use criterion::Criterion;
use routing::{Policy, ReadOnlyFallback, ReadYourWrites, Request, Settings, Wants, Written, decide};
use tokio::time::Instant;
use topology::{Epoch, Health, NodeId, NodeView, PrimaryWal, Role, Snapshot, Writable};
use wire::{Lsn, TimelineId};

pub(crate) fn measure(criterion: &mut Criterion) {
    let now = Instant::now().into_std();
    let snapshot = snapshot(now);
    let settings = Settings {
        region: "us".to_owned(),
        zone: None,
        max_lag_bytes: 16 << 20,
        max_lag: Duration::from_secs(10),
        max_sample_age: Duration::from_secs(3),
        read_your_writes: ReadYourWrites::Session,
        read_only_fallback: ReadOnlyFallback::Primary,
    };
    let written = Some(Written::At { lsn: Lsn(4000), timeline: TimelineId(1) });
    let mut group = criterion.benchmark_group("routing");
    for (name, wants, written) in [
        ("write", Wants::Primary, None),
        ("read", Wants::Replica, None),
        ("read_after_own_write", Wants::Replica, written),
    ] {
        let request = Request { wants, policy: Policy::Smart, written, hint: None };
        group.bench_function(name, |bencher| {
            bencher.iter(|| decide(black_box(&request), &settings, &snapshot, now, |_| 0, 42));
        });
    }
    group.finish();
}

fn snapshot(now: std::time::Instant) -> Snapshot {
    let regions = ["eu", "us", "ap"];
    let nodes = (0..).zip(regions).map(|(id, region)| NodeView {
        id: NodeId(id),
        name: region.into(),
        host: "10.0.0.1".into(),
        port: 5432,
        region: region.into(),
        zone: None,
        role: if id == 0 { Role::Primary } else { Role::Standby },
        health: Health::Up,
        down: None,
        priority: 100,
        timeline: TimelineId(1),
        wal_lsn: Lsn(5000),
        replay_lsn: Lsn(5000),
        lag_bytes: Some(0),
        lag: Some(Duration::ZERO),
        rtt: Some(Duration::from_millis(1 + 80 * u64::from(id))),
        sampled_at: Some(now),
        streaming: id != 0,
        upstream_silence: None,
        sync_state: None,
        server_version: 150_000,
        reads: topology::Reads::Offered,
        duty: topology::Duty::Member,
    });
    Snapshot {
        epoch: Epoch(1),
        writable: Writable::Primary(NodeId(0)),
        timeline: Some(TimelineId(1)),
        nodes: nodes.collect(),
        fork: None,
        written: None,
        primary_wal: PrimaryWal::default(),
        synchrony: None,
        draining: false,
        built_at: now,
    }
}
