//! What is set for single roles.

use super::cap;
use crate::{
    raw::UserEntry,
    section::{Context, Field},
};

/// Builds all entries of `[[user]]`.
pub(super) fn build(entries: &[UserEntry], context: &mut Context<'_>) -> Vec<session::UserSettings> {
    let mut users = Vec::new();
    for (position, UserEntry { keys, pool }) in entries.iter().enumerate() {
        let name = &keys.name.value.0;
        let earlier = || entries[..position].iter().map(|entry| entry.keys.name.value.0.as_str());
        if keys.secret.value.is_none() && earlier().any(|other| other == name) {
            context.mistakes.push(keys.name.mistake(format!("{name:?} is listed twice")));
        }
        users.push(session::UserSettings {
            name: name.clone(),
            max_server_connections: cap(&keys.max_server_connections),
            mode: written(&pool.mode).map(|mode| mode.0),
            size: written(&pool.size).map(|size| size.0),
            reserve_size: written(&pool.reserve_size).map(|size| size.0),
        });
    }
    // what is said of every role is for those without an entry, wherever it stands
    users.sort_by_key(|user| user.name == "*");
    users
}

fn written<T: Copy>(field: &Field<T>) -> Option<T> {
    field.written.then_some(field.value)
}
