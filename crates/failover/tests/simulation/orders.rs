//! How servers and their agents carry out orders.

use failover::{Answer, Done, Failure, Order, Task};
use wire::{Lsn, TimelineId};

use crate::{
    truth::{Conninfo, Power},
    world::{Event, MS, SECOND, World},
};

fn failed(why: &str) -> Answer {
    Err(Failure::Failed(why.to_owned()))
}

impl World {
    /// An order arrives. `is_awaited`: who gave it still lives.
    pub(crate) fn execute(&mut self, order: Order, is_awaited: bool) {
        let id = order.id;
        let back = self.dice.hop();
        let Some(index) = self.target(&order.task) else {
            let answer = match order.task {
                Task::Release => Ok(Done::Done),
                _ => failed("there is no such node any more"),
            };
            if is_awaited {
                self.answer_later(id, answer, back);
            }
            return;
        };
        if let Task::CountBusy(_) = order.task {
            let under_way = self.requests.values().filter(|request| request.server == index);
            let transactions = under_way.clone().filter(|request| request.is_transaction).count();
            let (transactions, requests) = (transactions as u32, under_way.count() as u32);
            self.answer_later(id, Ok(Done::Busy { transactions, requests }), back);
            return;
        }
        if self.truth.herd_cut[index] > self.now {
            return; // time will be up
        }
        let by_agent = match order.task {
            Task::Rejoin { .. } | Task::Restart(_) => true,
            Task::Halt(_) | Task::Resume(_) => self.truth.servers[index].has_agent,
            _ => false,
        };
        if by_agent && !self.truth.servers[index].has_agent {
            let answer = Err(Failure::Impossible("no agent".to_owned()));
            if is_awaited {
                self.answer_later(id, answer, back);
            }
            return;
        }
        let answer = match self.truth.servers[index].power {
            Power::Frozen if by_agent => return,
            Power::Frozen => {
                self.truth.servers[index].inbox.push_back((self.generation, order));
                return;
            }
            _ if by_agent => match self.begin_by_agent(index, &order) {
                Some(answer) => answer,
                None => return,
            },
            Power::Stopped => failed("connection refused"),
            Power::Starting(_) => failed("57P03"),
            Power::Running => self.perform(index, &order),
        };
        let replays = if matches!(order.task, Task::Recruit(_)) && self.dice.one_in(12) {
            self.dice.between(300 * MS, 2 * SECOND)
        } else {
            0
        };
        if is_awaited {
            self.answer_later(id, answer, back + replays);
        }
    }

    fn refuse_outdated(&mut self, index: usize, order: &Order) -> Option<Answer> {
        let server = &mut self.truth.servers[index];
        if order.epoch.0 < server.tag {
            return Some(Err(Failure::Superseded(topology::Epoch(server.tag))));
        }
        server.tag = order.epoch.0;
        None
    }

    /// By SQL, at once.
    fn perform(&mut self, index: usize, order: &Order) -> Answer {
        let is_primary = self.truth.servers[index].is_primary;
        match order.task {
            Task::Settle(_) | Task::Checkpoint(_) if is_primary => return Ok(Done::Done),
            Task::Settle(_) | Task::Checkpoint(_) => return failed("in recovery"),
            Task::Recruit(_) | Task::CatchUp { .. } | Task::Follow { .. } | Task::Promote(_)
                if is_primary =>
            {
                return failed("it is no standby");
            }
            _ => {}
        }
        if let Some(refusal) = self.refuse_outdated(index, order) {
            return refusal;
        }
        let epoch = order.epoch.0;
        let position = |world: &Self| {
            let timeline = TimelineId(world.truth.number(index));
            let began = world.truth.history(index).began(timeline, timeline);
            Ok(Done::Position { timeline, received: Lsn(world.truth.servers[index].lsn), began })
        };
        match &order.task {
            Task::Recruit(_) => {
                let server = &mut self.truth.servers[index];
                (server.conninfo, server.receiver) = (Conninfo::Fenced(epoch), None);
                self.watch.recruiting(order, index, &self.truth);
                position(self)
            }
            Task::CatchUp { upstream, .. } => {
                let upstream =
                    self.server_of(*upstream).filter(|up| self.truth.can_stream(index, *up, self.now));
                let Some(upstream) = upstream else { return failed("it does not stream") };
                let (branch, lsn) = (self.truth.servers[upstream].branch, self.truth.servers[upstream].lsn);
                let server = &mut self.truth.servers[index];
                (server.branch, server.lsn) = (branch, lsn);
                server.conninfo = Conninfo::Fenced(epoch);
                self.tally.count("caught up");
                position(self)
            }
            Task::Promote(_) => {
                if self.truth.servers[index].conninfo != Conninfo::Fenced(epoch) {
                    return failed("it is not as it was recruited");
                }
                self.promote_by_order(index, order)
            }
            Task::Follow { upstream, .. } => {
                let Some(upstream) = self.server_of(*upstream) else { return failed("follow whom?") };
                self.truth.servers[index].conninfo = Conninfo::Node(upstream);
                Ok(Done::Done)
            }
            Task::Halt(_) if is_primary => {
                self.truth.servers[index].is_fenced = true;
                self.watch.halted(index, &self.truth);
                Ok(Done::Halted { lsn: Lsn(self.truth.servers[index].lsn), is_stopped: false })
            }
            Task::Resume(_) => {
                self.truth.servers[index].is_fenced = false;
                Ok(Done::Done)
            }
            _ => failed("not like this"),
        }
    }

    fn promote_by_order(&mut self, index: usize, order: &Order) -> Answer {
        let published = self.herd.as_ref().map(|herd| herd.published.clone());
        self.watch.promoting(index, order, &self.truth, published.as_deref(), self.now);
        if !self.watch.is_superseded(order.epoch.0) {
            self.keeps_what_was_acknowledged(index);
        }
        if let Some(value) = self.values.get(&order.epoch.0) {
            self.truth.servers[index].sync_names.clone_from(value);
        }
        let number = self.truth.promote(index, Some(order.epoch.0), self.now);
        self.say(|| format!("n{index} is promoted by epoch {} to timeline {number}", order.epoch));
        self.tally.count("promoted by order");
        Ok(Done::Promoted(TimelineId(number)))
    }

    /// By an agent, which takes its time and goes on if pgherd dies. `Some`: it has ended.
    fn begin_by_agent(&mut self, index: usize, order: &Order) -> Option<Answer> {
        if let Some(refusal) = self.refuse_outdated(index, order) {
            return Some(refusal);
        }
        let lasts = match order.task {
            Task::Halt(_) => {
                let server = &self.truth.servers[index];
                if !server.is_running() || !server.is_primary {
                    return Some(failed("it is no primary"));
                }
                self.truth.send_all(index, self.now);
                self.watch.halted(index, &self.truth);
                let lsn = Lsn(self.truth.servers[index].lsn);
                self.stop(index, Power::Stopped);
                return Some(Ok(Done::Halted { lsn, is_stopped: true }));
            }
            Task::Restart(_) => self.dice.between(100 * MS, 3 * SECOND),
            Task::Resume(_) => self.dice.between(100 * MS, 2 * SECOND),
            _ => self.dice.between(300 * MS, 8 * SECOND),
        };
        if !matches!(order.task, Task::Resume(_)) {
            self.stop(index, Power::Stopped);
        }
        let incarnation = self.truth.servers[index].incarnation;
        self.at(
            self.now + lasts,
            Event::Agent { server: index, incarnation, generation: self.generation, order: order.clone() },
        );
        None
    }

    pub(crate) fn agent_ends(&mut self, index: usize, incarnation: u64, generation: u64, order: Order) {
        let server = &self.truth.servers[index];
        if server.power == Power::Frozen {
            self.at(self.now + 200 * MS, Event::Agent { server: index, incarnation, generation, order });
            return;
        }
        let is_same = server.incarnation == incarnation;
        let answer = match order.task {
            Task::Rejoin { upstream, .. } if is_same => self.rejoin(index, upstream),
            Task::Restart(_) | Task::Resume(_) => {
                if self.truth.servers[index].power == Power::Stopped {
                    self.start_server(index);
                    self.truth.servers[index].power = Power::Running;
                }
                self.truth.servers[index].is_fenced = false;
                Ok(Done::Done)
            }
            _ => failed("somebody came in between"),
        };
        if self.truth.herd_cut[index] <= self.now && generation == self.generation {
            let back = self.dice.hop();
            self.answer_later(order.id, answer, back);
        }
    }

    fn rejoin(&mut self, index: usize, upstream: topology::NodeId) -> Answer {
        let upstream = self.server_of(upstream).filter(|upstream| {
            let server = &self.truth.servers[*upstream];
            server.is_running() && server.is_primary && self.truth.are_linked(index, *upstream, self.now)
        });
        let Some(upstream) = upstream else { return failed("there is no source") };
        let (branch, lsn) = (self.truth.servers[upstream].branch, self.truth.servers[upstream].lsn);
        let server = &mut self.truth.servers[index];
        (server.branch, server.lsn, server.is_primary, server.is_fenced) = (branch, lsn, false, false);
        (server.conninfo, server.power) = (Conninfo::Node(upstream), Power::Running);
        self.say(|| format!("n{index} was made a standby of n{upstream}"));
        self.tally.count("rejoined");
        Ok(Done::Done)
    }
}
