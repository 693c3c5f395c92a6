use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use lab::{Cluster, Login, Node};

use crate::{certificate::Certificate, shop::LOOKUP_QUERY};

/// The role by which agents rewind and copy, and the proxies manage: the lab's own for monitoring.
pub(crate) fn agent_role(cluster: &Cluster) -> &str {
    &cluster.monitor().user
}

/// What all proxies are told.
pub(crate) struct Common<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) admin: &'a Login,
    pub(crate) tls: &'a Certificate,
    /// The folder of the keys by which agents are called.
    pub(crate) keys: &'a Path,
    /// The nodes' agents, by their ports.
    pub(crate) agents: &'a [u16],
}

/// Whether a proxy decides who is the primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manage {
    /// It does, and no other.
    Single,
    /// It follows the promotions of others.
    Off,
}

impl Common<'_> {
    /// The configuration file of one proxy. It holds secrets, so it is for its owner's eyes.
    pub(crate) fn proxy(&self, region: &str, port: u16, manage: Manage) -> String {
        let (monitor, tls) = (self.cluster.monitor(), self.tls);
        let mut text = format!(
            "# written by `pgherd demo` at each start\n\
             [proxy]\nname = {name}\nregion = {name}\nstate_dir = {state}\n\n\
             [[listen]]\naddress = \"127.0.0.1:{port}\"\n\n\
             [tls]\nmode = \"allow\"\ncertificate = {certificate}\nkey = {key}\n\n\
             [auth]\nquery = {query}\nquery_database = \"postgres\"\n\n\
             [[user]]\nname = {admin_user}\nsecret = {admin_secret}\n\n\
             [admin]\nusers = [{admin_user}]\n\n\
             [session]\nshutdown_timeout = \"2s\"\n\n\
             [[cluster]]\nname = \"main\"\nmanage = \"{manage}\"\nnodes = [\n",
            name = quoted(region),
            state = quoted(&state_directory(region)),
            certificate = quoted(&tls.certificate.to_string_lossy()),
            key = quoted(&tls.key.to_string_lossy()),
            query = quoted(LOOKUP_QUERY),
            admin_user = quoted(&self.admin.user),
            admin_secret = quoted(&self.admin.password),
            manage = match manage {
                Manage::Single => "single",
                Manage::Off => "off",
            },
        );
        for (node, agent) in self.cluster.nodes().iter().zip(self.agents) {
            let (name, region) = (quoted(node.name()), quoted(node.region()));
            let address = format!("127.0.0.1:{}", node.port());
            let _ = writeln!(
                text,
                "    {{ address = \"{address}\", region = {region}, name = {name}, agent = \"127.0.0.1:{agent}\" }},",
            );
        }
        let key = |name: &str| quoted(&self.keys.join(name).to_string_lossy());
        let _ = write!(
            text,
            "]\n\n[cluster.monitor]\nuser = {}\nsecret = {}\n\n[cluster.tls]\nmode = \"disable\"\n\n\
             [cluster.agents]\ncertificate = {}\nkey = {}\nroot_certificate = {}\n",
            quoted(&monitor.user),
            quoted(&monitor.password),
            key("proxy.crt"),
            key("proxy.key"),
            key("ca.crt"),
        );
        text
    }
}

/// The configuration file of the agent of one node, beside which its keys and password are.
pub(crate) fn agent(cluster: &Cluster, node: &Node, port: u16) -> String {
    format!(
        "# written by `pgherd demo` at each start\n\
         [agent]\nlisten = \"127.0.0.1:{port}\"\n\n\
         [tls]\ncertificate = \"agent.crt\"\nkey = \"agent.key\"\nroot_certificate = \"ca.crt\"\n\n\
         [postgres]\ndata_dir = {}\nbin_dir = {}\n\n\
         [source]\nuser = {}\npassword_file = \"password\"\nsslmode = \"disable\"\n",
        quoted(&node.data().to_string_lossy()),
        quoted(&cluster.binaries().directory().to_string_lossy()),
        quoted(agent_role(cluster)),
    )
}

/// Where a proxy's configuration file is.
pub(crate) fn proxy_file(directory: &Path, region: &str) -> PathBuf {
    directory.join(format!("proxy-{region}.toml"))
}

/// Where a proxy remembers the highest timeline, relative to its configuration file.
pub(crate) fn state_directory(region: &str) -> String {
    format!("state-{region}")
}

/// A TOML basic string.
fn quoted(value: &str) -> String {
    let mut text = String::from('"');
    for c in value.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(text, "\\u{:04X}", u32::from(c));
            }
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_quoted_as_toml_wants_it() {
        assert_eq!(quoted("eu"), "\"eu\"");
        assert_eq!(quoted("a\"b\\c\n"), "\"a\\\"b\\\\c\\u000A\"");
    }
}
