//! The verdict: by which way this machine can be reached from outside, or why by none.

use pasarela_reach::{Doubt, Filtering, Outcome, Proof, Report, Rung, Situation, Via};

use super::{Facts, with_hint};
use crate::Finding;
use crate::advice::network as kinds;

/// What the relays that were named came to.
pub(super) fn relay(facts: &Facts) -> Vec<Finding> {
    if facts.plan.turn.is_empty() {
        let finding = match facts.running.is_empty() {
            true => with_hint(Finding::new(
                &kinds::RELAY_NOT_ASKED,
                "no relay was asked, as none was named",
            )),
            false => Finding::new(
                &kinds::RELAY_NOT_ASKED,
                "no relay was asked: the server that runs here has its address",
            )
            .evidence("it keeps what its relay lends"),
        };
        return vec![finding];
    }
    let told = |rung: &Rung| match &rung.outcome {
        Outcome::Verified { endpoint, .. } | Outcome::Unproven { endpoint, .. } => Some(
            Finding::new(
                &kinds::RELAY_LENDS,
                format!("the relay {} lends the address {endpoint}", rung.how),
            )
            .evidence(format!("it answered in {} ms", rung.took.as_millis())),
        ),
        Outcome::Refused { reason } => Some(
            Finding::new(
                &kinds::RELAY_REFUSED,
                format!("the relay {} lends nothing", rung.how),
            )
            .evidence(reason.to_string()),
        ),
        Outcome::Skipped { .. } => None,
    };
    facts.rungs(Via::Relayed).filter_map(told).collect()
}

/// Whether this machine can be a server to the outside.
pub(super) fn host(facts: &Facts) -> Vec<Finding> {
    let ladder = &facts.ladder;
    if ladder.situation.contains(&Situation::Offline) {
        return Vec::new();
    }
    // What runs knows best.
    if let Some((url, _)) = facts.running.iter().find(|(_, verified)| *verified) {
        let says = format!("the server that runs here can be reached from outside at {url}");
        return vec![Finding::new(&kinds::REACHABLE, says).evidence("the server's own word")];
    }
    vec![match best(ladder).map(|rung| (rung, &rung.outcome)) {
        Some((rung, Outcome::Verified { endpoint, proof })) => {
            let says = format!(
                "this machine can be reached from outside at {endpoint}: {}",
                proof_words(*proof)
            );
            Finding::new(&kinds::REACHABLE, says).evidence(format!("{}, {}", rung.via, rung.how))
        }
        Some((rung, Outcome::Unproven { endpoint, doubt })) => Finding::new(
            &kinds::REACHABLE_UNPROVEN,
            format!(
                "nothing proves that {endpoint} can be reached from outside: {}",
                doubt_words(*doubt)
            ),
        )
        .evidence(format!("{}, {}", rung.via, rung.how)),
        _ => {
            let (why, advice) = missing(ladder);
            let advice = match facts.plan.rungs.contains(&Via::Mapped) {
                true => advice.to_owned(),
                false => format!("let the router be asked (--reach auto); {advice}"),
            };
            let says = format!("this machine cannot host without a relay: {why}");
            let finding = Finding::new(&kinds::UNREACHABLE, says)
                .advice(advice)
                .all_evidence(tried(ladder));
            // A forward may have been made that nobody told of; not at a carrier's NAT.
            match ladder.situation.contains(&Situation::CarrierNat) {
                true => finding,
                false => finding.likely(),
            }
        }
    }]
}

/// The best that stands, without a port that the NAT is seen to keep shut for strangers.
pub(crate) fn best(ladder: &Report) -> Option<&Rung> {
    let is_shut = |rung: &Rung| {
        rung.via == Via::Punched
            && !rung.outcome.is_verified()
            && ladder.view.filtering == Some(Filtering::Closed)
    };
    match ladder.best() {
        Some(rung) if is_shut(rung) => {
            let mut rest = ladder.clone();
            rest.rungs.retain(|rung| !is_shut(rung));
            let (via, endpoint) = rest.best().map(|rung| (rung.via, rung.outcome.endpoint()))?;
            let mut rungs = ladder.rungs.iter();
            rungs.find(|rung| rung.via == via && rung.outcome.endpoint() == endpoint)
        }
        best => best,
    }
}

/// Every way that was tried and does not hold.
pub(crate) fn tried(ladder: &Report) -> impl Iterator<Item = String> {
    ladder.rungs.iter().filter_map(|rung| match &rung.outcome {
        Outcome::Refused { reason } if rung.asked.is_some() => Some(format!("{}, {reason}", rung.via)),
        Outcome::Refused { reason } => Some(format!("{}: {reason}", rung.via)),
        Outcome::Unproven { .. } if rung.via == Via::Punched => Some(format!(
            "{}: the NAT lets in only those who were sent to",
            rung.via
        )),
        _ => None,
    })
}

/// Why nothing leads to this machine, and what to do.
pub(crate) fn missing(ladder: &Report) -> (&'static str, &'static str) {
    let is = |situation: Situation| ladder.situation.contains(&situation);
    if is(Situation::CarrierNat) {
        return (
            "a carrier's NAT stands before it, where nobody but the carrier opens a port",
            "ask the carrier for a public IPv4 address, let clients come by IPv6, or use a relay: --relay HOST",
        );
    }
    if is(Situation::DoubleNat) {
        return (
            "two routers stand before it, and the port is not opened on both",
            "put the first router into bridge mode, or forward the port on both routers and say so with \
             --public-address HOST; else use a relay: --relay HOST",
        );
    }
    if is(Situation::ForwardMissing) {
        return (
            "no port of the router leads to it",
            "switch UPnP or NAT-PMP on in the router, or forward the port there to this machine and say so with \
             --public-address HOST; else use a relay: --relay HOST",
        );
    }
    if is(Situation::Public) {
        return (
            "its address is public, but a firewall keeps connections out",
            "open the port in this machine's firewall and in the provider's, or use a relay: --relay HOST",
        );
    }
    (
        "nothing that was asked leads to it",
        "name a STUN server, so that the public address is known (--stun HOST), forward the port on the router and say so \
         with --public-address HOST, or use a relay: --relay HOST",
    )
}

/// How it is known that an endpoint stands.
#[must_use]
pub fn proof_words(proof: Proof) -> &'static str {
    match proof {
        Proof::DialBack => "a relay of yours connected to it from outside",
        Proof::PeersCame => "peers from outside have come there",
        Proof::OwnDial => "dialled from here, the router led back to this machine",
        Proof::RouterAndStun => "the router forwards it, and the Internet sees the router's address",
        Proof::Router => "the router says that it lets connections through",
        Proof::OwnAddressSeen => {
            "the Internet sees this machine's own address, as far as no firewall stands before it"
        }
        Proof::Relay => "a relay lends it",
    }
}

/// What is not known of an endpoint that may stand.
pub(crate) fn doubt_words(doubt: Doubt) -> &'static str {
    match doubt {
        Doubt::Firewall => "whether a firewall stands before it cannot be seen from here",
        Doubt::Forward => "whether the router forwards it cannot be seen from here",
        Doubt::Filtering => "whether the NAT lets strangers in over TCP cannot be seen from here",
        Doubt::OperatorsWord => {
            "whether the address or name that was given is right cannot be seen from here"
        }
        Doubt::InnerForward => {
            "whether the first router forwards what the second one maps cannot be seen from here"
        }
    }
}
