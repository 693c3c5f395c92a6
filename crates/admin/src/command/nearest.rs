//! Which command somebody meant.

use super::Noun;

/// Commands as they are written, nouns of SHOW aside.
const COMMANDS: [&str; 30] = [
    "CHECK CLUSTER",
    "CHECK REPLICATION",
    "SHOW HELP",
    "RELOAD",
    "PAUSE",
    "RESUME",
    "RECONNECT",
    "KILL",
    "KILL_CLIENT",
    "DISABLE",
    "ENABLE",
    "SUSPEND",
    "WAIT_CLOSE",
    "SHUTDOWN",
    "SHUTDOWN WAIT_FOR_CLIENTS",
    "SHUTDOWN WAIT_FOR_SERVERS",
    "EXPLAIN ROUTE",
    "SET",
    "SWITCHOVER",
    "SWITCHOVER TO",
    "FAILOVER TO",
    "RESTART NODE",
    "RESTART NODES",
    "RESTORE TOPOLOGY",
    "ADD NODE",
    "DROP NODE",
    "DETACH NODE",
    "ATTACH NODE",
    "MAINTENANCE ON",
    "MAINTENANCE OFF",
];

/// A longer text is no mistyped command.
const TYPED_MAX: usize = 40;

/// The command that is nearest to what was typed, if any is near.
pub(super) fn nearest(typed: &str) -> Option<String> {
    if typed.is_empty() || typed.len() > TYPED_MAX {
        return None;
    }
    let typed = typed.to_uppercase();
    let shows = Noun::ALL.iter().map(|noun| format!("SHOW {}", noun.word()));
    // A noun alone is a SHOW that was forgotten.
    let with_show = format!("SHOW {typed}");
    shows
        .chain(COMMANDS.iter().map(|&command| command.to_owned()))
        .map(|command| {
            // A beginning that says something (SHOW says nothing) needs only to be completed.
            let begun = typed.len() > 4 && command.starts_with(&typed);
            let apart = distance(&typed, &command).min(distance(&with_show, &command) + 1);
            (if begun { apart.min(1) } else { apart }, command)
        })
        .filter(|(distance, command)| *distance * 3 <= command.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, command)| command)
}

/// How many letters must be put in, taken out or replaced to get from one to the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (at, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (column, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(typed: &str, expected: Option<&str>) {
        assert_eq!(nearest(typed).as_deref(), expected, "{typed}");
    }

    #[test]
    fn mistyped_commands_are_guessed_and_other_text_is_not() {
        check("show pool", Some("SHOW POOLS"));
        check("show clinets", Some("SHOW CLIENTS"));
        check("pools", Some("SHOW POOLS"));
        check("relaod", Some("RELOAD"));
        check("explain", Some("EXPLAIN ROUTE"));
        check("insert into", None);
        check("", None);
        check(&"x".repeat(1 << 20), None);
    }
}
