//! `pgherd agent`: looks after the PostgreSQL server of this machine.

use std::{path::Path, process::ExitCode};

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use crate::log;

/// Threads of the runtime: one for a verb at work, one for status.
const THREADS: usize = 2;

/// Runs until a signal.
///
/// # Errors
/// When it cannot start; a wrong file is printed whole.
pub(crate) fn run(path: &Path) -> anyhow::Result<ExitCode> {
    let file = match config::load_agent(path) {
        Ok(file) => file,
        Err(mistakes) => {
            eprintln!("{mistakes}");
            return Ok(ExitCode::FAILURE);
        }
    };
    log::start(&file.log)?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), configuration = %file, "starting");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("agent")
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("cannot listen to signals")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen to signals")?;
        let end = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        agent::serve(file.agent, |address| tracing::info!(%address, "ready"), end).await?;
        anyhow::Ok(())
    })?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}
