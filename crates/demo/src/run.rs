use std::{
    path::PathBuf,
    process::ExitCode,
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    thread,
    time::Duration,
};

use anyhow::Result;
use tokio::time::Instant;

use crate::{
    command::{Command, HELP},
    demo::Demo,
    display::Display,
    events::{Event, Signals},
    operations,
    options::Options,
    terminal::Keyboard,
};

/// How often the table is refreshed and processes are looked after.
const TICK: Duration = Duration::from_millis(500);
/// How many events may wait for the main loop; their senders wait when it is behind.
const EVENTS: usize = 64;

/// Runs the demo until it is asked to stop: by a command, SIGINT, SIGTERM, SIGHUP or `options.seconds`. Afterwards no
/// process is left and, unless it is kept, no file.
///
/// `pgherd_binary` is what the proxies run: `pgherd_binary run -c FILE`.
///
/// # Errors
/// When the cluster or a proxy does not start. Whatever did start is stopped again.
///
/// # Panics
/// Must not be called inside a tokio runtime: it has its own.
pub fn run(options: Options, pgherd_binary: PathBuf) -> Result<ExitCode> {
    let (sender, inbox) = sync_channel(EVENTS);
    let signals = Signals::catch()?;
    let keyboard = Keyboard::open();
    signals.listen(sender.clone(), keyboard.former_mode());
    let mut display = Display::open();
    let mut demo = Demo::start(&options, &pgherd_binary, &mut display)?;
    keyboard.listen(sender.clone());
    // Further than the clock reaches is never.
    let deadline =
        options.seconds.and_then(|seconds| Instant::now().checked_add(Duration::from_secs(seconds)));

    let cluster = demo.cluster();
    thread::scope(|scope| {
        let (requests, requested) = sync_channel(1);
        let (operator, events) = (demo.operator(), sender);
        scope.spawn(move || operator.serve(&requested, &events));
        let mut session = Session { demo: &mut demo, display: &mut display, requests, busy: Busy::Idle };
        session.serve(&inbox, deadline);
        session.display.print(&["stopping".to_owned()]);
        demo.stop_processes();
        cluster.shut_down();
        // An operation that was under way fails now; its report must find the channel closed and not full.
        drop(inbox);
    });
    drop(cluster);
    let farewell = demo.end();
    display.print(&[farewell]);
    Ok(ExitCode::SUCCESS)
}

/// The demo between start and stop.
struct Session<'a> {
    demo: &'a mut Demo,
    display: &'a mut Display,
    requests: SyncSender<Command>,
    busy: Busy,
}

/// What the thread for operations does.
enum Busy {
    Idle,
    With(String),
}

impl Session<'_> {
    /// Handles events until one says stop.
    fn serve(&mut self, inbox: &Receiver<Event>, deadline: Option<Instant>) {
        let mut pending = String::new();
        let mut next_tick = Instant::now();
        loop {
            let now = Instant::now();
            if deadline.is_some_and(|deadline| now >= deadline) {
                return;
            }
            if now >= next_tick {
                next_tick = now + TICK;
                for word in self.demo.look_after() {
                    self.display.tell(&word);
                }
            }
            let frame = self.demo.frame(self.prompt(&pending));
            self.display.draw(&frame);
            match inbox.recv_timeout(next_tick.saturating_duration_since(now)) {
                Ok(Event::Stop | Event::Command(Command::Quit)) | Err(RecvTimeoutError::Disconnected) => {
                    return;
                }
                Ok(Event::Command(Command::Help)) => self.display.print(&HELP.map(String::from)),
                Ok(Event::Command(Command::Status)) => self.display.print_status(&frame),
                Ok(Event::Command(command)) => self.request(command),
                Ok(Event::Pending(text)) => pending = text,
                Ok(Event::Note(text)) => self.note(&text),
                Ok(Event::Done(text)) => {
                    self.busy = Busy::Idle;
                    self.note(&text);
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn request(&mut self, command: Command) {
        let Some(announcement) = operations::announce(command) else { return };
        if let Busy::With(what) = &self.busy {
            let refusal = format!("not now: {what}");
            return self.note(&refusal);
        }
        match self.requests.try_send(command) {
            Ok(()) => {
                self.note(&announcement);
                self.busy = Busy::With(announcement);
            }
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => self.note("not now"),
        }
    }

    fn note(&mut self, text: &str) {
        self.display.tell(text);
        self.demo.remember(text);
    }

    fn prompt(&self, pending: &str) -> String {
        match &self.busy {
            Busy::With(what) => format!("{what} …"),
            Busy::Idle => pending.to_owned(),
        }
    }
}
