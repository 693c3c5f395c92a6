/// Differences that a pooler cannot avoid, each with its reason: lines of comment, the test's name behind `==`, the
/// lines of the diff. `~` stands before how any number of lines of the diff begin.
const EXPECTED: &str = include_str!("differences.txt");

fn section(test: &str) -> impl Iterator<Item = &'static str> {
    let sections = EXPECTED.split("\n== ").skip(1).filter_map(|section| section.split_once('\n'));
    sections.filter(move |(name, _)| *name == test).flat_map(|(_, lines)| lines.lines())
}

/// Whether a diff is what is listed for a test. What is listed and does not show, since a run took another way there, is
/// no difference.
pub(super) fn is_expected(test: &str, difference: &str) -> bool {
    let begins: Vec<_> = section(test).filter_map(|line| line.strip_prefix('~')).collect();
    let mut left =
        difference.lines().filter(|line| !begins.iter().any(|begin| line.starts_with(begin))).peekable();
    left.peek().is_none() || left.eq(section(test).filter(|line| line.starts_with(['-', '+'])))
}

#[test]
fn every_listed_difference_has_a_reason_before_it() {
    let mut previous = "";
    for line in EXPECTED.lines() {
        assert!(line.is_empty() || line.starts_with(['#', '=', '-', '+', '~']), "{line}");
        assert!(!line.starts_with("== ") || previous.starts_with('#'), "{line} has no reason");
        previous = line;
    }
    assert!(is_expected("temp", "") && is_expected("prepare", "+ pgherd_12 | SELECT\n"));
    assert!(!is_expected("temp", "+ERROR:\n") && !is_expected("prepare", "+ERROR:\n"));
}
