//! Standbys: whether they follow, and could go on to.

use super::fix;
use crate::{Facts, Mode, Node, Subject, conninfo::Conninfo, finding::Findings, identifier::quote_literal};

/// Settings that a standby must not have smaller than its primary (manual, "Administrator's Overview").
const AT_LEAST: [&str; 5] = [
    "max_connections",
    "max_worker_processes",
    "max_wal_senders",
    "max_prepared_transactions",
    "max_locks_per_transaction",
];

pub(super) fn judge(subject: &Subject, findings: &mut Findings) {
    let primary = subject.primary();
    for (node, facts) in subject.standbys() {
        follows(subject, node, facts, findings);
        replays(node, facts, findings);
        target(node, facts, findings);
        feedback(node, facts, findings);
        names(subject, node, facts, findings);
        if let Some((primary, present)) = primary {
            at_least(primary, present, node, facts, findings);
        }
    }
}

fn follows(subject: &Subject, node: &Node, facts: &Facts, findings: &mut Findings) {
    let mut about = findings.about(&node.name);
    let status = facts.receiver.as_ref().map_or("no receiver", |receiver| receiver.status.as_str());
    if status == "streaming" {
        let from =
            facts.receiver.as_ref().map_or_else(String::new, |one| format!("{}:{}", one.host, one.port));
        about.ok("streaming", format!("from {from}"));
        return;
    }
    // the receiver's columns, and this setting, are for pg_monitor alone
    let Some(conninfo) = facts.settings.get("primary_conninfo") else { return };
    let leads = Conninfo::parse(&conninfo.value);
    if conninfo.value.is_empty() {
        let user = subject.streams_as(facts).unwrap_or_else(|| subject.purpose.user.clone());
        let from_archive = !facts.setting("restore_command").is_empty();
        let why = if from_archive {
            "it reads the archive alone, a file at a time: at a failover all that is not archived is lost to it"
        } else {
            "it receives nothing: it falls behind, and would lose all that at a failover"
        };
        about.failure("primary_conninfo", "empty", why, follow(subject, node, &user));
        return;
    }
    let (place, user) = match &leads {
        Some(leads) => (format!("{}:{}", leads.host, leads.port), leads.user.clone()),
        None => ("nowhere: it cannot be read".to_owned(), subject.purpose.user.clone()),
    };
    about.failure(
        "streaming",
        format!("{status}; primary_conninfo leads to {place}"),
        "it falls behind, and would lose all that at a failover; its log says why it does not stream",
        follow(subject, node, &user),
    );
}

/// How a node follows the present primary; the password is for whoever pastes it.
fn follow(subject: &Subject, node: &Node, user: &str) -> String {
    let Some((primary, _)) = subject.primary().filter(|(primary, _)| primary.name != node.name) else {
        return String::new();
    };
    let conninfo = format!(
        "host={} port={} user={user} password=… application_name={}",
        primary.host, primary.port, node.name
    );
    fix::set("primary_conninfo", &conninfo)
}

fn replays(node: &Node, facts: &Facts, findings: &mut Findings) {
    let mut about = findings.about(&node.name);
    if facts.replay_paused {
        about.failure(
            "replay",
            "paused",
            "what it receives does not become visible: reads are old, and a promotion has to replay all of it first",
            "SELECT pg_wal_replay_resume();",
        );
    } else {
        about.ok("replay", "goes on");
    }
    match facts.number("recovery_min_apply_delay") {
        Some(delay) if delay > 0 => about.warning(
            "recovery_min_apply_delay",
            format!("{delay} ms"),
            "it is always so far behind: reads do not use it, and a promotion first replays what it has held back",
            fix::set("recovery_min_apply_delay", "0"),
        ),
        _ => about.ok("recovery_min_apply_delay", "0"),
    }
    if facts.number("max_standby_streaming_delay") == Some(-1) {
        about.warning(
            "max_standby_streaming_delay",
            "-1",
            "one long query keeps it from replaying for as long as it likes, a promotion included",
            fix::set("max_standby_streaming_delay", "30s"),
        );
    }
}

/// A standby that aims at a place in the past does not follow a promotion.
fn target(node: &Node, facts: &Facts, findings: &mut Findings) {
    let mut about = findings.about(&node.name);
    let timeline = facts.setting("recovery_target_timeline");
    if !timeline.is_empty() && timeline != "latest" {
        about.failure(
            "recovery_target_timeline",
            timeline,
            "it stays on its timeline when another node is promoted, and never follows that one",
            fix::set_and_restart("recovery_target_timeline", "latest"),
        );
    }
    for name in [
        "recovery_target",
        "recovery_target_lsn",
        "recovery_target_name",
        "recovery_target_time",
        "recovery_target_xid",
    ] {
        let value = facts.setting(name);
        if !value.is_empty() {
            about.failure(
                name,
                value,
                "replay ends there, and what comes after is never seen on this node",
                format!("ALTER SYSTEM RESET {name}; -- then restart the server"),
            );
        }
    }
}

/// Either has a price, so it is only told.
fn feedback(node: &Node, facts: &Facts, findings: &mut Findings) {
    let value = match facts.setting("hot_standby_feedback") {
        "on" => "on: its long queries keep the primary from cleaning up",
        "off" => "off: vacuum on the primary may cancel its queries",
        _ => return,
    };
    findings.about(&node.name).ok("hot_standby_feedback", value);
}

/// A standby without a name of its own cannot be named in synchronous_standby_names, nor told from others.
fn names(subject: &Subject, node: &Node, facts: &Facts, findings: &mut Findings) {
    let matters = subject.purpose.mode == Mode::Manage
        || subject.seen().any(|(_, facts)| !facts.setting("synchronous_standby_names").is_empty());
    if facts.settings.contains_key("primary_conninfo") && matters && facts.standby_name() == "walreceiver" {
        findings.about(&node.name).warning(
            "application_name",
            "walreceiver",
            "it has no name of its own, by which commits could wait for it and people could tell it from others",
            format!("ALTER SYSTEM SET cluster_name = {}; -- then restart the server", quote_literal(&node.name)),
        );
    }
}

fn at_least(primary: &Node, present: &Facts, node: &Node, facts: &Facts, findings: &mut Findings) {
    let mut about = findings.about(&node.name);
    for name in AT_LEAST {
        let (Some(has), Some(needs)) = (facts.number(name), present.number(name)) else { continue };
        if has < needs {
            about.failure(
                name,
                format!("{has}, on {} {needs}", primary.name),
                "a standby stops replaying, and does not start any more, when it has less of this than its primary",
                fix::set_and_restart(name, &needs.to_string()),
            );
        }
    }
}
