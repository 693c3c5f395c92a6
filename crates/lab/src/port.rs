use std::{fs, net::TcpListener, time::Duration};

use anyhow::{Result, bail};

use crate::{processes::wait_for, secret::random_number};

/// Where the search for ports starts.
const LOWEST: u16 = 15_000;

/// How long a fork may take to become another program.
const RELEASE_PATIENCE: Duration = Duration::from_secs(2);

/// A port on 127.0.0.1 that nobody listens on, held until this value is dropped.
#[derive(Debug)]
pub struct Reservation {
    listener: TcpListener,
    port: u16,
}

impl Reservation {
    /// Holds any free port. It lies below the range that the kernel hands to outgoing connections: a server that
    /// is stopped for a while would otherwise find its port taken by some client's socket.
    ///
    /// # Errors
    /// When no free port was found.
    pub fn any() -> Result<Self> {
        let end = first_ephemeral_port().clamp(LOWEST + 1_000, 60_000);
        for _ in 0..200 {
            let offset = random_number()? % u32::from(end - LOWEST);
            let port = LOWEST + u16::try_from(offset)?;
            if let Some(reservation) = Self::of(port) {
                return Ok(reservation);
            }
        }
        bail!("no free port between {LOWEST} and {end}")
    }

    /// Holds this very port, if it is free.
    #[must_use]
    pub fn of(port: u16) -> Option<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port)).ok()?;
        Some(Self { listener, port })
    }

    /// The port's number.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Lets go of the port so that a server can take it. A process that another thread is just forking shares the
    /// socket until it executes its program, so this waits until the port is really free.
    pub fn release(self) -> u16 {
        drop(self.listener);
        // If somebody else took it meanwhile, the server will say so.
        let _ = wait_for("a released port", RELEASE_PATIENCE, || Ok(is_free(self.port).then_some(())));
        self.port
    }
}

/// A port on 127.0.0.1 that is free at this moment.
///
/// # Errors
/// When no free port was found.
pub fn free_port() -> Result<u16> {
    Ok(Reservation::any()?.release())
}

/// Whether `port` of 127.0.0.1 is free at this moment.
#[must_use]
pub fn is_free(port: u16) -> bool {
    Reservation::of(port).is_some()
}

/// Where the kernel's range for outgoing connections begins.
fn first_ephemeral_port() -> u16 {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    range.split_whitespace().next().and_then(|port| port.parse().ok()).unwrap_or(32_768)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserved_port_is_taken_until_it_is_released() {
        let reservation = Reservation::any().unwrap();
        let port = reservation.port();
        assert!(!is_free(port));
        assert!(Reservation::of(port).is_none());
        assert_eq!(reservation.release(), port);
        assert!(is_free(port));
    }
}
