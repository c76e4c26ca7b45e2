//! The commands that reach files, started as a user starts them, on files of this machine.

#![expect(clippy::unwrap_used, reason = "these are tests")]

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn run_in(dir: &Path, arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_pasarela"))
        .args(arguments)
        .current_dir(dir)
        .env("STATE_DIRECTORY", dir.join("state"))
        .env_remove("PASARELA_PASSWORD")
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
        (&["put", "x"], 2),
        (&["get", ".", "y"], 2),
        (&["ls", "ftp://anna@127.0.0.1:1/"], 2),
        (&["get", "x", "nothere", "into/"], 11),
    ] {
        assert_eq!(code(dir, arguments), expected, "{arguments:?}");
    }
}
