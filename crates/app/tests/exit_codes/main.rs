//! The exit codes that `pasarela ls --help` lists, and what each failure tells its user to do.

#![expect(clippy::unwrap_used, reason = "these are tests")]
#![allow(unreachable_pub, reason = "a test has no public")]

mod server;

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use server::{Script, Server};

/// The command in a folder, which is its home too.
fn pasarela(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pasarela"));
    command
        .args(arguments)
        .current_dir(dir)
        .env("STATE_DIRECTORY", dir.join("state"))
        .env("HOME", dir)
        .env("PASARELA_PASSWORD", "sesame")
        .env_remove("NETRC")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for name in ["ftp_proxy", "FTP_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env_remove(name);
    }
    command
}

fn run(dir: &Path, arguments: &[&str]) -> Output {
    pasarela(dir, arguments).output().unwrap()
}

/// Runs a command that fails: with this exit code, these words, and an advice.
#[track_caller]
fn fails(arguments: &[&str], code: i32, words: &str) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("x"), vec![b'x'; 1000]).unwrap();
    let output = run(dir.path(), arguments);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    assert!(
        said.contains(words),
        "{arguments:?} does not say {words:?}: {said}"
    );
    assert!(
        said.contains("\nhint: "),
        "{arguments:?} does not say what to do: {said}"
    );
}

#[test]
fn every_code_is_in_the_help() {
    let dir = tempfile::tempdir().unwrap();
    let help = run(dir.path(), &["ls", "--help"]);
    let help = String::from_utf8(help.stdout).unwrap();
    let (_, codes) = help.split_once("Exit codes:").unwrap();
    let codes: Vec<u8> = codes
        .lines()
        .filter_map(|line| line.split_whitespace().next()?.parse().ok())
        .collect();
    assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 130]);
}

#[test]
fn no_connection_is_3() {
    fails(
        &["ls", "ftp://127.0.0.1:1/"],
        3,
        "no connection to 127.0.0.1 on port 1",
    );
    fails(&["ls", "ftp://name.invalid/"], 3, "cannot be resolved");
    let closes = Server::start(Script::default().saying("GREETING", "421 Not today"));
    fails(&["ls", &closes.url("")], 3, "421 Not today");
    fails(
        &["ls", "--proxy", "socks5://127.0.0.1:1", "ftp://h.invalid/"],
        3,
        "h.invalid",
    );
}

#[test]
fn a_login_that_is_refused_is_4() {
    let server = Server::start(Script::default().saying("PASS", "530 No"));
    fails(&["ls", &server.url("")], 4, "530 No");
}

#[test]
fn no_protection_is_5() {
    let server = Server::start(Script::default());
    let url = server.url("");
    fails(&["ls", &url.replace("ftp:", "ftpes:")], 5, "refuses TLS");
    fails(&["ls", &url.replace("ftp://", "ftp://anna@")], 5, "offers no TLS");
    assert!(!server.heard().iter().any(|line| line.starts_with("PASS")));
}

#[test]
fn no_data_connection_is_6() {
    // Nobody listens on port 1 of the loopback interface.
    let closed = Script::file(b"abc")
        .saying("EPSV", "229 Here (|||1|)")
        .saying("PASV", "227 Here (127,0,0,1,0,1)");
    let server = Server::start(closed);
    fails(
        &["get", "--retry", "0", &server.url("a"), "y"],
        6,
        "data connection to 127.0.0.1 on port 1",
    );
    fails(
        &["ls", &server.url("folder")],
        6,
        "data connection to 127.0.0.1 on port 1",
    );
    let refuses = Server::start(Script::file(b"abc").saying("RETR", "425 Cannot open"));
    fails(
        &["get", "--retry", "0", &refuses.url("a"), "y"],
        6,
        "425 Cannot open",
    );
}

#[test]
fn what_is_not_there_is_7() {
    let server = Server::start(Script::file(b"abc"));
    fails(&["get", &server.url("nothere"), "y"], 7, "550 No such file");
    fails(
        &["get", &server.url("folder/nothere"), "y"],
        7,
        "550 No such file",
    );
    fails(&["rm", &server.url("nothere")], 7, "550 No such file");
}

#[test]
fn what_is_forbidden_is_8_also_where_the_server_does_not_say_it_clearly() {
    let vague = Server::start(
        Script::file(b"abc")
            .saying("RETR", "550 Failed to open file.")
            .saying("STOR", "553 Could not create file.")
            .saying("DELE", "550 Delete operation failed."),
    );
    fails(&["get", &vague.url("a"), "y"], 8, "550 Failed to open file");
    fails(&["rm", &vague.url("a")], 8, "550 Delete operation failed");
    fails(
        &["put", "x", &vague.url("folder/b")],
        8,
        "553 Could not create file",
    );
    let clear = Server::start(
        Script::file(b"abc")
            .saying("STOR", "550 Permission denied.")
            .saying("MKD", "550 Permission denied."),
    );
    fails(&["put", "x", &clear.url("folder/b")], 8, "550 Permission denied");
    fails(&["mkdir", &clear.url("b")], 8, "550 Permission denied");
}

#[test]
fn no_space_is_9_wherever_it_shows() {
    let at_once = Server::start(Script::default().saying("STOR", "452 Disk full"));
    fails(&["put", "x", &at_once.url("b")], 9, "452 Disk full");
    let at_the_end = Server::start(Script::default().saying("END", "552 Quota exceeded"));
    fails(&["put", "x", &at_the_end.url("b")], 9, "552 Quota exceeded");
}

#[test]
fn a_full_disk_here_is_9_too() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("full")).unwrap();
    let server = Server::start(Script::file(&[b'x'; 200_000]));
    // A file system of 64 KiB that nobody else sees.
    let command = pasarela(dir.path(), &["get", "--retry", "0", &server.url("a"), "full/y"]);
    let output = Command::new("unshare")
        .args([
            "-r",
            "-m",
            "sh",
            "-c",
            "mount -t tmpfs -o size=64k none full && exec \"$@\"",
            "sh",
        ])
        .arg(command.get_program())
        .args(command.get_args())
        .envs(
            command
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .current_dir(dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(9), "{said}");
    assert!(said.contains("no space left\nhint: "), "{said}");
}

#[test]
fn a_file_that_is_not_what_it_should_be_is_10() {
    for (told, words) in [
        (900, "more than the 900 bytes"),
        (1100, "1000 bytes of a file that has 1100"),
    ] {
        let server = Server::start(Script {
            told: Some(told),
            ..Script::file(&[b'x'; 1000])
        });
        fails(&["get", &server.url("a"), "y"], 10, words);
    }
    let server = Server::start(Script::file(b"abc"));
    fails(
        &["get", "--verify", "hash", &server.url("a"), "y"],
        10,
        "no digest",
    );
}

#[test]
fn some_files_and_some_not_is_11() {
    let server = Server::start(Script::file(b"abc"));
    fails(
        &["get", &server.url("a"), &server.url("nothere"), "into/"],
        11,
        "550 No such file",
    );
}

/// A port that swallows what comes: its queue of connections is full, so nobody is answered.
struct Swallowing(
    u16,
    #[expect(dead_code, reason = "they keep the queue full")] (socket2::Socket, TcpStream),
);

impl Swallowing {
    fn open() -> Self {
        use socket2::{Domain, Socket, Type};
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket
            .bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into())
            .unwrap();
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let first = TcpStream::connect(address).unwrap();
        Self(address.port(), (socket, first))
    }
}

#[test]
fn what_takes_too_long_is_12() {
    let silent = Server::start(Script::default().saying("GREETING", ""));
    fails(
        &["ls", "--timeout", "1", &silent.url("")],
        12,
        "did not answer in time",
    );
    let stalls = Server::start(Script {
        stalls_after: Some(400),
        ..Script::file(&[b'x'; 1000])
    });
    fails(
        &["get", "--timeout", "1", "--retry", "0", &stalls.url("a"), "y"],
        12,
        "no byte moved",
    );
    let port = Swallowing::open();
    let url = format!("ftp://127.0.0.1:{}/", port.0);
    fails(&["ls", "--connect-timeout", "1", &url], 12, "does not answer");
}

#[test]
fn a_passive_port_that_swallows_costs_two_seconds_and_not_the_transfer() {
    let port = Swallowing::open();
    for (verb, reply) in [
        ("EPSV", format!("229 Here (|||{}|)", port.0)),
        ("PASV", {
            let [high, low] = port.0.to_be_bytes();
            format!("227 Here (127,0,0,1,{high},{low})")
        }),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(Script::file(b"abc").saying(verb, &reply));
        let output = run(dir.path(), &["get", &server.url("a"), "y"]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let heard = server.heard();
        assert!(
            verb == "PASV" || heard.iter().any(|line| line == "PASV"),
            "{heard:?}"
        );
    }
    // Both: no data connection, and no second round of waiting.
    let [high, low] = port.0.to_be_bytes();
    let server = Server::start(
        Script::file(b"abc")
            .saying("EPSV", &format!("229 Here (|||{}|)", port.0))
            .saying("PASV", &format!("227 Here (127,0,0,1,{high},{low})")),
    );
    fails(
        &["get", "--connect-timeout", "3", &server.url("a"), "y"],
        6,
        "no answer",
    );
    let asked = server.heard().iter().filter(|line| *line == "EPSV").count();
    assert_eq!(asked, 1, "{:?}", server.heard());
}

/// The part of `y` in a folder, once it has so many bytes.
fn part_of(dir: &Path, length: u64) -> PathBuf {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let parts = std::fs::read_dir(dir).unwrap().flatten();
        let part = parts.map(|entry| entry.path()).find(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            name.ends_with(".pasarela-part")
                && std::fs::metadata(path).is_ok_and(|found| found.len() == length)
        });
        match part {
            Some(part) => return part,
            None => assert!(Instant::now() < end, "no part of {length} bytes in {dir:?}"),
        }
        std::thread::yield_now();
    }
}

fn interrupt(mut child: Child) -> Output {
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    child.wait().unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn interrupted_is_130_and_the_part_is_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let content: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    let stalls = Server::start(Script {
        stalls_after: Some(300_000),
        ..Script::file(&content)
    });
    let child = pasarela(dir, &["get", &stalls.url("a"), "y"]).spawn().unwrap();
    part_of(dir, 300_000);
    let output = interrupt(child);
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    assert!(!dir.join("y").exists());
    part_of(dir, 300_000);

    let server = Server::start(Script::file(&content));
    let output = run(dir, &["get", "-c", &server.url("a"), "y"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(std::fs::read(dir.join("y")).unwrap() == content);
    assert!(
        server.heard().iter().any(|line| line == "REST 300000"),
        "{:?}",
        server.heard()
    );
}

#[test]
fn a_lost_control_connection_after_a_whole_transfer_is_asked_about_with_another_one() {
    let dir = tempfile::tempdir().unwrap();
    let content = vec![b'x'; 1000];
    for (told, code) in [(None, 0), (Some(1100), 3)] {
        let server = Server::start(Script {
            told,
            ..Script::file(&content).saying("END", "421 The control connection was silent for too long")
        });
        for verify in ["auto", "size"] {
            let arguments = ["get", "--retry", "0", "--verify", verify, &server.url("a"), "y"];
            let output = run(dir.path(), &arguments);
            assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
            let logins = server
                .heard()
                .iter()
                .filter(|line| line.starts_with("USER"))
                .count();
            assert!(code != 0 || logins >= 2, "{:?}", server.heard());
        }
    }
}
