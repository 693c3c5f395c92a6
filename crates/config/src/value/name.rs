use super::{Value, Wrong};
use crate::tree::{Kind, Node};

/// The most bytes of a PostgreSQL name (`NAMEDATALEN` less the terminator).
const NAME_MAX: usize = 63;

/// A role or database name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name(pub(crate) String);

impl Value for Name {
    fn expected() -> String {
        format!("a name of 1 to {NAME_MAX} bytes")
    }

    fn read(node: &Node) -> Result<Self, Wrong> {
        let text = node.text().ok_or_else(Wrong::default)?;
        let valid = !text.is_empty() && text.len() <= NAME_MAX && !text.chars().any(char::is_control);
        if valid { Ok(Self(text.to_owned())) } else { Err(Wrong::default()) }
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

/// A name of ours: of a cluster, region, zone. Fit for file names, hints and metric labels as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Label(pub(crate) String);

impl Value for Label {
    fn expected() -> String {
        format!("a name of 1 to {NAME_MAX} letters, digits, - _ or .")
    }

    fn read(node: &Node) -> Result<Self, Wrong> {
        let text = node.text().ok_or_else(Wrong::default)?;
        let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let fits = (1..=NAME_MAX).contains(&text.len()) && !text.starts_with('.') && text.chars().all(valid);
        if fits { Ok(Self(text.to_owned())) } else { Err(Wrong::default()) }
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

/// Text that is not empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text(pub(crate) String);

impl Value for Text {
    fn expected() -> String {
        "text".to_owned()
    }

    fn read(node: &Node) -> Result<Self, Wrong> {
        match node.text() {
            Some(text) if !text.is_empty() && !text.contains('\0') => Ok(Self(text.to_owned())),
            _ => Err(Wrong::default()),
        }
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

/// The name of a file or folder, without the way to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileName(pub(crate) String);

impl Value for FileName {
    fn expected() -> String {
        "a file name without slashes".to_owned()
    }

    fn read(node: &Node) -> Result<Self, Wrong> {
        let text = node.text().ok_or_else(Wrong::default)?;
        let is_name = !["", ".", ".."].contains(&text) && !text.contains(['/', '\0']);
        if is_name { Ok(Self(text.to_owned())) } else { Err(Wrong::default()) }
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

/// The name of an SQL function, as PostgreSQL stores it: `now`, `audit.log`. Parentheses after it are forgiven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FunctionName(pub(crate) String);

impl Value for FunctionName {
    fn expected() -> String {
        "function names such as \"now\" or \"audit.log\"".to_owned()
    }

    fn read(node: &Node) -> Result<Self, Wrong> {
        let text = node.text().ok_or_else(Wrong::default)?;
        let text = text.strip_suffix("()").unwrap_or(text);
        let valid = |part: &str| {
            (1..=NAME_MAX).contains(&part.len())
                && part.chars().all(|c| !c.is_control() && !c.is_whitespace() && !"()\"',;".contains(c))
        };
        let fits = text.split('.').count() <= 2 && text.split('.').all(valid);
        if fits { Ok(Self(text.to_owned())) } else { Err(Wrong::default()) }
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

/// A list; in the environment, its items between commas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct List<T>(pub(crate) Vec<T>);

impl<T: Value> Value for List<T> {
    fn expected() -> String {
        format!("a list, each item {}", T::expected())
    }

    fn read(node: &Node) -> Result<Self, Wrong> {
        let items = match &node.kind {
            Kind::List(items) => items.iter().map(T::read).collect(),
            Kind::Untyped(text) => text
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .map(|item| T::read(&Node::untyped(node.origin.clone(), item)))
                .collect(),
            Kind::String(_) | Kind::Integer(_) | Kind::Other(_) | Kind::Table(_) => Err(Wrong::default()),
        };
        items.map(Self)
    }

    fn show(&self) -> String {
        self.0.iter().map(T::show).collect::<Vec<_>>().join(", ")
    }
}
