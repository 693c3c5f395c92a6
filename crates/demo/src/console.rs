use std::{
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context, Result, bail};

/// Printed after each answer.
const END: &str = "--end of answer--";
/// Between columns: no value holds it.
const SEPARATOR: char = '\u{1f}';

/// A connection to a proxy's console, held by a psql process: the proxies are looked at as any user would, and the
/// demo needs no client of its own.
pub(crate) struct Console {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Console {
    /// Starts `psql`, which knows where to connect. That it cannot shows with the first question.
    pub(crate) fn open(mut psql: Command) -> Result<Self> {
        let mut child = psql
            .args(["-A", "-P", "footer=off", "-F", &SEPARATOR.to_string()])
            .env("PGAPPNAME", "pgherd demo")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("could not start psql")?;
        let input = child.stdin.take().expect("standard input is piped");
        let output = BufReader::new(child.stdout.take().expect("standard output is piped"));
        Ok(Self { child, input, output })
    }

    /// Asks one question.
    ///
    /// # Errors
    /// When the connection is gone or the proxy answers with an error.
    pub(crate) fn ask(&mut self, sql: &str) -> Result<Table> {
        writeln!(self.input, "{sql};\n\\echo {END}").context("psql is gone")?;
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if self.output.read_line(&mut line).context("psql's answer is not text")? == 0 {
                bail!("the console closed the connection");
            }
            match line.trim_end_matches('\n') {
                END => return Table::parse(&lines),
                line => lines.push(line.to_owned()),
            }
        }
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    fn parse(lines: &[String]) -> Result<Self> {
        let split = |line: &String| line.split(SEPARATOR).map(str::to_owned).collect::<Vec<_>>();
        let Some((columns, rows)) = lines.split_first() else { bail!("the console answered with an error") };
        Ok(Self { columns: split(columns), rows: rows.iter().map(split).collect() })
    }

    /// The rows in order.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.rows.iter().map(|values| Row { columns: &self.columns, values })
    }
}

/// One row of an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row<'a> {
    columns: &'a [String],
    values: &'a [String],
}

impl<'a> Row<'a> {
    /// The value of a column, if the proxy has such a column.
    pub(crate) fn text(&self, column: &str) -> Option<&'a str> {
        let index = self.columns.iter().position(|name| name == column)?;
        self.values.get(index).map(String::as_str)
    }

    /// The same as a number.
    pub(crate) fn number(&self, column: &str) -> Option<u64> {
        self.text(column)?.parse().ok()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A table written with `|` between columns.
    pub(crate) fn table(lines: &[&str]) -> Table {
        let lines: Vec<String> = lines.iter().map(|line| line.replace('|', &SEPARATOR.to_string())).collect();
        Table::parse(&lines).unwrap()
    }

    #[test]
    fn values_are_found_by_column_and_absent_ones_are_none() {
        let table = table(&["name|lag_bytes|note", "eu|12|", "us||x"]);
        let rows: Vec<Row<'_>> = table.rows().collect();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].text("name"), Some("eu"));
        assert_eq!(rows[0].number("lag_bytes"), Some(12));
        assert_eq!(rows[1].number("lag_bytes"), None);
        assert_eq!(rows[0].text("color"), None);
    }

    #[test]
    fn an_answer_without_a_heading_is_an_error() {
        assert!(Table::parse(&[]).is_err());
    }
}
