use std::time::Duration;
use topology::Service;

use routing::Policy;

use super::{LEAST, row, valid};
use crate::{LogFormat, Workers};

#[test]
fn what_is_not_written_is_as_the_other_crates_have_it() {
    let settings = valid(LEAST);
    assert_eq!(settings.session, session::Settings::default());
    assert_eq!(settings.databases.len(), 1);
    assert_eq!(settings.databases[0].name, "*");
    assert_eq!(settings.databases[0].pool, pool::Settings::default());
    assert_eq!(settings.listeners.len(), 1);
    assert_eq!(settings.listeners[0].address.to_string(), "127.0.0.1:6432");
    assert_eq!(settings.client_tls, conn::ClientTls::Off);
    assert_eq!(settings.proxy.workers, Workers::Auto);
    assert_eq!(settings.routing.max_lag_bytes, 16 << 20);
    assert_eq!(settings.routing.max_lag, Duration::from_secs(10));
    assert_eq!(settings.routing.max_sample_age, Duration::from_secs(3));
    let cluster = &settings.clusters[0];
    assert_eq!(cluster.topology.cluster, "main");
    assert_eq!(cluster.topology.nodes[0].name, "a:5432");
    assert_eq!(cluster.topology.down_after_probes, 3);
    assert_eq!(cluster.health.tls.mode, conn::ServerTlsMode::Prefer);
    assert_eq!((cluster.health.user.as_str(), cluster.health.database.as_str()), ("pgherd", "postgres"));
}

#[test]
fn everything_written_arrives() {
    let settings = valid(
        r#"
        proxy = { name = "px", region = "eu", zone = "eu-1", workers = 3, state_dir = "state" }
        log = { format = "json", level = "info,session=debug" }
        listen = [
            { address = "[::]:5432", policy = "read-only", proxy_protocol = ["10.0.0.0/8", "192.0.2.7"] },
            { address = "/run/pgherd:5432", socket_mode = "0770" },
        ]
        auth = { query = "SELECT a, b FROM c WHERE d = $1", cache = "5m" }
        admin = { users = ["root"], stats_users = ["watch"] }
        pool = { size = 7, mode = "session" }
        routing = { read_your_writes = "off", primary_functions = ["audit.log()"], replica_functions = ["noisy"] }
        [session]
        input_limit = "64kB"
        max_hold = "1min"
        [[cluster]]
        name = "m"
        nodes = [{ address = "[::1]", region = "eu", zone = "z", name = "first" }]
        tls = { mode = "require" }
        monitor = { user = "probe", secret = "pw", interval = "100ms" }
        [[database]]
        name = "shop"
        server_name = "shop_v2"
        cluster = "m"
        policy = "read-write"
        pool = { size = 3 }
        [[database]]
        "#,
    );
    assert_eq!(settings.proxy.workers.count(1), 3);
    assert_eq!(settings.log.format, LogFormat::Json);
    assert_eq!(settings.listeners[0].policy, Policy::ReadOnly);
    let is_balancer = |ip: &str| settings.listeners[0].proxy_protocol.contains(ip.parse().unwrap());
    assert!(is_balancer("10.1.2.3") && is_balancer("::ffff:10.1.2.3") && is_balancer("192.0.2.7"));
    assert!(!is_balancer("192.0.2.8") && !is_balancer("::1"));
    assert_eq!(settings.listeners[1].address.to_string(), "/run/pgherd/.s.PGSQL.5432");
    assert_eq!(settings.listeners[1].socket_mode, 0o770);
    assert_eq!(settings.auth.query.as_ref().unwrap().cache, Duration::from_secs(300));
    assert_eq!(settings.function_lists.primary, ["audit.log"]);
    assert_eq!(settings.routing.region, "eu");
    assert_eq!(settings.session.input_limit, 65_536);
    assert_eq!(settings.session.max_hold, Duration::from_secs(60));
    let health = &settings.clusters[0].health;
    assert!(health.secret.is_some());
    assert_eq!(health.state_file.as_deref().unwrap().to_str(), Some("state/m.state"));
    let node = &settings.clusters[0].topology.nodes[0];
    assert_eq!((node.host.as_str(), node.port, node.name.as_str()), ("::1", 5432, "first"));
    let [shop, any] = settings.databases.as_slice() else { panic!("two databases") };
    assert_eq!(
        (shop.pool.size, shop.pool.mode),
        (3, pool::PoolMode::Session),
        "[pool] holds where it says nothing"
    );
    assert_eq!((shop.server_name.as_deref(), shop.policy), (Some("shop_v2"), Some(Policy::ReadWrite)));
    assert_eq!((any.name.as_str(), any.pool.size), ("*", 7));
}

#[test]
fn workers_are_a_quarter_of_the_cores_from_one_to_four() {
    let counts = [1, 3, 4, 8, 16, 128].map(|cores| Workers::Auto.count(cores));
    assert_eq!(counts, [1, 1, 1, 2, 4, 4]);
}

#[test]
fn show_config_has_every_key_and_no_secret() {
    let settings = valid(&format!("{LEAST}monitor = {{ secret = \"hunter2\" }}\n[pool]\nsize = 5"));
    assert_eq!(row(&settings, "pool.size"), "5");
    assert_eq!(row(&settings, "pool.wait_timeout"), "30s");
    assert_eq!(row(&settings, "cluster.0.nodes.0.address"), "a:5432");
    assert_eq!(row(&settings, "cluster.0.monitor.secret"), "***");
    assert_eq!(row(&settings, "listen.0.policy"), "smart");
    assert_eq!(row(&settings, "database.0.pool.size"), "5");
    assert!(!format!("{:?}", crate::rows(&settings)).contains("hunter2"));
    let workers = crate::rows(&settings).iter().find(|row| row.key == "proxy.workers").unwrap();
    assert_eq!((workers.default.as_str(), workers.changeable), ("auto", false));
}

#[test]
fn a_region_without_a_node_is_a_warning() {
    let settings =
        valid("[proxy]\nregion = \"eu1\"\n[[cluster]]\nnodes = [{ address = \"a\", region = \"eu\" }]");
    let warnings: Vec<String> = settings.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "p.toml: nobody can log in: there is no auth.file, no auth.query and no [[user]]",
            "p.toml:2:10: proxy.region: no node stands in \"eu1\"; did you mean \"eu\"?",
        ]
    );
}

/// The mode, size and wait timeout in seconds that hold for a user in a database.
#[track_caller]
fn check_user(settings: &crate::Settings, database: usize, user: &str, expected: (pool::PoolMode, u32, u64)) {
    let pool = settings.databases[database].for_user(user).pool;
    assert_eq!((pool.mode, pool.size, pool.wait_timeout.as_secs()), expected, "{user} in {database}");
}

#[test]
fn a_users_pools_are_as_its_entries_say_then_its_databases_then_all() {
    use pool::PoolMode::{Session, Statement, Transaction};
    let settings = valid(&format!(
        r#"{LEAST}
        [pool]
        wait_timeout = "1s"
        [[user]]
        name = "*"
        pool.size = 7
        [[user]]
        name = "batch"
        max_server_connections = 9
        pool = {{ mode = "session", size = 3 }}
        [[database]]
        name = "shop"
        pool = {{ size = 11, wait_timeout = "2s" }}
        [[database.user]]
        name = "batch"
        max_server_connections = 4
        pool.size = 2
        [[database.user]]
        name = "web"
        pool.mode = "statement"
        [[database]]
        "#
    ));
    check_user(&settings, 0, "batch", (Session, 2, 2));
    check_user(&settings, 0, "web", (Statement, 7, 2));
    check_user(&settings, 0, "anybody", (Transaction, 7, 2));
    check_user(&settings, 1, "batch", (Session, 3, 1));
    check_user(&settings, 1, "web", (Transaction, 7, 1));
    assert_eq!(settings.databases[0].pool.size, 11, "which nobody is left for");
    let cap = |user| settings.databases[0].user(user).and_then(|user| user.max_server_connections);
    assert_eq!((cap("batch"), cap("web"), cap("anybody")), (Some(4), None, None));
    let users: Vec<_> = settings.users.iter().map(|user| (user.name.as_str(), user.size)).collect();
    assert_eq!(users, [("batch", Some(3)), ("*", Some(7))]);
    assert_eq!(row(&settings, "user.1.pool.mode"), "session");
    assert_eq!(row(&settings, "user.1.pool.wait_timeout"), "absent", "it says nothing about that");
}

#[test]
fn without_special_users_a_database_keeps_none() {
    let settings = valid(&format!("{LEAST}[[user]]\nname = \"u\"\nsecret = \"s\""));
    assert!(settings.databases[0].users.is_empty());
}

#[test]
fn nodes_can_be_acted_on_with_commands() {
    let settings = valid(
        "[[cluster]]\nname = \"m\"\n\
         nodes = [{ address = \"a\", name = \"eu\", data_directory = \"/d\" }, { address = \"b:5433\" }]\n\
         hooks.failover_command = \"f.sh %d %H\"\n",
    );
    let hands = &settings.clusters[0].hands;
    assert_eq!(hands.cluster, "m");
    let parties: Vec<_> = hands.nodes.iter().map(|node| &node.party).collect();
    assert_eq!(
        (parties[0].id, parties[0].name.as_str(), parties[0].data_directory.as_str()),
        (0, "eu", "/d")
    );
    assert_eq!((parties[1].id, parties[1].name.as_str(), parties[1].port), (1, "b:5433", 5433));
    assert_eq!(hands.tls, None);
    let hands = agent::Hands::load(hands).unwrap();
    let scene = hands.scene("eu", Some("b:5433"), None).unwrap();
    assert_eq!(hands.hooks().script(agent::Hook::Failover, &scene).unwrap(), "f.sh 0 b");
    assert!(matches!(hands.means("eu", &agent::Action::Start), agent::Means::Nothing));
}

#[test]
fn the_window_of_failbacks_has_a_time_zone_and_may_be_off() {
    let head = "[proxy]\nstate_dir = \"/tmp\"\n[[cluster]]\nmanage = \"single\"\nnodes = [{ address = \"a\" }]\n[cluster.failover]\n";
    let read = |value: &str| {
        let settings = valid(&format!("{head}failback = {value:?}"));
        settings.clusters[0].failover.as_ref().unwrap().0.failback
    };
    let window = |from, until, offset| Some(failover::Window { from, until, offset });
    assert_eq!(read("off"), None);
    assert_eq!(read("02:00-04:30"), window(120, 270, 0));
    assert_eq!(read("23:00-24:00 +05:30"), window(1380, 1440, 330));
    assert_eq!(read("22:15-01:00 -03:00"), window(1335, 60, -180));
}

#[test]
fn a_spare_can_be_made_a_standby_where_somebody_manages_and_can_act() {
    let read = |head: &str, tail: &str| {
        let nodes = "nodes = [{ address = \"a\" }, { address = \"b\", spare = true }]";
        let text = format!("[proxy]\nstate_dir = \"/tmp\"\n[[cluster]]\n{head}\n{nodes}\n{tail}");
        let topology = valid(&text).clusters[0].topology.clone();
        (topology.nodes.iter().map(|node| node.service).collect::<Vec<_>>(), topology.spares)
    };
    let (services, spares) = read("", "[cluster.failover]\nregions = [\"eu\"]\nspare_after = \"5min\"");
    assert_eq!(services, [Service::Always, Service::Spare]);
    assert_eq!((spares.after.as_secs(), spares.regions), (300, vec!["eu".to_owned()]));
    let hook = "[cluster.hooks]\nrejoin_command = \"/bin/true\"";
    assert_eq!(read("", hook).0[1], Service::Spare);
    assert_eq!(read("manage = \"single\"", "").0[1], Service::Spare);
    let (services, spares) = read("manage = \"single\"", hook);
    assert_eq!(services[1], Service::Buildable);
    assert_eq!(spares, topology::SpareSettings::default());
}
