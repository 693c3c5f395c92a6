/// What somebody at the keyboard can ask for. Nodes are numbered from 1, as in the table and in demo.env.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    /// Kill the primary as a crash would.
    Kill,
    /// Have pgherd make a standby the primary, without an error.
    Switchover(usize),
    /// Promote a standby while the old primary goes on, as anybody could with pg_promote.
    Promote(usize),
    /// Bring a node back that pgherd leaves alone.
    Back(usize),
    /// Print the status.
    Status,
    /// Print the commands.
    Help,
    /// Stop the demo.
    Quit,
}

/// What [`Command::Help`] prints.
pub(crate) const HELP: [&str; 7] = [
    "k      kill the primary, as a crash would; pgherd promotes a standby, and makes a standby of the killed node",
    "s N    switch over to node N: no error, no row lost; the old primary follows it",
    "p N    promote node N by hand, behind pgherd's back: the old primary goes on, alone, until it is brought back",
    "b N    bring node N back: one that was promoted over by hand, or that somebody has stopped",
    "t      the tables, once more",
    "?      this list",
    "q      quit (as do Ctrl-C and SIGTERM)",
];

/// The same on one line, for below the table.
pub(crate) const KEYS: &str =
    "keys: k kill the primary · s N switch over · p N promote by hand · b N bring back · ? help · q quit";

/// A letter's meaning.
enum Verb {
    Alone(Command),
    WithNode(fn(usize) -> Command),
}

fn verb(letter: char) -> Option<Verb> {
    Some(match letter {
        'k' => Verb::Alone(Command::Kill),
        'p' => Verb::WithNode(Command::Promote),
        's' => Verb::WithNode(Command::Switchover),
        'b' => Verb::WithNode(Command::Back),
        't' => Verb::Alone(Command::Status),
        '?' | 'h' => Verb::Alone(Command::Help),
        'q' => Verb::Alone(Command::Quit),
        _ => return None,
    })
}

/// Reads a line such as `p 2`; `None` for one that is no command.
pub(crate) fn parse(line: &str) -> Option<Command> {
    let line = line.trim();
    let letter = line.chars().next()?;
    let rest = line[letter.len_utf8()..].trim();
    match verb(letter)? {
        Verb::Alone(command) => rest.is_empty().then_some(command),
        Verb::WithNode(command) => rest.parse().ok().filter(|&node| node > 0).map(command),
    }
}

/// Reads single keys, which need no Enter.
#[derive(Default)]
pub(crate) enum Keys {
    /// Between commands.
    #[default]
    Idle,
    /// A command that wants a node's number.
    Waiting(char, fn(usize) -> Command),
}

impl Keys {
    /// Takes one key; a command may be complete with it. Whatever makes no sense cancels what was begun.
    pub(crate) fn press(&mut self, key: char) -> Option<Command> {
        match std::mem::take(self) {
            Self::Waiting(letter, command) => match key {
                ' ' => {
                    *self = Self::Waiting(letter, command);
                    None
                }
                key => key.to_digit(10).filter(|&node| node > 0).map(|node| command(node as usize)),
            },
            Self::Idle => match verb(key)? {
                Verb::Alone(command) => Some(command),
                Verb::WithNode(command) => {
                    *self = Self::Waiting(key, command);
                    None
                }
            },
        }
    }

    /// What to show of a command that is not complete.
    pub(crate) fn pending(&self) -> String {
        match self {
            Self::Idle => String::new(),
            Self::Waiting(letter, _) => format!("{letter} which node?"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: Option<Command>) {
        assert_eq!(parse(line), expected, "{line:?}");
    }

    #[test]
    fn lines_are_commands_with_or_without_a_blank_before_the_node() {
        check("k", Some(Command::Kill));
        check(" p 2 \n", Some(Command::Promote(2)));
        check("b3", Some(Command::Back(3)));
        check("s 1", Some(Command::Switchover(1)));
        check("t", Some(Command::Status));
        check("?", Some(Command::Help));
        check("q", Some(Command::Quit));
    }

    #[test]
    fn other_lines_are_none() {
        for line in
            ["", " ", "x", "p", "s", "p x", "p 0", "p -1", "k 1", "kill", "é", "p 99999999999999999999"]
        {
            check(line, None);
        }
    }

    #[test]
    fn keys_act_at_once_or_wait_for_the_node() {
        let mut keys = Keys::default();
        let mut type_in = |text: &str| text.chars().filter_map(|key| keys.press(key)).collect::<Vec<_>>();
        assert_eq!(type_in("k"), [Command::Kill]);
        assert_eq!(type_in("p 2b3"), [Command::Promote(2), Command::Back(3)]);
        assert_eq!(type_in("pq"), [], "a key that is no number cancels");
        assert_eq!(type_in("xq"), [Command::Quit]);
    }
}
