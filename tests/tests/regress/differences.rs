/// Differences that a pooler cannot avoid, each with its reason: lines of comment, the test's name behind `==`, the
/// lines of the diff. `~` stands before how any number of lines of the diff begin. What holds in one mode alone has the
/// mode behind the test's name.
const EXPECTED: &str = include_str!("differences.txt");

fn section(test: &str, mode: &str) -> impl Iterator<Item = &'static str> {
    let sections = EXPECTED.split("\n== ").skip(1).filter_map(|section| section.split_once('\n'));
    let is_meant =
        move |name: &str| name.strip_prefix(test).is_some_and(|of| of.is_empty() || of.trim() == mode);
    sections.filter(move |(name, _)| is_meant(name)).flat_map(|(_, lines)| lines.lines())
}

/// Whether a diff is what is listed for a test. What is listed and does not show, since a run took another way there, is
/// no difference.
pub(super) fn is_expected(test: &str, mode: &str, difference: &str) -> bool {
    let begins: Vec<_> = section(test, mode).filter_map(|line| line.strip_prefix('~')).collect();
    // an empty line belongs to what stands before it
    let says_something = |line: &&str| !matches!(*line, "-" | "+");
    let is_left = |line: &&str| !begins.iter().any(|begin| line.starts_with(begin));
    let mut left = difference.lines().filter(says_something).filter(is_left).peekable();
    left.peek().is_none() || left.eq(section(test, mode).filter(|line| line.starts_with(['-', '+'])))
}

#[test]
fn every_listed_difference_has_a_reason_before_it() {
    let mut previous = "";
    for line in EXPECTED.lines() {
        assert!(line.is_empty() || line.starts_with(['#', '=', '-', '+', '~']), "{line}");
        assert!(!line.starts_with("== ") || previous.starts_with('#'), "{line} has no reason");
        previous = line;
    }
    assert!(is_expected("temp", "session", "") && !is_expected("temp", "session", "+ERROR:\n"));
    assert!(is_expected("prepare", "transaction", "+ pgherd_12 | SELECT\n"));
    assert!(!is_expected("prepare", "session", "+ pgherd_12 | SELECT\n"));
    assert!(!is_expected("prepare", "transaction", "+ERROR:\n"));
    let late = "+ERROR:  currval() and lastval() are not yet defined on this server connection\n";
    let of_currval = format!("- currval \n----------\n-       2\n-(1 row)\n-\n{late}");
    assert!(
        is_expected("sequence", "transaction", &of_currval)
            && !is_expected("sequence", "session", &of_currval)
    );
    assert!(!is_expected("sequence", "transaction", "+       3\n"));
}
