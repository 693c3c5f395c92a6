use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use e2e::{Herd, Setup};
use lab::{Binaries, Cluster, Options};

use super::{copy, corpus::Corpus};

/// Which way the suite goes to the server.
#[derive(Debug, Clone, Copy)]
pub(super) enum Way {
    /// Around the proxy.
    Direct,
    /// Through the proxy, with this `pool.mode`.
    Through(&'static str),
}

/// What pg_regress made of a server.
#[derive(Debug)]
pub(super) struct Outcome {
    /// Tests whose output is none of those that PostgreSQL expects.
    pub(super) failed: BTreeSet<String>,
    /// All tests.
    pub(super) tests: BTreeSet<String>,
    /// A folder with what psql printed in each test.
    kept: PathBuf,
}

/// Where Debian's packages have it, from the folder of the server's programs.
const PG_REGRESS: &str = "../lib/pgxs/src/test/regress/pg_regress";

/// Whether there is a pg_regress of the server's version.
pub(super) fn is_installed() -> bool {
    Binaries::find().is_ok_and(|binaries| binaries.program(PG_REGRESS).is_file())
}

/// Runs PostgreSQL's regression suite against a new cluster. `schedule` is the text of a schedule, see pg_regress; what
/// comes out is kept under `name`.
pub(super) fn run(corpus: &Corpus, way: Way, schedule: &str, name: &str) -> Outcome {
    let options = Options {
        standbys: 0,
        // As pg_regress sets it for a server of its own.
        settings: vec![("max_prepared_transactions".to_owned(), "2".to_owned())],
        ..Options::default()
    };
    let cluster = Cluster::start(options).unwrap();
    let monitor = &cluster.monitor().user;
    cluster.psql(0, &format!("grant select on pg_authid to {monitor}")).unwrap();
    make_database(&cluster);
    let mode = match way {
        Way::Direct => "session",
        Way::Through(mode) => mode,
    };
    let herd = Setup::of_cluster(Arc::new(cluster)).set("pool.mode", mode).set("pool.size", 30).start();
    let port = match way {
        Way::Direct => herd.cluster().node(0).port(),
        Way::Through(_) => herd.proxy(0).port(),
    };
    let folder = copy(&corpus.regress(), &herd.cluster().directory().join("regress"));
    fs::write(folder.join("schedule"), schedule).unwrap();
    corpus.compile(&folder.join("regress.c"), &folder.join("regress.so"), &["-shared", "-fPIC"]);
    for library in ["autoinc.so", "refint.so"] {
        let installed = herd.cluster().binaries().program("../lib").join(library);
        // They come with another package; without them one test is not as expected in a direct run either.
        let _ = fs::copy(installed, folder.join(library));
    }
    // The server, which is another user, writes there too.
    fs::create_dir_all(folder.join("results")).unwrap();
    let open = Command::new("chmod").args(["-R", "a+rwX"]).arg(&folder).status().unwrap();
    assert!(open.success());
    run_pg_regress(&herd, port, &folder);
    let log = herd.proxy(0).log();
    assert!(!log.contains("panicked"), "a task of the proxy panicked");
    let name = match way {
        Way::Direct => format!("direct-{name}"),
        Way::Through(mode) => format!("{mode}-{name}"),
    };
    collect(&herd, port, &folder, Path::new(env!("CARGO_TARGET_TMPDIR")).join("regress").join(name))
}

/// The database, with what pg_regress sets for one that it makes itself.
fn make_database(cluster: &Cluster) {
    cluster.psql(0, "create database regression template template0 locale 'C'").unwrap();
    for (name, value) in [
        ("lc_messages", "C"),
        ("lc_monetary", "C"),
        ("lc_numeric", "C"),
        ("lc_time", "C"),
        ("bytea_output", "hex"),
        ("timezone_abbreviations", "Default"),
    ] {
        cluster.psql(0, &format!("alter database regression set {name} to '{value}'")).unwrap();
    }
}

fn run_pg_regress(herd: &Herd, port: u16, folder: &Path) {
    let programs = herd.cluster().binaries().directory();
    let pg_regress = programs.join(PG_REGRESS);
    let superuser = herd.cluster().superuser();
    let mut command = herd.program_at(pg_regress, port);
    for (option, value) in [
        ("inputdir", folder.as_os_str()),
        ("outputdir", folder.as_os_str()),
        ("dlpath", folder.as_os_str()),
        ("bindir", programs.as_os_str()),
        ("schedule", folder.join("schedule").as_os_str()),
        ("dbname", "regression".as_ref()),
        ("user", superuser.user.as_ref()),
        ("host", "127.0.0.1".as_ref()),
    ] {
        let mut argument = std::ffi::OsString::from(format!("--{option}="));
        argument.push(value);
        command.arg(argument);
    }
    command.arg(format!("--port={port}")).arg("--use-existing").current_dir(folder);
    command.env("PGPASSWORD", &superuser.password).env("PGSSLMODE", "disable");
    command.env_remove("LC_ALL").env_remove("PGDATABASE");
    // It ends with a failure if one test fails; which ones is read from what it leaves.
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().rev().find(|line| line.contains(" tests ")).unwrap_or_default();
    assert!(!last.is_empty(), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

/// Reads what pg_regress left, and keeps it for whoever wants to look into a difference.
fn collect(herd: &Herd, port: u16, folder: &Path, kept: PathBuf) -> Outcome {
    let directory = herd.cluster().directory().display().to_string();
    let neutral =
        |text: &str| text.replace(&directory, "DIRECTORY").replace(&format!("port {port} "), "port PORT ");
    let _ = fs::remove_dir_all(&kept);
    fs::create_dir_all(&kept).unwrap();
    let mut tests = BTreeSet::new();
    for entry in fs::read_dir(folder.join("results")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "out") {
            let text = neutral(&String::from_utf8_lossy(&fs::read(&path).unwrap()));
            fs::write(kept.join(path.file_name().unwrap()), text).unwrap();
            tests.insert(path.file_stem().unwrap().to_string_lossy().into_owned());
        }
    }
    let differences = fs::read(folder.join("regression.diffs")).unwrap_or_default();
    let differences = String::from_utf8_lossy(&differences);
    let heads = differences.lines().filter(|line| line.starts_with("diff "));
    let outputs = heads.filter_map(|line| line.split(' ').next_back());
    let failed = outputs.filter_map(|path| Some(Path::new(path).file_stem()?.to_string_lossy().into_owned()));
    Outcome { failed: failed.collect(), tests, kept }
}

impl Outcome {
    /// How a test's output differs from that of a direct run, as the lines of a diff; `None` if it does not, or if it
    /// is what PostgreSQL expects, which may come in several forms.
    pub(super) fn difference(&self, direct: &Self, test: &str) -> Option<String> {
        if !self.failed.contains(test) {
            return None;
        }
        let [before, after] = [direct, self].map(|outcome| outcome.kept.join(format!("{test}.out")));
        let output = Command::new("diff").arg("-U0").arg(before).arg(after).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let changes = text.lines().skip(2).filter(|line| line.starts_with(['-', '+']));
        let changes: String = changes.map(|line| line.to_owned() + "\n").collect();
        Some(changes).filter(|changes| !changes.is_empty())
    }
}
