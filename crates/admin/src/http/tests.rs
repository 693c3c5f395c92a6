use serde_json::Value;
use topology::{Health, NoPrimary, Snapshot, Writable};

use super::*;
use crate::tests::world;

/// The world of the console's tests, after a change to its cluster. us-1 is synchronous, 1 byte behind, ap-1 asynchronous, 2.
fn changed(change: impl FnOnce(&mut Snapshot)) -> World {
    let world = world();
    let mut snapshot = Snapshot::clone(&world.clusters[0].snapshots.load());
    change(&mut snapshot);
    world.clusters[0].snapshots.store(Arc::new(snapshot));
    world
}

fn without_primary() -> World {
    changed(|snapshot| {
        snapshot.writable = Writable::None { since: snapshot.built_at, reason: NoPrimary::Down };
        snapshot.nodes[0].health = Health::Down;
    })
}

fn asked(world: &World, readiness: Readiness, request: &str) -> (String, String) {
    let text = response(format!("{request} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes(), readiness, world);
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().to_owned(), body.trim_end().to_owned())
}

/// Paths that answer 200, and paths that answer 503.
#[track_caller]
fn check<S: AsRef<str>>(world: &World, so: &[S], not_so: &[S]) {
    for (paths, status) in [(so, "200"), (not_so, "503")] {
        for path in paths.iter().map(AsRef::as_ref) {
            for method in ["GET", "HEAD", "OPTIONS"] {
                let (found, body) = asked(world, Readiness::Ready, &format!("{method} {path}"));
                assert_eq!(found, status, "{method} {path}: {body}");
                assert_eq!(body.is_empty(), method != "GET", "{method} {path}: {body}");
            }
        }
    }
}

fn document(world: &World, path: &str) -> Value {
    let (_, body) = asked(world, Readiness::Ready, &format!("GET {path}"));
    serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"))
}

#[test]
fn a_proxy_that_starts_or_stops_is_none_to_go_to() {
    use Readiness::{Draining, Ready, Starting};
    let world = world();
    for (path, readiness, status, word) in [
        ("/readyz", Ready, "200", "ready"),
        ("/readyz?verbose", Starting, "503", "starting"),
        ("/readyz", Draining, "503", "draining"),
        ("/startupz", Starting, "503", "starting"),
        ("/startupz", Draining, "200", "started"),
        ("/livez", Starting, "200", "alive"),
    ] {
        let found = asked(&world, readiness, &format!("GET {path}"));
        assert_eq!(found, (status.to_owned(), word.to_owned()), "{path}");
    }
    for path in ["/primary", "/replica", "/read-only", "/readiness"] {
        assert_eq!(asked(&world, Draining, &format!("GET {path}")).0, "503", "{path}");
    }
    for path in ["/health", "/liveness", "/node/eu-1/primary"] {
        assert_eq!(asked(&world, Draining, &format!("GET {path}")).0, "200", "{path}");
    }
}

#[test]
fn while_there_is_a_primary_clients_can_write_and_read() {
    let all =
        ["/", "/primary", "/master", "/leader", "/read-write", "/replica", "/replica?lag=1", "/read-only"];
    check(&world(), &all, &[]);
    let more =
        ["/sync", "/synchronous", "/async", "/asynchronous?lag=2B", "/health", "/liveness", "/readiness"];
    check(&world(), &more, &["/replica?lag=0", "/async?lag=1", "/quorum", "/replica?tag_region=eu"]);
    check(&world(), &["/primary?cluster=main", "/replica?tag_region=ap", "/read-only-quorum"], &[]);
}

#[test]
fn without_a_primary_only_reads_are_served() {
    check(
        &without_primary(),
        &["/replica", "/read-only", "/health", "/readiness"],
        &["/", "/primary", "/leader"],
    );
    let nobody = changed(|snapshot| {
        snapshot.writable = Writable::None { since: snapshot.built_at, reason: NoPrimary::Down };
        snapshot.nodes.iter_mut().for_each(|node| node.health = Health::Down);
    });
    check(&nobody, &["/liveness"], &["/", "/replica", "/read-only", "/health", "/readiness"]);
    assert_eq!(document(&nobody, "/primary")["failure"], "cluster \"main\": the primary is down");
}

#[test]
fn a_cluster_that_is_not_watched_any_more_is_not_alive() {
    let forgotten = changed(|snapshot| snapshot.built_at -= Duration::from_secs(61));
    check(&forgotten, &["/primary"], &["/liveness"]);
}

#[test]
fn a_node_is_asked_as_patroni_on_it_would_be() {
    let world = world();
    let of = |node: &str, checks: &[&str]| -> Vec<String> {
        checks.iter().map(|check| format!("/node/{node}{check}")).collect()
    };
    let run = |so: &[String], not_so: &[String]| check(&world, so, not_so);
    let primary = ["", "/", "/primary", "/read-write", "/leader", "/master", "/read-only", "/read-only-sync"];
    run(&of("eu-1", &primary), &of("eu-1", &["/replica", "/sync", "/async", "/quorum"]));
    run(&of("eu-1", &["/health", "/liveness", "/readiness", "/patroni"]), &[]);
    run(
        &of(
            "us-1",
            &["/replica", "/replica?lag=1kB", "/sync", "/read-only", "/read-only-sync", "/readiness"],
        ),
        &of("us-1", &["", "/primary", "/async", "/quorum", "/replica?lag=0", "/readiness?lag=0"]),
    );
    run(
        &of(
            "ap-1",
            &["/replica?replication_state=streaming&lag=2", "/async", "/health", "/readiness?mode=write"],
        ),
        &of("ap-1", &["/sync", "/replica?replication_state=in%20archive%20recovery", "/replica?tag_x=y"]),
    );
    let lost = without_primary();
    check(&lost, &["/node/us-1/replica", "/node/eu-1/patroni"], &["/node/eu-1/primary", "/node/eu-1/health"]);
    check(&lost, &["/node/us-1/read-only"], &["/node/eu-1/read-only", "/node/us-1/primary"]);
}

#[test]
fn what_is_not_there_is_not_found_and_what_is_not_understood_is_said() {
    let world = world();
    for (request, status) in [
        ("GET /metric", "404"),
        ("GET /node/nobody/primary", "404"),
        ("GET /node/eu-1/primary?cluster=other", "404"),
        ("GET /node/eu-1/primary/x", "404"),
        ("GET /node", "404"),
        ("GET /primary?cluster=other", "404"),
        ("GET /replica?lag=lots", "400"),
        ("GET primary", "400"),
        ("POST /switchover", "405"),
        ("\0", "405"),
    ] {
        assert_eq!(asked(&world, Readiness::Ready, request).0, status, "{request}");
    }
}

#[test]
fn documents_have_the_fields_that_checks_of_patroni_read() {
    let node = document(&world(), "/node/us-1/replica");
    assert_eq!(
        [&node["role"], &node["state"], &node["replication_state"]],
        ["replica", "running", "streaming"]
    );
    assert_eq!((&node["timeline"], &node["server_version"]), (&3.into(), &150_020.into()));
    assert_eq!(node["xlog"]["replayed_location"], 0x2_0000_005F_u64);
    assert_eq!((&node["sync_standby"], &node["patroni"]["scope"]), (&true.into(), &"main".into()));
    let primary = document(&world(), "/node/eu-1");
    assert_eq!(
        (&primary["role"], &primary["xlog"]["location"]),
        (&"primary".into(), &0x2_0000_0060_u64.into())
    );
    let cluster = document(&world(), "/cluster");
    let members = cluster["members"].as_array().unwrap();
    let told: Vec<_> =
        members.iter().map(|m| format!("{} {} {} {}", m["name"], m["role"], m["state"], m["lag"])).collect();
    assert_eq!(
        told,
        [
            "\"eu-1\" \"leader\" \"running\" null",
            "\"us-1\" \"sync_standby\" \"streaming\" 1",
            "\"ap-1\" \"replica\" \"streaming\" 2"
        ]
    );
    let lost = document(&without_primary(), "/node/eu-1/primary");
    assert_eq!((&lost["role"], &lost["cluster_unlocked"]), (&"demoted".into(), &true.into()));
    assert_eq!(lost["pgherd"]["failure"], "it is not the primary");
}

#[test]
fn a_name_in_two_clusters_needs_its_clusters_name() {
    let mut two = world();
    let mut second = two.clusters[0].clone();
    second.name = "second".into();
    two.clusters.push(second);
    for (path, status) in [
        ("/node/eu-1/primary", "404"),
        ("/node/eu-1/primary?cluster=second", "200"),
        ("/cluster", "404"),
        ("/cluster?cluster=main", "200"),
        ("/primary", "200"),
    ] {
        assert_eq!(asked(&two, Readiness::Ready, &format!("GET {path}")).0, status, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_is_not_waited_for() {
    let (_far, mut near) = tokio::io::duplex(64);
    answer_http(&mut near, || (Readiness::Ready, Arc::new(world()))).await;
}

#[tokio::test]
async fn a_request_that_never_ends_is_cut_off() {
    let (mut far, mut near) = tokio::io::duplex(64);
    let asking = async move {
        let mut text = String::new();
        let endless = "GET /livez HTTP/1.1\r\nX: ".to_owned() + &"x".repeat(2 * REQUEST_MAX);
        let _ = far.write_all(endless.as_bytes()).await;
        let _ = far.read_to_string(&mut text).await;
        text
    };
    let answering = async move { answer_http(&mut near, || (Readiness::Ready, Arc::new(world()))).await };
    let (text, ()) = tokio::join!(asking, answering);
    assert!(text.starts_with("HTTP/1.1 200") || text.is_empty(), "{text}");
}

#[test]
fn a_standby_that_nobody_streams_to_is_ready_only_while_there_is_no_primary() {
    let cut_off = |world: World| {
        let mut snapshot = Snapshot::clone(&world.clusters[0].snapshots.load());
        snapshot.nodes[1].streaming = false;
        world.clusters[0].snapshots.store(Arc::new(snapshot));
        world
    };
    check(&cut_off(world()), &["/node/us-1/replica", "/readiness"], &["/node/us-1/readiness"]);
    check(&cut_off(without_primary()), &["/node/us-1/readiness", "/readiness"], &[]);
}
