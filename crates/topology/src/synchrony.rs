//! Which standbys have every commit that was acknowledged, as far as the primary was set to wait for them.

use std::{sync::Arc, time::Instant};

use wire::Lsn;

use crate::{
    node::{Node, NodeId},
    replication::{Receiver, Replication, SyncState},
    sync_names::{Fenced, SyncMethod, SyncNames},
};

/// Whom commits on the present or last primary wait for, and who is known to have had them all.
///
/// While enough standbys are connected as synchronous, each acknowledged commit is on enough of these; while there are
/// fewer, nothing is acknowledged. So those who were synchronous when there were enough for the last time have all that
/// was acknowledged since they took over, whatever the primary said after that; and what was before, too, once they have
/// flushed what the primary had written by then. Until that is seen, their predecessors are needed as well.
///
/// What the primary did between its last answer and its end is not known: another standby that became synchronous in
/// that time is not among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synchrony {
    /// The value, as it is set.
    pub text: Arc<str>,
    /// Whose it is; `None` if that is not configured any more.
    pub primary: Option<NodeId>,
    /// Each of them is needed; the last is the one of the last time that there were enough. None: nobody is waited for.
    grounds: Vec<Ground>,
    /// The sample that was taken in last.
    sampled_at: Option<Instant>,
    /// By what name each node is known as a standby.
    called: Vec<(NodeId, Box<str>)>,
}

/// Who has to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Ground {
    /// All nodes without the primary: nobody was seen to be synchronous.
    Everybody,
    /// Enough of these.
    Witnesses(Witnesses),
}

/// Standbys of which enough together have every commit since they were seen first.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Witnesses {
    /// So many of them are waited for.
    count: usize,
    needed: usize,
    /// For each of them the nodes that it may be: one, as a rule; none, if it is somebody else, such as `pg_receivewal`.
    of: Vec<Vec<NodeId>>,
    proof: Proof,
}

/// How far it is proven that witnesses have every earlier commit, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proof {
    /// Not. A position that is told together with who receives may be the older of the two, so there are two steps.
    Seen,
    SeenAgain,
    /// They do once so many as are waited for have flushed up to here.
    From(Lsn),
    Given,
}

/// Grounds kept; beyond that everybody is needed.
const GROUNDS_MAX: usize = 4;

/// Why a set of standbys may not have every acknowledged commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uncovered {
    /// So many more are needed …
    pub needed: usize,
    /// … of these nodes …
    pub of: Vec<NodeId>,
    /// … and of so many that are no nodes.
    pub strangers: usize,
}

impl Synchrony {
    /// One that an earlier run remembered: who was synchronous is not known.
    pub(crate) fn remembered(text: Arc<str>) -> Self {
        let grounds = vec![Ground::Everybody];
        Self { text, primary: None, grounds, sampled_at: None, called: Vec::new() }
    }

    /// What `primary` says now, if it says it, after what was known before. A manager's fence is not the cluster's own
    /// setting: under it nothing is acknowledged.
    pub(crate) fn learn(before: Option<&Self>, primary: &Node, nodes: &[Node]) -> Option<Self> {
        let (said, sample) = primary.replication.sync_names.as_ref().zip(primary.said)?;
        let names = SyncNames::parse(said);
        let text: Arc<str> = match names.as_ref().map(|names| names.as_ref().and_then(SyncNames::fenced)) {
            Ok(Some(Fenced::Here(own))) if before.is_none() => own.into(),
            Ok(Some(_)) => Arc::clone(&before?.text),
            Ok(None) | Err(_) => {
                let same = before.map(|before| &before.text).filter(|text| ***text == **said);
                same.map_or_else(|| Arc::from(&**said), Arc::clone)
            }
        };
        let known = before.filter(|before| before.waits());
        let is_news = known.is_none_or(|known| known.sampled_at != Some(sample.sent_at));
        let mut grounds = known.map_or_else(|| vec![Ground::Everybody], |known| known.grounds.clone());
        match names {
            Ok(None) => grounds.clear(),
            Ok(Some(names)) => {
                if let Some(witnesses) = Witnesses::of(&names, primary, nodes) {
                    add(&mut grounds, witnesses, is_news, primary, sample.wal_lsn);
                }
            }
            Err(_) => grounds = vec![Ground::Everybody],
        }
        let (primary, sampled_at) = (Some(primary.id), Some(sample.sent_at));
        Some(Self { text, primary, grounds, sampled_at, called: Vec::new() })
    }

    /// The same with what nodes are called now, and whose it is if that was not known.
    pub(crate) fn with_names(mut self, nodes: &[Node], written_at: Option<&str>) -> Self {
        let at = |address: &str| nodes.iter().find(|node| *node.address == *address).map(|node| node.id);
        self.primary = self.primary.or_else(|| at(written_at?));
        self.called =
            nodes.iter().map(|node| (node.id, called(&node.name, &node.replication).into())).collect();
        self
    }

    /// Whether commits wait for anybody.
    #[must_use]
    pub fn waits(&self) -> bool {
        !matches!(SyncNames::parse(&self.text), Ok(None))
    }

    /// Whether every commit that was acknowledged is on at least one of `present`. Of a primary that was never seen with
    /// enough standbys (pgherd was restarted, for example), it takes all of `others`, the nodes without that primary.
    ///
    /// # Errors
    /// [`Uncovered`] tells who is missing.
    pub fn is_covered_by(&self, present: &[NodeId], others: &[NodeId]) -> Result<(), Uncovered> {
        self.grounds.iter().try_for_each(|ground| match ground {
            Ground::Everybody => {
                let absent = others.iter().filter(|node| !present.contains(node));
                let of: Vec<NodeId> = absent.copied().collect();
                if of.is_empty() { Ok(()) } else { Err(Uncovered { needed: of.len(), of, strangers: 0 }) }
            }
            Ground::Witnesses(witnesses) => witnesses.are_among(present),
        })
    }

    /// What `new` has to be set to when it takes the primary's place, so that its commits wait for as many as before;
    /// `None` if the value cannot be read.
    #[must_use]
    pub fn value_for(&self, new: NodeId) -> Option<Arc<str>> {
        let names = SyncNames::parse(&self.text).ok()?;
        let called = |wanted: NodeId| {
            self.called.iter().find(|(node, _)| *node == wanted).map(|(_, name)| name.as_ref())
        };
        let exchanged = names.zip(called(new)).zip(self.primary.filter(|old| *old != new).and_then(called));
        let exchanged = exchanged.and_then(|((names, new), old)| names.after_exchange(new, old));
        Some(exchanged.map_or_else(|| Arc::clone(&self.text), |names| names.to_string().into()))
    }
}

/// What a node is called as a standby: as it was last connected or as it is set up, or else as it is configured here.
fn called<'a>(name: &'a str, said: &'a Replication) -> &'a str {
    said.name.as_deref().unwrap_or(name)
}

/// Takes in who is synchronous as of a sample of the primary, at this position.
fn add(grounds: &mut Vec<Ground>, now: Witnesses, is_news: bool, primary: &Node, position: Lsn) {
    let flushed = |lsn: Lsn| {
        let receivers = primary.replication.receivers.iter();
        receivers.filter(|one| one.state.is_synchronous() && one.flushed >= lsn).count() >= now.count
    };
    match grounds.last_mut() {
        Some(Ground::Witnesses(last))
            if (last.count, &last.of) == (now.count, &now.of) && last.needed == now.needed =>
        {
            if is_news {
                last.proof = match last.proof {
                    Proof::Seen => Proof::SeenAgain,
                    Proof::SeenAgain => Proof::From(position),
                    Proof::From(lsn) if flushed(lsn) => Proof::Given,
                    proof @ (Proof::From(_) | Proof::Given) => proof,
                };
            }
            if last.proof == Proof::Given {
                grounds.drain(..grounds.len() - 1);
            }
        }
        _ => {
            if grounds.len() >= GROUNDS_MAX {
                *grounds = vec![Ground::Everybody];
            }
            grounds.push(Ground::Witnesses(now));
        }
    }
}

impl Witnesses {
    /// Those who are synchronous now; `None`: too few.
    fn of(names: &SyncNames, primary: &Node, nodes: &[Node]) -> Option<Self> {
        let counts = match names.method {
            SyncMethod::First => SyncState::Sync,
            SyncMethod::Any => SyncState::Quorum,
        };
        let receivers = primary.replication.receivers.iter().filter(|one| one.state == counts);
        let of: Vec<Vec<NodeId>> =
            receivers.map(|receiver| who_may_be(receiver, primary.id, nodes)).collect();
        if of.len() < names.count {
            return None;
        }
        let needed = match names.method {
            // each of them has every commit
            SyncMethod::First => 1,
            // so many that no commit can be on others alone
            SyncMethod::Any => of.len() - names.count + 1,
        };
        Some(Self { count: names.count, needed, of, proof: Proof::Seen })
    }

    fn are_among(&self, present: &[NodeId]) -> Result<(), Uncovered> {
        let is_there = |one: &&Vec<NodeId>| !one.is_empty() && one.iter().all(|node| present.contains(node));
        let there = self.of.iter().filter(is_there).count();
        if there >= self.needed {
            return Ok(());
        }
        let absent = self.of.iter().flatten().filter(|node| !present.contains(node));
        let mut of: Vec<NodeId> = absent.copied().collect();
        of.sort_unstable();
        of.dedup();
        let strangers = self.of.iter().filter(|one| one.is_empty()).count();
        Err(Uncovered { needed: self.needed - there, of, strangers })
    }
}

/// The nodes of its name, and if several have it, of its address.
fn who_may_be(receiver: &Receiver, primary: NodeId, nodes: &[Node]) -> Vec<NodeId> {
    let named: Vec<&Node> = (nodes.iter())
        .filter(|node| node.id != primary && node.replication.name.as_deref() == Some(&*receiver.name))
        .collect();
    let is_there = |node: &&&Node| receiver.address.is_some() && node.host().parse().ok() == receiver.address;
    let there: Vec<NodeId> = named.iter().filter(is_there).map(|node| node.id).collect();
    if there.is_empty() { named.iter().map(|node| node.id).collect() } else { there }
}
