//! Whether everybody can log in wherever a failover needs it.

use std::net::IpAddr;

use super::fix;
use crate::{
    Access, Client, Encryption, Facts, Node, Readable, Refusal, Subject, conninfo::Conninfo,
    finding::Findings, identifier::quote_identifier,
};

pub(super) fn judge(subject: &Subject, findings: &mut Findings) {
    for node in &subject.nodes {
        match &node.seen {
            Ok(_) => findings.about(&node.name).ok("login", "yes"),
            Err(refusal) => refused(subject, node, refusal, findings),
        }
        match &node.replication {
            None => {}
            Some(Ok(())) => findings.about(&node.name).ok("replication login", "yes"),
            Some(Err(refusal)) => replication_refused(subject, node, refusal, findings),
        }
    }
    for (node, facts) in subject.seen() {
        files(node, facts, findings);
        standbys_of(subject, node, facts, findings);
    }
}

fn refused(subject: &Subject, node: &Node, refusal: &Refusal, findings: &mut Findings) {
    if node.spare && refusal.sqlstate.is_none() {
        return findings.about(&node.name).ok("login", "no; a spare need not run");
    }
    let (user, database) = (&subject.purpose.user, &subject.purpose.database);
    let (why, fix) = match refusal.sqlstate.as_deref() {
        Some("28000") => (
            "pg_hba.conf has no line for pgherd, so this node is not watched and serves nobody",
            match own_address(&refusal.message) {
                Some(address) => fix::hba_line("all", user, address),
                None => fix::hba_line_from("all", user, "<address of pgherd>"),
            },
        ),
        Some("28P01") => (
            "cluster.monitor.secret is not this role's password",
            format!("\\password {}", quote_identifier(user)),
        ),
        Some("3D000") => (
            "cluster.monitor.database is not there",
            format!("CREATE DATABASE {}; -- on the primary", quote_identifier(database)),
        ),
        Some("53300") if refusal.message.contains("for role") => (
            "pgherd keeps some connections for probes, look-ups and histories, and this role may not have as many",
            format!("ALTER ROLE {} CONNECTION LIMIT -1; -- on the primary", quote_identifier(user)),
        ),
        Some("53300") => ("all its connections are in use: see max_connections", String::new()),
        Some("57P03") => ("it starts, stops or recovers; it is looked at again all the time", String::new()),
        Some(_) | None => ("it is not watched, serves nobody, and cannot take over", String::new()),
    };
    findings.about(&node.name).failure("login", refusal.message.clone(), why, fix);
}

fn replication_refused(subject: &Subject, node: &Node, refusal: &Refusal, findings: &mut Findings) {
    const WHY: &str = "pgherd reads the histories of timelines by a replication connection: without one a promotion of \
                       this node may not be believed";
    let user = &subject.purpose.user;
    let fix = match refusal.sqlstate.as_deref() {
        Some("28000") => match own_address(&refusal.message) {
            Some(address) => fix::hba_line("replication", user, address),
            None => fix::hba_line_from("replication", user, "<address of pgherd>"),
        },
        // before 16 a role without REPLICATION is told in this way, too
        Some("42501") => format!("ALTER ROLE {} REPLICATION; -- on the primary", quote_identifier(user)),
        Some("53300") => {
            fix::set_and_restart("max_wal_senders", &(subject.nodes.len() + 2).max(10).to_string())
        }
        Some(_) | None => String::new(),
    };
    findings.about(&node.name).failure("replication login", refusal.message.clone(), WHY, fix);
}

/// The address that a server says to be dialed from: `… from host "10.0.0.7", user …`.
fn own_address(message: &str) -> Option<IpAddr> {
    message.split('"').find_map(|part| part.parse().ok())
}

/// Lines that cannot be read keep the whole file from being read anew.
fn files(node: &Node, facts: &Facts, findings: &mut Findings) {
    let Some(Readable::Read(rules)) = &facts.hba else { return };
    let mut about = findings.about(&node.name);
    let mut whole = true;
    for rule in rules.iter().filter(|rule| !rule.error.is_empty()) {
        whole = false;
        about.failure(
            "pg_hba.conf",
            rule.error.clone(),
            "with a line that cannot be read, no change of the file comes true, and a restart fails",
            "SELECT line_number, error FROM pg_hba_file_rules WHERE error IS NOT NULL;",
        );
    }
    if whole {
        about.ok("pg_hba.conf", format!("{} lines", rules.len()));
    }
}

/// Whether every other node could stream from this one.
fn standbys_of(subject: &Subject, node: &Node, facts: &Facts, findings: &mut Findings) {
    let Some(Readable::Read(rules)) = &facts.hba else { return };
    for (other, its) in subject.seen().filter(|(other, _)| other.name != node.name) {
        let Some(user) = subject.streams_as(its) else { continue };
        for address in comes_from(subject, other, its) {
            let value = format!("{} as {user} from {address}", other.name);
            let mut about = findings.about(&node.name);
            let client = Client { user: &user, address, encryption: encryption(facts, its) };
            let (because, place) = match client.access(rules) {
                Access::Method(_) => {
                    about.ok("streaming to", value);
                    continue;
                }
                Access::Unknown => {
                    about.ok("streaming to", format!("{value}: cannot be told from here"));
                    continue;
                }
                Access::Rejected => ("a line with reject comes first", "  # above the line with reject"),
                Access::NoLine => ("pg_hba.conf has no line for it", ""),
            };
            about.failure(
                "streaming to",
                value,
                format!("{because}: {} could not follow this node as its primary", other.name),
                fix::hba_line("replication", &user, address).replacen('\n', &format!("{place}\n"), 1),
            );
        }
    }
}

/// Whether a node's WAL receiver would encrypt its connection to a server.
fn encryption(server: &Facts, client: &Facts) -> Encryption {
    let sslmode = Conninfo::parse(client.setting("primary_conninfo")).unwrap_or_default().sslmode;
    match (server.setting("ssl"), sslmode.as_str()) {
        ("off", _) | (_, "disable") => Encryption::Never,
        ("on", "" | "prefer" | "require" | "verify-ca" | "verify-full") => Encryption::Tls,
        _ => Encryption::Unknown,
    }
}

/// Where a node's WAL receiver connects from: as its primary sees it, or else where it is configured to be.
fn comes_from(subject: &Subject, node: &Node, facts: &Facts) -> Vec<IpAddr> {
    let name = facts.standby_name();
    let mut senders = subject.seen().flat_map(|(_, facts)| &facts.senders);
    let seen = senders.find(|sender| sender.name == name).and_then(|sender| sender.address.parse().ok());
    match seen {
        Some(address) => vec![address],
        None => node.addresses.clone(),
    }
}
