//! Settings that each node has to have whatever its role is, since any of them may be the primary one day.

use super::fix;
use crate::{Facts, Node, Subject, finding::Findings};

pub(super) fn judge(subject: &Subject, findings: &mut Findings) {
    for (node, facts) in subject.seen() {
        wal_level(node, facts, findings);
        rewind(node, facts, findings);
        durability(node, facts, findings);
        timeouts(node, facts, findings);
        archive(node, facts, findings);
        pending(node, facts, findings);
        enough(subject, node, facts, findings);
        let mut about = findings.about(&node.name);
        if facts.is_off("hot_standby") {
            about.failure(
                "hot_standby",
                "off",
                "as a standby it takes no connections: no reads, no probes, and nobody sees how far it is",
                fix::set_and_restart("hot_standby", "on"),
            );
        } else {
            about.ok("hot_standby", "on");
        }
        for (name, place) in &facts.tablespaces {
            about.warning(
                "tablespace",
                format!("{name} at {place}"),
                "a copy of the node needs that place, too: pg_basebackup asks for an empty folder there or a mapping, and \
                 two nodes on one machine would collide",
                format!("pg_basebackup --tablespace-mapping={place}={place}"),
            );
        }
    }
}

fn wal_level(node: &Node, facts: &Facts, findings: &mut Findings) {
    let mut about = findings.about(&node.name);
    match facts.setting("wal_level") {
        "minimal" => about.failure(
            "wal_level",
            "minimal",
            "no standby can be made from this node or follow it",
            fix::set_and_restart("wal_level", "replica"),
        ),
        other => about.ok("wal_level", other),
    }
}

/// What pg_rewind needs (manual, "pg_rewind").
fn rewind(node: &Node, facts: &Facts, findings: &mut Findings) {
    let mut about = findings.about(&node.name);
    match (facts.is_off("wal_log_hints"), facts.checksums) {
        (true, false) => about.warning(
            "wal_log_hints",
            "off, and no checksums",
            "after a failover pg_rewind could not bring this node back: it would have to be copied anew",
            fix::set_and_restart("wal_log_hints", "on"),
        ),
        (hints_off, _) => about.ok("wal_log_hints", if hints_off { "off, but checksums" } else { "on" }),
    }
    if facts.is_off("full_page_writes") {
        about.failure(
            "full_page_writes",
            "off",
            "pg_rewind refuses such a node, and a crash of the machine may leave torn pages behind",
            fix::set("full_page_writes", "on"),
        );
    } else {
        about.ok("full_page_writes", "on");
    }
}

fn durability(node: &Node, facts: &Facts, findings: &mut Findings) {
    let mut about = findings.about(&node.name);
    if facts.is_off("fsync") {
        about.warning(
            "fsync",
            "off",
            "a crash of the machine may leave data that cannot be read, and loses acknowledged commits",
            fix::set("fsync", "on"),
        );
    }
    if facts.is_off("synchronous_commit") {
        about.warning(
            "synchronous_commit",
            "off",
            "commits are acknowledged before they are on disk anywhere: a crash loses the last of them",
            fix::set("synchronous_commit", "on"),
        );
    }
    if facts.setting("default_transaction_read_only") == "on" {
        about.warning(
            "default_transaction_read_only",
            "on",
            "as the primary it refuses every write of a client that does not ask for READ WRITE",
            fix::set("default_transaction_read_only", "off"),
        );
    }
}

/// Without them a peer that vanished is waited for until TCP gives up, which takes hours.
fn timeouts(node: &Node, facts: &Facts, findings: &mut Findings) {
    for name in ["wal_sender_timeout", "wal_receiver_timeout"] {
        if facts.number(name) == Some(0) {
            findings.about(&node.name).warning(
                name,
                "0",
                "a peer that vanished without a word is not noticed for hours",
                fix::set(name, "60s"),
            );
        }
    }
}

fn archive(node: &Node, facts: &Facts, findings: &mut Findings) {
    let mode = facts.setting("archive_mode");
    let archives = mode == "always" || mode == "on" && !facts.in_recovery;
    if !archives {
        return;
    }
    let mut about = findings.about(&node.name);
    let command = facts.setting("archive_command");
    if command.is_empty() && facts.setting("archive_library").is_empty() {
        about.failure(
            "archive_command",
            "empty",
            "archive_mode is on and nothing archives: WAL is kept until the disk is full",
            fix::set("archive_command", "…"),
        );
    } else if facts.archiver.failing {
        about.failure(
            "archive_command",
            format!("fails with {}, {} times in all", facts.archiver.failed_file, facts.archiver.failed),
            "what is not archived is kept until the disk is full; the node's log has what the command said",
            "SELECT * FROM pg_stat_archiver;",
        );
    } else {
        about.ok("archive_command", "works");
    }
}

fn pending(node: &Node, facts: &Facts, findings: &mut Findings) {
    let names: Vec<&str> = facts
        .settings
        .iter()
        .filter(|(_, setting)| setting.restart_pending)
        .map(|(name, _)| &**name)
        .collect();
    if !names.is_empty() {
        findings.about(&node.name).warning(
            "restart pending",
            names.join(", "),
            "it runs with other values than its files have: after the next restart, which may be a crash, it is another \
             server",
            format!("pg_ctl restart -m fast -D {}", facts.setting("data_directory")),
        );
    }
}

/// Whether it could serve all the other nodes as their primary.
fn enough(subject: &Subject, node: &Node, facts: &Facts, findings: &mut Findings) {
    let others = i64::try_from(subject.nodes.len()).unwrap_or(i64::MAX).saturating_sub(1);
    let wanted = others.saturating_add(2);
    let advised = wanted.max(10).to_string();
    let mut about = findings.about(&node.name);
    let slots = subject.uses_slots();
    for (name, matters) in [("max_wal_senders", true), ("max_replication_slots", slots)] {
        let Some(has) = facts.number(name) else { continue };
        if !matters || has >= wanted {
            about.ok(name, has.to_string());
        } else if has < others {
            about.failure(
                name,
                has.to_string(),
                format!("as the primary it could not serve its {others} standbys"),
                fix::set_and_restart(name, &advised),
            );
        } else {
            about.warning(
                name,
                has.to_string(),
                format!("it is just enough for {others} standbys: a copy of a node, or a backup, needs one or two more"),
                fix::set_and_restart(name, &advised),
            );
        }
    }
}
