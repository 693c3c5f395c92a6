//! `PGHERD__SECTION__KEY=value` over the file.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    mistake::{Mistake, Origin},
    tree::{self, Kind, Node, Table},
};

/// What our variables begin with.
const PREFIX: &str = "PGHERD__";

/// Lays every `PGHERD__…` variable over `root`: `PGHERD__POOL__SIZE=50`, `PGHERD__LISTEN__0__ADDRESS=…`. A position
/// one past the end of a list adds to it. A value that is a TOML list or inline table becomes one; other text becomes
/// what its key wants.
pub(crate) fn overlay(root: &mut Table, environment: &BTreeMap<String, String>) -> Vec<Mistake> {
    let mut variables: Vec<(Vec<Segment>, &str, &str)> = environment
        .iter()
        .filter_map(|(name, value)| {
            Some((segments(name.strip_prefix(PREFIX)?), name.as_str(), value.as_str()))
        })
        .collect();
    variables.sort(); // by position, so that 2 is added to a list before 10
    let mut mistakes = Vec::new();
    for (path, name, value) in variables {
        let origin = Origin::Environment(Arc::from(name));
        if let Err(problem) = put(root, &path, value_node(&origin, value)) {
            let key = path.iter().map(Segment::to_text).collect::<Vec<_>>().join(".");
            mistakes.push(Mistake { origin, key, problem, suggestion: None });
        }
    }
    mistakes
}

/// Puts the value of one key, whose name is dotted.
pub(crate) fn put_one(root: &mut Table, key: &str, value: &str) -> Result<(), Mistake> {
    let path = segments(&key.replace('.', "__"));
    put(root, &path, value_node(&Origin::Console, value)).map_err(|problem| Mistake {
        origin: Origin::Console,
        key: key.to_owned(),
        problem,
        suggestion: None,
    })
}

/// A step on the way to a value. Ordered so that list positions count, not their digits.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    Position(usize),
    Key(String),
}

impl Segment {
    fn to_text(&self) -> String {
        match self {
            Self::Position(position) => position.to_string(),
            Self::Key(key) => key.clone(),
        }
    }
}

fn segments(path: &str) -> Vec<Segment> {
    let segment =
        |part: &str| part.parse().map_or_else(|_| Segment::Key(part.to_ascii_lowercase()), Segment::Position);
    path.split("__").map(segment).collect()
}

fn value_node(origin: &Origin, value: &str) -> Node {
    let structured = value.starts_with(['[', '{']).then(|| tree::parse_value(origin, value)).flatten();
    structured.unwrap_or_else(|| Node::untyped(origin.clone(), value))
}

fn put(root: &mut Table, path: &[Segment], value: Node) -> Result<(), String> {
    let origin = value.origin.clone();
    let Some((Segment::Key(first), rest)) = path.split_first() else {
        return Err("a section's name must follow PGHERD__".to_owned());
    };
    if path.iter().any(|segment| matches!(segment, Segment::Key(key) if key.is_empty())) {
        return Err("a name between two __ is empty".to_owned());
    }
    if rest.is_empty() {
        root.put(first, value);
        return Ok(());
    }
    let mut node = root.entry(first, || Node::table(origin.clone(), Table::default()));
    for segment in rest {
        node = match segment {
            Segment::Key(key) => table_of(node, &origin).entry(key, || Node::untyped(origin.clone(), "")),
            Segment::Position(position) => list_item(node, *position, &origin)?,
        };
    }
    *node = value;
    Ok(())
}

/// `node` as a table; whatever else it was is replaced, since the environment wins.
fn table_of<'a>(node: &'a mut Node, origin: &Origin) -> &'a mut Table {
    if !matches!(node.kind, Kind::Table(_)) {
        *node = Node::table(origin.clone(), Table::default());
    }
    let Kind::Table(table) = &mut node.kind else { unreachable!("made a table above") };
    table
}

fn list_item<'a>(node: &'a mut Node, position: usize, origin: &Origin) -> Result<&'a mut Node, String> {
    if !matches!(node.kind, Kind::List(_)) {
        *node = Node { origin: origin.clone(), kind: Kind::List(Vec::new()) };
    }
    let Kind::List(items) = &mut node.kind else { unreachable!("made a list above") };
    if position == items.len() {
        items.push(Node::untyped(origin.clone(), ""));
    }
    let count = items.len();
    items.get_mut(position).ok_or_else(|| format!("position {position} of a list that has {count}"))
}
