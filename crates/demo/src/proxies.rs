use std::fs;

use anyhow::{Context, Result, bail};
use lab::{Cluster, Reservation};

use crate::{configuration, process::Process, program::Program};

/// The proxy of one region.
pub(crate) struct Proxy {
    region: String,
    port: u16,
    process: Process,
}

impl Proxy {
    /// Starts a proxy of `region`, whose configuration file is there.
    ///
    /// # Errors
    /// When its state directory cannot be made, or the process does not start.
    pub(crate) fn start(
        program: &Program,
        cluster: &Cluster,
        region: &str,
        port: Reservation,
    ) -> Result<Self> {
        let directory = cluster.directory();
        let file = configuration::proxy_file(directory, region);
        fs::create_dir_all(directory.join(configuration::state_directory(region)))
            .context("could not make the proxy's state directory")?;
        let port = port.release();
        let program = program.clone();
        let process = Process::start(format!("proxy {region}"), directory, move || {
            let mut command = program.command();
            command.args(["run", "-c"]).arg(&file);
            command
        })?;
        Ok(Self { region: region.to_owned(), port, process })
    }

    pub(crate) fn region(&self) -> &str {
        &self.region
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    pub(crate) fn process_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// Ports from `base` on for `count` proxies, and a word about each that is taken.
///
/// # Errors
/// When there are too few up to the last port.
pub(crate) fn choose_ports(base: u16, count: usize) -> Result<(Vec<Reservation>, Vec<String>)> {
    let (mut reservations, mut words) = (Vec::new(), Vec::new());
    for port in base..=u16::MAX {
        if reservations.len() == count {
            break;
        }
        match Reservation::of(port) {
            Some(reservation) => reservations.push(reservation),
            None if port < 1024 => bail!("port {port} is taken, or only root may use it; see --base-port"),
            None => words.push(format!("port {port} is taken and skipped")),
        }
        // Somebody who runs this many servers in a row wants another base.
        if words.len() == 100 {
            bail!("the ports from {base} on are taken; see --base-port");
        }
    }
    if reservations.len() < count {
        bail!("there are not {count} free ports from {base} on; see --base-port");
    }
    Ok((reservations, words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_skipped_with_a_word_about_it() {
        let taken = Reservation::any().unwrap();
        let (reservations, words) = choose_ports(taken.port(), 2).unwrap();
        assert_eq!(reservations.len(), 2);
        assert!(reservations[0].port() > taken.port());
        assert!(words[0].contains(&taken.port().to_string()), "{words:?}");
        assert!(choose_ports(u16::MAX, 2).is_err());
    }
}
