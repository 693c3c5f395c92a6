use std::{collections::HashMap, path::Path};

/// What psql would send at a time.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) text: String,
    /// The lines behind a COPY FROM STDIN, or STDOUT, which means the same there.
    pub(super) data: Option<String>,
}

/// Splits a script as psql does, as far as it matters: statements end at a `;` outside quotes and parentheses, or at a
/// backslash command such as `\gset`; the variables that name files are put in.
pub(super) fn split(script: &str, corpus: &Path) -> Vec<Statement> {
    let mut splitter =
        Splitter { variables: HashMap::new(), statements: Vec::new(), text: String::new(), depth: 0 };
    let path = corpus.display().to_string();
    for name in ["abs_srcdir", "abs_builddir"] {
        splitter.variables.insert(name.to_owned(), path.clone());
    }
    let mut rest = script;
    while !rest.is_empty() {
        rest = splitter.step(rest);
    }
    splitter.finish();
    splitter.statements
}

struct Splitter {
    variables: HashMap<String, String>,
    statements: Vec<Statement>,
    text: String,
    depth: u32,
}

impl Splitter {
    /// Takes the next piece; gives what is behind it.
    fn step<'a>(&mut self, rest: &'a str) -> &'a str {
        let first = rest.chars().next().unwrap_or_default();
        let length = match first {
            '-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => comment(rest),
            '\'' => quoted(rest, '\'', self.text.ends_with(['e', 'E'])),
            '"' => quoted(rest, '"', false),
            '$' => dollar(rest),
            '\\' if rest.starts_with("\\;") => {
                self.text.push(';');
                return &rest[2..];
            }
            '\\' => {
                let end = rest.find('\n').unwrap_or(rest.len());
                self.command(&rest[1..end]);
                return &rest[end..];
            }
            ':' if rest[1..].starts_with(['\'', '"']) => return self.variable(rest),
            ';' if self.depth == 0 && !self.in_atomic_body() => return self.end(&rest[1..]),
            _ => {
                self.depth = match first {
                    '(' => self.depth + 1,
                    ')' => self.depth.saturating_sub(1),
                    _ => self.depth,
                };
                first.len_utf8()
            }
        };
        self.text.push_str(&rest[..length]);
        &rest[length..]
    }

    /// `BEGIN ATOMIC … END`: its statements are part of CREATE FUNCTION.
    fn in_atomic_body(&self) -> bool {
        let text = self.text.to_lowercase();
        text.contains("begin atomic") && !text.trim_end().ends_with("end")
    }

    fn end<'a>(&mut self, rest: &'a str) -> &'a str {
        let lower = self.text.to_lowercase();
        let takes_data = lower.trim_start().starts_with("copy") && lower.contains("from std");
        let (data, rest) = match rest.split_once('\n').filter(|_| takes_data) {
            Some((_, lines)) => {
                let end =
                    if lines.starts_with("\\.") { Some(0) } else { lines.find("\n\\.").map(|at| at + 1) };
                let end = end.unwrap_or(lines.len());
                (Some(lines[..end].to_owned()), lines[end..].trim_start_matches("\\."))
            }
            None => (None, rest),
        };
        self.push(data);
        rest
    }

    fn push(&mut self, data: Option<String>) {
        let text = std::mem::take(&mut self.text);
        self.depth = 0;
        if !text.trim().is_empty() {
            self.statements.push(Statement { text, data });
        }
    }

    fn command(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("set") => {
                let Some(name) = words.next() else { return };
                let value = words.map(|word| match word.strip_prefix(':') {
                    Some(variable) => self.variables.get(variable).cloned().unwrap_or_default(),
                    None => word.trim_matches('\'').to_owned(),
                });
                let value = value.collect();
                self.variables.insert(name.to_owned(), value);
            }
            Some(word) if word.starts_with('g') && word != "getenv" => self.push(None),
            // The rest of the line is of a command that shows something.
            _ if self.text.trim().is_empty() => self.text.clear(),
            _ => {}
        }
    }

    /// `:'name'` or `:"name"`, if there is such a variable.
    fn variable<'a>(&mut self, rest: &'a str) -> &'a str {
        let quote = &rest[1..2];
        let Some((name, behind)) = rest[2..].split_once(quote) else {
            self.text.push(':');
            return &rest[1..];
        };
        match self.variables.get(name) {
            Some(value) => {
                self.text.push_str(&format!("{quote}{value}{quote}"));
                behind
            }
            None => {
                self.text.push(':');
                &rest[1..]
            }
        }
    }

    fn finish(&mut self) {
        self.push(None);
    }
}

/// The length of a block comment, which nests.
fn comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_u32, 0);
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest.starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

/// The length of a quoted string; a doubled quote goes on as another string.
fn quoted(text: &str, quote: char, escapes: bool) -> usize {
    let mut characters = text.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        if escapes && character == '\\' {
            characters.next();
        } else if character == quote {
            return at + 1;
        }
    }
    text.len()
}

/// The length of a dollar-quoted string, or of the dollar that begins none.
fn dollar(text: &str) -> usize {
    let Some(end) = text[1..].find('$').map(|at| at + 2) else { return 1 };
    let tag = &text[..end];
    let word = &tag[1..end - 1];
    if !word.chars().all(|c| c.is_alphanumeric() || c == '_')
        || word.starts_with(|c: char| c.is_ascii_digit())
    {
        return 1;
    }
    text[end..].find(tag).map_or(text.len(), |at| end + at + tag.len())
}

#[test]
fn scripts_are_split_as_psql_does() {
    let script = "select ';', E'\\';', $a$ ; $a$ /* ; /* ; */ */ -- ;\n;\nselect (1;2);\n\\d t\n\
        select 3 \\gset\n\\set file :abs_srcdir '/x'\ncopy t from :'file';\ncopy t from stdin;\n1\n2\n\\.\nselect 4 \\; select 5;";
    let texts: Vec<(String, Option<String>)> =
        split(script, Path::new("/c")).into_iter().map(|s| (s.text.trim().to_owned(), s.data)).collect();
    let text = |text: &str| (text.to_owned(), None);
    assert_eq!(
        texts,
        [
            text("select ';', E'\\';', $a$ ; $a$ /* ; /* ; */ */ -- ;"),
            text("select (1;2)"),
            text("select 3"),
            text("copy t from '/c/x'"),
            ("copy t from stdin".to_owned(), Some("1\n2\n".to_owned())),
            text("select 4 ; select 5"),
        ]
    );
}
