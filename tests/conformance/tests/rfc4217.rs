//! RFC 4217: AUTH TLS, PBSZ, PROT and what must not happen around them.

use std::time::Duration;

use pasarela_conformance::tls::{self, VERSIONS};
use pasarela_conformance::{Client, Data, OWNER, PASSWORD, Server, Setup, USER, Version, contains, noise};

fn optional() -> Server {
    Setup::new().tls("optional").start()
}

#[test]
fn a_protected_session_carries_files_both_ways() {
    let server = optional();
    for version in VERSIONS {
        let mut client = server.login_tls(version);
        for round in 0..5 {
            let bytes = noise(round, 400_000);
            client.store("STOR f", &bytes);
            assert!(client.receive("RETR f") == bytes, "{version:?}");
            assert_eq!(client.names(), ["f"]);
        }
    }
}

#[test]
fn the_client_hello_may_come_before_the_transfer_command_is_answered() {
    let server = optional();
    server.put("f", noise(1, 100_000));
    for version in VERSIONS {
        let mut client = server.login_tls(version);
        let to = client.epsv();
        let socket = client.connect(to);
        client.send("RETR f");
        let data = Data::start(socket, client.data_tls.as_ref()).unwrap();
        client.next(&[125, 150]);
        assert!(data.read_all() == noise(1, 100_000));
        client.next(&[226]);
    }
}

#[test]
fn data_connections_resume_the_session_of_the_control_connection() {
    let server = optional();
    server.put("f", "x");
    for version in VERSIONS {
        let mut client = server.login_tls(version);
        for round in 0..6 {
            let data = client.begin("RETR f");
            assert!(data.resumed(), "{version:?}, transfer {round}");
            assert_eq!(data.read_all(), b"x");
            client.next(&[226]);
        }
        for round in 0..6 {
            let data = client.begin("STOR g");
            assert!(data.resumed(), "{version:?}, upload {round}");
            data.finish();
            client.next(&[226]);
        }
    }
}

#[test]
fn implicit_tls_speaks_from_the_first_byte() {
    for ports in ["auto", "control"] {
        let server = Setup::new().tls("optional").implicit().ports(ports).start();
        for version in VERSIONS {
            let config = tls::config(version);
            let mut client = Client::dial_implicit(server.implicit_address(), OWNER, &config).unwrap();
            client.next(&[220]);
            client.login();
            client.protect(&config);
            client.expect("TYPE I", &[200]);
            for round in 0..3 {
                let bytes = noise(round, 200_000);
                client.store("STOR f", &bytes);
                assert!(client.receive("RETR f") == bytes, "{ports} {version:?}");
            }
        }
    }
}

#[test]
fn auth_knows_tls_and_nothing_unknown() {
    let server = optional();
    server.visit().expect("AUTH TLS", &[234]);
    server.visit().expect("auth tls", &[234]);
    server.visit().expect("AUTH BOGUS", &[504]);
    server.visit().expect("AUTH", &[501]);
}

#[test]
fn without_tls_auth_is_refused() {
    let server = Server::start();
    server.visit().expect("AUTH TLS", &[500, 502, 504, 534]);
}

#[test]
fn auth_within_tls_is_refused() {
    let server = optional();
    let mut client = server.visit().secure(&tls::config(Version::Tls13));
    client.expect("AUTH TLS", &[503, 534]);
    client.login();
}

#[test]
fn pbsz_and_prot_need_tls_and_come_in_order() {
    let server = optional();
    let mut client = server.visit();
    client.expect("PBSZ 0", &[503]);
    client.expect("PROT P", &[503]);
    let mut client = client.secure(&tls::config(Version::Tls13));
    client.expect("PROT P", &[503]);
    client.expect("PBSZ x", &[501]);
    client.expect("PBSZ 4294967296", &[501]);
    assert!(client.expect("PBSZ 1024", &[200]).text().contains("PBSZ=0"));
    client.expect("PROT X", &[504]);
    client.expect("PROT S", &[504, 536]);
    client.expect("PROT E", &[504, 536]);
    client.expect("PROT", &[501]);
    client.expect("PROT P", &[200]);
    client.expect("PROT C", &[200]);
}

#[test]
fn prot_c_leaves_data_in_the_clear_where_that_is_allowed() {
    let server = optional();
    server.put("f", "clear");
    let mut client = server.login_tls(Version::Tls13);
    client.expect("PROT C", &[200]);
    client.data_tls = None;
    assert_eq!(client.receive("RETR f"), b"clear");
}

#[test]
fn ccc_is_refused() {
    let server = optional();
    let mut client = server.login_tls(Version::Tls13);
    client.expect("CCC", &[533, 534]);
    client.expect("NOOP", &[200]);
}

#[test]
fn rein_logs_out_and_keeps_tls() {
    let server = optional();
    let mut client = server.login_tls(Version::Tls13);
    client.expect("REIN", &[220]);
    client.expect("PWD", &[530]);
    client.login();
    client.expect("PWD", &[257]);
}

#[test]
fn commands_behind_auth_tls_are_never_run() {
    let server = optional();
    let line = b"AUTH TLS\r\nNOOP\r\n";
    for split in [line.len(), 9, 10, 11, 12, 15] {
        let mut visitor = server.visit();
        visitor.raw(&line[..split]);
        // The server may be quick to hang up.
        let _ = visitor.try_raw(&line[split..]);
        match visitor.try_reply(pasarela_conformance::DEADLINE) {
            Ok(None) => continue,
            Ok(Some(reply)) if reply.code == 234 => {}
            Ok(Some(reply)) => {
                assert!(reply.code >= 400, "{reply:?}");
                visitor.closed();
                continue;
            }
            Err(error) => panic!("{error}"),
        }
        // What followed 234 is now part of a handshake that cannot succeed: an alert (RFC 8446 section 6) or
        // nothing comes back, and no reply.
        let said = visitor.drain();
        assert!(
            said.first().is_none_or(|first| *first == 21),
            "split at {split}: {said:?}"
        );
    }
}

#[test]
fn bytes_behind_auth_tls_in_the_same_segment_close_the_connection() {
    let server = optional();
    let mut visitor = server.visit();
    visitor.raw(b"AUTH TLS\r\nNOOP\r\n");
    let said = visitor.drain();
    assert!(!contains(&said, b"200"), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn an_alpn_of_another_protocol_is_refused() {
    let server = Setup::new().tls("optional").implicit().start();
    for version in VERSIONS {
        let http = tls::with_alpn(version, &[b"http/1.1"]);
        let mut visitor = server.visit();
        visitor.expect("AUTH TLS", &[234]);
        assert!(visitor.start_tls(&http).is_err(), "{version:?} explicit");
        assert!(
            Client::dial_implicit(server.implicit_address(), OWNER, &http).is_err(),
            "{version:?} implicit"
        );
        let ftp = tls::with_alpn(version, &[b"ftp"]);
        let mut visitor = server.visit();
        visitor.expect("AUTH TLS", &[234]);
        let mut visitor = visitor.start_tls(&ftp).expect("ALPN ftp is ours");
        assert_eq!(visitor.alpn().as_deref(), Some(&b"ftp"[..]));
        visitor.login();
    }
}

#[test]
fn where_tls_is_required_no_password_is_taken_without_it() {
    let server = Setup::new().tls("required").start();
    let mut visitor = server.visit();
    visitor.expect(format!("USER {USER}"), &[530, 534]);
    visitor.expect(format!("PASS {PASSWORD}"), &[503, 530, 534]);
    visitor.expect("PWD", &[530]);
    let mut visitor = visitor.secure(&tls::config(Version::Tls13));
    visitor.login();
}

#[test]
fn where_tls_is_required_prot_c_is_refused() {
    let server = Setup::new().tls("required").start();
    let mut client = server.login_tls(Version::Tls13);
    client.expect("PROT C", &[534]);
    assert!(client.names().is_empty(), "PROT P still holds");
}

#[test]
fn where_tls_is_required_data_without_prot_p_is_refused() {
    let server = Setup::new().tls("required").start();
    server.put("f", "secret");
    let mut client = server.visit().secure(&tls::config(Version::Tls13));
    client.login();
    client.send("EPSV");
    let reply = client.reply();
    if reply.code == 229 {
        let socket = client.connect(client.epsv_address(&reply));
        client.expect("RETR f", &[521, 522]);
        let (bytes, _) = Data::start(socket, None).unwrap().remains();
        assert!(!contains(&bytes, b"secret"));
    } else {
        assert!([521, 522].contains(&reply.code), "{reply:?}");
    }
}

#[test]
fn a_truncated_upload_gets_426_and_is_not_published() {
    let server = optional();
    server.put("old", "whole");
    for version in VERSIONS {
        for len in [0, 1, 16_384, 100_000] {
            for name in ["new", "old"] {
                let mut client = server.login_tls(version);
                let mut data = client.begin(format!("STOR {name}"));
                data.write(&noise(1, len));
                data.cut();
                client.next(&[426]);
                client.expect("NOOP", &[200]);
            }
        }
        assert_eq!(server.file("new"), None);
        assert_eq!(server.file("old").as_deref(), Some(&b"whole"[..]));
    }
}

#[test]
fn a_handshake_that_never_comes_is_not_waited_for() {
    let server = Setup::new()
        .tls("optional")
        .config("[limits]\ntls_handshake = \"1s\"\n")
        .start();
    let mut visitor = server.visit();
    visitor.expect("AUTH TLS", &[234]);
    // What is said now, if anything, is an alert; then the end.
    visitor.drain();
}

#[test]
fn a_data_handshake_that_never_comes_ends_the_transfer() {
    let server = Setup::new()
        .tls("optional")
        .config("[limits]\ntls_handshake = \"1s\"\ndata_connection = \"2s\"\n")
        .start();
    server.put("f", "x");
    let mut client = server.login_tls(Version::Tls13);
    let to = client.epsv();
    let socket = client.connect(to);
    client.send("RETR f");
    let mut reply = client.reply();
    if matches!(reply.code, 125 | 150) {
        reply = client.reply();
    }
    assert!([421, 425, 426, 522].contains(&reply.code), "{reply:?}");
    drop(socket);
    client.silent_for(Duration::from_millis(50));
    assert_eq!(client.receive("RETR f"), b"x");
}
