use std::{collections::BTreeMap, path::Path, path::PathBuf, sync::Arc};

use crate::{
    build, environment,
    file::{self, Content},
    mistake::{Mistake, Mistakes, Origin},
    raw::{self, Document},
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

impl Source {
    /// The same as if the file had this content. A URL has none, and is loaded as it is.
    ///
    /// # Errors
    /// All [`Mistakes`] together.
    pub fn load_text(
        &self,
        text: &str,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Settings, Mistakes> {
        match self {
            Self::File(path) => load_text(path, text, environment),
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
    finish(table, Some(File { path: path.to_owned(), name }), environment)
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
#[derive(Debug, Clone)]
struct File {
    path: PathBuf,
    name: Arc<str>,
}

/// What settings are made from: file and environment together.
#[derive(Clone, Default)]
pub(crate) struct Loaded {
    table: Table,
    file: Option<File>,
    environment: BTreeMap<String, String>,
}

/// Neither values nor the environment are shown: there are secrets among them.
impl std::fmt::Debug for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loaded").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Loaded {
    /// Settings with another value for one key.
    pub(crate) fn with(&self, key: &str, value: &str) -> Result<Settings, Mistakes> {
        let mut changed = self.clone();
        environment::put_one(&mut changed.table, key, value)
            .map_err(|mistake| Mistakes::new(vec![mistake]))?;
        changed.build(Vec::new())
    }

    fn build(self, mistakes: Vec<Mistake>) -> Result<Settings, Mistakes> {
        let file = self.file.as_ref();
        let base = file.and_then(|file| file.path.parent()).unwrap_or(Path::new(""));
        let source = file.map_or(Origin::Url, |file| Origin::Whole(Arc::clone(&file.name)));
        let (warnings, rows) = (Vec::new(), Vec::new());
        let sections = &raw::SECTIONS;
        let environment = &self.environment;
        let mut context = Context { sections, base, source, environment, mistakes, warnings, rows };
        let document = Document::read(&mut Reader::root(&mut context, &self.table));
        let settings = document.and_then(|document| build::settings(&document, &mut context));
        if let Some(file) = file.filter(|file| file::is_public(&file.path)) {
            context.warn_of_public_secrets(&file.name, &self.table);
        }
        let Context { mistakes, warnings, rows, .. } = context;
        match settings {
            Some(settings) if mistakes.is_empty() => {
                Ok(Settings { warnings, rows, loaded: Arc::new(self), ..settings })
            }
            _ => Err(Mistakes::new(mistakes)),
        }
    }
}

fn finish(
    mut table: Table,
    file: Option<File>,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Settings, Mistakes> {
    let environment: BTreeMap<String, String> = environment.collect();
    let mistakes = environment::overlay(&mut table, &environment);
    Loaded { table, file, environment }.build(mistakes)
}
