//! The built binary, started as a user starts it.

#![expect(clippy::unwrap_used, reason = "these are tests")]

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn pasarela(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pasarela"));
    command
        .args(arguments)
        .env_remove("PASARELA_PASSWORD")
        .env_remove("PASARELA_LOG")
        .stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    pasarela(arguments).output().unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

fn written(dir: &Path, text: &str) -> String {
    let file = dir.join("pasarela.toml");
    std::fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn help_teaches_by_example() {
    let help = run(&["serve", "--help"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(
        stdout(&help).contains("pasarela serve ~/share"),
        "{}",
        stdout(&help)
    );
    assert!(stdout(&help).contains("SIGHUP"));
    assert!(stdout(&run(&["--help"])).contains("Exit codes:"));
    assert_eq!(
        stdout(&run(&["--version"])),
        format!("pasarela {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn a_folder_that_is_not_there_is_an_error_with_a_hint() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("not there");
    let output = run(&[
        "serve",
        missing.to_str().unwrap(),
        "--tls",
        "off",
        "--listen",
        "127.0.0.1:0",
    ]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        stderr(&output),
        format!(
            "error: {0}: No such file or directory (os error 2) (the folder of `share`)\nhint: make it first: mkdir -p '{0}'\n",
            missing.display()
        )
    );
}

#[test]
fn no_folder_at_all_is_an_error_with_a_hint() {
    let output = run(&["serve"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("hint: name it: `pasarela serve DIR`"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_wrong_flag_is_a_usage_error() {
    assert_eq!(run(&["serve", ".", "--tls", "sometimes"]).status.code(), Some(2));
    assert_eq!(run(&["server"]).status.code(), Some(2));
}

#[test]
fn config_check_prints_ok_or_everything_that_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().to_str().unwrap();
    let good = written(
        dir.path(),
        "[storage]\nroot = \".\"\n[anonymous]\nenabled = true\n",
    );
    let output = run(&["config", "check", "--config", &good]);
    assert_eq!(
        (output.status.code(), stdout(&output)),
        (Some(0), "ok\n"),
        "{}",
        stderr(&output)
    );

    let bad = written(dir.path(), "[limits]\nidel = \"5min\"\ntotl = 3\n");
    let output = run(&["config", "check", "--config", &bad]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        stderr(&output),
        format!(
            "error: {bad}:2:1: unknown key `idel` in [limits]\nhint: did you mean `idle`?\n\
             error: {bad}:3:1: unknown key `totl` in [limits]\nhint: did you mean `total`?\n"
        )
    );

    let hashed = "[[user]]\nname = \"anna\"\npassword = \"$argon2id$torn\"\n";
    let torn = written(dir.path(), &format!("[storage]\nroot = \".\"\n{hashed}"));
    let output = run(&["config", "check", "--config", &torn]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("anna"), "{}", stderr(&output));

    let output = run(&[
        "config",
        "check",
        root,
        "--anonymous",
        "--cert",
        "no.pem",
        "--key",
        "no.key",
    ]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).starts_with("error: no.pem: "),
        "{}",
        stderr(&output)
    );
}

#[test]
fn config_show_names_origins_and_hides_secrets() {
    let dir = tempfile::tempdir().unwrap();
    let file = written(
        dir.path(),
        "[storage]\nroot = \"/srv\"\n[[user]]\nname = \"anna\"\npassword = \"$argon2id$secret\"\n",
    );
    let output = run(&["config", "show", "--config", &file, "--tls", "optional"]);
    let shown = stdout(&output);
    assert!(
        shown.contains("tls.mode = \"optional\"  # flag --tls\n"),
        "{shown}"
    );
    assert!(
        shown.contains(&format!("storage.root = \"/srv\"  # {file}:2:8\n")),
        "{shown}"
    );
    assert!(
        shown.contains("ftp.data.ports = \"auto\"  # default\n"),
        "{shown}"
    );
    assert!(
        shown.contains("password = \"***\"") && !shown.contains("secret"),
        "{shown}"
    );
}

#[test]
fn config_default_passes_its_own_check() {
    let dir = tempfile::tempdir().unwrap();
    let default = run(&["config", "default"]);
    let file = written(dir.path(), stdout(&default));
    let output = run(&["config", "check", ".", "--config", &file]);
    assert_eq!(
        (output.status.code(), stdout(&output)),
        (Some(0), "ok\n"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn the_packaged_configuration_is_one() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../packaging/pasarela.toml");
    let output = run(&["config", "show", "--config", file]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

fn passwd(arguments: &[&str], password: &str) -> Output {
    let mut child = pasarela(&[&["passwd"], arguments].concat())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(password.as_bytes())
        .unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn passwd_makes_an_account_that_config_check_takes() {
    let output = passwd(&["--user", "anna"], "correct horse\n");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(
        stdout(&output).starts_with("\n[[user]]\nname = \"anna\"\npassword = \"$argon2id$"),
        "{}",
        stdout(&output)
    );

    let dir = tempfile::tempdir().unwrap();
    let file = written(
        dir.path(),
        &format!("[storage]\nroot = \".\"\n{}", stdout(&output)),
    );
    let output = run(&["config", "check", "--config", &file]);
    assert_eq!(
        (output.status.code(), stdout(&output)),
        (Some(0), "ok\n"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn passwd_prints_the_hash_alone_and_refuses_an_empty_password() {
    let output = passwd(&[], "correct horse\n");
    assert!(stdout(&output).starts_with("$argon2id$") && stdout(&output).lines().count() == 1);
    let output = passwd(&[], "\n");
    assert_eq!(
        (output.status.code(), stderr(&output)),
        (Some(2), "error: the password is empty\n")
    );
}

#[test]
fn completions_and_manual_pages_are_made() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        assert!(
            stdout(&run(&["completions", shell])).contains("implicit-listen"),
            "{shell}"
        );
    }
    for (page, content) in [
        ("pasarela", "completions"),
        ("serve", "data\\-ports"),
        ("pasarela.toml", "require_resumption"),
    ] {
        let output = run(&["man", page]);
        assert!(
            stdout(&output).contains(".TH") && stdout(&output).contains(content),
            "{page}"
        );
    }
    assert_eq!(run(&["man", "nothing"]).status.code(), Some(2));
}
