//! The pgherd binary: arguments, log, wiring, signals, drain; nothing else.

mod accept;
mod act;
mod activation;
mod agent_command;
mod arguments;
mod check_config;
mod control;
mod examination;
mod functions;
mod hands;
mod init_sql;
mod keygen;
mod log;
mod nodes;
mod proxy;
mod readiness;
mod run;
mod takeover;
mod traffic;
mod users;

use std::{io::Read, process::ExitCode};

use anyhow::Context;
use clap::Parser;

use crate::arguments::{Arguments, Command, DemoArguments};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
        Command::Run(arguments) => run::run(&arguments.configured.source(), arguments.start()),
        Command::Demo(demo) => demo_of(demo),
        Command::CheckConfig(check) => check_config::run(&check).map_err(anyhow::Error::from),
        Command::Doctor(arguments) => examination::run(&arguments),
        Command::InitSql(arguments) => init_sql::run(&arguments),
        Command::Hash => hash(),
        Command::Agent(arguments) => agent_command::run(&arguments.config),
        Command::Keygen(arguments) => keygen::run(arguments),
        Command::Node(arguments) => act::node(&arguments),
        Command::Hook(arguments) => act::hook(&arguments),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("pgherd: {error:#}");
        ExitCode::FAILURE
    })
}

fn demo_of(arguments: DemoArguments) -> anyhow::Result<ExitCode> {
    let DemoArguments { regions, base_port, dir, keep, seconds } = arguments;
    let options = demo::Options { regions, base_port, dir, keep, seconds };
    demo::run(options, std::env::current_exe().context("cannot find my own binary")?)
}

/// Longest password that is read, in bytes, and some more for a line end.
const PASSWORD_INPUT_MAX: u64 = 2048;

fn hash() -> anyhow::Result<ExitCode> {
    let mut password = String::new();
    std::io::stdin()
        .take(PASSWORD_INPUT_MAX)
        .read_to_string(&mut password)
        .context("cannot read the password")?;
    let password = password.trim_end_matches(['\r', '\n']);
    anyhow::ensure!(!password.is_empty(), "the password on standard input is empty");
    let verifier = auth::ScramVerifier::of_password(password, &mut conn::fill_random);
    println!("{}", &*verifier.to_text());
    Ok(ExitCode::SUCCESS)
}
