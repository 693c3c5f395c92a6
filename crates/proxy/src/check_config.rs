//! `pgherd check-config`.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    process::ExitCode,
};

use config::{Mistake, Mistakes, Origin, Settings, Source};
use serde_json::json;

use crate::arguments::{CheckArguments, environment};

/// Checks the configuration and prints what is wrong with it, or `ok` and what it would do.
///
/// # Errors
/// When standard output or error cannot be written to.
pub(crate) fn run(arguments: &CheckArguments) -> io::Result<ExitCode> {
    let source = arguments.configured.source();
    let result = source.load(environment());
    let (mut out, mut err) = (io::stdout().lock(), io::stderr().lock());
    if arguments.json {
        writeln!(out, "{}", object(&source, &result))?;
    } else {
        print(&source, &result, &mut out, &mut err)?;
    }
    out.flush()?;
    Ok(if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// For people: mistakes and warnings to `err`, a line each, the verdict to `out`.
fn print(
    source: &Source,
    result: &Result<Settings, Mistakes>,
    out: &mut impl Write,
    err: &mut impl Write,
) -> io::Result<()> {
    match result {
        Ok(settings) => {
            for warning in &settings.warnings {
                writeln!(err, "warning: {warning}")?;
            }
            writeln!(out, "{source}: ok, {}", summary(settings))
        }
        Err(mistakes) => {
            writeln!(err, "{mistakes}")?;
            let count = mistakes.len();
            writeln!(err, "{source}: {count} {}", if count == 1 { "mistake" } else { "mistakes" })
        }
    }
}

/// What the configuration would do, in a line.
pub(crate) fn summary(settings: &Settings) -> String {
    let nodes = || settings.clusters.iter().flat_map(|cluster| &cluster.topology.nodes);
    let regions: BTreeSet<&str> = nodes().map(|node| node.region.as_str()).collect();
    let query = if settings.auth.query.is_some() { " and those that the query finds" } else { "" };
    format!(
        "region {}; {}; {} with {} in {}; {}; {}{query}",
        settings.proxy.region,
        counted(settings.listeners.len(), "listener"),
        counted(settings.clusters.len(), "cluster"),
        counted(nodes().count(), "node"),
        regions.into_iter().collect::<Vec<_>>().join(", "),
        counted(settings.databases.len(), "database"),
        counted(settings.auth.users.len(), "user"),
    )
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// For machines: `{"ok", "source", "mistakes": […], "warnings": […], "settings": [{"key", "value", "default"}]}`.
fn object(source: &Source, result: &Result<Settings, Mistakes>) -> serde_json::Value {
    let list = |mistakes: &mut dyn Iterator<Item = &Mistake>| mistakes.map(mistake).collect::<Vec<_>>();
    let source = source.to_string();
    match result {
        Ok(settings) => {
            let row =
                |row: &config::Row| json!({ "key": row.key, "value": row.value, "default": row.default });
            json!({
                "ok": true,
                "source": source,
                "mistakes": [],
                "warnings": list(&mut settings.warnings.iter()),
                "settings": config::rows(settings).iter().map(row).collect::<Vec<_>>(),
            })
        }
        Err(mistakes) => {
            json!({ "ok": false, "source": source, "mistakes": list(&mut mistakes.iter()), "warnings": [] })
        }
    }
}

fn mistake(mistake: &Mistake) -> serde_json::Value {
    let (place, line, column) = match &mistake.origin {
        Origin::File { file, line, column } => (file.to_string(), Some(line), Some(column)),
        other @ (Origin::Default
        | Origin::Whole(_)
        | Origin::Environment(_)
        | Origin::Url
        | Origin::Console) => (other.to_string(), None, None),
    };
    json!({
        "place": place,
        "line": line,
        "column": column,
        "key": mistake.key,
        "problem": mistake.problem,
        "suggestion": mistake.suggestion,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, variables: &[(&str, &str)]) -> (Source, Result<Settings, Mistakes>) {
        let source = Source::Url(url.to_owned());
        let result =
            source.load(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        (source, result)
    }

    #[track_caller]
    fn printed(url: &str, variables: &[(&str, &str)]) -> (String, String) {
        let (source, result) = check(url, variables);
        let (mut out, mut err) = (Vec::new(), Vec::new());
        print(&source, &result, &mut out, &mut err).unwrap();
        (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    #[test]
    fn a_valid_configuration_is_summed_up() {
        let (out, err) = printed("postgres://u:p@a,b/db", &[]);
        assert_eq!(
            out,
            "DATABASE_URL: ok, region local; 1 listener; 1 cluster with 2 nodes in local; 1 database; \
             1 user and those that the query finds\n"
        );
        assert_eq!(err, "");
    }

    #[test]
    fn mistakes_are_printed_and_counted() {
        let (out, err) =
            printed("postgres://u:p@a/db", &[("PGHERD__POOL__SIZ", "1"), ("PGHERD__POOL__MODE", "x")]);
        assert_eq!(out, "");
        assert_eq!(
            err,
            "environment PGHERD__POOL__MODE: pool.mode = \"x\": expected \"transaction\", \"session\" or \"statement\"\n\
             environment PGHERD__POOL__SIZ: unknown key \"siz\" in [pool]; did you mean \"size\"?\n\
             DATABASE_URL: 2 mistakes\n"
        );
    }

    #[test]
    fn warnings_do_not_make_it_invalid() {
        let (out, err) = printed("postgres://u:p@a/db", &[("PGHERD__PROXY__REGION", "eu")]);
        assert!(out.starts_with("DATABASE_URL: ok, region eu"));
        assert_eq!(
            err,
            "warning: environment PGHERD__PROXY__REGION: proxy.region: no node stands in \"eu\"\n"
        );
    }

    #[test]
    fn json_has_place_key_and_suggestion_and_no_secret() {
        let (source, result) = check("postgres://u:hunter2@a/db", &[("PGHERD__POOL__SIZ", "1")]);
        assert_eq!(
            object(&source, &result),
            json!({
                "ok": false,
                "source": "DATABASE_URL",
                "mistakes": [{
                    "place": "environment PGHERD__POOL__SIZ",
                    "line": null,
                    "column": null,
                    "key": "pool.siz",
                    "problem": "unknown key \"siz\" in [pool]",
                    "suggestion": "size",
                }],
                "warnings": [],
            })
        );
        let (source, result) = check("postgres://u:hunter2@a/db", &[]);
        let object = object(&source, &result);
        assert_eq!(object["ok"], true);
        assert!(!object.to_string().contains("hunter2"));
    }
}
