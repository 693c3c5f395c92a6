//! What is examined: a cluster as it is configured and as it was found.

use crate::{Facts, Mode, Node, Privilege, Secrets, conninfo::Conninfo};

/// A cluster, and what pgherd means to do with it.
#[derive(Debug, Clone, PartialEq)]
pub struct Subject {
    /// What it is asked for.
    pub purpose: Purpose,
    /// Its nodes, in configured order.
    pub nodes: Vec<Node>,
}

/// What pgherd's configuration says that bears on the findings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purpose {
    /// The monitor's role.
    pub user: String,
    /// The database that it connects to.
    pub database: String,
    /// What is done about a lost primary.
    pub mode: Mode,
    /// How roles are looked up that pgherd's own files do not have; `None`: they are not.
    pub lookup: Option<Lookup>,
    /// Whether epochs survive a restart.
    pub memory: Memory,
    /// How many server connections this pgherd may make to a node; `None`: that depends on who logs in.
    pub demand: Option<u64>,
}

/// A query for secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    /// The SQL, with `$1` for the role.
    pub sql: String,
    /// The database in which it is run.
    pub database: String,
    /// Whether logins go on without it.
    pub optional: bool,
}

/// Whether what was learned survives a restart of pgherd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// `state_dir` is set.
    Kept,
    /// It is not.
    Lost,
}

impl Purpose {
    /// The privileges that nodes are asked about. Whether secrets can be looked up shows when it is tried.
    #[must_use]
    pub fn privileges(&self) -> Vec<Privilege> {
        Privilege::of_monitor(self.mode, Secrets::Own)
    }
}

impl Subject {
    /// Nodes that said something.
    pub(crate) fn seen(&self) -> impl Iterator<Item = (&Node, &Facts)> {
        self.nodes.iter().filter_map(|node| Some((node, node.facts()?)))
    }

    /// The primary on the highest timeline.
    pub(crate) fn primary(&self) -> Option<(&Node, &Facts)> {
        self.seen().filter(|(_, facts)| !facts.in_recovery).max_by_key(|(_, facts)| facts.timeline)
    }

    /// The standbys.
    pub(crate) fn standbys(&self) -> impl Iterator<Item = (&Node, &Facts)> {
        self.seen().filter(|(_, facts)| facts.in_recovery)
    }

    /// Whether somebody streams, or is to stream, from a slot.
    pub(crate) fn uses_slots(&self) -> bool {
        self.purpose.mode == Mode::Manage
            || self.seen().any(|(_, facts)| !facts.setting("primary_slot_name").is_empty())
    }

    /// The role that a node streams with, or would: its own, or else that of the others.
    pub(crate) fn streams_as(&self, facts: &Facts) -> Option<String> {
        let user = |facts: &Facts| {
            let user = Conninfo::parse(facts.setting("primary_conninfo"))?.user;
            (!user.is_empty()).then_some(user)
        };
        user(facts).or_else(|| self.standbys().find_map(|(_, facts)| user(facts)))
    }
}

impl Facts {
    /// What a node calls itself as a standby (manual, "synchronous_standby_names").
    pub(crate) fn standby_name(&self) -> String {
        let named =
            Conninfo::parse(self.setting("primary_conninfo")).map(|conninfo| conninfo.application_name);
        let named = named.filter(|name| !name.is_empty());
        let cluster_name = self.setting("cluster_name");
        named.unwrap_or_else(|| if cluster_name.is_empty() { "walreceiver" } else { cluster_name }.to_owned())
    }
}
