//! RFC 3659: SIZE, MDTM, REST STREAM, MLST, MLSD; and MFMT, MFF, AVBL, RANG beside them.

// Helpers of tests fail by panicking, too.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use pasarela_conformance::{Client, Server};

/// 2020-02-29 12:34:56 UTC
const LEAP_DAY: u64 = 1_582_979_696;

fn dated(server: &Server, name: &str) {
    server.put(name, "12345");
    let file = File::options()
        .write(true)
        .open(server.root().join(name))
        .expect("a file");
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(LEAP_DAY))
        .expect("a time");
}

fn modified(server: &Server, name: &str) -> u64 {
    let metadata = fs::metadata(server.root().join(name)).expect("a file");
    metadata
        .modified()
        .expect("a time")
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("after 1970")
        .as_secs()
}

#[test]
fn size_tells_what_retr_sends() {
    let server = Server::start();
    server.put("f", vec![b'\n'; 70_000]);
    server.put("empty", "");
    let mut client = server.login();
    assert_eq!(client.expect("SIZE f", &[213]).text(), "70000");
    assert_eq!(client.expect("SIZE empty", &[213]).text(), "0");
    assert_eq!(client.receive("RETR f").len(), 70_000);
}

#[test]
fn size_of_a_directory_or_of_nothing_gets_550() {
    let server = Server::start();
    fs::create_dir(server.root().join("d")).unwrap();
    let mut client = server.login();
    client.expect("SIZE d", &[550]);
    client.expect("SIZE missing", &[550]);
    client.expect("SIZE", &[501]);
}

#[test]
fn size_in_type_a_is_refused_or_exact() {
    let server = Server::start();
    server.put("f", "one\ntwo\n");
    let mut client = server.login();
    client.expect("TYPE A", &[200]);
    let sent = client.receive("RETR f").len();
    let reply = client.expect("SIZE f", &[213, 501, 504, 550]);
    assert!(
        reply.code != 213 || reply.text() == sent.to_string(),
        "{reply:?} for {sent} bytes"
    );
}

#[test]
fn rest_in_type_a_is_refused_or_exact() {
    let server = Server::start();
    server.put("f", "one\ntwo\n");
    let mut client = server.login();
    client.expect("TYPE A", &[200]);
    client.send("REST 5");
    if client.reply().code != 350 {
        return;
    }
    let to = client.epsv();
    let socket = client.connect(to);
    client.send("RETR f");
    if matches!(client.reply().code, 125 | 150) {
        let sent = pasarela_conformance::Data::start(socket, None)
            .unwrap()
            .read_all();
        assert_eq!(sent, b"two\r\n");
        client.next(&[226]);
    }
}

#[test]
fn mdtm_tells_the_time_in_utc() {
    let server = Server::start();
    dated(&server, "f");
    let mut client = server.login();
    let text = client.expect("MDTM f", &[213]).text();
    assert_eq!(text.split('.').next(), Some("20200229123456"), "{text}");
    client.expect("MDTM missing", &[550]);
}

#[test]
fn rest_takes_decimal_numbers_only() {
    let server = Server::start();
    let mut client = server.login();
    for bad in [
        " -1",
        " +5",
        " 1e3",
        " 0x10",
        " abc",
        " 10.1",
        " 1 2",
        " \u{0661}",
        "",
        " ",
        " 9223372036854775808",
        " 18446744073709551616",
        " 99999999999999999999999999",
    ] {
        client.expect(format!("REST{bad}"), &[501]);
    }
    for good in ["0", "1", "2147483648", "4294967296", "9223372036854775807"] {
        client.expect(format!("REST {good}"), &[350]);
    }
    client.expect("REST 0", &[350]);
}

#[test]
fn rest_past_the_end_gets_554() {
    let server = Server::start();
    server.put("f", "12345");
    let mut client = server.login();
    for offset in ["6", "1000000", "9223372036854775807"] {
        client.expect(format!("REST {offset}"), &[350]);
        client.refused("RETR f", &[554]);
        client.expect(format!("REST {offset}"), &[350]);
        client.refused("STOR f", &[554]);
        client.expect(format!("REST {offset}"), &[350]);
        client.refused("STOR new", &[554]);
    }
    assert_eq!(server.file("f").as_deref(), Some(&b"12345"[..]));
    assert_eq!(client.names(), ["f"], "no hole under a new name");
}

#[test]
fn rest_before_appe_and_stou_is_refused() {
    let server = Server::start();
    server.put("f", "12345");
    let mut client = server.login();
    for command in ["APPE f", "STOU"] {
        client.expect("REST 2", &[350]);
        let to = client.epsv();
        let _socket = client.connect(to);
        client.refuses(command);
    }
    assert_eq!(client.names(), ["f"]);
    assert_eq!(server.file("f").as_deref(), Some(&b"12345"[..]));
}

fn facts(line: &str) -> (Vec<(String, String)>, String) {
    let (facts, name) = line.split_once(' ').expect("facts, a space and a name");
    assert!(facts.is_empty() || facts.ends_with(';'), "{line}");
    let facts = facts
        .split_terminator(';')
        .map(|fact| fact.split_once('=').expect("a fact and its value"));
    (
        facts
            .map(|(fact, value)| (fact.to_lowercase(), value.to_owned()))
            .collect(),
        name.to_owned(),
    )
}

fn fact(line: &str, name: &str) -> Option<String> {
    facts(line)
        .0
        .into_iter()
        .find(|(fact, _)| fact == name)
        .map(|(_, value)| value)
}

fn mlst(client: &mut Client, path: &str) -> String {
    let reply = client.expect(format!("MLST {path}").trim_end(), &[250]);
    let [line] = reply.middle() else {
        panic!("{reply:?}")
    };
    let line = String::from_utf8(line.clone()).expect("UTF-8");
    assert!(line.starts_with(' '), "{reply:?}");
    line[1..].to_owned()
}

#[test]
fn mlst_tells_the_facts_of_one_file() {
    let server = Server::start();
    dated(&server, "f");
    let mut client = server.login();
    let line = mlst(&mut client, "f");
    assert_eq!(fact(&line, "type").unwrap().to_lowercase(), "file");
    assert_eq!(fact(&line, "size").as_deref(), Some("5"));
    assert_eq!(
        fact(&line, "modify").unwrap().split('.').next(),
        Some("20200229123456")
    );
    let perm = fact(&line, "perm").unwrap().to_lowercase();
    assert!(
        perm.contains('r') && perm.contains('w') && perm.contains('d'),
        "{line}"
    );
    assert!(facts(&line).1.ends_with('f'));
}

#[test]
fn mlst_without_a_name_is_about_the_working_directory() {
    let server = Server::start();
    fs::create_dir(server.root().join("d")).unwrap();
    let mut client = server.login();
    client.expect("CWD d", &[250]);
    let line = mlst(&mut client, "");
    assert!(
        ["dir", "cdir"].contains(&&*fact(&line, "type").unwrap().to_lowercase()),
        "{line}"
    );
    assert_eq!(facts(&line).1, "/d");
}

#[test]
fn mlst_of_what_is_missing_gets_550() {
    let server = Server::start();
    server.login().expect("MLST missing", &[550]);
}

#[test]
fn mlsd_lists_every_entry_with_its_type() {
    let server = Server::start();
    dated(&server, "file name");
    fs::create_dir(server.root().join("d")).unwrap();
    let mut client = server.login();
    let listing = String::from_utf8(client.receive("MLSD")).unwrap();
    assert_eq!(listing.matches('\n').count(), listing.matches("\r\n").count());
    let line = |name: &str| {
        listing
            .lines()
            .find(|line| facts(line).1 == name)
            .unwrap_or_else(|| panic!("{listing}"))
    };
    assert_eq!(fact(line("file name"), "type").unwrap().to_lowercase(), "file");
    assert_eq!(fact(line("file name"), "size").as_deref(), Some("5"));
    assert_eq!(fact(line("d"), "type").unwrap().to_lowercase(), "dir");
    assert_ne!(fact(line("d"), "unique"), fact(line("file name"), "unique"));
}

#[test]
fn mlsd_of_what_is_no_directory_is_refused() {
    let server = Server::start();
    server.put("f", "x");
    let mut client = server.login();
    client.refused("MLSD f", &[501, 550]);
    client.refused("MLSD missing", &[501, 550]);
}

#[test]
fn mlsd_takes_no_ls_options() {
    let server = Server::start();
    fs::create_dir(server.root().join("-a")).unwrap();
    server.put("-a/inside", "x");
    let listing = String::from_utf8(server.login().receive("MLSD -a")).unwrap();
    assert!(listing.contains(" inside\r\n"), "{listing}");
}

#[test]
fn opts_mlst_chooses_the_facts() {
    let server = Server::start();
    server.put("f", "12345");
    let mut client = server.login();
    let reply = client.expect("OPTS MLST size;type;bogus;", &[200]);
    assert!(reply.text().to_lowercase().starts_with("mlst opts"), "{reply:?}");
    let line = mlst(&mut client, "f");
    assert!(
        fact(&line, "size").is_some() && fact(&line, "type").is_some() && fact(&line, "modify").is_none(),
        "{line}"
    );
    let feat = client.expect("FEAT", &[211]).all().to_lowercase();
    assert!(feat.contains("type*;") && feat.contains("modify;"), "{feat}");
    client.expect("OPTS MLST", &[200]);
    assert_eq!(facts(&mlst(&mut client, "f")).0, []);
}

#[test]
fn mfmt_sets_the_time() {
    let server = Server::start();
    server.put("f", "x");
    let mut client = server.login();
    let reply = client.expect("MFMT 20200229123456 f", &[213]);
    assert!(
        reply.text().to_lowercase().starts_with("modify=20200229123456;"),
        "{reply:?}"
    );
    assert_eq!(modified(&server, "f"), LEAP_DAY);
    client.expect("MFMT 20210229123456 f", &[501]);
    client.expect("MFMT yesterday f", &[501]);
    client.expect("MFMT 20200229123456 missing", &[550]);
    client.expect("MFMT", &[501]);
    assert_eq!(modified(&server, "f"), LEAP_DAY);
}

#[test]
fn mff_sets_the_facts_it_knows() {
    let server = Server::start();
    server.put("f", "x");
    let mut client = server.login();
    client.expect("MFF modify=20200229123456; f", &[213]);
    assert_eq!(modified(&server, "f"), LEAP_DAY);
    client.expect("MFF bogus=1; f", &[501, 504]);
    client.expect("MFF modify=20200229123456; missing", &[550]);
}

#[test]
fn avbl_tells_a_number_of_bytes() {
    let server = Server::start();
    let mut client = server.login();
    assert!(client.expect("AVBL", &[213]).text().parse::<u64>().unwrap() > 0);
    client.expect("AVBL missing", &[550]);
}

#[test]
fn rang_bounds_a_retr() {
    let server = Server::start();
    server.put("f", "0123456789");
    let mut client = server.login();
    client.expect("RANG 2 5", &[350]);
    assert_eq!(client.receive("RETR f"), b"2345");
    assert_eq!(client.receive("RETR f"), b"0123456789", "RANG serves once");
    client.expect("RANG 5 2", &[501]);
    client.expect("RANG x", &[501]);
    client.expect("RANG 1 0", &[350]);
    assert_eq!(client.receive("RETR f"), b"0123456789", "RANG 1 0 resets");
}
