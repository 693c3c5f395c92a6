//! What Patroni says, beside what the nodes say themselves: hints for the cluster, and what people are shown.

use std::{sync::Arc, time::Instant};

use ::patroni::{Control, Endpoint, Follower, Leader, Member, Pace, Role, Sighting, Source, Tag, View};
use conn::TlsFileError;
use tokio::sync::mpsc;
use topology::{Cluster, HintedLeader, LeaderHint, NodeId, NodeView, Snapshot};

/// How many times the configured interval may pass without a word of etcd until the REST API is believed instead.
const TRUSTED_INTERVALS: u32 = 3;

/// What Patroni says of a cluster, for people.
#[derive(Debug, Clone, Default)]
pub struct PatroniReport {
    /// What each source said last: etcd's keys first.
    pub sources: Vec<PatroniSource>,
}

/// What one source said.
#[derive(Debug, Clone)]
pub struct PatroniSource {
    /// Which.
    pub source: Source,
    /// The URL that was asked last.
    pub endpoint: Endpoint,
    /// The last answer, and when it was asked for.
    pub said: Option<(Instant, Arc<View>)>,
    /// Why there is no newer one.
    pub trouble: Option<Arc<str>>,
}

impl PatroniReport {
    /// The source that counts: the one that was heard last, and of two that were heard in time, etcd.
    #[must_use]
    pub fn newest(&self) -> Option<&PatroniSource> {
        let works = |source: &&PatroniSource| source.said.is_some() && source.trouble.is_none();
        let heard = |source: &&PatroniSource| source.said.as_ref().map(|(asked_at, _)| *asked_at);
        self.sources.iter().find(works).or_else(|| self.sources.iter().max_by_key(heard))
    }
}

/// The node that a member is: the one at its address, or else the one of its name.
#[must_use]
pub fn node_of_member(member: &Member, nodes: &[NodeView]) -> Option<NodeId> {
    let at_address =
        |node: &&NodeView| member.host.as_deref() == Some(&*node.host) && member.port == node.port;
    let found =
        nodes.iter().find(at_address).or_else(|| nodes.iter().find(|node| *node.name == *member.name));
    found.map(|node| node.id)
}

/// A cluster that Patroni manages, being followed.
#[derive(Debug)]
pub(crate) struct Following {
    follower: Follower,
    sightings: mpsc::Receiver<Sighting>,
    settings: ::patroni::Settings,
    pub(crate) control: Control,
    report: PatroniReport,
}

impl Following {
    /// Begins to ask.
    pub(crate) fn start(settings: &::patroni::Settings) -> Result<Self, TlsFileError> {
        let control = Control::new(settings)?;
        let (follower, sightings) = Follower::start(settings)?;
        Ok(Self {
            follower,
            sightings,
            settings: settings.clone(),
            control,
            report: PatroniReport::default(),
        })
    }

    /// What is heard next.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(crate) async fn next(&mut self) -> Option<Sighting> {
        self.sightings.recv().await
    }

    /// Has the cluster's members asked at once.
    pub(crate) fn ask_now(&self) {
        self.follower.ask_now();
    }

    /// Asks more often while there is no primary.
    pub(crate) fn keep_pace(&self, snapshot: &Snapshot) {
        let pace = if snapshot.primary().is_some() { Pace::Steady } else { Pace::Eager };
        self.follower.set_pace(pace);
    }

    /// Ends, and waits until nobody is asked any more.
    pub(crate) async fn stop(self) {
        self.follower.stop().await;
    }

    pub(crate) fn report(&self) -> &PatroniReport {
        &self.report
    }

    /// Takes in what was heard, and passes on what bears on the cluster.
    pub(crate) fn take_in(&mut self, name: &str, sighting: &Sighting, cluster: &mut Cluster, now: Instant) {
        let (source, asked_at) = (sighting.source, sighting.asked_at);
        self.note(name, sighting);
        let Ok(view) = &sighting.view else { return };
        let nodes = cluster.snapshot(now).nodes;
        let node_of = |member: &Member| node_of_member(member, &nodes);
        let withheld: Vec<NodeId> = (view.members.iter())
            .filter(|member| member.tags.contains(&Tag::NoLoadBalance))
            .filter_map(node_of)
            .collect();
        cluster.withhold_reads(&withheld);
        if source == Source::Rest && self.hears_etcd(now) {
            return;
        }
        let leader = match (&view.leader, view.leading()) {
            (Leader::Unknown, _) => return,
            (Leader::Nobody, _) => HintedLeader::Nobody,
            // It is in recovery for good: there is nobody to write to.
            (Leader::Member(_), Some(member)) if member.role == Role::StandbyLeader => {
                HintedLeader::Elsewhere
            }
            (Leader::Member(name), leading) => {
                let by_name = || nodes.iter().find(|node| *node.name == **name).map(|node| node.id);
                let found = leading.and_then(node_of).or_else(by_name);
                found.map_or(HintedLeader::Elsewhere, HintedLeader::Node)
            }
        };
        cluster.handle_hint(LeaderHint { leader, asked_at }, now);
    }

    /// Whether etcd's keys are known in time, so that what members tell of them is not needed.
    fn hears_etcd(&self, now: Instant) -> bool {
        let limit = self.settings.interval.saturating_mul(TRUSTED_INTERVALS);
        self.report.sources.iter().any(|known| {
            let heard = known.said.as_ref().map(|(asked_at, _)| now.saturating_duration_since(*asked_at));
            known.source == Source::Etcd && known.trouble.is_none() && heard.is_some_and(|age| age <= limit)
        })
    }

    fn note(&mut self, name: &str, sighting: &Sighting) {
        let (source, endpoint) = (sighting.source, sighting.endpoint.clone());
        let at = self.report.sources.iter().position(|known| known.source == source);
        let known = at.and_then(|at| self.report.sources.get_mut(at));
        let before = known.as_ref().and_then(|known| known.trouble.clone());
        let trouble: Option<Arc<str>> = sighting.view.as_ref().err().map(|error| error.chain().into());
        match (&before, &trouble) {
            (None, Some(why)) => {
                tracing::warn!(cluster = name, source = source.as_str(), %endpoint, %why, "Patroni cannot be heard");
            }
            (Some(_), None) => {
                tracing::info!(cluster = name, source = source.as_str(), %endpoint, "Patroni is heard again");
            }
            (None, None) | (Some(_), Some(_)) => {}
        }
        let said = sighting.view.as_ref().ok().map(|view| (sighting.asked_at, Arc::clone(view)));
        match known {
            Some(known) => {
                let said = said.or_else(|| known.said.take());
                *known = PatroniSource { source, endpoint, said, trouble };
            }
            None => {
                self.report.sources.push(PatroniSource { source, endpoint, said, trouble });
                self.report.sources.sort_by_key(|known| known.source != Source::Etcd);
            }
        }
    }
}
