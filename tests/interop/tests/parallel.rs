//! Eight sessions from one address at once, over one port, over a shared data port, and over a slow path.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "test code: a panic is its report"
)]

use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use pasarela_interop::{FTPLIB_PARALLEL, Mode, Site, Wire, credentials};
use pasarela_testkit::{
    PASSWORD, PortWatch, SlowLink, USER, assert_same_tree, make_file, random, run_within, sha256,
};

const SESSIONS: usize = 8;
const EACH_WAY: usize = 200;
const PATIENCE: Duration = Duration::from_secs(600);

/// Files to send in `up`, files to fetch on the server, and an empty `down`.
struct Load {
    site: Site,
    up: std::path::PathBuf,
    down: std::path::PathBuf,
}

impl Load {
    fn new(wire: Wire, data_ports: &str) -> Self {
        let site = Site::start_with(wire, Mode::Pasv, &["--data-ports", data_ports]);
        let (up, down) = (site.folder("up"), site.folder("down"));
        make_files(&up, "up", 1, EACH_WAY, 64 * 1024);
        make_files(site.server.root(), "down", 2, EACH_WAY, 64 * 1024);
        Self { site, up, down }
    }

    /// Every file arrived whole; nothing else was looked at by anybody.
    #[track_caller]
    fn all_arrived(&self) {
        for number in 0..EACH_WAY {
            self.same(&format!("up{number:04}"), &self.up, self.site.server.root());
            self.same(&format!("down{number:04}"), self.site.server.root(), &self.down);
        }
    }

    #[track_caller]
    fn same(&self, name: &str, from: &Path, to: &Path) {
        assert_eq!(sha256(&from.join(name)), sha256(&to.join(name)), "{name}");
    }
}

/// `count` files of 1 to `most` bytes.
fn make_files(folder: &Path, prefix: &str, seed: u64, count: usize, most: u64) {
    for (number, size) in random(seed).take(count).enumerate() {
        let size = usize::try_from(1 + size % most).unwrap();
        make_file(
            &folder.join(format!("{prefix}{number:04}")),
            seed << 32 | number as u64,
            size,
        );
    }
}

/// What ftplib's sessions answered: how many transfers were done, and how many were refused with a clean 425.
struct Answers {
    done: Vec<String>,
    refused: usize,
}

/// Runs errands over eight ftplib sessions. Anything that is neither done nor a 425 fails the test.
#[track_caller]
fn ftplib(site: &Site, at: SocketAddr, errands: &[String], up: &Path, down: &Path) -> Answers {
    let mut python = site.client("python3");
    python.args([
        "-c",
        FTPLIB_PARALLEL,
        &at.ip().to_string(),
        &at.port().to_string(),
        USER,
        PASSWORD,
    ]);
    python
        .args([
            if site.wire.is_tls() { "tls" } else { "plain" },
            &SESSIONS.to_string(),
        ])
        .arg(up)
        .arg(down);
    python.stdin(site.script(errands.join("\n").as_bytes()));
    let ended = run_within(&mut python, PATIENCE).expect_success();
    let answers = String::from_utf8(ended.stdout).unwrap();
    assert_eq!(answers.lines().count(), errands.len(), "{answers}");
    let failed: Vec<&str> = answers
        .lines()
        .filter(|answer| answer.starts_with("failed "))
        .collect();
    assert!(
        failed.is_empty(),
        "{} transfers failed, and not with 425:\n{}",
        failed.len(),
        failed.join("\n")
    );
    let done = answers
        .lines()
        .filter_map(|answer| Some(answer.strip_prefix("done ")?.to_owned()))
        .collect();
    Answers {
        done,
        refused: answers
            .lines()
            .filter(|answer| answer.starts_with("425 "))
            .count(),
    }
}

/// Fetching and sending by turns, so that both are always under way.
fn both_ways() -> Vec<String> {
    (0..EACH_WAY)
        .flat_map(|number| [format!("get:down{number:04}"), format!("put:up{number:04}")])
        .collect()
}

/// All 400 over eight ftplib sessions, none refused; the server's listening ports meanwhile.
#[track_caller]
fn all_by_ftplib(wire: Wire, data_ports: &str) -> BTreeSet<u16> {
    let load = Load::new(wire, data_ports);
    let watch = PortWatch::start(load.site.server.process());
    let answers = ftplib(
        &load.site,
        load.site.address(),
        &both_ways(),
        &load.up,
        &load.down,
    );
    assert_eq!(
        (answers.done.len(), answers.refused),
        (2 * EACH_WAY, 0),
        "done and refused"
    );
    load.all_arrived();
    without_control(watch, &load.site)
}

/// All 400 by lftp's mirror, eight transfers at a time; the server's listening ports meanwhile.
#[track_caller]
fn all_by_lftp(wire: Wire, data_ports: &str) -> BTreeSet<u16> {
    let load = Load::new(wire, data_ports);
    let watch = PortWatch::start(load.site.server.process());
    let down = format!(
        "mirror --parallel={SESSIONS} --include-glob=down* / {}",
        load.down.display()
    );
    let up = format!("mirror --reverse --parallel={SESSIONS} {} /", load.up.display());
    run_within(&mut lftp(&load.site, load.site.address(), &[down, up]), PATIENCE).expect_success();
    load.all_arrived();
    without_control(watch, &load.site)
}

/// Ports beside the announced one, which must have been open all the time.
#[track_caller]
fn without_control(watch: PortWatch, site: &Site) -> BTreeSet<u16> {
    let mut seen = watch.seen();
    assert!(seen.remove(&site.server.control().port()));
    seen
}

fn lftp(site: &Site, at: SocketAddr, commands: &[String]) -> Command {
    let tls = site.wire.is_tls();
    let mut script = format!(
        "set cmd:fail-exit yes\nset net:max-retries 1\nset net:timeout 120\nset ssl:verify-certificate no\n\
         set ssl:priority NORMAL:-VERS-ALL:+VERS-TLS1.3\nset ftp:ssl-allow {tls}\nset ftp:ssl-force {tls}\n\
         set ftp:prefer-epsv yes\nset ftp:ssl-protect-data yes\nset ftp:auto-passive-mode no\n\
         open -u {} ftp://{at}\n",
        credentials(',')
    );
    script.push_str(&commands.join("\n"));
    script.push('\n');
    let mut lftp = site.client("lftp");
    lftp.args(["--norc", "-f", "/dev/stdin"])
        .stdin(site.script(script.as_bytes()));
    lftp
}

/// A port that was free a moment ago.
fn free_port() -> String {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
        .to_string()
}

#[test]
fn one_port_tls_ftplib() {
    assert_eq!(all_by_ftplib(Wire::Explicit13, "control"), BTreeSet::new());
}

#[test]
fn one_port_tls_lftp() {
    assert_eq!(all_by_lftp(Wire::Explicit13, "control"), BTreeSet::new());
}

#[test]
fn shared_data_port_plain_ftplib() {
    let port = free_port();
    assert_eq!(
        all_by_ftplib(Wire::Plain, &port),
        BTreeSet::from([port.parse().unwrap()])
    );
}

#[test]
fn shared_data_port_plain_lftp() {
    let port = free_port();
    assert_eq!(
        all_by_lftp(Wire::Plain, &port),
        BTreeSet::from([port.parse().unwrap()])
    );
}

#[test]
fn shared_data_port_tls_ftplib() {
    let port = free_port();
    assert_eq!(
        all_by_ftplib(Wire::Explicit13, &port),
        BTreeSet::from([port.parse().unwrap()])
    );
}

/// With `auto` the server takes another data port once it cannot tell a peer's plain connections apart, which it has
/// to say once to whoever finds that out.
#[test]
fn ports_of_its_own_choice_plain_ftplib() {
    let load = Load::new(Wire::Plain, "auto");
    let answers = ftplib(
        &load.site,
        load.site.address(),
        &both_ways(),
        &load.up,
        &load.down,
    );
    for errand in &answers.done {
        match errand.split_once(':').unwrap() {
            ("get", name) => load.same(name, load.site.server.root(), &load.down),
            (_, name) => load.same(name, &load.up, load.site.server.root()),
        }
    }
    assert_eq!(answers.done.len() + answers.refused, 2 * EACH_WAY);
    assert!(answers.refused < SESSIONS, "{} refused", answers.refused);
}

/// Nobody speaks first on a plain download, so one port cannot always tell whose a connection is. It must say 425 then:
/// a wrong byte never.
#[test]
fn one_port_plain_never_a_wrong_byte() {
    let load = Load::new(Wire::Plain, "control");
    let watch = PortWatch::start(load.site.server.process());
    let answers = ftplib(
        &load.site,
        load.site.address(),
        &both_ways(),
        &load.up,
        &load.down,
    );
    for errand in &answers.done {
        match errand.split_once(':').unwrap() {
            ("get", name) => load.same(name, load.site.server.root(), &load.down),
            (_, name) => load.same(name, &load.up, load.site.server.root()),
        }
    }
    eprintln!(
        "plain on one port, {SESSIONS} sessions: {} done, {} refused with 425",
        answers.done.len(),
        answers.refused
    );
    assert!(!answers.done.is_empty());
    assert_eq!(without_control(watch, &load.site), BTreeSet::new());
}

/// 1,000 TLS 1.3 uploads of 1 B to 512 KiB by three clients over a slow path on the single port: each is answered 226 and
/// is whole. (Session tickets sent at the wrong moment make clients reset an upload and lose its tail.)
#[test]
fn uploads_1000() {
    let (site, link) = behind_a_slow_link();
    let from = site.folder("from");
    for (client, seed, count) in [("curl", 11, 334), ("lftp", 12, 333), ("ftplib", 13, 333)] {
        make_files(&from.join(client), client, seed, count, 512 * 1024);
        fs::create_dir(site.server.file(client)).unwrap();
    }
    let names = |client: &str, count| {
        (0..count)
            .map(|number| format!("{client}{number:04}"))
            .collect::<Vec<_>>()
    };

    let mut curl = site.client("curl");
    curl.args([
        "-q",
        "-sS",
        "-Z",
        "--parallel-max",
        "8",
        "--fail-early",
        "--ssl-reqd",
        "-k",
        "--tlsv1.3",
    ]);
    curl.args(["-u", &credentials(':')]);
    for name in names("curl", 334) {
        curl.arg("-T")
            .arg(from.join("curl").join(&name))
            .arg(format!("ftp://{}/curl/{name}", link.address()));
    }
    run_within(&mut curl, PATIENCE).expect_success();
    assert_same_tree(&from.join("curl"), &site.server.file("curl"));

    let up = format!(
        "mirror --reverse --parallel=8 {} /lftp",
        from.join("lftp").display()
    );
    run_within(&mut lftp(&site, link.address(), &[up]), PATIENCE).expect_success();
    assert_same_tree(&from.join("lftp"), &site.server.file("lftp"));

    let errands: Vec<_> = names("ftplib", 333)
        .iter()
        .map(|name| format!("put:ftplib/{name}"))
        .collect();
    let answers = ftplib(&site, link.address(), &errands, &from, &from);
    assert_eq!(
        (answers.done.len(), answers.refused),
        (333, 0),
        "done and refused"
    );
    assert_same_tree(&from.join("ftplib"), &site.server.file("ftplib"));

    assert!(
        link.connections() > 1000,
        "data connections went another way: {}",
        link.connections()
    );
}

/// The link has the server's port on another loopback address, so that data connections go over it too.
fn behind_a_slow_link() -> (Site, SlowLink) {
    for _ in 0..5 {
        let site = Site::start_with(Wire::Explicit13, Mode::Epsv, &["--data-ports", "control"]);
        let from = SocketAddr::from(([127, 0, 0, 2], site.address().port()));
        if let Ok(link) = SlowLink::start(from, site.address(), Duration::from_millis(4), 8 << 20) {
            return (site, link);
        }
    }
    panic!("no port that is free on 127.0.0.1 and 127.0.0.2");
}
