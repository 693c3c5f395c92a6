use agent::{Kind, RestartRequest, ServerState, StartRequest};
use e2e::eventually;

use super::{PATIENCE, beside::Beside, lent::Lent};

#[tokio::test(flavor = "multi_thread")]
async fn a_fenced_server_stays_down_until_the_fence_is_taken_away() {
    let cluster = Lent::take();
    let mut beside = Beside::start(&cluster, 0);
    let agent = beside.client();
    let report = agent.fence(PATIENCE).await.unwrap();
    assert_eq!(report.steps, ["put the fence up", "stopped PostgreSQL (fast)"]);
    assert_eq!((report.status.fenced, report.status.server), (true, ServerState::Stopped));

    for error in [
        agent.start(&StartRequest::default(), PATIENCE).await.unwrap_err(),
        agent.restart(&RestartRequest::default(), PATIENCE).await.unwrap_err(),
    ] {
        assert_eq!(error.refusal().unwrap().kind, Kind::Fenced, "{error}");
    }
    // Somebody else starts it; the start may be cut short.
    let _ = cluster.start_node(0);
    eventually("it is stopped again", PATIENCE, || (!cluster.node(0).is_running()).then_some(()));

    beside.kill();
    beside.spawn();
    let agent = beside.client();
    assert!(agent.status(PATIENCE).await.unwrap().fenced, "a fence survives its agent");
    let error = agent.start(&StartRequest::default(), PATIENCE).await.unwrap_err();
    assert_eq!(error.refusal().unwrap().kind, Kind::Fenced);
    assert_eq!(agent.fence(PATIENCE).await.unwrap().steps[1], "PostgreSQL was stopped already");

    assert_eq!(agent.unfence(PATIENCE).await.unwrap().steps, ["took the fence away"]);
    assert_eq!(agent.unfence(PATIENCE).await.unwrap().steps, ["there was no fence"]);
    agent.start(&StartRequest::default(), PATIENCE).await.unwrap();
    cluster.psql(0, "select 1").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_server_is_fenced_too() {
    let cluster = Lent::take();
    let beside = Beside::start(&cluster, 0);
    cluster.freeze(0).unwrap();
    let report = beside.client().fence(PATIENCE).await.unwrap();
    assert_eq!(report.status.server, ServerState::Stopped);
    assert!(!cluster.node(0).is_running());
}
