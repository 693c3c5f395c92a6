use std::{
    io::{self, BufRead, IsTerminal, Read},
    sync::mpsc::SyncSender,
    thread,
};

use nix::{
    sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr},
    unistd::{getpgrp, tcgetpgrp},
};

use crate::{
    command::{Keys, parse},
    events::Event,
};

/// How commands come in.
pub(crate) enum Keyboard {
    /// Single keys from a terminal, whose former mode is restored when this is dropped.
    Keys(Termios),
    /// Lines.
    Lines,
    /// None: the demo runs in the background of a terminal, and reading from that would stop it.
    Absent,
}

impl Keyboard {
    /// Looks at standard input, and turns off a terminal's line editing and echo, which would write into the table.
    /// Ctrl-C stays a signal.
    pub(crate) fn open() -> Self {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return Self::Lines;
        }
        if tcgetpgrp(&stdin).ok() != Some(getpgrp()) {
            return Self::Absent;
        }
        let Ok(former) = tcgetattr(&stdin) else { return Self::Lines };
        let mut raw = former.clone();
        raw.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
        match tcsetattr(&stdin, SetArg::TCSANOW, &raw) {
            Ok(()) => Self::Keys(former),
            Err(_) => Self::Lines,
        }
    }

    /// What has to be set again before the process ends in any other way than by dropping this.
    pub(crate) fn former_mode(&self) -> Option<Termios> {
        match self {
            Self::Keys(former) => Some(former.clone()),
            Self::Lines | Self::Absent => None,
        }
    }

    /// Reads commands in a thread of its own, which nobody waits for: it may sit in a read until the process ends.
    /// The end of the input is no command.
    pub(crate) fn listen(&self, events: SyncSender<Event>) {
        match self {
            Self::Keys(_) => drop(thread::spawn(move || read_keys(&events))),
            Self::Lines => drop(thread::spawn(move || read_lines(&events))),
            Self::Absent => {}
        }
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        if let Self::Keys(former) = self {
            restore(former);
        }
    }
}

/// Gives a terminal its former mode back.
pub(crate) fn restore(former: &Termios) {
    let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, former);
}

fn read_keys(events: &SyncSender<Event>) {
    let mut keys = Keys::default();
    for byte in io::stdin().lock().bytes().map_while(Result::ok) {
        let command = keys.press(char::from(byte));
        let pending = events.send(Event::Pending(keys.pending()));
        let sent = command.map_or(pending, |command| events.send(Event::Command(command)));
        if sent.is_err() {
            return;
        }
    }
}

fn read_lines(events: &SyncSender<Event>) {
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        let event = match parse(&line) {
            Some(command) => Event::Command(command),
            None if line.trim().is_empty() => continue,
            None => Event::Note(format!("{:?} is no command; ? lists them", line.trim())),
        };
        if events.send(event).is_err() {
            return;
        }
    }
}
