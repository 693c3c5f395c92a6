//! `pgherd keygen`: keys for proxies and agents.

use std::process::ExitCode;

use crate::arguments::KeygenArguments;

/// Makes the files that are missing and says which.
///
/// # Errors
/// [`agent::KeyError`].
pub(crate) fn run(arguments: KeygenArguments) -> anyhow::Result<ExitCode> {
    let agents = arguments.agents.iter().map(|text| named(text)).collect();
    let request = agent::KeyRequest { folder: arguments.dir, agents };
    let made = agent::make_keys(&request)?;
    for path in &made {
        println!("{}", path.display());
    }
    if made.is_empty() {
        eprintln!("all of these files are there already");
    }
    Ok(ExitCode::SUCCESS)
}

/// `name=host,host`, or a host that is its own name.
fn named(text: &str) -> (String, Vec<String>) {
    match text.split_once('=') {
        Some((name, hosts)) => (name.to_owned(), hosts.split(',').map(str::to_owned).collect()),
        None => (text.replace(':', "-"), vec![text.to_owned()]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_has_a_name_and_hosts() {
        assert_eq!(named("10.0.1.1"), ("10.0.1.1".to_owned(), vec!["10.0.1.1".to_owned()]));
        assert_eq!(named("::1"), ("--1".to_owned(), vec!["::1".to_owned()]));
        assert_eq!(named("eu=10.0.1.1,db"), ("eu".to_owned(), vec!["10.0.1.1".to_owned(), "db".to_owned()]));
    }
}
