//! Which standbys have every commit that was acknowledged, as far as the primary was set to wait for them.

use std::sync::Arc;

use crate::{
    node::{Node, NodeId},
    replication::{Receiver, Replication, SyncState},
    sync_names::{Fenced, SyncMethod, SyncNames},
};

/// Whom commits on the present or last primary wait for, and who is known to have had them all.
///
/// While enough standbys are connected as synchronous, each acknowledged commit is on enough of these; while there are
/// fewer, nothing is acknowledged. So those who were synchronous when there were enough for the last time have all that
/// ever was, whatever the primary said after that. What the primary did between its last answer and its end is not known:
/// another standby that became synchronous in that time is not among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synchrony {
    /// The value, as it is set.
    pub text: Arc<str>,
    /// Whose it is; `None` if that is not configured any more.
    pub primary: Option<NodeId>,
    witnesses: Option<Witnesses>,
    /// By what name each node is known as a standby.
    called: Vec<(NodeId, Box<str>)>,
}

/// Standbys of which enough together have every commit.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Witnesses {
    needed: usize,
    /// For each of them the nodes that it may be: one, as a rule; none, if it is somebody else, such as `pg_receivewal`.
    of: Vec<Vec<NodeId>>,
}

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
        Self { text, primary: None, witnesses: None, called: Vec::new() }
    }

    /// What `primary` says now, if it says it, after what was known before. A manager's fence is not the cluster's own
    /// setting: under it nothing is acknowledged.
    pub(crate) fn learn(before: Option<&Self>, primary: &Node, nodes: &[Node]) -> Option<Self> {
        let said = primary.replication.sync_names.as_ref()?;
        let names = SyncNames::parse(said);
        let text: Arc<str> = match names.as_ref().map(|names| names.as_ref().and_then(SyncNames::fenced)) {
            Ok(Some(Fenced::Here(own))) if before.is_none() => own.into(),
            Ok(Some(_)) => Arc::clone(&before?.text),
            Ok(None) | Err(_) => before
                .map(|before| &before.text)
                .filter(|text| ***text == **said)
                .map_or_else(|| Arc::from(&**said), Arc::clone),
        };
        let witnesses = match &names {
            Ok(None) => None,
            Ok(Some(names)) => Witnesses::of(names, primary, nodes),
            Err(_) => None,
        };
        let waits = !matches!(names, Ok(None));
        let kept =
            || before.filter(|before| waits && before.waits()).and_then(|before| before.witnesses.clone());
        Some(Self { text, primary: Some(primary.id), witnesses: witnesses.or_else(kept), called: Vec::new() })
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
        if !self.waits() {
            return Ok(());
        }
        let Some(Witnesses { needed, of }) = &self.witnesses else {
            let of: Vec<NodeId> = others.iter().filter(|node| !present.contains(node)).copied().collect();
            return if of.is_empty() {
                Ok(())
            } else {
                Err(Uncovered { needed: of.len(), of, strangers: 0 })
            };
        };
        let is_there = |one: &&Vec<NodeId>| !one.is_empty() && one.iter().all(|node| present.contains(node));
        let there = of.iter().filter(is_there).count();
        if there >= *needed {
            return Ok(());
        }
        let mut missing: Vec<NodeId> =
            of.iter().flatten().filter(|node| !present.contains(node)).copied().collect();
        missing.sort_unstable();
        missing.dedup();
        let strangers = of.iter().filter(|one| one.is_empty()).count();
        Err(Uncovered { needed: needed - there, of: missing, strangers })
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
        Some(Self { needed, of })
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
