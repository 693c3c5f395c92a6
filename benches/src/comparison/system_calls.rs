//! The proxies' system calls for each transaction, in short runs of their own.

use std::{thread, time::Duration};

use anyhow::Result;
use tokio::time::Instant;

use super::{
    measure::{Placement, Tracer},
    options::Options,
    plan,
    report::{Note, Report, SystemCalls},
    run::FIRST_TRANSACTIONS,
    stage::Stage,
    target::Target,
    workload::{Workload, transactions},
};

/// Transactions over all clients whose system calls are counted.
const COUNTED: u64 = 4000;
/// For how long those of a proxy without work are counted.
const BACKGROUND: Duration = Duration::from_secs(2);

/// Counts them for each of the workloads that have transactions.
pub(super) fn count(
    options: &Options,
    stage: &Stage,
    loads: &[&'static Workload],
    placement: Placement,
    report: &mut Report,
) {
    let tracer = match Tracer::find() {
        Ok(tracer) => tracer,
        Err(why) => {
            report.note(Note::general(format!("system calls are not counted: {why}")));
            return;
        }
    };
    report.conditions.tracer = Some(tracer.name());
    for target in &stage.targets {
        let Some(pid) = target.pid() else { continue };
        let counter = Counter { tracer, pid, stage, target };
        let background = match counter.background() {
            Ok(background) => background,
            Err(error) => {
                let text = format!("system calls of {} are not counted: {error:#}", target.name);
                report.note(Note::general(text));
                continue;
            }
        };
        let counted = |workload: &&&'static Workload| {
            plan::is_counted(options, workload)
                && plan::is_compared(options, workload, placement, target.kind)
                && target.lacks(workload.needs()).is_none()
        };
        for workload in loads.iter().filter(counted) {
            eprintln!("system calls: {}, {}", workload.name, target.name);
            match counter.of_each(workload, background) {
                Ok(each) => report.system_calls.push(SystemCalls {
                    workload: workload.name,
                    target: target.name.clone(),
                    each,
                }),
                Err(error) => report.note(Note::new(workload, target, format!("{error:#}"))),
            }
        }
    }
}

struct Counter<'a> {
    tracer: Tracer,
    pid: u32,
    stage: &'a Stage,
    target: &'a Target,
}

impl Counter<'_> {
    /// Calls in a second without clients: probes, timers.
    #[expect(clippy::cast_precision_loss, reason = "some calls")]
    fn background(&self) -> Result<f64> {
        let (calls, took) = self.timed(|| {
            thread::sleep(BACKGROUND);
            Ok(())
        })?;
        Ok(calls as f64 / took.as_secs_f64())
    }

    /// The difference between few and many transactions, so that logins do not count, without the background.
    #[expect(clippy::cast_precision_loss, reason = "some ten thousand calls")]
    fn of_each(&self, workload: &Workload, background: f64) -> Result<f64> {
        let many = (COUNTED / u64::from(workload.clients)).max(1);
        let count = |of_each: u64| {
            self.timed(|| transactions(&self.stage.cluster, self.target, workload, of_each).map(drop))
        };
        let (few, few_took) = count(FIRST_TRANSACTIONS)?;
        let (all, all_took) = count(FIRST_TRANSACTIONS + many)?;
        let others = background * (all_took.as_secs_f64() - few_took.as_secs_f64());
        Ok((all as f64 - few as f64 - others) / (many * u64::from(workload.clients)) as f64)
    }

    fn timed(&self, work: impl FnOnce() -> Result<()>) -> Result<(u64, Duration)> {
        let begun = Instant::now();
        let calls = self.tracer.count(self.pid, self.stage.cluster.directory(), work)?;
        Ok((calls, begun.elapsed()))
    }
}
