//! Statement texts: nothing panics, nothing takes more than linear time, whitespace and comments change nothing, and
//! what is said of one text fits together.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sql::{
    Effect, Kind, NoFunctions, SettingChange, Statements, classify, deallocated_name, hint, setting_changes,
    shape,
};

/// Repeated to this length, what takes quadratic time runs into libFuzzer's time limit.
const LONG: usize = 256 * 1024;

fuzz_target!(|text: &[u8]| {
    check_text(text);
    check_layout(text);
    check_settings(text);
    // By chance and not by the fuzzer's choice, or it would collect the texts that take longest.
    let sum = text.iter().fold(text.len(), |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)));
    if sum % 1024 == 1 {
        let long = text.repeat(LONG.div_ceil(text.len()));
        let _ = (classify(&long, &NoFunctions), hint(&long), shape(&long), setting_changes(&long).count());
        let _ = deallocated_name(&long);
    }
});

/// What one text is said to be is consistent.
fn check_text(text: &[u8]) {
    let class = classify(text, &NoFunctions);
    assert_eq!(class.hinted, hint(text).is_some());
    assert_eq!(class.kind == Kind::Empty, class.statements == Statements::None);
    let leaves_nothing =
        matches!(class.effect, Effect::None | Effect::LocalSettings | Effect::Listen | Effect::Unlisten);
    assert!(!class.replayable || (class.statements == Statements::One && leaves_nothing));
    if class.effect == Effect::Deallocate && class.statements == Statements::One {
        assert!(deallocated_name(text).is_some());
    }
    let name = deallocated_name(text).unwrap_or_default();
    assert!(name.len() <= 63 || text.len() > 63);
}

/// Whitespace and comments around a text change nothing, but for a text that ends inside something.
fn check_layout(text: &[u8]) {
    let class = classify(text, &NoFunctions);
    let around: [(&[u8], &[u8]); 6] = [
        (b"", b" "),
        (b"", b"\n-- x"),
        (b"", b"\n/* x /* y */ */\t"),
        (b" ", b""),
        (b"-- x\n", b""),
        (b"/*x*/", b""),
    ];
    for (before, after) in around {
        let padded = [before, text, after].concat();
        assert_eq!(classify(&padded, &NoFunctions), class, "{before:?} {after:?}");
        if before.is_empty() {
            continue;
        }
        assert_eq!(shape(&padded), shape(text), "{before:?}");
        assert_eq!(hint(&padded), hint(text), "{before:?}");
    }
}

/// What a text of settings changes can be brought about again by statements of settings.
fn check_settings(text: &[u8]) {
    let effect = classify(text, &NoFunctions).effect;
    let changes: Vec<_> = setting_changes(text).collect();
    if !matches!(effect, Effect::Settings | Effect::Listen | Effect::Unlisten) {
        return;
    }
    assert!(!changes.is_empty(), "settings, but none is named");
    for change in &changes {
        if let SettingChange::Set { name, statement } = change {
            let again = classify(statement, &NoFunctions);
            assert_eq!(
                (again.effect, again.statements),
                (Effect::Settings, Statements::One),
                "{statement:?}"
            );
            let names: Vec<_> = setting_changes(statement).collect();
            assert!(
                matches!(&names[..], [SettingChange::Set { name: same, .. }] if same == name),
                "{statement:?}"
            );
        }
    }
}
