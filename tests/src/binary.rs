use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// The pgherd binary of the same profile as the tests, built when first asked for; or the one that the variable
/// `PGHERD_BINARY` names.
///
/// # Panics
/// When it does not build.
pub fn pgherd() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| env::var_os("PGHERD_BINARY").map_or_else(build, PathBuf::from))
}

/// A test of one package is not told where the binary of another is, and cargo does not build it for the test either.
fn build() -> PathBuf {
    let own = env::current_exe().expect("the test runs from a file");
    // <target>/<profile>/deps/<test>
    let profile = own.ancestors().nth(2).expect("cargo puts tests into <target>/<profile>/deps");
    let target = profile.parent().expect("a profile's folder is in the target folder");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--package", "proxy", "--target-dir"]).arg(target);
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    // What cargo sets for the test would look like a change to build scripts, and all would be built again.
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") || name == "LD_LIBRARY_PATH"
        {
            cargo.env_remove(&*name);
        }
    }
    let status = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status().expect("cargo starts");
    assert!(status.success(), "the binary does not build");
    profile.join("pgherd")
}
