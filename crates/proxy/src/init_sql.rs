//! `pgherd init-sql`.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Context;
use config::{ClusterSettings, Settings, Source};
use doctor::{InitSql, Mode, Password, Secrets};

use crate::{
    arguments::{InitSqlArguments, environment},
    examination::configured_mode,
};

/// Prints the script.
///
/// # Errors
/// When the configuration is wrong, or has no such cluster or password; when standard output cannot be written to.
pub(crate) fn run(arguments: &InitSqlArguments) -> anyhow::Result<ExitCode> {
    let settings = match &arguments.config {
        None => None,
        Some(file) => match Source::File(file.clone()).load(environment()) {
            Ok(settings) => Some(settings),
            Err(mistakes) => {
                eprintln!("{mistakes}");
                return Ok(ExitCode::FAILURE);
            }
        },
    };
    let script = script(arguments, settings.as_ref())?.to_string();
    io::stdout().lock().write_all(script.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn script(arguments: &InitSqlArguments, settings: Option<&Settings>) -> anyhow::Result<InitSql> {
    let cluster = settings.map(|settings| cluster(arguments, settings)).transpose()?;
    let user = arguments.user.clone().or_else(|| Some(cluster?.health.user.clone()));
    let database = cluster.map_or("postgres", |cluster| &cluster.health.database).to_owned();
    let query = settings.and_then(|settings| settings.auth.query.as_ref());
    // secrets are looked up in the first cluster
    let is_first = settings
        .and_then(|settings| settings.clusters.first())
        .zip(cluster)
        .is_some_and(|(first, this)| first.topology.cluster == this.topology.cluster);
    let secrets = match query.filter(|_| is_first) {
        Some(query) => (Secrets::of_query(&query.sql), query.database.clone()),
        None => (Secrets::Own, database.clone()),
    };
    let password = match cluster.filter(|_| arguments.password) {
        None => Password::Untouched,
        Some(cluster) => {
            let secret = cluster.health.secret.as_ref().context("cluster.monitor.secret is not set")?;
            let clear = secret.clear_text().context("cluster.monitor.secret is no password")?;
            let verifier = auth::ScramVerifier::of_password(clear, &mut conn::fill_random);
            Password::Verifier(verifier.to_text().to_string())
        }
    };
    Ok(InitSql {
        user: user.unwrap_or_else(|| "pgherd".to_owned()),
        password,
        database,
        agent: arguments.agent_user.clone(),
        mode: if arguments.manage { Mode::Manage } else { cluster.map_or(Mode::Follow, configured_mode) },
        secrets,
        version: arguments.server_version.unwrap_or_default(),
    })
}

fn cluster<'a>(arguments: &InitSqlArguments, settings: &'a Settings) -> anyhow::Result<&'a ClusterSettings> {
    let wanted = |cluster: &&ClusterSettings| {
        arguments.cluster.as_ref().is_none_or(|name| *name == cluster.topology.cluster)
    };
    let found = settings.clusters.iter().find(wanted);
    found.with_context(|| {
        format!("there is no cluster {:?}", arguments.cluster.as_deref().unwrap_or_default())
    })
}
