//! TLS on both sides.

use std::{fs, time::Duration};

use e2e::{Certificate, Herd, Setup, eventually};
use lab::Signal;

const PATIENCE: Duration = Duration::from_secs(10);

/// Connects with psql to the herd's first proxy; gives what `sql` yields.
fn psql(herd: &Herd, settings: &[(&str, &str)], sql: &str) -> anyhow::Result<String> {
    let mut command = herd.program("psql", herd.proxy(0).port());
    command.args(["-X", "-A", "-t", "-c", sql]).envs(settings.iter().copied());
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(text)
}

/// Each test has a certificate of its own: they run side by side, and one of them replaces its files.
fn with_certificate(test: &str, mode: &str) -> (Herd, Certificate) {
    let cluster = Herd::common();
    let certificate = Certificate::make(cluster.cluster().directory(), &format!("client-side-{test}"));
    let herd = Setup::shared()
        .set("tls.mode", mode)
        .set("tls.certificate", &*certificate.certificate.to_string_lossy())
        .set("tls.key", &*certificate.key.to_string_lossy())
        .start_without_service();
    eventually("clients are served", PATIENCE, || psql(&herd, &[("PGSSLMODE", "require")], "select 1").ok());
    (herd, certificate)
}

#[test]
fn clients_choose_when_tls_is_allowed() {
    let (herd, certificate) = with_certificate("choice", "allow");
    let authority = certificate.authority.to_string_lossy();
    for mode in ["disable", "require", "verify-full"] {
        let settings = [("PGSSLMODE", mode), ("PGSSLROOTCERT", &*authority)];
        assert_eq!(psql(&herd, &settings, "select 1").unwrap(), "1", "{mode}");
    }
    let large = "select length(string_agg(repeat('x', 1000), '')) from generate_series(1, 5000)";
    assert_eq!(psql(&herd, &[("PGSSLMODE", "require")], large).unwrap(), "5000000");
}

#[test]
fn clients_without_tls_are_refused_when_it_is_required() {
    let (herd, _) = with_certificate("required", "require");
    assert_eq!(psql(&herd, &[("PGSSLMODE", "require")], "select 1").unwrap(), "1");
    let refused = psql(&herd, &[("PGSSLMODE", "disable")], "select 1").unwrap_err();
    assert!(refused.to_string().contains("FATAL"), "{refused}");
}

#[test]
fn clients_that_insist_on_tls_are_disappointed_when_it_is_off() {
    let herd = Herd::common();
    assert!(psql(&herd, &[("PGSSLMODE", "require")], "select 1").is_err());
    assert_eq!(psql(&herd, &[("PGSSLMODE", "prefer")], "select 1").unwrap(), "1");
}

#[test]
fn a_new_certificate_is_used_after_a_reload() {
    let (herd, certificate) = with_certificate("reload", "allow");
    let folder = certificate.certificate.parent().unwrap();
    let newer = Certificate::make(folder, &format!("{}-newer", herd.database()));
    let authority = newer.authority.to_string_lossy().into_owned();
    let settings = [("PGSSLMODE", "verify-full"), ("PGSSLROOTCERT", &*authority)];
    assert!(psql(&herd, &settings, "select 1").is_err());
    fs::copy(&newer.certificate, &certificate.certificate).unwrap();
    fs::copy(&newer.key, &certificate.key).unwrap();
    herd.proxy(0).signal(Signal::SIGHUP);
    eventually("the new certificate is shown", PATIENCE, || psql(&herd, &settings, "select 1").ok());
}

#[test]
fn servers_are_verified_as_libpq_would() {
    let cluster = std::sync::Arc::new(
        lab::Cluster::start(lab::Options { standbys: 0, ..lab::Options::default() }).unwrap(),
    );
    let monitor = &cluster.monitor().user;
    cluster.psql(0, &format!("grant select on pg_authid to {monitor}")).unwrap();
    let of_server = Certificate::make(cluster.node(0).data(), "server-side");
    let of_nobody = Certificate::make(cluster.directory(), "nobody");
    cluster.psql(0, "alter system set ssl_cert_file = 'server-side.crt'").unwrap();
    cluster.psql(0, "alter system set ssl_key_file = 'server-side.key'").unwrap();
    cluster.psql(0, "alter system set ssl = on").unwrap();
    cluster.reload(0).unwrap();
    let right = of_server.authority.to_string_lossy().into_owned();
    let wrong = of_nobody.authority.to_string_lossy().into_owned();
    let encrypted = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
    eventually("the server speaks TLS", PATIENCE, || {
        (cluster.psql(0, "show ssl").unwrap() == "on").then_some(())
    });
    for (mode, authority, expected) in [
        ("disable", None, Some("f")),
        ("prefer", None, Some("t")),
        ("require", None, Some("t")),
        ("verify-ca", Some(&right), Some("t")),
        ("verify-full", Some(&right), Some("t")),
        ("verify-ca", Some(&wrong), None),
        ("verify-full", Some(&wrong), None),
    ] {
        let mut setup = Setup::of_cluster(cluster.clone()).set("cluster.0.tls.mode", mode);
        setup = setup.set("session.max_hold", "1s");
        if let Some(authority) = authority {
            setup = setup.set("cluster.0.tls.root_certificate", authority.as_str());
        }
        match expected {
            Some(expected) => assert_eq!(psql(&setup.start(), &[], encrypted).unwrap(), expected, "{mode}"),
            None => {
                let herd = setup.start_without_service();
                assert!(psql(&herd, &[], encrypted).is_err(), "{mode} with another authority");
                assert!(herd.proxy(0).pid().is_some());
            }
        }
    }
}
