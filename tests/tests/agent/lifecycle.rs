use std::{fs, process::Command};

use agent::{CallError, Kind, RestartRequest, ServerState, StartRequest, StopMode, StopRequest, Verb};
use e2e::{eventually, eventually_async, pgherd};

use super::{PATIENCE, beside::Beside, lent::Lent};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_stopped_started_and_restarted_and_its_status_told() {
    let cluster = Lent::take();
    let beside = Beside::start(&cluster, 0);
    let agent = beside.client();
    let status = agent.status(PATIENCE).await.unwrap();
    assert_eq!((status.server, status.standby, status.fenced), (ServerState::Running, Some(false), false));
    assert_eq!(status.pid, cluster.node(0).pid());
    let control = status.control.unwrap();
    assert_eq!(control.state, "in production");
    assert_eq!(
        control.system_identifier,
        cluster.psql(0, "select system_identifier from pg_control_system()").unwrap()
    );
    assert!(control.can_rewind);
    let timeline = cluster.psql(0, "select timeline_id from pg_control_checkpoint()").unwrap();
    assert_eq!(control.timeline.to_string(), timeline);
    assert!(status.version.unwrap().starts_with(&cluster.binaries().major().to_string()));

    let report = agent.stop(&StopRequest::default(), PATIENCE).await.unwrap();
    assert_eq!(report.steps, ["stopped PostgreSQL (fast)"]);
    assert_eq!(report.status.server, ServerState::Stopped);
    assert_eq!(report.status.control.unwrap().state, "shut down");
    assert!(!cluster.node(0).is_running());
    let report = agent.stop(&StopRequest::default(), PATIENCE).await.unwrap();
    assert_eq!(report.steps, ["PostgreSQL was stopped already"]);

    let report = agent.start(&StartRequest::default(), PATIENCE).await.unwrap();
    assert_eq!(
        (report.steps, report.status.server),
        (vec!["started PostgreSQL".to_owned()], ServerState::Running)
    );
    cluster.psql(0, "create table t (a int)").unwrap();
    let before = cluster.node(0).pid();
    assert_eq!(
        agent.start(&StartRequest::default(), PATIENCE).await.unwrap().steps,
        ["PostgreSQL runs already"]
    );
    assert_eq!(cluster.node(0).pid(), before);

    let request = RestartRequest { mode: StopMode::Immediate, timeout_ms: None };
    let report = agent.restart(&request, PATIENCE).await.unwrap();
    assert_eq!(report.steps, ["stopped PostgreSQL (immediate)", "started PostgreSQL"]);
    assert_ne!(cluster.node(0).pid(), before);
    cluster.psql(0, "insert into t values (1)").unwrap();
    let status = agent.status(PATIENCE).await.unwrap();
    assert_eq!(status.last.map(|last| (last.verb, last.error)), Some((Verb::Restart, None)));
    assert_eq!(status.activity, None);

    let standby = Beside::start(&cluster, 1);
    let status = standby.client().status(PATIENCE).await.unwrap();
    assert_eq!((status.server, status.standby), (ServerState::Running, Some(true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_killed_is_started_again() {
    let cluster = Lent::take();
    let beside = Beside::start(&cluster, 0);
    cluster.kill(0).unwrap();
    let status = beside.client().status(PATIENCE).await.unwrap();
    assert_eq!((status.server, status.pid), (ServerState::Stopped, None));
    assert_eq!(status.control.unwrap().state, "in production", "nobody has told its files");
    beside.client().start(&StartRequest::default(), PATIENCE).await.unwrap();
    cluster.psql(0, "select 1").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_start_is_told_with_the_end_of_its_log() {
    let cluster = Lent::take();
    let beside = Beside::start(&cluster, 0);
    let agent = beside.client();
    agent.stop(&StopRequest::default(), PATIENCE).await.unwrap();
    let path = cluster.node(0).data().join("postgresql.auto.conf");
    let former = fs::read(&path).unwrap();
    fs::write(&path, "no_such_setting = 1\n").unwrap();
    let error = agent.start(&StartRequest::default(), PATIENCE).await.unwrap_err();
    let refusal = error.refusal().unwrap();
    assert_eq!(refusal.kind, Kind::StartFailed);
    assert!(refusal.message.contains("no_such_setting"), "{refusal}");
    let last = agent.status(PATIENCE).await.unwrap().last.unwrap();
    assert_eq!(last.error.as_ref(), Some(refusal));
    fs::write(&path, former).unwrap();
}

/// A start that waits for a file shows what happens meanwhile without a race.
#[tokio::test(flavor = "multi_thread")]
async fn a_verb_goes_on_without_its_caller_and_another_one_has_to_wait() {
    let cluster = Lent::take();
    let go = cluster.directory().join("go");
    let bin = cluster.binaries().program("pg_ctl");
    let script = format!(
        "start_command = '''while [ ! -e {go:?} ]; do sleep 0.05; done; {bin:?} -D \"$PGHERD_DATA_DIR\" -w -l log.txt start'''"
    );
    let beside = Beside::start_with(&cluster, 0, &script);
    let agent = beside.client();
    agent.stop(&StopRequest::default(), PATIENCE).await.unwrap();

    let caller = tokio::spawn({
        let agent = agent.clone();
        async move { agent.start(&StartRequest::default(), PATIENCE).await }
    });
    let activity = eventually_async("it is at work", PATIENCE, || async {
        agent.status(PATIENCE).await.unwrap().activity.filter(|activity| activity.step != "begins")
    })
    .await;
    assert_eq!((activity.verb, activity.step.as_str()), (Verb::Start, "starting PostgreSQL"));
    caller.abort();
    let _ = caller.await;
    let error = agent.status(std::time::Duration::ZERO).await.unwrap_err();
    assert!(matches!(error, CallError::Timeout { verb: Verb::Status, .. }), "{error:?}");
    let refused = agent.stop(&StopRequest::default(), PATIENCE).await.unwrap_err();
    assert_eq!(refused.refusal().unwrap().kind, Kind::Busy, "{refused}");
    assert!(refused.to_string().contains("start is at work"), "{refused}");

    fs::write(&go, "").unwrap();
    eventually_async("the start ends", PATIENCE, || async {
        agent.status(PATIENCE).await.unwrap().last.filter(|last| last.verb == Verb::Start)
    })
    .await;
    cluster.psql(0, "select 1").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fence_does_not_wait_for_a_start_that_hangs() {
    let cluster = Lent::take();
    let beside = Beside::start_with(&cluster, 0, "start_command = \"sleep 1000\"");
    let agent = beside.client();
    agent.stop(&StopRequest::default(), PATIENCE).await.unwrap();
    let starting = tokio::spawn({
        let agent = agent.clone();
        async move { agent.start(&StartRequest::default(), PATIENCE).await }
    });
    eventually_async("it starts", PATIENCE, || async {
        agent
            .status(PATIENCE)
            .await
            .unwrap()
            .activity
            .filter(|activity| activity.step == "starting PostgreSQL")
    })
    .await;
    let report = agent.fence(PATIENCE).await.unwrap();
    assert!(report.status.fenced);
    let error = starting.await.unwrap().unwrap_err();
    assert_eq!(error.refusal().unwrap().kind, Kind::Fenced, "{error}");
}

#[test]
fn an_agent_does_not_run_as_root() {
    let cluster = Lent::take();
    let beside = Beside::start(&cluster, 0);
    let is_root = nix_is_root();
    if !is_root {
        eprintln!("skipped: the tests do not run as root");
        return;
    }
    let mut command = Command::new(pgherd());
    command.arg("agent").arg("-c").arg(beside.place("").with_file_name("agent-eu").join("agent.toml"));
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("the agent does not run as root"), "{said}");
}

fn nix_is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata("/proc/self").unwrap().uid() == 0
}

#[test]
fn a_second_agent_for_the_same_data_is_refused() {
    let cluster = Lent::take();
    let beside = Beside::start(&cluster, 0);
    let output = beside.command().output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("does another agent look after this data folder?"), "{said}");
}

#[test]
fn an_agent_that_is_told_to_end_ends_and_leaves_the_server_alone() {
    let cluster = Lent::take();
    let beside = Beside::start(&cluster, 0);
    let pid = fs::read_to_string(cluster.directory().join("agent-0.pid")).unwrap().trim().parse().unwrap();
    lab::signal(pid, lab::Signal::SIGTERM).unwrap();
    eventually("it ends", PATIENCE, || (!lab::is_alive(pid)).then_some(()));
    assert!(beside.log().contains("stopped"), "{}", beside.log());
    cluster.psql(0, "select 1").unwrap();
}
