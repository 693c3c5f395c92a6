//! Habits of the tree that nobody should have to watch over (STYLE sections 1 and 2).

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use toml::Table;

/// Functions of values: no runtime, socket, clock or log.
const PURE: [&str; 8] = ["wire", "protocol", "auth", "sql", "topology", "failover", "routing", "doctor"];

/// What a pure crate must not even reach indirectly.
const IMPURE: [&str; 9] =
    ["tokio", "mio", "socket2", "rustls", "tracing", "log", "arc-swap", "nix", "async-std"];

/// Which crates each crate may name; the order is that of the path, and nothing points back.
const ARROWS: [(&str, &[&str]); 21] = [
    ("wire", &[]),
    ("protocol", &["wire"]),
    ("auth", &["wire"]),
    ("sql", &[]),
    ("topology", &["wire"]),
    ("failover", &["wire", "topology"]),
    ("routing", &["wire", "sql", "topology"]),
    ("conn", &["wire", "protocol", "auth"]),
    ("pool", &["wire", "protocol", "auth", "sql", "topology", "conn"]),
    ("session", &["wire", "protocol", "auth", "sql", "topology", "routing", "conn", "pool"]),
    ("doctor", &["wire", "topology"]),
    ("patroni", &["auth", "conn"]),
    ("agent", &[]),
    (
        "health",
        &[
            "wire", "protocol", "auth", "sql", "topology", "failover", "conn", "pool", "doctor", "patroni",
            "agent",
        ],
    ),
    (
        "admin",
        &[
            "wire", "protocol", "auth", "sql", "topology", "failover", "routing", "conn", "pool", "session",
            "doctor", "patroni", "health",
        ],
    ),
    (
        "config",
        &[
            "wire", "protocol", "auth", "sql", "topology", "failover", "routing", "conn", "pool", "session",
            "patroni", "agent", "health", "admin",
        ],
    ),
    ("lab", &[]),
    ("demo", &["lab"]),
    ("testkit", &["wire", "auth"]),
    ("e2e", &["wire", "lab", "testkit"]),
    (
        "benches",
        &[
            "wire", "protocol", "auth", "sql", "topology", "routing", "conn", "pool", "session", "lab",
            "testkit",
        ],
    ),
];

/// Files that are longer and read better whole.
const LONG_FILES: [&str; 0] = [];

/// Most lines of a file without its tests.
const LINES_MAX: usize = 400;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package is in the workspace").to_owned()
}

/// Folders of the workspace's packages.
fn packages() -> Vec<PathBuf> {
    let manifest: Table = fs::read_to_string(root().join("Cargo.toml")).unwrap().parse().unwrap();
    let members = manifest["workspace"]["members"].as_array().unwrap();
    members.iter().map(|member| root().join(member.as_str().unwrap())).collect()
}

fn manifest(package: &Path) -> Table {
    fs::read_to_string(package.join("Cargo.toml")).unwrap().parse().unwrap()
}

fn name(manifest: &Table) -> String {
    manifest["package"]["name"].as_str().unwrap().to_owned()
}

/// All Rust files below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return found };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// A source file's text up to its tests; `None` for a file of tests.
fn without_tests(path: &Path) -> Option<String> {
    let is_test = path.components().any(|part| {
        let part = part.as_os_str().to_string_lossy();
        part == "tests" || part == "tests.rs"
    });
    let is_for_tests = path.file_name().is_some_and(|name| name == "testing.rs");
    if is_for_tests || is_test && !path.starts_with(root().join("tests/src")) {
        return None;
    }
    let text = fs::read_to_string(path).unwrap();
    let end = ["\nmod tests {", "\npub(crate) mod tests {"].iter().filter_map(|head| text.find(head)).min();
    let end = end.unwrap_or(text.len());
    Some(text[..end].to_owned())
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().to_string_lossy().into_owned()
}

#[test]
fn pure_crates_reach_nothing_impure() {
    for package in PURE {
        let tree = Command::new(env!("CARGO"))
            .args(["tree", "--offline", "--package", package, "--edges", "normal", "--prefix", "none"])
            .current_dir(root())
            .output()
            .unwrap();
        assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
        let tree = String::from_utf8_lossy(&tree.stdout).into_owned();
        let reached: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
        assert!(reached.contains(package), "{tree}");
        for impure in IMPURE {
            assert!(!reached.contains(impure), "{package} reaches {impure}");
        }
    }
}

#[test]
fn pure_crates_read_no_clock_and_open_nothing() {
    const FORBIDDEN: [&str; 7] = [
        "Instant::now",
        "SystemTime",
        "std::net::Tcp",
        "std::net::Udp",
        "std::fs",
        "std::env",
        "std::thread",
    ];
    for package in PURE {
        for path in sources(&root().join("crates").join(package).join("src")) {
            let Some(text) = without_tests(&path) else { continue };
            for word in FORBIDDEN {
                assert!(!text.contains(word), "{} uses {word}", relative(&path));
            }
        }
    }
}

#[test]
fn arrows_between_crates_point_down_only() {
    let packages = packages();
    let manifests: Vec<Table> = packages.iter().map(|package| manifest(package)).collect();
    let own: BTreeSet<String> = manifests.iter().map(name).collect();
    for manifest in &manifests {
        let package = name(manifest);
        // It wires everything.
        if package == "proxy" {
            continue;
        }
        let allowed = ARROWS.iter().find(|(its, _)| *its == package);
        let allowed =
            allowed.unwrap_or_else(|| panic!("{package} has no arrows; say here what it may name")).1;
        let dependencies = manifest.get("dependencies").and_then(|value| value.as_table());
        for dependency in dependencies.iter().flat_map(|table| table.keys()) {
            let fits = !own.contains(dependency) || allowed.contains(&dependency.as_str());
            assert!(fits, "{package} names {dependency}");
        }
    }
}

#[test]
fn files_are_of_a_length_that_can_be_read() {
    let mut long = Vec::new();
    for path in packages().iter().flat_map(|package| sources(package)) {
        let Some(text) = without_tests(&path) else { continue };
        let lines = text.lines().count();
        if lines > LINES_MAX && !LONG_FILES.contains(&&*relative(&path)) {
            long.push(format!("{} has {lines} lines", relative(&path)));
        }
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn nothing_is_left_undone() {
    // Put together, so that this file does not hold them.
    let words = [["todo", "!("], ["unimplemented", "!("], ["dbg", "!("], ["TO", "DO"], ["FIX", "ME"]]
        .map(|parts| parts.concat());
    for path in packages().iter().flat_map(|package| sources(package)) {
        let text = fs::read_to_string(&path).unwrap();
        for word in &words {
            assert!(!text.contains(word), "{} holds {word}", relative(&path));
        }
    }
}

#[test]
fn only_tests_unwrap() {
    for package in packages() {
        // What is for tests only panics where it cannot go on.
        if package.ends_with("tests") {
            continue;
        }
        for path in sources(&package.join("src")) {
            let Some(text) = without_tests(&path) else { continue };
            for (number, line) in text.lines().enumerate() {
                let code = line.split("//").next().unwrap_or_default();
                assert!(!code.contains(".unwrap()"), "{}:{} unwraps", relative(&path), number + 1);
            }
        }
    }
}

#[test]
fn a_crates_front_page_is_a_table_of_contents() {
    for package in packages() {
        let Ok(text) = fs::read_to_string(package.join("src/lib.rs")) else { continue };
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        assert!(text.starts_with("//!"), "{} does not say what it is for", relative(&package));
        for line in text.lines() {
            let has_logic = line.contains("fn ") && !line.starts_with("//!");
            assert!(!has_logic, "{}/src/lib.rs has logic: {line}", relative(&package));
        }
    }
}

#[test]
fn no_module_is_called_by_what_it_is_not_about() {
    for path in packages().iter().flat_map(|package| sources(package)) {
        for part in path.strip_prefix(root()).unwrap().components() {
            let part = part.as_os_str().to_string_lossy();
            let stem = part.trim_end_matches(".rs");
            assert!(!["util", "utils", "common", "helpers", "misc"].contains(&stem), "{}", relative(&path));
        }
    }
}
