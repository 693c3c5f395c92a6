//! HTTP for load balancers and orchestrators: whether the proxy is well, and how nodes are, with the paths and codes of
//! Patroni's REST API. One question a connection.

mod check;
mod document;
mod question;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use serde_json::Value;
use session::World;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{Instant, timeout},
};
use topology::Snapshot;

use check::{Check, Scene};
use question::{Demands, Method, Misunderstood, Question, REQUEST_MAX};

/// How long a question and its answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether new clients should come here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Readiness {
    /// Not yet: nothing is known of the nodes.
    #[default]
    Starting,
    /// Yes.
    Ready,
    /// Not any more: it is about to stop, or another process has taken over.
    Draining,
}

impl Readiness {
    /// The word in answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Draining => "draining",
        }
    }
}

/// Reads one request and answers it with what is known by then.
///
/// Of the proxy: `/livez` (the process runs), `/startupz` (it has started), `/readyz` (new clients should come here) with a
/// word; Patroni's health checks (`/primary`, `/replica`, …), which say what clients of this proxy would get; `/cluster`.
/// Of a node: the same checks below `/node/NAME`.
///
/// # Cancel safety
/// Dropping it closes the connection.
pub async fn answer_http(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    known: impl FnOnce() -> (Readiness, Arc<World>),
) {
    // who does not ask in time, or has gone, needs no answer
    let _ = timeout(PATIENCE, async {
        let mut request = Vec::new();
        while !request.windows(4).any(|window| window == b"\r\n\r\n") && request.len() < REQUEST_MAX {
            if stream.read_buf(&mut request).await? == 0 {
                break;
            }
        }
        let (readiness, world) = known();
        stream.write_all(response(&request, readiness, &world).as_bytes()).await?;
        stream.shutdown().await
    })
    .await;
}

fn response(request: &[u8], readiness: Readiness, world: &World) -> String {
    let question = Question::read(request);
    let method = question.as_ref().map_or(Method::Get, |question| question.method);
    let (status, body) = match question {
        Ok(question) => Asked::of(world, readiness).answer(&question),
        Err(Misunderstood::Method) => (Status::Method, Body::Word(Misunderstood::Method.to_string())),
        Err(why) => (Status::Malformed, Body::Word(why.to_string())),
    };
    let (kind, text) = match body {
        Body::Word(word) => ("text/plain", word),
        Body::Document(document) => ("application/json", document.to_string()),
    };
    let length = if method == Method::Options { 0 } else { text.len() + 1 };
    let body = if method == Method::Get { format!("{text}\n") } else { String::new() };
    let status = status.line();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nCache-Control: no-store\r\n\
         Connection: close\r\n\r\n{body}"
    )
}

/// How a question is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    /// It is so.
    Yes,
    /// It is not so.
    No,
    /// There is no such path, node or cluster.
    NotFound,
    /// It is not known what is asked.
    Malformed,
    /// Nothing is done by HTTP.
    Method,
}

impl Status {
    fn line(self) -> &'static str {
        match self {
            Self::Yes => "200 OK",
            Self::No => "503 Service Unavailable",
            Self::NotFound => "404 Not Found",
            Self::Malformed => "400 Bad Request",
            Self::Method => "405 Method Not Allowed",
        }
    }

    fn of(is_so: bool) -> Self {
        if is_so { Self::Yes } else { Self::No }
    }
}

#[derive(Debug)]
enum Body {
    Word(String),
    Document(Value),
}

type Answer = (Status, Body);

/// What is known when a question is answered.
struct Asked<'a> {
    readiness: Readiness,
    world: &'a World,
    /// As of now, in configured order, with their names.
    clusters: Vec<(&'a str, Arc<Snapshot>)>,
}

impl<'a> Asked<'a> {
    fn of(world: &'a World, readiness: Readiness) -> Self {
        let clusters = world.clusters.iter().map(|cluster| (&*cluster.name, cluster.snapshots.load_full()));
        Self { readiness, world, clusters: clusters.collect() }
    }

    fn scene<'b>(&'b self, snapshot: &'b Snapshot) -> Scene<'b> {
        Scene { snapshot, routing: &self.world.routing, now: Instant::now().into_std() }
    }

    /// The clusters that are asked about.
    fn in_scope<'b>(&'b self, demands: &'b Demands) -> impl Iterator<Item = (&'b str, Scene<'b>)> {
        (self.clusters.iter())
            .filter(|(name, _)| demands.cluster.as_deref().is_none_or(|wanted| wanted == *name))
            .map(|(name, snapshot)| (*name, self.scene(snapshot)))
    }

    fn answer(&self, question: &Question) -> Answer {
        let demands = &question.demands;
        if self.in_scope(demands).next().is_none() {
            return not_found("there is no such cluster");
        }
        let path: Vec<&str> = question.path.iter().map(String::as_str).collect();
        match (path.as_slice(), self.readiness) {
            (["livez"], _) => (Status::Yes, Body::Word("alive".to_owned())),
            (["startupz"], Readiness::Ready | Readiness::Draining) => {
                (Status::Yes, Body::Word("started".to_owned()))
            }
            (["startupz" | "readyz"], readiness) => {
                (Status::of(readiness == Readiness::Ready), Body::Word(readiness.as_str().to_owned()))
            }
            (["cluster"], _) => self.cluster(demands),
            (["node", name], _) => self.node(name, Check::Primary, demands),
            (["node", name, check], _) => match Check::find(check) {
                Some(check) => self.node(name, check, demands),
                None => not_found(NO_PATH),
            },
            ([], _) => self.service(Check::Primary, demands),
            ([check], _) => match Check::find(check) {
                Some(check) => self.service(check, demands),
                None => not_found(NO_PATH),
            },
            _ => not_found(NO_PATH),
        }
    }

    /// What clients of this proxy would get, of every cluster that is asked about.
    fn service(&self, check: Check, demands: &Demands) -> Answer {
        let failure = if check.is_about_serving() && self.readiness != Readiness::Ready {
            Some(format!("pgherd is {}", self.readiness.as_str()))
        } else {
            self.in_scope(demands).find_map(|(name, scene)| {
                let failure = scene.check_service(check, demands).err()?;
                Some(format!("cluster \"{name}\": {failure}"))
            })
        };
        let status = Status::of(failure.is_none());
        (status, Body::Document(document::proxy(self.readiness, self.in_scope(demands), failure)))
    }

    fn node(&self, name: &str, check: Check, demands: &Demands) -> Answer {
        let mut found = self.in_scope(demands).filter_map(|(cluster, scene)| {
            let node = scene.snapshot.nodes.iter().find(|node| *node.name == *name)?;
            Some((cluster, scene, node))
        });
        let Some((cluster, scene, node)) = found.next() else { return not_found("there is no such node") };
        if found.next().is_some() {
            return not_found("several clusters have a node of this name: say which by ?cluster=NAME");
        }
        let failure = scene.check_node(node, check, demands).err();
        let mut document = document::node(cluster, node, scene.snapshot);
        if let Some(failure) = &failure {
            document["pgherd"]["failure"] = failure.to_string().into();
        }
        (Status::of(failure.is_none()), Body::Document(document))
    }

    fn cluster(&self, demands: &Demands) -> Answer {
        let mut clusters = self.in_scope(demands);
        match (clusters.next(), clusters.next()) {
            (Some((name, scene)), None) => (Status::Yes, Body::Document(document::cluster(name, &scene))),
            _ => not_found("there are several clusters: say which by ?cluster=NAME"),
        }
    }
}

/// Said of all other paths.
const NO_PATH: &str = "there are /livez, /readyz, /startupz, /primary, /replica, /read-only, /sync, /async, /health, \
                       /liveness, /readiness, /cluster and /node/NAME with a check behind";

fn not_found(why: &str) -> Answer {
    (Status::NotFound, Body::Word(why.to_owned()))
}
