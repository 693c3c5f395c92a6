use std::time::Duration;

use session::{ClientId, PauseScope};
use wire::{SqlState, message::error::ErrorMessage};

use super::{
    Command, Constant, NodesCommand, Noun, Parameter,
    lex::{Token, is_explain_route, next_token, skip_blanks},
    nearest::nearest,
};
use crate::{
    ShutdownMode,
    check::{WAIT, WAIT_MAX},
};

/// No command has more tokens than this; of longer statements the beginning is looked at.
const TOKENS_MAX: usize = 24;

/// Of a statement that is not understood, at most this many characters are told back.
const TOLD_MAX: usize = 40;

/// What one statement, without its `;`, asks for.
///
/// # Errors
/// 42601 with a HINT for what is no command, 0A000 for parameters.
pub(crate) fn parse(statement: &str) -> Result<Command, ErrorMessage> {
    let mut tokens = Vec::new();
    let mut rest = statement;
    while tokens.len() < TOKENS_MAX {
        let Some((token, behind)) = next_token(rest) else { break };
        rest = behind;
        tokens.push(token);
        if is_explain_route(&tokens) {
            return explain_route(rest);
        }
    }
    let Some((Token::Word(keyword), arguments)) = tokens.split_first() else {
        return Err(not_understood(statement, &tokens));
    };
    let known = match keyword.to_ascii_lowercase().as_str() {
        "show" => show(arguments),
        "select" => select(arguments),
        "set" => set(arguments),
        "reset" => Some(Command::Ignore("RESET")),
        "discard" => Some(Command::Ignore("DISCARD ALL")),
        "deallocate" => Some(Command::Ignore("DEALLOCATE")),
        "unlisten" => Some(Command::Ignore("UNLISTEN")),
        "close" => Some(Command::Ignore("CLOSE CURSOR")),
        "begin" | "start" => Some(Command::Begin),
        "commit" | "end" => Some(Command::EndTransaction("COMMIT")),
        "rollback" | "abort" => Some(Command::EndTransaction("ROLLBACK")),
        "reload" => arguments.is_empty().then_some(Command::Reload),
        "pause" => scope(arguments).map(Command::Pause),
        "resume" => scope(arguments).map(Command::Resume),
        "reconnect" => scope(arguments).map(Command::Reconnect),
        "kill" => scope(arguments).map(Command::Kill),
        "disable" => database(arguments).map(Command::Disable),
        "enable" => database(arguments).map(Command::Enable),
        "suspend" => arguments.is_empty().then_some(Command::Suspend),
        "wait_close" => scope(arguments).map(Command::WaitClose),
        "kill_client" => client_id(arguments).map(Command::KillClient),
        "check" => check(arguments),
        "shutdown" => shutdown(arguments).map(Command::Shutdown),
        "switchover" => switchover(arguments),
        "failover" => failover(arguments),
        "maintenance" => maintenance(arguments),
        other => NodesCommand::parse(other, arguments).map(Command::Nodes),
    };
    known.ok_or_else(|| not_understood(statement, &tokens))
}

fn show(arguments: &[Token]) -> Option<Command> {
    match arguments {
        [] => Some(Command::Help),
        [name] => {
            let name = name_of(name)?;
            if name.eq_ignore_ascii_case("help") {
                return Some(Command::Help);
            }
            let noun = Noun::find(name).map(Command::Show);
            noun.or_else(|| Parameter::find(name).map(Command::ShowParameter))
        }
        [first, second] if is(first, "extended") => Noun::find(name_of(second)?).map(Command::ShowExtended),
        [first, second] if is(first, "time") && is(second, "zone") => parameter("timezone"),
        [first, second, third]
            if is(first, "transaction") && is(second, "isolation") && is(third, "level") =>
        {
            parameter("transaction_isolation")
        }
        _ => None,
    }
}

fn parameter(name: &str) -> Option<Command> {
    Parameter::find(name).map(Command::ShowParameter)
}

/// `SELECT x` is `SHOW x`, as in PgBouncer; beside it what connection checks select.
fn select(arguments: &[Token]) -> Option<Command> {
    let constant = match arguments {
        [Token::Word(word)] if word.bytes().all(|b| b.is_ascii_digit()) => Constant::Int(word.parse().ok()?),
        [Token::Text(text)] => Constant::Text(text.clone()),
        [name] if is(name, "current_user") || is(name, "session_user") || is(name, "user") => Constant::User,
        [name, Token::Symbol('('), Token::Symbol(')')] => {
            let name = name_of(name)?.to_ascii_lowercase();
            match name.strip_prefix("pg_catalog.").unwrap_or(&name) {
                "version" => Constant::Version,
                "current_database" => Constant::Database,
                "pg_is_in_recovery" => Constant::InRecovery,
                _ => return None,
            }
        }
        arguments => {
            return show(arguments).filter(|command| *command != Command::Help || !arguments.is_empty());
        }
    };
    Some(Command::Select(constant))
}

fn set(arguments: &[Token]) -> Option<Command> {
    let arguments = match arguments {
        [first, rest @ ..] if (is(first, "session") || is(first, "local")) && !rest.is_empty() => rest,
        arguments => arguments,
    };
    match arguments {
        [first, second, ..] if is(first, "time") && is(second, "zone") => Some(noise("timezone")),
        [first, _, ..] if is(first, "characteristics") || is(first, "transaction") => {
            Some(Command::Ignore("SET"))
        }
        [first, _, ..] if is(first, "names") => Some(noise("client_encoding")),
        [name, assign, value @ ..] if *assign == Token::Symbol('=') || is(assign, "to") => {
            let name = name_of(name).filter(|_| !value.is_empty())?.to_ascii_lowercase();
            let value = match value {
                [Token::Word(value) | Token::Quoted(value) | Token::Text(value)] => Some(value.clone()),
                _ => None,
            };
            Some(Command::Set { name, value })
        }
        _ => None,
    }
}

/// A parameter that means nothing here, whatever its value.
fn noise(name: &str) -> Command {
    Command::Set { name: name.to_owned(), value: None }
}

fn scope(arguments: &[Token]) -> Option<PauseScope> {
    match arguments {
        [] => Some(PauseScope::All),
        [name] => Some(PauseScope::Database(name_of(name)?.into())),
        _ => None,
    }
}

fn database(arguments: &[Token]) -> Option<String> {
    let [name] = arguments else { return None };
    name_of(name).map(str::to_owned)
}

/// As a number, or as logs write it: `C-12`.
fn client_id(arguments: &[Token]) -> Option<ClientId> {
    let [Token::Word(id) | Token::Text(id)] = arguments else { return None };
    let digits = id.strip_prefix("C-").or_else(|| id.strip_prefix("c-")).unwrap_or(id);
    digits.parse().ok().map(ClientId)
}

fn check(arguments: &[Token]) -> Option<Command> {
    match arguments {
        [what] if is(what, "cluster") => Some(Command::CheckCluster),
        [what] if is(what, "replication") => Some(Command::CheckReplication(WAIT)),
        [what, Token::Word(seconds)] if is(what, "replication") => {
            let seconds = seconds.parse().ok().filter(|seconds| (1..=WAIT_MAX).contains(seconds))?;
            Some(Command::CheckReplication(Duration::from_secs(seconds)))
        }
        _ => None,
    }
}

fn shutdown(arguments: &[Token]) -> Option<ShutdownMode> {
    match arguments {
        [] => Some(ShutdownMode::Immediate),
        [mode] if is(mode, "wait_for_clients") => Some(ShutdownMode::WaitForClients),
        [mode] if is(mode, "wait_for_servers") => Some(ShutdownMode::WaitForServers),
        _ => None,
    }
}

fn switchover(arguments: &[Token]) -> Option<Command> {
    match arguments {
        [] => Some(Command::Switchover(None)),
        [to, node] if is(to, "to") => Some(Command::Switchover(Some(node_name(node)?))),
        _ => None,
    }
}

fn failover(arguments: &[Token]) -> Option<Command> {
    let (node, force) = match arguments {
        [to, node] if is(to, "to") => (node, false),
        [to, node, force] if is(to, "to") && is(force, "force") => (node, true),
        _ => return None,
    };
    Some(Command::Failover { to: node_name(node)?, force })
}

fn maintenance(arguments: &[Token]) -> Option<Command> {
    match arguments {
        [on] if is(on, "on") => Some(Command::Maintenance(true)),
        [off] if is(off, "off") => Some(Command::Maintenance(false)),
        _ => None,
    }
}

/// Names of nodes are often addresses, which have to be quoted.
pub(super) fn node_name(token: &Token) -> Option<String> {
    match token {
        Token::Word(name) | Token::Quoted(name) | Token::Text(name) => Some(name.clone()),
        Token::Symbol(_) | Token::End => None,
    }
}

fn explain_route(rest: &str) -> Result<Command, ErrorMessage> {
    let (database, sql) = match next_token(rest) {
        Some((first, behind)) if is(&first, "for") => match next_token(behind) {
            Some((Token::Word(name) | Token::Quoted(name) | Token::Text(name), sql)) => (Some(name), sql),
            _ => (None, ""),
        },
        // from where the text begins: blanks and comments belong to it, since hints stand in comments
        _ => (None, rest),
    };
    if skip_blanks(sql).trim_matches(';').is_empty() {
        return Err(ErrorMessage::error(SqlState::SYNTAX_ERROR, "EXPLAIN ROUTE needs a statement")
            .with_hint("EXPLAIN ROUTE [FOR database] SELECT …"));
    }
    Ok(Command::ExplainRoute { database, sql: sql.trim().to_owned() })
}

fn name_of(token: &Token) -> Option<&str> {
    match token {
        Token::Word(name) | Token::Quoted(name) => Some(name),
        Token::Text(_) | Token::Symbol(_) | Token::End => None,
    }
}

pub(super) fn is(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(found) if found.eq_ignore_ascii_case(word))
}

fn not_understood(statement: &str, tokens: &[Token]) -> ErrorMessage {
    if tokens.contains(&Token::Symbol('$')) {
        return ErrorMessage::error(SqlState::FEATURE_NOT_SUPPORTED, "console commands take no parameters")
            .with_hint("Write the value into the command.");
    }
    let told: String = statement.chars().take(TOLD_MAX).collect();
    let told = if told.len() < statement.len() { format!("{told}…") } else { told };
    let words: Vec<&str> = tokens.iter().take(3).filter_map(name_of).collect();
    // What follows a command may be its argument: look at the longest beginning that means something.
    let guess = (1..=words.len()).rev().find_map(|count| nearest(&words.get(..count)?.join(" ")));
    let hint = match guess {
        Some(command) => format!("Did you mean {command}? SHOW HELP lists all commands."),
        None => "This is pgherd's console, not a database. SHOW HELP lists its commands.".to_owned(),
    };
    ErrorMessage::error(SqlState::SYNTAX_ERROR, format!("no such command: {told}")).with_hint(hint)
}
