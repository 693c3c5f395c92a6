//! The prepared statements that a worker knows, for the console.

use std::{collections::HashMap, rc::Rc};

use pool::StatementId;

use super::Worker;

/// A prepared statement that clients share.
#[derive(Debug, Clone)]
pub struct StatementReport {
    /// The database as clients call it.
    pub database: Box<str>,
    /// The role.
    pub user: Box<str>,
    /// What servers call it.
    pub server_name: String,
    /// What it has in common with texts that differ in literals alone.
    pub shape: u64,
    /// The beginning of its text.
    pub text: String,
    /// The settings that it is prepared under, in order.
    pub settings: String,
    /// Declared parameter types.
    pub parameters: u16,
    /// Names that clients have for it.
    pub names: u32,
    /// Idle server connections that have it.
    pub servers: u32,
}

/// Statements told of at once for each worker; there may be more.
const STATEMENTS_MAX: usize = 10_000;

/// Bytes of a text that are told.
const TEXT_MAX: usize = 200;

impl Worker {
    pub(super) fn statements(&self) -> Vec<StatementReport> {
        let mut reports = Vec::new();
        for set in self.sets.borrow().values() {
            let mut servers = HashMap::<StatementId, u32>::new();
            set.for_each_pool(|_, pool| {
                pool.for_each_idle(|server| {
                    server.prepared.ids().for_each(|id| *servers.entry(id).or_default() += 1);
                });
            });
            set.for_each_statement(|statement| {
                if reports.len() >= STATEMENTS_MAX {
                    return;
                }
                let count = statement.parameter_types().first_chunk().map_or(0, |n| u16::from_be_bytes(*n));
                let settings: Vec<_> =
                    statement.state().iter().map(|(name, _)| String::from_utf8_lossy(name)).collect();
                reports.push(StatementReport {
                    database: set.database.clone(),
                    user: set.user.clone(),
                    server_name: String::from_utf8_lossy(statement.server_name()).into_owned(),
                    shape: sql::shape(statement.text()),
                    text: beginning(statement.text()),
                    settings: settings.join(", "),
                    parameters: count,
                    // all but the one that knows it for whoever comes
                    names: u32::try_from(Rc::strong_count(statement).saturating_sub(1)).unwrap_or(u32::MAX),
                    servers: servers.get(&statement.id()).copied().unwrap_or_default(),
                });
            });
        }
        reports
    }
}

/// The start of a text, in one line.
fn beginning(text: &[u8]) -> String {
    let shown = String::from_utf8_lossy(text.get(..TEXT_MAX).unwrap_or(text)).replace(char::is_control, " ");
    if text.len() > TEXT_MAX {
        format!("{}…", shown.trim_end_matches(char::REPLACEMENT_CHARACTER))
    } else {
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::beginning;

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(beginning(b"select\n1"), "select 1");
        let long = beginning("ü".repeat(150).replacen('ü', "ux", 1).as_bytes());
        assert!(long.ends_with("ü…"), "{long}");
    }
}
