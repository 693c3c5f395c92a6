use std::{
    process::Command,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::Result;

use crate::console::{Console, Row, Table};

/// How often a proxy is asked.
const INTERVAL: Duration = Duration::from_secs(1);

/// What one proxy says about its cluster and itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) nodes: Vec<NodeReport>,
    pub(crate) pools: Pools,
    /// Oldest first.
    pub(crate) events: Vec<String>,
    /// What was done in failovers, oldest first; of a proxy that manages.
    pub(crate) steps: Vec<String>,
    /// What it does at the moment.
    pub(crate) under_way: Option<String>,
}

/// What a proxy is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Questions {
    /// What every proxy knows.
    Usual,
    /// And what the one that manages does.
    All,
}

/// A node as a proxy sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NodeReport {
    pub(crate) name: String,
    pub(crate) role: String,
    pub(crate) health: String,
    pub(crate) timeline: String,
    pub(crate) lag: String,
    /// Statements and transactions that this proxy has sent there.
    pub(crate) reads: u64,
    pub(crate) writes: u64,
    /// What its agent is doing.
    pub(crate) agent: String,
}

/// A proxy's clients and server connections, all pools together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Pools {
    pub(crate) clients: u64,
    pub(crate) waiting: u64,
    pub(crate) servers_active: u64,
    pub(crate) servers_idle: u64,
}

impl Report {
    fn gather(console: &mut Console, questions: Questions) -> Result<Self> {
        let (nodes, pools) = (console.ask("SHOW NODES")?, console.ask("SHOW POOLS")?);
        let mut report = Self::of_tables(&nodes, &pools, &console.ask("SHOW EVENTS")?);
        if questions == Questions::All {
            let (failovers, steps) = (console.ask("SHOW FAILOVERS")?, console.ask("SHOW FAILOVER_STEPS")?);
            report.take_failovers(&failovers, &steps);
            // Agents are called for this, so only when there may be something to tell.
            if report.nodes.iter().any(|node| node.health != "up") {
                report.take_agents(&console.ask("SHOW AGENTS")?);
            }
        }
        Ok(report)
    }

    fn of_tables(nodes: &Table, pools: &Table, events: &Table) -> Self {
        let sum = |column: &str| pools.rows().filter_map(|row| row.number(column)).sum();
        Self {
            nodes: nodes.rows().map(NodeReport::of_row).collect(),
            pools: Pools {
                clients: sum("cl_active"),
                waiting: sum("cl_waiting"),
                servers_active: sum("sv_active"),
                servers_idle: sum("sv_idle"),
            },
            events: events.rows().map(event).collect(),
            ..Self::default()
        }
    }

    fn take_failovers(&mut self, failovers: &Table, steps: &Table) {
        let step = |row: Row<'_>| {
            let text = |column: &str| row.text(column).unwrap_or_default().to_owned();
            let after = text("after_ms");
            let after = after.split('.').next().unwrap_or_default();
            let (node, step) = (text("node"), text("step"));
            // events name the node themselves
            let step = step.strip_prefix(&format!("{node} ")).unwrap_or(&step);
            let subject = if node.is_empty() { node } else { format!("{node}: ") };
            format!("failover {} {after:>6} ms  {subject}{step}", text("number"))
        };
        self.steps = steps.rows().map(step).collect();
        let last = failovers.rows().last().filter(|row| row.text("outcome") == Some("under way"));
        self.under_way = last.map(|row| {
            let text = |column: &str| row.text(column).unwrap_or_default();
            let what = if text("kind") == "automatic" { "failover" } else { text("kind") };
            format!("{what} under way, {}", text("last_step"))
        });
    }

    fn take_agents(&mut self, agents: &Table) {
        for row in agents.rows() {
            let node = self.nodes.iter_mut().find(|node| row.text("node") == Some(&node.name));
            if let (Some(node), Some(activity)) = (node, row.text("activity").filter(|text| !text.is_empty()))
            {
                activity.clone_into(&mut node.agent);
                self.under_way.get_or_insert_with(|| format!("{} is brought back", node.name));
            }
        }
    }
}

/// An event in a line: the time of day and what happened.
fn event(row: Row<'_>) -> String {
    let text = |column: &str| row.text(column).unwrap_or_default();
    let time = text("time").split(' ').next_back().unwrap_or_default();
    let time = time.split('+').next().unwrap_or_default();
    format!("{time}  {}", text("text"))
}

impl NodeReport {
    fn of_row(row: Row<'_>) -> Self {
        let text = |column: &str| row.text(column).unwrap_or_default().to_owned();
        Self {
            name: text("name"),
            role: text("role"),
            health: text("health"),
            timeline: text("timeline"),
            lag: row.number("lag_bytes").map_or_else(String::new, bytes),
            reads: row.number("reads").unwrap_or_default(),
            writes: row.number("writes").unwrap_or_default(),
            agent: String::new(),
        }
    }
}

/// A number of bytes for people.
fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut tenths = count.saturating_mul(10) / 1024;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// Asks one proxy again and again in a thread of its own, so that one that hangs holds nobody up.
pub(crate) struct Watcher {
    latest: Arc<Mutex<Option<Report>>>,
    /// Dropped to end the thread.
    alive: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// `psql` makes a command that connects to the proxy's console.
    pub(crate) fn start(questions: Questions, psql: impl Fn() -> Command + Send + 'static) -> Self {
        let latest = Arc::new(Mutex::new(None));
        let (alive, end) = sync_channel(0);
        let thread = thread::spawn({
            let latest = Arc::clone(&latest);
            move || {
                let mut console = None;
                loop {
                    let report = ask(&mut console, questions, &psql);
                    *latest.lock().unwrap_or_else(PoisonError::into_inner) = report;
                    match end.recv_timeout(INTERVAL) {
                        Err(RecvTimeoutError::Timeout) => {}
                        Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
                    }
                }
            }
        });
        Self { latest, alive: Some(alive), thread: Some(thread) }
    }

    /// The latest answer; `None` while the proxy does not answer.
    pub(crate) fn latest(&self) -> Option<Report> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Watcher {
    /// Waits for the thread, which may be waiting for the proxy: proxies end first.
    fn drop(&mut self) {
        drop(self.alive.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One round of questions; a console that fails is closed and opened anew in the next round.
fn ask(console: &mut Option<Console>, questions: Questions, psql: &impl Fn() -> Command) -> Option<Report> {
    if console.is_none() {
        *console = Console::open(psql()).ok();
    }
    let report = console.as_mut().and_then(|console| Report::gather(console, questions).ok());
    if report.is_none() {
        *console = None;
    }
    report
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::console::tests::table;

    #[test]
    fn a_report_takes_what_it_knows_and_adds_up_pools() {
        let nodes = table(&[
            "name|address|role|state|lag_bytes|reads|writes|new",
            "eu|x|primary|up|0|1|2|?",
            "us|x|||||",
        ]);
        let pools = table(&["database|cl_active|cl_waiting|sv_active|sv_idle", "a|1|2|3|4", "b|10|20|30|40"]);
        let events =
            table(&["time|event|text", "2026-11-22 12:00:01.25+00|promoted|us was promoted", "12:01|up|"]);
        let report = Report::of_tables(&nodes, &pools, &events);
        assert_eq!(report.nodes[0].role, "primary");
        assert_eq!((report.nodes[0].reads, report.nodes[0].writes), (1, 2));
        assert_eq!(report.nodes[1], NodeReport { name: "us".to_owned(), ..NodeReport::default() });
        assert_eq!(report.pools, Pools { clients: 11, waiting: 22, servers_active: 33, servers_idle: 44 });
        assert_eq!(report.events, ["12:00:01.25  us was promoted", "12:01  "]);
    }

    #[test]
    fn what_the_manager_and_the_agents_do_is_told() {
        let nodes = table(&["name|health", "eu|down", "us|up"]);
        let none = table(&["nothing"]);
        let mut report = Report::of_tables(&nodes, &none, &none);
        let steps = table(&[
            "number|after_ms|node|step",
            "1|0.000||no primary",
            "1|312.450|us|chosen",
            "1|9.1|eu|eu is down",
        ]);
        report.take_failovers(&table(&["kind|outcome|last_step", "automatic|under way|us: chosen"]), &steps);
        assert_eq!(
            report.steps,
            [
                "failover 1      0 ms  no primary",
                "failover 1    312 ms  us: chosen",
                "failover 1      9 ms  eu: is down"
            ]
        );
        assert_eq!(report.under_way.as_deref(), Some("failover under way, us: chosen"));
        report.take_failovers(&table(&["kind|outcome|last_step", "automatic|done|us: done"]), &steps);
        assert_eq!(report.under_way, None);
        report.take_agents(&table(&["node|activity", "eu|rewind: rewinding", "us|"]));
        assert_eq!(
            (report.nodes[0].agent.as_str(), report.nodes[1].agent.as_str()),
            ("rewind: rewinding", "")
        );
        assert_eq!(report.under_way.as_deref(), Some("eu is brought back"));
    }

    #[test]
    fn byte_counts_are_readable() {
        for (count, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (1 << 20, "1.0 MiB"),
            (u64::MAX, "1677721.5 TiB"),
        ] {
            assert_eq!(bytes(count), expected, "{count}");
        }
    }
}
