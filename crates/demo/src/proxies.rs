use std::{
    env,
    fs::{self, File},
    mem,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use lab::{Reservation, Signal};
use tokio::time::Instant;

/// How long proxies may take to let their clients finish; their configuration says 2 s.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// A proxy that ended by itself is started again after this time, in which people can see that it is gone.
const RESTART_DELAY: Duration = Duration::from_secs(3);

/// One pgherd process.
pub(crate) struct Proxy {
    region: String,
    port: u16,
    directory: PathBuf,
    binary: PathBuf,
    state: State,
}

enum State {
    Running(Child),
    /// Ended by itself.
    Gone {
        since: Instant,
    },
}

impl Proxy {
    /// Starts a proxy of `region` with the configuration `text`.
    pub(crate) fn start(
        binary: &Path,
        directory: &Path,
        region: &str,
        port: Reservation,
        text: &str,
    ) -> Result<Self> {
        let mut proxy = Self {
            region: region.to_owned(),
            port: port.port(),
            directory: directory.to_owned(),
            binary: binary.to_owned(),
            state: State::Gone { since: Instant::now() },
        };
        lab::write_private(&proxy.file("toml"), text)?;
        fs::create_dir_all(directory.join(crate::configuration::state_directory(region)))
            .context("could not make the proxy's state directory")?;
        port.release();
        proxy.spawn()?;
        Ok(proxy)
    }

    fn spawn(&mut self) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.file("log"));
        let log = log.context("could not open the proxy's log")?;
        let errors = log.try_clone().context("could not duplicate the log's descriptor")?;
        let mut command = Command::new(&self.binary);
        // Overrides that are meant for another pgherd would go over the demo's configuration.
        for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PGHERD__")) {
            command.env_remove(name);
        }
        let child = command
            .args(["run", "-c"])
            .arg(self.file("toml"))
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            // A Ctrl-C in the terminal is for the demo, which stops the proxies in order.
            .process_group(0)
            .spawn()
            .with_context(|| format!("could not start {}", self.binary.display()))?;
        // The lab's warden ends what these files name if the demo is killed.
        fs::write(self.file("pid"), format!("{}\n", child.id()))
            .context("could not write the proxy's pid file")?;
        self.state = State::Running(child);
        Ok(())
    }

    /// `proxy-eu.log` and the like.
    pub(crate) fn file(&self, extension: &str) -> PathBuf {
        self.directory.join(format!("proxy-{}.{extension}", self.region))
    }

    pub(crate) fn region(&self) -> &str {
        &self.region
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Its process id while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        match &self.state {
            State::Running(child) => Some(child.id()),
            State::Gone { .. } => None,
        }
    }

    /// Notices that it has ended, and starts it again after a while; tells what happened.
    pub(crate) fn supervise(&mut self) -> Option<String> {
        let ended = match &mut self.state {
            State::Running(child) => child.try_wait().ok().flatten(),
            State::Gone { since } if since.elapsed() < RESTART_DELAY => None,
            State::Gone { .. } => {
                return Some(match self.spawn() {
                    Ok(()) => format!("proxy {} runs again", self.region),
                    Err(error) => {
                        self.state = State::Gone { since: Instant::now() };
                        format!("proxy {}: {error:#}", self.region)
                    }
                });
            }
        }?;
        self.state = State::Gone { since: Instant::now() };
        let how = describe(ended);
        Some(format!("proxy {} {how}; see {}", self.region, self.file("log").display()))
    }

    /// The end of its log.
    pub(crate) fn log_tail(&self) -> String {
        let log = fs::read_to_string(self.file("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("was ended by signal {signal}"),
        (None, Some(code)) => format!("ended with status {code}"),
        (None, None) => "ended".to_owned(),
    }
}

/// Stops proxies: all are asked at once, and those that do not heed are killed.
pub(crate) fn stop_all(proxies: &mut [Proxy]) {
    for pid in proxies.iter().filter_map(Proxy::pid) {
        let _ = lab::signal(pid, Signal::SIGTERM);
    }
    let deadline = Instant::now() + STOP_PATIENCE;
    for proxy in proxies {
        let former = mem::replace(&mut proxy.state, State::Gone { since: Instant::now() });
        let State::Running(mut child) = former else { continue };
        while matches!(child.try_wait(), Ok(None)) {
            if Instant::now() >= deadline {
                let _ = child.kill();
                let _ = child.wait();
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        let _ = fs::remove_file(proxy.file("pid"));
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
