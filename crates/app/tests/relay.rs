//! `pasarela relay` from `init` to SIGTERM, started as a user starts it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

fn pasarela(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pasarela"));
    command
        .args(arguments)
        .env_remove("PASARELA_LOG")
        .env_remove("NOTIFY_SOCKET")
        .stdin(Stdio::null());
    command
}

#[test]
fn a_relay_begins_with_init_runs_tells_its_counters_and_stops() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("relay.toml");
    let path = file.to_str().unwrap();
    let init = ["relay", "init", "--config", path, "--public-address", "127.0.0.1"];
    let made = pasarela(&init).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let said = String::from_utf8(made.stdout).unwrap();
    let password = said
        .lines()
        .find_map(|line| line.strip_prefix("password = \""))
        .and_then(|rest| rest.strip_suffix('"'))
        .unwrap();
    // What it says is a configuration of the server's as it stands, and its last line the flag.
    let server = dir.path().join("pasarela.toml");
    std::fs::write(&server, &said).unwrap();
    let server = ["config", "show", "--config", server.to_str().unwrap()];
    let shown = pasarela(&server).arg(dir.path()).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(
        shown.contains("reach.relay.server = [\"127.0.0.1\"]")
            && shown.contains("reach.relay.password = \"***\"")
            && !shown.contains(password),
        "{shown}"
    );
    assert!(said.ends_with(&format!(
        "# PASARELA_RELAY_PASSWORD={password} pasarela serve DIR --relay 127.0.0.1\n"
    )));
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains(&format!("password = \"{password}\"")));
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);

    // Not twice: the account's password would be another one.
    let again = pasarela(&init).output().unwrap();
    assert_eq!(again.status.code(), Some(2));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);

    let socket = dir.path().join("counters");
    let text = text.replace("0.0.0.0:3478", "127.0.0.1:0").replace(
        "#metrics = \"/run/pasarela/relay.sock\"",
        &format!("metrics = \"{}\"", socket.display()),
    );
    std::fs::write(&file, &text).unwrap();
    let checked = pasarela(&["relay", "check", "--config", path]).output().unwrap();
    assert_eq!(checked.stdout, b"ok\n");

    let mut relay = pasarela(&["relay", "--config", path])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(relay.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("relay listens") {
        line.clear();
        assert!(
            log.read_line(&mut line).unwrap() > 0,
            "it ended before it listened"
        );
    }
    let mut counters = UnixStream::connect(&socket).unwrap();
    counters
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: relay\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    counters.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\npasarela_relay_allocations 0\n"), "{answer}");

    let mut hangup_logs = |text: &str, what: &str| {
        std::fs::write(&file, text).unwrap();
        kill_process(Pid::from_child(&relay), Signal::HUP).unwrap();
        let mut said = String::new();
        while !said.contains(what) {
            assert!(log.read_line(&mut said).unwrap() > 0, "{said}");
        }
        said
    };
    let said = hangup_logs(&text, "reloaded");
    assert!(
        !said.contains("not reloaded") && !said.contains("restart"),
        "{said}"
    );
    let said = hangup_logs(&text.replace("any_peer", "any_per"), "not reloaded");
    assert!(said.contains("unknown key `any_per`"), "{said}");
    let said = hangup_logs(
        &format!("realm = \"x\"\n{}", text.replace("\nrealm", "\n#realm")),
        "reloaded",
    );
    assert!(said.contains("key=\"realm\""), "{said}");

    kill_process(Pid::from_child(&relay), Signal::TERM).unwrap();
    assert!(relay.wait().unwrap().success());
    assert!(!socket.exists());
}

#[test]
fn a_relay_without_a_configuration_says_how_to_get_one() {
    let output = pasarela(&["relay"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("hint: pasarela relay --config FILE"), "{said}");
}

#[test]
fn a_password_that_may_cross_the_relay_in_the_clear_is_warned_of_at_start() {
    let dir = tempfile::tempdir().unwrap();
    let warned = |tls: &str| {
        let mut server = pasarela(&["serve", "--listen", "127.0.0.1:0", "--user", "anna", "--tls", tls])
            .args(["--relay", "127.0.0.1:9", "--state-dir"])
            .arg(dir.path().join("state"))
            .arg(dir.path())
            .env("PASARELA_PASSWORD", "x")
            .env("PASARELA_RELAY_PASSWORD", "y")
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(server.stderr.take().unwrap()).lines();
        // Warnings come before the line of the listening socket.
        let found = said
            .by_ref()
            .map(Result::unwrap)
            .take_while(|line| !line.contains("listening on"))
            .any(|line| line.contains("`anna` may log in without TLS"));
        server.kill().unwrap();
        server.wait().unwrap();
        found
    };
    assert!(warned("optional"));
    assert!(!warned("required"));
}
