//! All contenders, one after the other.

use anyhow::{Context, Result};
use tokio::runtime::{self, Runtime};

use super::{
    load::Load,
    options::{Contender, Event, Options},
    patroni::Patroni,
    patroni_configuration::Times,
    pgherd::Pgherd,
    pgpool::Pgpool,
    report::Report,
    round::play,
    stack::Stack,
};
use crate::program::version;

/// Runs the comparison and prints the table.
///
/// # Errors
/// When a contender does not start. One that cannot go on in the middle only ends its own rounds.
pub(crate) fn run(options: &Options) -> Result<()> {
    if options.only.contains(&Contender::Pgherd) {
        options.pgherd()?; // better now than after minutes
    }
    // the clients; everything else happens on this thread
    let runtime = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let mut report = Report {
        postgresql: version(&lab::Binaries::find()?.program("postgres"), "--version")?,
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        writers: options.writers,
        idle_clients: options.idle_clients,
        versions: Vec::new(),
        remarks: Vec::new(),
        rounds: Vec::new(),
        failures: Vec::new(),
    };
    for &contender in &options.only {
        eprintln!("{}", contender.name());
        let mut stack = start(&runtime, contender, options)
            .with_context(|| format!("{} does not start", contender.name()))?;
        let versions = stack.versions();
        if !report.versions.contains(&versions) {
            report.versions.push(versions);
        }
        report.remarks.extend(stack.remarks());
        let load = Load::start(runtime.handle(), stack.application(), options.writers, options.idle_clients);
        compete(&mut *stack, &load, contender, options, &mut report);
    }
    print!("{}", if options.json { report.to_json()? } else { report.to_markdown() });
    Ok(())
}

fn start(runtime: &Runtime, contender: Contender, options: &Options) -> Result<Box<dyn Stack>> {
    let runtime = runtime.handle();
    Ok(match contender {
        Contender::Pgherd => Box::new(Pgherd::start(runtime, &options.pgherd()?)?),
        Contender::Patroni30 => Box::new(Patroni::start(runtime, Times::DEFAULT)?),
        Contender::Patroni20 => Box::new(Patroni::start(runtime, Times::SHORT)?),
        Contender::Pgpool => Box::new(Pgpool::start(runtime)?),
    })
}

/// Plays the rounds of one contender.
fn compete(stack: &mut dyn Stack, load: &Load, contender: Contender, options: &Options, report: &mut Report) {
    for &event in &options.events {
        for number in 1..=options.rounds {
            match play(stack, load, contender, event, options.patience()) {
                Ok(round) => {
                    eprintln!(
                        "  {} {number} of {}: gap {} ms, whole again after {} ms, errors {:?}, {} failed to connect, \
                         {} idle dropped, {} of {} lost",
                        event.name(),
                        options.rounds,
                        round.gap_ms,
                        round.whole_ms,
                        round.errors,
                        round.refused,
                        round.idle_dropped,
                        round.lost,
                        round.acknowledged,
                    );
                    report.rounds.push(round);
                }
                Err(error) => {
                    give_up(stack, contender, event, number, &error, report);
                    return;
                }
            }
        }
    }
}

/// A cluster that did not become whole again says nothing about the rounds that would follow.
fn give_up(
    stack: &mut dyn Stack,
    contender: Contender,
    event: Event,
    number: u16,
    error: &anyhow::Error,
    report: &mut Report,
) {
    let line = format!(
        "{}: {} {number} could not be finished, and no further rounds were played: {error:#}",
        contender.name(),
        event.name()
    );
    eprintln!("  {line}\n{}", stack.logs());
    report.failures.push(line);
}
