//! What the server says that it can do, and how it sees this machine.

use std::net::SocketAddr;

use pasarela_client::probe::Probe;

use crate::advice::server as kinds;
use crate::examination::broke;
use crate::finding::Finding;
use crate::report::Report;

/// What clients of today use, and what it is good for.
const USED: &[(&str, &str)] = &[
    ("MLST", "listings that programs can read"),
    ("SIZE", "lengths of files"),
    ("MDTM", "times of files"),
    ("REST", "transfers that go on where they broke"),
    ("UTF8", "names in all scripts"),
    ("EPSV", "passive mode over IPv6"),
];

/// FEAT and STAT; `None`: the connection broke.
pub(crate) async fn check(probe: &mut Probe, report: &mut Report) -> Option<()> {
    let features = match probe.survey().await {
        Ok(features) => features,
        Err(failure) => {
            report.add(broke(&failure, probe));
            return None;
        }
    };
    let missing: Vec<_> = USED.iter().filter(|(name, _)| !features.has(name)).collect();
    let named: Vec<_> = USED
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| features.has(name))
        .collect();
    report.fact(
        "features.missing",
        missing.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
    );
    if missing.is_empty() {
        report.add(
            Finding::new(&kinds::FEATURES_LISTED, "the server has all that clients use")
                .evidence(named.join(" ")),
        );
    } else {
        let names: Vec<_> = missing.iter().map(|(name, _)| *name).collect();
        report.add(
            Finding::new(
                &kinds::FEATURES_MISSING,
                format!("the server does not say that it has {}", names.join(", ")),
            )
            .all_evidence(missing.iter().map(|(name, use_)| format!("{name}: {use_}"))),
        );
    }
    // A server that has no usable STAT has nothing to tell by it; what comes next goes on with another connection.
    if let Ok(reply) = probe.command("STAT", b"").await {
        let seen = reply.lines.iter().find_map(|line| seen_as(line));
        let here = probe.local().ip();
        if let Some(seen) = seen.filter(|seen| seen.ip() != here) {
            let says = format!(
                "the server sees this machine as {}, and here it is {here}",
                seen.ip()
            );
            report.add(Finding::new(&kinds::FEATURES_SEES, says));
        }
    }
    Some(())
}

/// The peer's address in a line of STAT, as our own server and some others have it: "Connected from ADDRESS".
fn seen_as(line: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(line).ok()?;
    let (_, behind) = text
        .split_once("Connected from ")
        .or_else(|| text.split_once("Connected to "))?;
    let word = behind.split_whitespace().next()?.trim_end_matches('.');
    let address: Option<SocketAddr> = word.parse().ok();
    address
        .or_else(|| Some(SocketAddr::new(word.parse().ok()?, 0)))
        .map(|mut address| {
            address.set_ip(address.ip().to_canonical());
            address
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_that_a_server_sees_is_read_from_stat() {
        for (line, address) in [
            ("Connected from 192.0.2.7:40000", Some("192.0.2.7")),
            ("Connected from [::ffff:192.0.2.7]:40000", Some("192.0.2.7")),
            ("     Connected to ::ffff:192.0.2.7", Some("192.0.2.7")),
            ("     Connected to client.example", None),
            ("Logged in as anna", None),
        ] {
            let found = seen_as(line.as_bytes()).map(|seen| seen.ip().to_string());
            assert_eq!(found.as_deref(), address, "{line}");
        }
    }
}
