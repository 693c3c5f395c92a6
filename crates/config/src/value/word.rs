//! Keys whose value is one of a few words, and keys that are a word or something else.

use conn::ServerTlsMode;
use pool::{CommitResolution, PoolMode, StatePolicy};
use routing::{Policy, ReadOnlyFallback, ReadYourWrites};

use super::{Count, Value, Wrong};
use crate::{
    nearest::nearest,
    settings::{LogFormat, Manage, Workers},
    tree::Node,
};

/// A type whose values are words.
pub(crate) trait Words: Copy + PartialEq + 'static {
    const WORDS: &'static [(&'static str, Self)];
}

/// One word of a few.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OneOf<T>(pub(crate) T);

impl<T: Words> Value for OneOf<T> {
    fn expected() -> String {
        let words: Vec<String> = T::WORDS.iter().map(|(word, _)| format!("{word:?}")).collect();
        match words.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
            _ => words.concat(),
        }
    }

    fn read(node: &Node) -> Result<Self, Wrong> {
        let text = node.text().ok_or_else(Wrong::default)?;
        if let Some((_, value)) = T::WORDS.iter().find(|(word, _)| *word == text) {
            return Ok(Self(*value));
        }
        let words = T::WORDS.iter().map(|(word, _)| *word);
        Err(Wrong { because: None, nearest: nearest(text, words).map(str::to_owned) })
    }

    fn show(&self) -> String {
        self.word().to_owned()
    }
}

impl<T: Words> OneOf<T> {
    /// The word itself.
    pub(crate) fn word(self) -> &'static str {
        T::WORDS.iter().find(|(_, value)| *value == self.0).map_or("", |(word, _)| word)
    }
}

/// [`conn::ClientTls`] before it has its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TlsMode {
    Off,
    Allow,
    Require,
}

impl Words for TlsMode {
    const WORDS: &'static [(&'static str, Self)] =
        &[("off", Self::Off), ("allow", Self::Allow), ("require", Self::Require)];
}

impl Words for Manage {
    const WORDS: &'static [(&'static str, Self)] = &[("off", Self::Off), ("single", Self::Single)];
}

impl Words for LogFormat {
    const WORDS: &'static [(&'static str, Self)] = &[("text", Self::Text), ("json", Self::Json)];
}

impl Words for PoolMode {
    const WORDS: &'static [(&'static str, Self)] =
        &[("transaction", Self::Transaction), ("session", Self::Session), ("statement", Self::Statement)];
}

impl Words for StatePolicy {
    const WORDS: &'static [(&'static str, Self)] =
        &[("pin", Self::Pin), ("refuse", Self::Refuse), ("allow", Self::Allow)];
}

impl Words for CommitResolution {
    const WORDS: &'static [(&'static str, Self)] = &[("xid", Self::Xid), ("off", Self::Off)];
}

impl Words for Policy {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("smart", Self::Smart),
        ("read-write", Self::ReadWrite),
        ("read-only", Self::ReadOnly),
        ("sync", Self::Sync),
        ("async", Self::Async),
    ];
}

impl Words for ReadYourWrites {
    const WORDS: &'static [(&'static str, Self)] = &[("off", Self::Off), ("session", Self::Session)];
}

impl Words for ReadOnlyFallback {
    const WORDS: &'static [(&'static str, Self)] =
        &[("primary", Self::Primary), ("hold", Self::Hold), ("refuse", Self::Refuse)];
}

impl Words for ServerTlsMode {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("disable", Self::Disable),
        ("allow", Self::Allow),
        ("prefer", Self::Prefer),
        ("require", Self::Require),
        ("verify-ca", Self::VerifyCa),
        ("verify-full", Self::VerifyFull),
    ];
}

impl Value for Workers {
    fn expected() -> String {
        "\"auto\" or a whole number from 1 to 64".to_owned()
    }

    fn read(node: &Node) -> Result<Self, Wrong> {
        if node.text() == Some("auto") {
            return Ok(Self::Auto);
        }
        Count::<1, 64>::read(node).map(|count| Self::Count(count.0))
    }

    fn show(&self) -> String {
        match self {
            Self::Auto => "auto".to_owned(),
            Self::Count(count) => count.to_string(),
        }
    }
}
