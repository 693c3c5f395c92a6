use std::{collections::BTreeMap, path::Path, path::PathBuf, sync::Arc};

use crate::{
    build, environment,
    file::{self, Content},
    mistake::{Mistake, Mistakes, Origin},
    raw::Document,
    section::{Context, Reader},
    settings::Settings,
    tree::{self, Table},
    url,
};

/// The file that is read when neither a file nor a URL is named.
pub const DEFAULT_FILE: &str = "/etc/pgherd/pgherd.toml";

/// Where a configuration comes from; kept to load it again on reload.
#[derive(Clone, PartialEq, Eq)]
pub enum Source {
    /// A TOML file.
    File(PathBuf),
    /// A `DATABASE_URL`, which may hold a password.
    Url(String),
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Url(_) => f.write_str("DATABASE_URL"),
        }
    }
}

impl Source {
    /// The file if one was named, else the URL if there is one, else [`DEFAULT_FILE`].
    #[must_use]
    pub fn choose(file: Option<PathBuf>, database_url: Option<String>) -> Self {
        match (file, database_url) {
            (Some(file), _) => Self::File(file),
            (None, Some(url)) => Self::Url(url),
            (None, None) => Self::File(DEFAULT_FILE.into()),
        }
    }

    /// Loads it, with `PGHERD__…` of `environment` over it.
    ///
    /// # Errors
    /// All [`Mistakes`] together.
    pub fn load(&self, environment: impl Iterator<Item = (String, String)>) -> Result<Settings, Mistakes> {
        match self {
            Self::File(path) => load(path, environment),
            Self::Url(url) => from_database_url(url, environment),
        }
    }
}

/// Loads a file, with `PGHERD__…` of `environment` over it. A whole configuration or none.
///
/// # Errors
/// All [`Mistakes`] together.
pub fn load(path: &Path, environment: impl Iterator<Item = (String, String)>) -> Result<Settings, Mistakes> {
    let name: Arc<str> = Arc::from(path.display().to_string());
    let text = file::read(path, Content::Public).map_err(|error| {
        let hint =
            if path == Path::new(DEFAULT_FILE) { "; name another with -c, or set DATABASE_URL" } else { "" };
        let problem = format!("cannot read it: {error}{hint}");
        Mistakes::new(vec![Mistake {
            origin: Origin::Whole(name.clone()),
            key: String::new(),
            problem,
            suggestion: None,
        }])
    })?;
    load_text(path, &text, environment)
}

/// Loads `text` as the content of `path`.
///
/// # Errors
/// All [`Mistakes`] together.
pub(crate) fn load_text(
    path: &Path,
    text: &str,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Settings, Mistakes> {
    let name: Arc<str> = Arc::from(path.display().to_string());
    let table = tree::parse(&name, text).map_err(Mistakes::new)?;
    finish(table, Some(&File { path, name: &name }), environment)
}

/// Makes settings from `postgres://user:password@host1:5432,host2/database?sslmode=require`, with `PGHERD__…` of
/// `environment` over them. Every host is a node of region `local`. Probes log in as the URL's user, who may also use
/// the console; other roles can log in if that user may read `pg_authid`.
///
/// # Errors
/// All [`Mistakes`] together.
pub fn from_database_url(
    url: &str,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Settings, Mistakes> {
    let table = url::parse(url).map_err(Mistakes::new)?;
    finish(table, None, environment)
}

/// The file that is being loaded.
struct File<'a> {
    path: &'a Path,
    name: &'a Arc<str>,
}

fn finish(
    mut table: Table,
    file: Option<&File<'_>>,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Settings, Mistakes> {
    let environment: BTreeMap<String, String> = environment.collect();
    let mistakes = environment::overlay(&mut table, &environment);
    let base = file.and_then(|file| file.path.parent()).unwrap_or(Path::new(""));
    let source = file.map_or(Origin::Url, |file| Origin::Whole(file.name.clone()));
    let (warnings, rows) = (Vec::new(), Vec::new());
    let mut context = Context { base, source, environment: &environment, mistakes, warnings, rows };
    let document = Document::read(&mut Reader::root(&mut context, &table));
    let settings = document.and_then(|document| build::settings(&document, &mut context));
    if let Some(file) = file.filter(|file| file::is_public(file.path)) {
        context.warn_of_public_secrets(file.name, &table);
    }
    match settings {
        Some(mut settings) if context.mistakes.is_empty() => {
            settings.warnings = context.warnings;
            settings.rows = context.rows;
            Ok(settings)
        }
        _ => Err(Mistakes::new(context.mistakes)),
    }
}
