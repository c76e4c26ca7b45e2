//! Through somebody else's TURN server, which may cut streams: what looks complete is complete.
#![allow(clippy::unwrap_used, reason = "test code: a panic is its report")]

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use pasarela_lab::lab;
use pasarela_testkit::lab::{Lab, Role, TURN_ACCOUNT};
use pasarela_testkit::{PASSWORD, Pasarela, USER, make_file, run_within, sha256};

const PATIENCE: Duration = Duration::from_secs(40);
const ROUNDS: u64 = 10;

/// Whether curl says that it has done it.
fn curl(lab: &Lab, there: SocketAddr, name: &str, how: &[&str], local: &Path) -> bool {
    let mut curl = lab.command(Role::Client, "curl");
    curl.args(["-q", "-sS", "--ssl-reqd", "-k", "--connect-timeout", "15"])
        .args(["-u", &format!("{USER}:{PASSWORD}")])
        .args(how)
        .arg(local)
        .arg(format!("ftp://{there}/{name}"))
        .stdin(Stdio::null());
    let ended = run_within(&mut curl, PATIENCE);
    if !ended.success() {
        eprintln!("{name}: {}", String::from_utf8_lossy(&ended.stderr).trim());
    }
    ended.success()
}

/// coturn ends its streams with a reset and drops what is still on its way. TLS tells the end of data from a cut, so a
/// transfer through it is whole or has failed for both sides.
#[test]
fn coturn_never_makes_half_a_file_look_whole() {
    let Some(lab) = lab("cgnat") else { return };
    let turn = format!("turn:{TURN_ACCOUNT}:{TURN_ACCOUNT}@{}", lab.addresses().turn_open);
    let server = Pasarela::setup()
        .listen("[::]:21")
        .under(lab.prefix(Role::Server))
        .arguments(["--turn", &turn])
        .start();
    let there = server
        .wait_for_log(PATIENCE, |line| {
            let endpoint = line
                .split_whitespace()
                .find_map(|word| word.strip_prefix("endpoint="))?;
            line.contains("via=relayed").then(|| endpoint.parse().ok())?
        })
        .unwrap_or_else(|| panic!("{}", server.log()));
    let home = tempfile::tempdir().unwrap();
    let mut complete = 0;
    for round in 0..ROUNDS {
        let size = if round == 0 { 0 } else { 1 << (2 * round + 4) };
        let (down, up) = (format!("down-{round}"), format!("up-{round}"));
        make_file(&server.file(&down), round, size);
        let fetched = home.path().join(&down);
        if curl(&lab, there, &down, &["-o"], &fetched) {
            complete += 1;
            let (expected, found) = (
                sha256(&server.file(&down)),
                fetched.is_file().then(|| sha256(&fetched)),
            );
            // curl makes no file of a transfer without a byte.
            assert!(
                found.map_or(size == 0, |found| found == expected),
                "{down} of {size} bytes"
            );
        }
        let sent = home.path().join(&up);
        make_file(&sent, 100 + round, size);
        let told = curl(&lab, there, &up, &["-T"], &sent);
        let stands = server.file(&up).is_file();
        complete += u64::from(told);
        assert!(stands || !told, "{up} of {size} bytes is not there");
        if stands {
            assert_eq!(sha256(&sent), sha256(&server.file(&up)), "{up} of {size} bytes");
        }
    }
    eprintln!(
        "{complete} of {} transfers through coturn were complete",
        2 * ROUNDS
    );
    assert!(complete > 0, "{}", server.log());
}
