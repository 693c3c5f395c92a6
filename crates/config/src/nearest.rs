//! "Did you mean": the valid word nearest to a wrong one.

/// A longer word is nobody's slip of a key; it also bounds the work.
const LENGTH_MAX: usize = 64;

/// A word that merely carries a valid one inside ("default_pool_size" for "size") counts as this far off.
const CONTAINED: usize = 2;

/// The candidate that `word` was probably meant to be. Case, `_` and `-` do not count.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = plain(word);
    if word.is_empty() || word.len() > LENGTH_MAX {
        return None;
    }
    candidates
        .into_iter()
        .filter_map(|candidate| {
            let other = plain(candidate);
            let mut score = distance(&word, &other);
            if score > bound(&word, &other) {
                score = contained(&word, &other)?;
            }
            Some((score, candidate))
        })
        .min_by_key(|(score, _)| *score)
        .map(|(_, candidate)| candidate)
}

fn plain(word: &str) -> Vec<char> {
    word.chars().filter(|c| !matches!(c, '_' | '-' | ' ')).flat_map(char::to_lowercase).collect()
}

/// How many slips are believable: one in three characters, one at least.
fn bound(a: &[char], b: &[char]) -> usize {
    (a.len().max(b.len()) / 3).max(1)
}

/// A score for one word being the start or end of the other; the longer the shared part, the better.
fn contained(a: &[char], b: &[char]) -> Option<usize> {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    let shares = short.len() >= 3 && (long.starts_with(short) || long.ends_with(short));
    shares.then(|| CONTAINED + long.len() - short.len())
}

/// Optimal string alignment: insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::raw::SECTIONS;

    const POOL: [&str; 5] = ["mode", "size", "min_size", "wait_timeout", "server_idle_timeout"];

    #[track_caller]
    fn check(word: &str, expected: Option<&str>) {
        assert_eq!(nearest(word, POOL), expected, "{word}");
    }

    #[test]
    fn a_slip_finds_its_key() {
        check("szie", Some("size"));
        check("sise", Some("size"));
        check("mdoe", Some("mode"));
        check("wait_timout", Some("wait_timeout"));
        check("MinSize", Some("min_size"));
        check("wait-timeout", Some("wait_timeout"));
    }

    #[test]
    fn a_key_with_its_section_in_front_finds_its_key() {
        check("poolsize", Some("size"));
        check("pool_mode", Some("mode"));
        check("default_pool_size", Some("size"));
        check("idle_timeout", Some("server_idle_timeout"));
    }

    #[test]
    fn an_unrelated_word_finds_nothing() {
        check("banana", None);
        check("", None);
        check(&"s".repeat(100_000), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_slip_in_a_key_finds_it(section in 0..SECTIONS.len(), key in 0_usize..16, at in 0_usize..32, slip in 0..3) {
            let keys: Vec<&str> = SECTIONS[section].keys.iter().map(|key| key.name).collect();
            let key = keys[key % keys.len()];
            let mut letters: Vec<char> = key.chars().collect();
            let at = at % letters.len();
            match slip {
                0 => letters.insert(at, 'q'),
                1 if letters.len() > 3 => { letters.remove(at); }
                _ => letters[at] = 'q',
            }
            let slipped: String = letters.into_iter().collect();
            let found = nearest(&slipped, keys.iter().copied());
            prop_assume!(!keys.contains(&slipped.as_str()));
            // another key may be as near: "max_hld" is one slip from "max_held" and from "max_hold"
            let far = |key: &str| distance(&plain(&slipped), &plain(key));
            prop_assert!(found.is_some_and(|found| far(found) <= far(key)), "{slipped}: {found:?}");
        }
    }
}
