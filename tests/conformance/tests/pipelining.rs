//! Commands sent without waiting: one reply each, strictly in order.

// Helpers of tests fail by panicking, too.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use pasarela_conformance::{Numbers, PASSWORD, Reply, Server, USER};

const COMMANDS: [&str; 40] = [
    "PWD",
    "CWD d",
    "CWD /",
    "CWD missing",
    "CWD e",
    "CDUP",
    "MKD e",
    "MKD d/e",
    "RMD e",
    "RMD d/e",
    "NOOP",
    "SYST",
    "TYPE I",
    "TYPE A",
    "TYPE X",
    "SIZE f",
    "SIZE d",
    "SIZE missing",
    "MDTM f",
    "MDTM missing",
    "RNFR f",
    "RNFR g",
    "RNTO g",
    "RNTO f",
    "RNTO d/f",
    "DELE missing",
    "REST 3",
    "REST x",
    "FEAT",
    "OPTS UTF8 ON",
    "BOGUS",
    "MODE S",
    "STRU F",
    "STRU X",
    "ALLO 5",
    "HELP",
    "SITE CHMOD 644 f",
    "HASH f",
    "ABOR",
    "ACCT x",
];

fn furnished() -> Server {
    let server = Server::start();
    std::fs::create_dir(server.root().join("d")).expect("a directory");
    server.put("f", "hello");
    let mut client = server.login();
    client.send("MFMT 20200229123456 f");
    client.reply();
    server
}

fn replies(client: &mut pasarela_conformance::Client, count: usize) -> Vec<Reply> {
    (0..count).map(|_| client.reply()).collect()
}

#[test]
fn the_replies_to_pipelined_commands_equal_those_to_the_same_one_by_one() {
    let (one_by_one, pipelined) = (furnished(), furnished());
    let (mut serial, mut client) = (one_by_one.login(), pipelined.login());
    for seed in 0..200 {
        let mut numbers = Numbers(seed);
        let script: Vec<&str> = (0..20).map(|_| COMMANDS[numbers.below(COMMANDS.len())]).collect();
        let wanted: Vec<Reply> = script
            .iter()
            .map(|command| {
                serial.send(command);
                serial.reply()
            })
            .collect();
        let lines = script.join("\r\n") + "\r\n";
        // In one write, or cut anywhere.
        let cut = if seed % 2 == 0 {
            lines.len()
        } else {
            numbers.below(lines.len())
        };
        client.raw(&lines.as_bytes()[..cut]);
        client.raw(&lines.as_bytes()[cut..]);
        let got = replies(&mut client, script.len());
        assert_eq!(got, wanted, "seed {seed}: {script:?}");
    }
}

#[test]
fn a_whole_login_may_be_pipelined() {
    let server = Server::start();
    let mut visitor = server.visit();
    visitor.raw(format!("USER {USER}\r\nPASS {PASSWORD}\r\nPWD\r\nQUIT\r\n").as_bytes());
    for code in [331, 230, 257, 221] {
        visitor.next(&[code]);
    }
    visitor.closed();
}

#[test]
fn commands_may_arrive_byte_by_byte() {
    let server = Server::start();
    let mut client = server.login();
    for byte in b"NOOP\r\nPWD\r\nSIZE missing\r\n" {
        client.raw(&[*byte]);
    }
    for code in [200, 257, 550] {
        client.next(&[code]);
    }
}

#[test]
fn a_transfer_and_what_follows_may_be_pipelined() {
    let server = Server::start();
    server.put("f", "hello");
    let mut client = server.login();
    let to = client.epsv();
    let socket = client.connect(to);
    client.raw(b"RETR f\r\nPWD\r\nSYST\r\n");
    client.next(&[125, 150]);
    assert_eq!(
        pasarela_conformance::Data::start(socket, None)
            .unwrap()
            .read_all(),
        b"hello"
    );
    for code in [226, 257, 215] {
        client.next(&[code]);
    }
}

#[test]
fn two_transfers_with_the_second_s_epsv_may_be_pipelined() {
    let server = Server::start();
    server.put("f", "hello");
    let mut client = server.login();
    let to = client.epsv();
    let socket = client.connect(to);
    client.raw(b"RETR f\r\nEPSV\r\nNLST\r\n");
    client.next(&[125, 150]);
    assert_eq!(
        pasarela_conformance::Data::start(socket, None)
            .unwrap()
            .read_all(),
        b"hello"
    );
    client.next(&[226]);
    let reply = client.next(&[229]);
    let socket = client.connect(client.epsv_address(&reply));
    client.next(&[125, 150]);
    assert_eq!(
        pasarela_conformance::Data::start(socket, None)
            .unwrap()
            .read_all(),
        b"f\r\n"
    );
    client.next(&[226]);
}

#[test]
fn a_thousand_commands_at_once_are_all_answered() {
    let server = Server::start();
    let mut client = server.login();
    client.raw("NOOP\r\nPWD\r\n".repeat(500).as_bytes());
    for _ in 0..500 {
        client.next(&[200]);
        client.next(&[257]);
    }
}
