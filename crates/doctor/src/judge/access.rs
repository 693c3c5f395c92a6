//! What roles may do, and how many connections there are for them.

use super::fix;
use crate::{
    Facts, Mode, Node, Privilege, Readable, Secrets, Subject, Verdict, finding::Findings,
    identifier::quote_identifier,
};

/// Connections that the monitor keeps to a node: probes, look-ups, histories.
const MONITORS: i64 = 5;

/// Names that are told of a longer list.
const TOLD: usize = 5;

pub(super) fn judge(subject: &Subject, findings: &mut Findings) {
    // Roles and their privileges are the same on all nodes; the primary has them first.
    if let Some((node, facts)) = subject.primary().or_else(|| subject.seen().next()) {
        privileges(subject, node, facts, findings);
        lookup(subject, node, findings);
        md5(node, facts, findings);
    }
    for (node, facts) in subject.seen() {
        connections(subject, node, facts, findings);
        managed(subject, node, facts, findings);
        let mut about = findings.about(&node.name);
        if facts.setting("password_encryption") == "md5" {
            about.warning(
                "password_encryption",
                "md5",
                "passwords that are set from now on become MD5 hashes, with which nobody can log in through pgherd by SCRAM",
                fix::set("password_encryption", "scram-sha-256"),
            );
        }
    }
}

fn privileges(subject: &Subject, node: &Node, facts: &Facts, findings: &mut Findings) {
    let mut missing = false;
    for &(privilege, granted) in &facts.privileges {
        if granted {
            continue;
        }
        missing = true;
        let role = &subject.purpose.user;
        let fix = if facts.major() < privilege.since() {
            format!(
                "ALTER ROLE {} SUPERUSER; -- before PostgreSQL 15 this cannot be granted",
                quote_identifier(role)
            )
        } else {
            in_database(&subject.purpose.database, &privilege.statements(role))
        };
        findings.about(&node.name).push(
            "privilege",
            format!("{} has no {}", role, privilege.name()),
            if privilege == Privilege::HbaRules { Verdict::Warning } else { Verdict::Failure },
            format!("it is for {}", privilege.purpose()),
            fix,
        );
    }
    if !missing {
        findings.about(&node.name).ok("privilege", format!("{} has what it needs", subject.purpose.user));
    }
}

fn lookup(subject: &Subject, node: &Node, findings: &mut Findings) {
    let (Some(query), Some(outcome)) = (&subject.purpose.lookup, &node.lookup) else { return };
    let mut about = findings.about(&node.name);
    let Err(refusal) = outcome else { return about.ok("auth.query", "runs") };
    let role = &subject.purpose.user;
    let privilege = match Secrets::of_query(&query.sql) {
        Secrets::Authid => Some(Privilege::Authid),
        Secrets::Shadow => Some(Privilege::Shadow),
        Secrets::Own | Secrets::Elsewhere => None,
    };
    let denied = refusal.sqlstate.as_deref() == Some("42501");
    let fix = privilege.filter(|_| denied).map(|one| in_database(&query.database, &one.statements(role)));
    about.push(
        "auth.query",
        refusal.message.clone(),
        if query.optional { Verdict::Warning } else { Verdict::Failure },
        "roles that are not in pgherd's own files cannot log in",
        fix.unwrap_or_default(),
    );
}

/// Statements to be run in one database.
fn in_database(database: &str, statements: &[String]) -> String {
    let statements: Vec<String> = statements.iter().map(|statement| format!("{statement};")).collect();
    format!("\\connect {}\n{}", quote_identifier(database), statements.join("\n"))
}

fn md5(node: &Node, facts: &Facts, findings: &mut Findings) {
    let Some(Readable::Read(roles)) = &facts.md5_roles else { return };
    let mut about = findings.about(&node.name);
    if roles.is_empty() {
        about.ok("md5 passwords", "none");
        return;
    }
    let told = roles.iter().take(TOLD).cloned().collect::<Vec<_>>().join(", ");
    let more = if roles.len() > TOLD { format!(" and {} more", roles.len() - TOLD) } else { String::new() };
    about.warning(
        "md5 passwords",
        told + &more,
        "these roles cannot log in through pgherd with the secret that the server has: their passwords have to be set anew",
        format!(
            "SET password_encryption = 'scram-sha-256';\n\\password {}",
            roles.first().map_or_else(String::new, |role| quote_identifier(role))
        ),
    );
}

fn connections(subject: &Subject, node: &Node, facts: &Facts, findings: &mut Findings) {
    let Some(most) = facts.number("max_connections") else { return };
    let superusers = facts.number("superuser_reserved_connections").unwrap_or(0);
    let reserved = superusers.saturating_add(facts.number("reserved_connections").unwrap_or(0));
    let room = most.saturating_sub(reserved).saturating_sub(MONITORS).max(1);
    let mut about = findings.about(&node.name);
    match subject.purpose.demand.map(|demand| i64::try_from(demand).unwrap_or(i64::MAX)) {
        Some(demand) if demand > room => about.warning(
            "max_connections",
            most.to_string(),
            format!(
                "the pools of this pgherd may take {demand} connections to a node, and there are {room} beside {reserved} \
                 reserved ones and those of the monitor: clients would meet 53300"
            ),
            format!("[[cluster]]\nmax_server_connections = {room}"),
        ),
        Some(demand) => about.ok("max_connections", format!("{most}, of which the pools may take {demand}")),
        None => about.ok("max_connections", most.to_string()),
    }
    let limit = facts.role_connections;
    if (0..MONITORS).contains(&limit) {
        about.warning(
            "connection limit",
            format!("{limit} for {}", subject.purpose.user),
            "probes, look-ups and histories each take a connection",
            format!(
                "ALTER ROLE {} CONNECTION LIMIT -1; -- on the primary",
                quote_identifier(&subject.purpose.user)
            ),
        );
    }
}

/// Whether ALTER SYSTEM can set what a failover sets.
fn managed(subject: &Subject, node: &Node, facts: &Facts, findings: &mut Findings) {
    if subject.purpose.mode != Mode::Manage {
        return;
    }
    let mut about = findings.about(&node.name);
    if facts.is_off("allow_alter_system") {
        about.failure(
            "allow_alter_system",
            "off",
            "pgherd points standbys to their primary by ALTER SYSTEM, which this refuses",
            "allow_alter_system = on -- in postgresql.conf\nSELECT pg_reload_conf();",
        );
    }
    for name in crate::privilege::MANAGED_PARAMETERS {
        let fixed = facts.settings.get(name).is_some_and(|setting| setting.source == "command line");
        if fixed {
            about.failure(
                "command line",
                name,
                "it was given to the server on its command line, above which nothing goes: pgherd could not change it",
                format!("-- start the server without -c {name}=…"),
            );
        }
    }
}
