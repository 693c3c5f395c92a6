//! `DATABASE_URL`: a connection string of libpq (manual, "Connection URIs") as a configuration.

use crate::{
    mistake::{Mistake, Origin},
    nearest::nearest,
    tree::{Kind, Node, Table},
};

/// How users other than the URL's are found.
const AUTH_QUERY: &str = "SELECT rolname, rolpassword FROM pg_catalog.pg_authid WHERE rolname = $1 AND rolcanlogin \
     AND (rolvaliduntil IS NULL OR rolvaliduntil > pg_catalog.now())";

/// Parameters of libpq that concern a client and say nothing to a proxy.
const IGNORED: [&str; 15] = [
    "application_name",
    "client_encoding",
    "fallback_application_name",
    "gssencmode",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "load_balance_hosts",
    "options",
    "pgbouncer",
    "sslcompression",
    "sslsni",
    "target_session_attrs",
    "tcp_user_timeout",
];

/// Parameters that are understood.
const KNOWN: [&str; 10] = [
    "channel_binding",
    "connect_timeout",
    "dbname",
    "host",
    "hostaddr",
    "password",
    "port",
    "sslmode",
    "sslrootcert",
    "user",
];

/// What a URL says, percent-decoded.
#[derive(Default)]
struct Parts {
    user: Option<String>,
    password: Option<String>,
    /// `host`, `host:port` or `[address]:port`.
    hosts: Vec<String>,
    database: Option<String>,
    tls_mode: Option<String>,
    root_certificate: Option<String>,
    connect_timeout: Option<String>,
}

/// Makes the tree that a file of the same meaning would make.
///
/// # Errors
/// All mistakes. None quotes the URL, which may hold a password.
pub(crate) fn parse(url: &str) -> Result<Table, Vec<Mistake>> {
    let mut problems = Vec::new();
    let parts = split(url, &mut problems);
    if problems.is_empty() && parts.user.is_none() {
        problems.push(("a user is missing: postgres://user:password@host/database".to_owned(), None));
    }
    if problems.is_empty() {
        return Ok(tree(&parts));
    }
    let mistake =
        |(problem, suggestion)| Mistake { origin: Origin::Url, key: String::new(), problem, suggestion };
    Err(problems.into_iter().map(mistake).collect())
}

type Problems = Vec<(String, Option<String>)>;

fn split(url: &str, problems: &mut Problems) -> Parts {
    let mut parts = Parts::default();
    let Some(rest) = ["postgres://", "postgresql://"].iter().find_map(|scheme| url.strip_prefix(scheme))
    else {
        problems.push(("it does not begin with postgres://".to_owned(), None));
        return parts;
    };
    let rest = rest.split_once('#').map_or(rest, |(rest, _)| rest);
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    // a password may hold an @ that nobody encoded; a host never does
    let (login, hosts) =
        authority.rsplit_once('@').map_or((None, authority), |(login, hosts)| (Some(login), hosts));
    if let Some(login) = login {
        let (user, password) = login.split_once(':').map_or((login, None), |(user, pw)| (user, Some(pw)));
        parts.user = decode(user, "user", problems).filter(|user| !user.is_empty());
        parts.password = password.and_then(|pw| decode(pw, "password", problems)).filter(|pw| !pw.is_empty());
    }
    parts.hosts = hosts.split(',').filter_map(|host| decode(host, "host", problems)).collect();
    parts.database = decode(database, "database", problems).filter(|name| !name.is_empty());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if let Some(value) = decode(value, name, problems) {
            parameter(&mut parts, name, value, problems);
        }
    }
    parts.hosts.retain(|host| !host.is_empty());
    if parts.hosts.is_empty() {
        parts.hosts.push("localhost".to_owned());
    }
    parts
}

fn parameter(parts: &mut Parts, name: &str, value: String, problems: &mut Problems) {
    let list = || value.split(',').map(str::to_owned).collect::<Vec<_>>();
    match name {
        "user" => parts.user = Some(value),
        "password" => parts.password = Some(value),
        "dbname" => parts.database = Some(value),
        "sslmode" => parts.tls_mode = Some(value),
        "sslrootcert" if value == "system" => parts.root_certificate = None,
        "sslrootcert" => parts.root_certificate = Some(value),
        "connect_timeout" if value.parse() != Ok(0_u32) => parts.connect_timeout = Some(value),
        "connect_timeout" => {}
        "host" | "hostaddr" => parts.hosts = list(),
        "port" => {
            let ports = list();
            for (index, host) in parts.hosts.iter_mut().enumerate() {
                // one port stands for all hosts
                if let Some(port) = ports.get(index).or(ports.first().filter(|_| ports.len() == 1)) {
                    *host = format!("{host}:{port}");
                }
            }
        }
        "channel_binding" if value != "require" => {}
        "channel_binding" => {
            let problem =
                "channel_binding=require is not offered to servers; sslmode=verify-full proves who they are";
            problems.push((problem.to_owned(), None));
        }
        _ if IGNORED.contains(&name) => {}
        _ => {
            let near = nearest(name, KNOWN.into_iter().chain(IGNORED)).map(str::to_owned);
            problems.push((format!("unknown parameter {name:?}"), near));
        }
    }
}

fn tree(parts: &Parts) -> Table {
    let text = |text: &str| Node::untyped(Origin::Url, text);
    let table = |entries: Vec<(&str, Option<Node>)>| {
        let mut table = Table::default();
        for (name, node) in entries {
            if let Some(node) = node {
                table.put(name, node);
            }
        }
        Node::table(Origin::Url, table)
    };
    let list = |items: Vec<Node>| Node { origin: Origin::Url, kind: Kind::List(items) };
    // a secret or a name is a string even when it is empty or has commas
    let string = |value: &str| Node { origin: Origin::Url, kind: Kind::String(value.to_owned()) };
    let user = || parts.user.as_deref().map(string);
    let password = || parts.password.as_deref().map(string);
    let database = || parts.database.as_deref().map(string);
    let nodes = parts.hosts.iter().map(|host| table(vec![("address", Some(text(host)))])).collect();
    let monitor = table(vec![("user", user()), ("secret", password()), ("database", database())]);
    let tls = table(vec![
        ("mode", parts.tls_mode.as_deref().map(text)),
        ("root_certificate", parts.root_certificate.as_deref().map(text)),
    ]);
    let cluster = table(vec![("nodes", Some(list(nodes))), ("monitor", Some(monitor)), ("tls", Some(tls))]);
    let auth = table(vec![
        ("query", Some(text(AUTH_QUERY))),
        ("query_optional", Some(text("true"))),
        ("query_database", database()),
    ]);
    let timeout = parts.connect_timeout.as_ref().map(|seconds| text(&format!("{seconds}s")));
    let mut root = Table::default();
    root.put("cluster", list(vec![cluster]));
    root.put("auth", auth);
    root.put("admin", table(vec![("users", user().map(|name| list(vec![name])))]));
    root.put("pool", table(vec![("connect_timeout", timeout)]));
    if parts.password.is_some() {
        root.put("user", list(vec![table(vec![("name", user()), ("secret", password())])]));
    }
    root
}

/// Percent-decoding. A `+` stays one, as in libpq.
fn decode(text: &str, what: &str, problems: &mut Problems) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    let mut valid = true;
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
            let (high, low) = (digit(), digit());
            match high.zip(low).and_then(|(high, low)| u8::try_from(high * 16 + low).ok()) {
                Some(byte) if byte != 0 => bytes.push(byte),
                _ => valid = false,
            }
        } else {
            bytes.push(byte);
        }
    }
    let decoded = String::from_utf8(bytes).ok().filter(|_| valid);
    if decoded.is_none() {
        problems.push((format!("{what}: the percent-encoding is wrong"), None));
    }
    decoded
}
