//! Replication slots, and what keeps WAL where there are none.

use std::net::IpAddr;

use super::fix;
use crate::{Facts, Node, Slot, Subject, conninfo::Conninfo, finding::Findings, identifier::quote_literal};

/// From this many bytes on an unused slot that may hold as much as it likes is a failure. On a standby it is told from
/// there on at all: those that keep slots for the time after a promotion move them along now and then.
const MUCH: u64 = 1 << 30;

pub(super) fn judge(subject: &Subject, findings: &mut Findings) {
    for (node, facts) in subject.seen() {
        for slot in &facts.slots {
            lost(node, slot, findings);
            if slot.logical {
                logical(subject, node, facts, slot, findings);
            } else if !slot.active && slot.retained > if facts.in_recovery { MUCH } else { 0 } {
                unused(subject, node, facts, slot, findings);
            }
        }
        bound(node, facts, findings);
    }
    for (node, facts) in subject.standbys() {
        of_standby(subject, node, facts, findings);
    }
}

fn lost(node: &Node, slot: &Slot, findings: &mut Findings) {
    let mut about = findings.about(&node.name);
    let value = format!("{}: {}", slot.name, slot.wal_status);
    match slot.wal_status.as_str() {
        "lost" => about.failure(
            "slot",
            value,
            "WAL that its standby needs was removed, as max_slot_wal_keep_size allows: the standby has to be copied anew",
            drop_slot(slot),
        ),
        "unreserved" => about.failure(
            "slot",
            value,
            "the next checkpoint may remove WAL that its standby needs, as max_slot_wal_keep_size allows",
            "",
        ),
        _ => {}
    }
}

fn drop_slot(slot: &Slot) -> String {
    format!("SELECT pg_drop_replication_slot({});", quote_literal(&slot.name))
}

/// Whether a standby's slot is there from when it was the primary: whoever used it finds one on the present primary, or is
/// that.
fn is_leftover(subject: &Subject, facts: &Facts, slot: &Slot) -> bool {
    facts.in_recovery
        && subject.primary().is_some_and(|(_, primary)| {
            primary.setting("primary_slot_name") == slot.name
                || primary.slots.iter().any(|known| !known.logical && known.name == slot.name)
        })
}

fn unused(subject: &Subject, node: &Node, facts: &Facts, slot: &Slot, findings: &mut Findings) {
    let leftover = is_leftover(subject, facts, slot);
    let wanted = subject
        .standbys()
        .find(|(_, facts)| facts.setting("primary_slot_name") == slot.name)
        .filter(|_| !leftover);
    let unbounded = facts.number("max_slot_wal_keep_size") == Some(-1);
    let whose = match wanted {
        _ if leftover => {
            "it is left of this standby's time as the primary, and its user streams from another node"
                .to_owned()
        }
        Some((standby, _)) => format!("its standby, {}, does not stream", standby.name),
        None => "no standby that answers uses it".to_owned(),
    };
    let until = if unbounded { "the disk is full" } else { "max_slot_wal_keep_size is reached" };
    let mut about = findings.about(&node.name);
    let value = format!("{}: unused, holds {}", slot.name, fix::bytes(slot.retained));
    let why = format!("{whose}: WAL is kept for it until {until}");
    // while a standby is away its slot is there for just this
    let fix = if wanted.is_some() { String::new() } else { drop_slot(slot) };
    if unbounded && slot.retained >= MUCH {
        about.failure("slot", value, why, fix);
    } else {
        about.warning("slot", value, why, fix);
    }
}

fn logical(subject: &Subject, node: &Node, facts: &Facts, slot: &Slot, findings: &mut Findings) {
    let mut about = findings.about(&node.name);
    if !facts.in_recovery && !slot.failover {
        if facts.major() >= 17 {
            about.warning(
                "logical slot",
                format!("{}: failover is off", slot.name),
                "it is not copied to standbys: after a failover its subscriber gets nothing any more",
                "ALTER SUBSCRIPTION … DISABLE;\nALTER SUBSCRIPTION … SET (failover = true);\nALTER SUBSCRIPTION … ENABLE; -- on the subscriber",
            );
        } else {
            about.warning(
                "logical slot",
                slot.name.clone(),
                format!(
                    "PostgreSQL {} cannot copy it to standbys (17 can): after a failover its subscriber gets nothing any more",
                    facts.major()
                ),
                "",
            );
        }
    }
    if facts.in_recovery || !slot.failover {
        return;
    }
    for (standby, its) in subject.standbys().filter(|(_, its)| its.is_off("sync_replication_slots")) {
        let why = format!("{} is not copied to it, and would be gone if it were promoted", slot.name);
        let mut fix = fix::set("sync_replication_slots", "on");
        if its.is_off("hot_standby_feedback") {
            fix = format!("ALTER SYSTEM SET hot_standby_feedback = 'on';\n{fix}");
        }
        findings.about(&standby.name).warning("sync_replication_slots", "off", why, fix);
    }
}

/// A slot without a bound fills the disk of the primary when its standby stays away.
fn bound(node: &Node, facts: &Facts, findings: &mut Findings) {
    let Some(most) = facts.number("max_slot_wal_keep_size") else { return };
    let mut about = findings.about(&node.name);
    if most >= 0 {
        about.ok("max_slot_wal_keep_size", format!("{most} MB"));
    } else if facts.slots.is_empty() {
        about.ok("max_slot_wal_keep_size", "-1, but there are no slots");
    } else {
        about.warning(
            "max_slot_wal_keep_size",
            "-1",
            "a standby that stays away fills this node's disk: then nobody can write any more",
            fix::set("max_slot_wal_keep_size", "10GB"),
        );
    }
}

/// Whether a node is configured to stream from another.
fn leads_to(facts: &Facts, other: &Node) -> bool {
    let Some(conninfo) = Conninfo::parse(facts.setting("primary_conninfo")) else { return false };
    let is_host = conninfo.host == other.host
        || conninfo.host.parse().is_ok_and(|address: IpAddr| other.addresses.contains(&address));
    is_host && conninfo.port == other.port.to_string()
}

/// The slot that a standby wants, or what keeps WAL for it without one.
fn of_standby(subject: &Subject, node: &Node, facts: &Facts, findings: &mut Findings) {
    let Some((primary, present)) = subject.primary() else { return };
    let wanted = facts.setting("primary_slot_name");
    if !wanted.is_empty() {
        // one that streams has its slot, wherever that is; one that does not may be meant to follow another standby
        let streams = facts.receiver.as_ref().is_some_and(|receiver| receiver.status == "streaming");
        let cascades = subject.standbys().any(|(other, _)| leads_to(facts, other));
        if !streams && !cascades && !present.slots.iter().any(|slot| slot.name == wanted) {
            findings.about(&primary.name).failure(
                "slot",
                format!("{wanted} is missing"),
                format!("{} is configured to stream from it, and cannot", node.name),
                format!("SELECT pg_create_physical_replication_slot({}, true);", quote_literal(wanted)),
            );
        }
        return;
    }
    let streams_without = facts.receiver.as_ref().is_some_and(|receiver| receiver.slot.is_empty());
    let kept = present.number("wal_keep_size").unwrap_or(0);
    if streams_without && kept == 0 && facts.setting("restore_command").is_empty() {
        findings.about(&primary.name).warning(
            "wal_keep_size",
            "0",
            format!(
                "{} streams without a slot: when it was away for a while it has to be copied anew",
                node.name
            ),
            fix::set("wal_keep_size", "1GB"),
        );
    }
}
