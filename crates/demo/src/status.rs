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
    fn gather(console: &mut Console) -> Result<Self> {
        let (nodes, pools) = (console.ask("SHOW NODES")?, console.ask("SHOW POOLS")?);
        Ok(Self::of_tables(&nodes, &pools, &console.ask("SHOW EVENTS")?))
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
            events: events.rows().map(|row| row.values().collect::<Vec<_>>().join("  ")).collect(),
        }
    }
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
    pub(crate) fn start(psql: impl Fn() -> Command + Send + 'static) -> Self {
        let latest = Arc::new(Mutex::new(None));
        let (alive, end) = sync_channel(0);
        let thread = thread::spawn({
            let latest = Arc::clone(&latest);
            move || {
                let mut console = None;
                loop {
                    let report = ask(&mut console, &psql);
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
fn ask(console: &mut Option<Console>, psql: &impl Fn() -> Command) -> Option<Report> {
    if console.is_none() {
        *console = Console::open(psql()).ok();
    }
    let report = console.as_mut().and_then(|console| Report::gather(console).ok());
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
        let events = table(&["time|event|detail", "12:00|promoted|us", "12:01|up|"]);
        let report = Report::of_tables(&nodes, &pools, &events);
        assert_eq!(report.nodes[0].role, "primary");
        assert_eq!((report.nodes[0].reads, report.nodes[0].writes), (1, 2));
        assert_eq!(report.nodes[1], NodeReport { name: "us".to_owned(), ..NodeReport::default() });
        assert_eq!(report.pools, Pools { clients: 11, waiting: 22, servers_active: 33, servers_idle: 44 });
        assert_eq!(report.events, ["12:00  promoted  us", "12:01  up"]);
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
