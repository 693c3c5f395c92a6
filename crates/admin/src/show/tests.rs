use std::{
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use super::*;
use crate::{
    Control,
    command::parse,
    table::Cell,
    tests::{Fake, reports, some_agents},
};

/// Runs a SHOW or EXPLAIN over the scene; its columns and rows as text.
fn show(text: &str) -> (Vec<String>, Vec<String>) {
    let fake = Fake::new();
    let (world, start) = (Arc::clone(&fake.world), fake.world.clusters[0].snapshots.load().built_at);
    let mut paused = Paused::default();
    paused.databases.insert("shop".into());
    let view = View {
        world,
        reports: reports(),
        agents: some_agents(),
        control: &fake as &dyn Control,
        averages: Averages::new(start),
        paused,
        now: UNIX_EPOCH + Duration::from_secs(1_767_225_600),
        instant: start + Duration::from_secs(10),
    };
    let table = table(&parse(text).unwrap(), &view).unwrap();
    for row in &table.rows {
        assert_eq!(row.len(), table.columns.len(), "{text}");
        for (cell, (name, kind)) in row.iter().zip(&*table.columns) {
            assert_eq!(*cell == Cell::Null, cell.binary(*kind).is_none(), "{text}: {name} holds {cell:?}");
        }
    }
    let columns = table.columns.iter().map(|(name, kind)| format!("{name} {kind:?}")).collect();
    let text = |cell: &Cell| cell.text().map_or("-".to_owned(), |text| text.into_owned());
    let rows = table.rows.iter().map(|row| row.iter().map(text).collect::<Vec<_>>().join(" | ")).collect();
    (columns, rows)
}

#[track_caller]
fn check(text: &str, expected: &[&str]) {
    let (_, rows) = show(text);
    assert_eq!(rows, expected, "{text}: {rows:#?}");
}

/// Names of columns, with `:i` for int4 and `:N` for numeric behind those that are not text.
#[track_caller]
fn check_layout(noun: &str, expected: &str) {
    let short = |column: &str| {
        let (name, kind) = column.split_once(' ').unwrap();
        match kind {
            "Text" => name.to_owned(),
            "Int4" => format!("{name}:i"),
            "Numeric" => format!("{name}:N"),
            other => format!("{name}:{other}"),
        }
    };
    let columns: Vec<_> = show(&format!("show {noun}")).0.iter().map(|column| short(column)).collect();
    assert_eq!(columns.join(" "), expected.split_whitespace().collect::<Vec<_>>().join(" "), "{noun}");
}

#[test]
fn layouts_are_those_of_pgbouncer() {
    check_layout("version", "version");
    check_layout("state", "key value");
    check_layout("config", "key value default changeable");
    check_layout("lists", "list items:i");
    check_layout("totals", "name value:N");
    check_layout(
        "databases",
        "name host port:i database force_user pool_size:i min_pool_size:i reserve_pool_size:i server_lifetime:i
         pool_mode load_balance_hosts max_connections:i current_connections:i max_client_connections:i
         current_client_connections:i paused:i disabled:i",
    );
    check_layout(
        "users",
        "name pool_size reserve_pool_size pool_mode max_user_connections:i current_connections:i
         max_user_client_connections:i current_client_connections:i",
    );
    check_layout(
        "pools",
        "database user cl_active:i cl_waiting:i cl_active_cancel_req:i cl_waiting_cancel_req:i sv_active:i
         sv_active_cancel:i sv_being_canceled:i sv_idle:i sv_used:i sv_tested:i sv_login:i maxwait:i maxwait_us:i
         pool_mode load_balance_hosts",
    );
    for noun in ["clients", "servers"] {
        check_layout(
            noun,
            "type user database replication state addr port:i local_addr local_port:i connect_time request_time
             wait:i wait_us:i close_needed:i ptr link remote_pid:i tls application_name prepared_statements:i id:i",
        );
    }
}

#[test]
fn layouts_of_statistics_are_those_of_pgbouncer_before_it_counts_logins() {
    check_layout(
        "stats",
        "database total_server_assignment_count:N total_xact_count:N total_query_count:N total_received:N
         total_sent:N total_xact_time:N total_query_time:N total_wait_time:N total_client_parse_count:N
         total_server_parse_count:N total_bind_count:N avg_server_assignment_count:N avg_xact_count:N
         avg_query_count:N avg_recv:N avg_sent:N avg_xact_time:N avg_query_time:N avg_wait_time:N
         avg_client_parse_count:N avg_server_parse_count:N avg_bind_count:N",
    );
    check_layout(
        "stats_totals",
        "database server_assignment_count:N xact_count:N query_count:N bytes_received:N bytes_sent:N xact_time:N
         query_time:N wait_time:N client_parse_count:N server_parse_count:N bind_count:N",
    );
    check_layout(
        "stats_averages",
        "database server_assignment_count:N xact_count:N query_count:N bytes_received:N bytes_sent:N xact_time:N
         query_time:N wait_time:N avg_client_parse_count:N avg_server_parse_count:N avg_bind_count:N",
    );
}

#[test]
fn extended_layouts_begin_as_the_plain_ones_and_every_cell_fits_its_column() {
    for noun in Noun::ALL {
        let (plain, rows) = show(&format!("show {}", noun.word()));
        assert!(!rows.is_empty(), "{noun:?}");
        let (extended, rows) = show(&format!("show extended {}", noun.word()));
        assert!(extended.starts_with(&plain) && !rows.is_empty(), "{noun:?}");
    }
}

#[test]
fn pools_are_summed_over_nodes_and_workers() {
    check(
        "show pools",
        &[
            "lab | app | 0 | 2 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 3 | 250 | transaction | -",
            "shop | app | 4 | 0 | 0 | 0 | 2 | 0 | 0 | 2 | 0 | 0 | 2 | 2 | 1000 | transaction | -",
        ],
    );
    check(
        "show extended pools",
        &[
            "shop | app | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 2 | 0 | 0 | 2 | 2 | 1000 | transaction | - | main | eu-1 | f | 2",
            "shop | app | 2 | 2 | 0 | 0 | 2 | 0 | 0 | 0 | 0 | 0 | 0 | 2 | 1000 | transaction | - | main | us-1 | f | 0",
        ],
    );
}

#[test]
fn those_who_keep_a_connection_are_shown_with_why_and_since_when() {
    let (columns, rows) = show("show pinned");
    assert_eq!(columns.len(), 9);
    assert!(
        rows.iter().all(|row| row.contains(" | 4711 | temporary table | ") && row.ends_with(" | 90")),
        "{rows:#?}"
    );
}

#[test]
fn prepared_statements_are_shown_with_what_they_are_prepared_under() {
    check(
        "show prepared",
        &[
            "shop | app | 0 | pgherd_7 | 000000000000002a | 1 | timezone | 2 | 1 | select $1",
            "shop | app | 1 | pgherd_7 | 000000000000002a | 1 | timezone | 2 | 1 | select $1",
        ],
    );
}

#[test]
fn clients_and_servers_join_by_their_pointers() {
    let (_, clients) = show("show extended clients");
    assert_eq!(
        clients[0],
        "C | app | shop | none | active | 192.0.2.7 | 4000 |  | 0 | 2025-12-31 23:59:00 UTC | \
         2025-12-31 23:59:56 UTC | 0 | 0 | 0 | 0xc00000000001 | 0x500000001267 | 0 | TLS |  | 2 | 1 | 0 | active | \
         us-1 | 4711 | temporary table"
    );
    assert!(clients[1].contains(" | idle | "), "{}", clients[1]);
    assert!(clients[2].contains(" | waiting | ") && clients[2].contains(" | 3 | 250 | "), "{}", clients[2]);
    let (_, servers) = show("show servers");
    assert!(
        servers[0].contains(" | 10.0.1.1 | 5432 | ") && servers[0].contains("0xc00000000001"),
        "{}",
        servers[0]
    );
}

#[test]
fn databases_behind_the_asterisk_are_shown_when_in_use() {
    check(
        "show databases",
        &[
            "lab | 10.0.0.1,10.0.1.1,10.0.2.1 | 5432 | lab | - | 20 | 0 | 0 | 3600 | transaction | - | 0 | 0 | 0 | 2 | 0 | 0",
            "shop | 10.0.0.1,10.0.1.1,10.0.2.1 | 5432 | shop_v2 | - | 20 | 0 | 0 | 3600 | transaction | - | 0 | 6 | 0 | 4 | 1 | 0",
        ],
    );
    check("show users", &["app | - | - | - | 0 | 6 | 0 | 6", "idler | - | - | - | 0 | 0 | 0 | 0"]);
    let (_, lists) = show("show lists");
    assert_eq!(lists.len(), 14);
    for row in ["databases | 2", "users | 2", "pools | 2", "used_clients | 6", "used_servers | 6"] {
        assert!(lists.contains(&row.to_owned()), "{row}: {lists:?}");
    }
}

#[test]
fn statistics_are_in_microseconds_and_averages_per_second() {
    let (_, stats) = show("show stats");
    assert_eq!(
        stats[1],
        "shop | 20 | 40 | 60 | 80 | 100 | 120000 | 140000 | 160000 | 180 | 200 | 220 | \
         2 | 4 | 6 | 8 | 10 | 3000 | 2333 | 8000 | 18 | 20 | 22"
    );
    let (_, sums) = show("show totals");
    assert_eq!(sums.len(), 22);
    assert_eq!((&*sums[2], &*sums[21]), ("total_query_count | 120", "avg_ps_bind_count | 44"));
}

#[test]
fn nodes_tell_their_state_and_their_load() {
    check(
        "show nodes",
        &[
            "eu-1 | main | 10.0.0.1 | 5432 | eu | - | primary | up | 3 | 2/60 | 2/60 | 0 | 0 | 0.250 | 10000 | 15.20 | 0 | 2 | 4 | 8 | - | attached",
            "us-1 | main | 10.0.1.1 | 5432 | us | - | standby | up | 3 | 2/60 | 2/5F | 1 | 10 | 80.250 | 10000 | 15.20 | 2 | 0 | 120 | 0 | sync | attached",
            "ap-1 | main | 10.0.2.1 | 5432 | ap | - | standby | up | 3 | 2/60 | 2/5E | 2 | 20 | 160.250 | 10000 | 15.20 | 0 | 0 | 0 | 0 | async | attached",
        ],
    );
    check("show regions", &["ap | 1 | - | 1 | f", "eu | 1 | eu-1 | 0 | f", "us | 1 | - | 1 | t"]);
    check(
        "show topology",
        &[
            "main (epoch 3, writable) | - | - | - | 3 | - | -",
            "└─ eu-1 | primary | up | eu | 3 | 0 | 0",
            "   ├─ us-1 | standby | up | us | 3 | 1 | 10",
            "   └─ ap-1 | standby | up | ap | 3 | 2 | 20",
        ],
    );
}

#[test]
fn history_tells_reigns_and_events() {
    check(
        "show epochs",
        &[
            "main | 1 | us-1 | 2 | 1970-01-01 00:00:00.000+00",
            "main | 3 | eu-1 | 3 | 1970-01-01 00:00:02.000+00",
        ],
    );
    let (_, events) = show("show events");
    assert_eq!(events.len(), 3);
    assert!(events[1].starts_with("1970-01-01 00:00:01.000+00 | main | - | node_up | ap-1"), "{}", events[1]);
}

#[test]
fn agents_say_how_their_nodes_are_or_why_they_do_not() {
    check(
        "show agents",
        &[
            "main | eu-1 | 10.0.0.1:8432 | running | standby | f | reinit: copying | stop | 3 | 15.14 | -",
            "main | us-1 | 10.0.1.1:8432 | - | - | - | - | - | - | - | cannot connect to the agent at 10.0.1.1:8432",
        ],
    );
}

#[test]
fn a_route_is_explained_node_by_node() {
    check(
        "explain route select 1 from t",
        &[
            "statement | - | - | read | - | with the functions of database shop",
            "decision | us-1 | us | use | same_region: a read, and the replica is in this region | -",
            "node | eu-1 | eu | primary | - | lag 0 ms, 0 B behind, round trip 0.2 ms",
            "node | us-1 | us | fit | in this region, or the one asked for | lag 10 ms, 1 B behind, round trip 80.2 ms",
            "node | ap-1 | ap | fit | in another region | lag 20 ms, 2 B behind, round trip 160.2 ms",
        ],
    );
    let decision = |text: &str| show(text).1[1].clone();
    assert!(
        decision("explain route for lab update t set a = 1")
            .starts_with("decision | eu-1 | eu | use | needs_primary")
    );
    assert!(decision("explain route select 1; insert into t values (1)").contains("eu-1"));
    assert!(
        decision("explain route /* pgherd: replica region=ap */ select 1 from t")
            .starts_with("decision | ap-1"),
        "{}",
        decision("explain route /* pgherd: replica region=ap */ select 1 from t")
    );
}

#[test]
fn the_version_has_three_numbers() {
    let (_, rows) = show("show version");
    let numbers = rows[0].strip_prefix("pgherd ").unwrap();
    assert_eq!(numbers.split('.').filter(|part| part.parse::<u32>().is_ok()).count(), 3);
}

#[test]
fn channels_are_shown_with_the_connection_that_listens_to_them() {
    check_layout(
        "listeners",
        "database user channel state clients:i node server_pid:i received:Int8 delivered:Int8 dropped:Int8 since",
    );
    let (_, rows) = show("show listeners");
    assert_eq!(rows[0], "shop | app | alarms | waiting | 2 | - | - | 3 | 5 | 1 | -");
    assert_eq!(
        rows.last().map(String::as_str),
        Some("shop | app | news | listening | 2 | eu-1 | 4712 | 3 | 5 | 1 | 2025-12-31 23:59:55 UTC")
    );
}

#[test]
fn what_patroni_says_stands_beside_what_the_nodes_say() {
    let (columns, rows) = show("show patroni");
    assert_eq!(columns[..4], ["cluster Text", "member Text", "node Text", "leader Bool"]);
    let expected = [
        "main | pg0 | eu-1 | t | leader | running | 3 | - | - | primary | up | 3 | t | 2030-01-01T00:00:00+00:00 to the \
         best | rest http://10.0.1.1:8008 | ",
        "main | ap-1 | ap-1 | f | sync_standby | streaming | 3 | 7 | noloadbalance,failover_priority=2 | standby | up | 3 | ",
        "main | stranger | - | f | replica | stopped | - | - | - | - | - | - | t | ",
    ];
    assert_eq!(rows.len(), 3, "{rows:#?}");
    for (row, expected) in rows.iter().zip(expected) {
        assert!(row.starts_with(expected), "{row}");
    }
}

#[test]
fn endpoints_tell_where_they_lead() {
    check(
        "show endpoints",
        &[
            "0.0.0.0:6432 | smart | main | open | eu-1 | us-1 | -",
            "0.0.0.0:6433 | read-write | main | open | eu-1 | eu-1 | -",
            "0.0.0.0:6434 | read-only | main | open | - | us-1 | -",
            "0.0.0.0:6435 | sync | main | open | - | us-1 | -",
        ],
    );
}

#[test]
fn holds_tell_who_waits_for_what_and_since_when() {
    check_layout(
        "holds",
        "cluster database user client_id:i addr since held_ms:Int8 left_ms:Int8 worker:i ahead:Int8 why",
    );
    let (_, rows) = show("show holds");
    assert_eq!(rows.len(), 2);
    assert!(rows[0].starts_with("main | lab | app | 3 | 192.0.2.7:4000 | "), "{rows:?}");
    assert!(rows[0].ends_with(" | 1500 | 28500 | 0 | 4 | the primary is down"), "{rows:?}");
}

#[test]
fn failovers_tell_what_they_cost() {
    check(
        "show failovers",
        &[
            "main | 1 | 1970-01-01 00:00:00.000+00 | automatic | eu | us | 2 | done | 480 | 0 | eu: automatic begins | \
           510 | 3 | 470 | 4 | 40001: 2, 08007: 1, 57P01: 1",
        ],
    );
}
