use std::time::Duration;

use super::{book::Book, *};

/// A book with one worker, and the time as it sees it.
struct Scene {
    book: Book,
    start: Instant,
}

impl Scene {
    fn new(workers: usize) -> Self {
        let mut book = Book::default();
        (0..workers).for_each(|_| book.enroll());
        Self { book, start: Instant::now() }
    }

    fn at(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    fn pool(&mut self, worker: usize, database: &str, user: &str, caps: &Caps) -> usize {
        self.book.open(worker, Bounds::new(0, NodeId(0), database, user, caps))
    }

    /// A pool makes connections, all of which log in.
    fn fill(&mut self, pool: usize, count: u32) {
        for _ in 0..count {
            assert!(self.book.take(pool, self.start));
            self.book.end_login(pool);
        }
    }

    fn want(&mut self, pool: usize, since: u64) {
        self.book.want(pool, Some(self.at(since)));
        self.book.settle(self.at(since));
    }

    /// The worker's pools with idle connections, by when the oldest of each became that.
    fn offer(&mut self, worker: usize, idle: &[(usize, u64)]) {
        let idle: Vec<_> = idle.iter().map(|(pool, since)| (*pool, self.at(*since))).collect();
        self.book.offer(worker, &idle, self.start);
        self.book.settle(self.start);
    }

    /// Pools that have to close one, and pools that may dial.
    fn orders(&mut self, worker: usize) -> (Vec<usize>, Vec<usize>) {
        let orders = self.book.take_orders(worker);
        let close = orders.iter().filter(|(_, order)| order.close > 0).map(|(pool, _)| *pool).collect();
        let dial = orders.iter().filter(|(_, order)| order.granted > 0).map(|(pool, _)| *pool).collect();
        (close, dial)
    }

    fn release(&mut self, pool: usize) {
        self.book.release(pool);
        self.book.settle(self.start);
    }
}

fn total(cap: u32) -> Caps {
    Caps { total: Some(cap), ..Caps::default() }
}

#[test]
fn without_caps_there_is_always_room() {
    let mut scene = Scene::new(1);
    let pool = scene.pool(0, "d", "u", &Caps::default());
    scene.fill(pool, 1000);
    assert_eq!(scene.book.usage(), []);
}

#[test]
fn what_was_idle_for_longest_is_closed_for_a_pool_that_finds_no_room_also_on_another_worker() {
    let mut scene = Scene::new(2);
    let [a, b, c] =
        [(0, "a"), (1, "b"), (0, "c")].map(|(worker, name)| scene.pool(worker, name, "u", &total(2)));
    scene.fill(a, 1);
    scene.fill(b, 1);
    assert!(!scene.book.take(c, scene.start));
    scene.want(c, 100);
    assert!(scene.book.is_short());
    scene.offer(0, &[(a, 20)]);
    assert_eq!(
        scene.orders(0),
        (vec![], vec![]),
        "the other worker may know of one that was idle for longer"
    );
    scene.offer(1, &[(b, 10)]);
    assert_eq!((scene.orders(0), scene.orders(1)), ((vec![], vec![]), (vec![b], vec![])));
    assert!(!scene.book.is_short(), "what is being closed is enough");
    scene.offer(0, &[(a, 20)]);
    assert_eq!(scene.orders(0), (vec![], vec![]));
    scene.release(b);
    assert_eq!(scene.orders(0), (vec![], vec![c]));
    assert!(scene.book.take(c, scene.start));
    assert_eq!(scene.book.usage()[0].used, 2);
}

#[test]
fn a_connection_that_was_to_be_closed_and_is_in_use_again_is_made_up_for() {
    let mut scene = Scene::new(1);
    let [a, b] = ["a", "b"].map(|name| scene.pool(0, name, "u", &total(1)));
    scene.fill(a, 1);
    scene.want(b, 0);
    scene.offer(0, &[(a, 0)]);
    assert_eq!(scene.orders(0).0, [a]);
    scene.book.not_closed(a, 1);
    scene.book.settle(scene.start);
    assert!(scene.book.is_short());
    assert!(scene.book.yields(a, None), "it is closed when it comes back");
    scene.release(a);
    assert_eq!(scene.orders(0).1, [b]);
}

#[test]
fn only_connections_under_the_same_bound_make_room() {
    let mut scene = Scene::new(1);
    let caps = Caps { database: Some(1), ..Caps::default() };
    let [a, other, wants] =
        [("d", "a"), ("e", "a"), ("d", "b")].map(|(database, user)| scene.pool(0, database, user, &caps));
    scene.fill(a, 1);
    scene.fill(other, 1);
    scene.want(wants, 50);
    scene.offer(0, &[(other, 1), (a, 40)]);
    assert_eq!(scene.orders(0).0, [a]);
    assert!(!scene.book.yields(other, None));
}

#[test]
fn a_connection_goes_to_whoever_has_waited_longest_whatever_the_pool() {
    let mut scene = Scene::new(1);
    let [a, b, c] = ["a", "b", "c"].map(|name| scene.pool(0, name, "u", &total(1)));
    scene.fill(a, 1);
    scene.want(c, 20);
    scene.want(b, 10);
    let (younger, older) = (scene.at(15), scene.at(5));
    assert!(!scene.book.yields(a, Some(older)), "its own client has waited longer");
    assert!(scene.book.yields(a, Some(younger)));
    assert!(!scene.book.yields(a, Some(younger)), "the next one is not needed for the same client");
    scene.release(a);
    assert_eq!(scene.orders(0).1, [b]);
    assert!(scene.book.take(b, scene.start));
    assert!(!scene.book.take(a, scene.start), "there is no room");
}

#[test]
fn what_was_kept_for_the_first_in_line_is_kept_no_more_once_it_has_its_place() {
    let mut scene = Scene::new(1);
    let caps = |cap| Caps { database: Some(cap), ..Caps::default() };
    let [a, b, c] = ["a", "b", "c"].map(|name| scene.pool(0, "d", name, &caps(1)));
    scene.fill(a, 1);
    scene.want(b, 1);
    scene.want(c, 2);
    scene.book.rebound(a, Bounds::new(0, NodeId(0), "d", "a", &caps(3)));
    scene.book.settle(scene.at(3));
    assert_eq!(scene.orders(0).1, [b, c]);
}

#[test]
fn a_client_behind_two_bounds_that_others_keep_full_in_turn_gets_its_place() {
    let mut scene = Scene::new(1);
    let caps = Caps { database: Some(1), user: Some(1), ..Caps::default() };
    let [keeps_database, keeps_user, wants] =
        [("d", "x"), ("e", "u"), ("d", "u")].map(|(database, user)| scene.pool(0, database, user, &caps));
    scene.fill(keeps_database, 1);
    scene.fill(keeps_user, 1);
    scene.want(wants, 0);
    let young = Some(scene.at(9));
    assert!(scene.book.yields(keeps_database, young));
    scene.release(keeps_database);
    assert!(!scene.book.take(keeps_database, scene.start), "it is kept for the first in line");
    assert!(scene.book.yields(keeps_user, young));
    scene.release(keeps_user);
    assert_eq!(scene.orders(0).1, [wants]);
}

#[test]
fn logins_take_turns_and_those_who_wait_longest_come_first() {
    let mut scene = Scene::new(1);
    let caps = Caps { logins: Some(1), ..Caps::default() };
    let [a, b, c] = ["a", "b", "c"].map(|name| scene.pool(0, name, "u", &caps));
    assert!(scene.book.take(a, scene.start));
    assert!(!scene.book.take(a, scene.start));
    scene.want(b, 20);
    scene.want(c, 10);
    assert!(!scene.book.is_short(), "nothing needs to be closed for them");
    scene.book.end_login(a);
    scene.book.settle(scene.start);
    assert_eq!(scene.orders(0).1, [c]);
    assert!(scene.book.take(c, scene.start));
    scene.release(c);
    scene.book.end_login(c);
    scene.book.settle(scene.start);
    assert_eq!(scene.orders(0).1, [b]);
}

#[test]
fn what_is_not_needed_any_more_goes_to_the_next() {
    let mut scene = Scene::new(1);
    let [a, b, c] = ["a", "b", "c"].map(|name| scene.pool(0, name, "u", &total(1)));
    scene.fill(a, 1);
    scene.want(b, 1);
    scene.want(c, 2);
    scene.release(a);
    assert_eq!(scene.orders(0).1, [b]);
    scene.book.close(b);
    scene.book.settle(scene.start);
    assert_eq!(scene.orders(0).1, [c]);
    scene.book.want(c, None);
    scene.book.forget(c);
    scene.book.settle(scene.start);
    assert!(scene.book.take(a, scene.start));
    scene.book.rebound(a, Bounds::new(0, NodeId(0), "a", "u", &total(7)));
    assert_eq!(scene.book.usage(), [Usage { scope: Scope::Total, used: 1, cap: 7 }]);
}

#[test]
fn a_node_that_was_not_reached_is_left_alone_for_longer_and_longer_until_it_is() {
    let mut scene = Scene::new(1);
    let [a, b] =
        ["a", "b"].map(|name| scene.pool(0, name, "u", &Caps { logins: Some(4), ..Caps::default() }));
    let mut at = 0;
    for rest in [50, 100, 200, 400, 800, 1000, 1000] {
        let now = scene.at(at);
        assert!(scene.book.take(a, now) && scene.book.take(b, now));
        for pool in [a, b] {
            scene.book.login_ended(pool, Reached::No, 0.0, now);
            scene.book.end_login(pool);
            scene.book.release(pool);
        }
        let (before, then) = (scene.at(at + rest - 1), scene.at(at + rest));
        assert!(!scene.book.take(a, before), "{rest}");
        scene.book.want(b, Some(now));
        scene.book.settle(before);
        assert_eq!(scene.orders(0).1, []);
        scene.book.settle(then);
        assert_eq!(scene.orders(0).1, [b]);
        scene.book.give_back_granted(b);
        at += rest;
    }
    let now = scene.at(at);
    scene.book.login_ended(b, Reached::No, 1.0, now);
    assert!(scene.book.take(a, scene.start + Duration::from_millis(at + 500)), "half of it is chance");
    scene.book.login_ended(a, Reached::Yes, 0.0, now);
    assert!(scene.book.take(b, now));
}

/// Many pools under crossing bounds, each always with a client, on two workers: nobody is served much later than
/// others, and no bound is ever exceeded.
#[test]
fn nobody_starves_and_no_bound_is_exceeded() {
    let mut scene = Scene::new(2);
    let caps = Caps { total: Some(4), database: Some(2), user: Some(3), ..Caps::default() };
    let pools: Vec<usize> =
        (0..12).map(|n| scene.pool(n % 2, &format!("d{}", n % 3), &format!("u{}", n % 4), &caps)).collect();
    let (mut served, mut open, mut random) = (vec![0_u32; pools.len()], Vec::new(), 7_u64);
    let mut asked: Vec<Option<u64>> = vec![None; pools.len()];
    for turn in 0..20_000_u64 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let at = usize::try_from(random >> 33).unwrap() % pools.len();
        let pool = pools[at];
        if let Some(position) = open.iter().position(|open| *open == at) {
            served[at] += 1;
            // its next client began to wait just now
            if scene.book.yields(pool, Some(scene.at(turn))) {
                open.swap_remove(position);
                scene.release(pool);
            }
        } else if asked[at].is_none() {
            asked[at] = Some(turn);
            scene.want(pool, turn);
        }
        for worker in 0..2 {
            for pool in scene.orders(worker).1 {
                assert!(scene.book.take(pool, scene.start));
                scene.book.end_login(pool);
                let at = pools.iter().position(|other| *other == pool).unwrap();
                asked[at] = None;
                open.push(at);
            }
        }
        for usage in scene.book.usage() {
            assert!(usage.used <= usage.cap, "{usage:?}");
        }
    }
    let (least, most) = (served.iter().min().unwrap(), served.iter().max().unwrap());
    assert!(*least > 50 && *most < least * 10, "{served:?}");
}
