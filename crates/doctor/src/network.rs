//! This machine's network: what the ladder, the routers and the STUN servers that were named say of it, in words.

mod addresses;
mod contradictions;
mod datagrams;
mod nat;
mod routers;
#[cfg(test)]
mod tests;
mod verdict;

use std::net::IpAddr;

use pasarela_reach as reach;
use pasarela_reach::stun::Dependence;
use pasarela_reach::survey::{Class, Links};
use pasarela_reach::{Filtering, Outcome, Plan, Reason, Router, Rung, Via};

use crate::Finding;
use crate::climb::Climb;
use crate::report::Report;
pub(crate) use contradictions::contradictions;
pub use datagrams::{Datagrams, Sight};
pub use verdict::proof_words;
pub(crate) use verdict::{best, doubt_words, missing, tried};

/// What was found out about this machine's network.
#[derive(Debug)]
pub struct Facts {
    /// Its addresses and routers.
    pub links: Links,
    /// What was named and allowed.
    pub plan: Plan,
    /// What climbing the ladder came to.
    pub ladder: reach::Report,
    /// What STUN servers said over UDP.
    pub datagrams: Datagrams,
    /// How a running server says that it is reached: URLs, and whether each is verified. It keeps the relays that were
    /// named to itself.
    pub running: Vec<(String, bool)>,
}

/// Waits for the first port of a climb and asks the STUN servers over UDP meanwhile. Takes 20 s at most; nothing is sent
/// to a server that the plan does not name.
pub async fn look(climb: &Climb) -> Option<Facts> {
    let links = Links::read().await.unwrap_or_default();
    let (ladders, datagrams) = settled(climb, &links).await;
    Some(Facts {
        links,
        plan: climb.reach().plan().clone(),
        ladder: ladders.into_iter().next()?,
        datagrams,
        running: Vec::new(),
    })
}

/// The ladders of all ports of a climb, as they settle within 20 s.
pub async fn ladders(climb: &Climb) -> Vec<reach::Report> {
    let links = Links::read().await.unwrap_or_default();
    settled(climb, &links).await.0
}

/// The ladder asks for the kind of NAT too; of two askers, one may lose a packet.
async fn settled(climb: &Climb, links: &Links) -> (Vec<reach::Report>, Datagrams) {
    let settled = async {
        climb.settled().await;
        climb.reports()
    };
    let (mut ladders, datagrams) = tokio::join!(settled, Datagrams::ask(&climb.reach().plan().stun, links));
    if let Some(behaviour) = &datagrams.behaviour {
        let filtering = match behaviour.filtering {
            Dependence::EndpointIndependent => Filtering::Open,
            _ => Filtering::Closed,
        };
        for ladder in &mut ladders {
            ladder.view.filtering.get_or_insert(filtering);
        }
    }
    (ladders, datagrams)
}

/// Puts the facts into words.
pub fn tell(facts: &Facts, report: &mut Report) {
    facts.measured(report);
    if let [(url, _), ..] = &facts.running[..] {
        let lines = facts.running.iter().map(|(url, verified)| {
            format!(
                "{url} ({})",
                if *verified {
                    "verified"
                } else {
                    "not proved from outside"
                }
            )
        });
        let says = format!("a server runs here and says that it is reached at {url}");
        report.add(Finding::new(&crate::advice::network::SERVER_RUNNING, says).all_evidence(lines));
    }
    let findings = [
        addresses::ipv4(facts),
        routers::mappings(facts),
        routers::beyond(facts),
        nat::stun(facts),
        nat::kind(facts),
        addresses::ipv6(facts),
        verdict::relay(facts),
        contradictions(
            &facts.ladder,
            &crate::advice::network::PUBLIC_ADDRESS_DIFFERS,
            &crate::advice::network::CLOSED_FROM_OUTSIDE,
        ),
        verdict::host(facts),
    ];
    for finding in findings.into_iter().flatten() {
        report.add(finding);
    }
}

impl Facts {
    fn measured(&self, report: &mut Report) {
        let view = &self.ladder.view;
        let text = |value: &dyn std::fmt::Display| value.to_string();
        let addresses: Vec<String> = self.interfaces();
        report.fact("network.interfaces", addresses);
        if let Some(own) = &view.source_v4 {
            report.fact("network.ipv4", text(own));
        }
        if let Some(own) = &view.source_v6 {
            report.fact("network.ipv6", text(own));
        }
        if let Some(gateway) = &view.gateway_v4 {
            report.fact("network.gateway_ipv4", text(gateway));
        }
        if let Some(gateway) = &view.gateway_v6 {
            report.fact("network.gateway_ipv6", text(gateway));
        }
        if let Some(seen) = &view.seen_v4 {
            report.fact("network.seen_ipv4", text(seen));
        }
        report.fact(
            "network.private_hops",
            view.hops.iter().map(ToString::to_string).collect::<Vec<_>>(),
        );
        if let Some(behaviour) = &self.datagrams.behaviour {
            report.fact("network.nat_mapping", nat::dependence_word(behaviour.mapping));
            report.fact("network.nat_filtering", nat::dependence_word(behaviour.filtering));
        }
    }

    /// `eth0 192.168.1.10/24`, of all interfaces but loopback; of many the first ones.
    fn interfaces(&self) -> Vec<String> {
        /// Machines with containers have an interface for each.
        const MOST: usize = 8;
        let all = self.links.addresses.iter();
        // Link-local addresses of IPv6 are everywhere.
        let mut told: Vec<String> = all
            .filter(|local| !matches!(Class::of(local.address), Class::Loopback))
            .filter(|local| !(local.address.is_ipv6() && Class::of(local.address) == Class::LinkLocal))
            .map(|local| format!("{} {}/{}", local.interface, local.address, local.prefix))
            .collect();
        let more = told.len().saturating_sub(MOST);
        told.truncate(MOST);
        told.extend((more > 0).then(|| format!("and {more} more")));
        told
    }

    /// Whether this machine's own IPv4 address is public and the Internet sees no other one.
    fn is_public(&self) -> bool {
        let view = &self.ladder.view;
        view.source_v4.is_some_and(|own| {
            Class::of(own.into()).is_public() && view.seen_v4.is_none_or(|seen| seen == IpAddr::from(own))
        })
    }

    fn rungs(&self, via: Via) -> impl Iterator<Item = &Rung> {
        self.ladder.rungs.iter().filter(move |rung| rung.via == via)
    }

    /// The rungs of mappings at one router.
    fn asked(&self, at: Router) -> impl Iterator<Item = &Rung> {
        self.ladder
            .rungs
            .iter()
            .filter(move |rung| rung.asked.is_some_and(|(router, _)| router == at))
    }

    /// Whether some way is known to stand.
    fn is_reached(&self) -> bool {
        self.ladder.rungs.iter().any(|rung| rung.outcome.is_verified())
    }
}

/// Why a rung does not stand, if it was tried.
fn refusal(rung: &Rung) -> Option<&Reason> {
    match &rung.outcome {
        Outcome::Refused { reason } => Some(reason),
        _ => None,
    }
}

/// A note with what to do as evidence, as texts show no advice for what is not wrong.
fn with_hint(note: Finding) -> Finding {
    let hint = note.advice.clone();
    note.all_evidence(hint)
}
