//! Patroni's keys in etcd, as the JSON gateway of etcd's v3 interface tells them.

mod answer;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    Endpoint,
    endpoint::host_and_port,
    rest::{automation, number, tags, text},
    view::{Automation, Leader, MEMBERS_MAX, Member, Role, Scheduled, View, word},
};
use answer::{KeyValue, RangeAnswer, WatchLine};

/// The longest key that is looked at, in bytes.
const KEY_MAX: usize = 1024;

/// The longest value that is kept, in bytes; Patroni's are far shorter.
const VALUE_MAX: usize = 256 * 1024;

/// An answer of etcd that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EtcdError {
    /// It is not what the gateway answers.
    #[error("the answer is not what etcd answers")]
    Malformed(#[source] serde_json::Error),
    /// etcd refuses; its own words.
    #[error("etcd refuses: {0}")]
    Refused(Box<str>),
    /// The watch has ended: it was cancelled, or what it should begin with is forgotten.
    #[error("etcd has ended the watch")]
    Ended,
}

/// What a cluster's keys were at one revision.
///
/// Revisions only grow: an answer that is older than what is known changes nothing, so that a look at the keys and a
/// watch on them can both be fed in here, in any order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdKeys {
    /// `/service/main/`.
    prefix: String,
    revision: u64,
    leader: Option<Box<str>>,
    members: BTreeMap<Box<str>, Member>,
    synchronous: Vec<Box<str>>,
    quorum: bool,
    automation: Automation,
    scheduled: Option<Scheduled>,
}

impl EtcdKeys {
    /// Nothing is known of the keys below `/namespace/scope/`.
    #[must_use]
    pub fn new(namespace: &str, scope: &str) -> Self {
        // As Patroni puts them together.
        let namespace = namespace.trim_matches('/');
        let prefix =
            if namespace.is_empty() { format!("/{scope}/") } else { format!("/{namespace}/{scope}/") };
        Self {
            prefix,
            revision: 0,
            leader: None,
            members: BTreeMap::new(),
            synchronous: Vec::new(),
            quorum: false,
            automation: Automation::Active,
            scheduled: None,
        }
    }

    /// The keys that matter: from this one …
    #[must_use]
    pub fn first(&self) -> &str {
        &self.prefix
    }

    /// … to below this one.
    #[must_use]
    pub fn end(&self) -> String {
        // "/" is followed by "0".
        format!("{}0", self.prefix.strip_suffix('/').unwrap_or(&self.prefix))
    }

    /// The revision that all this is of; 0 before the first.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Takes in the answer to `/v3/kv/range`, which tells of all keys. True: something has changed.
    ///
    /// # Errors
    /// [`EtcdError`]; then nothing has.
    pub fn apply_range(&mut self, body: &[u8]) -> Result<bool, EtcdError> {
        let answer = RangeAnswer::read(body)?;
        if answer.revision < self.revision {
            return Ok(false);
        }
        let mut fresh = Self {
            prefix: self.prefix.clone(),
            revision: answer.revision,
            leader: None,
            members: BTreeMap::new(),
            synchronous: Vec::new(),
            quorum: false,
            automation: Automation::Active,
            scheduled: None,
        };
        answer.pairs.iter().for_each(|pair| fresh.put(pair));
        let changed = !fresh.tells_the_same(self);
        *self = fresh;
        Ok(changed)
    }

    /// Takes in a line of the answer to `/v3/watch`. True: something has changed.
    ///
    /// # Errors
    /// [`EtcdError`]; the watch is of no use any more then.
    pub fn apply_watch(&mut self, line: &[u8]) -> Result<bool, EtcdError> {
        let line = WatchLine::read(line)?;
        let before = self.clone();
        for event in &line.events {
            if event.pair.revision <= before.revision {
                continue;
            }
            if event.deleted {
                self.remove(&event.pair);
            } else {
                self.put(&event.pair);
            }
        }
        self.revision = self.revision.max(line.revision);
        Ok(!self.tells_the_same(&before))
    }

    /// What the keys say.
    #[must_use]
    pub fn view(&self) -> View {
        let leads = |member: &Member| self.leader.as_ref() == Some(&member.name);
        let role = |member: &Member| match member.role {
            Role::StandbyLeader if leads(member) => Role::StandbyLeader,
            _ if leads(member) => Role::Leader,
            Role::Replica if self.synchronous.contains(&member.name) => {
                if self.quorum {
                    Role::QuorumStandby
                } else {
                    Role::SyncStandby
                }
            }
            role => role,
        };
        View {
            leader: match &self.leader {
                Some(name) => Leader::Member(name.clone()),
                None if self.revision == 0 => Leader::Unknown,
                None => Leader::Nobody,
            },
            members: (self.members.values())
                .map(|member| Member { role: role(member), ..member.clone() })
                .collect(),
            synchronous: self.synchronous.clone(),
            automation: self.automation,
            scheduled: self.scheduled.clone(),
            scope: None,
        }
    }

    fn tells_the_same(&self, other: &Self) -> bool {
        (&self.leader, &self.members, &self.synchronous, self.quorum)
            == (&other.leader, &other.members, &other.synchronous, other.quorum)
            && (self.automation, &self.scheduled) == (other.automation, &other.scheduled)
    }

    fn put(&mut self, pair: &KeyValue) {
        let Some(key) = self.key(pair) else { return };
        if pair.value.len() > VALUE_MAX {
            return;
        }
        // A value that is no JSON says nothing; the leader's is a bare name.
        let json = || serde_json::from_slice::<Value>(&pair.value).unwrap_or_default();
        match key {
            Key::Leader => self.leader = Some(word(&String::from_utf8_lossy(&pair.value))),
            Key::Sync => {
                let sync = json();
                self.synchronous = names(sync.get("sync_standby"));
                self.quorum = sync.get("quorum").and_then(Value::as_u64).is_some_and(|quorum| quorum > 0);
            }
            Key::Config => self.automation = automation(json().get("pause").unwrap_or(&Value::Null)),
            Key::Failover => self.scheduled = scheduled(&json()),
            Key::Member(name) => {
                let full = self.members.len() >= MEMBERS_MAX && !self.members.contains_key(&name);
                if !full {
                    self.members.insert(name.clone(), member(name, &json()));
                }
            }
        }
    }

    fn remove(&mut self, pair: &KeyValue) {
        match self.key(pair) {
            Some(Key::Leader) => self.leader = None,
            Some(Key::Sync) => (self.synchronous, self.quorum) = (Vec::new(), false),
            Some(Key::Config) => self.automation = Automation::Active,
            Some(Key::Failover) => self.scheduled = None,
            Some(Key::Member(name)) => drop(self.members.remove(&name)),
            None => {}
        }
    }

    fn key(&self, pair: &KeyValue) -> Option<Key> {
        let key = std::str::from_utf8(&pair.key).ok().filter(|key| key.len() <= KEY_MAX)?;
        match key.strip_prefix(&self.prefix)? {
            "leader" => Some(Key::Leader),
            "sync" => Some(Key::Sync),
            "config" => Some(Key::Config),
            "failover" => Some(Key::Failover),
            rest => rest
                .strip_prefix("members/")
                .filter(|name| !name.is_empty())
                .map(|name| Key::Member(word(name))),
        }
    }
}

/// A key that says something about who leads.
enum Key {
    Leader,
    Sync,
    Config,
    Failover,
    Member(Box<str>),
}

fn member(name: Box<str>, value: &Value) -> Member {
    let of = |key: &str| value.get(key).unwrap_or(&Value::Null);
    let address = of("conn_url").as_str().and_then(address);
    let (host, port) = address.map_or((None, None), |(host, port)| (Some(word(&host)), port));
    Member {
        name,
        host,
        port: port.unwrap_or(5432),
        api: of("api_url").as_str().and_then(|url| url.parse::<Endpoint>().ok()),
        role: of("role").as_str().map_or(Role::Other, Role::of),
        // A standby that streams says so beside that it runs (version 4).
        state: text(of("replication_state")).or_else(|| text(of("state"))).unwrap_or_default(),
        timeline: number(of("timeline")),
        lag_bytes: None,
        tags: tags(of("tags")),
    }
}

/// Host and port of `postgres://user:password@host:port/postgres`.
fn address(url: &str) -> Option<(String, Option<u16>)> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    host_and_port(authority.rsplit_once('@').map_or(authority, |(_, address)| address)).ok()
}

/// Names between commas, as in the `/sync` key.
fn names(value: Option<&Value>) -> Vec<Box<str>> {
    let text = value.and_then(Value::as_str).unwrap_or_default();
    text.split(',').map(str::trim).filter(|name| !name.is_empty()).take(MEMBERS_MAX).map(word).collect()
}

/// The `/failover` key holds a switchover that is under way too; that has no time.
fn scheduled(value: &Value) -> Option<Scheduled> {
    let of = |key: &str| value.get(key).and_then(text);
    Some(Scheduled { at: of("scheduled_at")?, from: of("leader"), to: of("member") })
}
