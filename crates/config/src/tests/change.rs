//! One key changed at run time.

use super::{LEAST, valid};

#[test]
fn one_key_can_be_changed() {
    let settings = valid(LEAST);
    let changed = settings.with("pool.size", "7").unwrap();
    assert_eq!(changed.databases[0].pool.size, 7);
    let again = changed.with("pool.wait_timeout", "3s").unwrap();
    assert_eq!(again.databases[0].pool.size, 7, "one change after the other");
    let changes: Vec<_> =
        crate::differences(&settings, &again).into_iter().map(|change| change.key).collect();
    assert!(changes.contains(&"pool.size".to_owned()) && changes.contains(&"pool.wait_timeout".to_owned()));
}

#[test]
fn a_wrong_change_is_refused_with_the_place_and_the_nearest_key() {
    let settings = valid(LEAST);
    for (key, value, told) in [
        ("pool.siz", "7", "did you mean \"size\""),
        ("pool.size", "many", "a whole number"),
        ("pool.min_size", "21", "more than"),
        ("pool", "7", "expected a table"),
        ("database.5.name", "x", "position 5"),
    ] {
        let mistakes = settings.with(key, value).unwrap_err().to_string();
        assert!(mistakes.contains(told) && mistakes.contains("SET"), "{key}: {mistakes}");
    }
}
