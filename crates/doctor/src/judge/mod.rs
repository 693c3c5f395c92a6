//! Facts to findings: a file for each family of checks.

mod access;
mod cluster;
mod fix;
mod node;
mod reach;
mod slots;
mod standby;
mod synchronous;
#[cfg(test)]
mod tests;

use crate::{Finding, Subject, finding::Findings};

/// All that was looked at, the worst first.
#[must_use]
pub fn judge(subject: &Subject) -> Vec<Finding> {
    let mut findings = Findings::default();
    cluster::judge(subject, &mut findings);
    reach::judge(subject, &mut findings);
    access::judge(subject, &mut findings);
    node::judge(subject, &mut findings);
    standby::judge(subject, &mut findings);
    slots::judge(subject, &mut findings);
    synchronous::judge(subject, &mut findings);
    findings.into_sorted()
}
