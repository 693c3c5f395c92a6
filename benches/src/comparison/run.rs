//! Everything in turns.

use std::{collections::HashMap, fs, path::Path};

use anyhow::{Context, Result};
use tokio::time::Instant;

use super::{
    measure::{Machine, Placement},
    options::Options,
    plan,
    report::{Conditions, Measurement, Note, Report},
    stage::Stage,
    system_calls,
    target::{Kind, Pool, Target},
    workload::{ALL, Figures, Job, Overhead, Workload, measure_memory, transactions},
};

/// Transactions of each client whose logins and first statements are taken off.
pub(super) const FIRST_TRANSACTIONS: u64 = 2;

/// Runs the comparison, prints the tables and writes the figures.
///
/// # Errors
/// When a server or a proxy does not start, or the file cannot be written. A workload that fails is noted.
pub(crate) fn run(options: &Options) -> Result<()> {
    if options.list {
        for Workload { name, what, clients, .. } in ALL {
            println!("{name:18} {what}; {clients} clients");
        }
        return Ok(());
    }
    let output = options.output()?;
    if options.through.contains(&Kind::Pgherd) {
        options.pgherd()?; // better now than after a minute
    }
    let begun = Instant::now();
    raise_file_limit();
    let machine = Machine::look()?;
    let mut report = Report::new(conditions(options, machine.cores));
    for &placement in &options.placement {
        machine.place(placement)?;
        run_placement(options, &machine, placement, &mut report)?;
    }
    machine.place(Placement::Unpinned)?;
    run_on_nodes(options, &mut report)?;
    for pid in options.target.iter().filter_map(|outsider| outsider.pid) {
        machine.place_processes(pid, Placement::Unpinned);
    }
    print!("{}", report.to_markdown());
    write(&output, &report)?;
    eprintln!("the figures are in {}; it took {:.0?}", output.display(), begun.elapsed());
    Ok(())
}

/// The loads of one placement, and before the first of them those that are run but once.
fn run_placement(
    options: &Options,
    machine: &Machine,
    placement: Placement,
    report: &mut Report,
) -> Result<()> {
    let loads = plan::loads(options, placement);
    let is_first = options.placement.first() == Some(&placement);
    let memory = if is_first { plan::memory(options) } else { Vec::new() };
    if loads.is_empty() && memory.is_empty() {
        return Ok(());
    }
    eprintln!("starting PostgreSQL, {}, scale {}", placement.name(), options.scale);
    let mut stage = Stage::start(options, 0)?;
    report.conditions.postgresql = stage.cluster.binaries().major();
    for workload in memory {
        eprintln!("{}: {}", placement.name(), workload.name);
        let compared = |kind: &&Kind| plan::is_compared(options, workload, placement, **kind);
        for &kind in options.through.iter().filter(compared) {
            // A fresh one: what it keeps of clients before would not grow again.
            let target = stage.open(kind, options)?;
            match target.lacks(workload.needs()) {
                None => match measure_memory(&stage.cluster, &target, workload) {
                    Ok(figures) => report.memory.extend(figures),
                    Err(error) => report.note(Note::new(workload, &target, format!("{error:#}"))),
                },
                Some(lacks) => report.note_lack(workload, &target, lacks),
            }
        }
    }
    if loads.is_empty() {
        return Ok(());
    }
    stage.open_all(&options.through, options)?;
    stage.open_outsiders(options, machine, placement)?;
    stage.warm_up()?;
    report.conditions.note_versions(&stage.targets);
    if is_first {
        system_calls::count(options, &stage, &loads, placement, report);
    }
    rounds(options, &stage, &loads, placement, report)
}

/// Reads and writes of a cluster with standbys: pgherd splits them, and directly all goes to the primary.
fn run_on_nodes(options: &Options, report: &mut Report) -> Result<()> {
    let loads = plan::on_nodes(options);
    if loads.is_empty() {
        return Ok(());
    }
    eprintln!("starting PostgreSQL with two standbys");
    let mut stage = Stage::start(options, 2)?;
    let kinds = options.through.iter().copied().filter(|kind| matches!(kind, Kind::Direct | Kind::Pgherd));
    let kinds: Vec<_> = kinds.collect();
    stage.open_all(&kinds, options)?;
    stage.warm_up()?;
    rounds(options, &stage, &loads, Placement::Unpinned, report)
}

fn rounds(
    options: &Options,
    stage: &Stage,
    loads: &[&'static Workload],
    placement: Placement,
    report: &mut Report,
) -> Result<()> {
    let mut overheads = HashMap::new();
    let count = stage.targets.len();
    for round in 0..options.rounds() {
        for &workload in loads {
            eprintln!("{}, round {} of {}: {}", placement.name(), round + 1, options.rounds(), workload.name);
            for turn in 0..count {
                // Nobody always comes first, with what the one before left in the caches.
                let index = (usize::from(round) + turn) % count;
                let compared =
                    |target: &&Target| plan::is_compared(options, workload, placement, target.kind);
                let Some(target) = stage.targets.get(index).filter(compared) else { continue };
                if let Some(lacks) = target.lacks(workload.needs()) {
                    report.note_lack(workload, target, lacks);
                    continue;
                }
                let run = Run { stage, target, workload, seconds: options.seconds };
                match run.measure(&mut overheads, index) {
                    Ok(figures) => report.measurements.push(Measurement {
                        placement,
                        workload: workload.name,
                        target: target.name.clone(),
                        round,
                        figures,
                    }),
                    Err(error) => report.note(Note::new(workload, target, format!("{error:#}"))),
                }
            }
        }
        // What was measured until now is not lost if somebody ends the rest.
        write(&options.output()?, report)?;
    }
    Ok(())
}

/// One workload by one way.
struct Run<'a> {
    stage: &'a Stage,
    target: &'a Target,
    workload: &'static Workload,
    seconds: u16,
}

impl Run<'_> {
    fn measure(
        &self,
        overheads: &mut HashMap<(&'static str, usize), Overhead>,
        index: usize,
    ) -> Result<Figures> {
        let key = (self.workload.name, index);
        let overhead = match overheads.get(&key) {
            Some(known) => *known,
            None => self.overhead()?,
        };
        overheads.insert(key, overhead);
        self.workload.run(&self.stage.cluster, self.target, self.seconds, &overhead)
    }

    /// What logins and first transactions take. It also lets the server processes of this pool see the tables.
    fn overhead(&self) -> Result<Overhead> {
        let Self { stage, target, workload, .. } = self;
        if !matches!(workload.job, Job::Pgbench(_)) || workload.bytes().is_some() {
            return Ok(Overhead::default());
        }
        // Once for the pool that has to be filled.
        transactions(&stage.cluster, target, workload, FIRST_TRANSACTIONS)?;
        transactions(&stage.cluster, target, workload, FIRST_TRANSACTIONS)
    }
}

/// As many files as we may have, since every client takes some; what we start inherits it.
fn raise_file_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // Then it stays as it is, and whoever needs more says so.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

fn conditions(options: &Options, cores: usize) -> Conditions {
    Conditions {
        postgresql: 0,
        versions: Vec::new(),
        cores,
        pool_size: Pool::Twenty.size(),
        scale: options.scale,
        rounds: options.rounds(),
        seconds: options.seconds,
        workers: options.workers.clone(),
        tracer: None,
    }
}

fn write(path: &Path, report: &Report) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("could not make {}", folder.display()))?;
    }
    let text = serde_json::to_string_pretty(report)?;
    fs::write(path, text + "\n").with_context(|| format!("could not write {}", path.display()))
}
