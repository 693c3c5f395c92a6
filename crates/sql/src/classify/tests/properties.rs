#![expect(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test may panic")]

use proptest::prelude::*;

use super::*;

/// Pieces that texts are made of, the dangerous ones included.
#[rustfmt::skip]
const PIECES: &[&str] = &[
    "select", "insert", "update", "for", "into", "with", "as", "begin", "commit", "set", "reset", "explain",
    "analyze", "copy", "to", "stdout", "create", "temp", "table", "distinct", "on", "recursive", "do",
    "declare", "hold", "atomic", "case", "end", "set_config", "lower", "nextval", "pg_advisory_lock",
    "pg_catalog", "pg_temp", "local", "session", "transaction", "read", "only", "deallocate", "prepare",
    "all", "true", "false", "null", "listen", "unlisten", "(", ")", ",", ".", "::", "=", "+", "[", "]", "*", "$1", "42", "1.5e3",
    "'a'", "''", "E'\\''", "$$x$$", "$t$ ; $t$", "\"a b\"", "U&\"\\0061\"", "uescape", "search",
    "/* c */",
    "/* pgherd: replica */", "-- c\n", "\n", "@>", "a", "B", "größe", "pg_locks", "pg_settings",
];

fn piece() -> impl Strategy<Value = String> {
    prop::sample::select(PIECES).prop_map(String::from)
}

/// A statement of whole tokens, without `;`.
fn statement() -> impl Strategy<Value = String> {
    prop::collection::vec(piece(), 1..20).prop_map(|pieces| pieces.join(" "))
}

fn class_of(text: &str) -> Class {
    classify(text.as_bytes(), &NoFunctions)
}

/// The parentheses of `text` close and nothing that contains `;` stays open.
fn ends(text: &str) -> bool {
    class_of(&format!("{text} ; select 1")).statements != class_of(text).statements
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let class = classify(&bytes, &NoFunctions);
        prop_assert_eq!(crate::hint(&bytes).is_some(), class.hinted);
        let _ = (crate::shape(&bytes), crate::deallocated_name(&bytes));
        crate::setting_changes(&bytes).for_each(drop);
    }

    #[test]
    fn no_mix_of_tokens_makes_it_panic_however_it_is_cut(
        pieces in prop::collection::vec(prop_oneof![piece(), Just(";".to_owned()), Just("'".to_owned())], 0..40),
        cut in any::<prop::sample::Index>(),
    ) {
        let text = pieces.concat();
        let cut = cut.index(text.len() + 1);
        for bytes in [text.as_bytes(), &text.as_bytes()[..cut], &text.as_bytes()[cut..]] {
            let class = classify(bytes, &NoFunctions);
            crate::setting_changes(bytes).for_each(drop);
            prop_assert_eq!(crate::hint(bytes).is_some(), class.hinted);
            prop_assert!(!class.replayable || class.statements == Statements::One);
            prop_assert!(class.effect != Effect::Deallocate || crate::deallocated_name(bytes).is_some());
        }
    }

    #[test]
    fn comments_and_whitespace_at_the_ends_change_nothing(text in statement()) {
        let class = class_of(&text);
        for other in [
            format!("{text} "), format!("{text}\n-- ; delete from t"), format!("{text} /* ; /* */ ' */"),
            format!("  {text}"), format!("-- x'\n{text}"), format!("/* $$ */{text}\t\n"),
        ] {
            prop_assert_eq!(class_of(&other), class, "{}", other);
        }
    }

    #[test]
    fn case_and_the_space_between_tokens_change_nothing(text in statement()) {
        let text = text.replace(['\'', '"', '$', '/', '-'], "");
        let class = class_of(&text);
        prop_assert_eq!(class_of(&text.replace(' ', "\n\t ")), class);
        prop_assert_eq!(class_of(&text.replace(' ', " /* ; */ -- '\n")), class);
        prop_assert_eq!(class_of(&text.to_ascii_uppercase()), class);
    }

    #[test]
    fn two_texts_together_are_no_more_of_a_read_than_each(a in statement(), b in statement()) {
        prop_assume!(ends(&a));
        let (first, second) = (class_of(&a), class_of(&b));
        let together = class_of(&format!("{a} ; {b}"));
        let reads = |class: Class| matches!(class.kind, Kind::Read | Kind::Empty);
        if !first.hinted && !second.hinted {
            prop_assert_eq!(reads(together), reads(first) && reads(second));
        }
        if matches!(first.effect, Effect::Pin(_)) || matches!(second.effect, Effect::Pin(_)) {
            prop_assert!(matches!(together.effect, Effect::Pin(_)));
        }
        prop_assert_eq!(together.hinted, first.hinted || second.hinted);
    }
}
