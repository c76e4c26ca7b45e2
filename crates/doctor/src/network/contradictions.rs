//! What was said to lead here and does not: by a relay that tried, and by what the Internet sees.

use std::net::IpAddr;

use pasarela_reach::{Outcome, Reason, Report, Rung, Via};

use crate::{Finding, Kind};

/// A finding of the kind `differs` where the operator's word is another address than the Internet sees, and one of the
/// kind `closed` for each IPv4 address where a relay found nobody. A NAT that was never asked to let strangers in
/// contradicts nobody.
pub(crate) fn contradictions(ladder: &Report, differs: &'static Kind, closed: &'static Kind) -> Vec<Finding> {
    let seen = ladder.view.seen_v4;
    let mut findings = Vec::new();
    for rung in &ladder.rungs {
        match &rung.outcome {
            Outcome::Unproven { endpoint, .. } if rung.via == Via::Fixed => {
                let named: IpAddr = endpoint.ip();
                if let Some(seen) = seen.filter(|seen| *seen != named && named.is_ipv4()) {
                    let says =
                        format!("the public address is said to be {named}, but the Internet sees {seen}");
                    findings.push(Finding::new(differs, says).evidence(format!("{}: {endpoint}", rung.how)));
                }
            }
            Outcome::Refused {
                reason: Reason::DialledBack(endpoint, how),
            } if endpoint.is_ipv4() && rung.via != Via::Punched => {
                let says = format!("a relay could not connect to {endpoint}: {how}");
                findings.push(
                    Finding::new(closed, says)
                        .evidence(rung.via.to_string())
                        .advice(remedy(rung)),
                );
            }
            _ => {}
        }
    }
    findings
}

/// What to do where nobody outside gets in.
fn remedy(rung: &Rung) -> &'static str {
    match rung.via {
        Via::Direct => {
            "open the port in this machine's firewall (`pasarela doctor --server CONFIG` prints nftables rules) and in the \
             provider's"
        }
        Via::Mapped => {
            "the router says that it forwards the port: open it in this machine's firewall, and see whether the router \
             stands behind another one"
        }
        _ => {
            "see whether the router forwards the port to this machine's address, and open it in this machine's firewall"
        }
    }
}
