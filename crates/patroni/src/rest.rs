//! What Patroni's REST API answers.

use serde::Deserialize;
use serde_json::Value;

use crate::{
    Endpoint,
    view::{Automation, Leader, MEMBERS_MAX, Member, Role, Scheduled, Tag, View, word},
};

/// An answer that is none.
#[derive(Debug, thiserror::Error)]
#[error("the answer is not what Patroni answers")]
pub struct MalformedAnswer(#[from] serde_json::Error);

/// `GET /cluster`. What is not understood of a member is left out, not refused: versions differ.
#[derive(Debug, Deserialize)]
struct Cluster {
    members: Vec<RestMember>,
    #[serde(default)]
    pause: Value,
    scheduled_switchover: Option<RestScheduled>,
    #[serde(default)]
    scope: Value,
}

#[derive(Debug, Deserialize)]
struct RestMember {
    name: String,
    #[serde(default)]
    role: Value,
    #[serde(default)]
    state: Value,
    #[serde(default)]
    api_url: Value,
    #[serde(default)]
    host: Value,
    #[serde(default)]
    port: Value,
    #[serde(default)]
    timeline: Value,
    /// A number, or "unknown".
    #[serde(default)]
    lag: Value,
    #[serde(default)]
    tags: Value,
}

#[derive(Debug, Deserialize)]
struct RestScheduled {
    #[serde(default)]
    at: Value,
    #[serde(default)]
    from: Value,
    #[serde(default)]
    to: Value,
}

impl View {
    /// Reads the answer to `GET /cluster`. The caller bounds its length.
    ///
    /// # Errors
    /// [`MalformedAnswer`] if it is no JSON, or has no members with names.
    pub fn of_cluster(body: &[u8]) -> Result<Self, MalformedAnswer> {
        let cluster: Cluster = serde_json::from_slice(body)?;
        let members: Vec<Member> = cluster.members.iter().take(MEMBERS_MAX).map(member).collect();
        let leads = |member: &&Member| matches!(member.role, Role::Leader | Role::StandbyLeader);
        let waits = |member: &&Member| matches!(member.role, Role::SyncStandby | Role::QuorumStandby);
        Ok(Self {
            leader: members
                .iter()
                .find(leads)
                .map_or(Leader::Nobody, |member| Leader::Member(member.name.clone())),
            synchronous: members.iter().filter(waits).map(|member| member.name.clone()).collect(),
            automation: automation(&cluster.pause),
            scope: text(&cluster.scope),
            scheduled: cluster.scheduled_switchover.map(|scheduled| Scheduled {
                at: text(&scheduled.at).unwrap_or_default(),
                from: text(&scheduled.from),
                to: text(&scheduled.to),
            }),
            members,
        })
    }
}

fn member(member: &RestMember) -> Member {
    Member {
        name: word(&member.name),
        host: text(&member.host),
        port: number(&member.port).unwrap_or(5432),
        api: member.api_url.as_str().and_then(|url| url.parse::<Endpoint>().ok()),
        role: member.role.as_str().map_or(Role::Other, Role::of),
        state: text(&member.state).unwrap_or_default(),
        timeline: number(&member.timeline),
        lag_bytes: number(&member.lag),
        tags: tags(&member.tags),
    }
}

/// What a node's own Patroni says of it: the answer to `GET /patroni`, or to any of the health checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// What it is; Patroni knows it from PostgreSQL.
    pub role: Role,
    /// `running`, `stopped`, …
    pub state: Box<str>,
    /// Its timeline.
    pub timeline: Option<u32>,
    /// The cluster's name.
    pub scope: Option<Box<str>>,
    /// Whether Patroni acts by itself.
    pub automation: Automation,
    /// What was configured for it.
    pub tags: Vec<Tag>,
}

impl Status {
    /// Reads it. The caller bounds its length.
    ///
    /// # Errors
    /// [`MalformedAnswer`] if it is no JSON object.
    pub fn read(body: &[u8]) -> Result<Self, MalformedAnswer> {
        let object: serde_json::Map<String, Value> = serde_json::from_slice(body)?;
        let of = |name: &str| object.get(name).unwrap_or(&Value::Null);
        Ok(Self {
            role: of("role").as_str().map_or(Role::Other, Role::of),
            state: text(of("state")).unwrap_or_default(),
            timeline: number(of("timeline")),
            scope: of("patroni").get("scope").and_then(text),
            automation: automation(of("pause")),
            tags: tags(of("tags")),
        })
    }
}

pub(crate) fn automation(pause: &Value) -> Automation {
    if is_true(pause) { Automation::Paused } else { Automation::Active }
}

/// A text that says something.
pub(crate) fn text(value: &Value) -> Option<Box<str>> {
    value.as_str().filter(|text| !text.is_empty()).map(word)
}

/// A number that fits; also one that was written as text.
pub(crate) fn number<T: TryFrom<u64>>(value: &Value) -> Option<T> {
    let number = value.as_u64().or_else(|| value.as_str()?.parse().ok())?;
    T::try_from(number).ok()
}

/// Tags are written by people into YAML, and passed on as they are.
pub(crate) fn tags(value: &Value) -> Vec<Tag> {
    let Some(object) = value.as_object() else { return Vec::new() };
    let mut tags = Vec::new();
    let switches = [
        ("nofailover", Tag::NoFailover),
        ("noloadbalance", Tag::NoLoadBalance),
        ("nosync", Tag::NoSync),
        ("nostream", Tag::NoStream),
        ("clonefrom", Tag::CloneFrom),
    ];
    for (name, tag) in switches {
        if object.get(name).is_some_and(is_true) {
            tags.push(tag);
        }
    }
    if let Some(priority) = object.get("failover_priority") {
        let priority = priority.as_i64().or_else(|| priority.as_str()?.parse().ok());
        tags.extend(priority.map(Tag::FailoverPriority));
    }
    tags
}

/// As Patroni reads truth values (`parse_bool` in its documentation of tags): also as words and as 1.
fn is_true(value: &Value) -> bool {
    match value {
        Value::Bool(is) => *is,
        Value::Number(number) => number.as_i64() == Some(1),
        Value::String(word) => {
            ["on", "true", "yes", "1"].iter().any(|known| word.trim().eq_ignore_ascii_case(known))
        }
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test may panic")]

    use proptest::prelude::*;

    use super::*;

    macro_rules! answers {
        ($file:literal) => {
            [
                include_bytes!(concat!("../tests/answers/3.0.2/", $file)).as_slice(),
                include_bytes!(concat!("../tests/answers/4.1.5/", $file)).as_slice(),
            ]
        };
    }

    #[test]
    fn the_members_of_both_versions_are_read() {
        for body in answers!("cluster.json") {
            let view = View::of_cluster(body).unwrap();
            assert_eq!(view.members.len(), 3);
            let leading = view.leading().unwrap();
            assert_eq!((leading.role, &*leading.state, leading.timeline), (Role::Leader, "running", Some(1)));
            assert_eq!(leading.host.as_deref(), Some("127.0.0.1"));
            let followers = view.members.iter().filter(|member| member.role == Role::Replica);
            assert!(followers.clone().all(|member| member.lag_bytes == Some(0) && member.api.is_some()));
            assert_eq!((followers.count(), view.automation, view.scheduled), (2, Automation::Active, None));
        }
    }

    #[test]
    fn pause_synchronous_standbys_and_scheduled_switchovers_are_seen() {
        for body in answers!("cluster-paused.json") {
            assert_eq!(View::of_cluster(body).unwrap().automation, Automation::Paused);
        }
        for body in answers!("cluster-sync.json") {
            let view = View::of_cluster(body).unwrap();
            assert_eq!(view.synchronous, ["n2".into()]);
            assert_eq!(view.member("n2").unwrap().role, Role::SyncStandby);
        }
        for body in answers!("cluster-scheduled.json") {
            let scheduled = View::of_cluster(body).unwrap().scheduled.unwrap();
            assert_eq!((&*scheduled.at, scheduled.to.as_deref()), ("2030-01-01T00:00:00+00:00", Some("n2")));
        }
    }

    #[test]
    fn a_member_that_says_little_is_read_all_the_same() {
        for body in answers!("cluster-after-switchover.json") {
            let view = View::of_cluster(body).unwrap();
            let silent = view.members.iter().find(|member| &*member.state != "running").unwrap();
            assert_eq!((silent.timeline, silent.lag_bytes), (None, None), "{silent:?}");
        }
        let view =
            View::of_cluster(br#"{"members":[{"name":"a"},{"name":"b","role":7,"port":"5433","tags":[]}]}"#);
        let view = view.unwrap();
        assert_eq!((view.leader, view.members[0].port, view.members[1].port), (Leader::Nobody, 5432, 5433));
    }

    #[test]
    fn a_nodes_own_status_is_read() {
        let [older, newer] = answers!("patroni.json").map(|body| Status::read(body).unwrap());
        assert_eq!(
            (older.role, older.scope.as_deref(), older.timeline),
            (Role::Replica, Some("main"), Some(1))
        );
        assert_eq!(
            (newer.role, newer.scope.as_deref(), &*newer.state),
            (Role::Primary, Some("main"), "running")
        );
    }

    #[test]
    fn roles_have_different_words_in_each_version() {
        let words = [
            "master",
            "primary",
            "replica",
            "leader",
            "standby_leader",
            "sync_standby",
            "quorum_standby",
            "x",
        ];
        let roles = words.map(|word| Role::of(word).as_str());
        assert_eq!(
            roles,
            [
                "primary",
                "primary",
                "replica",
                "leader",
                "standby_leader",
                "sync_standby",
                "quorum_standby",
                "other"
            ]
        );
    }

    #[test]
    fn tags_are_what_people_write_into_yaml() {
        let read = |text: &str| tags(&serde_json::from_str(text).unwrap());
        assert_eq!(
            read(r#"{"nofailover":true,"noloadbalance":"on","nosync":1,"clonefrom":"TRUE","x":{}}"#),
            [Tag::NoFailover, Tag::NoLoadBalance, Tag::NoSync, Tag::CloneFrom]
        );
        assert_eq!(
            read(r#"{"nofailover":false,"noloadbalance":"no","nosync":0,"failover_priority":-1}"#),
            [Tag::FailoverPriority(-1)]
        );
        assert_eq!(read("null"), []);
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for body in ["", "null", "[]", "{}", "{\"members\":7}", "{\"members\":[{}]}", "<html>"] {
            assert!(View::of_cluster(body.as_bytes()).is_err(), "{body}");
        }
        let deep = "[".repeat(100_000);
        assert!(View::of_cluster(format!("{{\"members\":{deep}").as_bytes()).is_err());
        assert!(Status::read(b"[]").is_err());
    }

    #[test]
    fn a_crowd_and_long_or_hostile_names_are_cut() {
        let name = format!("\\u001b[31m{}", "n".repeat(10_000));
        let members = vec![format!("{{\"name\":\"{name}\"}}"); 1000].join(",");
        let view = View::of_cluster(format!("{{\"members\":[{members}]}}").as_bytes()).unwrap();
        assert_eq!(view.members.len(), MEMBERS_MAX);
        assert!(view.members[0].name.starts_with("[31mn") && view.members[0].name.len() == 255);
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(bytes in proptest::collection::vec(any::<u8>(), 0..60), at in 0_usize..900) {
            let mut real = answers!("cluster.json")[1].to_vec();
            let at = at.min(real.len());
            real.splice(at..(at + bytes.len()).min(real.len()), bytes.iter().copied());
            let _ = (View::of_cluster(&real), Status::read(&real), View::of_cluster(&bytes));
        }
    }
}
