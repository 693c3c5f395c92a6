//! Whom commits wait for.

use topology::SyncNames;

use super::fix;

use crate::{Facts, Mode, Node, Subject, finding::Findings, identifier::quote_identifier};

pub(super) fn judge(subject: &Subject, findings: &mut Findings) {
    let Some((primary, present)) = subject.primary() else { return };
    let value = present.setting("synchronous_standby_names");
    if value.is_empty() {
        findings
            .about(&primary.name)
            .ok("synchronous_standby_names", "empty: a failover may lose the last commits");
    }
    let names = SyncNames::parse(value).ok().flatten();
    if let Some(names) = &names {
        now(primary, present, value, names, findings);
        strangers(subject, primary, present, value, names, findings);
    } else if !value.is_empty() {
        findings.about(&primary.name).warning(
            "synchronous_standby_names",
            value,
            "it cannot be read",
            fix::reset("synchronous_standby_names"),
        );
    }
    // a manager sets it for whoever it promotes
    if subject.purpose.mode == Mode::Follow {
        for (node, facts) in subject.standbys() {
            after_promotion(subject, names.as_ref(), node, facts, findings);
        }
    }
}

/// Whether commits come to an end at this moment.
fn now(node: &Node, facts: &Facts, value: &str, names: &SyncNames, findings: &mut Findings) {
    let streaming = facts.senders.iter().filter(|sender| sender.state == "streaming");
    let streaming = streaming.filter(|sender| names.has(&sender.name)).count();
    let waits = !["off", "local"].contains(&facts.setting("synchronous_commit"));
    let mut about = findings.about(&node.name);
    if streaming >= names.count || !waits {
        about.ok("synchronous_standby_names", value);
        return;
    }
    let others = facts.senders.iter().filter(|sender| sender.state == "streaming" && !sender.name.is_empty());
    let others: Vec<String> = others.map(|sender| quote_identifier(&sender.name)).collect();
    let fix = if others.is_empty() {
        fix::reset("synchronous_standby_names")
    } else {
        fix::set("synchronous_standby_names", &format!("ANY 1 ({})", others.join(", ")))
    };
    about.failure(
        "synchronous_standby_names",
        value,
        format!("fewer than {} of these stream: commits wait until they do", names.count),
        fix,
    );
}

/// Names that no node has.
fn strangers(
    subject: &Subject,
    node: &Node,
    facts: &Facts,
    value: &str,
    names: &SyncNames,
    findings: &mut Findings,
) {
    let known = |name: &String| {
        name == "*"
            || facts.senders.iter().any(|sender| sender.name.eq_ignore_ascii_case(name))
            || subject.seen().any(|(_, facts)| facts.standby_name().eq_ignore_ascii_case(name))
            // of a node that does not answer nothing is known
            || subject.nodes.iter().any(|node| node.seen.is_err())
    };
    let unknown: Vec<&str> = names.names.iter().filter(|name| !known(name)).map(|name| &**name).collect();
    if unknown.is_empty() {
        return;
    }
    let known: Vec<String> =
        names.names.iter().filter(|name| known(name)).map(|name| quote_identifier(name)).collect();
    let fix = if known.is_empty() {
        fix::reset("synchronous_standby_names")
    } else {
        let count = names.count.min(known.len());
        fix::set("synchronous_standby_names", &format!("ANY {count} ({})", known.join(", ")))
    };
    findings.about(&node.name).warning(
        "synchronous_standby_names",
        value,
        format!("no node calls itself {}", unknown.join(" or ")),
        fix,
    );
}

/// Whether commits would wait for the right nodes if this one were promoted.
fn after_promotion(
    subject: &Subject,
    present: Option<&SyncNames>,
    node: &Node,
    facts: &Facts,
    findings: &mut Findings,
) {
    let value = facts.setting("synchronous_standby_names");
    let others: Vec<String> = subject
        .seen()
        .filter(|(other, _)| other.name != node.name)
        .map(|(_, facts)| facts.standby_name())
        .collect();
    let fix = match present {
        Some(present) if !others.is_empty() => {
            let quoted: Vec<String> = others.iter().map(|name| quote_identifier(name)).collect();
            let count = present.count.min(others.len());
            fix::set("synchronous_standby_names", &format!("ANY {count} ({})", quoted.join(", ")))
        }
        Some(_) | None => fix::reset("synchronous_standby_names"),
    };
    let mut about = findings.about(&node.name);
    match (SyncNames::parse(value).ok().flatten(), present) {
        (None, None) => {}
        (None, Some(_)) => about.warning(
            "synchronous_standby_names",
            "empty",
            "if it were promoted, commits would not wait for anybody, as they do now",
            fix,
        ),
        (Some(names), _) => {
            let possible = others.iter().filter(|name| names.has(name)).count();
            let all_known = subject.nodes.iter().all(|node| node.seen.is_ok());
            if possible < names.count && all_known {
                about.warning(
                    "synchronous_standby_names",
                    value,
                    "if it were promoted, commits would wait for nodes that could not be its standbys",
                    fix,
                );
            } else {
                about.ok("synchronous_standby_names", value);
            }
        }
    }
}
