//! What shuts a primary that nobody can stop: a setting by which no commit succeeds any more. It carries what it took the
//! place of, so that whoever undoes it, in whatever run of whichever pgherd, can put that back.

use std::fmt;

use topology::Epoch;

/// What the standby is called that commits wait for and that never comes, before the epoch.
const NAME_PREFIX: &str = "pgherd_fenced_e";
/// Before the value that held earlier: another standby that never comes.
const FORMER_PREFIX: &str = "pgherd_was: ";

/// A value of `synchronous_standby_names` that no standby satisfies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fence {
    /// Whose fence it is.
    epoch: Epoch,
    /// What `ALTER SYSTEM` had set before; `None`: nothing, what the configuration files say held.
    pub(super) former: Option<String>,
}

impl Fence {
    /// One that takes the place of `present`, which `ALTER SYSTEM` set or not.
    pub(super) fn instead_of(present: &str, is_altered: bool, epoch: Epoch) -> Self {
        let former = match Self::parse(present) {
            Some(fence) => fence.former,
            None => is_altered.then(|| present.to_owned()),
        };
        Self { epoch, former }
    }

    /// Reads a value; `None` if it is no fence.
    pub(super) fn parse(value: &str) -> Option<Self> {
        let (_, list) = value.trim().split_once('(')?;
        let rest = list.trim_start().strip_prefix(NAME_PREFIX)?;
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (epoch, rest) = rest.split_at(digits);
        let former = match rest.trim_end().strip_suffix(')')? {
            "" => None,
            rest => {
                let quoted = rest.trim().strip_prefix(',')?.trim().strip_prefix('"')?.strip_suffix('"')?;
                Some(quoted.replace("\"\"", "\"").strip_prefix(FORMER_PREFIX)?.to_owned())
            }
        };
        Some(Self { epoch: Epoch(epoch.parse().ok()?), former })
    }
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let epoch = self.epoch;
        match &self.former {
            None => write!(f, "ANY 1 ({NAME_PREFIX}{epoch})"),
            // any number of "pgherd_was" could not be connected without the other one
            Some(former) => {
                let former = former.replace('"', "\"\"");
                write!(f, "ANY 2 ({NAME_PREFIX}{epoch}, \"{FORMER_PREFIX}{former}\")")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(present: &str, is_altered: bool) -> String {
        Fence::instead_of(present, is_altered, Epoch(7)).to_string()
    }

    #[test]
    fn a_fence_says_what_it_took_the_place_of() {
        assert_eq!(value("", false), "ANY 1 (pgherd_fenced_e7)");
        assert_eq!(value("a, b", false), "ANY 1 (pgherd_fenced_e7)", "the files say it again");
        assert_eq!(value("", true), r#"ANY 2 (pgherd_fenced_e7, "pgherd_was: ")"#);
        let altered = value(r#"FIRST 1 ("a-1", b)"#, true);
        assert_eq!(altered, r#"ANY 2 (pgherd_fenced_e7, "pgherd_was: FIRST 1 (""a-1"", b)")"#);
        let again = Fence::instead_of(&altered, true, Epoch(8));
        assert_eq!(again.to_string(), altered.replace("e7", "e8"));
        assert_eq!(again.former.as_deref(), Some(r#"FIRST 1 ("a-1", b)"#));
    }

    #[test]
    fn other_values_are_no_fence() {
        for value in ["", "*", "a, b", "ANY 1 (a)", "ANY 1 (pgherd_fenced_ex)", "ANY 1 (pgherd_fenced_e7, b)"]
        {
            assert_eq!(Fence::parse(value), None, "{value}");
        }
    }

    proptest! {
        #[test]
        fn any_value_comes_back(former in proptest::option::of("[^\0]*"), epoch: u64) {
            let fence = Fence { epoch: Epoch(epoch), former };
            prop_assert_eq!(Fence::parse(&fence.to_string()), Some(fence));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "ANY 1 \\([a-z_0-9,\" :]*\\)?") {
            let _ = Fence::parse(&text);
        }
    }
}
