use std::sync::Arc;

use lab::{Cluster, Login, random_password};
use toml::Value;

use crate::{Configuration, Herd, Proxy, shared};

/// What kind of herd a test needs. All proxies get the same configuration, apart from region and ports.
#[derive(Debug, Clone)]
pub struct Setup {
    cluster: Choice,
    regions: Vec<String>,
    policies: Vec<String>,
    changes: Vec<(String, Value)>,
    environment: Vec<(String, String)>,
}

#[derive(Debug, Clone)]
enum Choice {
    Shared,
    Own { standbys: usize },
    Given(Arc<Cluster>),
}

impl Setup {
    /// Proxies in front of the cluster that tests share: a primary (region `eu`) and two standbys (`us`, `ap`).
    #[must_use]
    pub fn shared() -> Self {
        Self::of(Choice::Shared)
    }

    /// Proxies in front of a new cluster for this test alone.
    #[must_use]
    pub fn own(standbys: usize) -> Self {
        Self::of(Choice::Own { standbys })
    }

    /// Proxies in front of a cluster that the test has started itself.
    #[must_use]
    pub fn of_cluster(cluster: Arc<Cluster>) -> Self {
        Self::of(Choice::Given(cluster))
    }

    fn of(cluster: Choice) -> Self {
        Self {
            cluster,
            regions: vec!["eu".to_owned()],
            policies: ["smart", "read-write", "read-only"].map(String::from).to_vec(),
            changes: Vec::new(),
            environment: Vec::new(),
        }
    }

    /// One proxy in each of these regions (default: one in `eu`).
    #[must_use]
    pub fn regions<'a>(mut self, regions: impl IntoIterator<Item = &'a str>) -> Self {
        self.regions = regions.into_iter().map(String::from).collect();
        self
    }

    /// A listener with this policy, beside those for `smart`, `read-write` and `read-only`.
    #[must_use]
    pub fn listener(mut self, policy: &str) -> Self {
        self.policies.push(policy.to_owned());
        self
    }

    /// A key of the configuration file, such as `pool.size`; see [`Configuration`].
    #[must_use]
    pub fn set(mut self, path: &str, value: impl Into<Value>) -> Self {
        self.changes.push((path.to_owned(), value.into()));
        self
    }

    /// A variable of the proxies' environment.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts everything and waits until all proxies serve and would read from every standby.
    ///
    /// # Panics
    /// When something does not start.
    #[must_use]
    pub fn start(self) -> Herd {
        let herd = self.start_without_service();
        herd.proxies().iter().for_each(Proxy::wait_until_ready);
        herd.proxies().iter().for_each(Proxy::wait_until_standbys_are_known);
        herd
    }

    /// The same, but waits only until all proxies listen: for settings under which `app` is not served, or not
    /// without TLS.
    ///
    /// # Panics
    /// When something does not start.
    #[must_use]
    pub fn start_without_service(self) -> Herd {
        let cluster = match &self.cluster {
            Choice::Shared => shared::cluster(),
            Choice::Own { standbys } => Arc::new(shared::start(*standbys)),
            Choice::Given(cluster) => Arc::clone(cluster),
        };
        let password = random_password().expect("the system has randomness");
        let admin = Login { user: "admin".to_owned(), password };
        let mut configuration = base(&cluster, &admin);
        if matches!(self.cluster, Choice::Shared) {
            // Many tests at a time keep the shared cluster's standbys busy, which says nothing about any of them.
            for (bound, value) in
                [("max_lag", "10min"), ("max_lag_bytes", "4GB"), ("max_sample_age", "10min")]
            {
                configuration.set(&format!("routing.{bound}"), value);
            }
        }
        for (path, value) in &self.changes {
            configuration.set(path, value.clone());
        }
        Herd::start(cluster, admin, &configuration, &self.regions, &self.policies, &self.environment)
    }
}

/// Every role of the cluster logs in with its own password; `admin` and nobody else is let into the console.
fn base(cluster: &Cluster, admin: &Login) -> Configuration {
    let mut configuration = Configuration::default();
    let mut set = |path: &str, value: Value| configuration.set(path, value);
    set("log.level", "info".into());
    set("auth.query", "SELECT rolname, rolpassword FROM pg_authid WHERE rolname = $1 AND rolcanlogin".into());
    set("user.0.name", admin.user.as_str().into());
    set("user.0.secret", admin.password.as_str().into());
    set("admin.users", Value::Array(vec![admin.user.as_str().into()]));
    set("session.shutdown_timeout", "2s".into());
    set("cluster.0.name", "main".into());
    set("cluster.0.monitor.user", cluster.monitor().user.as_str().into());
    set("cluster.0.monitor.secret", cluster.monitor().password.as_str().into());
    set("cluster.0.tls.mode", "disable".into());
    for (at, node) in cluster.nodes().iter().enumerate() {
        set(&format!("cluster.0.nodes.{at}.address"), format!("127.0.0.1:{}", node.port()).into());
        set(&format!("cluster.0.nodes.{at}.region"), node.region().into());
        set(&format!("cluster.0.nodes.{at}.name"), node.name().into());
    }
    configuration
}
