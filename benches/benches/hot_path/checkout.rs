//! Taking an idle server connection out of its pool and giving it back, on connections to a scripted server.

use std::{future::poll_fn, rc::Rc, sync::Arc, task::Poll, time::Duration};

use criterion::Criterion;
use pool::{
    Bounds, Caps, Delivery, DialPlan, Gate, ParameterSets, Pool, Quota, SessionStates, Settings, Waiter,
};
use testkit::FakeServer;
use tokio::{runtime, task::LocalSet, time::Instant};
use topology::{Epoch, NodeId, Report, Stamp};
use wire::TimelineId;

const SIZE: usize = 20;

pub(crate) fn measure(criterion: &mut Criterion) {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("threads have a poller");
    let local = LocalSet::new();
    let states = Rc::new(SessionStates::default());
    let (pool, _server) = local.block_on(&runtime, full_pool(&states));
    let wanted = states.empty();
    let _guard = runtime.enter();
    let mut group = criterion.benchmark_group("checkout");
    group.bench_function("try_checkout_and_give_back", |bencher| {
        bencher.iter(|| {
            let server = pool.try_checkout(&wanted, Instant::now()).expect("all are idle");
            pool.give_back(server.prove_clean().expect("it was not used"));
        });
    });
    group.finish();
}

/// A pool with [`SIZE`] idle connections.
async fn full_pool(states: &Rc<SessionStates>) -> (Rc<Pool>, FakeServer) {
    let server = FakeServer::start(|mut peer| async move {
        peer.admit().await;
        while peer.next().await.is_some() {}
    })
    .await;
    let plan = DialPlan {
        node: NodeId(0),
        target: conn::Target { host: "127.0.0.1".to_owned(), port: server.address().port() },
        tls: Arc::new(conn::ServerTlsConfig::disabled()),
        user: "app".into(),
        database: "app".into(),
        secret: None,
        timeout: Duration::from_secs(5),
    };
    let pool = Pool::new(
        Settings::default(),
        plan,
        Arc::new(Quota::default()).open(0, Bounds::new(0, NodeId(0), "app", "app", &Caps::default())),
        Rc::new(OneReign),
        Rc::clone(states),
        Rc::new(ParameterSets::default()),
    );
    let mut servers = Vec::with_capacity(SIZE);
    for _ in 0..SIZE {
        let now = Instant::now();
        let waiter = Waiter::new(now);
        pool.enter(&waiter, now).expect("the queue is empty");
        let delivery = poll_fn(|context| match waiter.poll(context.waker()) {
            Some(delivery) => Poll::Ready(delivery),
            None => Poll::Pending,
        });
        let Delivery::Server(server) = delivery.await else {
            panic!("the scripted server lets everybody in")
        };
        servers.push(server);
    }
    for server in servers {
        pool.give_back(server.prove_clean().expect("it was not used"));
    }
    (pool, server)
}

/// A topology in which nothing happens.
#[derive(Debug)]
struct OneReign;

impl Gate for OneReign {
    fn stamp(&self, node: NodeId) -> Option<Stamp> {
        Some(Stamp { node, timeline: TimelineId(1), epoch: Epoch(1) })
    }

    fn admits(&self, stamp: &Stamp) -> bool {
        stamp.epoch == Epoch(1)
    }

    fn report(&self, _node: NodeId, _report: Report) {}
}
