//! What a key's value may be: each type says what it expects, reads itself and shows itself.

mod address;
mod amount;
mod command;
mod endpoint;
mod filter;
mod listen;
mod name;
mod secret;
mod window;
mod word;

pub(crate) use address::HostPort;
pub(crate) use amount::{Count, Size, Time};
pub(crate) use command::{AgentAddress, CommandLine, RemoteFolder};
pub(crate) use filter::LogFilter;
pub(crate) use listen::FileMode;
pub(crate) use name::{FileName, FunctionName, Label, List, Name, Text};
pub(crate) use secret::SecretSource;
pub(crate) use window::OffOrWindow;
pub(crate) use word::{OneOf, TlsMode, Words};

use std::path::PathBuf;

use crate::tree::{Kind, Node};

/// A type that a key can have.
pub(crate) trait Value: Sized {
    /// Whether the written value must not be quoted in a message.
    const SECRET: bool = false;

    /// What is expected, with its article: "a whole number from 1 to 64".
    fn expected() -> String;

    /// # Errors
    /// [`Wrong`] if `node` is not as expected.
    fn read(node: &Node) -> Result<Self, Wrong>;

    /// The value as SHOW CONFIG has it.
    fn show(&self) -> String;
}

/// Why a value is not as expected.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// More than "it is not".
    pub(crate) because: Option<&'static str>,
    /// The valid value that was probably meant.
    pub(crate) nearest: Option<String>,
}

impl Wrong {
    pub(crate) fn because(text: &'static str) -> Self {
        Self { because: Some(text), nearest: None }
    }
}

/// An optional key. An empty environment variable unsets it.
impl<T: Value> Value for Option<T> {
    const SECRET: bool = T::SECRET;

    fn expected() -> String {
        T::expected()
    }

    fn read(node: &Node) -> Result<Self, Wrong> {
        match &node.kind {
            Kind::Untyped(text) if text.is_empty() => Ok(None),
            _ => T::read(node).map(Some),
        }
    }

    fn show(&self) -> String {
        self.as_ref().map(T::show).unwrap_or_default()
    }
}

impl Value for PathBuf {
    fn expected() -> String {
        "a path".to_owned()
    }

    fn read(node: &Node) -> Result<Self, Wrong> {
        match node.text() {
            Some(text) if !text.is_empty() && !text.contains('\0') => Ok(Self::from(text)),
            _ => Err(Wrong::default()),
        }
    }

    fn show(&self) -> String {
        self.display().to_string()
    }
}

impl Value for bool {
    fn expected() -> String {
        "true or false".to_owned()
    }

    fn read(node: &Node) -> Result<Self, Wrong> {
        match &node.kind {
            Kind::Untyped(text) | Kind::Other(text) => text.parse().map_err(|_| Wrong::default()),
            Kind::String(_) => Err(Wrong::because("without quotes")),
            Kind::Integer(_) | Kind::List(_) | Kind::Table(_) => Err(Wrong::default()),
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}
