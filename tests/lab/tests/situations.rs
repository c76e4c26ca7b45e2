//! `pasarela reach` names the true situation in every network: a golden table.
#![allow(clippy::unwrap_used, reason = "test code: a panic is its report")]

use std::ffi::OsStr;

use pasarela_lab::lab;
use pasarela_lab::site::ladder;
use pasarela_testkit::lab::TOPOLOGIES;
use serde_json::Value;

/// Topology, the rung that is best without a word from the operator, whether it is verified, and the situation.
const GOLDEN: &[(&str, &str, bool, &str)] = &[
    ("pub", "direct", true, "public ipv6-unproven"),
    ("fwd", "punched", false, "restricted-nat forward-missing"),
    ("remap", "punched", false, "restricted-nat forward-missing"),
    ("upnp", "mapped", true, "mapped restricted-nat"),
    ("cone", "punched", false, "full-cone-nat"),
    ("plain", "punched", false, "restricted-nat forward-missing"),
    ("cgnat", "-", false, "carrier-nat symmetric-nat forward-missing"),
    ("cgnat2", "-", false, "carrier-nat symmetric-nat forward-missing"),
    ("plain2", "punched", false, "restricted-nat forward-missing"),
    (
        "double",
        "punched",
        false,
        "double-nat restricted-nat forward-missing",
    ),
    (
        "doublefwd",
        "punched",
        false,
        "double-nat restricted-nat forward-missing",
    ),
    (
        "doubleupnp",
        "punched",
        false,
        "double-nat restricted-nat forward-missing",
    ),
    ("hairoff", "punched", false, "restricted-nat forward-missing"),
    ("hairon", "punched", false, "restricted-nat forward-missing"),
    ("clifw", "direct", true, "public ipv6-unproven"),
    ("clifwnat", "punched", false, "restricted-nat forward-missing"),
    ("algsrv", "punched", false, "restricted-nat forward-missing"),
    ("algcli", "direct", true, "public ipv6-unproven"),
    ("v6", "mapped", true, "ipv6"),
    (
        "dual",
        "punched",
        false,
        "restricted-nat forward-missing ipv6-unproven",
    ),
    ("ipchange", "punched", false, "restricted-nat forward-missing"),
];

/// The same with what an operator says: a public address, which rungs may be tried.
type Words = &'static [&'static str];
const WITH_WORDS: &[(&str, Words, &str, bool, &str)] = &[
    (
        "fwd",
        &["--public-address", "11.9.0.20", "--listen", "[::]:21"],
        "fixed",
        false,
        "forwarded restricted-nat no-hairpin",
    ),
    (
        "hairon",
        &["--public-address", "11.9.0.20", "--listen", "[::]:21"],
        "fixed",
        true,
        "forwarded restricted-nat",
    ),
    (
        "pub",
        &["--reach", "direct"],
        "direct",
        true,
        "public ipv6-unproven",
    ),
    (
        "upnp",
        &["--reach", "direct,fixed"],
        "-",
        false,
        "forward-missing",
    ),
];

#[test]
fn every_network_is_named() {
    assert_eq!(GOLDEN.len(), TOPOLOGIES.len());
    // Each takes seconds of waiting for what filters keep out.
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let chunks: Vec<_> = GOLDEN
            .chunks(GOLDEN.len().div_ceil(4))
            .map(|rows| {
                scope.spawn(|| {
                    rows.iter()
                        .filter_map(|(name, via, verified, situation)| {
                            look(name, &[], (via, *verified, situation))
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        chunks
            .into_iter()
            .flat_map(|chunk| chunk.join().unwrap())
            .collect()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_the_operator_says_counts() {
    let wrong: Vec<String> = WITH_WORDS
        .iter()
        .filter_map(|(name, words, via, verified, situation)| look(name, words, (via, *verified, situation)))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is found otherwise than expected in this network; also nothing where no lab can run.
fn look(name: &str, words: &[&str], golden: (&str, bool, &str)) -> Option<String> {
    let lab = lab(name)?;
    let state = tempfile::tempdir().unwrap();
    let mut arguments = vec![OsStr::new("--state-dir"), state.path().as_os_str()];
    arguments.extend(words.iter().map(OsStr::new));
    let port = &ladder(&lab, &arguments)["ports"][0];
    let found = (&*best(port), port["verified"] == true, &*situation(port));
    // Whatever was asked for is given back.
    assert_eq!(lab.mappings().unwrap(), [], "{name}");
    (found != golden).then(|| format!("{name} {words:?}: {found:?}, not {golden:?}\n{port}"))
}

/// The rung whose endpoint the URL names, as verified as the port.
fn best(port: &Value) -> String {
    let Some(url) = port["url"].as_str() else {
        return "-".to_owned();
    };
    let is_verified = |value: &Value| *value == true || *value == "verified";
    let named = port["rungs"].as_array().unwrap().iter().find(|rung| {
        let stands = rung["endpoint"]
            .as_str()
            .is_some_and(|there| url.ends_with(there));
        stands && is_verified(&rung["verdict"]) == is_verified(&port["verified"])
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
