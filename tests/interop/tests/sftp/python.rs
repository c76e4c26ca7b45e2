//! paramiko, which asks for whole files at once, and asyncssh, which writes in any order; and many sessions at once.

use std::fs;

use pasarela_testkit::{PASSWORD, USER, make_file, run, sha256};

use super::Site;

/// Debian's Python has Debian's packages.
const PYTHON: &str = "/usr/bin/python3";

#[track_caller]
fn python(site: &Site, program: &str, more: &[&str]) -> String {
    fs::write(site.path("program.py"), program).unwrap();
    let mut python = site.client(PYTHON);
    python.args([
        "-W",
        "ignore",
        "program.py",
        "127.0.0.1",
        &site.port(),
        USER,
        PASSWORD,
    ]);
    let ended = run(python.args(more)).expect_success();
    String::from_utf8(ended.stdout).unwrap()
}

#[test]
fn paramiko_gets_what_it_asks_for_all_at_once() {
    let site = Site::start();
    make_file(&site.path("f"), 4, 32_000_000);
    python(&site, include_str!("paramiko.py"), &["f"]);
    assert_eq!(sha256(&site.path("f")), sha256(&site.server.file("large")));
}

#[test]
fn asyncssh_writes_in_any_order() {
    let site = Site::start();
    make_file(&site.path("f"), 4, 8_000_000);
    python(&site, include_str!("asyncssh_client.py"), &["f"]);
    assert_eq!(sha256(&site.path("f")), sha256(&site.server.file("large")));
}

/// What the documentation promises of memory: 64 MiB to begin with, of which checking passwords takes most, and 4 MiB
/// for each session at work.
#[test]
fn sixty_four_sessions_at_once_keep_within_their_memory() {
    let site = Site::start();
    let process = site.server.process().to_string();
    let peak = python(&site, include_str!("many.py"), &["64", &process]);
    let peak: u64 = peak.trim().parse().unwrap();
    eprintln!("64 sessions: {peak} KiB at most");
    assert!(peak < (64 + 64 * 4) * 1024, "{peak} KiB");
}
