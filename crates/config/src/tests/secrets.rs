use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use super::{LEAST, load_with};
use crate::{Settings, differences, load};

/// A folder with a configuration in it, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("pgherd-config-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str, mode: u32) -> &Self {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        self
    }

    fn load(&self) -> Result<Settings, String> {
        let text = |mistakes: crate::Mistakes| mistakes.to_string().replace(self.0.to_str().unwrap(), "D");
        load(&self.0.join("p.toml"), std::iter::empty()).map_err(text)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

#[test]
fn files_are_found_beside_the_configuration() {
    let folder = Folder::new();
    folder
        .write(
            "p.toml",
            &format!("{LEAST}monitor.secret = {{ file = \"pw\" }}\n[auth]\nfile = \"users\""),
            0o644,
        )
        .write("pw", "hunter2\n", 0o640)
        .write("users", "\"app\" \"pw\"\n\"other\" \"pw\"", 0o600);
    let settings = folder.load().unwrap();
    assert!(settings.clusters[0].health.secret.is_some());
    assert_eq!(settings.auth.users.len(), 2);
    assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);

    folder.write("users", "\"app\" \"pw2\"", 0o600).write("pw", "hunter3", 0o600);
    let changes = differences(&settings, &folder.load().unwrap());
    let changes: Vec<(&str, &str, &str)> = changes
        .iter()
        .map(|change| (change.key.as_str(), change.old.as_str(), change.new.as_str()))
        .collect();
    assert_eq!(
        changes,
        [
            ("auth.file:app", "***", "***"),
            ("auth.file:other", "***", ""),
            ("cluster.0.monitor.secret", "***", "***"),
        ]
    );
}

#[test]
fn secret_files_that_everybody_may_read_are_refused() {
    let folder = Folder::new();
    folder
        .write(
            "p.toml",
            &format!(
                "{LEAST}monitor.secret = {{ file = \"pw\" }}\n[auth]\nfile = \"users\"\n\
                 [tls]\nmode = \"allow\"\ncertificate = \"crt\"\nkey = \"key\""
            ),
            0o600,
        )
        .write("pw", "hunter2", 0o644)
        .write("users", "\"app\" \"pw\"", 0o604)
        .write("crt", "", 0o644)
        .write("key", "", 0o644);
    assert_eq!(
        folder.load().expect_err("accepted"),
        "D/p.toml:3:18: cluster.0.monitor.secret: D/pw: it holds secrets and everybody may access it; chmod o-rwx it\n\
         D/p.toml:5:8: auth.file: D/users: it holds secrets and everybody may access it; chmod o-rwx it\n\
         D/p.toml:9:7: tls.key: D/key: it holds secrets and everybody may access it; chmod o-rwx it"
    );
}

#[test]
fn files_that_are_not_there_are_named() {
    let folder = Folder::new();
    folder.write(
        "p.toml",
        &format!("{LEAST}monitor.secret.file = \"no\"\ntls.root_certificate = \".\""),
        0o600,
    );
    assert_eq!(
        folder.load().expect_err("accepted"),
        "D/p.toml:3:9: cluster.0.monitor.secret: D/no: No such file or directory (os error 2)\n\
         D/p.toml:4:24: cluster.0.tls.root_certificate: D/.: it is no file"
    );
}

#[test]
fn mistakes_in_the_user_list_have_their_own_line() {
    let folder = Folder::new();
    folder.write("p.toml", &format!("{LEAST}[auth]\nfile = \"users\""), 0o600);
    folder.write("users", "\"a\" \"b\"\n\"c\"\n\"d\" \"\"\n", 0o600);
    let text = folder.load().expect_err("accepted");
    assert_eq!(text, "D/users:2:1: expected \"user\" \"secret\", each in double quotes");
    folder.write("users", "\"a\" \"b\"\n\"d\" \"\"\n\"a\" \"c\"", 0o600);
    let text = folder.load().expect_err("accepted");
    assert_eq!(text, "D/users:2:1: user \"d\": the password is empty\nD/users:3:1: user \"a\": listed twice");
}

#[test]
fn secrets_come_from_the_environment() {
    let text = format!("{LEAST}monitor.secret = {{ env = \"PW\" }}");
    assert!(load_with(&text, &[("PW", "hunter2")]).is_ok());
    assert_eq!(
        load_with(&text, &[]).expect_err("accepted").to_string(),
        "p.toml:3:18: cluster.0.monitor.secret: there is no environment variable PW"
    );
}

#[test]
fn a_monitor_needs_more_than_a_verifier() {
    let key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let text = format!("{LEAST}monitor.secret = \"SCRAM-SHA-256$4096:c2FsdHNhbHRzYWx0${key}:{key}\"");
    assert_eq!(
        load_with(&text, &[]).expect_err("accepted").to_string(),
        "p.toml:3:18: cluster.0.monitor.secret: a SCRAM verifier does not log in to servers; the password is needed"
    );
}

#[test]
fn no_message_quotes_a_secret() {
    for text in [
        "monitor.secret = \"SCRAM-SHA-256$hunter2\"",
        "monitor.secret = \"\"",
        "monitor.secret = { file = \"/nonexistent\", hunter2 = \"hunter2\" }",
        "monitor.secret = [\"hunter2\"]",
        "[[user]]\nname = \"\"\nsecret = \"hunter2\"",
    ] {
        let text = load_with(&format!("{LEAST}{text}"), &[]).expect_err(text).to_string();
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[test]
fn a_public_configuration_with_a_secret_in_it_is_a_warning() {
    let folder = Folder::new();
    let text = format!("{LEAST}[[user]]\nname = \"u\"\nsecret = \"hunter2\"");
    let warnings = |mode: u32| folder.write("p.toml", &text, mode).load().unwrap().warnings.len();
    assert_eq!((warnings(0o644), warnings(0o600)), (1, 0));
}

#[test]
fn the_shipped_files_load() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config");
    let environment = || {
        ["PGHERD_MONITOR_PASSWORD", "PGHERD_ADMIN_PASSWORD"]
            .map(|name| (name.to_owned(), "pw".to_owned()))
            .into_iter()
            .chain([("PGHERD__PROXY__REGION".to_owned(), "us".to_owned())])
    };
    for name in ["pgherd.toml", "dev.toml"] {
        let settings =
            load(&folder.join(name), environment()).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        assert_eq!(settings.warnings, [], "{name}");
        assert_eq!(settings.routing.region, "us");
        assert_eq!(settings.clusters[0].topology.nodes.len(), 3);
    }
}
