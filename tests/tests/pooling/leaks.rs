//! What one client leaves behind, the next never sees (CHECKS R16).

use std::time::Duration;

use e2e::{Herd, Setup};
use lab::Login;
use testkit::{Batch, Client};

/// A kind of state: what makes it, what shows it, and what that shows where it is not.
struct Kind {
    name: &'static str,
    dirty: &'static [&'static str],
    probe: &'static str,
    clean: &'static str,
}

const fn kind(
    name: &'static str,
    dirty: &'static [&'static str],
    probe: &'static str,
    clean: &'static str,
) -> Kind {
    Kind { name, dirty, probe, clean }
}

const KINDS: [Kind; 32] = [
    kind("SET", &["set work_mem = '7MB'"], "show work_mem", "4MB"),
    kind(
        "SET of two in one text",
        &["set work_mem = '7MB'; set statement_timeout = '1h'"],
        "select current_setting('work_mem') || current_setting('statement_timeout')",
        "4MB0",
    ),
    kind("SET ROLE", &["set role leaked_role"], "select current_user", "app"),
    kind("search_path", &["set search_path = pg_temp"], "show search_path", "\"$user\", public"),
    kind("application_name", &["set application_name = 'leak'"], "show application_name", ""),
    kind("client_encoding", &["set client_encoding = 'LATIN1'"], "show client_encoding", "UTF8"),
    kind("TimeZone", &["set time zone 'Asia/Tokyo'"], "show timezone", "UTC"),
    kind(
        "SESSION CHARACTERISTICS",
        &["set session characteristics as transaction read only"],
        "show default_transaction_read_only",
        "off",
    ),
    kind("set_config", &["select set_config('work_mem', '7MB', false)"], "show work_mem", "4MB"),
    kind(
        "set_config of an own name",
        &["select set_config('leak.user', 'mallory', false)"],
        "select coalesce(current_setting('leak.user', true), '')",
        "",
    ),
    kind(
        "set_config in a function",
        &["do $$ begin perform set_config('work_mem', '7MB', false); end $$"],
        "show work_mem",
        "4MB",
    ),
    kind("SET LOCAL", &["begin; set local work_mem = '7MB'; commit"], "show work_mem", "4MB"),
    kind("a SET that was rolled back", &["begin; set work_mem = '7MB'; rollback"], "show work_mem", "4MB"),
    kind(
        "a SET that was partly rolled back",
        &["begin; savepoint a; set work_mem = '7MB'; rollback to a; set statement_timeout = '1h'; commit"],
        "select current_setting('work_mem') || current_setting('statement_timeout')",
        "4MB0",
    ),
    kind(
        "temporary table",
        &["create temp table leaked (a int)"],
        "select coalesce(to_regclass('pg_temp.leaked')::text, '')",
        "",
    ),
    kind(
        "advisory lock",
        &["select pg_advisory_lock(4711)"],
        "select count(*) from pg_locks l join pg_database d on d.oid = l.database where locktype = 'advisory' and datname = current_database()",
        "0",
    ),
    kind("LISTEN", &["listen leaked"], "select count(*) from pg_listening_channels()", "0"),
    kind(
        "PREPARE beside another statement",
        &["select 1; prepare leaked as select 1"],
        "select count(*) from pg_prepared_statements where name = 'leaked'",
        "0",
    ),
    kind(
        "WITH HOLD cursor",
        &["begin; declare leaked cursor with hold for select 1; commit"],
        "select count(*) from pg_cursors",
        "0",
    ),
    kind(
        "temporary view",
        &["create temp view leaked_view as select 1 as a"],
        "select coalesce(to_regclass('pg_temp.leaked_view')::text, '')",
        "",
    ),
    kind(
        "temporary sequence",
        &["create temp sequence leaked_sequence", "select nextval('leaked_sequence')"],
        "select coalesce(to_regclass('pg_temp.leaked_sequence')::text, '')",
        "",
    ),
    kind(
        "SELECT INTO TEMP",
        &["select 1 as a into temp leaked_into"],
        "select coalesce(to_regclass('pg_temp.leaked_into')::text, '')",
        "",
    ),
    kind(
        "function in pg_temp",
        &["create function pg_temp.leaked_function() returns int language sql as 'select 1'"],
        "select count(*) from pg_proc where pronamespace = pg_my_temp_schema()",
        "0",
    ),
    kind(
        "type in pg_temp",
        &["create type pg_temp.leaked_type as enum ('a')"],
        "select count(*) from pg_type where typnamespace = pg_my_temp_schema()",
        "0",
    ),
    kind(
        "temporary table ON COMMIT DROP",
        &["begin; create temp table leaked_drop (a int) on commit drop; commit"],
        "select coalesce(to_regclass('pg_temp.leaked_drop')::text, '')",
        "",
    ),
    kind(
        "temporary table in DO",
        &["do $$ begin create temp table leaked_do (a int); end $$"],
        "select coalesce(to_regclass('pg_temp.leaked_do')::text, '')",
        "",
    ),
    kind(
        "temporary table and SET in one text",
        &["create temp table leaked_both (a int); set work_mem = '7MB'", "drop table leaked_both"],
        "show work_mem",
        "4MB",
    ),
    kind(
        "search_path into pg_temp",
        &["set search_path = pg_temp, public"],
        "show search_path",
        "\"$user\", public",
    ),
    kind(
        "PREPARE in a transaction",
        &["begin; prepare leaked_too as select 1; rollback"],
        "select count(*) from pg_prepared_statements where name = 'leaked_too'",
        "0",
    ),
    kind(
        "WITH HOLD cursor next to a temporary table",
        &[
            "begin; declare leaked_next cursor with hold for select 1; create temp table leaked_next (a int); commit",
            "drop table leaked_next",
        ],
        "select count(*) from pg_cursors",
        "0",
    ),
    kind("row_security", &["set row_security = off"], "show row_security", "on"),
    kind(
        "DISCARD ALL after SET",
        &["set work_mem = '7MB'", "discard all", "set work_mem = '6MB'"],
        "show work_mem",
        "4MB",
    ),
];

/// How the client leaves.
#[derive(Debug, Clone, Copy)]
enum Exit {
    Terminate,
    Reset,
    InTransaction,
    InFailedTransaction,
    /// Behind a Flush: what it wrote is answered, and neither committed nor in a transaction that a status shows.
    BeforeSync,
    /// It does not: it stays connected and idle.
    Stays,
}

fn start(pool_size: u32) -> Herd {
    let herd = Setup::shared().set("pool.size", pool_size).start();
    // Roles are shared by all databases of the cluster, and the other matrix may have made it.
    herd.psql_directly(
        "do $$ begin
             perform pg_advisory_xact_lock(1);
             if not exists (select from pg_roles where rolname = 'leaked_role') then
                 create role leaked_role;
                 grant leaked_role to app;
             end if;
         exception when others then null; end $$",
    )
    .unwrap();
    herd.psql_directly("create table unfinished (a text); grant all on unfinished to public").unwrap();
    herd
}

/// Makes the state and leaves; gives the client if it stays.
async fn leave(herd: &Herd, kind: &Kind, exit: Exit) -> Option<Client> {
    let mut client = herd.proxy(0).connect_to("read-write").await;
    for sql in kind.dirty {
        client.execute(sql).await;
    }
    match exit {
        Exit::Terminate => client.terminate().await,
        Exit::Reset => client.reset(),
        Exit::InTransaction => {
            client.execute("begin").await;
            client.execute("set local lock_timeout = '1h'").await;
            client.reset();
        }
        Exit::InFailedTransaction => {
            client.execute("begin").await;
            assert_eq!(client.failure("select 1 / 0").await.as_deref(), Some("22012"));
            client.reset();
        }
        Exit::BeforeSync => {
            let batch = Batch::new()
                .parse("", "insert into public.unfinished values ('left behind')")
                .bind("", "", &[])
                .execute("", 0)
                .flush();
            client.send(batch.bytes()).await.unwrap();
            // one of the kinds makes transactions read-only
            while !matches!(client.next().await.expect("the insert is answered").tag, b'C' | b'E') {}
            client.reset();
        }
        Exit::Stays => return Some(client),
    }
    None
}

/// A role of the herd's own that is not `app`; its server connections are in a pool of its own.
fn another_user(herd: &Herd) -> Login {
    let login = Login { user: format!("{}_other", herd.database()), password: "another's".to_owned() };
    let create = format!("create role \"{}\" login password 'another''s'", login.user);
    herd.psql_directly(&create).unwrap();
    login
}

/// What another user of the same database sees.
async fn seen_by(herd: &Herd, login: &Login, probe: &str) -> String {
    let mut parameters = herd.proxy(0).login(login, herd.database());
    parameters.address.set_port(herd.proxy(0).port_of("read-write"));
    let mut client = parameters.connect().await.unwrap();
    let seen = client.value(probe).await;
    client.terminate().await;
    seen
}

async fn check(herd: &Herd, exit: Exit) {
    let mut leaks = Vec::new();
    let other = another_user(herd);
    for kind in &KINDS {
        let stays = leave(herd, kind, exit).await;
        for attempt in 0..3 {
            let mut next = herd.proxy(0).connect_to("read-write").await;
            // What a closed server connection held is let go a moment later; only locks can be seen from outside.
            let mut seen = next.value(kind.probe).await;
            if kind.name == "advisory lock" && !matches!(exit, Exit::Stays) {
                for _ in 0..100 {
                    if seen == kind.clean {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    seen = next.value(kind.probe).await;
                }
            }
            let own_lock = kind.name == "advisory lock" && matches!(exit, Exit::Stays);
            if seen != kind.clean && !own_lock {
                leaks
                    .push(format!("{} (attempt {attempt}): {seen:?} instead of {:?}", kind.name, kind.clean));
            }
            next.terminate().await;
        }
        let seen = seen_by(herd, &other, kind.probe).await;
        let clean = if kind.clean == "app" { &*other.user } else { kind.clean };
        // a lock is seen by everybody while its owner is there
        let anothers = kind.name == "advisory lock" && matches!(exit, Exit::Stays);
        if seen != clean && !anothers {
            leaks.push(format!("{} (another user): {seen:?} instead of {clean:?}", kind.name));
        }
        if let Some(client) = stays {
            client.terminate().await;
        }
    }
    if herd.psql_directly("select count(*) from unfinished").unwrap() != "0" {
        leaks.push("another client committed what was not finished".to_owned());
    }
    // each kind for the next client of the same user and for one of another user
    println!("{exit:?}: {} cells, {} leaks", 2 * KINDS.len(), leaks.len());
    assert!(leaks.is_empty(), "{exit:?}:\n{}", leaks.join("\n"));
}

#[tokio::test]
async fn nothing_is_left_by_clients_that_say_goodbye() {
    check(&start(1), Exit::Terminate).await;
}

#[tokio::test]
async fn nothing_is_left_by_clients_that_vanish() {
    check(&start(1), Exit::Reset).await;
}

#[tokio::test]
async fn nothing_is_left_by_clients_that_vanish_in_a_transaction() {
    check(&start(1), Exit::InTransaction).await;
}

#[tokio::test]
async fn nothing_is_left_by_clients_that_vanish_in_a_failed_transaction() {
    check(&start(1), Exit::InFailedTransaction).await;
}

#[tokio::test]
async fn nothing_is_left_by_clients_that_vanish_between_flush_and_sync() {
    check(&start(1), Exit::BeforeSync).await;
}

#[tokio::test]
async fn a_server_on_which_discard_all_failed_is_not_handed_on() {
    let herd = Setup::shared().set("pool.size", 1).start();
    let mut client = herd.proxy(0).connect_to("read-write").await;
    client.execute(
        "do $$ begin for n in 1..400 loop execute format('create temp table leaked_%s (a int primary key)', n); end loop; end $$; create temp table leaked (a int)",
    )
    .await;
    // long enough for this and for nothing that drops so many tables
    client.execute("set statement_timeout = '1ms'").await;
    client.terminate().await;
    let mut next = herd.proxy(0).connect_to("read-write").await;
    let tables = "select count(*) from pg_class where relnamespace = pg_my_temp_schema() and relkind = 'r'";
    assert_eq!(next.value(tables).await, "0");
    assert_eq!(next.value("show statement_timeout").await, "0");
}

#[tokio::test]
async fn clients_do_not_see_what_their_neighbours_have_set() {
    check(&start(2), Exit::Stays).await;
}

#[tokio::test]
async fn a_client_finds_its_own_state_again_whichever_server_it_gets() {
    let herd = start(2);
    // a client that listens does so over a connection that it shares, which the server's view does not show
    for kind in KINDS.iter().filter(|kind| kind.name != "LISTEN") {
        let mut client = herd.proxy(0).connect_to("read-write").await;
        let mut directly = herd.connect_directly(0).await;
        for sql in kind.dirty {
            client.execute(sql).await;
            // The same lock cannot be had twice.
            let own = sql.replace("4711", "4712");
            directly.execute(&own).await;
        }
        // Others use the servers meanwhile.
        let mut neighbour = herd.proxy(0).connect_to("read-write").await;
        neighbour.execute("set work_mem = '1MB'").await;
        let probe = if kind.name == "advisory lock" {
            "select count(*) from pg_locks where pid = pg_backend_pid() and locktype = 'advisory'"
        } else {
            kind.probe
        };
        let expected = directly.value(probe).await;
        for _ in 0..3 {
            assert_eq!(client.value(probe).await, expected, "{}", kind.name);
            assert_eq!(neighbour.value("show work_mem").await, "1MB");
        }
        directly.terminate().await;
        client.terminate().await;
        neighbour.terminate().await;
    }
}

#[tokio::test]
async fn a_client_is_told_what_changes_and_nothing_of_its_neighbours() {
    let herd = Setup::shared().set("pool.size", 1).start();
    let mut a = herd.proxy(0).connect_to("read-write").await;
    let mut b = herd.proxy(0).connect_to("read-write").await;
    a.execute("set datestyle = 'German'").await;
    assert_eq!(a.parameter("DateStyle"), Some("German, DMY"));
    let heard = b.query("select date '2020-02-03'").await;
    assert_eq!(b.parameter("DateStyle"), Some("ISO, MDY"), "{heard:?}");
    let row = heard.iter().find(|message| message.tag == b'D').unwrap();
    assert_eq!(row.row()[0].as_deref(), Some("2020-02-03"));
    assert_eq!(a.value("select date '2020-02-03'").await, "03.02.2020");
    let silent = heard.iter().all(|message| message.tag != b'S');
    assert!(silent, "{heard:?}");
}
