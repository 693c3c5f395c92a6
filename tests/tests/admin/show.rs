//! SHOW, with the tools that people use.

use e2e::{Herd, Setup};
use lab::Login;

use super::driver;

/// The columns of each noun; those that PgBouncer has are those of PgBouncer 1.25.
const LAYOUTS: &[(&str, &str)] = &[
    (
        "CLIENTS",
        "type|user|database|replication|state|addr|port|local_addr|local_port|connect_time|request_time|wait|wait_us|\
         close_needed|ptr|link|remote_pid|tls|application_name|prepared_statements|id",
    ),
    ("CONFIG", "key|value|default|changeable"),
    (
        "DATABASES",
        "name|host|port|database|force_user|pool_size|min_pool_size|reserve_pool_size|server_lifetime|pool_mode|\
         load_balance_hosts|max_connections|current_connections|max_client_connections|current_client_connections|\
         paused|disabled",
    ),
    ("ENDPOINTS", "address|policy|cluster|state|writes_to|reads_to|reason"),
    ("EPOCHS", "cluster|epoch|primary|timeline|since"),
    ("EVENTS", "time|cluster|epoch|event|text"),
    ("LIMITS", "what|database|user|node|used|limit|setting"),
    ("LISTENERS", "database|user|channel|state|clients|node|server_pid|received|delivered|dropped|since"),
    ("LISTS", "list|items"),
    (
        "NODES",
        "name|cluster|host|port|region|zone|role|health|timeline|wal_lsn|replay_lsn|lag_bytes|lag_ms|rtt_ms|\
         sampled_ms_ago|server_version|active|idle|reads|writes|sync_state|standing",
    ),
    ("PINNED", "database|user|client_id|addr|node|server_pid|reason|since|age_seconds"),
    (
        "POOLS",
        "database|user|cl_active|cl_waiting|cl_active_cancel_req|cl_waiting_cancel_req|sv_active|sv_active_cancel|\
         sv_being_canceled|sv_idle|sv_used|sv_tested|sv_login|maxwait|maxwait_us|pool_mode|load_balance_hosts",
    ),
    ("PREPARED", "database|user|worker|server_name|hash|parameters|settings|names|idle_servers|text"),
    ("REGIONS", "region|nodes|primary|replicas_up|here"),
    (
        "SERVERS",
        "type|user|database|replication|state|addr|port|local_addr|local_port|connect_time|request_time|wait|wait_us|\
         close_needed|ptr|link|remote_pid|tls|application_name|prepared_statements|id",
    ),
    ("STATE", "key|value"),
    (
        "STATS",
        "database|total_server_assignment_count|total_xact_count|total_query_count|total_received|total_sent|\
         total_xact_time|total_query_time|total_wait_time|total_client_parse_count|total_server_parse_count|\
         total_bind_count|avg_server_assignment_count|avg_xact_count|avg_query_count|avg_recv|avg_sent|\
         avg_xact_time|avg_query_time|avg_wait_time|avg_client_parse_count|avg_server_parse_count|avg_bind_count",
    ),
    (
        "STATS_AVERAGES",
        "database|server_assignment_count|xact_count|query_count|bytes_received|bytes_sent|xact_time|query_time|\
         wait_time|avg_client_parse_count|avg_server_parse_count|avg_bind_count",
    ),
    (
        "STATS_TOTALS",
        "database|server_assignment_count|xact_count|query_count|bytes_received|bytes_sent|xact_time|query_time|\
         wait_time|client_parse_count|server_parse_count|bind_count",
    ),
    ("TOPOLOGY", "topology|role|health|region|timeline|lag_bytes|lag_ms"),
    ("TOTALS", "name|value"),
    (
        "USERS",
        "name|pool_size|reserve_pool_size|pool_mode|max_user_connections|current_connections|\
         max_user_client_connections|current_client_connections",
    ),
    ("VERSION", "version"),
];

#[tokio::test]
async fn every_noun_answers_psql_and_drivers_with_its_columns() {
    let herd = Herd::common();
    let mut busy = herd.connect().await;
    busy.execute("prepare shown as select 1").await;
    busy.execute("create temp table shown (a int)").await; // it is pinned
    busy.execute("listen shown").await;
    busy.execute("begin").await;
    let proxy = herd.proxy(0);
    let client = driver(proxy, proxy.admin_login()).await;
    for &(noun, columns) in LAYOUTS {
        let sql = format!("SHOW {noun}");
        let mut psql = herd.cluster().psql_command(proxy.port(), proxy.admin_login(), "pgherd");
        let output = psql.args(["-A", "-c", &sql]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some(columns), "{sql} in psql");
        let rows_of_psql = lines.filter(|line| !line.starts_with('(')).count();

        let statement = client.prepare(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let names: Vec<&str> = statement.columns().iter().map(tokio_postgres::Column::name).collect();
        assert_eq!(names.join("|"), columns, "{sql} in a driver");
        let rows = client.query(&statement, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert!(!rows.is_empty(), "{sql}: nothing");
        let simple = client.simple_query(&sql).await.unwrap();
        let simple = simple.iter().filter(|one| matches!(one, tokio_postgres::SimpleQueryMessage::Row(_)));
        assert!(simple.count() > 0 && rows_of_psql > 0, "{sql}");
    }
    busy.execute("rollback").await;
}

#[tokio::test]
async fn prepared_statements_are_shown_with_who_has_them() {
    let herd = Setup::shared().set("pool.size", 1).start();
    let mut clients = Vec::new();
    for name in ["a", "b"] {
        let mut client = herd.proxy(0).connect_to("read-write").await;
        client.execute("set timezone = 'Asia/Tokyo'").await;
        client.execute(&format!("prepare {name} (int, text) as select $1, $2, 'shown'")).await;
        clients.push(client);
    }
    let shown = async |names: &str, servers: &str| {
        let rows = herd.proxy(0).admin().await.rows("SHOW PREPARED").await.unwrap();
        let row = rows.iter().find(|row| row[9].as_deref() == Some("select $1, $2, 'shown'"));
        let row: Vec<&str> =
            row.unwrap_or_else(|| panic!("{rows:?}")).iter().flatten().map(|cell| &**cell).collect();
        assert_eq!(row[..2], [herd.database(), "app"]);
        assert!(row[3].starts_with("pgherd_"), "{row:?}");
        assert_eq!(row[5..9], ["2", "timezone", names, servers]);
    };
    shown("2", "1").await;
    clients[0].execute("deallocate a").await;
    clients[1].execute("begin").await;
    shown("1", "0").await;
    clients[1].execute("rollback").await;
}

#[tokio::test]
async fn the_figures_are_those_of_what_goes_on() {
    let herd = Setup::shared().regions(["us"]).start();
    herd.psql("create table figures (a int); insert into figures values (1)").unwrap();
    herd.cluster().wait_for_all().unwrap();
    let proxy = herd.proxy(0);
    let mut busy = herd.connect().await;
    busy.execute("begin").await;
    busy.execute("insert into figures values (2)").await;
    let mut idle = herd.connect().await;
    for _ in 0..5 {
        idle.execute("select * from figures").await;
    }
    let mut admin = proxy.admin().await;
    let rows = admin.rows("SHOW POOLS").await.unwrap();
    let pool = rows.iter().find(|row| row[0].as_deref() == Some(herd.database())).unwrap();
    // cl_active (all that are not waiting), sv_active
    assert_eq!((pool[2].as_deref(), pool[6].as_deref()), (Some("2"), Some("1")), "{pool:?}");
    let rows = admin.rows("SHOW CLIENTS").await.unwrap();
    let states: Vec<_> = rows.iter().filter(|row| row[2].as_deref() == Some(herd.database())).collect();
    let in_state = |state: &str| states.iter().filter(|row| row[4].as_deref() == Some(state)).count();
    assert_eq!((in_state("active"), in_state("idle")), (1, 1), "{rows:?}");
    let rows = admin.rows("SHOW SERVERS").await.unwrap();
    let of_herd = |row: &&Vec<Option<String>>| row[2].as_deref() == Some(herd.database());
    assert!(rows.iter().filter(of_herd).count() >= 2, "one on each node: {rows:?}");
    let rows = admin.rows("SHOW LIMITS").await.unwrap();
    let limits: Vec<_> = rows.iter().filter(|row| row[1].as_deref() == Some(herd.database())).collect();
    let of_primary = |row: &&&Vec<Option<String>>| {
        row[0].as_deref() == Some("server connections") && row[3].as_deref() == Some("eu")
    };
    let connections = limits.iter().find(of_primary).unwrap();
    let number = |column: usize| connections[column].as_deref().unwrap().parse::<u32>().unwrap();
    assert!(number(4) >= 1 && number(4) <= number(5), "{limits:?}");
    let rows = admin.rows("SHOW NODES").await.unwrap();
    let reads: u32 = rows[1][18].as_deref().unwrap().parse().unwrap();
    assert!(reads >= 5 && rows[1][6].as_deref() == Some("standby"), "{rows:?}");
    assert_eq!(rows[0][6].as_deref(), Some("primary"));
    let sync_states: Vec<_> = rows.iter().map(|row| row[20].as_deref()).collect();
    assert_eq!(
        sync_states,
        [None, Some("async"), Some("async")],
        "as the primary's pg_stat_replication says"
    );
    let rows = admin.rows("SHOW REGIONS").await.unwrap();
    let us = rows.iter().find(|row| row[0].as_deref() == Some("us")).unwrap();
    assert_eq!(us[4].as_deref(), Some("t"), "{rows:?}");
    let rows = admin.rows("SHOW STATS").await.unwrap();
    let stats = rows.iter().find(|row| row[0].as_deref() == Some(herd.database())).unwrap();
    assert!(stats[3].as_deref().unwrap().parse::<u64>().unwrap() >= 7, "{stats:?}");
    busy.execute("rollback").await;
}

#[tokio::test]
async fn explain_route_says_where_to_and_why() {
    let herd = Setup::shared().regions(["us"]).start();
    herd.connect().await.execute("select 1").await;
    let mut admin = herd.proxy(0).admin().await;
    let database = herd.database().to_owned();
    for (sql, kind, node, reason) in [
        ("select 1", "read", "us", "same_region"),
        ("insert into t values (1)", "write", "eu", "needs_primary"),
        ("select * from t for update", "write", "eu", "needs_primary"),
        ("begin read only", "begins a read-only transaction", "us", "same_region"),
        ("/* pgherd: region=ap */ select 1", "read", "ap", "hint_region"),
        ("/* pgherd: primary */ select 1", "read", "eu", "hint_primary"),
    ] {
        for explain in [format!("EXPLAIN ROUTE {sql}"), format!("explain route for {database} {sql};")] {
            let rows = admin.rows(&explain).await.unwrap();
            let cell = |row: usize, column: usize| rows[row][column].clone().unwrap_or_default();
            assert_eq!((cell(0, 0).as_str(), cell(0, 3).as_str()), ("statement", kind), "{explain}");
            assert_eq!((cell(1, 0).as_str(), cell(1, 1).as_str()), ("decision", node), "{explain}: {rows:?}");
            assert!(cell(1, 4).starts_with(reason), "{explain}: {rows:?}");
            assert_eq!(rows.len(), 2 + 3, "a row for each node: {rows:?}");
        }
    }
    assert_eq!(admin.failure("EXPLAIN ROUTE").await.as_deref(), Some("42601"));
}

#[tokio::test]
async fn who_may_only_look_may_not_do_and_others_are_not_let_in() {
    let watcher = Login { user: "watcher".to_owned(), password: "looks".to_owned() };
    let herd = Setup::shared()
        .set("user.1.name", watcher.user.as_str())
        .set("user.1.secret", watcher.password.as_str())
        .set("admin.stats_users", toml::Value::Array(vec![watcher.user.as_str().into()]))
        .start();
    let proxy = herd.proxy(0);
    for database in ["pgherd", "pgbouncer"] {
        let mut client = proxy.login(&watcher, database).connect().await.unwrap();
        assert!(!client.rows("SHOW POOLS").await.unwrap().is_empty());
        assert!(!client.rows("show lists;").await.unwrap().is_empty());
        for command in ["RELOAD", "PAUSE", "RESUME", "RECONNECT", "KILL", "KILL_CLIENT 1", "SHUTDOWN"] {
            assert_eq!(client.failure(command).await.as_deref(), Some("42501"), "{command}");
        }
        let app = proxy.login(herd.cluster().application(), database).connect().await.unwrap_err();
        println!("app is told: {app}");
        let superuser = proxy.login(herd.cluster().superuser(), database).connect().await;
        assert!(superuser.is_err(), "a role of the cluster is no administrator of the proxy");
    }
    assert!(proxy.pid().is_some());
}
