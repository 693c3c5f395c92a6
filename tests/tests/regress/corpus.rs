use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
};

/// Parts of PostgreSQL's source tree, and what it takes to build its test programs.
#[derive(Debug)]
pub(super) struct Corpus {
    root: PathBuf,
}

impl Corpus {
    /// The source tree that `PGHERD_SOURCE` names, else that of an earlier run, else it is fetched with apt as
    /// Debian's source package. `None`, and a word about it, if that cannot be.
    pub(super) fn get() -> Option<Self> {
        if let Some(root) = env::var_os("PGHERD_SOURCE") {
            return Some(Self { root: root.into() });
        }
        let own = env::current_exe().expect("the test runs from a file");
        // <target>/<profile>/deps/<test>
        let target = own.ancestors().nth(3).expect("cargo puts tests into <target>/<profile>/deps");
        let root = target.join("postgresql-source");
        // Tests that come at the same time wait for the first.
        static FETCHING: Mutex<()> = Mutex::new(());
        let _guard = FETCHING.lock().unwrap_or_else(PoisonError::into_inner);
        if root.is_dir() {
            return Some(Self { root });
        }
        match fetch(&root) {
            Ok(()) => Some(Self { root }),
            Err(why) => {
                println!("skipped: PostgreSQL's source cannot be fetched with apt: {why}");
                None
            }
        }
    }

    /// The regression suite: `sql`, `data`, `expected`, schedules.
    pub(super) fn regress(&self) -> PathBuf {
        self.root.join("src/test/regress")
    }

    /// libpq_pipeline, the test of libpq's pipeline mode.
    pub(super) fn pipeline(&self) -> PathBuf {
        self.root.join("src/test/modules/libpq_pipeline")
    }

    /// Compiles one file of the source with the C compiler, the server's headers and, behind it, these arguments.
    ///
    /// # Panics
    /// When it does not compile.
    pub(super) fn compile(&self, source: &Path, to: &Path, arguments: &[&str]) {
        let major = major().expect("the headers are those of an installed server");
        let mut command = Command::new("cc");
        command.args(["-w", "-O1", "-o"]).arg(to).arg(source);
        for folder in [format!("development/usr/include/postgresql/{major}/server"), "src/include".to_owned()]
        {
            command.arg("-I").arg(self.root.join(folder));
        }
        command.arg("-I/usr/include/postgresql").arg("-L");
        command.arg(self.root.join(format!("development/usr/lib/postgresql/{major}/lib"))).args(arguments);
        output(&mut command).unwrap_or_else(|complaint| panic!("{} : {complaint}", source.display()));
    }
}

fn fetch(kept: &Path) -> Result<(), String> {
    let work = kept.with_extension("fetching");
    let _ = fs::remove_dir_all(&work);
    fs::create_dir_all(work.join("lists/partial")).map_err(|error| error.to_string())?;
    let found =
        fetch_into(&work).and_then(|()| fs::rename(work.join("source"), kept).map_err(|e| e.to_string()));
    let _ = fs::remove_dir_all(&work);
    found
}

fn fetch_into(work: &Path) -> Result<(), String> {
    let (sources, format) = sources()?;
    let list = work.join(format);
    fs::write(&list, sources).map_err(|error| error.to_string())?;
    // Nothing of the system's own state is touched.
    let apt = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.current_dir(work).args([
            "-o",
            "Dir::Etc::SourceParts=/dev/null",
            "-o",
            "APT::Sandbox::User=root",
        ]);
        command.args(["-o", "Acquire::http::Timeout=20", "-o", "Acquire::Retries=1"]);
        for (option, path) in [
            ("Dir::Etc::SourceList", list.as_path()),
            ("Dir::State::Lists", &work.join("lists")),
            ("Dir::Cache", work),
        ] {
            command.arg("-o").arg(format!("{option}={}", path.display()));
        }
        output(command.args(arguments))
    };
    apt("apt-get", &["-q", "update"])?;
    let major = major().ok_or("no server package of Debian is installed")?;
    let package = format!("postgresql-{major}");
    let versions = apt("apt-cache", &["showsrc", &package])?;
    let versions = versions.lines().filter_map(|line| line.strip_prefix("Version: "));
    // The version of the server is best. A mirror need not have the files of each one that its index names.
    let installed = output(Command::new("dpkg-query").args(["--show", "-f=${Version}", &package]))?;
    let versions: Vec<&str> = std::iter::once(&*installed).chain(versions).collect();
    let fetch = |package: &str, how: &[&str]| {
        let named = versions.iter().map(|version| format!("{package}={version}"));
        let mut fetched = named.map(|name| apt("apt-get", &[&["-q"], how, &[&name]].concat()));
        fetched.find(Result::is_ok).map(drop).ok_or(format!("no version of {package} can be downloaded"))
    };
    fetch(&package, &["source", "--download-only", "--tar-only"])?;
    // Headers and static libraries, without the compilers that the package depends on.
    fetch(&format!("postgresql-server-dev-{major}"), &["download"])?;
    let find = |part: &str| {
        let mut files = fs::read_dir(work).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
        files.find(|path| path.to_string_lossy().contains(part)).ok_or(format!("there is no {part}"))
    };
    let source = work.join("source");
    fs::create_dir(&source).map_err(|error| error.to_string())?;
    let mut tar = Command::new("tar");
    tar.arg("-xf").arg(find(".orig.tar.")?).arg("-C").arg(&source).args([
        "--wildcards",
        "--strip-components=1",
        "*/src/test/regress",
        "*/src/test/modules/libpq_pipeline",
    ]);
    output(&mut tar)?;
    let development = source.join("development");
    output(Command::new("dpkg-deb").arg("--extract").arg(find("server-dev")?).arg(development)).map(drop)
}

/// The newest server package that is installed.
fn major() -> Option<u32> {
    (13..=18).rev().find(|major| Path::new(&format!("/usr/lib/postgresql/{major}")).exists())
}

/// The system's package sources, with sources of source packages, and the name that a file of this format needs.
fn sources() -> Result<(String, &'static str), String> {
    let deb822 = fs::read_to_string("/etc/apt/sources.list.d/debian.sources");
    if let Ok(text) = deb822 {
        return Ok((text.replace("Types: deb\n", "Types: deb deb-src\n"), "src.sources"));
    }
    let text = fs::read_to_string("/etc/apt/sources.list").map_err(|error| format!("no sources: {error}"))?;
    let lines = text.lines().filter(|line| line.starts_with("deb "));
    let both = lines.flat_map(|line| [line.to_owned(), line.replacen("deb ", "deb-src ", 1)]);
    Ok((both.map(|line| line + "\n").collect(), "src.list"))
}

fn output(command: &mut Command) -> Result<String, String> {
    let output = command.env("LC_ALL", "C").output().map_err(|error| format!("{command:?}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}
