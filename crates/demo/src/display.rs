use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use tokio::time::Instant;

use crate::command::KEYS;

/// How often the status is printed where it cannot be redrawn, unless a role changes.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);
/// The lines of the frame as a whole: one less than a usual terminal has, for the cursor …
const HEIGHT: usize = 23;
/// … unless so many events and notes do not fit below the tables.
const RECENT_MIN: usize = 4;

/// Everything that is shown at one moment.
#[derive(Debug, Default)]
pub(crate) struct Frame {
    /// Heading and rows.
    pub(crate) proxies: Vec<Vec<String>>,
    /// Heading and rows.
    pub(crate) nodes: Vec<Vec<String>>,
    /// Who manages the cluster, and what of it is under way.
    pub(crate) manager: String,
    /// The proxies' events and the demo's own words, oldest first.
    pub(crate) recent: Vec<String>,
    /// What is going on or half typed.
    pub(crate) prompt: String,
    /// Changes when a role or state does.
    pub(crate) roles: String,
}

/// Where the demo shows itself. A reader that went away is no reason to stop, so failures to write are ignored.
pub(crate) enum Display {
    /// A terminal: the frame is drawn over the last one, `height` lines above.
    Terminal { height: usize },
    /// Anything else: lines, when there is something new and now and then.
    Lines { roles: String, printed: Option<Instant> },
}

impl Display {
    /// Whichever fits standard output.
    pub(crate) fn open() -> Self {
        if io::stdout().is_terminal() {
            Self::Terminal { height: 0 }
        } else {
            Self::Lines { roles: String::new(), printed: None }
        }
    }

    /// Shows how things are.
    pub(crate) fn draw(&mut self, frame: &Frame) {
        match self {
            Self::Terminal { height } => {
                let lines = frame.lines();
                let up = *height;
                *height = lines.len();
                // Lines are cut at the right edge instead of being wrapped, which would break the count.
                let start = if up == 0 { String::new() } else { format!("\x1b[{up}F") };
                let body: String = lines.iter().map(|line| format!("{line}\x1b[K\n")).collect();
                print(&format!("{start}\x1b[?7l{body}\x1b[J\x1b[?7h"));
            }
            Self::Lines { roles, printed } => {
                let is_due = printed.is_none_or(|at| at.elapsed() >= PLAIN_INTERVAL);
                if !is_due && *roles == frame.roles {
                    return;
                }
                roles.clone_from(&frame.roles);
                *printed = Some(Instant::now());
                self.print_status(frame);
            }
        }
    }

    /// Prints the status because somebody asked; a terminal shows it all the time.
    pub(crate) fn print_status(&self, frame: &Frame) {
        if let Self::Lines { .. } = self {
            let tables = align(&frame.proxies).into_iter().chain(align(&frame.nodes));
            let tables = tables.chain([frame.manager.clone()]);
            print(&tables.map(|line| line + "\n").collect::<String>());
        }
    }

    /// Prints something new at once, if the frame does not hold it anyway.
    pub(crate) fn tell(&self, line: &str) {
        if let Self::Lines { .. } = self {
            print(&format!("{line}\n"));
        }
    }

    /// Prints lines that stay, above the frame on a terminal.
    pub(crate) fn print(&mut self, lines: &[String]) {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        match self {
            Self::Terminal { height } if *height > 0 => {
                print(&format!("\x1b[{height}F\x1b[J{text}"));
                *height = 0;
            }
            Self::Terminal { .. } | Self::Lines { .. } => print(&text),
        }
    }
}

impl Frame {
    fn lines(&self) -> Vec<String> {
        let mut lines = vec![String::new()];
        lines.extend(align(&self.proxies));
        lines.push(String::new());
        lines.extend(align(&self.nodes));
        lines.extend([String::new(), self.manager.clone(), String::new()]);
        // the keys and the blank line above them
        let room = HEIGHT.saturating_sub(lines.len() + 2).max(RECENT_MIN);
        lines.extend(self.recent.iter().rev().take(room).rev().cloned());
        lines.push(String::new());
        lines.push(if self.prompt.is_empty() { KEYS.to_owned() } else { self.prompt.clone() });
        lines
    }
}

/// Columns as wide as their widest value.
fn align(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|value| value.chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(value, width)| format!("{value:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

fn print(text: &str) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[&str]) -> Vec<String> {
        values.iter().map(|&value| value.to_owned()).collect()
    }

    #[test]
    fn columns_are_aligned_by_characters_and_not_by_bytes() {
        let rows = [row(&["node", "lag"]), row(&["é", "1 B"]), row(&["longer", ""])];
        assert_eq!(align(&rows), ["node    lag", "é       1 B", "longer"]);
    }

    #[test]
    fn a_frame_shows_the_latest_events_and_then_the_keys() {
        let recent = (0..99).map(|n| format!("event {n}")).collect();
        let lines = Frame { recent, ..Frame::default() }.lines();
        assert_eq!(lines.len(), HEIGHT);
        assert!(
            lines.contains(&"event 98".to_owned()) && !lines.contains(&"event 70".to_owned()),
            "{lines:?}"
        );
        assert_eq!(lines.last().map(String::as_str), Some(KEYS));
    }
}
