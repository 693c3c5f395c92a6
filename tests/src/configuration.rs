use std::mem;

use toml::{Table, Value};

/// A configuration file in the making. Keys are paths such as `pool.size` or `database.0.name`; a number is a place
/// in a list, one past its end adds to it.
#[derive(Debug, Clone, Default)]
pub struct Configuration {
    root: Table,
}

impl Configuration {
    /// Reads a file's text.
    ///
    /// # Panics
    /// When it is no TOML.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self { root: text.parse().expect("a test's configuration is TOML") }
    }

    /// Gives a key a value, replacing what it had.
    ///
    /// # Panics
    /// When the path leads through a value, or past the end of a list.
    pub fn set(&mut self, path: &str, value: impl Into<Value>) {
        *self.place(path) = value.into();
    }

    /// What a key is set to.
    ///
    /// # Panics
    /// As [`Self::set`] does.
    #[must_use]
    pub fn value(&mut self, path: &str) -> Value {
        self.place(path).clone()
    }

    /// Removes a key and all below it.
    pub fn remove(&mut self, path: &str) {
        match path.rsplit_once('.') {
            None => drop(self.root.remove(path)),
            Some((parent, key)) => match self.place(parent) {
                Value::Table(table) => drop(table.remove(key)),
                Value::Array(list) => {
                    let at: usize = key.parse().expect("a list's places are numbers");
                    if at < list.len() {
                        list.remove(at);
                    }
                }
                _ => {}
            },
        }
    }

    /// The file's text.
    #[must_use]
    pub fn to_text(&self) -> String {
        self.root.to_string()
    }

    /// Where a path leads, made on the way.
    fn place(&mut self, path: &str) -> &mut Value {
        let mut keys = path.split('.');
        let first = keys.next().expect("a split gives at least one part");
        let mut place = self.root.entry(first).or_insert(Value::Boolean(false));
        for key in keys {
            let index = key.parse::<usize>();
            // What was just made does not know yet what it is.
            if mem::discriminant(place) == mem::discriminant(&Value::Boolean(false)) {
                *place = if index.is_ok() { Value::Array(Vec::new()) } else { Value::Table(Table::new()) };
            }
            place = match (place, index) {
                (Value::Table(table), _) => table.entry(key).or_insert(Value::Boolean(false)),
                (Value::Array(list), Ok(at)) => {
                    if at == list.len() {
                        list.push(Value::Boolean(false));
                    }
                    list.get_mut(at).unwrap_or_else(|| panic!("{path}: the list is too short"))
                }
                _ => panic!("{path} leads through a value"),
            };
        }
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_make_tables_and_lists_on_their_way() {
        let mut configuration = Configuration::parse("[pool]\nsize = 1\n");
        configuration.set("pool.size", 3);
        configuration.set("database.0.name", "a");
        configuration.set("database.0.pool.size", 2);
        configuration.set("database.1.name", "*");
        let text = configuration.to_text();
        let again = Configuration::parse(&text);
        assert_eq!(again.root["pool"]["size"].as_integer(), Some(3));
        assert_eq!(again.root["database"][0]["pool"]["size"].as_integer(), Some(2));
        assert_eq!(again.root["database"][1]["name"].as_str(), Some("*"));
        configuration.remove("database.0");
        assert_eq!(configuration.root["database"][0]["name"].as_str(), Some("*"));
    }
}
