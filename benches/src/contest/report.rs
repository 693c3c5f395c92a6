//! The table.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{
    options::{Contender, Event},
    round::Round,
};

/// What was measured, and under which conditions.
#[derive(Debug)]
pub(crate) struct Report {
    /// PostgreSQL's version.
    pub(crate) postgresql: String,
    /// Processor cores of the machine.
    pub(crate) cores: usize,
    /// Clients that wrote.
    pub(crate) writers: u16,
    /// Clients that only stayed connected.
    pub(crate) idle_clients: u16,
    /// Versions of the contenders' programs.
    pub(crate) versions: Vec<String>,
    /// What the reader should know about how they were run.
    pub(crate) remarks: Vec<String>,
    /// In the order in which they were played.
    pub(crate) rounds: Vec<Round>,
    /// Rounds that could not be played or finished, for people.
    pub(crate) failures: Vec<String>,
}

/// What one contender adds to it.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Names and versions of its programs.
    pub(crate) versions: String,
    /// What the reader should know about how it was run.
    pub(crate) remarks: Vec<String>,
    /// Its rounds.
    pub(crate) rounds: Vec<Round>,
    /// Rounds that could not be played or finished.
    pub(crate) failures: Vec<String>,
}

impl Report {
    /// Adds what one contender has done.
    pub(crate) fn take(&mut self, outcome: Outcome) {
        if !self.versions.contains(&outcome.versions) {
            self.versions.push(outcome.versions);
        }
        self.remarks.extend(outcome.remarks);
        self.rounds.extend(outcome.rounds);
        self.failures.extend(outcome.failures);
    }

    /// All of it.
    pub(crate) fn to_markdown(&self) -> String {
        let mut text = format!(
            "PostgreSQL {}, a primary and two standbys with asynchronous replication; {} cores; {} clients write with \
             a pause of 5 ms and connect again at once, {} are idle.\n{}.\n\n",
            self.postgresql,
            self.cores,
            self.writers,
            self.idle_clients,
            self.versions.join("; "),
        );
        text += "| contender | event | rounds | write gap p50 | max | client errors a round | idle clients dropped | acknowledged writes lost |\n";
        text += "|---|---|--:|--:|--:|---|--:|--:|\n";
        for (contender, event) in self.kinds() {
            let rounds = self.rounds.iter();
            let rounds: Vec<&Round> =
                rounds.filter(|round| (round.contender, round.event) == (contender, event)).collect();
            self.write_row(&mut text, contender, event, &rounds);
        }
        text += "\nWrite gap: the longest time without an acknowledged write, from the event until all nodes were well \
                 again. Client errors: the mean number of failed statements and ended connections of the writers, by \
                 SQLSTATE, and of attempts to connect again that failed. Idle clients dropped: of all clients in all \
                 rounds. Node killed: postmaster and agent or Patroni get SIGKILL.\n";
        for remark in self.remarks.iter().chain(&self.failures) {
            let _ = writeln!(text, "- {remark}");
        }
        text
    }

    /// Every round as JSON.
    ///
    /// # Errors
    /// None that is known.
    pub(crate) fn to_json(&self) -> anyhow::Result<String> {
        Ok(serde_json::to_string_pretty(&self.rounds)? + "\n")
    }

    /// Contenders and events in the order in which they first took place.
    fn kinds(&self) -> Vec<(Contender, Event)> {
        let mut kinds = Vec::new();
        for round in &self.rounds {
            let kind = (round.contender, round.event);
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        kinds
    }

    fn write_row(&self, text: &mut String, contender: Contender, event: Event, rounds: &[&Round]) {
        let gaps: Vec<u64> = rounds.iter().map(|round| round.gap_ms).collect();
        let (Some(middle), Some(most)) = (median(&gaps), gaps.iter().max()) else { return };
        let dropped: usize = rounds.iter().map(|round| round.idle_dropped).sum();
        let lost: usize = rounds.iter().map(|round| round.lost).sum();
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {dropped} of {} | {lost} |",
            contender.name(),
            event.name(),
            rounds.len(),
            seconds(middle),
            seconds(*most),
            errors(rounds),
            rounds.len() * usize::from(self.idle_clients),
        );
    }
}

/// The mean number of each kind of error.
fn errors(rounds: &[&Round]) -> String {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for round in rounds {
        for (code, count) in &round.errors {
            *sums.entry(code).or_default() += count;
        }
        if round.refused > 0 {
            *sums.entry("failed to connect").or_default() += round.refused;
        }
    }
    if sums.is_empty() {
        return "none".to_owned();
    }
    #[expect(clippy::cast_precision_loss, reason = "a handful of errors a round")]
    let mean = |sum: u64| sum as f64 / rounds.len() as f64;
    let parts: Vec<String> = sums.iter().map(|(code, sum)| format!("{code}: {:.1}", mean(*sum))).collect();
    parts.join(", ")
}

/// The one in the middle; the mean of two.
fn median(values: &[u64]) -> Option<u64> {
    let mut values = values.to_vec();
    values.sort_unstable();
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        length if length % 2 == 0 => Some(values[middle - 1].midpoint(values[middle])),
        _ => Some(values[middle]),
    }
}

fn seconds(milliseconds: u64) -> String {
    format!("{}.{:02} s", milliseconds / 1000, milliseconds % 1000 / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[30, 10, 20]), Some(20));
        assert_eq!(median(&[40, 10, 20, 30]), Some(25));
    }

    #[test]
    fn a_row_has_means_of_errors_and_sums_of_losses() {
        let round = |gap_ms, code: &str, lost| Round {
            contender: Contender::Pgherd,
            event: Event::NodeKilled,
            gap_ms,
            whole_ms: 0,
            errors: [(code.to_owned(), 4)].into(),
            refused: 0,
            idle_dropped: 0,
            acknowledged: 100,
            lost,
        };
        let report = Report {
            postgresql: "15".to_owned(),
            cores: 2,
            writers: 4,
            idle_clients: 50,
            versions: Vec::new(),
            remarks: Vec::new(),
            rounds: vec![round(400, "08007", 0), round(1410, "40001", 3)],
            failures: Vec::new(),
        };
        let row = "| pgherd | node killed | 2 | 0.90 s | 1.41 s | 08007: 2.0, 40001: 2.0 | 0 of 100 | 3 |";
        let text = report.to_markdown();
        assert!(text.contains(row), "{text}");
    }
}
