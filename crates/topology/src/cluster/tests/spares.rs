//! Spares: d and e. d can be made a standby; e only serves while it is one.

use super::*;

const D: NodeId = NodeId(3);
const E: NodeId = NodeId(4);
const AFTER: u64 = 1000;

fn two_spares(e: Service) -> Settings {
    let mut settings = settings(&["a", "b", "c", "d", "e"]);
    settings.nodes[1].region = "us".to_owned();
    settings.nodes[3].service = Service::Buildable;
    settings.nodes[4].service = e;
    settings.nodes[4].region = "us".to_owned();
    settings.spares.after = Duration::from_millis(AFTER);
    settings
}

impl Scene {
    /// a is the primary in eu, b and c follow; d and e are refused.
    fn with_spares() -> Self {
        let now = Instant::now();
        let mut scene = Self { cluster: Cluster::new(two_spares(Service::Spare), None, now), now };
        scene.primary(A, 1, 1000).standby(B, 1, 1000).standby(C, 1, 1000).refused(D).refused(E);
        scene.names();
        scene
    }

    fn duties(&self) -> [Duty; 2] {
        let snapshot = self.snapshot();
        for id in [D, E] {
            let node = snapshot.node(id).unwrap();
            assert_eq!(node.reads == Reads::Offered, !node.duty.is_idle() || self.writable() == Ok(id));
        }
        [D, E].map(|id| snapshot.node(id).unwrap().duty)
    }

    /// All that is there goes on saying so, for so long.
    fn go_on(&mut self, ms: u64, standbys: &[NodeId]) -> &mut Self {
        self.tick(ms).primary(A, 1, 1000);
        standbys.iter().for_each(|node| {
            self.standby(*node, 1, 1000);
        });
        self
    }
}

#[test]
fn a_spare_serves_once_a_node_was_missed_for_long_enough_and_until_it_has_followed_for_a_while() {
    let mut scene = Scene::with_spares();
    scene.go_on(5000, &[B, C, E]);
    assert_eq!(scene.duties(), [Duty::Spare; 2], "nobody is missing");
    assert!(!scene.snapshot().node(E).unwrap().may_be_promoted());
    scene.names();
    scene.refused(B).go_on(AFTER - 200, &[C, E]);
    assert_eq!(scene.duties(), [Duty::Spare; 2], "it may only have been restarted");
    assert!(scene.cluster.poll_timeout().unwrap() <= scene.now + Duration::from_millis(200));
    scene.go_on(200, &[C, E]);
    assert_eq!(scene.duties(), [Duty::Spare, Duty::StandingIn(B)]);
    assert!(scene.snapshot().node(E).unwrap().may_be_promoted());
    assert_eq!(scene.names(), ["node_suspect", "node_down", "spare_serves"]);
    // it is back, goes once more, and is back for good
    scene.go_on(10, &[B, C, E]).go_on(AFTER / 2, &[B, C, E]).refused(B).go_on(AFTER / 2, &[C, E]);
    assert_eq!(scene.duties()[1], Duty::StandingIn(B));
    scene.go_on(10, &[B, C, E]).go_on(AFTER - 100, &[B, C, E]);
    assert_eq!(scene.duties()[1], Duty::StandingIn(B));
    scene.go_on(100, &[B, C, E]);
    assert_eq!(scene.duties(), [Duty::Spare; 2]);
    assert_eq!(scene.names().last(), Some(&"spare_rests"));
}

#[test]
fn a_spare_that_does_not_run_is_called_if_no_other_serves_and_serves_once_it_follows() {
    let mut scene = Scene::with_spares();
    scene.refused(C).go_on(AFTER, &[B]);
    assert_eq!(scene.duties(), [Duty::Called(C), Duty::Spare], "nobody can start e");
    assert_eq!(scene.names().last(), Some(&"spare_called"));
    scene.says(D, Role::Standby, SYSTEM, 1, 1000);
    assert_eq!(scene.duties(), [Duty::StandingIn(C), Duty::Spare]);
    // each takes the place of one
    scene.go_on(10, &[D, E]).refused(B).go_on(AFTER, &[D, E]);
    assert_eq!(scene.duties(), [Duty::StandingIn(C), Duty::StandingIn(B)]);
    // one that is lost itself is called again
    scene.refused(D).go_on(10, &[E]);
    assert_eq!(scene.duties(), [Duty::Called(C), Duty::StandingIn(B)]);

    let mut scene = Scene::with_spares();
    scene.refused(C).go_on(AFTER, &[B]).go_on(10, &[B, E]);
    assert_eq!(scene.duties(), [Duty::Spare, Duty::StandingIn(C)], "it need not be waited for any more");

    let mut scene = Scene::with_spares();
    scene.says(D, Role::Primary, SYSTEM + 1, 1, 1000).refused(C).go_on(AFTER, &[B]);
    assert_eq!(scene.duties(), [Duty::Spare; 2], "it has the data of somebody else");
}

#[test]
fn of_spares_that_do_not_run_one_is_called_whose_host_answers() {
    let mut scene = Scene::with_spares();
    scene.go_on(10, &[D]).silent(D).refused(C).go_on(AFTER, &[B]);
    assert_eq!(scene.duties(), [Duty::Called(C), Duty::Spare], "there is no other that could be");
    scene.cluster.replace_settings(two_spares(Service::Buildable), scene.now);
    assert_eq!(scene.duties(), [Duty::Spare, Duty::Called(C)], "although it is in another region");
    scene.probe(E, ProbeResult::Starting).go_on(10, &[B]);
    assert_eq!(scene.duties(), [Duty::Spare, Duty::Called(C)], "it is at work");
}

#[test]
fn the_region_of_the_lost_node_decides_whose_place_a_spare_takes() {
    for (lost, stays, expected) in
        [(B, C, [Duty::Spare, Duty::StandingIn(B)]), (C, B, [Duty::StandingIn(C), Duty::Spare])]
    {
        let mut scene = Scene::with_spares();
        scene.go_on(10, &[B, C, D, E]).refused(lost).go_on(AFTER, &[stays, D, E]);
        assert_eq!(scene.duties(), expected);
    }
}

#[test]
fn nobody_stands_in_for_what_an_operator_or_a_restart_took_away_and_no_detached_spare_serves() {
    let mut scene = Scene::with_spares();
    scene.go_on(10, &[B, C, E]);
    scene.cluster.detach(B, scene.now).unwrap();
    scene.refused(B).go_on(AFTER, &[C, E]);
    assert_eq!(scene.duties(), [Duty::Spare; 2]);
    scene.cluster.attach(B, scene.now);
    assert_eq!(scene.duties()[1], Duty::StandingIn(B));
    scene.cluster.detach(E, scene.now).unwrap();
    let duties = [D, E].map(|id| scene.snapshot().node(id).unwrap().duty);
    assert_eq!(duties, [Duty::Called(B), Duty::Spare]);

    let mut scene = Scene::with_spares();
    scene.go_on(10, &[B, C, E]).cluster.rest(Some(B));
    scene.refused(B).go_on(AFTER, &[C, E]);
    assert_eq!(scene.duties(), [Duty::Spare; 2]);
}

#[test]
fn a_spare_that_became_the_primary_has_taken_the_place_of_the_one_before() {
    let mut scene = Scene::with_spares();
    scene.go_on(10, &[B, C, D, E]).refused(A).primary(E, 2, 1010).tick(AFTER);
    scene.primary(E, 2, 1010).standby(B, 2, 1010).standby(C, 2, 1010).standby(D, 2, 1010);
    assert_eq!((scene.writable(), scene.duties()), (Ok(E), [Duty::Spare, Duty::StandingIn(A)]));
    scene.standby(A, 2, 1010).tick(AFTER).primary(E, 2, 1010);
    assert_eq!((scene.writable(), scene.duties()), (Ok(E), [Duty::Spare; 2]), "it stays the primary");
}

#[test]
fn a_node_that_a_reload_makes_a_spare_serves_no_more() {
    let mut scene = Scene::running();
    let mut settings = settings(&["a", "b", "c"]);
    settings.nodes[1].service = Service::Spare;
    scene.cluster.replace_settings(settings, scene.now);
    assert_eq!(scene.snapshot().node(B).unwrap().duty, Duty::Spare);
    scene.cluster.replace_settings(super::settings(&["a", "b", "c"]), scene.now);
    assert_eq!(scene.snapshot().node(B).unwrap().duty, Duty::Member);
}
