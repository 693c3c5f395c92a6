use std::{process, sync::mpsc::SyncSender, thread, time::Duration};

use anyhow::{Context, Result};
use nix::sys::termios::Termios;
use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{Signal, SignalKind, signal},
    time::Instant,
};

use crate::{command::Command, terminal::restore};

/// What wakes the demo's main loop.
#[derive(Debug)]
pub(crate) enum Event {
    /// SIGINT, SIGTERM or SIGHUP.
    Stop,
    /// A command from the keyboard.
    Command(Command),
    /// What is typed of a command so far.
    Pending(String),
    /// Something to tell.
    Note(String),
    /// The operation that was under way has ended.
    Done(String),
}

/// A second request to stop counts as impatience after this time; `make` and a terminal may deliver the first one
/// twice.
const IMPATIENCE: Duration = Duration::from_secs(1);

/// The exit status of a process that SIGINT ended, as shells see it.
const INTERRUPTED: i32 = 130;

/// The signals that ask the demo to stop.
pub(crate) struct Signals {
    runtime: Runtime,
    signals: [Signal; 3],
}

impl Signals {
    /// From here on the signals no longer end the process.
    pub(crate) fn catch() -> Result<Self> {
        let runtime =
            Builder::new_current_thread().enable_all().build().context("could not start a runtime")?;
        let guard = runtime.enter();
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [interrupt, terminate, hangup] = kinds.map(signal);
        let signals = [interrupt?, terminate?, hangup?];
        drop(guard);
        Ok(Self { runtime, signals })
    }

    /// Turns the first into an event; a later one ends the process without waiting for anybody (the lab's warden
    /// cleans up then).
    pub(crate) fn listen(self, events: SyncSender<Event>, terminal: Option<Termios>) {
        let Self { runtime, signals: [mut interrupt, mut terminate, mut hangup] } = self;
        thread::spawn(move || {
            let mut next = || {
                runtime.block_on(async {
                    tokio::select! {
                        _ = interrupt.recv() => {}
                        _ = terminate.recv() => {}
                        _ = hangup.recv() => {}
                    }
                });
            };
            next();
            let first = Instant::now();
            let _ = events.send(Event::Stop);
            loop {
                next();
                if first.elapsed() >= IMPATIENCE {
                    terminal.as_ref().map(restore);
                    process::exit(INTERRUPTED);
                }
            }
        });
    }
}
