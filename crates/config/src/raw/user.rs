//! Pools of single roles: `[user.pool]`, `[[database.user]]`, `[database.user.pool]`.

use std::collections::BTreeSet;

use super::{Pool, User};
use crate::{
    section::{EMPTY, Preset::Required, Preset::Text, Reader, Section, Shown, section},
    tree::{Kind, Node, Table},
    value::{Count, Name},
};

/// `[pool]` for one role.
pub(super) const USER_POOL: Section = Section {
    path: "user.pool",
    docs: &[
        " The keys of [pool], for this user. What holds for a client is looked for in [database.user.pool], [user.pool],",
        " [database.pool] and [pool], in this order; so, as with PgBouncer, a user's value goes over its database's.",
    ],
    ..Pool::SECTION
};

section! {
    /// A user in this database. Its secret comes from `[auth]` or `[[user]]`.
    DatabaseUser, "database.user", repeated: true {
        /// The role's name; "*" is every role that has no entry of its own here.
        name: Name = Required("\"app\""), Reload;
        /// Most server connections of it in this database, over all nodes. 0: as many as the pools allow.
        max_server_connections: Count<0, 1_000_000> = Text("0"), Reload;
    }
}

/// `[pool]` for one role in one database.
pub(super) const DATABASE_USER_POOL: Section = Section {
    path: "database.user.pool",
    docs: &[" The keys of [pool], for this user in this database."],
    ..Pool::SECTION
};

/// A role with what is set for its pools in all databases.
#[derive(Debug)]
pub(crate) struct UserEntry {
    pub(crate) keys: User,
    /// What is not written here says nothing.
    pub(crate) pool: Pool,
}

impl UserEntry {
    pub(super) fn read(reader: &mut Reader<'_, '_>) -> Option<Self> {
        let keys = User::read(reader);
        let pool = Pool::read(&mut Reader { shown: Shown::Written, ..reader.child("pool") });
        Some(Self { keys: keys?, pool: pool? })
    }
}

/// A role in a database, with what holds for its pools there.
#[derive(Debug)]
pub(crate) struct UserPool {
    pub(crate) name: String,
    pub(crate) pool: Pool,
}

/// What a list `user` says of the pools of one role.
pub(super) struct Role<'a> {
    name: &'a str,
    pool: &'a Table,
}

/// The roles in the list `user` of a table.
pub(super) fn roles(table: &Table) -> Vec<Role<'_>> {
    let Some(Node { kind: Kind::List(items), .. }) = table.get("user") else { return Vec::new() };
    let tables = items.iter().filter_map(|item| match &item.kind {
        Kind::Table(table) => Some(table),
        _ => None,
    });
    tables
        .filter_map(|table| Some(Role { name: table.get("name")?.text()?, pool: subtable(table, "pool") }))
        .collect()
}

/// The table `name` inside another; empty if there is none.
pub(super) fn subtable<'a>(table: &'a Table, name: &str) -> &'a Table {
    match table.get(name) {
        Some(Node { kind: Kind::Table(table), .. }) => table,
        _ => &EMPTY,
    }
}

/// What holds in the database of `reader` for the pools of every role that is named somewhere, and of all others
/// (`*`); nothing if no role is special.
pub(super) fn effective(
    reader: &mut Reader<'_, '_>,
    everywhere: &[Role<'_>],
    pools: &Table,
) -> Vec<UserPool> {
    let table = reader.table;
    let here = roles(table);
    if here.iter().chain(everywhere).all(|role| role.pool.is_empty()) {
        return Vec::new();
    }
    let names = here.iter().chain(everywhere).map(|role| role.name);
    let names: BTreeSet<&str> = names.chain(["*"]).collect();
    let read = |name: &str| {
        let inherited = vec![pool_of(name, &here), pool_of(name, everywhere), subtable(table, "pool"), pools];
        let pool = Pool::read(&mut Reader {
            context: &mut *reader.context,
            path: format!("{}.user.{name:?}.pool", reader.path),
            table: &EMPTY,
            origin: reader.origin.clone(),
            inherited,
            shown: Shown::Nothing,
        })?;
        Some(UserPool { name: name.to_owned(), pool })
    };
    names.into_iter().filter_map(read).collect()
}

fn pool_of<'a>(name: &str, roles: &[Role<'a>]) -> &'a Table {
    let named = |wanted: &str| roles.iter().find(|role| role.name == wanted);
    named(name).or_else(|| named("*")).map_or(&EMPTY, |role| role.pool)
}

/// Reads `[[database.user]]`.
pub(super) fn database_users(reader: &mut Reader<'_, '_>) -> Vec<DatabaseUser> {
    reader.children("user", |reader| {
        let keys = DatabaseUser::read(reader);
        // for its mistakes and its rows; what holds is put together elsewhere
        let pool = Pool::read(&mut Reader { shown: Shown::Written, ..reader.child("pool") });
        pool.and(keys)
    })
}
