//! What is set for single roles.

use super::cap;
use crate::{raw::User, section::Context};

/// Builds all entries of `[[user]]`.
pub(super) fn build(entries: &[User], context: &mut Context<'_>) -> Vec<session::UserSettings> {
    let mut users = Vec::new();
    for (position, entry) in entries.iter().enumerate() {
        let name = &entry.name.value.0;
        let earlier = || entries[..position].iter().map(|entry| entry.name.value.0.as_str());
        if entry.secret.value.is_none() && earlier().any(|other| other == name) {
            context.mistakes.push(entry.name.mistake(format!("{name:?} is listed twice")));
        }
        users.push(session::UserSettings {
            name: name.clone(),
            max_server_connections: cap(&entry.max_server_connections),
        });
    }
    // what is said of every role is for those without an entry, wherever it stands
    users.sort_by_key(|user| user.name == "*");
    users
}
