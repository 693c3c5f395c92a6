//! What is set, and what differs after a reload.

use std::{collections::BTreeMap, sync::Arc};

use crate::settings::Settings;

/// One key of SHOW CONFIG.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The dotted key, list positions from 0: `cluster.0.nodes.1.address`.
    pub key: String,
    /// What is set; empty when unset, `***` for a secret.
    pub value: String,
    /// What it would be if nobody had set it.
    pub default: String,
    /// Whether RELOAD brings a new value into effect.
    pub changeable: bool,
}

/// A key whose value differs between two configurations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The dotted key.
    pub key: String,
    /// What was set; empty when unset or absent, `***` for a secret.
    pub old: String,
    /// What is set now; likewise.
    pub new: String,
    /// Whether it takes a restart to come into effect.
    pub restart_needed: bool,
}

/// Every key as it was loaded, in the order of the reference. No secret is among the values.
#[must_use]
pub fn rows(settings: &Settings) -> &[Row] {
    &settings.rows
}

/// What differs from `old` to `new`, sorted by key. A changed secret is reported without either content.
#[must_use]
pub fn differences(old: &Settings, new: &Settings) -> Vec<Change> {
    let mut keys: BTreeMap<&str, [Option<&Row>; 2]> = BTreeMap::new();
    for (side, settings) in [old, new].into_iter().enumerate() {
        for row in &settings.rows {
            keys.entry(&row.key).or_default()[side] = Some(row);
        }
    }
    let mut changes: Vec<Change> = keys
        .into_iter()
        .filter_map(|(key, [old, new])| {
            let text = |row: Option<&Row>| row.map(|row| row.value.clone()).unwrap_or_default();
            (text(old) != text(new)).then(|| Change {
                key: key.to_owned(),
                old: text(old),
                new: text(new),
                restart_needed: ![old, new].into_iter().flatten().all(|row| row.changeable),
            })
        })
        .collect();
    changes.extend(secret_changes(&old.secrets, &new.secrets));
    changes.sort_by(|a, b| a.key.cmp(&b.key));
    changes.dedup_by(|a, b| a.key == b.key); // a secret that moved to a file changed its row too
    changes
}

type Secrets = BTreeMap<String, Arc<auth::Secret>>;

fn secret_changes(old: &Secrets, new: &Secrets) -> Vec<Change> {
    let mut keys: Vec<&String> = old.keys().chain(new.keys()).collect();
    keys.sort();
    keys.dedup();
    let shown =
        |there: Option<&Arc<auth::Secret>>| if there.is_some() { "***".to_owned() } else { String::new() };
    keys.into_iter()
        .filter(|key| match (old.get(*key), new.get(*key)) {
            (Some(old), Some(new)) => !old.is_same(new),
            (None, None) => false,
            (Some(_), None) | (None, Some(_)) => true,
        })
        .map(|key| Change {
            key: key.clone(),
            old: shown(old.get(key)),
            new: shown(new.get(key)),
            restart_needed: false,
        })
        .collect()
}
