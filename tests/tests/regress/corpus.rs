use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A folder with `sql` and `data` of PostgreSQL's regression suite: the one that `PGHERD_REGRESS` names, else that of
/// an earlier run, else it is fetched with apt as Debian's source package. `None`, and a word about it, if that cannot
/// be.
pub(super) fn get() -> Option<PathBuf> {
    if let Some(folder) = env::var_os("PGHERD_REGRESS") {
        return Some(folder.into());
    }
    let own = env::current_exe().expect("the test runs from a file");
    // <target>/<profile>/deps/<test>
    let kept =
        own.ancestors().nth(3).expect("cargo puts tests into <target>/<profile>/deps").join("regress-sql");
    if kept.join("sql").is_dir() {
        return Some(kept);
    }
    match fetch(&kept) {
        Ok(()) => Some(kept),
        Err(why) => {
            println!("skipped: the regression SQL cannot be fetched with apt: {why}");
            None
        }
    }
}

fn fetch(kept: &Path) -> Result<(), String> {
    let work = kept.with_extension("fetching");
    let _ = fs::remove_dir_all(&work);
    fs::create_dir_all(work.join("lists/partial")).map_err(|error| error.to_string())?;
    let found =
        fetch_into(&work).and_then(|()| fs::rename(work.join("regress"), kept).map_err(|e| e.to_string()));
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
    let major = (13..=18).rev().find(|major| Path::new(&format!("/usr/lib/postgresql/{major}")).exists());
    let package = format!("postgresql-{}", major.ok_or("no server package of Debian is installed")?);
    let versions = apt("apt-cache", &["showsrc", &package])?;
    // A mirror need not have the files of each version that its index names.
    let versions = versions.lines().filter_map(|line| line.strip_prefix("Version: "));
    versions
        .map(|version| format!("{package}={version}"))
        .find(|source| apt("apt-get", &["-q", "source", "--download-only", "--tar-only", source]).is_ok())
        .ok_or("no version of the source package can be downloaded")?;
    let is_tar = |path: &PathBuf| path.to_string_lossy().contains(".orig.tar.");
    let files = fs::read_dir(work).map_err(|error| error.to_string())?;
    let tar = files.filter_map(|entry| Some(entry.ok()?.path())).find(is_tar).ok_or("there is no archive")?;
    let only = ["--wildcards", "--strip-components=3", "*/src/test/regress/sql", "*/src/test/regress/data"];
    output(Command::new("tar").current_dir(work).arg("-xf").arg(tar).args(only)).map(drop)
}

/// The system's package sources as sources of source packages, and the name that a file of this format needs.
fn sources() -> Result<(String, &'static str), String> {
    let deb822 = fs::read_to_string("/etc/apt/sources.list.d/debian.sources");
    if let Ok(text) = deb822 {
        return Ok((text.replace("Types: deb\n", "Types: deb-src\n"), "src.sources"));
    }
    let text = fs::read_to_string("/etc/apt/sources.list").map_err(|error| format!("no sources: {error}"))?;
    let lines = text.lines().filter(|line| line.starts_with("deb "));
    Ok((lines.map(|line| line.replacen("deb ", "deb-src ", 1) + "\n").collect(), "src.list"))
}

fn output(command: &mut Command) -> Result<String, String> {
    let output = command.env("LC_ALL", "C").output().map_err(|error| format!("{command:?}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}
