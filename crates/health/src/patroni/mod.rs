//! What Patroni says, beside what the nodes say themselves: hints for the cluster, and what people are shown.

mod supervise;
mod verbs;

use std::{sync::Arc, time::Instant};

use ::patroni::{Control, Endpoint, Follower, Leader, Member, Pace, Role, Sighting, Source, Tag, View};
use conn::TlsFileError;
use failover::{Command, Refusal};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};
use topology::{Cluster, HintedLeader, LeaderHint, Mandate, NodeId, NodeView, Snapshot};

use crate::{PlannedMoves, shared::Shared};
pub(crate) use supervise::heard;
use verbs::Verb;

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
    /// A command that Patroni is carrying out; at most one.
    verb: JoinSet<(Reply, Result<(), Refusal>)>,
    mandates_in: mpsc::Sender<Mandate>,
    mandates: mpsc::Receiver<Mandate>,
}

/// Who asked for a command.
type Reply = oneshot::Sender<Result<(), Refusal>>;

/// Something that bears on the cluster.
#[derive(Debug)]
pub(crate) enum Heard {
    /// Patroni said something.
    Sighting(Sighting),
    /// Who may be the primary, while a command is carried out.
    Mandate(Mandate),
    /// A command has ended.
    Ended(Option<(Reply, Result<(), Refusal>)>),
}

impl Following {
    /// Begins to ask.
    pub(crate) fn start(settings: &::patroni::Settings) -> Result<Self, TlsFileError> {
        let control = Control::new(settings)?;
        let (follower, sightings) = Follower::start(settings)?;
        let (mandates_in, mandates) = mpsc::channel(1);
        Ok(Self {
            verb: JoinSet::new(),
            mandates_in,
            mandates,
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
    pub(crate) async fn next(&mut self) -> Option<Heard> {
        tokio::select! {
            Some(ended) = self.verb.join_next() => Some(Heard::Ended(ended.ok())),
            Some(mandate) = self.mandates.recv() => Some(Heard::Mandate(mandate)),
            sighting = self.sightings.recv() => sighting.map(Heard::Sighting),
        }
    }

    /// Has Patroni do what an operator asks for; the answer comes when it is over.
    pub(crate) fn carry_out(
        &mut self,
        command: Command,
        reply: Reply,
        cluster: &str,
        planned: Option<PlannedMoves>,
        shared: &Shared,
    ) {
        if !self.verb.is_empty() {
            // Who asked may have gone.
            let _ = reply.send(Err(Refusal::Busy));
            return;
        }
        let verb = Verb {
            cluster: cluster.into(),
            control: self.control.clone(),
            snapshots: Arc::clone(&shared.snapshots),
            changes: shared.changes.subscribe(),
            planned,
            mandates: self.mandates_in.clone(),
        };
        self.verb.spawn(async move { (reply, verb.run(command).await) });
    }

    /// Takes over what Patroni is carrying out, and what it said, from before a reload.
    pub(crate) fn go_on(&mut self, previous: Self) {
        (self.verb, self.report) = (previous.verb, previous.report);
        (self.mandates_in, self.mandates) = (previous.mandates_in, previous.mandates);
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
    pub(crate) async fn stop(mut self) {
        self.verb.shutdown().await;
        self.follower.stop().await;
    }

    pub(crate) fn report(&self) -> &PatroniReport {
        &self.report
    }

    /// Takes in what was heard, and passes on what bears on the cluster.
    pub(crate) fn take_in(&mut self, name: &str, sighting: &Sighting, cluster: &mut Cluster, now: Instant) {
        let (source, asked_at) = (sighting.source, sighting.asked_at);
        self.note(name, sighting);
        let Some(view) = sighting.said.view() else { return };
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
        let trouble: Option<Arc<str>> = sighting.said.trouble().map(|error| error.chain().into());
        match (&before, &trouble) {
            (None, Some(why)) => {
                tracing::warn!(cluster = name, source = source.as_str(), %endpoint, %why, "Patroni cannot be heard");
            }
            (Some(_), None) => {
                tracing::info!(cluster = name, source = source.as_str(), %endpoint, "Patroni is heard again");
            }
            (None, None) | (Some(_), Some(_)) => {}
        }
        let said = sighting.said.view().map(|view| (sighting.asked_at, Arc::clone(view)));
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ::patroni::{FollowError, Said};
    use topology::{Action, NodeSettings, Reads};

    use super::*;

    /// Nodes a and b, and nobody who is asked.
    struct Scene {
        cluster: Cluster,
        following: Following,
        now: Instant,
    }

    impl Scene {
        fn new() -> Self {
            let node = |name: &str| NodeSettings {
                name: name.to_owned(),
                host: format!("{name}.example"),
                port: 5432,
                region: "eu".to_owned(),
                zone: None,
                priority: 100,
                service: topology::Service::Always,
            };
            let settings = topology::Settings {
                cluster: "main".to_owned(),
                nodes: vec![node("a"), node("b")],
                down_after_probes: 3,
                crash_grace: Duration::from_secs(5),
                spares: topology::SpareSettings::default(),
            };
            let nobody = ::patroni::Settings {
                urls: Vec::new(),
                etcd: Vec::new(),
                namespace: "service".to_owned(),
                scope: None,
                interval: Duration::from_secs(1),
                timeout: Duration::from_secs(1),
                login: None,
                etcd_login: None,
                tls: conn::WebTls::default(),
            };
            let now = tokio::time::Instant::now().into_std();
            let mut cluster = Cluster::new(settings, None, now);
            while cluster.poll_action().is_some() {}
            Self { cluster, following: Following::start(&nobody).unwrap(), now }
        }

        fn hear(&mut self, source: Source, said: Said) -> &mut Self {
            let endpoint = "http://x:1".parse().unwrap();
            let sighting = Sighting { source, endpoint, asked_at: self.now, said };
            self.following.take_in("main", &sighting, &mut self.cluster, self.now);
            self
        }

        fn says(&mut self, source: Source, members: &str) -> &mut Self {
            let view = View::of_cluster(format!("{{\"members\":[{members}]}}").as_bytes()).unwrap();
            self.hear(source, Said::All(Arc::new(view)))
        }

        /// Whom the cluster was told of since the last look: the texts of its events.
        fn told(&mut self) -> Vec<String> {
            std::iter::from_fn(|| self.cluster.poll_event()).map(|event| event.to_string()).collect()
        }

        /// How often a is to be probed in this time.
        fn probes_in(&mut self, time: Duration) -> usize {
            let (end, mut probes) = (self.now + time, 0);
            while self.now < end {
                self.now += Duration::from_millis(1);
                self.cluster.handle_timeout(self.now);
                let actions = std::iter::from_fn(|| self.cluster.poll_action());
                probes += actions.filter(|action| *action == Action::ProbeNow(NodeId(0))).count();
            }
            probes
        }

        fn wait(&mut self, seconds: u64) -> &mut Self {
            self.now += Duration::from_secs(seconds);
            self
        }
    }

    const A_LEADS: &str = r#"{"name":"x","role":"leader","host":"a.example","port":5432}"#;
    const B_LEADS: &str = r#"{"name":"b","role":"leader","host":"10.0.0.2","port":5432}"#;

    #[test]
    fn a_member_is_the_node_at_its_address_or_of_its_name() {
        let mut scene = Scene::new();
        assert_eq!(scene.says(Source::Rest, A_LEADS).told(), ["Patroni's leader is a"]);
        assert!(scene.cluster.poll_action().is_some_and(|action| action == Action::ProbeNow(NodeId(0))));
        assert_eq!(scene.wait(1).says(Source::Rest, B_LEADS).told(), ["Patroni's leader is b"]);
        let stranger = r#"{"name":"z","role":"leader","host":"z.example"}"#;
        let expected = ["Patroni has no leader among the nodes"];
        assert_eq!(scene.wait(1).says(Source::Rest, stranger).told(), expected);
        let other_port = r#"{"name":"z","role":"leader","host":"a.example","port":5433}"#;
        assert_eq!(scene.wait(1).says(Source::Rest, other_port).told(), [""; 0]);
    }

    #[test]
    fn the_leader_of_a_standby_cluster_is_not_waited_for() {
        let mut scene = Scene::new();
        scene.says(Source::Rest, &A_LEADS.replace("leader", "standby_leader"));
        assert_eq!(scene.told(), [""; 0]);
        assert!(scene.probes_in(Duration::from_millis(300)) < 10, "as often as any other");
        scene.says(Source::Rest, A_LEADS);
        assert!(scene.probes_in(Duration::from_millis(300)) >= 10, "in haste");
    }

    #[test]
    fn etcd_goes_before_the_rest_api_while_it_is_heard() {
        let mut scene = Scene::new();
        scene.says(Source::Etcd, A_LEADS).wait(1).says(Source::Rest, B_LEADS);
        assert_eq!(scene.told(), ["Patroni's leader is a"]);
        assert_eq!(scene.following.report().newest().map(|newest| newest.source), Some(Source::Etcd));
        assert_eq!(scene.wait(4).says(Source::Rest, B_LEADS).told(), ["Patroni's leader is b"], "long ago");
        scene.says(Source::Etcd, A_LEADS).told();
        scene.hear(Source::Etcd, Said::Nothing(Arc::new(FollowError::Ended))).wait(1);
        assert_eq!(scene.says(Source::Rest, B_LEADS).told(), ["Patroni's leader is b"], "gone");
        let report = scene.following.report();
        assert_eq!(report.newest().map(|newest| newest.source), Some(Source::Rest));
        assert!(
            report.sources[0].said.is_some() && report.sources[0].trouble.is_some(),
            "what it said last stays"
        );
    }

    #[test]
    fn what_says_nothing_of_the_leader_is_no_hint() {
        let mut scene = Scene::new();
        let parts = View { leader: Leader::Unknown, ..View::default() };
        let ended = || Arc::new(FollowError::Ended);
        scene.says(Source::Rest, A_LEADS).told();
        scene.wait(1).hear(Source::Rest, Said::Parts(Arc::new(parts), ended()));
        scene.wait(1).hear(Source::Rest, Said::Nothing(ended()));
        assert_eq!(scene.told(), [""; 0]);
    }

    #[test]
    fn members_with_noloadbalance_are_not_read_from() {
        let mut scene = Scene::new();
        let aside =
            r#"{"name":"b","role":"replica","host":"b.example","port":5432,"tags":{"noloadbalance":true}}"#;
        scene.says(Source::Rest, &format!("{A_LEADS},{aside}"));
        let reads = |scene: &Scene| {
            let snapshot = scene.cluster.snapshot(scene.now);
            [0, 1].map(|id| snapshot.node(NodeId(id)).unwrap().reads)
        };
        assert_eq!(reads(&scene), [Reads::Offered, Reads::Withheld]);
        scene.wait(1).says(Source::Rest, &format!("{A_LEADS},{}", aside.replace("true", "false")));
        assert_eq!(reads(&scene), [Reads::Offered, Reads::Offered]);
    }
}
