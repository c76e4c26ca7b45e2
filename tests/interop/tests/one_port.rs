//! The server asks the kernel for its announced ports and for no other: `listen(2)` is counted with strace.
#![allow(clippy::unwrap_used, reason = "test code: a panic is its report")]

use std::fs;

use pasarela_testkit::{Dialogue, Pasarela, TlsClient};

/// Transfers one after another: plain, TLS 1.3 and, where there is a port for it, implicit FTPS.
fn listens(data_ports: &str, implicit: bool) -> usize {
    let trace = tempfile::NamedTempFile::new().unwrap();
    let mut setup = Pasarela::setup().arguments(["--tls", "optional", "--data-ports", data_ports]);
    if implicit {
        setup = setup.implicit();
    }
    setup = setup
        .under([
            "strace",
            "-D",
            "-f",
            "-qq",
            "--seccomp-bpf",
            "-e",
            "trace=listen",
            "-o",
        ])
        .under([trace.path()]);
    let server = setup.start();
    let tls = TlsClient::new(server.certificate());

    let mut sessions = vec![Dialogue::connect(server.control())];
    sessions[0].login();
    let mut explicit = Dialogue::connect(server.control());
    explicit.auth_tls(&tls);
    explicit.login();
    explicit.protect();
    sessions.push(explicit);
    if implicit {
        let mut session = Dialogue::connect_implicit(server.implicit(), &tls);
        session.login();
        sessions.push(session);
    }
    for session in &mut sessions {
        for number in 0..5 {
            let sent = format!("file {number}");
            session.store(&sent, sent.as_bytes());
            assert_eq!(session.retrieve(&sent), sent.as_bytes());
        }
        session.expect("QUIT", 221);
    }
    drop(sessions);
    assert!(
        server.terminate().is_some_and(|status| status.success()),
        "SIGTERM ends it with 0"
    );
    let calls = fs::read_to_string(trace.path()).unwrap();
    calls.lines().filter(|line| line.contains("listen(")).count()
}

#[test]
fn control_listens_once() {
    assert_eq!(listens("control", false), 1);
}

#[test]
fn auto_listens_once_while_sessions_take_turns() {
    assert_eq!(listens("auto", false), 1);
}

#[test]
fn implicit_adds_its_own_listener_and_no_other() {
    assert_eq!(listens("control", true), 2);
}
