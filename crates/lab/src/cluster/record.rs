use std::{fmt::Write as _, path::Path};

use anyhow::{Context, Result, bail};

use super::{Accounts, Cluster};
use crate::{
    directory::{RECORD, write_private},
    node::Node,
    options::{Login, Options},
    port::Reservation,
};

/// What a kept cluster's directory says about it: lines of words.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) accounts: Accounts,
    pub(super) database: String,
    /// Name, region, port.
    pub(super) nodes: Vec<(String, String, u16)>,
}

impl Record {
    pub(super) fn read(directory: &Path) -> Result<Self> {
        let path = directory.join(RECORD);
        let content =
            std::fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))?;
        Self::parse(&content).with_context(|| format!("{} is damaged", path.display()))
    }

    fn parse(content: &str) -> Result<Self> {
        let (mut superuser, mut application, mut monitor, mut database) = (None, None, None, None);
        let mut nodes = Vec::new();
        for line in content.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let login = |user: &str, password: &str| {
                Some(Login { user: user.to_owned(), password: password.to_owned() })
            };
            match *words {
                ["superuser", user, password] => superuser = login(user, password),
                ["application", user, password] => application = login(user, password),
                ["monitor", user, password] => monitor = login(user, password),
                ["database", name] => database = Some(name.to_owned()),
                ["node", name, region, port] => {
                    nodes.push((name.to_owned(), region.to_owned(), port.parse().context("no port")?));
                }
                _ => bail!("a line is not understood"),
            }
        }
        if nodes.is_empty() {
            bail!("no node");
        }
        Ok(Self {
            accounts: Accounts {
                superuser: superuser.context("no superuser")?,
                application: application.context("no application role")?,
                monitor: monitor.context("no monitor role")?,
            },
            database: database.context("no database")?,
            nodes,
        })
    }

    /// The nodes, on their old ports or, where those are taken, on new ones.
    pub(super) fn nodes(&self, directory: &Path) -> Result<(Vec<Node>, Vec<Reservation>)> {
        let mut reservations = Vec::new();
        let mut nodes = Vec::new();
        for (name, region, port) in &self.nodes {
            let reservation = match Reservation::of(*port) {
                Some(reservation) => reservation,
                None => Reservation::any()?,
            };
            nodes.push(Node::new(name.clone(), region.clone(), reservation.port(), directory));
            reservations.push(reservation);
        }
        Ok((nodes, reservations))
    }
}

impl Cluster {
    /// Writes the record, after which the directory is one of a cluster.
    pub(super) fn write_record(&self) -> Result<()> {
        let mut content = String::new();
        let logins = [
            ("superuser", self.superuser()),
            ("application", self.application()),
            ("monitor", self.monitor()),
        ];
        for (what, login) in logins {
            let _ = writeln!(content, "{what} {} {}", login.user, login.password);
        }
        let _ = writeln!(content, "database {}", self.database());
        for node in &self.nodes {
            let _ = writeln!(content, "node {} {} {}", node.name(), node.region(), node.port());
        }
        write_private(&self.directory.join(RECORD), &content)
    }
}

/// Names for the nodes of a new cluster.
///
/// # Errors
/// When a region's or role's name could not be part of a file name, a slot name and an SQL statement as it is.
pub(super) fn new_nodes(options: &Options, directory: &Path) -> Result<(Vec<Node>, Vec<Reservation>)> {
    for name in options.regions.iter().chain([&options.role, &options.database]) {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(plain) || name.len() > 40
        {
            bail!("{name:?}: names are lower-case letters, digits and _, letter first, 40 at most");
        }
    }
    if options.regions.is_empty() {
        bail!("a cluster needs at least one region");
    }
    let mut nodes: Vec<Node> = Vec::new();
    let mut reservations = Vec::new();
    for region in options.regions.iter().cycle().take(options.standbys + 1) {
        let earlier = nodes.iter().filter(|node| node.region() == region).count();
        let name = if earlier == 0 { region.clone() } else { format!("{region}{}", earlier + 1) };
        if nodes.iter().any(|node| node.name() == name) || name == "sockets" {
            bail!("two nodes would be called {name}");
        }
        let reservation = Reservation::any()?;
        nodes.push(Node::new(name, region.clone(), reservation.port(), directory));
        reservations.push(reservation);
    }
    Ok((nodes, reservations))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_named_after_their_regions_and_numbered_when_those_repeat() {
        let options = Options { standbys: 3, regions: vec!["eu".into(), "us".into()], ..Options::default() };
        let (nodes, reservations) = new_nodes(&options, Path::new("/lab")).unwrap();
        let names: Vec<&str> = nodes.iter().map(Node::name).collect();
        assert_eq!(names, ["eu", "us", "eu2", "us2"]);
        assert_eq!(reservations.len(), 4);
        assert_eq!(nodes[2].data(), Path::new("/lab/eu2"));
    }

    #[test]
    fn names_that_would_need_quoting_are_refused() {
        for region in ["", "EU", "eu-1", "e u", "../eu", "1eu", "sockets"] {
            let options = Options { regions: vec![region.into()], ..Options::default() };
            assert!(new_nodes(&options, Path::new("/lab")).is_err(), "{region}");
        }
    }

    #[test]
    fn a_damaged_record_is_refused() {
        let whole =
            "superuser postgres a\napplication app b\nmonitor pgherd c\ndatabase shop\nnode eu eu 15000\n";
        assert_eq!(Record::parse(whole).unwrap().nodes.len(), 1);
        for damaged in ["", "x", "node eu eu 99999", "database shop", &whole.replace("monitor", "moniteur")] {
            assert!(Record::parse(damaged).is_err(), "{damaged}");
        }
    }
}
