use super::{LEAST, mistakes, row, valid};

#[track_caller]
fn check(text: &str, expected: &str) {
    assert_eq!(mistakes(&format!("{LEAST}[cluster.patroni]\n{text}")), expected);
}

#[test]
fn the_section_alone_means_port_8008_of_every_node() {
    assert!(valid(LEAST).clusters[0].health.patroni.is_none());
    let text =
        "[[cluster]]\nnodes = [{ address = \"a:5433\" }, { address = \"[::1]\" }]\n[cluster.patroni]\n";
    let settings = valid(text);
    let patroni = settings.clusters[0].health.patroni.as_ref().unwrap();
    let urls: Vec<String> = patroni.urls.iter().map(ToString::to_string).collect();
    assert_eq!(urls, ["http://a:8008", "http://[::1]:8008"]);
    assert_eq!((patroni.interval.as_millis(), &*patroni.namespace), (1000, "service"));
    assert!(patroni.etcd.is_empty() && patroni.login.is_none());
}

#[test]
fn everything_written_arrives() {
    let text = format!(
        "{LEAST}[cluster.patroni]\nurls = [\"https://p1:8008/cluster\"]\netcd = [\"http://e1:2379\", \"http://e2:2379\"]\n\
         scope = \"shop\"\nnamespace = \"/db/\"\ninterval = \"2s\"\ntimeout = \"500ms\"\nuser = \"u\"\nsecret = \"pw\"\n\
         etcd_user = \"e\"\netcd_secret = \"epw\"\n"
    );
    let settings = valid(&text);
    let patroni = settings.clusters[0].health.patroni.as_ref().unwrap();
    assert_eq!(patroni.urls[0].to_string(), "https://p1:8008");
    assert_eq!(
        (patroni.etcd.len(), patroni.scope.as_deref(), &*patroni.namespace),
        (2, Some("shop"), "/db/")
    );
    assert_eq!(patroni.login.as_ref().unwrap().secret.clear_text(), Some("pw"));
    assert_eq!(patroni.etcd_login.as_ref().unwrap().user, "e");
    assert_eq!(row(&settings, "cluster.0.patroni.secret"), "***");
    assert_eq!(row(&settings, "cluster.0.patroni.etcd"), "http://e1:2379, http://e2:2379");
    assert!(settings.warnings.iter().any(|warning| warning.to_string().contains("unencrypted")));
}

#[test]
fn there_is_one_manager() {
    let text = "[proxy]\nstate_dir = \"/tmp\"\n[[cluster]]\nmanage = \"single\"\nnodes = [{ address = \"a:5432\" }]\n\
                [cluster.patroni]\n";
    assert_eq!(
        mistakes(text),
        "p.toml:4:10: cluster.0.manage: there is a [cluster.patroni]: two managers would fight over the primary"
    );
}

#[test]
fn what_does_not_fit_together_is_named() {
    check(
        "etcd = [\"http://e:2379\"]",
        "p.toml:3:1: cluster.0.patroni.scope: etcd needs the cluster's name in Patroni",
    );
    check("urls = []", "p.toml:4:8: cluster.0.patroni.urls: neither urls nor etcd: Patroni cannot be asked");
    check("user = \"u\"", "p.toml:4:8: cluster.0.patroni.user: the user needs a password");
    check("secret = \"u\"", "p.toml:4:10: cluster.0.patroni.secret: the password needs a user");
    check(
        "urls = [\"p1:8008\"]",
        "p.toml:4:8: cluster.0.patroni.urls = […]: expected a list, each item a URL such as \"http://10.0.1.1:8008\" \
         or \"https://[::1]:2379\" (it must begin with http:// or https://)",
    );
    check("scop = \"x\"", "p.toml:4:1: unknown key \"scop\" in [cluster.patroni]; did you mean \"scope\"?");
}
