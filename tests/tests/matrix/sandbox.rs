//! A network and mounts of its own for a test: whatever it does to packets and folders concerns nobody else.

use std::{
    env,
    io::Write,
    process::{Command, Stdio},
};

const ENTERED: &str = "MATRIX_NAMESPACE";

/// Whether this process is in namespaces of its own that were made for this test. If not, the test runs in one as another
/// process, whose outcome is this one's.
///
/// # Panics
/// When that test fails, or nobody may make a namespace (it takes root).
pub(super) fn is_entered(test: &str) -> bool {
    if env::var_os(ENTERED).is_some() {
        return true;
    }
    let status = Command::new("unshare")
        .args(["--net", "--mount", "sh", "-c", "ip link set lo up && exec \"$0\" \"$@\""])
        .arg(env::current_exe().unwrap())
        .args([test, "--exact", "--include-ignored", "--nocapture"])
        .env(ENTERED, "1")
        .status()
        .expect("unshare (util-linux) is installed");
    assert!(status.success(), "{test} failed in its namespaces ({status}); it takes root and nftables");
    false
}

/// Replaces all rules for incoming packets; none lets all pass.
pub(super) fn firewall(rules: &str) {
    let table = format!(
        "add table inet matrix\nflush table inet matrix\n\
         add chain inet matrix in {{ type filter hook input priority 0; }}\n{rules}"
    );
    let mut nft =
        Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().expect("nft is installed");
    nft.stdin.take().unwrap().write_all(table.as_bytes()).unwrap();
    assert!(nft.wait().unwrap().success(), "{table}");
}

/// Nothing reaches the server on this port, and nothing comes from it.
pub(super) fn drop_all(port: u16) -> String {
    format!("add rule inet matrix in tcp dport {port} drop\nadd rule inet matrix in tcp sport {port} drop\n")
}

/// So many of a hundred packets of all connections are lost.
pub(super) fn lose(percent: u8) -> String {
    format!("add rule inet matrix in meta l4proto tcp numgen random mod 100 < {percent} drop\n")
}
