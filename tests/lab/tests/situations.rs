//! `pasarela reach` names the true situation in every network: a golden table.
#![allow(clippy::unwrap_used, reason = "test code: a panic is its report")]

use std::ffi::OsStr;

use pasarela_lab::lab;
use pasarela_lab::site::ladder;
use pasarela_testkit::lab::TOPOLOGIES;
use serde_json::Value;

/// Topology, the rung that is best without a word from the operator, whether it is verified, and the situation.
const GOLDEN: &[(&str, &str, bool, &str)] = &[];

#[test]
fn every_network_is_named() {
    let mut wrong = Vec::new();
    for topology in TOPOLOGIES {
        let Some(lab) = lab(topology.name) else { return };
        let state = tempfile::tempdir().unwrap();
        let told = ladder(
            &lab,
            &[
                OsStr::new("--listen"),
                OsStr::new("[::]:2121"),
                OsStr::new("--state-dir"),
                state.path().as_os_str(),
            ],
        );
        let port = &told["ports"][0];
        let found = (best(port), port["verified"] == true, situation(port));
        let golden = GOLDEN.iter().find(|(name, ..)| *name == topology.name);
        let golden = golden
            .map(|(_, via, verified, situation)| ((*via).to_owned(), *verified, (*situation).to_owned()));
        if golden.as_ref() != Some(&found) {
            wrong.push(format!(
                "(\"{}\", \"{}\", {}, \"{}\"),  // {golden:?}\n{port}",
                topology.name, found.0, found.1, found.2
            ));
        }
        // Whatever it asked for is given back.
        assert_eq!(lab.mappings().unwrap(), [], "{}", topology.name);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The rung whose endpoint the URL names.
fn best(port: &Value) -> String {
    let Some(url) = port["url"].as_str() else {
        return "-".to_owned();
    };
    let rungs = port["rungs"].as_array().unwrap();
    let named = rungs.iter().find(|rung| {
        rung["endpoint"]
            .as_str()
            .is_some_and(|endpoint| url.ends_with(endpoint))
    });
    named.unwrap()["via"].as_str().unwrap().to_owned()
}

fn situation(port: &Value) -> String {
    let words = port["situation"].as_array().unwrap().iter();
    words
        .map(|word| word.as_str().unwrap())
        .collect::<Vec<_>>()
        .join(" ")
}
