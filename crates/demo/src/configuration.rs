use std::fmt::Write as _;

use lab::{Cluster, Login};

use crate::{certificate::Certificate, shop::LOOKUP_QUERY};

/// The configuration file of one proxy. It holds secrets, so it is for its owner's eyes.
pub(crate) fn text(cluster: &Cluster, region: &str, port: u16, admin: &Login, tls: &Certificate) -> String {
    let monitor = cluster.monitor();
    let mut text = format!(
        "# written by `pgherd demo` at each start\n\
         [proxy]\nname = {name}\nregion = {region}\nstate_dir = {state}\n\n\
         [[listen]]\naddress = \"127.0.0.1:{port}\"\n\n\
         [tls]\nmode = \"allow\"\ncertificate = {certificate}\nkey = {key}\n\n\
         [auth]\nquery = {query}\nquery_database = \"postgres\"\n\n\
         [[user]]\nname = {admin_user}\nsecret = {admin_secret}\n\n\
         [admin]\nusers = [{admin_user}]\n\n\
         [session]\nshutdown_timeout = \"2s\"\n\n\
         [[cluster]]\nname = \"main\"\nnodes = [\n",
        name = quoted(region),
        region = quoted(region),
        state = quoted(&state_directory(region)),
        certificate = quoted(&tls.certificate.to_string_lossy()),
        key = quoted(&tls.key.to_string_lossy()),
        query = quoted(LOOKUP_QUERY),
        admin_user = quoted(&admin.user),
        admin_secret = quoted(&admin.password),
    );
    for node in cluster.nodes() {
        let (name, region) = (quoted(node.name()), quoted(node.region()));
        let _ = writeln!(
            text,
            "    {{ address = \"127.0.0.1:{}\", region = {region}, name = {name} }},",
            node.port()
        );
    }
    let _ = write!(
        text,
        "]\n\n[cluster.monitor]\nuser = {}\nsecret = {}\n\n[cluster.tls]\nmode = \"disable\"\n",
        quoted(&monitor.user),
        quoted(&monitor.password),
    );
    text
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
