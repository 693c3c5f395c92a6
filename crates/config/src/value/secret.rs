use std::path::PathBuf;

use super::{Value, Wrong};
use crate::tree::{Kind, Node};

/// Where a secret is: here, in a file, or in an environment variable.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum SecretSource {
    Inline(String),
    File(PathBuf),
    Environment(String),
}

impl std::fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.show())
    }
}

impl Value for SecretSource {
    const SECRET: bool = true;

    fn expected() -> String {
        "a string, { file = \"…\" } or { env = \"…\" }".to_owned()
    }

    fn read(node: &Node) -> Result<Self, Wrong> {
        if let Some(text) = node.text().filter(|text| !text.is_empty()) {
            return Ok(Self::Inline(text.to_owned()));
        }
        let Kind::Table(table) = &node.kind else { return Err(Wrong::default()) };
        let mut entries = table.iter();
        match (entries.next(), entries.next()) {
            (Some(entry), None) => match (entry.name.as_str(), entry.node.text()) {
                ("file", Some(path)) if !path.is_empty() => Ok(Self::File(path.into())),
                ("env", Some(name)) if !name.is_empty() => Ok(Self::Environment(name.to_owned())),
                _ => Err(Wrong::default()),
            },
            (Some(_), Some(_)) => Err(Wrong::because("one of them, not several")),
            (None, _) => Err(Wrong::default()),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Inline(_) => "***".to_owned(),
            Self::File(path) => format!("file {}", path.display()),
            Self::Environment(name) => format!("env {name}"),
        }
    }
}
