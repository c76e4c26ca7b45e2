//! The commands that reach files, started as a user starts them, on files of this machine.

#![expect(clippy::unwrap_used, reason = "these are tests")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The command in a folder, which is its home too.
fn pasarela(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pasarela"));
    command
        .args(arguments)
        .current_dir(dir)
        .env("STATE_DIRECTORY", dir.join("state"))
        .env("HOME", dir)
        .env_remove("NETRC")
        .env_remove("PASARELA_PASSWORD");
    for name in ["ftp_proxy", "FTP_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env_remove(name);
    }
    command
}

fn run_in(dir: &Path, arguments: &[&str], input: &[u8]) -> Output {
    let mut child = pasarela(dir, arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that reads nothing may be gone by now.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

fn done(dir: &Path, arguments: &[&str]) -> String {
    let output = run_in(dir, arguments, b"");
    let text = String::from_utf8(output.stdout).unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {text}{complaint}");
    text
}

fn code(dir: &Path, arguments: &[&str]) -> i32 {
    run_in(dir, arguments, b"").status.code().unwrap()
}

#[test]
fn files_are_copied_listed_renamed_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    std::fs::create_dir_all(dir.join("a/b")).unwrap();
    std::fs::write(dir.join("a/b/x"), "abc").unwrap();
    std::fs::write(dir.join("a/y"), "abcdef").unwrap();
    done(dir, &["get", "-r", "a", "into/"]);
    assert_eq!(done(dir, &["ls", "-R", "into"]), "a/\na/b/\na/y\na/b/x\n");
    assert_eq!(done(dir, &["cat", "--range", "1-2", "into/a/y"]), "bc");
    let sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert!(done(dir, &["hash", "into/a/b/x"]).starts_with(sum));
    done(dir, &["mv", "into/a/y", "into/z"]);
    assert_eq!(code(dir, &["rm", "into"]), 1);
    std::os::unix::fs::symlink("a", dir.join("link")).unwrap();
    done(dir, &["rm", "link"]);
    done(dir, &["rm", "-r", "into"]);
    assert!(dir.join("a/b/x").exists() && !dir.join("into").exists() && !dir.join("link").exists());
    done(dir, &["mkdir", "-p", "p/q/r"]);
    let output = run_in(dir, &["put", "-", "p/q/stdin"], b"from a pipe");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(done(dir, &["get", "p/q/stdin", "-"]), "from a pipe");
}

#[test]
fn a_folder_becomes_like_another_and_a_plan_is_carried_out_once() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    std::fs::create_dir_all(dir.join("a/b")).unwrap();
    std::fs::create_dir_all(dir.join("c")).unwrap();
    std::fs::write(dir.join("a/b/x"), "abc").unwrap();
    std::fs::write(dir.join("c/old"), "abc").unwrap();
    let shown = done(dir, &["sync", "-n", "--delete", "a", "c"]);
    assert!(
        shown.contains("copy           /b/x") && shown.contains("remove         /old"),
        "{shown}"
    );
    assert!(dir.join("c/old").exists());
    done(dir, &["sync", "--delete", "--plan", "plan.json", "a", "c"]);
    assert!(dir.join("c/old").exists());
    assert_eq!(code(dir, &["sync", "--apply", "plan.json", "a", "d"]), 2);
    done(dir, &["sync", "--apply", "plan.json", "a", "c"]);
    assert!(dir.join("c/b/x").exists() && !dir.join("c/old").exists());
    assert_eq!(code(dir, &["sync", "--apply", "plan.json", "a", "c"]), 1);
    assert!(done(dir, &["sync", "-n", "a", "c"]).starts_with("0 files"));
    let events = done(dir, &["get", "--json", "a/b/x", "copy"]);
    let last: serde_json::Value = serde_json::from_str(events.lines().last().unwrap()).unwrap();
    assert_eq!((&last["event"], &last["size"]), (&"finished".into(), &3.into()));
}

#[test]
fn the_exit_code_tells_what_went_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    std::fs::write(dir.join("x"), "abc").unwrap();
    for (arguments, expected) in [
        (&["get", "nothere", "y"][..], 7),
        (&["ls", "ftp://h/a%0d%0aDELE%20x"], 2),
        (&["ls", "gopher://h/"], 2),
        (&["cat", "--range", "5-1", "x"], 2),
        (&["get", "--limit-rate", "fast", "x", "y"], 2),
        (&["ls", "-4", "ftp://[::1]:1/"], 3),
        (&["ls", "-6", "ftp://127.0.0.1:1/"], 3),
        (&["ls", "-4", "-6", "ftp://127.0.0.1:1/"], 2),
        (&["put", "x"], 2),
        (&["get", ".", "y"], 2),
        (&["ls", "ftp://anna@127.0.0.1:1/"], 2),
        (&["get", "x", "nothere", "into/"], 11),
    ] {
        assert_eq!(code(dir, arguments), expected, "{arguments:?}");
    }
}

/// Runs a command against a server without TLS that refuses every login. The command is made with where it
/// listens. What the server was given as USER and PASS, and what the command said.
fn refused(command: impl FnOnce(&str) -> Command) -> (Vec<String>, Output) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = std::thread::spawn(move || {
        let (mut control, _) = listener.accept().unwrap();
        control.write_all(b"220 Hello\r\n").unwrap();
        let mut given = Vec::new();
        for line in BufReader::new(control.try_clone().unwrap()).lines() {
            let Ok(line) = line else { break };
            let reply = match line.split(' ').next() {
                Some("USER") => "331 Password, please",
                Some("PASS") => "530 No",
                _ => "502 Unknown",
            };
            if reply != "502 Unknown" {
                given.push(line);
            }
            if control.write_all(format!("{reply}\r\n").as_bytes()).is_err() {
                break;
            }
        }
        given
    });
    let output = command(&address).stdin(Stdio::null()).output().unwrap();
    // A server that was not asked has waited long enough.
    let _ = TcpStream::connect(&address);
    (server.join().unwrap(), output)
}

#[test]
fn a_password_comes_from_the_url_a_file_the_environment_or_netrc() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let netrc = |name: &str, text: &str| {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    };
    netrc(
        ".netrc",
        "machine 127.0.0.1 login anna password home\ndefault login x password y",
    );
    netrc("other", "machine 127.0.0.1 login \"bob b\" password other");
    std::fs::write(dir.join("password"), "file\n").unwrap();
    for (user, flags, environment, expected) in [
        (
            "anna:url@",
            &["--password-file", "password"][..],
            &[("PASARELA_PASSWORD", "variable")][..],
            ["USER anna", "PASS url"],
        ),
        (
            "anna@",
            &["--password-file", "password"],
            &[("PASARELA_PASSWORD", "variable")],
            ["USER anna", "PASS file"],
        ),
        (
            "anna@",
            &[],
            &[("PASARELA_PASSWORD", "variable")],
            ["USER anna", "PASS variable"],
        ),
        ("anna@", &[], &[], ["USER anna", "PASS home"]),
        ("", &[], &[], ["USER anna", "PASS home"]),
        ("", &[], &[("NETRC", "other")], ["USER bob b", "PASS other"]),
        (
            "",
            &["--netrc-file", "other"],
            &[("NETRC", "nothere")],
            ["USER bob b", "PASS other"],
        ),
        ("", &[], &[("NETRC", "")], ["USER anonymous", "PASS anonymous@"]),
    ] {
        let (given, output) = refused(|address| {
            let url = format!("ftp://{user}{address}/");
            let mut command = pasarela(dir, &["ls", "--insecure-plaintext", &url]);
            command.args(flags).envs(environment.iter().copied());
            command
        });
        assert_eq!(given, expected, "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            said.matches("warning: ").count(),
            usize::from(user.contains(':')),
            "{said}"
        );
        assert_eq!(output.status.code(), Some(4), "{output:?}");
    }
}

#[test]
fn a_netrc_file_that_others_can_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let path = dir.join(".netrc");
    std::fs::write(&path, "machine h login anna password x").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    // Port 1 is never asked.
    let output = run_in(dir, &["ls", "ftp://anna@127.0.0.1:1/"], b"");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("hint: chmod 600 "), "{said}");
    // A command that reaches no server does not care.
    done(dir, &["ls", "."]);
}

#[test]
fn a_limit_holds_for_all_files_of_a_run_together() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    std::fs::create_dir(dir.join("a")).unwrap();
    for name in ["x", "y"] {
        std::fs::write(dir.join("a").join(name), vec![0; 64 * 1024]).unwrap();
    }
    let began = std::time::Instant::now();
    done(dir, &["get", "-r", "--limit-rate", "256KiB/s", "a", "b/"]);
    // Half a second's worth of bytes, the first tenth of a second at once.
    assert!(began.elapsed().as_millis() >= 400);
    done(dir, &["cat", "--limit-rate", "unlimited", "b/a/x"]);
}
