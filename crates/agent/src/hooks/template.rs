//! A command with placeholders, as Pgpool-II has them (its manual, "Failover and Failback").

use std::fmt;

use super::Scene;

/// Letters that stand for something, and what.
const LETTERS: [(char, Letter); 12] = [
    ('d', |scene| scene.node.id.to_string()),
    ('h', |scene| scene.node.host.clone()),
    ('p', |scene| scene.node.port.to_string()),
    ('D', |scene| scene.node.data_directory.clone()),
    ('m', |scene| id(scene.new_primary.as_ref())),
    ('H', |scene| scene.new_primary.as_ref().map(|party| party.host.clone()).unwrap_or_default()),
    ('M', |scene| id(scene.old_primary.as_ref())),
    ('P', |scene| id(scene.old_primary.as_ref())),
    ('r', |scene| scene.new_primary.as_ref().map(|party| party.port.to_string()).unwrap_or_default()),
    ('R', |scene| scene.new_primary.as_ref().map(|party| party.data_directory.clone()).unwrap_or_default()),
    ('N', |scene| scene.old_primary.as_ref().map(|party| party.host.clone()).unwrap_or_default()),
    ('S', |scene| scene.old_primary.as_ref().map(|party| party.port.to_string()).unwrap_or_default()),
];

type Letter = fn(&Scene) -> String;

/// -1 stands for nobody, as Pgpool-II's sample scripts expect.
fn id(party: Option<&super::Party>) -> String {
    party.map_or_else(|| "-1".to_owned(), |party| party.id.to_string())
}

/// A shell command with placeholders, read once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    text: String,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Value { letter: char, within: Within },
}

/// What the shell takes a place in a command for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Within {
    Nothing,
    SingleQuotes,
    DoubleQuotes,
}

/// The quotes that are open at a place, those around substitutions outside.
#[derive(Debug, Clone)]
struct Quotes {
    around: Vec<Within>,
    now: Within,
    after_dollar: bool,
}

impl Quotes {
    /// At the beginning.
    fn new() -> Self {
        Self { around: Vec::new(), now: Within::Nothing, after_dollar: false }
    }

    /// Behind a character that is not escaped.
    fn pass(&mut self, c: char) {
        match (self.now, c) {
            (Within::Nothing, '\'') => self.now = Within::SingleQuotes,
            (Within::Nothing, '"') => self.now = Within::DoubleQuotes,
            (Within::SingleQuotes, '\'') | (Within::DoubleQuotes, '"') => self.now = Within::Nothing,
            (Within::Nothing, ')') => self.now = self.around.pop().unwrap_or(Within::Nothing),
            // a substitution begins anew; so does a subshell, which only has to be told from one at its end
            (Within::Nothing, '(') => self.around.push(Within::Nothing),
            (Within::DoubleQuotes, '(') if self.after_dollar => {
                self.around.push(Within::DoubleQuotes);
                self.now = Within::Nothing;
            }
            (Within::Nothing | Within::SingleQuotes | Within::DoubleQuotes, _) => {}
        }
        self.after_dollar = c == '$';
    }
}

/// What follows a `%` means nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no placeholder: there are %d %h %p %D %m %H %M %P %r %R %N %S, and %% for a percent sign")]
pub struct UnknownPlaceholder(Shown);

/// A percent sign and what follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shown(Option<char>);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}", self.0.map(String::from).unwrap_or_default())
    }
}

/// A command that is ready for `sh -c`, and the variables that it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rendered {
    pub(super) script: String,
    pub(super) variables: Vec<(String, String)>,
}

impl Template {
    /// Reads a command.
    ///
    /// # Errors
    /// [`UnknownPlaceholder`].
    pub fn parse(text: &str) -> Result<Self, UnknownPlaceholder> {
        let (mut pieces, mut plain, mut quotes) = (Vec::new(), String::new(), Quotes::new());
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match (c, quotes.now) {
                ('%', _) => match chars.next() {
                    Some('%') => plain.push('%'),
                    Some(letter) if LETTERS.iter().any(|(its, _)| *its == letter) => {
                        pieces.push(Piece::Text(std::mem::take(&mut plain)));
                        pieces.push(Piece::Value { letter, within: quotes.now });
                    }
                    other => return Err(UnknownPlaceholder(Shown(other))),
                },
                ('\\', Within::Nothing | Within::DoubleQuotes) => {
                    // before a placeholder it would escape what only stands for the value
                    let rest = chars.as_str();
                    if rest.starts_with("%%") || !rest.starts_with('%') {
                        plain.push(c);
                    }
                    // what is escaped ends no quotes
                    if !rest.starts_with('%') {
                        plain.extend(chars.next());
                    }
                }
                (c, _) => {
                    quotes.pass(c);
                    plain.push(c);
                }
            }
        }
        pieces.push(Piece::Text(plain));
        Ok(Self { text: text.to_owned(), pieces })
    }

    /// The command as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Puts values in. One of plain characters stands there as it is, as with Pgpool-II; any other is a variable of the
    /// command's environment, which no shell takes for anything but a value, whatever quotes are around it.
    pub(super) fn render(&self, scene: &Scene) -> Rendered {
        let (mut script, mut variables) = (String::new(), Vec::<(String, String)>::new());
        for piece in &self.pieces {
            let (letter, within) = match piece {
                Piece::Text(text) => {
                    script.push_str(text);
                    continue;
                }
                Piece::Value { letter, within } => (*letter, *within),
            };
            let value = LETTERS.iter().find(|(its, _)| *its == letter).map(|(_, value)| value(scene));
            let value = value.unwrap_or_default().replace('\0', "");
            if value.is_empty() {
                script.push_str(if within == Within::Nothing { "''" } else { "" });
            } else if value.chars().all(is_plain) {
                script.push_str(&value);
            } else {
                let name = format!("PGHERD_VALUE_{letter}");
                script.push_str(&match within {
                    Within::Nothing => format!("\"${{{name}}}\""),
                    Within::DoubleQuotes => format!("${{{name}}}"),
                    Within::SingleQuotes => format!("'\"${{{name}}}\"'"),
                });
                if !variables.iter().any(|(its, _)| *its == name) {
                    variables.push((name, value));
                }
            }
        }
        Rendered { script, variables }
    }
}

/// Characters that mean nothing to a shell, wherever they stand.
fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | ':' | ',' | '+' | '@')
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::{super::Party, *};

    fn party(id: u16, host: &str, data_directory: &str) -> Party {
        Party {
            id,
            name: format!("n{id}"),
            host: host.to_owned(),
            port: 5432 + id,
            data_directory: data_directory.to_owned(),
        }
    }

    fn scene(host: &str, data: &str) -> Scene {
        Scene {
            cluster: "main".to_owned(),
            node: party(0, host, data),
            new_primary: Some(party(1, "db1", "/data/1")),
            old_primary: Some(party(0, host, data)),
        }
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let rendered = Template::parse(text).unwrap().render(&scene("db0", "/data/0"));
        assert_eq!((rendered.script.as_str(), rendered.variables.len()), (expected, 0), "{text}");
    }

    #[test]
    fn plain_values_stand_as_they_are() {
        check(
            "f.sh %d %h %p %D %m %H %M %P %r %R %N %S %%",
            "f.sh 0 db0 5432 /data/0 1 db1 0 0 5433 /data/1 db0 5432 %",
        );
        check("\"%h\" '%D' 100%%", "\"db0\" '/data/0' 100%");
    }

    #[test]
    fn nobody_is_minus_one_and_an_empty_word() {
        let alone = Scene { new_primary: None, ..scene("db0", "") };
        let rendered = Template::parse("f %m %H %D '%R'").unwrap().render(&alone);
        assert_eq!(rendered.script, "f -1 '' '' ''");
    }

    #[test]
    fn other_placeholders_are_refused() {
        assert_eq!(Template::parse("f %x").unwrap_err().to_string().split(" is").next(), Some("%x"));
        assert!(Template::parse("f %").is_err());
    }

    /// Runs a command with hostile values and gives what the program at its end was given.
    #[track_caller]
    fn words(text: &str, host: &str) -> Vec<String> {
        let rendered = Template::parse(text).unwrap().render(&scene(host, host));
        let script = format!(
            "show() {{ for word in \"$@\"; do printf '%s\\n' \"$word\"; done; }}; {}",
            rendered.script
        );
        let output = Command::new("sh").args(["-c", &script]).envs(rendered.variables).output().unwrap();
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn hostile_values_stay_values_in_any_quotes() {
        for host in [
            "a; echo inj$((1+1))",
            "$(echo inj$((1+1)))",
            "`echo inj$((1+1))`",
            "a' echo inj$((1+1)) '",
            "\" echo inj$((1+1)) \"",
            "* ? \\",
        ] {
            for text in ["show %h", "show \"%h\"", "show '%h'", "show \\%h", "show \"a\\\"\" >&2; show %h"] {
                assert_eq!(words(text, host).last().map(String::as_str), Some(host), "{text} with {host}");
            }
            let parts = words(
                "show \"$(show %h)\" \"$(show \"%h\")\" \"$(show `show \"%h\"`)\" $( (show %h) )",
                host,
            );
            assert!(!parts.iter().any(|part| part.contains("inj2")), "{parts:?}");
            assert_eq!(parts[..2], [host, host], "{parts:?}");
        }
    }
}
