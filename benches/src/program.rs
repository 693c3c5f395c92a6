//! Programs on this machine.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

/// The pgherd binary: the one that was named, or the one beside this program.
///
/// # Errors
/// When it is not there.
pub(crate) fn pgherd(named: Option<&Path>) -> Result<PathBuf> {
    let path = match named {
        Some(path) => path.to_owned(),
        None => own_path()?.with_file_name("pgherd"),
    };
    path.canonicalize().with_context(|| {
        format!("{} is not there; `cargo build --release -p proxy` makes it", path.display())
    })
}

/// Where this program is.
///
/// # Errors
/// When the system does not say.
pub(crate) fn own_path() -> Result<PathBuf> {
    std::env::current_exe().context("could not find this program's own path")
}

/// A program of the distribution, which puts such programs where ordinary users do not look.
///
/// # Errors
/// When it is not installed.
pub(crate) fn installed(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders =
        std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")]);
    for folder in folders {
        let program = folder.join(name);
        if program.is_file() {
            return Ok(program);
        }
    }
    bail!("{name} is not installed; the chores of the Makefile install what they need")
}

/// The first line of what `program` says about its version, without its own name.
///
/// # Errors
/// When it does not start.
pub(crate) fn version(program: &Path, argument: &str) -> Result<String> {
    let output = Command::new(program).arg(argument).output();
    let output = output.with_context(|| format!("could not start {}", program.display()))?;
    // Pgpool-II says it to standard error
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    let text = String::from_utf8_lossy(&text).into_owned();
    let words = text.lines().next().unwrap_or_default().split_whitespace();
    Ok(words.skip_while(|word| !word.starts_with(|c: char| c.is_ascii_digit())).take(1).collect())
}
