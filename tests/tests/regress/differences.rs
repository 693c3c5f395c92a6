/// Differences that a pooler cannot avoid, each with its reason: lines of comment, the test's name behind `==`, the
/// lines of the diff.
const EXPECTED: &str = include_str!("differences.txt");

/// The lines of the diff that is expected in a test; empty if it has to give the same.
pub(super) fn expected(test: &str) -> String {
    let sections = EXPECTED.split("\n== ").skip(1).filter_map(|section| section.split_once('\n'));
    let lines = sections.filter(|(name, _)| *name == test).flat_map(|(_, lines)| lines.lines());
    lines.filter(|line| line.starts_with(['-', '+'])).map(|line| line.to_owned() + "\n").collect()
}

#[test]
fn every_listed_difference_has_a_reason_before_it() {
    let mut previous = "";
    for line in EXPECTED.lines() {
        assert!(line.is_empty() || line.starts_with(['#', '=', '-', '+']), "{line}");
        assert!(!line.starts_with("== ") || previous.starts_with('#'), "{line} has no reason");
        previous = line;
    }
    assert!(expected("temp").starts_with("-ERROR:"));
}
