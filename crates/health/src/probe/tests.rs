use topology::Role;

use super::*;
use crate::testing::{FakeNode, Mode, primary, settings, soon, standby};

struct Watched {
    findings: mpsc::Receiver<(NodeId, Finding)>,
    wake: Arc<Notify>,
    _task: JoinSet<()>,
}

fn watch(port: u16) -> Watched {
    let settings = settings();
    let (findings_in, findings) = mpsc::channel(16);
    let wake = Arc::new(Notify::new());
    let prober = Prober {
        node: NodeId(0),
        target: Target { host: "127.0.0.1".into(), port },
        dialer: Arc::new(Dialer::new(&settings).unwrap()),
        interval: settings.interval,
        timeout: settings.timeout,
        wake: Arc::clone(&wake),
        findings: findings_in,
    };
    let mut task = JoinSet::new();
    task.spawn(prober.run());
    Watched { findings, wake, _task: task }
}

impl Watched {
    /// The next probe's end or report, whichever comes first.
    async fn next(&mut self) -> Finding {
        loop {
            match soon(self.findings.recv()).await.unwrap().1 {
                Finding::Parameters(_) | Finding::Xids(_) | Finding::Direct(_) | Finding::Replication(_) => {}
                finding => return finding,
            }
        }
    }

    async fn probed(&mut self) -> ProbeResult {
        match self.next().await {
            Finding::Probed(result) => result,
            other => panic!("{other:?}"),
        }
    }

    async fn noticed(&mut self) -> Report {
        match self.next().await {
            Finding::Noticed(report) => report,
            other => panic!("{other:?}"),
        }
    }
}

fn role(result: ProbeResult) -> Role {
    match result {
        ProbeResult::Answered(sample) => sample.role,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn one_connection_serves_probe_after_probe() {
    let node = FakeNode::start(standby(1)).await;
    let mut watched = watch(node.port);
    assert_eq!(role(watched.probed().await), Role::Standby);
    node.set(primary(2));
    watched.wake.notify_one();
    assert_eq!(role(watched.probed().await), Role::Primary);
    assert_eq!(*node.accepted.borrow(), 1);
}

#[tokio::test]
async fn the_end_of_the_idle_connection_is_noticed_at_once() {
    for (code, report) in [
        (SqlState::ADMIN_SHUTDOWN, Report::Shutdown),
        (SqlState::CRASH_SHUTDOWN, Report::Crashed),
        (SqlState::CANNOT_CONNECT_NOW, Report::Starting),
    ] {
        let node = FakeNode::start(primary(1)).await;
        let mut watched = watch(node.port);
        watched.probed().await;
        node.end_connections(code);
        // No probe is due for an hour.
        assert_eq!(watched.noticed().await, report);
    }
}

#[tokio::test]
async fn a_terminated_backend_is_told_from_a_stopped_server_by_the_next_probe() {
    let node = FakeNode::start(primary(1)).await;
    let mut watched = watch(node.port);
    watched.probed().await;
    node.end_connections(SqlState::ADMIN_SHUTDOWN);
    watched.noticed().await;
    watched.wake.notify_one();
    assert_eq!(role(watched.probed().await), Role::Primary);
    let port = node.port;
    node.end_connections(SqlState::ADMIN_SHUTDOWN);
    watched.noticed().await;
    drop(node);
    // The port is closed when the listener's task has ended.
    loop {
        watched.wake.notify_one();
        match watched.probed().await {
            ProbeResult::Refused => break,
            ProbeResult::Answered(_) | ProbeResult::NoAnswer => {}
            other => panic!("{other:?} from port {port}"),
        }
    }
}

#[tokio::test]
async fn silence_is_no_answer_and_the_next_probe_dials_anew() {
    let node = FakeNode::start(primary(1)).await;
    let mut watched = watch(node.port);
    watched.probed().await;
    node.set(Mode::Silent);
    watched.wake.notify_one();
    assert_eq!(watched.probed().await, ProbeResult::NoAnswer);
    watched.wake.notify_one();
    assert_eq!(watched.probed().await, ProbeResult::NoAnswer);
    node.set(primary(1));
    watched.wake.notify_one();
    assert_eq!(role(watched.probed().await), Role::Primary);
    assert_eq!(*node.accepted.borrow(), 3);
}

#[tokio::test]
async fn a_refused_login_says_why() {
    for (code, expected) in [
        (SqlState::CANNOT_CONNECT_NOW, ProbeResult::Starting),
        (SqlState::INVALID_PASSWORD, ProbeResult::Unusable(Unusable::Authentication)),
        (SqlState::INVALID_AUTHORIZATION_SPECIFICATION, ProbeResult::Unusable(Unusable::Authentication)),
        (SqlState::TOO_MANY_CONNECTIONS, ProbeResult::Unusable(Unusable::TooManyConnections)),
        (SqlState::INVALID_CATALOG_NAME, ProbeResult::Unusable(Unusable::Query)),
    ] {
        let node = FakeNode::start(Mode::Fatal(code)).await;
        assert_eq!(watch(node.port).probed().await, expected);
    }
}

#[tokio::test]
async fn a_refused_query_and_a_strange_answer_are_of_no_use() {
    for mode in [Mode::Error, Mode::Row("who knows".into())] {
        let node = FakeNode::start(mode).await;
        assert_eq!(watch(node.port).probed().await, ProbeResult::Unusable(Unusable::Query));
    }
}

#[test]
fn the_jitter_is_ten_percent_either_way() {
    for _ in 0..1000 {
        let interval = jittered(Duration::from_millis(500)).as_millis();
        assert!((449..=550).contains(&interval), "{interval}");
    }
}
