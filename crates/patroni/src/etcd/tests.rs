#![expect(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test may panic")]

use proptest::prelude::*;

use super::*;
use crate::{Leader, Tag, View};

/// Keys and watches of real clusters, as the gateway of etcd 3.4 told them. The watch: Patroni is paused and resumed,
/// gets synchronous replication, then a switchover that is scheduled, withdrawn and at last done.
const ANSWERS: [(&str, &[u8], &[u8]); 2] = [
    (
        "3.0.2",
        include_bytes!("../../tests/answers/3.0.2/range.json"),
        include_bytes!("../../tests/answers/3.0.2/watch.ndjson"),
    ),
    (
        "4.1.5",
        include_bytes!("../../tests/answers/4.1.5/range.json"),
        include_bytes!("../../tests/answers/4.1.5/watch.ndjson"),
    ),
];

fn read(range: &[u8]) -> EtcdKeys {
    let mut keys = EtcdKeys::new("service", "main");
    assert_eq!(keys.view().leader, Leader::Unknown);
    assert!(keys.apply_range(range).unwrap());
    keys
}

fn leader(view: &View) -> &str {
    match &view.leader {
        Leader::Member(name) => name,
        Leader::Nobody => "nobody",
        Leader::Unknown => "unknown",
    }
}

#[test]
fn the_keys_of_both_versions_are_read() {
    for (version, range, _) in ANSWERS {
        let view = read(range).view();
        assert_eq!(view.members.len(), 3, "{version}");
        let leading = view.leading().unwrap();
        assert_eq!((leading.role, &*leading.state, leading.timeline), (Role::Leader, "running", Some(1)));
        assert_eq!(leading.host.as_deref(), Some("127.0.0.1"));
        assert!(leading.port > 21_000 && leading.api.is_some(), "{leading:?}");
        let replicas = view.members.iter().filter(|member| member.role == Role::Replica).count();
        assert_eq!((replicas, view.automation, view.scheduled), (2, Automation::Active, None), "{version}");
    }
}

#[test]
fn a_watch_tells_each_change_of_the_leader_key() {
    for (version, range, watch) in ANSWERS {
        let mut keys = read(range);
        let mut seen = vec![leader(&keys.view()).to_owned()];
        let (mut paused, mut scheduled, mut synchronous) = (0, 0, 0);
        for line in watch.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            keys.apply_watch(line).unwrap();
            let view = keys.view();
            if seen.last().unwrap() != leader(&view) {
                seen.push(leader(&view).to_owned());
            }
            paused += u32::from(view.automation == Automation::Paused);
            scheduled += u32::from(view.scheduled.is_some());
            synchronous += view.members.iter().filter(|member| member.role == Role::SyncStandby).count();
        }
        let first = seen[0].clone();
        assert_eq!(seen, [first.as_str(), "nobody", "n2"], "{version}");
        assert!(
            paused > 0 && scheduled > 0 && synchronous > 0,
            "{version}: {paused} {scheduled} {synchronous}"
        );
        assert_eq!(keys.view().automation, Automation::Active);
        assert_eq!(keys.view().scheduled, None);
        let revision = keys.revision();
        assert!(!keys.apply_range(range).unwrap(), "an answer that was overtaken");
        assert_eq!((leader(&keys.view()), keys.revision()), ("n2", revision));
        for line in watch.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            assert!(!keys.apply_watch(line).unwrap(), "{version}: what is known already changes nothing");
        }
    }
}

#[test]
fn keys_are_those_of_the_scope_alone() {
    let keys = EtcdKeys::new("/service/", "main");
    assert_eq!((keys.first(), &*keys.end()), ("/service/main/", "/service/main0"));
    assert_eq!(EtcdKeys::new("", "main").first(), "/main/");
    let mut other = EtcdKeys::new("service", "other");
    assert!(!other.apply_range(ANSWERS[0].1).unwrap());
    assert_eq!((other.view().leader, other.view().members.len()), (Leader::Nobody, 0));
}

#[test]
fn a_quorum_is_told_from_a_synchronous_standby() {
    let mut keys = read(ANSWERS[1].1);
    let pair = |key: &str, value: &str, revision| KeyValue { key: key.into(), value: value.into(), revision };
    keys.put(&pair("/service/main/sync", r#"{"leader":"n1","quorum":1,"sync_standby":"n2,n3"}"#, 1000));
    keys.put(&pair("/service/main/members/n3", r#"{"conn_url":"postgres://u:p@[::1]:5433/postgres","role":"replica","tags":{"noloadbalance":true,"nofailover":"yes","failover_priority":"2","nosync":false}}"#, 1001));
    let view = keys.view();
    let roles: Vec<_> = view.members.iter().map(|member| member.role).collect();
    assert_eq!(roles, [Role::Leader, Role::QuorumStandby, Role::QuorumStandby]);
    let n3 = view.member("n3").unwrap();
    assert_eq!((n3.host.as_deref(), n3.port), (Some("::1"), 5433));
    assert_eq!(n3.tags, [Tag::NoFailover, Tag::NoLoadBalance, Tag::FailoverPriority(2)]);
}

#[test]
fn refusals_and_ends_are_told_from_answers() {
    let mut keys = EtcdKeys::new("service", "main");
    let refused = keys.apply_range(br#"{"error":"etcdserver: user name is empty","code":3}"#).unwrap_err();
    assert_eq!(refused.to_string(), "etcd refuses: etcdserver: user name is empty");
    let refused = keys.apply_watch(br#"{"error":{"grpc_code":14,"message":"no leader"}}"#).unwrap_err();
    assert_eq!(refused.to_string(), "etcd refuses: no leader");
    let compacted = br#"{"result":{"header":{"revision":"9"},"canceled":true,"compact_revision":"7"}}"#;
    assert!(matches!(keys.apply_watch(compacted), Err(EtcdError::Ended)));
    assert!(matches!(keys.apply_watch(b"{}"), Err(EtcdError::Ended)));
    assert!(matches!(keys.apply_watch(b"hello"), Err(EtcdError::Malformed(_))));
    assert_eq!(keys, EtcdKeys::new("service", "main"));
}

#[test]
fn members_beyond_the_bound_are_left_out() {
    let mut keys = EtcdKeys::new("service", "main");
    for at in 0..1000 {
        let key = format!("/service/main/members/{at}-{}", "x".repeat(400));
        keys.put(&KeyValue { key: key.into_bytes(), value: b"{}".to_vec(), revision: at });
    }
    let view = keys.view();
    assert_eq!(view.members.len(), MEMBERS_MAX);
    assert!(view.members.iter().all(|member| member.name.len() <= 255));
}

proptest! {
    #[test]
    fn no_bytes_break_it(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0_usize..4000, text in ".{0,60}") {
        let mut keys = read(ANSWERS[1].1);
        let _ = keys.apply_range(&bytes);
        let _ = keys.apply_watch(&bytes);
        let mut real = ANSWERS[1].1.to_vec();
        let at = at.min(real.len());
        real.splice(at..(at + bytes.len()).min(real.len()), bytes.drain(..));
        let _ = keys.apply_range(&real);
        let pair = KeyValue { key: format!("/service/main/{text}").into_bytes(), value: text.into_bytes(), revision: 1 };
        keys.put(&pair);
        keys.remove(&pair);
        let _ = keys.view();
    }
}
