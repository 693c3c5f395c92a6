//! What the servers truly are, whatever pgherd believes: their WAL, who streams from whom, who hears whom.

use std::collections::VecDeque;

use failover::Order;
use topology::{Fork, History};
use wire::{Lsn, TimelineId};

use crate::dice::Dice;

/// A WAL receiver that hears nothing for so long gives up (`wal_receiver_timeout`), in microseconds.
const RECEIVER_TIMEOUT: u64 = 60_000_000;

/// One timeline. Two of them may have the same number.
#[derive(Debug)]
pub(crate) struct Branch {
    pub(crate) number: u32,
    /// The branch that it left, and where.
    pub(crate) parent: Option<(usize, u64)>,
    pub(crate) born: u64,
    /// The epoch that ordered it; `None`: somebody else did.
    pub(crate) maker: Option<u64>,
    /// The highest position of it that was acknowledged to a client of pgherd, and to any client.
    pub(crate) acked: u64,
    pub(crate) acked_by_any: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Power {
    Running,
    Stopped,
    /// 57P03 until then.
    Starting(u64),
    /// It answers nothing, keeps its connections, and goes on where it was.
    Frozen,
}

/// `primary_conninfo`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conninfo {
    Node(usize),
    /// Cut off by this epoch.
    Fenced(u64),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Receiver {
    pub(crate) upstream: usize,
    pub(crate) incarnation: u64,
    pub(crate) heard: u64,
}

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) power: Power,
    pub(crate) is_primary: bool,
    pub(crate) branch: usize,
    /// The end of its WAL: flushed or received.
    pub(crate) lsn: u64,
    pub(crate) conninfo: Conninfo,
    /// The highest epoch that has given it orders.
    pub(crate) tag: u64,
    /// No commit succeeds on it.
    pub(crate) is_fenced: bool,
    /// `synchronous_standby_names`.
    pub(crate) sync_names: String,
    /// Whom its commits wait for at present.
    pub(crate) waits_for: Vec<usize>,
    pub(crate) receiver: Option<Receiver>,
    /// Grows whenever its connections end.
    pub(crate) incarnation: u64,
    /// Orders that came while it was frozen.
    pub(crate) inbox: VecDeque<(u64, Order)>,
    /// Until when it receives nothing, for it is slow.
    pub(crate) slow_until: u64,
    /// How far its clock has jumped since its receiver heard something, in microseconds.
    pub(crate) clock_jump: i64,
    /// Whether an agent runs beside it.
    pub(crate) has_agent: bool,
    /// When anything last happened to it that may keep pgherd from seeing it as it is.
    pub(crate) troubled: u64,
}

impl Server {
    pub(crate) fn is_running(&self) -> bool {
        self.power == Power::Running
    }
}

pub(crate) struct Truth {
    pub(crate) servers: Vec<Server>,
    pub(crate) branches: Vec<Branch>,
    /// Cut between pgherd and a server, until then.
    pub(crate) herd_cut: Vec<u64>,
    /// Cut between two servers, until then.
    pub(crate) cut: Vec<Vec<u64>>,
}

impl Truth {
    pub(crate) fn new(count: usize, dice: &mut Dice) -> Self {
        let has_agents = !dice.one_in(4);
        let server = |index| Server {
            power: Power::Running,
            is_primary: index == 0,
            branch: 0,
            lsn: 1000,
            conninfo: Conninfo::Node(0),
            tag: 0,
            is_fenced: false,
            sync_names: String::new(),
            waits_for: Vec::new(),
            receiver: None,
            incarnation: 0,
            inbox: VecDeque::new(),
            slow_until: 0,
            clock_jump: 0,
            has_agent: has_agents,
            troubled: 0,
        };
        Self {
            servers: (0..count).map(server).collect(),
            branches: vec![Branch {
                number: 1,
                parent: None,
                born: 0,
                maker: None,
                acked: 0,
                acked_by_any: 0,
            }],
            herd_cut: vec![0; count],
            cut: vec![vec![0; count]; count],
        }
    }

    /// Whether WAL that ends at (`of`, `end`) has what is at (`branch`, `lsn`).
    pub(crate) fn contains(&self, (of, end): (usize, u64), (branch, lsn): (usize, u64)) -> bool {
        let (mut at, mut end) = (of, end);
        loop {
            if at == branch {
                return lsn <= end;
            }
            let Some((parent, fork)) = self.branches[at].parent else { return false };
            (at, end) = (parent, fork);
        }
    }

    pub(crate) fn has(&self, server: usize, what: (usize, u64)) -> bool {
        self.contains((self.servers[server].branch, self.servers[server].lsn), what)
    }

    /// Whether `branch` is `ancestor` or a descendant of it.
    pub(crate) fn descends(&self, branch: usize, ancestor: usize) -> bool {
        self.contains((branch, 0), (ancestor, 0))
    }

    pub(crate) fn number(&self, server: usize) -> u32 {
        self.branches[self.servers[server].branch].number
    }

    pub(crate) fn history(&self, server: usize) -> History {
        let mut forks = Vec::new();
        let mut at = self.servers[server].branch;
        while let Some((parent, fork)) = self.branches[at].parent {
            forks.push(Fork { timeline: TimelineId(self.branches[parent].number), switch_lsn: Lsn(fork) });
            at = parent;
        }
        forks.reverse();
        History::new(forks)
    }

    pub(crate) fn are_linked(&self, a: usize, b: usize, now: u64) -> bool {
        self.cut[a][b] <= now && self.cut[b][a] <= now
    }

    /// A running standby becomes the primary of a timeline of its own.
    pub(crate) fn promote(&mut self, index: usize, maker: Option<u64>, now: u64) -> u32 {
        let server = &mut self.servers[index];
        let number = self.branches[server.branch].number + 1;
        let parent = Some((server.branch, server.lsn));
        server.branch = self.branches.len();
        (server.is_primary, server.is_fenced, server.receiver) = (true, false, None);
        server.waits_for.clear();
        self.branches.push(Branch { number, parent, born: now, maker, acked: 0, acked_by_any: 0 });
        number
    }

    /// Whether `standby` can stream from `upstream`.
    pub(crate) fn can_stream(&self, standby: usize, upstream: usize, now: u64) -> bool {
        standby != upstream
            && self.servers[upstream].is_running()
            && self.are_linked(standby, upstream, now)
            && self.has(upstream, (self.servers[standby].branch, self.servers[standby].lsn))
    }

    /// A moment of replication.
    pub(crate) fn flow(&mut self, now: u64, dice: &mut Dice) {
        for index in 0..self.servers.len() {
            if let Power::Starting(until) = self.servers[index].power
                && until <= now
            {
                self.servers[index].power = Power::Running;
            }
            if !self.servers[index].is_running() || self.servers[index].is_primary {
                continue;
            }
            match self.servers[index].receiver {
                Some(receiver) => self.receive(index, receiver, now, dice),
                None => {
                    if let Conninfo::Node(upstream) = self.servers[index].conninfo
                        && dice.one_in(8)
                        && self.can_stream(index, upstream, now)
                    {
                        let incarnation = self.servers[upstream].incarnation;
                        self.servers[index].receiver = Some(Receiver { upstream, incarnation, heard: now });
                    }
                }
            }
        }
    }

    fn receive(&mut self, index: usize, receiver: Receiver, now: u64, dice: &mut Dice) {
        let upstream = &self.servers[receiver.upstream];
        let is_linked = self.are_linked(index, receiver.upstream, now);
        let (branch, lsn) = (upstream.branch, upstream.lsn);
        let is_over =
            is_linked && upstream.power != Power::Frozen && upstream.incarnation != receiver.incarnation
                || now.saturating_sub(receiver.heard) > RECEIVER_TIMEOUT
                || self.servers[index].conninfo != Conninfo::Node(receiver.upstream)
                || is_linked && upstream.is_running() && !self.can_stream(index, receiver.upstream, now);
        let hears = is_linked && upstream.is_running();
        let server = &mut self.servers[index];
        if is_over {
            server.receiver = None;
        } else if hears {
            if server.slow_until <= now {
                (server.branch, server.lsn) = match server.branch == branch {
                    true if dice.one_in(4) => (branch, dice.between(server.lsn, lsn.max(server.lsn) + 1)),
                    _ => (branch, lsn),
                };
            }
            server.clock_jump = 0;
            server.receiver = Some(Receiver { heard: now, ..receiver });
        }
    }

    /// What a clean shutdown sends before it ends.
    pub(crate) fn send_all(&mut self, index: usize, now: u64) {
        let (branch, lsn) = (self.servers[index].branch, self.servers[index].lsn);
        for standby in 0..self.servers.len() {
            let streams = self.servers[standby].receiver.is_some_and(|receiver| receiver.upstream == index);
            let server = &self.servers[standby];
            if streams
                && server.is_running()
                && server.slow_until <= now
                && self.can_stream(standby, index, now)
            {
                (self.servers[standby].branch, self.servers[standby].lsn) = (branch, lsn);
            }
        }
    }

    pub(crate) fn stop(&mut self, index: usize, power: Power) {
        let server = &mut self.servers[index];
        server.power = power;
        server.incarnation += 1;
        server.receiver = None;
        server.inbox.clear();
    }
}
