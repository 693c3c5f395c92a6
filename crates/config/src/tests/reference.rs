use std::{collections::BTreeMap, path::Path, sync::Arc};

use crate::{
    load,
    mistake::Origin,
    raw::{Document, SECTIONS},
    reference,
    section::{Context, Reader},
    tree,
};

#[test]
fn the_example_file_is_the_reference() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/example.toml");
    if std::env::var_os("PGHERD_WRITE_REFERENCE").is_some() {
        std::fs::write(&path, reference()).unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text == reference(), "config/example.toml is old; run this test with PGHERD_WRITE_REFERENCE=1");
    let settings = load(&path, std::iter::empty()).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(settings.databases[0].pool, pool::Settings::default());
}

#[test]
fn every_key_of_the_reference_is_valid() {
    // a commented line of the reference is a key or heading if nothing but "#" stands before it
    let text: String = reference()
        .lines()
        .map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line))
        .flat_map(|line| [line, "\n"])
        .collect();
    let table = tree::parse(&Arc::from("example"), &text).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
    let environment = BTreeMap::new();
    let mut context = Context {
        sections: &SECTIONS,
        base: Path::new(""),
        source: Origin::Default,
        environment: &environment,
        mistakes: Vec::new(),
        warnings: Vec::new(),
        rows: Vec::new(),
    };
    assert!(Document::read(&mut Reader::root(&mut context, &table)).is_some());
    assert_eq!(context.mistakes, []);
    let keys: usize = SECTIONS.iter().map(|section| section.keys.len()).sum();
    assert_eq!(context.rows.len(), keys, "every key is written exactly once");
}

#[test]
fn every_key_is_documented_and_its_default_is_valid() {
    for section in &SECTIONS {
        assert!(!section.docs.is_empty(), "{}", section.path);
        for key in section.keys {
            assert!(key.docs.iter().any(|line| !line.trim().is_empty()), "{}.{}", section.path, key.name);
        }
    }
}
