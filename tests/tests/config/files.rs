//! `check-config`, and the files that come with pgherd.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use e2e::{Setup, pgherd};

fn tree() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Runs `pgherd check-config` without what this process has in its environment.
fn check(arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let mut command = Command::new(pgherd());
    command.arg("check-config").args(arguments).env_clear().envs(environment.iter().copied());
    let Output { status, stdout, stderr } = command.current_dir(tree()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn the_files_in_config_are_valid() {
    let secrets = [("PGHERD_MONITOR_PASSWORD", "m"), ("PGHERD_ADMIN_PASSWORD", "a")];
    for (file, environment) in [("example", &secrets[..0]), ("dev", &secrets[..]), ("pgherd", &secrets[..1])]
    {
        let file = format!("config/{file}.toml");
        let (code, out, err) = check(&["-c", &file], environment);
        assert_eq!(code, Some(0), "{file}: {err}");
        assert!(out.starts_with(&format!("{file}: ok, ")), "{out}");
    }
    let (code, _, err) = check(&["-c", "config/dev.toml"], &secrets[1..]);
    assert_eq!(code, Some(1));
    assert!(err.contains("no environment variable PGHERD_MONITOR_PASSWORD"), "{err}");
}

#[test]
fn a_mistake_is_told_with_its_place_its_value_and_the_nearest_key() {
    let herd = Setup::shared().start();
    let file = herd.proxy(0).configuration_file();
    let good = fs::read_to_string(&file).unwrap();
    let path = file.to_str().unwrap();
    let (code, out, err) = check(&["-c", path], &[]);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");

    let bad =
        "[pool]\nsiz = 3\nmode = \"sesion\"\n\n[session]\nmax_hold = \"soon\"\n[[cluster]]\nnodes = []\n";
    herd.proxy(0).write_configuration_text(bad);
    let (code, out, err) = check(&["-c", path], &[]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    for expected in [
        ":2:1: unknown key \"siz\" in [pool]; did you mean \"size\"?",
        ":3:8: pool.mode = \"sesion\": expected \"transaction\", \"session\" or \"statement\"",
        ":6:12: session.max_hold = \"soon\"",
    ] {
        assert!(err.contains(&format!("{path}{expected}")), "{expected} is not in {err}");
    }
    let (code, out, _) = check(&["--json", "-c", path], &[]);
    assert_eq!(code, Some(1));
    assert!(out.contains("\"suggestion\":\"size\"") && out.contains("\"line\":2"), "{out}");
    // Nothing of a wrong configuration runs.
    let run = Command::new(pgherd()).args(["run", "-c", path]).env_clear().output().unwrap();
    assert_eq!(run.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&run.stderr).contains("did you mean \"size\"?"));

    let (code, _, err) = check(&["-c", "/nowhere/pgherd.toml"], &[]);
    assert_eq!(code, Some(1));
    assert!(err.contains("/nowhere/pgherd.toml"), "{err}");
    assert_eq!(check(&["--jsno"], &[]).0, Some(2));
    herd.proxy(0).write_configuration_text(&good);
}

#[test]
fn docker_compose_names_files_and_services_that_exist() {
    let text = fs::read_to_string(tree().join("docker-compose.yml")).unwrap();
    assert!(!text.contains('\t'), "YAML is indented with spaces");
    let mut files = 0;
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        let mount = line.strip_prefix("- ").unwrap_or(line).split(':').next().unwrap_or_default();
        if mount.starts_with("./") {
            assert!(tree().join(mount).is_file(), "{mount} does not exist");
            files += 1;
        }
        if let Some((_, alias)) = line.split_once("<<: *") {
            assert!(text.contains(&format!("&{alias}\n")), "*{alias} stands for nothing");
        }
        if let Some((_, services)) = line.split_once("depends_on: [") {
            for service in services.trim_end_matches(']').split(", ") {
                assert!(text.contains(&format!("\n  {service}:\n")), "there is no service {service}");
            }
        }
    }
    assert!(files >= 5, "{files} files");
    let dockerfile = fs::read_to_string(tree().join("Dockerfile")).unwrap();
    assert!(dockerfile.contains("STOPSIGNAL SIGTERM") && dockerfile.contains("HEALTHCHECK"));
    // The nodes of its configuration are its services.
    let configuration = fs::read_to_string(tree().join("config/dev.toml")).unwrap();
    for node in ["pg-eu", "pg-us", "pg-ap"] {
        assert!(configuration.contains(&format!("{node}:5432")) && text.contains(&format!("\n  {node}:\n")));
    }
    match Command::new("docker").args(["compose", "config", "--quiet"]).current_dir(tree()).output() {
        Ok(output) if output.status.success() => println!("docker compose agrees"),
        Ok(output) => {
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(error.contains("is not a docker command") || error.contains("unknown"), "{error}");
        }
        Err(error) => println!("docker compose was not asked: {error}"),
    }
}
