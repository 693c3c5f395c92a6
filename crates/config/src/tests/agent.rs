use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{AgentFile, agent::load_text, agent_reference, load_agent};

/// A folder with the files that an agent's file has to name.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("pgherd-config-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        for file in ["agent.crt", "agent.key", "ca.crt"] {
            fs::write(path.join(file), "x").unwrap();
            fs::set_permissions(path.join(file), fs::Permissions::from_mode(0o600)).unwrap();
        }
        Self(path)
    }

    fn load(&self, text: &str) -> Result<AgentFile, String> {
        let text = format!(
            "[tls]\ncertificate = \"agent.crt\"\nkey = \"agent.key\"\nroot_certificate = \"ca.crt\"\n{text}"
        );
        let path = self.0.join("agent.toml");
        load_text(&path, &Arc::from("agent.toml"), &text).map_err(|mistakes| mistakes.to_string())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

#[test]
fn the_agents_example_file_is_the_reference() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/agent.toml");
    if std::env::var_os("PGHERD_WRITE_REFERENCE").is_some() {
        fs::write(&path, agent_reference()).unwrap();
    }
    let text = fs::read_to_string(&path).unwrap();
    assert!(
        text == agent_reference(),
        "config/agent.toml is old; run this test with PGHERD_WRITE_REFERENCE=1"
    );
}

#[test]
fn little_has_to_be_said_and_paths_are_relative_to_the_file() {
    let folder = Folder::new("least");
    let file = folder.load("[postgres]\ndata_dir = \"/d\"\n").unwrap();
    assert_eq!(file.to_string(), "listens on 0.0.0.0:8432, looks after /d");
    assert_eq!(file.agent.tls.key, folder.0.join("agent.key"));
    assert_eq!(file.agent.postgres.own_files, ["conf.d"]);
    assert_eq!(file.agent.source.ssl_mode, "prefer");
    assert_eq!(file.log.level, "info");
}

#[test]
fn mistakes_in_an_agents_file_are_told_with_place_and_nearest_key() {
    let folder = Folder::new("mistakes");
    let told = folder.load("[postgres]\ndata_dr = \"/d\"\nbin_dir = \"/nonexistent\"\n").unwrap_err();
    assert_eq!(
        told,
        "agent.toml:5:1: postgres lacks \"data_dir\": expected a path\n\
         agent.toml:6:1: unknown key \"data_dr\" in [postgres]; did you mean \"data_dir\"?"
    );
    let told = folder
        .load("[postgres]\ndata_dir = \"d\"\nbin_dir = \"/nonexistent\"\nown_files = [\"a/b\"]\n[pool]\n")
        .unwrap_err();
    assert_eq!(
        told,
        "agent.toml:6:12: postgres.data_dir: expected an absolute path\n\
         agent.toml:7:11: postgres.bin_dir: there is no pg_controldata in /nonexistent\n\
         agent.toml:8:13: postgres.own_files = […]: expected a list, each item a file name without slashes\n\
         agent.toml:9:2: unknown key \"pool\" in the file"
    );
    fs::set_permissions(folder.0.join("agent.key"), fs::Permissions::from_mode(0o644)).unwrap();
    let told = folder.load("[postgres]\ndata_dir = \"/d\"\n").unwrap_err();
    assert!(
        told.starts_with("agent.toml:3:7: tls.key: ") && told.contains("everybody may access it"),
        "{told}"
    );
    let told = load_agent(Path::new("/nonexistent.toml")).unwrap_err().to_string();
    assert!(told.starts_with("/nonexistent.toml: cannot read it"), "{told}");
}
