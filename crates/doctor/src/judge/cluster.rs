//! What concerns the cluster as a whole.

use std::collections::BTreeSet;

use crate::{Memory, Mode, Subject, Verdict, finding::Findings};

/// A clock that is further off than this many seconds is told.
const CLOCK_TOLERANCE: f64 = 1.0;

pub(super) fn judge(subject: &Subject, findings: &mut Findings) {
    primaries(subject, findings);
    timelines(subject, findings);
    system_ids(subject, findings);
    versions(subject, findings);
    places(subject, findings);
    libraries(subject, findings);
    clocks(subject, findings);
    if subject.purpose.memory == Memory::Lost {
        let manages = subject.purpose.mode == Mode::Manage;
        findings.about_all().push(
            "state_dir",
            "unset",
            if manages { Verdict::Failure } else { Verdict::Warning },
            "after a restart pgherd does not know any more which timeline was written to last, and could take an old \
             primary that comes back for the present one",
            "[proxy]\nstate_dir = \"/var/lib/pgherd\"",
        );
    } else {
        findings.about_all().ok("state_dir", "set");
    }
}

fn primaries(subject: &Subject, findings: &mut Findings) {
    let primaries: Vec<_> = subject.seen().filter(|(_, facts)| !facts.in_recovery).collect();
    match primaries.as_slice() {
        [] => findings.about_all().failure(
            "primary",
            "none",
            "no node that answers takes writes: clients that write are held, then refused with 57P03",
            match subject.standbys().max_by_key(|(_, facts)| (facts.timeline, facts.received)) {
                Some((best, _)) => {
                    format!("SELECT pg_promote(); -- on {}, which has received most", best.name)
                }
                None => String::new(),
            },
        ),
        [(node, _)] => findings.about(&node.name).ok("primary", "yes"),
        several => {
            let newest = subject.primary().map(|(node, _)| node.name.clone()).unwrap_or_default();
            for (node, facts) in several.iter().filter(|(node, _)| node.name != newest) {
                findings.about(&node.name).failure(
                    "primary",
                    format!("a second one, on timeline {}", facts.timeline),
                    format!(
                        "{newest} is the primary on the highest timeline; what is written here is lost to it"
                    ),
                    format!("pg_ctl stop -m fast -D {}", facts.setting("data_directory")),
                );
            }
        }
    }
}

fn timelines(subject: &Subject, findings: &mut Findings) {
    let Some((primary, present)) = subject.primary() else { return };
    for (node, facts) in subject.standbys() {
        if facts.timeline < present.timeline {
            findings.about(&node.name).failure(
                "timeline",
                facts.timeline.to_string(),
                format!("{} is on timeline {}: this node does not follow it", primary.name, present.timeline),
                "",
            );
        } else {
            findings.about(&node.name).ok("timeline", facts.timeline.to_string());
        }
    }
}

fn system_ids(subject: &Subject, findings: &mut Findings) {
    let Some((reference, expected)) = subject.primary().or_else(|| subject.seen().next()) else { return };
    let mut alike = true;
    for (node, facts) in subject.seen() {
        if facts.system_id != expected.system_id {
            alike = false;
            findings.about(&node.name).failure(
                "system_identifier",
                facts.system_id.to_string(),
                format!(
                    "{} has {}: this is another cluster, and pgherd never uses it",
                    reference.name, expected.system_id
                ),
                "",
            );
        }
    }
    if alike {
        findings.about_all().ok("system_identifier", expected.system_id.to_string());
    }
}

fn versions(subject: &Subject, findings: &mut Findings) {
    let Some((reference, expected)) = subject.primary() else { return };
    for (node, facts) in subject.seen() {
        let mut about = findings.about(&node.name);
        let value = version(facts.version);
        if facts.version == expected.version {
            about.ok("server_version", value);
        } else if facts.major() == expected.major() {
            about.warning(
                "server_version",
                value,
                format!(
                    "{} runs {}: minor versions may differ for the time of an upgrade, standbys first",
                    reference.name,
                    version(expected.version)
                ),
                "",
            );
        } else {
            about.failure(
                "server_version",
                value,
                format!(
                    "{} runs {}: WAL of another major version cannot be replayed",
                    reference.name,
                    version(expected.version)
                ),
                "",
            );
        }
    }
}

fn version(number: u32) -> String {
    format!("{}.{}", number / 10_000, number % 10_000)
}

fn places(subject: &Subject, findings: &mut Findings) {
    let count = subject.nodes.len();
    let mut about = findings.about_all();
    if count < 2 {
        about.warning("nodes", count.to_string(), "there is nobody to take over when this node is lost", "");
        return;
    }
    about.ok("nodes", count.to_string());
    let regions: BTreeSet<&str> = subject.nodes.iter().map(|node| node.region.as_str()).collect();
    let names = regions.iter().copied().collect::<Vec<_>>().join(", ");
    if regions.len() == 1 {
        about.warning(
            "regions",
            names,
            "all nodes stand in one region, and are lost with it; if they do not, say so: reads go to the nearest",
            "nodes = [{ address = \"…\", region = \"eu\" }, { address = \"…\", region = \"us\" }]",
        );
    } else {
        about.ok("regions", names);
    }
}

fn libraries(subject: &Subject, findings: &mut Findings) {
    let Some((reference, expected)) = subject.primary() else { return };
    let expected = expected.setting("shared_preload_libraries");
    for (node, facts) in subject.standbys() {
        let value = facts.setting("shared_preload_libraries");
        if value != expected {
            findings.about(&node.name).warning(
                "shared_preload_libraries",
                format!("{value:?}"),
                format!("{} has {expected:?}: after a promotion of this node its extensions would be without their libraries", reference.name),
                super::fix::set_libraries_and_restart("shared_preload_libraries", expected),
            );
        }
    }
}

fn clocks(subject: &Subject, findings: &mut Findings) {
    for (node, facts) in subject.seen() {
        let ahead = facts.clock_ahead;
        let value = format!("{:+.1} s", if ahead.abs() < 0.05 { 0.0 } else { ahead });
        if ahead.abs() > CLOCK_TOLERANCE {
            findings.about(&node.name).warning(
                "clock",
                value,
                "seen from here; nothing that pgherd decides depends on it, but logs and lag in time are off by as much",
                "timedatectl set-ntp true",
            );
        } else {
            findings.about(&node.name).ok("clock", value);
        }
    }
}
