//! All contenders in turns.

use std::thread;

use anyhow::{Context, Result, bail};
use tokio::runtime::{self, Handle};

use super::{
    load::Load,
    options::{Contender, Options},
    patroni::Patroni,
    patroni_configuration::Times,
    pgherd::Pgherd,
    pgpool::Pgpool,
    report::{Outcome, Report},
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
    // the clients; everything else happens on threads that block
    let runtime = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let mut report = Report {
        postgresql: version(&lab::Binaries::find()?.program("postgres"), "--version")?,
        cores: thread::available_parallelism().map_or(1, usize::from),
        writers: options.writers,
        idle_clients: options.idle_clients,
        versions: Vec::new(),
        remarks: Vec::new(),
        rounds: Vec::new(),
        failures: Vec::new(),
    };
    for group in groups(options) {
        // each on a thread of its own: looks at nodes block
        let outcomes: Vec<Result<Outcome>> = thread::scope(|scope| {
            let handle = runtime.handle();
            let threads: Vec<_> = group
                .iter()
                .map(|contender| scope.spawn(move || compete(handle, *contender, options)))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|_| bail!("the thread panicked")))
                .collect()
        });
        for outcome in outcomes {
            report.take(outcome?);
        }
        if group.len() > 1 {
            report.remarks.push("The two Patronis ran at the same time, since they mostly wait.".to_owned());
        }
    }
    print!("{}", if options.json { report.to_json()? } else { report.to_markdown() });
    Ok(())
}

/// Who plays at the same time: the two Patronis, whose gaps are seconds of waiting, unless all are to be alone.
fn groups(options: &Options) -> Vec<Vec<Contender>> {
    let mut groups: Vec<Vec<Contender>> = Vec::new();
    let waits = |contender: Contender| matches!(contender, Contender::Patroni30 | Contender::Patroni20);
    for &contender in &options.only {
        match groups.last_mut() {
            Some(group) if !options.apart && waits(contender) && waits(group[0]) => group.push(contender),
            _ => groups.push(vec![contender]),
        }
    }
    groups
}

fn start(runtime: &Handle, contender: Contender, options: &Options) -> Result<Box<dyn Stack>> {
    Ok(match contender {
        Contender::Pgherd => Box::new(Pgherd::start(runtime, &options.pgherd()?)?),
        Contender::Patroni30 => Box::new(Patroni::start(runtime, Times::DEFAULT)?),
        Contender::Patroni20 => Box::new(Patroni::start(runtime, Times::SHORT)?),
        Contender::Pgpool => Box::new(Pgpool::start(runtime)?),
    })
}

/// Plays the rounds of one contender.
fn compete(runtime: &Handle, contender: Contender, options: &Options) -> Result<Outcome> {
    let name = contender.name();
    let stack = start(runtime, contender, options);
    let mut stack = stack.with_context(|| format!("{name} does not start"))?;
    let mut outcome = Outcome { versions: stack.versions(), remarks: stack.remarks(), ..Outcome::default() };
    let load = Load::start(runtime, stack.application(), options.writers, options.idle_clients);
    for &event in &options.events {
        for number in 1..=options.rounds {
            match play(&mut *stack, &load, contender, event, options.patience()) {
                Ok(round) => {
                    eprintln!("{name}: {} {number} of {}: {round}", event.name(), options.rounds);
                    outcome.rounds.push(round);
                }
                Err(error) => {
                    // what did not become whole again says nothing about the rounds that would follow
                    let line = format!(
                        "{name}: {} {number} could not be finished, and no further rounds were played: {error:#}",
                        event.name()
                    );
                    eprintln!("{line}\n{}", stack.logs());
                    outcome.failures.push(line);
                    return Ok(outcome);
                }
            }
        }
    }
    Ok(outcome)
}
