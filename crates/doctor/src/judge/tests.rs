use wire::{Lsn, TimelineId};

use super::judge;
use crate::{
    Facts, HbaRule, Lookup, Memory, Mode, Node, Privilege, Purpose, Readable, Receiver, Refusal, Sender,
    Setting, Slot, Subject, Verdict,
};

const SETTINGS: &str = "archive_mode=off cluster_name= full_page_writes=on fsync=on hot_standby=on \
    hot_standby_feedback=on max_connections=100 max_locks_per_transaction=64 max_prepared_transactions=0 \
    max_replication_slots=10 max_slot_wal_keep_size=1024 max_standby_streaming_delay=30000 max_wal_senders=10 \
    max_worker_processes=8 password_encryption=scram-sha-256 recovery_min_apply_delay=0 \
    recovery_target_timeline=latest restore_command= superuser_reserved_connections=3 synchronous_commit=on \
    synchronous_standby_names= wal_keep_size=0 wal_level=replica wal_log_hints=on wal_receiver_timeout=60000 \
    wal_sender_timeout=60000 shared_preload_libraries= primary_conninfo= primary_slot_name= data_directory=/data";

fn set(facts: &mut Facts, name: &str, value: &str) {
    let setting = Setting { value: value.to_owned(), ..Setting::default() };
    facts.settings.insert(name.to_owned(), setting);
}

fn let_in(user: &str) -> HbaRule {
    HbaRule {
        kind: "host".to_owned(),
        databases: vec!["replication".to_owned()],
        users: vec![user.to_owned()],
        address: "all".to_owned(),
        method: "scram-sha-256".to_owned(),
        ..HbaRule::default()
    }
}

fn node(at: u8, name: &str) -> Node {
    let mut facts = Facts {
        version: 150_020,
        in_recovery: at > 1,
        system_id: 7,
        timeline: TimelineId(3),
        received: Lsn(100),
        replayed: Lsn(100),
        role_connections: -1,
        privileges: vec![(Privilege::Replication, true), (Privilege::Monitor, true)],
        hba: Some(Readable::Read(vec![let_in("rep")])),
        md5_roles: Some(Readable::Closed),
        ..Facts::default()
    };
    for pair in SETTINGS.split_whitespace() {
        let (name, value) = pair.split_once('=').unwrap();
        set(&mut facts, name, value);
    }
    set(&mut facts, "cluster_name", name);
    if at > 1 {
        set(&mut facts, "primary_slot_name", &format!("slot_{name}"));
        set(&mut facts, "primary_conninfo", &format!("host=10.0.0.1 user=rep application_name={name}"));
        facts.receiver = Some(Receiver {
            status: "streaming".to_owned(),
            host: "10.0.0.1".to_owned(),
            port: "5432".to_owned(),
            slot: format!("slot_{name}"),
        });
    } else {
        for (at, name) in [(2, "us"), (3, "ap")] {
            facts.slots.push(Slot { name: format!("slot_{name}"), active: true, ..Slot::default() });
            facts.senders.push(Sender {
                name: name.to_owned(),
                state: "streaming".to_owned(),
                sync_state: "async".to_owned(),
                user: "rep".to_owned(),
                address: format!("10.0.0.{at}"),
            });
        }
    }
    Node {
        name: name.to_owned(),
        host: format!("10.0.0.{at}"),
        port: 5432,
        region: name.to_owned(),
        spare: false,
        addresses: vec![format!("10.0.0.{at}").parse().unwrap()],
        seen: Ok(facts),
        replication: Some(Ok(())),
        lookup: None,
    }
}

/// eu is the primary, us and ap follow it, and nothing is wrong.
fn healthy() -> Subject {
    Subject {
        purpose: Purpose {
            user: "pgherd".to_owned(),
            database: "postgres".to_owned(),
            mode: Mode::Follow,
            lookup: None,
            memory: Memory::Kept,
            demand: Some(80),
        },
        nodes: vec![node(1, "eu"), node(2, "us"), node(3, "ap")],
    }
}

fn facts(subject: &mut Subject, at: usize) -> &mut Facts {
    subject.nodes[at].seen.as_mut().unwrap()
}

/// What is not well after a change: each as `node check verdict`; and the fixes in the same order.
fn trouble(change: impl FnOnce(&mut Subject)) -> (Vec<String>, Vec<String>) {
    let mut subject = healthy();
    change(&mut subject);
    let findings = judge(&subject).into_iter().filter(|finding| finding.verdict > Verdict::Ok);
    findings
        .map(|one| {
            assert!(!one.why.is_empty(), "{one:?}");
            let node = one.node.as_deref().unwrap_or("-");
            (format!("{node} {} {}", one.check, one.verdict.as_str()), one.fix)
        })
        .unzip()
}

/// Exactly this is wrong after a change, and this is in the first fix.
#[track_caller]
fn check(change: impl FnOnce(&mut Subject), expected: &[&str], fix: &str) {
    let (found, fixes) = trouble(change);
    assert_eq!(found, expected);
    assert!(fixes.first().is_none_or(|first| first.contains(fix)), "{fixes:?}");
}

/// A setting of a node, of which this is thought.
#[track_caller]
fn check_setting(at: usize, name: &str, value: &str, expected: &str, fix: &str) {
    check(|subject| set(facts(subject, at), name, value), &[expected], fix);
}

fn refusal(sqlstate: &str, message: &str) -> Refusal {
    Refusal { sqlstate: Some(sqlstate.to_owned()), message: message.to_owned() }
}

#[test]
fn nothing_is_wrong_with_a_healthy_cluster() {
    check(|_| {}, &[], "");
    check(|subject| subject.purpose.mode = Mode::Manage, &[], "");
}

#[test]
fn settings_of_any_node_are_judged() {
    check_setting(
        0,
        "wal_level",
        "minimal",
        "eu wal_level failure",
        "SET wal_level = 'replica'; -- then restart",
    );
    check_setting(1, "hot_standby", "off", "us hot_standby failure", "restart");
    check_setting(
        1,
        "wal_log_hints",
        "off",
        "us wal_log_hints warning",
        "SET wal_log_hints = 'on'; -- then restart",
    );
    check_setting(0, "full_page_writes", "off", "eu full_page_writes failure", "pg_reload_conf()");
    check_setting(2, "fsync", "off", "ap fsync warning", "fsync = 'on'");
    check_setting(0, "synchronous_commit", "off", "eu synchronous_commit warning", "= 'on'");
    check_setting(
        0,
        "default_transaction_read_only",
        "on",
        "eu default_transaction_read_only warning",
        "'off'",
    );
    check_setting(0, "wal_sender_timeout", "0", "eu wal_sender_timeout warning", "60s");
    check_setting(1, "wal_receiver_timeout", "0", "us wal_receiver_timeout warning", "60s");
    check_setting(0, "password_encryption", "md5", "eu password_encryption warning", "scram-sha-256");
    check_setting(
        0,
        "max_replication_slots",
        "1",
        "eu max_replication_slots failure",
        "= '10'; -- then restart",
    );
    check_setting(
        1,
        "max_replication_slots",
        "3",
        "us max_replication_slots warning",
        "= '10'; -- then restart",
    );
}

#[test]
fn checksums_make_up_for_hints() {
    let change = |subject: &mut Subject| {
        set(facts(subject, 1), "wal_log_hints", "off");
        facts(subject, 1).checksums = true;
    };
    check(change, &[], "");
}

#[test]
fn too_few_senders_are_a_failure_on_a_standby_in_two_ways() {
    let change = |subject: &mut Subject| set(facts(subject, 1), "max_wal_senders", "1");
    check(change, &["us max_wal_senders failure", "us max_wal_senders failure"], "= '10'; -- then restart");
    check_setting(0, "max_wal_senders", "3", "eu max_wal_senders warning", "= '10'");
}

#[test]
fn what_a_standby_must_not_have_less_of_is_compared() {
    for name in
        ["max_worker_processes", "max_prepared_transactions", "max_locks_per_transaction", "max_connections"]
    {
        let [us, ap] = ["us", "ap"].map(|node| format!("{node} {name} failure"));
        check(|subject| set(facts(subject, 0), name, "200"), &[&us, &ap], "= '200'; -- then restart");
    }
}

#[test]
fn an_archive_that_does_not_work_fills_the_disk() {
    check_setting(0, "archive_mode", "on", "eu archive_command failure", "archive_command");
    let failing = |subject: &mut Subject| {
        set(facts(subject, 0), "archive_mode", "on");
        set(facts(subject, 0), "archive_command", "false");
        facts(subject, 0).archiver.failing = true;
    };
    check(failing, &["eu archive_command failure"], "pg_stat_archiver");
    // a standby archives only if it is to archive always
    check(|subject| set(facts(subject, 1), "archive_mode", "on"), &[], "");
}

#[test]
fn roles_timelines_and_identities_are_compared() {
    check(|subject| facts(subject, 1).timeline = TimelineId(2), &["us timeline failure"], "");
    check(|subject| facts(subject, 1).system_id = 8, &["us system_identifier failure"], "");
    check(|subject| facts(subject, 1).version = 150_019, &["us server_version warning"], "");
    check(|subject| facts(subject, 1).version = 160_001, &["us server_version failure"], "");
    let second = |subject: &mut Subject| {
        facts(subject, 1).in_recovery = false;
        facts(subject, 1).timeline = TimelineId(4);
    };
    let (found, fixes) = trouble(second);
    assert_eq!(found[0], "eu primary failure");
    assert_eq!(fixes[0], "pg_ctl stop -m fast -D /data");
    let none = |subject: &mut Subject| {
        subject.nodes[0].seen = Err(Refusal { sqlstate: None, message: "connection refused".to_owned() });
        facts(subject, 2).received = Lsn(200);
    };
    check(none, &["- primary failure", "eu login failure"], "SELECT pg_promote(); -- on ap");
}

#[test]
fn logins_that_are_refused_say_what_lets_them_in() {
    let login = |refusal: Refusal| move |subject: &mut Subject| subject.nodes[1].seen = Err(refusal);
    let hba = refusal("28000", "no pg_hba.conf entry for host \"10.9.0.1\", user \"pgherd\"");
    check(
        login(hba),
        &["us login failure"],
        "host  all  pgherd  10.9.0.1/32  scram-sha-256\nSELECT pg_reload_conf();",
    );
    let refused = || Refusal { sqlstate: None, message: "connection refused".to_owned() };
    check(login(refused()), &["us login failure"], "");
    let spare = |subject: &mut Subject| {
        login(refused())(subject);
        subject.nodes[1].spare = true;
    };
    assert!(!trouble(spare).0.iter().any(|found| found.starts_with("us login")), "it need not run");
    check(login(refusal("28000", "nein")), &["us login failure"], "host  all  pgherd  <address of pgherd>");
    check(login(refusal("28P01", "wrong")), &["us login failure"], "\\password \"pgherd\"");
    check(login(refusal("3D000", "no")), &["us login failure"], "CREATE DATABASE \"postgres\"");
    let many = refusal("53300", "too many connections for role \"pgherd\"");
    check(login(many), &["us login failure"], "CONNECTION LIMIT -1");

    let replication =
        |refusal: Refusal| move |subject: &mut Subject| subject.nodes[1].replication = Some(Err(refusal));
    let hba = refusal(
        "28000",
        "no pg_hba.conf entry for replication connection from host \"::1\", user \"pgherd\"",
    );
    check(
        replication(hba),
        &["us replication login failure"],
        "host  replication  pgherd  ::1/128  scram-sha-256",
    );
    check(
        replication(refusal("42501", "no")),
        &["us replication login failure"],
        "ALTER ROLE \"pgherd\" REPLICATION",
    );
    check(replication(refusal("53300", "no")), &["us replication login failure"], "max_wal_senders");
}

#[test]
fn a_node_that_a_standby_could_not_follow_is_told_with_the_line_it_lacks() {
    // us lets nobody replicate: neither ap nor, once it is a standby, eu
    let change = |subject: &mut Subject| facts(subject, 1).hba = Some(Readable::Read(Vec::new()));
    check(
        change,
        &["us streaming to failure", "us streaming to failure"],
        "host  replication  rep  10.0.0.1/32  scram-sha-256\n",
    );
    let rejected = |subject: &mut Subject| {
        let reject = HbaRule { method: "reject".to_owned(), ..let_in("rep") };
        facts(subject, 0).hba = Some(Readable::Read(vec![reject, let_in("rep")]));
    };
    check(
        rejected,
        &["eu streaming to failure", "eu streaming to failure"],
        "10.0.0.2/32  scram-sha-256  # above the line with reject\n",
    );
    check(|subject| facts(subject, 0).hba = Some(Readable::Closed), &[], "");
    let wrong = |subject: &mut Subject| {
        let wrong = HbaRule { error: "end-of-line".to_owned(), ..HbaRule::default() };
        facts(subject, 0).hba = Some(Readable::Read(vec![let_in("rep"), wrong]));
    };
    check(wrong, &["eu pg_hba.conf failure"], "pg_hba_file_rules");
}

#[test]
fn privileges_are_asked_of_the_primary_and_come_with_their_grants() {
    let lacks =
        |privilege| move |subject: &mut Subject| facts(subject, 0).privileges.push((privilege, false));
    check(
        lacks(Privilege::Monitor),
        &["eu privilege failure"],
        "\\connect \"postgres\"\nGRANT pg_monitor TO \"pgherd\";",
    );
    check(lacks(Privilege::HbaRules), &["eu privilege warning"], "pg_hba_file_rules() TO");
    let old = |subject: &mut Subject| {
        for at in 0..3 {
            facts(subject, at).version = 140_012;
        }
        facts(subject, 0).privileges.push((Privilege::Checkpoint, false));
    };
    check(old, &["eu privilege failure"], "ALTER ROLE \"pgherd\" SUPERUSER; -- before PostgreSQL 15");
    check(|subject| facts(subject, 1).privileges.push((Privilege::Monitor, false)), &[], "");

    let denied = |optional: bool, sql: &'static str| {
        move |subject: &mut Subject| {
            let (sql, database) = (sql.to_owned(), "auth".to_owned());
            subject.purpose.lookup = Some(Lookup { sql, database, optional });
            subject.nodes[0].lookup = Some(Err(refusal("42501", "permission denied")));
        }
    };
    let authid = "SELECT rolname, rolpassword FROM pg_authid WHERE rolname = $1";
    check(
        denied(false, authid),
        &["eu auth.query failure"],
        "\\connect \"auth\"\nGRANT SELECT ON pg_catalog.pg_authid",
    );
    check(denied(true, authid), &["eu auth.query warning"], "pg_authid");
    check(denied(false, "SELECT * FROM own($1)"), &["eu auth.query failure"], "");
}

#[test]
fn a_manager_has_to_be_able_to_set_what_it_sets() {
    check(|subject| set(facts(subject, 1), "allow_alter_system", "off"), &[], "");
    let refused = |subject: &mut Subject| {
        subject.purpose.mode = Mode::Manage;
        set(facts(subject, 1), "allow_alter_system", "off");
    };
    check(refused, &["us allow_alter_system failure"], "allow_alter_system = on");
    let fixed = |subject: &mut Subject| {
        subject.purpose.mode = Mode::Manage;
        facts(subject, 1).settings.get_mut("primary_conninfo").unwrap().source = "command line".to_owned();
    };
    check(fixed, &["us command line failure"], "without -c primary_conninfo");
    let forgets =
        |subject: &mut Subject| (subject.purpose.mode, subject.purpose.memory) = (Mode::Manage, Memory::Lost);
    check(forgets, &["- state_dir failure"], "state_dir = ");
    check(|subject| subject.purpose.memory = Memory::Lost, &["- state_dir warning"], "state_dir = ");
}

#[test]
fn connections_are_counted() {
    check(
        |subject| subject.purpose.demand = Some(93),
        &["eu max_connections warning", "us max_connections warning", "ap max_connections warning"],
        "max_server_connections = 92",
    );
    check(|subject| subject.purpose.demand = None, &[], "");
    check(|subject| facts(subject, 0).role_connections = 2, &["eu connection limit warning"], "LIMIT -1");
    let roles = |subject: &mut Subject| {
        facts(subject, 0).md5_roles = Some(Readable::Read(vec!["app".to_owned()]));
    };
    check(roles, &["eu md5 passwords warning"], "\\password \"app\"");
}

#[test]
fn standbys_have_to_follow_and_replay() {
    let away = |subject: &mut Subject| facts(subject, 1).receiver = None;
    let conninfo = "primary_conninfo = 'host=10.0.0.1 port=5432 user=rep password=… application_name=us'";
    check(away, &["us streaming failure"], conninfo);
    let nowhere = |subject: &mut Subject| {
        facts(subject, 1).receiver = None;
        set(facts(subject, 1), "primary_conninfo", "");
    };
    check(nowhere, &["us primary_conninfo failure"], conninfo);
    // nothing of it may be seen: then the missing privilege is what is told
    let unseen = |subject: &mut Subject| {
        facts(subject, 1).receiver = None;
        facts(subject, 1).settings.remove("primary_conninfo");
    };
    check(unseen, &[], "");
    check(|subject| facts(subject, 1).replay_paused = true, &["us replay failure"], "pg_wal_replay_resume()");
    check_setting(1, "recovery_min_apply_delay", "5", "us recovery_min_apply_delay warning", "= '0'");
    check_setting(1, "max_standby_streaming_delay", "-1", "us max_standby_streaming_delay warning", "30s");
    check_setting(
        1,
        "recovery_target_timeline",
        "current",
        "us recovery_target_timeline failure",
        "'latest'",
    );
    check_setting(
        1,
        "recovery_target_lsn",
        "0/1",
        "us recovery_target_lsn failure",
        "RESET recovery_target_lsn",
    );
    check_setting(
        1,
        "shared_preload_libraries",
        "x",
        "us shared_preload_libraries warning",
        "RESET shared_preload",
    );
}

#[test]
fn libraries_are_set_one_by_one() {
    let change = |subject: &mut Subject| {
        for at in [0, 2] {
            set(facts(subject, at), "shared_preload_libraries", "pg_stat_statements, \"my lib\"");
        }
    };
    check(change, &["us shared_preload_libraries warning"], "= 'pg_stat_statements', 'my lib'; -- then");
}

#[test]
fn slots_are_held_against_who_uses_them() {
    let physical = |name: &str, retained: u64| Slot { name: name.to_owned(), retained, ..Slot::default() };
    let unused = |subject: &mut Subject| facts(subject, 0).slots.push(physical("old", 5));
    check(unused, &["eu slot warning"], "SELECT pg_drop_replication_slot('old');");
    let full = |subject: &mut Subject| {
        set(facts(subject, 0), "max_slot_wal_keep_size", "-1");
        facts(subject, 0).slots.push(physical("old", 2 << 30));
    };
    check(full, &["eu slot failure", "eu max_slot_wal_keep_size warning"], "pg_drop_replication_slot");
    // some keep slots on standbys, for the time after a promotion
    check(|subject| facts(subject, 1).slots.push(physical("slot_ap", 5)), &[], "");
    let forgotten = |subject: &mut Subject| facts(subject, 1).slots.push(physical("gone", 2 << 30));
    check(forgotten, &["us slot warning"], "pg_drop_replication_slot('gone')");
    // its user follows the present primary, or is it
    for name in ["slot_ap", "slot_eu"] {
        let left = |subject: &mut Subject| {
            set(facts(subject, 0), "primary_slot_name", "slot_eu");
            facts(subject, 1).slots.push(physical(name, 2 << 30));
        };
        check(left, &["us slot warning"], &format!("SELECT pg_drop_replication_slot('{name}');"));
    }
    // a standby that is away needs what its slot holds
    let away = |subject: &mut Subject| {
        facts(subject, 0).slots[0] = physical("slot_us", 5);
        facts(subject, 1).receiver = None;
    };
    let (found, fixes) = trouble(away);
    assert_eq!(found, ["us streaming failure", "eu slot warning"]);
    assert_eq!(fixes[1], "");
    let missing = |subject: &mut Subject| {
        facts(subject, 0).slots.clear();
        facts(subject, 1).receiver = None;
    };
    let (found, fixes) = trouble(missing);
    assert_eq!(found, ["us streaming failure", "eu slot failure"]);
    assert_eq!(fixes[1], "SELECT pg_create_physical_replication_slot('slot_us', true);");
    let cascade = |subject: &mut Subject| {
        missing(subject);
        set(facts(subject, 1), "primary_conninfo", "host=10.0.0.3 user=rep application_name=us");
    };
    assert_eq!(trouble(cascade).0, ["us streaming failure"]);
    let lost = |subject: &mut Subject| facts(subject, 0).slots[0].wal_status = "lost".to_owned();
    check(lost, &["eu slot failure"], "pg_drop_replication_slot('slot_us')");
    let soon = |subject: &mut Subject| facts(subject, 0).slots[0].wal_status = "unreserved".to_owned();
    check(soon, &["eu slot failure"], "");
    let without = |subject: &mut Subject| {
        set(facts(subject, 1), "primary_slot_name", "");
        facts(subject, 1).receiver.as_mut().unwrap().slot = String::new();
    };
    check(without, &["eu wal_keep_size warning"], "wal_keep_size");
}

#[test]
fn logical_slots_have_to_be_copied() {
    let logical = |major: u32, failover: bool| {
        move |subject: &mut Subject| {
            for at in 0..3 {
                facts(subject, at).version = major * 10_000;
            }
            set(facts(subject, 2), "sync_replication_slots", "on");
            set(facts(subject, 1), "sync_replication_slots", "off");
            let slot =
                Slot { name: "changes".to_owned(), logical: true, active: true, failover, ..Slot::default() };
            facts(subject, 0).slots.push(slot);
        }
    };
    check(logical(15, false), &["eu logical slot warning"], "");
    check(logical(17, false), &["eu logical slot warning"], "SET (failover = true)");
    check(logical(17, true), &["us sync_replication_slots warning"], "sync_replication_slots = 'on'");
}

#[test]
fn commits_have_to_come_to_an_end_now_and_after_a_promotion() {
    let sync = |eu: &'static str, others: &'static str| {
        move |subject: &mut Subject| {
            set(facts(subject, 0), "synchronous_standby_names", eu);
            for at in [1, 2] {
                set(facts(subject, at), "synchronous_standby_names", others);
            }
        }
    };
    check(sync("ANY 1 (us, ap)", "ANY 1 (eu, us, ap)"), &[], "");
    check(
        sync("ANY 3 (us, ap, x)", "*"),
        &["eu synchronous_standby_names failure", "eu synchronous_standby_names warning"],
        "ANY 1 (\"us\", \"ap\")",
    );
    check(sync("ANY 1 (us, x)", "*"), &["eu synchronous_standby_names warning"], "ANY 1 (\"us\")");
    let unsynced = ["us synchronous_standby_names warning", "ap synchronous_standby_names warning"];
    check(sync("ANY 1 (us, ap)", ""), &unsynced, "ANY 1 (\"eu\", \"ap\")");
    check(sync("", "2 (eu, x)"), &unsynced, "RESET");
    check(sync("ANY 1 (", "*"), &["eu synchronous_standby_names warning"], "RESET");
    let managed = |subject: &mut Subject| {
        sync("ANY 1 (us, ap)", "")(subject);
        subject.purpose.mode = Mode::Manage;
    };
    check(managed, &[], "");
    let local = |subject: &mut Subject| {
        sync("us", "*")(subject);
        facts(subject, 0).senders.clear();
        set(facts(subject, 0), "synchronous_commit", "local");
    };
    check(local, &[], "");
    let nameless = |subject: &mut Subject| {
        sync("*", "*")(subject);
        set(facts(subject, 1), "cluster_name", "");
        set(facts(subject, 1), "primary_conninfo", "host=10.0.0.1 user=rep");
    };
    check(nameless, &["us application_name warning"], "cluster_name = 'us'; -- then restart");
}

#[test]
fn places_clocks_and_restarts_are_told() {
    let alone = |subject: &mut Subject| {
        subject.nodes.truncate(1);
        facts(subject, 0).slots.clear();
    };
    check(alone, &["- nodes warning"], "");
    let together = |subject: &mut Subject| {
        for node in &mut subject.nodes {
            node.region = "eu".to_owned();
        }
    };
    check(together, &["- regions warning"], "region = ");
    check(|subject| facts(subject, 1).clock_ahead = -2.0, &["us clock warning"], "timedatectl");
    let pending = |subject: &mut Subject| {
        facts(subject, 1).settings.get_mut("max_connections").unwrap().restart_pending = true;
    };
    check(pending, &["us restart pending warning"], "pg_ctl restart -m fast -D /data");
    let spread = |subject: &mut Subject| {
        facts(subject, 0).tablespaces.push(("fast".to_owned(), "/ssd".to_owned()));
    };
    check(spread, &["eu tablespace warning"], "--tablespace-mapping=/ssd=/ssd");
}
