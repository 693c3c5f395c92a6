//! Sections and their keys: one table that is read by, documented by and shown from.

use std::{collections::BTreeMap, path::Path};

use crate::{
    change::Row,
    mistake::{Mistake, Origin},
    nearest::nearest,
    tree::{Kind, Node, Table},
    value::Value,
};

/// What a key is when nobody wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Preset {
    /// This, as untyped text.
    Text(&'static str),
    /// Nothing; the key's type is an `Option`. A sample in TOML, for the reference.
    Unset(&'static str),
    /// It must be written. A sample in TOML, for the reference.
    Required(&'static str),
}

/// When a changed value takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// With RELOAD or SIGHUP.
    Reload,
    /// With the next start.
    Restart,
}

/// A key, as the reference describes it.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    /// Its doc comment, a line each.
    pub(crate) docs: &'static [&'static str],
    pub(crate) preset: Preset,
    pub(crate) effect: Effect,
}

/// A section and its keys.
#[derive(Debug)]
pub(crate) struct Section {
    /// Its dotted name without list positions: `cluster.monitor`.
    pub(crate) path: &'static str,
    /// `[section]`, or `[[section]]`.
    pub(crate) repeated: bool,
    /// Its doc comment, a line each.
    pub(crate) docs: &'static [&'static str],
    pub(crate) keys: &'static [Key],
}

impl Section {
    /// The section's heading in a file.
    pub(crate) fn heading(&self) -> String {
        if self.repeated { format!("[[{}]]", self.path) } else { format!("[{}]", self.path) }
    }

    fn knows(&self, key: &str) -> bool {
        self.keys.iter().any(|known| known.name == key)
    }
}

/// A value that was read, and where it stood.
#[derive(Debug, Clone)]
pub(crate) struct Field<T> {
    pub(crate) value: T,
    /// The value's place; that of its section if it is the default.
    pub(crate) origin: Origin,
    /// Whether somebody wrote it.
    pub(crate) written: bool,
    /// The dotted key, with list positions.
    pub(crate) key: String,
}

impl<T> Field<T> {
    /// A mistake about this value.
    pub(crate) fn mistake(&self, problem: impl std::fmt::Display) -> Mistake {
        Mistake {
            origin: self.origin.clone(),
            key: self.key.clone(),
            problem: format!("{}: {problem}", self.key),
            suggestion: None,
        }
    }
}

/// Declares a section: its struct of [`Field`]s, its entry in the key table and its reader, all from one list of
/// `key: type = preset, effect;` with doc comments.
macro_rules! section {
    ($(#[doc = $about:literal])* $name:ident, $path:literal, repeated: $repeated:literal {
        $($(#[doc = $doc:literal])* $key:ident : $type:ty = $preset:expr, $effect:ident;)*
    }) => {
        $(#[doc = $about])*
        #[derive(Debug)]
        pub(crate) struct $name {
            $($(#[doc = $doc])* pub(crate) $key: $crate::section::Field<$type>,)*
        }

        impl $name {
            pub(crate) const SECTION: $crate::section::Section = $crate::section::Section {
                path: $path,
                repeated: $repeated,
                docs: &[$($about),*],
                keys: &[$($crate::section::Key {
                    name: stringify!($key),
                    docs: &[$($doc),*],
                    preset: $preset,
                    effect: $crate::section::Effect::$effect,
                }),*],
            };

            /// Reads all keys, so that all mistakes are found; `None` if a required one is missing.
            pub(crate) fn read(reader: &mut $crate::section::Reader<'_, '_>) -> Option<Self> {
                reader.refuse_unknown(&Self::SECTION);
                $(let $key = reader.field::<$type>(
                    stringify!($key), $preset, $crate::section::Effect::$effect,
                );)*
                Some(Self { $($key: $key?,)* })
            }
        }
    };
}
pub(crate) use section;

/// What reading needs besides the tree, and what it gathers.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    /// Every section that the file may have.
    pub(crate) sections: &'static [Section],
    /// The folder that relative paths are relative to.
    pub(crate) base: &'a Path,
    /// The configuration as a whole, for what is missing in it.
    pub(crate) source: Origin,
    pub(crate) environment: &'a BTreeMap<String, String>,
    pub(crate) mistakes: Vec<Mistake>,
    /// Things that are allowed and probably not meant.
    pub(crate) warnings: Vec<Mistake>,
    pub(crate) rows: Vec<Row>,
}

/// Reads one section.
#[derive(Debug)]
pub(crate) struct Reader<'a, 'c> {
    pub(crate) context: &'a mut Context<'c>,
    /// Dotted, with list positions: `cluster.0.monitor`.
    pub(crate) path: String,
    pub(crate) table: &'a Table,
    /// Where the section was written, for what is missing in it.
    pub(crate) origin: Origin,
    /// Values to take when the section itself has none; the first that has one wins.
    pub(crate) inherited: Vec<&'a Table>,
    /// Which of its keys become rows.
    pub(crate) shown: Shown,
}

/// Which keys of a section SHOW CONFIG shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// All.
    All,
    /// Those that somebody wrote in the section itself: the others say nothing.
    Written,
    /// None: they are shown where they were written.
    Nothing,
}

/// No section at all.
pub(crate) static EMPTY: std::sync::LazyLock<Table> = std::sync::LazyLock::new(Table::default);

impl<'a, 'c> Reader<'a, 'c> {
    /// The whole document.
    pub(crate) fn root(context: &'a mut Context<'c>, table: &'a Table) -> Self {
        let origin = context.source.clone();
        Self { context, path: String::new(), table, origin, inherited: Vec::new(), shown: Shown::All }
    }

    fn key(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// One value. A wrong one is reported, and the preset read in its place if there is one.
    pub(crate) fn field<T: Value>(
        &mut self,
        name: &'static str,
        preset: Preset,
        effect: Effect,
    ) -> Option<Field<T>> {
        let key = self.key(name);
        let preset_node = match preset {
            Preset::Text(text) => Node::untyped(Origin::Default, text),
            Preset::Unset(_) | Preset::Required(_) => Node::untyped(Origin::Default, ""),
        };
        let default = T::read(&preset_node).ok();
        let required = matches!(preset, Preset::Required(_));
        let own = self.table.get(name);
        let read = match own.or_else(|| self.inherited.iter().find_map(|table| table.get(name))) {
            Some(node) => match T::read(node) {
                Ok(value) => Some((value, node.origin.clone())),
                Err(wrong) => {
                    if own.is_some() {
                        let shown = if T::SECRET { String::new() } else { format!(" = {}", node.shown()) };
                        let because = wrong.because.map(|text| format!(" ({text})")).unwrap_or_default();
                        self.context.mistakes.push(Mistake {
                            origin: node.origin.clone(),
                            problem: format!("{key}{shown}: expected {}{because}", T::expected()),
                            key: key.clone(),
                            suggestion: wrong.nearest,
                        });
                    }
                    None
                }
            },
            None if required => {
                self.lacks(name, &T::expected());
                None
            }
            None => None,
        };
        let default_text = default.as_ref().filter(|_| !required).map(T::show).unwrap_or_default();
        let (value, origin, written) = match read {
            Some((value, origin)) => (value, origin, true),
            None if required => return None,
            None => (default?, self.origin.clone(), false),
        };
        let is_shown = match self.shown {
            Shown::All => true,
            Shown::Written => own.is_some(),
            Shown::Nothing => false,
        };
        if is_shown {
            self.context.rows.push(Row {
                key: key.clone(),
                value: value.show(),
                default: default_text,
                changeable: effect == Effect::Reload,
            });
        }
        Some(Field { value, origin, written, key })
    }

    /// Reports keys and subsections that the section does not have.
    pub(crate) fn refuse_unknown(&mut self, section: &Section) {
        let sections = self.context.sections;
        let children: Vec<&str> = children(sections, section.path).collect();
        for entry in self.table.iter() {
            if section.knows(&entry.name) || children.contains(&entry.name.as_str()) {
                continue;
            }
            let known = section.keys.iter().map(|key| key.name).chain(children.iter().copied());
            let place = self.heading(section);
            let mut problem = format!("unknown key {:?} in {place}", entry.name);
            let suggestion = nearest(&entry.name, known).map(str::to_owned);
            if let Some(home) = sections.iter().find(|other| other.knows(&entry.name))
                && suggestion.is_none()
            {
                problem = format!("{problem}; it belongs in {}", home.heading());
            }
            self.context.mistakes.push(Mistake {
                origin: entry.origin.clone(),
                key: self.key(&entry.name),
                problem,
                suggestion,
            });
        }
    }

    /// The section's heading; its keys may be read under another name, as those of `[pool]` for a database.
    fn heading(&self, section: &Section) -> String {
        let names: Vec<&str> = self.path.split('.').filter(|name| name.parse::<usize>().is_err()).collect();
        match names.join(".") {
            path if path.is_empty() => "the file".to_owned(),
            path if section.repeated => format!("[[{path}]]"),
            path => format!("[{path}]"),
        }
    }

    /// A reader of the subsection `name`, which is empty if it was not written.
    pub(crate) fn child(&mut self, name: &str) -> Reader<'_, 'c> {
        let path = self.key(name);
        let (table, origin) = match self.table.get(name) {
            Some(Node { kind: Kind::Table(table), origin }) => (table, origin.clone()),
            Some(node) => {
                let problem = format!("{path} = {}: expected a table", node.shown());
                self.report(node, &path, problem);
                (&*EMPTY, node.origin.clone())
            }
            None => (&*EMPTY, self.origin.clone()),
        };
        Reader { context: self.context, path, table, origin, inherited: Vec::new(), shown: Shown::All }
    }

    /// Reads every table of the list `name` that `read` can.
    pub(crate) fn children<T>(
        &mut self,
        name: &str,
        mut read: impl FnMut(&mut Reader<'_, 'c>) -> Option<T>,
    ) -> Vec<T> {
        let path = self.key(name);
        let items: &[Node] = match self.table.get(name) {
            Some(Node { kind: Kind::List(items), .. }) => items,
            Some(node) => {
                let problem = format!("{path} = {}: expected a list of tables", node.shown());
                self.report(node, &path, problem);
                &[]
            }
            None => &[],
        };
        let mut all = Vec::new();
        for (position, node) in items.iter().enumerate() {
            let path = format!("{path}.{position}");
            let Kind::Table(table) = &node.kind else {
                let problem = format!("{path} = {}: expected a table", node.shown());
                self.report(node, &path, problem);
                continue;
            };
            let origin = node.origin.clone();
            let (inherited, shown) = (Vec::new(), Shown::All);
            all.extend(read(&mut Reader { context: self.context, path, table, origin, inherited, shown }));
        }
        all
    }

    /// Reports a required key that was not written.
    pub(crate) fn lacks(&mut self, name: &str, expected: &str) {
        self.context.mistakes.push(Mistake {
            origin: self.origin.clone(),
            key: self.key(name),
            problem: format!("{} lacks {name:?}: expected {expected}", self.path),
            suggestion: None,
        });
    }

    fn report(&mut self, node: &Node, key: &str, problem: String) {
        let origin = node.origin.clone();
        self.context.mistakes.push(Mistake { origin, key: key.to_owned(), problem, suggestion: None });
    }
}

/// The names of the sections directly inside the one at `path` (`""`: of the document).
pub(crate) fn children(
    sections: &'static [Section],
    path: &str,
) -> impl Iterator<Item = &'static str> + use<> {
    let prefix = if path.is_empty() { String::new() } else { format!("{path}.") };
    sections
        .iter()
        .filter_map(move |section| section.path.strip_prefix(prefix.as_str()))
        .filter(|name| !name.is_empty() && !name.contains('.'))
}
