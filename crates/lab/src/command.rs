use std::{
    env,
    io::Write,
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::{account::Account, binaries::Binaries, options::Login};

/// A PostgreSQL program that runs as `account` in `directory`, free of the caller's `PG…` variables.
pub(crate) fn program(binaries: &Binaries, name: &str, account: &Account, directory: &Path) -> Command {
    let mut command = Command::new(binaries.program(name));
    for (variable, _) in env::vars_os() {
        if variable.to_str().is_some_and(|text| text.starts_with("PG")) {
            command.env_remove(variable);
        }
    }
    command.env("LC_ALL", "C").env("TZ", "UTC").current_dir(directory).stdin(Stdio::null());
    account.apply(&mut command);
    command
}

/// Names the server on 127.0.0.1 and the role for a libpq program. The password is not among the arguments, which
/// everybody can read.
pub(crate) fn connect_to(command: &mut Command, port: u16, login: &Login, database: &str) {
    command
        .env("PGHOST", "127.0.0.1")
        .env("PGPORT", port.to_string())
        .env("PGUSER", &login.user)
        .env("PGPASSWORD", &login.password)
        .env("PGDATABASE", database)
        .env("PGCONNECT_TIMEOUT", "5")
        .env("PGSSLMODE", "disable");
}

/// Runs a program to its end and yields its standard output.
///
/// # Errors
/// When it does not start or fails; the text holds what it wrote to standard error.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    run_with_input(command, "")
}

/// The same with something to read.
pub(crate) fn run_with_input(command: &mut Command, input: &str) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let stdin = if input.is_empty() { Stdio::null() } else { Stdio::piped() };
    let mut child = command
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A Ctrl-C in the terminal is for the owner, who then stops things in order.
        .process_group(0)
        .spawn()
        .with_context(|| format!("could not start {name}"))?;
    // Inputs are scripts that fit into a pipe, so writing all before reading does not stall; a program that ends
    // early breaks the pipe and its own message says why.
    if let Some(mut stdin) = child.stdin.take() {
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().with_context(|| format!("could not wait for {name}"))?;
    if !output.status.success() {
        bail!("{name} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
