use lab::Node;

use crate::{
    proxies::Proxy,
    status::{NodeReport, Report},
};

/// Heading and rows about the proxies.
pub(crate) fn proxies_table(proxies: &[Proxy], reports: &[Option<Report>]) -> Vec<Vec<String>> {
    let mut table = vec![row(["proxy", "port", "pid", "clients", "waiting", "servers active", "idle"])];
    for (proxy, report) in proxies.iter().zip(reports) {
        let start =
            [proxy.region().to_owned(), proxy.port().to_string(), number_or_dash(proxy.process().pid())];
        let pools = report.as_ref().map(|report| report.pools);
        let numbers = pools.map_or_else(
            || ["-"; 4].map(str::to_owned),
            |pools| {
                [pools.clients, pools.waiting, pools.servers_active, pools.servers_idle]
                    .map(|n| n.to_string())
            },
        );
        table.push(start.into_iter().chain(numbers).collect());
    }
    table
}

/// Heading and rows about the nodes, and what changes when a role or state of theirs does.
pub(crate) fn nodes_table(nodes: &[Node], reports: &[Option<Report>]) -> (Vec<Vec<String>>, String) {
    let mut table = vec![row([
        "node", "region", "port", "server", "role", "health", "timeline", "lag", "reads", "writes", "agent",
    ])];
    let mut roles = String::new();
    for (index, node) in nodes.iter().enumerate() {
        let seen = Seen::of(reports, node.name());
        let server = if node.is_running() { "runs" } else { "down" };
        roles.push_str(&format!("{server} {} {}\n", seen.report.role, seen.report.health));
        table.push(vec![
            (index + 1).to_string(),
            node.region().to_owned(),
            node.port().to_string(),
            server.to_owned(),
            text_or_dash(seen.report.role),
            text_or_dash(seen.report.health),
            text_or_dash(seen.report.timeline),
            text_or_dash(seen.report.lag),
            seen.reads.to_string(),
            seen.writes.to_string(),
            seen.report.agent,
        ]);
    }
    (table, roles)
}

/// One node as all proxies together see it.
#[derive(Default)]
pub(crate) struct Seen {
    /// By the first proxy that answers.
    pub(crate) report: NodeReport,
    /// Through all proxies.
    reads: u64,
    writes: u64,
}

impl Seen {
    pub(crate) fn of(reports: &[Option<Report>], name: &str) -> Self {
        let views =
            || reports.iter().flatten().flat_map(|report| &report.nodes).filter(|node| node.name == name);
        Self {
            report: views().next().cloned().unwrap_or_default(),
            reads: views().map(|node| node.reads).sum(),
            writes: views().map(|node| node.writes).sum(),
        }
    }
}

fn row<const N: usize>(values: [&str; N]) -> Vec<String> {
    values.map(str::to_owned).to_vec()
}

fn text_or_dash(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}

fn number_or_dash(number: Option<u32>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| number.to_string())
}
