//! Nothing that is written makes reading panic.

use proptest::prelude::*;

use super::load_with;
use crate::{from_database_url, raw::SECTIONS, reference};

/// Text that is nearly a configuration: headings, keys and values of the schema, and anything else.
fn lines() -> impl Strategy<Value = String> {
    let headings: Vec<String> = SECTIONS
        .iter()
        .flat_map(|section| [format!("[{}]", section.path), format!("[[{}]]", section.path)])
        .collect();
    let keys: Vec<&str> = SECTIONS.iter().flat_map(|section| section.keys).map(|key| key.name).collect();
    let values = prop_oneof![
        Just("0".to_owned()),
        Just("-9223372036854775808".to_owned()),
        Just("1e999".to_owned()),
        Just("\"30s\"".to_owned()),
        Just("\"99999999999999999999TB\"".to_owned()),
        Just("[[[[]]]]".to_owned()),
        Just("{ file = \"/\" }".to_owned()),
        Just("[{ address = \"[\" }, { address = \"é:1\" }, 5]".to_owned()),
        Just("1979-05-27".to_owned()),
        "\"\\PC{0,12}\"",
        "\\PC{0,12}",
    ];
    let line = prop_oneof![
        proptest::sample::select(headings),
        (proptest::sample::select(keys), values).prop_map(|(key, value)| format!("{key} = {value}")),
        "\\PC{0,20}",
    ];
    proptest::collection::vec(line, 0..12).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_file_panics(text in lines()) {
        if let Err(mistakes) = load_with(&text, &[]) {
            prop_assert!(mistakes.len() > 0 && mistakes.to_string().lines().count() >= mistakes.len());
        }
    }

    #[test]
    fn no_damaged_reference_panics(at in 0_usize..4000, bytes in "\\PC{0,5}", skip in 0_usize..5) {
        let text = reference();
        let cut = |at: usize| (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        let damaged = format!("{}{bytes}{}", &text[..cut(at)], &text[cut(at + skip)..]);
        drop(load_with(&damaged, &[]));
    }

    #[test]
    fn no_variable_panics(name in "[A-Z_0-9]{0,24}", value in "\\PC{0,24}") {
        drop(load_with(super::LEAST, &[(&format!("PGHERD__{name}"), &value)]));
    }

    #[test]
    fn no_url_panics(rest in "[a-z0-9:@/?&=,%\\[\\].é]{0,40}") {
        drop(from_database_url(&format!("postgres://{rest}"), std::iter::empty()));
    }
}
