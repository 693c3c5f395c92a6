//! The values of a configuration, each with the place it was written at.

use std::{ops::Range, sync::Arc};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::mistake::{Mistake, Origin};

/// A value and its place.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) origin: Origin,
    pub(crate) kind: Kind,
}

/// What a value is before anybody asked what it should be.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// Text without a type, from the environment, a URL or a default: becomes what the key wants.
    Untyped(String),
    String(String),
    Integer(i64),
    /// Anything TOML has and no key wants (floats, booleans, dates, integers over 64 bits), as it was written.
    Other(String),
    List(Vec<Node>),
    Table(Table),
}

/// A table: its keys in no particular order, each once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table(Vec<Entry>);

/// A key of a table.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) name: String,
    /// The key's own place; the value's is in the node.
    pub(crate) origin: Origin,
    pub(crate) node: Node,
}

impl Table {
    pub(crate) fn get(&self, name: &str) -> Option<&Node> {
        self.0.iter().find(|entry| entry.name == name).map(|entry| &entry.node)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.0.iter()
    }

    /// The value at `name`, which is made from `fresh` if there is none.
    pub(crate) fn entry(&mut self, name: &str, fresh: impl FnOnce() -> Node) -> &mut Node {
        let index = self.0.iter().position(|entry| entry.name == name).unwrap_or_else(|| {
            let node = fresh();
            self.0.push(Entry { name: name.to_owned(), origin: node.origin.clone(), node });
            self.0.len() - 1
        });
        &mut self.0[index].node
    }

    /// Puts a value, replacing the one that is there. The key's place becomes the value's.
    pub(crate) fn put(&mut self, name: &str, node: Node) {
        self.0.retain(|entry| entry.name != name);
        self.0.push(Entry { name: name.to_owned(), origin: node.origin.clone(), node });
    }
}

impl Node {
    pub(crate) fn untyped(origin: Origin, text: impl Into<String>) -> Self {
        Self { origin, kind: Kind::Untyped(text.into()) }
    }

    pub(crate) fn table(origin: Origin, table: Table) -> Self {
        Self { origin, kind: Kind::Table(table) }
    }

    /// The text of a string, or untyped text.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Untyped(text) | Kind::String(text) => Some(text),
            Kind::Integer(_) | Kind::Other(_) | Kind::List(_) | Kind::Table(_) => None,
        }
    }

    /// The value for people, in TOML's spelling, shortened.
    pub(crate) fn shown(&self) -> String {
        const SHOWN_MAX: usize = 60;
        match &self.kind {
            Kind::Untyped(text) | Kind::String(text) => {
                let short: String = text.chars().take(SHOWN_MAX).collect();
                let more = if short.len() < text.len() { "…" } else { "" };
                format!("{:?}", short + more)
            }
            Kind::Integer(value) => value.to_string(),
            Kind::Other(text) => text.chars().take(SHOWN_MAX).collect(),
            Kind::List(_) => "[…]".to_owned(),
            Kind::Table(_) => "{…}".to_owned(),
        }
    }
}

/// Parses TOML; `file` is its name for people.
///
/// # Errors
/// All mistakes of syntax, with their places. They never quote the text, which may be a secret.
pub(crate) fn parse(file: &Arc<str>, text: &str) -> Result<Table, Vec<Mistake>> {
    let lines = Lines::new(file, text);
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let at = |error: &toml::de::Error| {
            error.span().map_or(Origin::Whole(file.clone()), |span| lines.origin(&span))
        };
        let mistake = |error: &toml::de::Error| Mistake {
            origin: at(error),
            key: String::new(),
            problem: format!("not TOML: {}", error.message().replace('\n', ", ")),
            suggestion: None,
        };
        return Err(errors.iter().map(mistake).collect());
    }
    Ok(convert_table(document.get_ref(), &|span| lines.origin(span)))
}

/// Parses one TOML value, all of which was written at `origin`; `None` if it is none.
pub(crate) fn parse_value(origin: &Origin, text: &str) -> Option<Node> {
    let value = DeValue::parse(text).ok()?;
    Some(convert(&value, &|_| origin.clone()))
}

fn convert(value: &Spanned<DeValue<'_>>, place: &dyn Fn(&Range<usize>) -> Origin) -> Node {
    let kind = match value.get_ref() {
        DeValue::String(text) => Kind::String(text.to_string()),
        DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
            .map_or_else(|_| Kind::Other(integer.to_string()), Kind::Integer),
        DeValue::Float(float) => Kind::Other(float.to_string()),
        DeValue::Boolean(truth) => Kind::Other(truth.to_string()),
        DeValue::Datetime(time) => Kind::Other(time.to_string()),
        DeValue::Array(list) => Kind::List(list.iter().map(|item| convert(item, place)).collect()),
        DeValue::Table(table) => Kind::Table(convert_table(table, place)),
    };
    Node { origin: place(&value.span()), kind }
}

fn convert_table(table: &DeTable<'_>, place: &dyn Fn(&Range<usize>) -> Origin) -> Table {
    let entry = |(name, value): (&Spanned<std::borrow::Cow<'_, str>>, &Spanned<DeValue<'_>>)| Entry {
        name: name.get_ref().to_string(),
        origin: place(&name.span()),
        node: convert(value, place),
    };
    Table(table.iter().map(entry).collect())
}

/// Byte offsets to lines and columns.
pub(crate) struct Lines<'a> {
    file: Arc<str>,
    text: &'a str,
    /// Where each line begins.
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(file: &Arc<str>, text: &'a str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { file: file.clone(), text, starts: std::iter::once(0).chain(breaks).collect() }
    }

    fn origin(&self, span: &Range<usize>) -> Origin {
        let line = self.starts.partition_point(|start| *start <= span.start).max(1);
        let before = self.text.get(self.starts[line - 1]..span.start).unwrap_or_default();
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Origin::File { file: self.file.clone(), line: count(line), column: count(before.chars().count() + 1) }
    }
}
