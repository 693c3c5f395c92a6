//! What may end the state that a session is pinned for.

/// Every statement that gives up session state has one of these in it: CLOSE, DEALLOCATE, DISCARD, DROP, and
/// `pg_advisory_unlock` with its relatives.
const WORDS: [&[u8]; 5] = [b"close", b"deallocate", b"discard", b"drop", b"unlock"];

/// Whether running `text` may give up a temporary table, an advisory lock, a cursor or a prepared statement. It errs
/// on both sides: a word may stand in a comment, and a function may hide one. So it only says when to ask the server.
#[must_use]
pub fn may_release(text: &[u8]) -> bool {
    let starts = |at: usize| {
        let rest = text.get(at..).unwrap_or_default();
        WORDS.iter().any(|word| rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word)))
    };
    let first = |byte: u8| matches!(byte.to_ascii_lowercase(), b'c' | b'd' | b'u');
    text.iter().enumerate().any(|(at, byte)| first(*byte) && starts(at))
}

#[cfg(test)]
mod tests {
    use super::may_release;

    #[test]
    fn statements_that_give_up_session_state_are_noticed() {
        for text in [
            "drop table t",
            "DISCARD TEMP",
            "close all",
            "Deallocate p",
            "select pg_advisory_unlock(1)",
            "select pg_advisory_unlock_all()",
            "do $$ begin DROP TABLE t; end $$",
        ] {
            assert!(may_release(text.as_bytes()), "{text}");
        }
        for text in ["", "d", "select 1", "insert into t values (1)", "select pg_advisory_lock(1)", "clos"] {
            assert!(!may_release(text.as_bytes()), "{text}");
        }
    }
}
