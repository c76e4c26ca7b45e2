//! RFC 2389: FEAT and OPTS.

use pasarela_conformance::{Client, Server, Setup};

fn features(client: &mut Client) -> Vec<String> {
    let reply = client.expect("FEAT", &[211]);
    assert!(reply.lines.len() >= 2, "{reply:?}");
    for line in reply.middle() {
        assert!(
            line.starts_with(b" ") && line.get(1).is_some_and(|byte| *byte > b' '),
            "{reply:?}"
        );
    }
    reply
        .middle()
        .iter()
        .map(|line| String::from_utf8_lossy(&line[1..]).into_owned())
        .collect()
}

#[test]
fn every_feature_line_begins_with_exactly_one_space() {
    let server = Server::start();
    features(&mut server.visit());
}

#[test]
fn what_is_implemented_is_listed() {
    let server = Setup::new().tls("optional").start();
    let features = features(&mut server.visit());
    let wanted = [
        "AUTH TLS",
        "PBSZ",
        "PROT",
        "SIZE",
        "MDTM",
        "REST STREAM",
        "TVFS",
        "UTF8",
        "EPSV",
        "EPRT",
        "LANG",
        "HOST",
        "MFMT",
        "MODE Z",
        "HASH",
    ];
    for name in wanted {
        let listed = |line: &String| line == name || line.starts_with(&format!("{name} "));
        let listed_among =
            |line: &String| name == "AUTH TLS" && line.starts_with("AUTH ") && line.contains("TLS");
        assert!(
            features.iter().any(|line| listed(line) || listed_among(line)),
            "{name}: {features:?}"
        );
    }
    assert!(
        features
            .iter()
            .any(|line| line.starts_with("MLST ") && line.contains("type*;")),
        "{features:?}"
    );
    assert!(
        !features.iter().any(|line| line.starts_with("CCC")),
        "{features:?}"
    );
}

#[test]
fn without_tls_it_is_not_listed() {
    let server = Server::start();
    let features = features(&mut server.visit());
    assert!(
        !features
            .iter()
            .any(|line| line.starts_with("AUTH") || line.starts_with("PROT")),
        "{features:?}"
    );
}

#[test]
fn features_are_the_same_before_and_after_login() {
    let server = Server::start();
    let before = features(&mut server.visit());
    assert_eq!(before, features(&mut server.login()));
}

#[test]
fn opts_of_what_has_no_options_is_refused() {
    let server = Server::start();
    let mut client = server.login();
    client.expect("OPTS", &[501]);
    client.expect("OPTS NOOP x", &[501, 504]);
    client.expect("OPTS BOGUS", &[501, 504]);
}

#[test]
fn opts_utf8_on_is_accepted() {
    let server = Server::start();
    let mut client = server.login();
    client.expect("OPTS UTF8 ON", &[200]);
    client.expect("opts utf8 on", &[200]);
}
