//! RFC 1123 section 4.1: what every host's server must have and how it must speak.

use pasarela_conformance::Server;

#[test]
fn the_minimum_implementation_is_implemented() {
    let server = Server::start();
    let mut client = server.login();
    let minimum = [
        "USER", "PASS", "ACCT", "PORT", "TYPE", "MODE", "STRU", "RETR", "STOR", "RNFR", "RNTO", "DELE",
        "CWD", "CDUP", "RMD", "MKD", "PWD", "LIST", "NLST", "SYST", "STAT", "HELP", "NOOP",
    ];
    for verb in minimum {
        client.send(verb);
        let reply = client.reply();
        assert!(![500, 502].contains(&reply.code), "{verb}: {reply:?}");
    }
}

#[test]
fn the_x_verbs_are_synonyms() {
    let server = Server::start();
    let mut client = server.login();
    client.expect("XMKD d", &[257]);
    client.expect("XCWD d", &[250]);
    client.expect("XPWD", &[257]);
    client.expect("XCUP", &[200, 250]);
    client.expect("XRMD d", &[250]);
}

#[test]
fn stou_names_its_file_in_the_preliminary_reply() {
    let server = Server::start();
    let mut client = server.login();
    let to = client.epsv();
    let socket = client.connect(to);
    let reply = client.expect("STOU", &[125, 150]);
    let name = reply
        .text()
        .strip_prefix("FILE: ")
        .map(str::to_owned)
        .unwrap_or_else(|| panic!("{reply:?}"));
    let mut data = pasarela_conformance::Data::start(socket, None).unwrap();
    data.write(b"unique");
    data.finish();
    client.next(&[226, 250]);
    assert_eq!(client.receive(format!("RETR {name}")), b"unique");
}

#[test]
fn nlst_names_can_be_retrieved_as_they_are() {
    let server = Server::start();
    std::fs::create_dir(server.root().join("d")).unwrap();
    server.put("d/one", "1");
    server.put("d/two", "2");
    let mut client = server.login();
    client.expect("CWD d", &[250]);
    let names = String::from_utf8(client.receive("NLST")).unwrap();
    let mut contents: Vec<_> = names
        .lines()
        .map(|name| client.receive(format!("RETR {name}")))
        .collect();
    contents.sort();
    assert_eq!(contents, [b"1", b"2"]);
}

#[test]
fn telnet_commands_within_a_line_are_dropped() {
    let server = Server::start();
    let mut client = server.login();
    // NOP, WILL ECHO, DO TIMING-MARK.
    client.raw(b"NO\xff\xf1OP\r\n");
    client.next(&[200]);
    client.raw(b"\xff\xfb\x01NOOP\r\n");
    client.next(&[200]);
    client.raw(b"\xff\xfd\x06NOOP\r\n");
    client.next(&[200]);
    client.expect("NOOP", &[200]);
}

#[test]
fn a_bare_line_feed_ends_a_line() {
    let server = Server::start();
    let mut client = server.login();
    client.raw(b"NOOP\nNOOP\r\n");
    client.next(&[200]);
    client.next(&[200]);
}

#[test]
fn idle_users_are_left_alone_for_five_minutes() {
    // The default cannot be waited for here; that it is not a matter of seconds can.
    let server = Server::start();
    let mut client = server.login();
    client.silent_for(std::time::Duration::from_secs(3));
    client.expect("NOOP", &[200]);
}
