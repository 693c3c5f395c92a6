//! Findings for a terminal.

use std::fmt::Write as _;

use crate::{Finding, Replicated, Verdict};

/// Where text is broken, in columns.
const WIDTH: usize = 100;

/// Where what belongs to a finding begins.
const INDENT: usize = 13;

/// How a report looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Text alone.
    Plain,
    /// With the colours that every terminal has.
    Coloured,
}

/// What of a report is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// What is not as it should be.
    Trouble,
    /// What is, too.
    Everything,
}

/// What was found in a cluster, by node, the node with the worst first.
#[must_use]
pub fn report(cluster: &str, findings: &[Finding], extent: Extent, style: Style) -> String {
    let shown: Vec<&Finding> = findings
        .iter()
        .filter(|finding| extent == Extent::Everything || finding.verdict > Verdict::Ok)
        .collect();
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{}: {}",
        style.bold(&printable(cluster)),
        summary(findings.iter().map(|one| one.verdict))
    );
    // findings come with the worst first, so nodes do if they come as they are met
    let mut nodes: Vec<Option<&str>> = Vec::new();
    for finding in &shown {
        if !nodes.contains(&finding.node.as_deref()) {
            nodes.push(finding.node.as_deref());
        }
    }
    for node in nodes {
        let _ = writeln!(out, "\n  {}", style.bold(&printable(node.unwrap_or("the cluster and pgherd"))));
        for finding in shown.iter().filter(|finding| finding.node.as_deref() == node) {
            let head = format!("{}: {}", finding.check, finding.value);
            entry(finding.verdict, &head, &finding.why, &finding.fix, style, &mut out);
        }
    }
    out
}

/// What became of a marker.
#[must_use]
pub fn report_replication(cluster: &str, rows: &[Replicated], style: Style) -> String {
    let mut out = String::new();
    let _ =
        writeln!(out, "{}: {}", style.bold(&printable(cluster)), summary(rows.iter().map(|row| row.verdict)));
    for row in rows {
        let mut head = format!("{}: {}", row.node, row.state);
        if let Some(after) = row.after {
            let _ = write!(head, ", replayed after {} ms", after.as_millis());
        } else if let Some(lag) = row.lag_bytes.filter(|lag| *lag > 0) {
            let _ = write!(head, ", {lag} bytes short of the marker");
        }
        entry(row.verdict, &head, &row.why, &row.fix, style, &mut out);
    }
    out
}

fn entry(verdict: Verdict, head: &str, why: &str, fix: &str, style: Style, out: &mut String) {
    let label = match verdict {
        Verdict::Ok => style.paint("32", "ok       "),
        Verdict::Warning => style.paint("33", "warning  "),
        Verdict::Failure => style.paint("1;31", "FAILURE  "),
    };
    let _ = writeln!(out, "    {label}{}", printable(head));
    for line in wrapped(&printable(why)) {
        let _ = writeln!(out, "{:INDENT$}{line}", "");
    }
    // as it is, since it is to be pasted
    for line in fix.lines() {
        let _ = writeln!(out, "{:INDENT$}{}", "", style.bold(&printable(line)));
    }
}

fn summary(verdicts: impl Iterator<Item = Verdict>) -> String {
    let mut counts = [0_usize; 3];
    for verdict in verdicts {
        counts[verdict as usize] += 1;
    }
    let [passed, warnings, failures] = counts;
    let some = |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    format!("{}, {}, {passed} ok", some(failures, "failure"), some(warnings, "warning"))
}

/// Lines of words that fit.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if INDENT + line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// What a server says must not control the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

impl Style {
    fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Coloured => format!("\x1b[{code}m{text}\x1b[0m"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(node: Option<&str>, verdict: Verdict, fix: &str) -> Finding {
        Finding {
            node: node.map(str::to_owned),
            check: "replay",
            value: "paused".to_owned(),
            verdict,
            why: "what it receives does not become visible: reads are old, and a promotion has to replay all of it first"
                .to_owned(),
            fix: fix.to_owned(),
        }
    }

    #[test]
    fn nodes_come_with_the_worst_first_and_fixes_are_ready_to_paste() {
        let findings = [
            finding(Some("us"), Verdict::Failure, "SELECT 1;\nSELECT pg_reload_conf();"),
            finding(None, Verdict::Warning, ""),
            finding(Some("us"), Verdict::Ok, ""),
        ];
        assert_eq!(
            report("main", &findings, Extent::Trouble, Style::Plain),
            "main: 1 failure, 1 warning, 1 ok\n\
             \n  us\n    FAILURE  replay: paused\n\
             \x20            what it receives does not become visible: reads are old, and a promotion has to replay\n\
             \x20            all of it first\n\
             \x20            SELECT 1;\n\
             \x20            SELECT pg_reload_conf();\n\
             \n  the cluster and pgherd\n    warning  replay: paused\n\
             \x20            what it receives does not become visible: reads are old, and a promotion has to replay\n\
             \x20            all of it first\n"
        );
        assert!(report("main", &findings, Extent::Everything, Style::Coloured).contains("\x1b[32mok"));
    }

    #[test]
    fn a_server_cannot_control_the_terminal() {
        let mut hostile = finding(Some("us\x1b[2J"), Verdict::Failure, "a\x07");
        hostile.value = "\x1b]0;x\x07".to_owned();
        let text = report("main", &[hostile], Extent::Trouble, Style::Plain);
        assert!(!text.contains(['\x1b', '\x07']), "{text:?}");
    }
}
