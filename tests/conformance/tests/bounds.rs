//! What one visitor may make the server hold or do: line lengths, foreign protocols, patterns, deep trees.

// Helpers of tests fail by panicking, too.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::time::{Duration, Instant};

use pasarela_conformance::{Client, OWNER, Server, Setup, USER, contains};

#[test]
fn before_login_a_line_may_have_a_thousand_bytes() {
    let server = Server::start();
    let mut visitor = server.visit();
    visitor.expect(format!("USER {}", "u".repeat(1000)), &[331, 501, 530]);
    visitor.login();
}

#[test]
fn before_login_a_longer_line_gets_500_and_the_end() {
    let server = Server::start();
    let mut visitor = server.visit();
    visitor.raw(format!("USER {}\r\n", "u".repeat(1100)).as_bytes());
    visitor.next(&[500]);
    visitor.closed();
}

#[test]
fn before_login_a_line_that_never_ends_is_cut_off() {
    let server = Server::start();
    let mut visitor = server.visit();
    // The server hangs up while we talk.
    let _ = visitor.try_raw(&vec![b'x'; 1 << 20]);
    let said = visitor.drain();
    assert!(
        said.is_empty() || said.starts_with(b"500"),
        "{}",
        String::from_utf8_lossy(&said)
    );
}

#[test]
fn after_login_a_line_may_have_four_thousand_bytes() {
    let server = Server::start();
    let mut client = server.login();
    client.expect(format!("CWD {}", "d/".repeat(1995)), &[550, 553]);
    client.expect("NOOP", &[200]);
}

#[test]
fn after_login_a_longer_line_gets_one_500_and_the_session_goes_on() {
    let server = Server::start();
    let mut client = server.login();
    for len in [5000, 100_000] {
        client.expect(format!("CWD {}", "d".repeat(len)), &[500]);
        client.expect("NOOP", &[200]);
    }
}

#[test]
fn visitors_who_never_end_their_line_cost_no_memory() {
    let server = Setup::new().config("[limits]\nper_address = 1000\n").start();
    drop(server.login());
    let before = resident(server.id());
    let visitors: Vec<Client> = (0..100)
        .map(|_| {
            let mut visitor = server.visit();
            // The server hangs up while we talk.
            let _ = visitor.try_raw(&vec![b'x'; 256 << 10]);
            visitor
        })
        .collect();
    drop(server.login());
    let grown = resident(server.id()).saturating_sub(before);
    drop(visitors);
    eprintln!("100 visitors cost {grown} KiB");
    assert!(
        grown < 8 << 10,
        "{grown} KiB for 100 visitors who may hold 1 KiB each"
    );
}

fn resident(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("a running server");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .expect("VmRSS");
    line.split_whitespace()
        .nth(1)
        .and_then(|kib| kib.parse().ok())
        .expect("a number")
}

#[test]
fn a_web_browser_gets_at_most_one_reply_and_the_end() {
    let server = Server::start();
    for verb in ["GET", "POST", "HEAD", "PUT", "OPTIONS", "CONNECT"] {
        let mut visitor = server.visit();
        let request = format!(
            "{verb} /<script>alert(1)</script> HTTP/1.1\r\nHost: a\r\nAccept: b\r\nCookie: c\r\n\r\n<script>\r\n"
        );
        // The server may hang up at the first line.
        let _ = visitor.try_raw(request.as_bytes());
        let said = visitor.drain();
        assert!(
            said.iter().filter(|byte| **byte == b'\n').count() <= 1,
            "{}",
            String::from_utf8_lossy(&said)
        );
        assert!(!contains(&said, b"script"), "{}", String::from_utf8_lossy(&said));
    }
}

#[test]
fn before_login_unknown_commands_are_not_taken_for_ever() {
    let server = Server::start();
    let mut visitor = server.visit();
    let mut answered = 0;
    while let Ok(Some(reply)) = visitor
        .try_raw(b"BOGUS\r\n")
        .and_then(|()| visitor.try_reply(pasarela_conformance::DEADLINE))
    {
        assert!([421, 500].contains(&reply.code), "{reply:?}");
        answered += 1;
        assert!(answered <= 10, "still taken after {answered}");
    }
}

#[test]
fn refusals_do_not_repeat_what_was_asked() {
    let server = Server::start();
    let mut client = server.login();
    for command in [
        "<script>x",
        "TYPE <script>",
        "SITE <script>",
        "MODE <script>",
        "AUTH <script>",
        "OPTS <script>",
    ] {
        assert!(!client.refuses(command).all().contains("<script>"), "{command}");
    }
}

#[test]
fn a_pattern_full_of_stars_costs_no_time() {
    let server = Server::start();
    server.put(&"a".repeat(100), "x");
    let mut client = server.login();
    let pattern = "a*".repeat(40) + "b";
    let begun = Instant::now();
    for verb in ["LIST", "NLST"] {
        let to = client.epsv();
        let socket = client.connect(to);
        client.send(format!("{verb} {pattern}"));
        let reply = client.reply();
        drop(socket);
        if reply.code < 200 {
            client.next(&[226, 250, 426, 450, 550]);
        }
    }
    // Backtracking would take longer than the universe has been there.
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
}

#[test]
fn a_deep_tree_and_a_long_directory_are_listed() {
    let server = Server::start();
    fs::create_dir_all(server.root().join("d/".repeat(300))).unwrap();
    fs::create_dir(server.root().join("long")).unwrap();
    for n in 0..20_000 {
        fs::write(server.root().join(format!("long/{n}")), "").unwrap();
    }
    let mut client = server.login();
    client.receive("LIST -R d");
    client.expect("CWD long", &[250]);
    assert_eq!(client.names().len(), 20_000);
    client.expect("NOOP", &[200]);
}

#[test]
fn user_names_that_are_no_names_are_refused_like_any_other() {
    let server = Server::start();
    for name in ["..", "a/b", "$(x)", "%s%n", &"u".repeat(900)] {
        let mut visitor = server.visit();
        visitor.send(format!("USER {name}"));
        if visitor.next(&[331, 501, 530]).code == 331 {
            visitor.expect("PASS x", &[530]);
        }
    }
    assert!(server.log().lines().all(|line| !line.starts_with("..")));
}

#[test]
fn nothing_sent_at_random_ends_the_server() {
    let server = Setup::new().config("[limits]\nper_address = 1000\n").start();
    for seed in 0..100 {
        let mut visitor = Client::dial(server.address(), OWNER).unwrap();
        let mut bytes = pasarela_conformance::noise(seed, 600);
        if seed % 2 == 0 {
            bytes.splice(0..0, format!("USER {USER}\r\n").into_bytes());
        }
        // The server may hang up.
        let _ = visitor.try_raw(&bytes);
        visitor.reset();
    }
    server.login().expect("NOOP", &[200]);
}
