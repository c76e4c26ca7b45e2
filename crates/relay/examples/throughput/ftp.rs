//! Files over FTP, plain and with TLS: curl and `pasarela serve`, whose own address and the relay's lead to the same files.

use std::fs::{File, remove_file};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::client::PASSWORD;
use crate::process::{Relay, folder};
use crate::{Bench, Direction};

pub(crate) fn measure(bench: &Bench, relays: &[Relay]) {
    if Command::new("curl").arg("-V").output().is_err() {
        println!("curl is not installed");
        return;
    }
    let servers: Vec<_> = relays.iter().map(|relay| relay.server(&bench.pasarela)).collect();
    let home = folder();
    let file = home.path().join("file");
    make(&file, bench.mib);
    for server in &servers {
        std::fs::hard_link(&file, server.root.join("down")).unwrap();
    }
    for (what, security, direction) in [
        ("FTP down", None, Direction::Down),
        ("FTP up", None, Direction::Up),
        ("FTPS down", Some("--ssl-reqd"), Direction::Down),
        ("FTPS up", Some("--ssl-reqd"), Direction::Up),
    ] {
        bench.rounds(what, relays, None, |way| {
            let server = &servers[way.saturating_sub(1)];
            let there = if way == 0 { server.direct } else { server.relayed };
            let mut curl = curl();
            curl.args(security);
            match direction {
                Direction::Down => curl.arg(url(there, "down")).args(["-o", "/dev/null"]),
                Direction::Up => curl.arg("-T").arg(&file).arg(url(there, "up")),
            };
            let seconds = seconds(&mut curl);
            let _ = remove_file(server.root.join("up"));
            seconds
        });
    }
}

fn make(path: &Path, mib: u64) {
    let mut file = File::create(path).unwrap();
    for number in 0..mib {
        file.write_all(&crate::client::bytes(number, 1024 * 1024))
            .unwrap();
    }
}

fn url(there: SocketAddr, name: &str) -> String {
    format!("ftp://{there}/{name}")
}

fn curl() -> Command {
    let mut curl = Command::new("curl");
    curl.args(["-q", "-sS", "-k", "--max-time", "120"]);
    curl.args(["-u", &format!("anna:{PASSWORD}")]);
    // Login is not what is measured.
    curl.args(["-w", "%{stderr}%{time_pretransfer} %{time_total}"]);
    curl
}

/// `None` when the transfer failed, which is no matter here: through coturn uploads lose their end, and a server refuses
/// to send unprotected data that way.
fn seconds(curl: &mut Command) -> Option<f64> {
    let ended = curl.output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    let (before, total) = said.trim().split_once(' ')?;
    let seconds = total.parse::<f64>().ok()? - before.parse::<f64>().ok()?;
    ended.status.success().then_some(seconds)
}
