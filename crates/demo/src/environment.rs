use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;

/// `demo.env`: what scripts need to know, as shell assignments. It is replaced as a whole when something changes.
#[derive(Debug)]
pub(crate) struct Environment {
    path: PathBuf,
    written: String,
}

impl Environment {
    /// The file in `directory`, which a kept demo may have.
    pub(crate) fn open(directory: &Path) -> Self {
        let path = directory.join("demo.env");
        let written = fs::read_to_string(&path).unwrap_or_default();
        Self { path, written }
    }

    /// What the file says about one name.
    pub(crate) fn value(&self, name: &str) -> Option<String> {
        let of_line = |line: &str| {
            let (its, value) = line.split_once('=')?;
            (its == name).then(|| unquote(value))
        };
        self.written.lines().find_map(of_line)
    }

    /// Writes the file if it would change.
    pub(crate) fn update(&mut self, assignments: &[(String, String)]) -> Result<()> {
        let mut content = String::new();
        for (name, value) in assignments {
            let _ = writeln!(content, "{name}={}", quote(value));
        }
        if content != self.written {
            lab::write_private(&self.path, &content)?;
            self.written = content;
        }
        Ok(())
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// A word for the shell; plain ones stay as they are, for readers that are no shells.
fn quote(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:@%+,".contains(c);
    if value.chars().all(plain) { value.to_owned() } else { format!("'{}'", value.replace('\'', r"'\''")) }
}

fn unquote(value: &str) -> String {
    match value.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
        Some(inner) => inner.replace(r"'\''", "'"),
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_the_shell_quoting() {
        for value in ["", "plain", "/tmp/a b", "it's", "$HOME `id`", "a=b", "'"] {
            assert_eq!(unquote(&quote(value)), value);
        }
        assert_eq!(quote("/tmp/demo-1/eu"), "/tmp/demo-1/eu");
        assert_eq!(quote("it's"), r"'it'\''s'");
    }

    #[test]
    fn a_value_is_found_by_its_whole_name() {
        let written = "PGHERD_USER=app\nPGHERD_USER_2='x y'\n".to_owned();
        let environment = Environment { path: PathBuf::new(), written };
        assert_eq!(environment.value("PGHERD_USER").as_deref(), Some("app"));
        assert_eq!(environment.value("PGHERD_USER_2").as_deref(), Some("x y"));
        assert_eq!(environment.value("USER"), None);
    }
}
