//! The file of `pgherd agent`: a small one of its own, read by the same means.

mod raw;

use std::{collections::BTreeMap, fmt, path::Path, path::PathBuf, sync::Arc};

use crate::{
    file::{self, Content},
    mistake::{Mistake, Mistakes, Origin},
    section::{Context, Field, Reader},
    settings::LogSettings,
    tree,
};

use raw::Document;
pub(crate) use raw::SECTIONS;

/// The file that is read when none is named.
pub const DEFAULT_AGENT_FILE: &str = "/etc/pgherd/agent.toml";

/// What `pgherd agent` is told. That it exists means that every value in it is valid.
#[derive(Debug, Clone)]
pub struct AgentFile {
    /// The agent itself.
    pub agent: agent::Settings,
    /// What is logged.
    pub log: LogSettings,
    /// What is allowed and probably not meant.
    pub warnings: Vec<Mistake>,
}

/// Loads an agent's file. A whole one or none.
///
/// # Errors
/// All [`Mistakes`] together.
pub fn load_agent(path: &Path) -> Result<AgentFile, Mistakes> {
    let name: Arc<str> = Arc::from(path.display().to_string());
    let text = file::read(path, Content::Public).map_err(|error| {
        let hint = if path == Path::new(DEFAULT_AGENT_FILE) { "; name another with -c" } else { "" };
        let problem = format!("cannot read it: {error}{hint}");
        let origin = Origin::Whole(name.clone());
        Mistakes::new(vec![Mistake { origin, key: String::new(), problem, suggestion: None }])
    })?;
    load_text(path, &name, &text)
}

/// Loads `text` as the content of `path`.
pub(crate) fn load_text(path: &Path, name: &Arc<str>, text: &str) -> Result<AgentFile, Mistakes> {
    let table = tree::parse(name, text).map_err(Mistakes::new)?;
    let environment = BTreeMap::new();
    let mut context = Context {
        sections: &SECTIONS,
        base: path.parent().unwrap_or(Path::new("")),
        source: Origin::Whole(name.clone()),
        environment: &environment,
        mistakes: Vec::new(),
        warnings: Vec::new(),
        rows: Vec::new(),
    };
    let document = Document::read(&mut Reader::root(&mut context, &table));
    let settings = document.and_then(|document| build(&document, &mut context));
    let Context { mistakes, warnings, .. } = context;
    match settings {
        Some((agent, log)) if mistakes.is_empty() => Ok(AgentFile { agent, log, warnings }),
        _ => Err(Mistakes::new(mistakes)),
    }
}

/// Checks what belongs together. `None` only together with a mistake in `context`.
fn build(document: &Document, context: &mut Context<'_>) -> Option<(agent::Settings, LogSettings)> {
    let Document { agent, tls, postgres, source, log } = document;
    let listen = match agent.listen.value {
        conn::ListenAddress::Tcp(address) => Some(address),
        conn::ListenAddress::Unix(_) => {
            context.mistakes.push(agent.listen.mistake("an agent is called over TCP"));
            None
        }
    };
    let tls = agent::TlsFiles {
        certificate: context.need_file(&tls.certificate, Content::Public),
        key: context.need_file(&tls.key, Content::Secret),
        root_certificate: context.need_file(&tls.root_certificate, Content::Public),
    };
    for path in [&postgres.bin_dir, &postgres.log_file].into_iter().chain([&postgres.config_file]) {
        if path.value.as_ref().is_some_and(|path| !path.is_absolute()) {
            context.mistakes.push(path.mistake("expected an absolute path"));
        }
    }
    if !postgres.data_dir.value.is_absolute() {
        context.mistakes.push(postgres.data_dir.mistake("expected an absolute path"));
    }
    if let Some(folder) = &postgres.bin_dir.value
        && !folder.join("pg_controldata").is_file()
    {
        context
            .mistakes
            .push(postgres.bin_dir.mistake(format!("there is no pg_controldata in {}", folder.display())));
    }
    let settings = agent::Settings {
        listen: listen?,
        tls,
        postgres: agent::PostgresSettings {
            data_dir: postgres.data_dir.value.clone(),
            bin_dir: postgres.bin_dir.value.clone(),
            config_file: postgres.config_file.value.clone(),
            log_file: postgres.log_file.value.clone(),
            start_command: postgres.start_command.value.clone().map(|text| text.0),
            stop_command: postgres.stop_command.value.clone().map(|text| text.0),
            start_timeout: postgres.start_timeout.value.0,
            stop_timeout: postgres.stop_timeout.value.0,
            fence_timeout: postgres.fence_timeout.value.0,
            own_files: postgres.own_files.value.0.iter().map(|name| name.0.clone()).collect(),
        },
        source: agent::SourceSettings {
            user: source.user.value.0.clone(),
            password_file: context.check_file(&source.password_file, Content::Secret),
            database: source.database.value.0.clone(),
            ssl_mode: source.sslmode.value.word().to_owned(),
            root_certificate: context.check_file(&source.root_certificate, Content::Public),
            copy_timeout: source.copy_timeout.value.0,
            check: source.check.value.0,
            old_folder: source.old_folder.value.0,
        },
    };
    let log = LogSettings { format: log.format.value.0, level: log.level.value.0.clone() };
    Some((settings, log))
}

impl Context<'_> {
    /// A file that must be there.
    fn need_file(&mut self, field: &Field<PathBuf>, content: Content) -> PathBuf {
        let path = self.base.join(&field.value);
        if let Err(error) = file::check(&path, content) {
            self.mistakes.push(field.mistake(format_args!("{}: {error}", path.display())));
        }
        path
    }
}

impl fmt::Display for AgentFile {
    /// What it would do, in a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let postgres = &self.agent.postgres;
        write!(f, "listens on {}, looks after {}", self.agent.listen, postgres.data_dir.display())
    }
}
