use super::harmless::HARMLESS;
use super::standing::{EXACT, PREFIXES, Standing, standing};

#[test]
fn the_lists_are_sorted_without_doubles() {
    assert!(HARMLESS.is_sorted_by(|a, b| a < b));
    assert!(EXACT.is_sorted_by(|(a, _), (b, _)| a < b));
    assert!(PREFIXES.is_sorted_by(|(a, _), (b, _)| a < b && !b.starts_with(a)));
}

#[test]
fn no_harmless_function_is_in_a_forbidden_family() {
    for name in HARMLESS {
        assert!(!EXACT.iter().any(|(exact, _)| exact == name), "{name}");
        assert!(!PREFIXES.iter().any(|(prefix, _)| name.starts_with(prefix)), "{name}");
    }
}

#[test]
fn every_name_is_found_and_no_other() {
    for name in HARMLESS {
        check(name, Standing::Harmless);
        check(&name[..name.len() - 1], standing_by_comparison(&name[..name.len() - 1]));
        check(&format!("{name}x"), standing_by_comparison(&format!("{name}x")));
    }
    for (name, expected) in EXACT {
        check(name, *expected);
    }
    for (prefix, expected) in PREFIXES {
        check(&format!("{prefix}x"), *expected);
    }
}

/// The same, the slow way.
fn standing_by_comparison(name: &str) -> Standing {
    if HARMLESS.contains(&name) {
        return Standing::Harmless;
    }
    let exact = EXACT.iter().find(|(known, _)| *known == name);
    let family = PREFIXES.iter().find(|(prefix, _)| name.starts_with(prefix));
    exact.or(family).map_or(Standing::Unknown, |(_, standing)| *standing)
}

#[test]
fn names_are_in_lower_case_and_as_long_as_the_server_allows() {
    for name in HARMLESS.iter().chain(EXACT.iter().map(|(name, _)| name)) {
        assert!(name.len() <= 63 && !name.bytes().any(|b| b.is_ascii_uppercase()), "{name}");
    }
}

#[track_caller]
fn check(name: &str, expected: Standing) {
    assert_eq!(standing(name.as_bytes()), expected, "{name}");
}

#[test]
fn whole_names_win_over_families() {
    check("pg_try_advisory_lock", Standing::SessionLock);
    check("pg_try_advisory_xact_lock_shared", Standing::Writes);
    check("pg_advisory_unlock_all", Standing::Writes);
    check("lo_export", Standing::Outside);
    check("lo_get", Standing::Writes);
    check("pg_replication_origin_session_setup", Standing::SessionState);
    check("pg_replication_origin_create", Standing::Outside);
}

#[test]
fn transaction_ids_may_be_looked_at_but_not_taken() {
    check("txid_current", Standing::Writes);
    check("txid_current_if_assigned", Standing::Harmless);
    check("pg_current_xact_id", Standing::Writes);
    check("pg_current_xact_id_if_assigned", Standing::Harmless);
}
