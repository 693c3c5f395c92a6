//! Changes to the text of a configuration file that leave everything else as it is, comments and order too.

use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, TableLike, Value, value};

/// The name of a cluster that has none in the file.
const DEFAULT_CLUSTER: &str = "main";
/// The port of an address that has none in the file.
const DEFAULT_PORT: u16 = 5432;

/// A node that is to be written down.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewNode {
    /// Its name.
    pub name: String,
    /// Host and port, as `address` has it.
    pub address: String,
    /// Keys beside these two, with their values.
    pub more: Vec<(&'static str, NewValue)>,
}

/// A value that is to be written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewValue {
    /// A string.
    Text(String),
    /// A whole number.
    Number(u32),
}

/// Why the text cannot be changed.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// It is no TOML.
    #[error("the file cannot be read: {0}")]
    Malformed(#[from] toml_edit::TomlError),
    /// There is no list of nodes of that cluster: it is written elsewhere.
    #[error("the nodes of cluster \"{0}\" are not written in the file")]
    NoNodes(String),
    /// No entry has that address.
    #[error("{0} is not written in the file")]
    NoNode(String),
}

/// Adds a node behind the others of a cluster.
///
/// # Errors
/// [`EditError`].
pub fn add_node(text: &str, cluster: &str, node: &NewNode) -> Result<String, EditError> {
    let mut document: DocumentMut = text.parse()?;
    match nodes_of(&mut document, cluster)? {
        Nodes::Tables(tables) => tables.push(fill(Table::new(), node)),
        Nodes::List(list) => append(list, fill(InlineTable::new(), node)),
    }
    Ok(document.to_string())
}

/// Removes the node at this host and port.
///
/// # Errors
/// [`EditError`].
pub fn drop_node(text: &str, cluster: &str, host: &str, port: u16) -> Result<String, EditError> {
    let mut document: DocumentMut = text.parse()?;
    let is_it = |entry: &dyn TableLike| {
        let address = entry.get("address").and_then(Item::as_str).unwrap_or_default();
        is_address(address, host, port)
    };
    let absent = || EditError::NoNode(format!("{host}:{port}"));
    match nodes_of(&mut document, cluster)? {
        Nodes::Tables(tables) => {
            let at = tables.iter().position(|table| is_it(table)).ok_or_else(absent)?;
            tables.remove(at);
        }
        Nodes::List(list) => {
            let at = list.iter().position(|entry| entry.as_inline_table().is_some_and(|table| is_it(table)));
            remove(list, at.ok_or_else(absent)?);
        }
    }
    Ok(document.to_string())
}

/// Where a cluster's nodes are written.
enum Nodes<'a> {
    /// `[[cluster.nodes]]`
    Tables(&'a mut ArrayOfTables),
    /// `nodes = [{ … }, …]`
    List(&'a mut Array),
}

fn nodes_of<'a>(document: &'a mut DocumentMut, cluster: &str) -> Result<Nodes<'a>, EditError> {
    let absent = || EditError::NoNodes(cluster.to_owned());
    let clusters = document.get_mut("cluster").and_then(Item::as_array_of_tables_mut).ok_or_else(absent)?;
    let name = |table: &Table| table.get("name").and_then(Item::as_str).unwrap_or(DEFAULT_CLUSTER) == cluster;
    let table = clusters.iter_mut().find(|table| name(table)).ok_or_else(absent)?;
    match table.get_mut("nodes").ok_or_else(absent)? {
        Item::ArrayOfTables(tables) => Ok(Nodes::Tables(tables)),
        Item::Value(Value::Array(list)) => Ok(Nodes::List(list)),
        Item::None | Item::Value(_) | Item::Table(_) => Err(absent()),
    }
}

fn is_address(written: &str, host: &str, port: u16) -> bool {
    let with_port = |host: &str, port: u16| match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    };
    let bare = |host: &str| if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    written == with_port(host, port) || port == DEFAULT_PORT && (written == bare(host) || written == host)
}

fn fill<T: TableLike>(mut table: T, node: &NewNode) -> T {
    table.insert("address", value(node.address.as_str()));
    table.insert("name", value(node.name.as_str()));
    for (key, new) in &node.more {
        let item = match new {
            NewValue::Text(text) => value(text.as_str()),
            NewValue::Number(number) => value(i64::from(*number)),
        };
        table.insert(key, item);
    }
    table
}

/// Puts an entry behind the last one, on a line of its own if that one has one.
fn append(list: &mut Array, entry: InlineTable) {
    let mut entry = Value::InlineTable(entry);
    entry.decor_mut().clear();
    let last = list.len().checked_sub(1).and_then(|at| list.get_mut(at));
    let Some(last) = last else {
        list.push_formatted(entry);
        return;
    };
    let prefix = raw(last.decor().prefix());
    let indent = prefix.rsplit_once('\n').map(|(_, indent)| indent.to_owned());
    // what stands behind the last entry, on its line, is about that one
    let behind = match list.trailing_comma() {
        true => list.trailing().as_str().unwrap_or_default().to_owned(),
        false => raw(list.get(list.len() - 1).and_then(|last| last.decor().suffix())),
    };
    let comment = behind.split_once('\n').map(|(comment, _)| comment.trim_end()).unwrap_or_default();
    let (prefix, end) = match &indent {
        Some(indent) => (format!("{comment}\n{indent}"), "\n"),
        None if comment.is_empty() => (" ".to_owned(), ""),
        None => (format!("{comment}\n"), "\n"),
    };
    if let Some(last) = list.len().checked_sub(1).and_then(|at| list.get_mut(at)) {
        last.decor_mut().set_suffix("");
    }
    entry.decor_mut().set_prefix(prefix);
    list.push_formatted(entry);
    list.set_trailing(end);
    list.set_trailing_comma(indent.is_some());
}

/// Takes an entry out, with the comment on its line and without that of the line before.
fn remove(list: &mut Array, at: usize) {
    let removed = list.remove(at);
    let before = raw(removed.decor().prefix());
    let line_before = before.split_once('\n').map(|(comment, _)| comment.to_owned());
    let rest = |text: &str| match (&line_before, text.split_once('\n')) {
        (Some(comment), Some((_, rest))) => format!("{comment}\n{rest}"),
        (None, Some((_, rest))) if at > 0 => format!("\n{rest}"),
        (_, _) => text.to_owned(),
    };
    if let Some(next) = list.get_mut(at) {
        let prefix = raw(next.decor().prefix());
        let prefix = if at == 0 && line_before.is_none() { before } else { rest(&prefix) };
        next.decor_mut().set_prefix(prefix);
    } else {
        let trailing = rest(list.trailing().as_str().unwrap_or_default());
        list.set_trailing(trailing);
    }
}

fn raw(text: Option<&toml_edit::RawString>) -> String {
    text.and_then(|text| text.as_str()).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> NewNode {
        let more = vec![("region", NewValue::Text("us".to_owned())), ("priority", NewValue::Number(0))];
        NewNode { name: "new".to_owned(), address: "10.0.0.9:5432".to_owned(), more }
    }

    const ENTRY: &str = r#"{ address = "10.0.0.9:5432", name = "new", region = "us", priority = 0 }"#;

    /// That adding the node to `before` gives `after`, in which `NEW` stands for it, and dropping it gives `before` again.
    #[track_caller]
    fn check(before: &str, after: &str) {
        let added = add_node(before, "main", &node()).unwrap();
        assert_eq!(added, after.replace("NEW", ENTRY));
        assert_eq!(drop_node(&added, "main", "10.0.0.9", 5432).unwrap(), before);
    }

    #[test]
    fn a_node_is_added_where_the_others_are_and_comments_stay_with_theirs() {
        check(
            "# top\n[[cluster]]\nnodes = [{ address = \"a\" }] # all\n[pool]\nsize = 5\n",
            "# top\n[[cluster]]\nnodes = [{ address = \"a\" }, NEW] # all\n[pool]\nsize = 5\n",
        );
        check(
            "[[cluster]]\nnodes = [\n    { address = \"a\" }, # first\n    # the other\n    { address = \"b\" }, # second\n]\n",
            "[[cluster]]\nnodes = [\n    { address = \"a\" }, # first\n    # the other\n    { address = \"b\" }, # second\n    NEW,\n]\n",
        );
        check(
            "[[cluster]]\nname = \"other\"\nnodes = []\n[[cluster]]\nname = \"main\"\nnodes = [\n  { address = \"a\" },\n]\n",
            "[[cluster]]\nname = \"other\"\nnodes = []\n[[cluster]]\nname = \"main\"\nnodes = [\n  { address = \"a\" },\n  NEW,\n]\n",
        );
        let tables = "[[cluster]]\n# one\n[[cluster.nodes]]\naddress = \"a\"\n\n[pool]\nsize = 5\n";
        let added = add_node(tables, "main", &node()).unwrap();
        assert!(added.contains("address = \"a\"\n") && added.ends_with("[pool]\nsize = 5\n"), "{added}");
        assert!(
            added.contains("[[cluster.nodes]]\naddress = \"10.0.0.9:5432\"\nname = \"new\"\n"),
            "{added}"
        );
        assert_eq!(drop_node(&added, "main", "10.0.0.9", 5432).unwrap(), tables);
    }

    #[test]
    fn a_node_is_found_by_its_address_however_it_is_written() {
        let text = "[[cluster]]\nnodes = [{ address = \"a\" }, { address = \"[::1]\" }, { address = \"[::2]:1\" }]\n";
        let without = |host, port| drop_node(text, "main", host, port).unwrap().contains(host);
        assert!(!without("::1", 5432) && !without("::2", 1));
        assert_eq!(
            drop_node(text, "main", "a", 5432).unwrap(),
            "[[cluster]]\nnodes = [{ address = \"[::1]\" }, { address = \"[::2]:1\" }]\n"
        );
        assert!(matches!(drop_node(text, "main", "a", 1), Err(EditError::NoNode(_))));
        assert!(matches!(drop_node(text, "other", "a", 1), Err(EditError::NoNodes(_))));
        assert!(matches!(add_node("x = ", "main", &node()), Err(EditError::Malformed(_))));
    }

    #[test]
    fn the_comment_of_a_line_goes_with_its_node() {
        let text = "[[cluster]]\nnodes = [\n  { address = \"a\" }, # first\n  { address = \"b\" }, # second\n  { address = \"c\" }, # third\n]\n";
        for (address, comment) in [("a", "first"), ("b", "second"), ("c", "third")] {
            let expected = text.replace(&format!("\n  {{ address = \"{address}\" }}, # {comment}"), "");
            assert_eq!(drop_node(text, "main", address, 5432).unwrap(), expected);
        }
    }
}
