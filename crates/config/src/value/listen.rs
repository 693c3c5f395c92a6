//! Where clients connect to, and who may.

use std::{net::IpAddr, path::PathBuf};

use conn::ListenAddress;
use ipnet::IpNet;

use super::{Value, Wrong};
use crate::tree::Node;

/// How the name of PostgreSQL's socket begins; its port follows. libpq connects to no other name.
const SOCKET_NAME: &str = ".s.PGSQL.";

/// The longest path of a Unix socket that Linux takes.
const SOCKET_PATH_MAX: usize = 107;

/// The port of a Unix socket that none is given for.
const DEFAULT_LISTEN_PORT: u16 = 6432;

impl Value for ListenAddress {
    fn expected() -> String {
        "an IP address and a port such as \"0.0.0.0:5432\" or \"[::]:5432\", or the folder of a Unix socket and a \
         port such as \"/run/pgherd:5432\""
            .to_owned()
    }

    fn read(node: &Node) -> Result<Self, Wrong> {
        let text = node.text().ok_or_else(Wrong::default)?;
        if text.starts_with('/') {
            return socket_path(text).map(Self::Unix);
        }
        text.parse().map(Self::Tcp).map_err(|_| match text.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
                Wrong::because("host names are not resolved here")
            }
            _ => Wrong::default(),
        })
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

fn socket_path(text: &str) -> Result<PathBuf, Wrong> {
    let name = text.rsplit('/').next().unwrap_or_default();
    let path = match name.strip_prefix(SOCKET_NAME) {
        Some(port) if is_port(port) => text.to_owned(),
        Some(_) => return Err(Wrong::because("no such port")),
        None => {
            let (folder, port) = match text.rsplit_once(':') {
                Some((folder, port)) if is_port(port) => (folder, port.to_owned()),
                Some(_) => return Err(Wrong::because("no such port")),
                None => (text, DEFAULT_LISTEN_PORT.to_string()),
            };
            format!("{}/{SOCKET_NAME}{port}", folder.trim_end_matches('/'))
        }
    };
    if path.len() > SOCKET_PATH_MAX {
        return Err(Wrong::because("the system takes 107 bytes at most"));
    }
    if path.contains('\0') { Err(Wrong::default()) } else { Ok(path.into()) }
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok_and(|port| port > 0 && port.to_string() == text)
}

/// The permissions of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileMode(pub(crate) u32);

impl Value for FileMode {
    fn expected() -> String {
        "octal digits in quotes such as \"0770\"".to_owned()
    }

    fn read(node: &Node) -> Result<Self, Wrong> {
        let text = node.text().ok_or_else(Wrong::default)?;
        let fits = (3..=4).contains(&text.len()) && text.bytes().all(|digit| digit.is_ascii_digit());
        let mode = u32::from_str_radix(text, 8).ok().filter(|mode| fits && *mode <= 0o777);
        mode.map(Self).ok_or_else(Wrong::default)
    }

    fn show(&self) -> String {
        format!("{:04o}", self.0)
    }
}

impl Value for IpNet {
    fn expected() -> String {
        "a network such as \"10.0.0.0/8\" or an IP address".to_owned()
    }

    fn read(node: &Node) -> Result<Self, Wrong> {
        let text = node.text().ok_or_else(Wrong::default)?;
        let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(Self::from));
        network.map(|network| network.trunc()).map_err(|_| Wrong::default())
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let node = Node::untyped(crate::Origin::Default, text);
        let read = ListenAddress::read(&node).ok().map(|address| address.show());
        assert_eq!(read.as_deref(), expected, "{text}");
    }

    #[test]
    fn addresses_are_of_tcp_or_of_a_unix_socket_as_libpq_names_it() {
        check("0.0.0.0:5432", Some("0.0.0.0:5432"));
        check("[::]:0", Some("[::]:0"));
        check("/run/pgherd:5432", Some("/run/pgherd/.s.PGSQL.5432"));
        check("/run/pgherd/:5432", Some("/run/pgherd/.s.PGSQL.5432"));
        check("/run/pgherd", Some("/run/pgherd/.s.PGSQL.6432"));
        check("/run/pgherd/.s.PGSQL.5432", Some("/run/pgherd/.s.PGSQL.5432"));
        for wrong in [
            "localhost:1",
            "run/pgherd:1",
            "/run:0",
            "/run:05",
            "/run:x",
            "/run/.s.PGSQL.",
            "/run/.s.PGSQL.70000",
        ] {
            check(wrong, None);
        }
        let folder = format!("/{}", "x".repeat(92));
        check(&format!("{folder}:5432"), Some(&format!("{folder}/.s.PGSQL.5432")));
        check(&format!("{folder}x:5432"), None);
    }

    #[test]
    fn modes_are_octal_digits() {
        let read =
            |text| FileMode::read(&Node::untyped(crate::Origin::Default, text)).ok().map(|mode| mode.0);
        assert_eq!([read("0770"), read("700"), read("0777")], [Some(0o770), Some(0o700), Some(0o777)]);
        for wrong in ["", "7", "0888", "rwx", "+770", "1777", "00770"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_single_address_is_a_network() {
        let read =
            |text| IpNet::read(&Node::untyped(crate::Origin::Default, text)).ok().map(|net| net.show());
        assert_eq!(read("10.1.2.3/8").as_deref(), Some("10.0.0.0/8"));
        assert_eq!(read("192.0.2.7").as_deref(), Some("192.0.2.7/32"));
        assert_eq!(read("::1").as_deref(), Some("::1/128"));
        assert_eq!(read("10.0.0.0/33"), None);
        assert_eq!(read("balancer"), None);
    }
}
