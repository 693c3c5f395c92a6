//! Everything in turns.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use lab::Cluster;

use crate::{
    client_memory,
    configuration::POOL_SIZE,
    load::{self, Load},
    options::Options,
    proxy::Open,
    report::{Conditions, Report},
    through::Through,
};

/// Seconds of the runs before the first round, whose figures are thrown away: fresh server processes have no page of
/// the tables mapped yet.
const WARM_UP_SECONDS: u16 = 2;

/// Runs the comparison, prints the tables and writes the figures.
///
/// # Errors
/// When a server, a proxy or pgbench does not start, or the file cannot be written.
pub(crate) fn run(options: &Options) -> Result<()> {
    let output = options.output()?;
    if options.through.contains(&Through::Pgherd) {
        options.pgherd()?; // better now than after a minute
    }
    eprintln!("starting PostgreSQL, scale {}", options.scale);
    let cluster = start_cluster()?;
    load::initialise(&cluster, options.scale)?;
    let all = options.through.iter().map(|&through| Open::start(through, &cluster, options));
    let all: Vec<Open> = all.collect::<Result<_>>()?;
    let mut report = Report::new(conditions(&cluster, &all, options));
    for open in &all {
        eprintln!("{}: memory of idle clients", open.through.name());
        report.memory.extend(client_memory::measure(&cluster, open, options.idle_clients)?);
    }
    for open in &all {
        load::measure(&cluster, open, Load::Simple, options.clients, WARM_UP_SECONDS, 0)?;
    }
    for round in 0..options.rounds() {
        for (load, clients) in plan(options) {
            eprintln!("round {} of {}: {}, clients: {clients}", round + 1, options.rounds(), load.name());
            // Nobody always comes first, with what the one before left in the caches.
            let first = usize::from(round) % all.len();
            for open in all[first..].iter().chain(&all[..first]).filter(|open| load.suits(open)) {
                let measurement = load::measure(&cluster, open, load, clients, options.seconds(), round)?;
                report.measurements.push(measurement);
            }
        }
    }
    print!("{}", report.to_markdown());
    write(&output, &report)
}

/// The loads of one round with their number of clients.
fn plan(options: &Options) -> impl Iterator<Item = (Load, u16)> {
    let many = options.clients;
    Load::ALL.into_iter().map(move |load| (load, many)).chain(Load::SELECTS.into_iter().map(|load| (load, 1)))
}

/// A primary alone, so that reads have nowhere else to go, and without the work in the background that would meet some
/// and not others.
fn start_cluster() -> Result<Cluster> {
    let settings = [
        ("shared_buffers", "256MB"),
        ("autovacuum", "off"),
        ("checkpoint_timeout", "1h"),
        ("max_wal_size", "16GB"),
    ];
    Cluster::start(lab::Options {
        standbys: 0,
        max_connections: 300,
        settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        ..lab::Options::default()
    })
}

fn conditions(cluster: &Cluster, all: &[Open], options: &Options) -> Conditions {
    let version = |open: &Open| (open.through, open.version.clone());
    Conditions {
        postgresql: cluster.binaries().major(),
        versions: all.iter().filter(|open| open.through != Through::Direct).map(version).collect(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        clients: options.clients,
        pool_size: POOL_SIZE,
        scale: options.scale,
        rounds: options.rounds(),
        seconds: options.seconds(),
    }
}

fn write(path: &Path, report: &Report) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("could not make {}", folder.display()))?;
    }
    let text = serde_json::to_string_pretty(report)?;
    fs::write(path, text + "\n").with_context(|| format!("could not write {}", path.display()))?;
    eprintln!("the figures are in {}", path.display());
    Ok(())
}
