//! Runs checks one after another and prints a line for each.

use std::{env, future::Future, pin::Pin, process::exit, time::Duration};

/// How long one check may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many clients there are at a time where many are wanted.
pub const CLIENTS: i32 = 24;

/// One check's future.
pub type Running = Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>;

/// A sentence that says what is checked, and what checks it.
pub type Check = (&'static str, fn() -> Running);

/// Runs the checks whose sentence holds the program's first argument, or all; ends the process with a code that tells
/// whether all of them passed.
pub async fn run(driver: &str, checks: &[Check]) -> ! {
    let only = env::args().nth(1).unwrap_or_default();
    let mut failed = 0;
    for (what, check) in checks.iter().filter(|(what, _)| what.contains(&only)) {
        // A task of its own: a check may panic.
        let ended = tokio::time::timeout(PATIENCE, tokio::spawn(check())).await;
        match ended {
            Ok(Ok(Ok(()))) => println!("{driver}: ok: {what}"),
            other => {
                failed = 1;
                println!("{driver}: FAILED: {what}\n{other:?}");
            }
        }
    }
    exit(failed)
}

/// A variable of the environment that has to be there.
pub fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}
