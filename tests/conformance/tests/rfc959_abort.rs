//! RFC 959 section 4.1.3 (ABOR, STAT) and RFC 1123 section 4.1.3.3: what is heard while a transfer runs.

// Helpers of tests fail by panicking, too.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::{Duration, Instant};

use pasarela_conformance::{Client, Data, Server, Version, noise};

/// More than any pair of socket buffers holds.
const LARGE: usize = 64 << 20;

fn stalled_download(server: &Server) -> (Client, Data) {
    let file = std::fs::File::create(server.root().join("large")).expect("a file");
    file.set_len(LARGE as u64).expect("a sparse file");
    let mut client = server.login();
    let data = client.begin("RETR large");
    (client, data)
}

fn aborted(client: &mut Client) {
    client.next(&[426]);
    client.next(&[225, 226]);
    client.expect("NOOP", &[200]);
}

#[test]
fn abor_when_nothing_runs_gets_225_or_226() {
    let server = Server::start();
    let mut client = server.login();
    client.expect("ABOR", &[225, 226]);
    client.epsv();
    client.expect("ABOR", &[225, 226]);
    client.expect("NOOP", &[200]);
}

#[test]
fn abor_during_a_stalled_retr_gets_426_then_226_at_once() {
    let server = Server::start();
    let (mut client, data) = stalled_download(&server);
    let begun = Instant::now();
    client.send("ABOR");
    aborted(&mut client);
    let took = begun.elapsed();
    eprintln!("ABOR answered after {took:?}");
    // Not when the transfer would have stalled to its end, after a minute.
    assert!(took < Duration::from_secs(15), "{took:?}");
    assert!(data.remains().0.len() < LARGE);
    assert_eq!(client.receive("NLST"), b"large\r\n");
}

#[test]
fn abor_during_a_stalled_protected_retr_gets_426_then_226() {
    let server = pasarela_conformance::Setup::new().tls("optional").start();
    server.put("large", vec![7; 32 << 20]);
    for version in [Version::Tls12, Version::Tls13] {
        let mut client = server.login_tls(version);
        let data = client.begin("RETR large");
        client.send("ABOR");
        aborted(&mut client);
        let (bytes, end) = data.remains();
        assert!(bytes.len() < 32 << 20);
        assert!(end.is_err(), "an aborted download must not look complete");
        assert_eq!(client.receive("NLST"), b"large\r\n");
    }
}

#[test]
fn abor_during_stor_gets_426_then_226_and_publishes_nothing() {
    let server = Server::start();
    let mut client = server.login();
    let mut data = client.begin("STOR f");
    data.write(&noise(1, 100_000));
    client.send("ABOR");
    aborted(&mut client);
    assert_eq!(server.file("f"), None);
    assert!(client.names().is_empty());
    drop(data);
}

#[test]
fn abor_while_the_data_connection_is_awaited_ends_the_wait() {
    let server = Server::start();
    server.put("f", "x");
    let mut client = server.login();
    client.epsv();
    client.send("RETR f");
    client.send("ABOR");
    let first = client.next(&[125, 150, 425, 426]);
    if matches!(first.code, 125 | 150) {
        client.next(&[425, 426]);
    }
    client.next(&[225, 226]);
    assert_eq!(client.receive("RETR f"), b"x");
}

#[test]
fn abor_with_telnet_ip_and_synch_as_the_rfc_has_it() {
    let server = Server::start();
    let (mut client, _data) = stalled_download(&server);
    client.raw(b"\xff\xf4");
    client.urgent(b"\xff\xf2");
    client.raw(b"ABOR\r\n");
    aborted(&mut client);
}

#[test]
fn abor_with_the_urgent_byte_on_iac() {
    let server = Server::start();
    let (mut client, _data) = stalled_download(&server);
    client.urgent(b"\xff\xf4\xff");
    client.raw(b"\xf2ABOR\r\n");
    aborted(&mut client);
}

#[test]
fn abor_sent_wholly_as_urgent_data() {
    let server = Server::start();
    let (mut client, _data) = stalled_download(&server);
    client.urgent(b"ABOR\r\n");
    aborted(&mut client);
}

#[test]
fn urgent_abor_when_nothing_runs_is_answered_once() {
    let server = Server::start();
    let mut client = server.login();
    client.urgent(b"\xff\xf4\xff");
    client.raw(b"\xf2ABOR\r\n");
    client.next(&[225, 226]);
    client.expect("NOOP", &[200]);
}

#[test]
fn stat_and_noop_are_answered_while_a_transfer_runs() {
    let server = Server::start();
    let (mut client, data) = stalled_download(&server);
    client.expect("STAT", &[211, 213]);
    client.expect("NOOP", &[200]);
    assert_eq!(data.read_all().len(), LARGE);
    client.next(&[226]);
    client.expect("NOOP", &[200]);
}

#[test]
fn quit_during_a_transfer_is_answered_after_its_end() {
    let server = Server::start();
    let (mut client, data) = stalled_download(&server);
    client.send("QUIT");
    client.silent_for(Duration::from_millis(300));
    assert_eq!(data.read_all().len(), LARGE);
    client.next(&[226]);
    client.next(&[221]);
    client.closed();
}

#[test]
fn other_commands_during_a_transfer_are_answered_after_it_in_order() {
    let server = Server::start();
    let (mut client, data) = stalled_download(&server);
    client.raw(b"PWD\r\nSYST\r\nCWD missing\r\n");
    assert_eq!(data.read_all().len(), LARGE);
    for code in [226, 257, 215, 550] {
        client.next(&[code]);
    }
}

#[test]
fn a_control_connection_that_is_lost_ends_the_transfer() {
    let server = Server::start();
    let (client, data) = stalled_download(&server);
    client.reset();
    assert!(data.remains().0.len() < LARGE);
}

#[test]
fn a_data_connection_that_the_client_closes_during_retr_gets_426() {
    let server = Server::start();
    let (mut client, data) = stalled_download(&server);
    data.reset();
    client.next(&[426]);
    client.expect("NOOP", &[200]);
}
