//! What is run where.

use super::{
    measure::Placement,
    options::Options,
    report::compare,
    target::Kind,
    workload::{ALL, Job, When, Workload},
};

/// The workloads of one placement, in order.
pub(super) fn loads(options: &Options, placement: Placement) -> Vec<&'static Workload> {
    let chosen = chosen(options, placement);
    chosen
        .filter(|workload| !matches!(workload.job, Job::Memory(_)) && workload.when != When::Nodes)
        .collect()
}

/// Those that take three nodes.
pub(super) fn on_nodes(options: &Options) -> Vec<&'static Workload> {
    if !options.placement.contains(&Placement::Unpinned) {
        return Vec::new();
    }
    chosen(options, Placement::Unpinned).filter(|workload| workload.when == When::Nodes).collect()
}

/// Those about memory, which are measured but once.
pub(super) fn memory(options: &Options) -> Vec<&'static Workload> {
    chosen(options, Placement::OneCpu).filter(|workload| matches!(workload.job, Job::Memory(_))).collect()
}

/// Whether a workload is run by this way: by a quick run only where some goal compares it.
pub(super) fn is_compared(
    options: &Options,
    workload: &'static Workload,
    placement: Placement,
    kind: Kind,
) -> bool {
    let named = options.only.contains(&workload);
    let of_a_goal = || match workload.job {
        Job::Memory(_) => matches!(kind, Kind::PgBouncer | Kind::Pgherd),
        Job::Pgbench(_) | Job::Copy | Job::Logins(_) => compare(workload.name, Some(placement), kind),
    };
    !options.quick || named || kind == Kind::Outsider || of_a_goal()
}

/// Whether the system calls of a workload are counted.
pub(super) fn is_counted(options: &Options, workload: &'static Workload) -> bool {
    let named = options.only.contains(&workload);
    let is_short = matches!(workload.job, Job::Pgbench(_)) && workload.bytes().is_none();
    is_short && (!options.quick || named || workload.clients == 1)
}

fn chosen(options: &Options, placement: Placement) -> impl Iterator<Item = &'static Workload> {
    ALL.iter().filter(move |workload| {
        let named = options.only.contains(workload);
        (named || options.only.is_empty()) && is_due(workload.when, placement, options.quick && !named)
    })
}

fn is_due(when: When, placement: Placement, quick: bool) -> bool {
    match (when, placement) {
        (When::QuickBoth, _) | (When::QuickOneCpu | When::OnlyQuickOneCpu, Placement::OneCpu) => true,
        (When::Both, _)
        | (When::OneCpu, Placement::OneCpu)
        | (When::QuickOneCpu | When::Nodes, Placement::Unpinned) => !quick,
        (When::OneCpu | When::OnlyQuickOneCpu, Placement::Unpinned) | (When::Nodes, Placement::OneCpu) => {
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn names(line: &str, placement: Placement) -> Vec<&'static str> {
        let options = Options::parse_from(line.split(' '));
        loads(&options, placement).iter().map(|workload| workload.name).collect()
    }

    #[test]
    fn a_quick_run_leaves_most_out() {
        assert_eq!(names("load --quick", Placement::Unpinned), ["simple-16", "prepared-16"]);
        let on_one = names("load --quick", Placement::OneCpu);
        assert!(on_one.contains(&"rows-1kib") && !on_one.contains(&"copy-in"), "{on_one:?}");
    }

    #[test]
    fn what_is_named_is_run_even_in_a_quick_run() {
        let line = "load --quick --only copy-in,tpcb-16,split-16,memory-tls";
        assert_eq!(names(line, Placement::OneCpu), ["tpcb-16", "copy-in"]);
        let options = Options::parse_from(line.split(' '));
        assert_eq!(on_nodes(&options).len() + memory(&options).len(), 2);
    }
}
