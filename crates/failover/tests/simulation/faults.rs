//! What goes wrong, what people do, and how all of it ends.

use failover::Command;
use topology::{NodeId, Report};

use crate::{
    truth::Power,
    world::{Event, MS, SECOND, World},
};

impl World {
    pub(crate) fn fault(&mut self) {
        if self.now >= self.faults_end {
            return;
        }
        let pause = if self.dice.one_in(3) { 600 * MS } else { 6 * SECOND };
        let next = self.now + self.dice.between(10 * MS, pause);
        self.at(next, Event::Fault);
        let index = match self.primary().filter(|_| self.dice.one_in(2)) {
            Some(primary) => primary,
            None => self.dice.below(self.truth.servers.len()),
        };
        match self.dice.below(24) {
            0..=2 => self.crash(index),
            3 | 4 => self.restart_in_place(index),
            5 | 6 => self.freeze(index),
            7 | 8 => self.cut_from_herd(index),
            9 => self.cut_nodes(index),
            10 | 11 => {
                let pause = self.dice.between(20 * MS, 4 * SECOND);
                self.kill_herd(pause);
            }
            12 => self.herd_dies_in = Some(self.dice.between(0, 12)),
            13 => self.node_dies_in = Some(self.dice.between(0, 12)),
            14..=17 => self.operator(),
            18 => self.dba(index),
            19 => self.change_nodes(index),
            20 => {
                let until = self.now + self.dice.between(100 * MS, 10 * SECOND);
                self.truth.servers[index].slow_until = until;
            }
            21 => {
                let jump = [-3_600_000_000, -800_000, 700_000, 3_600_000_000][self.dice.below(4)];
                self.truth.servers[index].clock_jump += jump;
                self.say(|| format!("the clock of n{index} jumps by {jump} µs"));
            }
            22 => {
                let until = self.now + self.dice.between(100 * MS, 4 * SECOND);
                self.unusable_until[index] = until;
                self.trouble_until(index, until);
                self.say(|| format!("n{index} has no connection free"));
            }
            _ => self.burst_of_writes(),
        }
    }

    /// Until then it is no wonder if pgherd does not see a server as it is.
    pub(crate) fn trouble_until(&mut self, index: usize, until: u64) {
        let server = &mut self.truth.servers[index];
        server.troubled = server.troubled.max(until);
    }

    /// Ends a server's processes, or stops it in good order.
    pub(crate) fn stop(&mut self, index: usize, power: Power) {
        self.truth.stop(index, power);
        self.trouble_until(index, self.now);
        let hears = self.herd.is_some() && self.truth.herd_cut[index] <= self.now;
        if hears && self.dice.one_in(2) {
            self.report(index, Report::Crashed);
        }
    }

    pub(crate) fn crash(&mut self, index: usize) {
        if self.truth.servers[index].power == Power::Stopped {
            return;
        }
        self.say(|| format!("n{index} dies"));
        self.tally.count("fault: crash");
        self.stop(index, Power::Stopped);
        if self.dice.one_in(2) {
            let back = self.now + self.dice.between(100 * MS, 15 * SECOND);
            self.at(back, Event::Start(index));
        }
    }

    fn restart_in_place(&mut self, index: usize) {
        if !self.truth.servers[index].is_running() {
            return;
        }
        let limit = if self.dice.one_in(4) { 9 * SECOND } else { SECOND };
        let until = self.now + self.dice.between(50 * MS, limit);
        self.say(|| format!("n{index} crashes and restarts"));
        self.tally.count("fault: restart in place");
        self.stop(index, Power::Starting(until));
        self.trouble_until(index, until);
    }

    fn freeze(&mut self, index: usize) {
        if !self.truth.servers[index].is_running() {
            return;
        }
        self.say(|| format!("n{index} freezes"));
        self.tally.count("fault: freeze");
        self.truth.servers[index].power = Power::Frozen;
        let thaw = self.now + self.dice.between(100 * MS, 20 * SECOND);
        self.trouble_until(index, thaw);
        self.at(thaw, Event::Thaw(index));
    }

    pub(crate) fn thaw(&mut self, index: usize) {
        if self.truth.servers[index].power != Power::Frozen {
            return;
        }
        self.say(|| format!("n{index} thaws"));
        self.truth.servers[index].power = Power::Running;
        self.trouble_until(index, self.now);
        // the bytes that had reached it are read now, whether somebody still waits for what comes of them or not
        while let Some((generation, order)) = self.truth.servers[index].inbox.pop_front() {
            self.tally.count("executed late");
            let is_awaited = generation == self.generation && self.herd.is_some();
            if self.target(&order.task) == Some(index) {
                self.execute(order, is_awaited);
            }
        }
    }

    pub(crate) fn start_server(&mut self, index: usize) {
        if self.truth.servers[index].power != Power::Stopped {
            return;
        }
        let until = self.now + self.dice.between(50 * MS, SECOND);
        self.say(|| format!("n{index} is started"));
        let server = &mut self.truth.servers[index];
        server.incarnation += 1;
        server.power = Power::Starting(until);
        self.trouble_until(index, until);
    }

    fn cut_from_herd(&mut self, index: usize) {
        let until = self.now + self.dice.between(100 * MS, 15 * SECOND);
        self.say(|| format!("n{index} is cut off from pgherd"));
        self.tally.count("fault: cut from pgherd");
        self.truth.herd_cut[index] = until;
        self.trouble_until(index, until);
    }

    fn cut_nodes(&mut self, index: usize) {
        let other = self.dice.below(self.truth.servers.len());
        self.say(|| format!("n{index} and n{other} are cut off from each other"));
        self.tally.count("fault: cut between nodes");
        self.truth.cut[index][other] = self.now + self.dice.between(100 * MS, 15 * SECOND);
    }

    fn any_node(&mut self) -> Option<NodeId> {
        let herd = self.herd.as_ref()?;
        let at = self.dice.below(herd.published.nodes.len().max(1));
        herd.published.nodes.get(at).map(|node| node.id)
    }

    fn operator(&mut self) {
        let Some(node) = self.any_node() else { return };
        let command = match self.dice.below(24) {
            0..=4 => Command::Switchover { to: None },
            5..=8 => Command::Switchover { to: Some(node) },
            9 | 10 => Command::Failover { to: node, force: false },
            11 => Command::Failover { to: node, force: true },
            12 | 13 => match self.herd.as_ref().and_then(|herd| herd.published.primary()) {
                Some(primary) => Command::Restart(primary.id),
                None => Command::Restart(node),
            },
            14 => Command::MaintenanceOn,
            15..=17 => Command::Restart(node),
            18 | 19 => Command::RestartAll,
            20 | 21 => Command::Restore,
            22 => return self.set_aside(node),
            _ => Command::MaintenanceOff,
        };
        self.command(command);
    }

    /// An operator detaches a node, or attaches it again.
    fn set_aside(&mut self, node: NodeId) {
        let now = self.instant();
        let Some(herd) = &mut self.herd else { return };
        let was_detached = herd.cluster.attach(node, now);
        let is_detached = !was_detached && herd.cluster.detach(node, now).is_ok();
        self.say(|| format!("an operator has set node {node} aside: {is_detached}"));
        self.tally.count(if is_detached { "detached" } else { "attached" });
        self.follow_up();
    }

    /// Somebody promotes a standby by hand.
    fn dba(&mut self, index: usize) {
        let server = &self.truth.servers[index];
        if self.dice.one_in(2) && server.is_running() && !server.is_primary {
            let number = self.truth.promote(index, None, self.now);
            self.say(|| format!("somebody promotes n{index} to timeline {number}"));
            self.tally.count("fault: promoted by hand");
            self.watch.by_hand(self.now);
        }
    }

    fn change_nodes(&mut self, index: usize) {
        let configured = self.configured.iter().filter(|configured| **configured).count();
        if self.configured[index] && configured > 2 {
            self.say(|| format!("n{index} is removed"));
            self.configured[index] = false;
        } else {
            self.say(|| "all nodes are configured".to_owned());
            self.configured.fill(true);
        }
        self.tally.count("fault: reload");
        self.watch.reloaded(self.now);
        self.reload();
    }

    fn burst_of_writes(&mut self) {
        let size = self.dice.between(1_000, 9_000);
        for server in self.truth.servers.iter_mut().filter(|server| server.is_running() && server.is_primary)
        {
            server.lsn += size;
        }
    }

    /// Nothing goes wrong from now on, and most of what did is mended.
    pub(crate) fn heal(&mut self) {
        self.say(|| "the faults end".to_owned());
        let count = self.truth.servers.len();
        self.truth.herd_cut = vec![0; count];
        self.truth.cut = vec![vec![0; count]; count];
        self.unusable_until = vec![0; count];
        (self.herd_dies_in, self.node_dies_in) = (None, None);
        for index in 0..count {
            self.truth.servers[index].clock_jump = 0;
            self.truth.servers[index].slow_until = 0;
            self.thaw(index);
            if self.dice.below(3) > 0 {
                self.start_server(index);
            }
        }
        self.start_herd();
        if self.configured.contains(&false) {
            self.configured.fill(true);
            self.watch.reloaded(self.now);
            self.reload();
        }
        let nodes: Vec<NodeId> =
            self.herd.iter().flat_map(|herd| &herd.published.nodes).map(|node| node.id).collect();
        let now = self.instant();
        if let Some(herd) = &mut self.herd {
            for node in nodes {
                herd.cluster.attach(node, now);
            }
        }
        self.command(Command::MaintenanceOff);
    }
}
