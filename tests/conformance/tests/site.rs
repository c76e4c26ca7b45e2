//! SITE: CHMOD, UTIME, HELP, and SYMLINK, which is off.

// Helpers of tests fail by panicking, too.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use pasarela_conformance::Server;

fn mode(server: &Server, name: &str) -> u32 {
    fs::metadata(server.root().join(name))
        .expect("a file")
        .permissions()
        .mode()
        & 0o7777
}

#[test]
fn chmod_sets_permission_bits() {
    let server = Server::start();
    server.put("a b", "x");
    let mut client = server.login();
    client.expect("SITE CHMOD 640 a b", &[200]);
    assert_eq!(mode(&server, "a b"), 0o640);
    client.expect("site chmod 0600 a b", &[200]);
    assert_eq!(mode(&server, "a b"), 0o600);
}

#[test]
fn chmod_never_sets_user_or_group_id() {
    let server = Server::start();
    server.put("f", "x");
    let mut client = server.login();
    for bits in ["4777", "2777", "1777", "7777"] {
        client.send(format!("SITE CHMOD {bits} f"));
        client.next(&[200, 501, 504, 550, 553]);
        assert_eq!(mode(&server, "f") & 0o7000, 0, "{bits}");
    }
}

#[test]
fn chmod_refuses_what_is_no_mode_or_no_file() {
    let server = Server::start();
    server.put("f", "x");
    let mut client = server.login();
    for command in [
        "SITE CHMOD 999 f",
        "SITE CHMOD x f",
        "SITE CHMOD 77777 f",
        "SITE CHMOD 644",
        "SITE CHMOD",
    ] {
        client.expect(command, &[501, 504]);
    }
    client.expect("SITE CHMOD 644 missing", &[550]);
}

#[test]
fn utime_sets_the_time() {
    let server = Server::start();
    server.put("f", "x");
    let mut client = server.login();
    client.expect("SITE UTIME 20200229123456 f", &[200, 213, 250]);
    assert_eq!(
        client.expect("MDTM f", &[213]).text().split('.').next(),
        Some("20200229123456")
    );
    client.expect("SITE UTIME never f", &[501]);
}

#[test]
fn symlink_is_off() {
    let server = Server::start();
    let mut client = server.login();
    client.refuses("SITE SYMLINK /etc/passwd link");
    assert!(client.names().is_empty());
}

#[test]
fn help_is_there_and_the_unknown_is_not() {
    let server = Server::start();
    let mut client = server.login();
    client.expect("SITE HELP", &[211, 214]);
    client.expect("SITE BOGUS", &[500, 501, 502, 504]);
    client.expect("SITE", &[501]);
    client.expect("SITE EXEC /bin/id", &[500, 501, 502, 504]);
}
