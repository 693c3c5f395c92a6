//! Users and their secrets.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crate::{
    file::{self, Content},
    mistake::{Mistake, Origin},
    raw::{Auth, Document, UserEntry},
    section::{Context, Field},
    settings::{AdminSettings, AuthQuery, AuthSettings},
    tree::{Kind, Node, Table},
    userlist,
    value::{List, Name, SecretSource},
};

/// Secrets by the key they were configured under.
pub(super) type Secrets = BTreeMap<String, Arc<auth::Secret>>;

/// Builds who may log in and who may administer.
pub(super) fn build(
    document: &Document,
    secrets: &mut Secrets,
    context: &mut Context<'_>,
) -> (AuthSettings, AdminSettings) {
    let mut users = HashMap::new();
    for entry in userlist(&document.auth, context) {
        let key = format!("auth.file:{}", entry.user);
        let mistake = |problem: String| Mistake {
            origin: entry.origin.clone(),
            key: key.clone(),
            problem: format!("user {:?}: {problem}", entry.user),
            suggestion: None,
        };
        match parse(&entry.secret) {
            Ok(secret) if !users.contains_key(&entry.user) => {
                secrets.insert(key, secret.clone());
                users.insert(entry.user, secret);
            }
            Ok(_) => context.mistakes.push(mistake("listed twice".to_owned())),
            Err(problem) => context.mistakes.push(mistake(problem)),
        }
    }
    for UserEntry { keys: user, .. } in &document.users {
        let name = &user.name.value.0;
        let Some(source) = &user.secret.value else { continue };
        if name == "*" {
            context.mistakes.push(user.secret.mistake("\"*\" is every role, and has no secret of its own"));
            continue;
        }
        let secret = resolve(source, &user.secret, secrets, context);
        if users.contains_key(name) {
            context
                .mistakes
                .push(user.name.mistake(format!("{name:?} is listed twice, here or in auth.file")));
        } else if let Some(secret) = secret {
            users.insert(name.clone(), secret);
        }
    }
    let query = query(&document.auth, context);
    if users.is_empty() && query.is_none() && context.mistakes.is_empty() {
        let problem = "nobody can log in: there is no auth.file, no auth.query and no [[user]]".to_owned();
        let origin = context.source.clone();
        context.warnings.push(Mistake { origin, key: "auth".to_owned(), problem, suggestion: None });
    }
    let without_secret =
        document.users.iter().map(|user| &user.keys).filter(|user| user.secret.value.is_none());
    for user in without_secret {
        let name = &user.name.value.0;
        if !users.contains_key(name) && query.is_none() && name != "*" {
            context.warnings.push(user.name.mistake(format!("{name:?} has no secret and cannot log in")));
        }
    }
    let admin = &document.admin;
    for list in [&admin.users, &admin.stats_users] {
        for name in &list.value.0 {
            if !users.contains_key(&name.0) && query.is_none() {
                context.warnings.push(list.mistake(format!("{:?} has no secret and cannot log in", name.0)));
            }
        }
    }
    let names = |list: &Field<List<Name>>| list.value.0.iter().map(|name| name.0.clone()).collect();
    let admin = AdminSettings { users: names(&admin.users), stats_users: names(&admin.stats_users) };
    (AuthSettings { users, query }, admin)
}

/// Fetches a secret from where it is. `None` together with a mistake.
pub(super) fn resolve<T>(
    source: &SecretSource,
    field: &Field<T>,
    secrets: &mut Secrets,
    context: &mut Context<'_>,
) -> Option<Arc<auth::Secret>> {
    let text = match source {
        SecretSource::Inline(text) => Ok(text.clone()),
        SecretSource::File(path) => {
            let path = context.path(path);
            file::read(&path, Content::Secret)
                .map(|text| text.trim_end_matches(['\n', '\r']).to_owned())
                .map_err(|error| format!("{}: {error}", path.display()))
        }
        SecretSource::Environment(name) => {
            let value = context.environment.get(name).cloned();
            value.ok_or_else(|| format!("there is no environment variable {name}"))
        }
    };
    match text.and_then(|text| parse(&text)) {
        Ok(secret) => {
            secrets.insert(field.key.clone(), secret.clone());
            Some(secret)
        }
        Err(problem) => {
            context.mistakes.push(field.mistake(problem));
            None
        }
    }
}

fn parse(text: &str) -> Result<Arc<auth::Secret>, String> {
    auth::Secret::parse(text).map(Arc::new).map_err(|error| error.to_string())
}

fn userlist(auth: &Auth, context: &mut Context<'_>) -> Vec<userlist::Entry> {
    let Some(path) = &auth.file.value else { return Vec::new() };
    let path = context.path(path);
    let name: Arc<str> = Arc::from(path.display().to_string());
    let parsed = match file::read(&path, Content::Secret) {
        Ok(text) => userlist::parse(&name, &text),
        Err(error) => Err(vec![auth.file.mistake(format_args!("{name}: {error}"))]),
    };
    parsed.unwrap_or_else(|mistakes| {
        context.mistakes.extend(mistakes);
        Vec::new()
    })
}

fn query(auth: &Auth, context: &mut Context<'_>) -> Option<AuthQuery> {
    let sql = auth.query.value.as_ref()?;
    if !sql.0.contains("$1") {
        context.mistakes.push(auth.query.mistake("the role's name, $1, does not occur in it"));
    }
    Some(AuthQuery {
        sql: sql.0.clone(),
        database: auth.query_database.value.0.clone(),
        cache: auth.cache.value.0,
        optional: auth.query_optional.value,
    })
}

/// Whether `file` itself has a secret in it: some `secret` or `etcd_secret` key whose value is text that was written there.
pub(super) fn has_inline_secret(table: &Table, file: &Arc<str>) -> bool {
    let here = |node: &Node| matches!(&node.origin, Origin::File { file: other, .. } if other == file);
    table.iter().any(|entry| match &entry.node.kind {
        Kind::Untyped(_) | Kind::String(_) => {
            matches!(entry.name.as_str(), "secret" | "etcd_secret") && here(&entry.node)
        }
        Kind::Table(inner) => has_inline_secret(inner, file),
        Kind::List(items) => items
            .iter()
            .any(|item| matches!(&item.kind, Kind::Table(inner) if has_inline_secret(inner, file))),
        Kind::Integer(_) | Kind::Other(_) => false,
    })
}
