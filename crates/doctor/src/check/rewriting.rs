//! What was sent against what arrives: whether somebody on the way rewrites FTP that it can read (an ALG).
//!
//! A server of ours repeats in its STAT what it has announced and what it was told, in words that no gateway looks at.
//! With any other server, what it announces in clear is held against what it announces under TLS.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use pasarela_client::Failure;
use pasarela_client::probe::Probe;
use pasarela_ftp_proto::user_pi::Form;

use crate::advice::server as kinds;
use crate::examination::Visit;
use crate::finding::Finding;
use crate::report::Report;

/// After a visit that worked; `announced`: the address of its 227, where that was protected.
pub(crate) async fn check(visit: &Visit<'_>, announced: Option<Ipv4Addr>, report: &mut Report) {
    if !visit.examination.may_be_clear() || !visit.to.is_ipv4() {
        return;
    }
    // A server that wants no login in clear has nothing that could be rewritten.
    let Ok(mut probe) = visit.session(true).await else {
        return;
    };
    if let Ok(findings) = compare(&mut probe, announced).await {
        let is_clean = findings.is_empty();
        for finding in findings {
            report.add(finding);
        }
        report.fact("rewriting.found", !is_clean);
    }
    probe.quit().await;
}

async fn compare(probe: &mut Probe, under_tls: Option<Ipv4Addr>) -> Result<Vec<Finding>, Failure> {
    let mut findings = Vec::new();
    let asked = probe.passive(Form::Plain).await?;
    let reply = probe.heard().unwrap_or_default().to_owned();
    let status = probe.command("STAT", b"").await?;
    if let Some(arrived) = asked.ok().and_then(|endpoint| endpoint.told) {
        let sent = status
            .lines
            .iter()
            .find_map(|line| passive_in(line))
            .or(under_tls);
        if let Some(sent) = sent.filter(|sent| *sent != arrived) {
            let says = format!(
                "the server announces {sent}, and {arrived} arrives: somebody on the way rewrites it"
            );
            findings.push(
                Finding::new(&kinds::REWRITING_PASSIVE, says)
                    .evidence(format!("in clear: {reply}"))
                    .evidence(format!("by STAT, or under TLS: {sent}")),
            );
        }
    }
    // Only a server that repeats what it was told can show that; nothing is sent to that port.
    let IpAddr::V4(local) = probe.local().ip() else {
        return Ok(findings);
    };
    let [a, b, c, d] = local.octets();
    let port = probe.local().port();
    let [high, low] = port.to_be_bytes();
    let argument = format!("{a},{b},{c},{d},{high},{low}");
    let taken = probe.command("PORT", argument.as_bytes()).await?;
    let status = probe.command("STAT", b"").await?;
    if let Some(arrived) = status
        .lines
        .iter()
        .find_map(|line| active_in(line))
        .filter(|_| taken.is_done())
        && arrived != SocketAddr::new(local.into(), port)
    {
        let says = format!(
            "PORT names {local} port {port} here, and {} port {} arrives",
            arrived.ip(),
            arrived.port()
        );
        findings.push(Finding::new(&kinds::REWRITING_ACTIVE, says).evidence(format!("> PORT {argument}")));
    }
    // The endpoint is not to be used.
    probe.command("ABOR", b"").await?;
    Ok(findings)
}

/// The address of "A data endpoint is open: ADDRESS port NUMBER".
fn passive_in(line: &[u8]) -> Option<Ipv4Addr> {
    let (_, behind) = std::str::from_utf8(line).ok()?.split_once("endpoint is open: ")?;
    behind.split_once(" port ")?.0.parse().ok()
}

/// The address of "Data connections go to ADDRESS port NUMBER".
fn active_in(line: &[u8]) -> Option<SocketAddr> {
    let (_, behind) = std::str::from_utf8(line)
        .ok()?
        .split_once("Data connections go to ")?;
    let (address, port) = behind.split_once(" port ")?;
    Some(SocketAddr::new(address.parse().ok()?, port.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_of_ours_repeats_is_read() {
        let address = "11.9.0.20".parse().unwrap();
        assert_eq!(
            passive_in(b"A data endpoint is open: 11.9.0.20 port 50000"),
            Some(address)
        );
        assert_eq!(passive_in(b"A data endpoint is open: port 50000"), None);
        assert_eq!(
            active_in(b"Data connections go to 11.9.0.20 port 40000"),
            Some(SocketAddr::new(address.into(), 40000))
        );
        assert_eq!(active_in(b"No data connection"), None);
    }
}
