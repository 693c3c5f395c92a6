//! What mends things, as it is pasted.

use std::net::IpAddr;

use crate::{identifier::quote_literal, init_sql::hba_name};

const RELOAD: &str = "SELECT pg_reload_conf();";

/// A parameter that comes true with a reload.
pub(super) fn set(name: &str, value: &str) -> String {
    format!("ALTER SYSTEM SET {name} = {};\n{RELOAD}", quote_literal(value))
}

/// A parameter that takes a restart.
pub(super) fn set_and_restart(name: &str, value: &str) -> String {
    format!("ALTER SYSTEM SET {name} = {}; -- then restart the server", quote_literal(value))
}

/// A list of libraries, which takes a restart. Each is a literal of its own: `'a, b'` would be one library, and `''` one
/// without a name, with which no server starts.
pub(super) fn set_libraries_and_restart(name: &str, list: &str) -> String {
    let unquoted = |one: &str| one.trim().trim_matches('"').to_owned();
    let all: Vec<String> = list.split(',').map(unquoted).filter(|one| !one.is_empty()).collect();
    let all: Vec<String> = all.iter().map(|one| quote_literal(one)).collect();
    if all.is_empty() {
        format!("ALTER SYSTEM RESET {name}; -- then restart the server")
    } else {
        format!("ALTER SYSTEM SET {name} = {}; -- then restart the server", all.join(", "))
    }
}

/// A parameter back to what the files say.
pub(super) fn reset(name: &str) -> String {
    format!("ALTER SYSTEM RESET {name};\n{RELOAD}")
}

/// A line that lets a role in from an address, and what makes it come true.
pub(super) fn hba_line(database: &str, user: &str, address: IpAddr) -> String {
    let bits = if address.is_ipv4() { 32 } else { 128 };
    hba_line_from(database, user, &format!("{address}/{bits}"))
}

/// The same for an address as it is written.
pub(super) fn hba_line_from(database: &str, user: &str, address: &str) -> String {
    format!("host  {database}  {}  {address}  scram-sha-256\n{RELOAD}", hba_name(user))
}

/// Bytes as people read them.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let (mut rest, mut unit) = (count, 0);
    while rest >= 10 * 1024 && unit + 1 < UNITS.len() {
        rest /= 1024;
        unit += 1;
    }
    format!("{rest} {}", UNITS[unit])
}
