//! This machine's own addresses in words: what each family is good for.

use std::net::IpAddr;

use pasarela_reach::survey::Class;
use pasarela_reach::{Outcome, Proof, Reason, Router, Via};

use super::routers::answered;
use super::{Facts, refusal};
use crate::Finding;
use crate::advice::network as kinds;

/// IPv4, and whether there is a way out at all.
pub(super) fn ipv4(facts: &Facts) -> Vec<Finding> {
    let view = &facts.ladder.view;
    let interfaces = || facts.interfaces();
    let Some(own) = view.source_v4 else {
        return vec![match view.source_v6 {
            None => Finding::new(
                &kinds::NO_DEFAULT_ROUTE,
                "this machine has no way out: there is no default route",
            )
            .all_evidence(interfaces()),
            Some(_) => Finding::new(
                &kinds::IPV4_ABSENT,
                "this machine has no way out by IPv4: only clients with IPv6 can come to it",
            )
            .all_evidence(interfaces()),
        }];
    };
    let class = Class::of(own.into());
    let finding = match (class, view.seen_v4) {
        (Class::Global, Some(seen)) if seen != IpAddr::from(own) => Finding::new(
            &kinds::ADDRESS_TRANSLATED,
            format!("this machine's address {own} looks public, but the Internet sees {seen}"),
        ),
        (Class::Global, _) => Finding::new(
            &kinds::ADDRESS_PUBLIC,
            format!("this machine has the public IPv4 address {own}"),
        ),
        (Class::Private, _) => Finding::new(
            &kinds::ADDRESS_PRIVATE,
            format!("this machine's address {own} is private: a NAT stands between it and the Internet"),
        ),
        _ if Class::is_carriers(own.into()) => Finding::new(
            &kinds::ADDRESS_CARRIER,
            format!("this machine's address {own} is from a carrier's NAT"),
        ),
        (class, _) => Finding::new(
            &kinds::ADDRESS_UNUSABLE,
            format!("this machine's address {own} is {class}: nobody beyond this network can use it"),
        ),
    };
    let gateway = view.gateway_v4.map(|gateway| format!("default router {gateway}"));
    vec![finding.all_evidence(interfaces().into_iter().chain(gateway))]
}

/// IPv6: the address, and the firewall before it.
pub(super) fn ipv6(facts: &Facts) -> Vec<Finding> {
    let Some(own) = facts.ladder.view.source_v6 else {
        return vec![
            Finding::new(&kinds::IPV6_ABSENT, "this machine has no global IPv6 address")
                .evidence("packets to the Internet leave from no address of 2000::/3"),
        ];
    };
    let direct = facts
        .rungs(Via::Direct)
        .find(|rung| rung.outcome.endpoint().is_some_and(|endpoint| endpoint.is_ipv6()));
    if direct.is_some_and(|rung| rung.outcome.has_proof(Proof::DialBack)) {
        let says = format!("a relay of yours could connect to this machine's IPv6 address {own}");
        let endpoint = direct.and_then(|rung| rung.outcome.endpoint());
        return vec![Finding::new(&kinds::IPV6_OPEN, says).all_evidence(endpoint.map(|e| e.to_string()))];
    }
    let router = facts
        .ladder
        .view
        .gateway_v6
        .map(|gateway| format!("default router {gateway}"));
    for rung in facts.asked(Router::Ipv6) {
        if let (Outcome::Verified { endpoint, .. }, Some((_, protocol))) = (&rung.outcome, rung.asked) {
            let says = format!(
                "the router opens its IPv6 firewall on request, by {protocol}: {endpoint} leads here"
            );
            return vec![
                Finding::new(&kinds::IPV6_PINHOLE, says)
                    .all_evidence(router)
                    .evidence(answered(rung)),
            ];
        }
    }
    let closed = facts
        .rungs(Via::Direct)
        .filter_map(refusal)
        .find_map(|reason| match reason {
            Reason::DialledBack(endpoint, how) if endpoint.is_ipv6() => Some(format!("{endpoint}: {how}")),
            _ => None,
        });
    let asked = facts
        .asked(Router::Ipv6)
        .filter_map(|rung| Some(format!("{}: {}", rung.how, said(refusal(rung)?))));
    let finding = match closed {
        Some(line) => Finding::new(
            &kinds::IPV6_CLOSED,
            format!("nobody outside could connect to this machine's IPv6 address {own}"),
        )
        .evidence(line),
        None => Finding::new(
            &kinds::IPV6_FIREWALL_UNKNOWN,
            format!(
                "this machine has the IPv6 address {own}; whether a firewall stands before it cannot be seen from here"
            ),
        ),
    };
    let is_asked = facts.asked(Router::Ipv6).next().is_some();
    let unasked = (!is_asked).then(|| "no router was asked to let connections through".to_owned());
    vec![finding.all_evidence(router.into_iter().chain(asked).chain(unasked))]
}

/// A reason without the protocol's name, which stands before it already.
pub(super) fn said(reason: &Reason) -> String {
    match reason {
        Reason::Router { why, .. } => why.to_string(),
        other => other.to_string(),
    }
}
