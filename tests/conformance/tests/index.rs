//! `docs/rfc.md` names every test here, and no other.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[test]
fn the_table_and_the_tests_agree() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut written = BTreeSet::new();
    for file in fs::read_dir(here.join("tests")).unwrap() {
        let path = file.unwrap().path();
        let topic = path.file_stem().unwrap().to_string_lossy().into_owned();
        let source = fs::read_to_string(&path).unwrap();
        let names = source
            .split("#[test]\nfn ")
            .skip(1)
            .filter_map(|rest| rest.split_once('('));
        written.extend(
            names
                .filter(|_| topic != "index")
                .map(|(name, _)| format!("{topic}::{name}")),
        );
    }
    let table = fs::read_to_string(here.join("../../docs/rfc.md")).unwrap();
    let listed: BTreeSet<String> = table
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| word.contains("::"))
        .map(str::to_owned)
        .collect();
    let difference: Vec<&String> = written.symmetric_difference(&listed).collect();
    assert!(difference.is_empty(), "only in one of them: {difference:#?}");
}
