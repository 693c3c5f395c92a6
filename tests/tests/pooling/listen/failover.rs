//! Listeners and notifiers at full load while the primary is replaced.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use e2e::{Herd, Setup};
use testkit::{Client, Message};
use tokio::task::{JoinHandle, JoinSet, block_in_place};

use super::notification;

const CHANNELS: usize = 3;
const NOTIFIERS: usize = 4;
const END: &str = "end";

/// What a listener was told.
#[derive(Debug)]
enum Told {
    /// Notification number so many of a notifier, and its channel.
    Of { notifier: usize, number: usize, channel: String },
    /// Some may have been missed.
    Gap,
}

/// Sends one notification after the other; the numbers of those that were acknowledged.
async fn notify(mut client: Client, me: usize, sent: Arc<AtomicUsize>, stop: Arc<AtomicBool>) -> Vec<usize> {
    let mut acknowledged = Vec::new();
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let answer = client.query(&format!("notify channel{}, '{me} {number}'", number % CHANNELS)).await;
        if answer.iter().any(|message| message.tag == b'C') {
            acknowledged.push(number);
            sent.fetch_add(1, Ordering::Relaxed);
        }
    }
    acknowledged
}

/// Whether the last notification was among these.
fn take_in(messages: &[Message], told: &mut Vec<Told>) -> bool {
    for message in messages {
        match message.tag {
            b'A' => {
                let (channel, payload) = notification(message);
                if payload == END {
                    return true;
                }
                let (notifier, number) = payload.split_once(' ').unwrap();
                let (notifier, number) = (notifier.parse().unwrap(), number.parse().unwrap());
                told.push(Told::Of { notifier, number, channel });
            }
            b'N' if message.sqlstate().as_deref() == Some("01000") => told.push(Told::Gap),
            _ => {}
        }
    }
    false
}

/// Listens, and runs a statement of its own now and then, until the end.
async fn listen(mut client: Client) -> Vec<Told> {
    let mut told = Vec::new();
    loop {
        let message = client.next().await.expect("the connection lasts");
        let asks = told.len() % 50 == 49;
        if take_in(&[message], &mut told) || asks && take_in(&client.query("select 1").await, &mut told) {
            return told;
        }
    }
}

/// In order, nothing twice, nothing of another channel, and no more holes than the client was told of.
fn check(listener: usize, channels: &HashSet<String>, told: &[Told], acknowledged: &[Vec<usize>]) {
    let gaps = told.iter().filter(|told| matches!(told, Told::Gap)).count();
    let mut heard: HashMap<usize, Vec<usize>> = HashMap::new();
    for told in told {
        let Told::Of { notifier, number, channel } = told else { continue };
        assert_eq!(*channel, format!("channel{}", number % CHANNELS));
        assert!(channels.contains(channel), "{listener} is told of {channel}");
        let before = heard.entry(*notifier).or_default();
        assert!(before.last() < Some(number), "{listener}: {notifier}'s {number} after {:?}", before.last());
        before.push(*number);
    }
    let mut missed = 0;
    for (notifier, acknowledged) in acknowledged.iter().enumerate() {
        let heard: HashSet<_> = heard.remove(&notifier).unwrap_or_default().into_iter().collect();
        // channel by channel, as they are listened to anew one after the other
        for channel in channels {
            let due =
                acknowledged.iter().filter(|number| *channel == format!("channel{}", *number % CHANNELS));
            let due: Vec<_> = due.map(|number| heard.contains(number)).collect();
            missed += due.iter().filter(|came| !**came).count();
            let is_first_missed = due.first().is_some_and(|came| !came);
            let holes =
                due.windows(2).filter(|pair| pair[0] && !pair[1]).count() + usize::from(is_first_missed);
            assert!(
                holes <= gaps,
                "{listener} has {holes} holes in what {notifier} sent to {channel} and was told of {gaps} gaps"
            );
        }
    }
    println!("listener {listener}: {} notifications, {gaps} gaps told, {missed} missed", told.len() - gaps);
}

/// Listeners and notifiers, and what stops these.
struct Running {
    listeners: Vec<(HashSet<String>, JoinHandle<Vec<Told>>)>,
    notifiers: JoinSet<(usize, Vec<usize>)>,
    sent: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

impl Running {
    async fn start(herd: &Herd) -> Self {
        let mut listeners = Vec::new();
        for at in 0..6 {
            let channels = [at % CHANNELS, (at + 1) % CHANNELS].map(|channel| format!("channel{channel}"));
            let mut client = herd.connect().await;
            for channel in channels.iter().take(1 + at % 2) {
                client.execute(&format!("listen {channel}")).await;
            }
            let channels = channels.into_iter().take(1 + at % 2).collect();
            listeners.push((channels, tokio::spawn(listen(client))));
        }
        let (sent, stop) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let mut notifiers = JoinSet::new();
        for at in 0..NOTIFIERS {
            let (client, sent, stop) = (herd.connect().await, Arc::clone(&sent), Arc::clone(&stop));
            notifiers.spawn(async move { (at, notify(client, at, sent, stop).await) });
        }
        Self { listeners, notifiers, sent, stop }
    }

    /// Until so many more notifications were acknowledged.
    async fn go_on(&self, more: usize) {
        let goal = self.sent.load(Ordering::Relaxed) + more;
        while self.sent.load(Ordering::Relaxed) < goal {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    async fn finish(mut self, herd: &Herd) {
        self.stop.store(true, Ordering::Relaxed);
        let mut acknowledged = vec![Vec::new(); NOTIFIERS];
        while let Some(done) = self.notifiers.join_next().await {
            let (at, numbers) = done.unwrap();
            acknowledged[at] = numbers;
        }
        let mut client = herd.connect().await;
        while self.listeners.iter().any(|(_, listening)| !listening.is_finished()) {
            for channel in 0..CHANNELS {
                client.execute(&format!("notify channel{channel}, '{END}'")).await;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        for (at, (channels, listening)) in self.listeners.into_iter().enumerate() {
            check(at, &channels, &listening.await.unwrap(), &acknowledged);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_a_crash_listeners_hear_all_in_order_or_are_told_of_the_gap() {
    let herd = Setup::own(1).set("pool.size", 6).start();
    let running = Running::start(&herd).await;
    running.go_on(500).await;
    block_in_place(|| {
        herd.cluster().kill(0).unwrap();
        herd.cluster().promote(1).unwrap();
    });
    running.go_on(500).await;
    running.finish(&herd).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_a_promotion_beside_a_living_primary_listeners_hear_all_in_order_or_are_told_of_the_gap() {
    let herd = Setup::own(1).set("pool.size", 6).start();
    let running = Running::start(&herd).await;
    running.go_on(500).await;
    block_in_place(|| herd.cluster().promote(1).unwrap());
    running.go_on(500).await;
    running.finish(&herd).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_their_connection_is_terminated_again_and_again_listeners_miss_nothing_without_being_told() {
    let herd = Setup::shared().set("pool.size", 6).start();
    let running = Running::start(&herd).await;
    for _ in 0..5 {
        running.go_on(200).await;
        let process = super::listeners(&herd).await[0][6].clone();
        block_in_place(|| herd.psql_directly(&format!("select pg_terminate_backend({process})")).unwrap());
        while super::listeners(&herd).await.iter().any(|row| row[3] != "listening" || row[6] == process) {}
    }
    running.go_on(200).await;
    running.finish(&herd).await;
}
