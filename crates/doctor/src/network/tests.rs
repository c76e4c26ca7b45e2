//! The words for networks that no test has at hand.

use std::net::SocketAddr;
use std::time::Duration;

use pasarela_reach::router::{Protocol, Refusal};
use pasarela_reach::stun::{Behaviour, Dependence};
use pasarela_reach::survey::LocalAddress;
use pasarela_reach::{Doubt, NetView, Proof, Situation};

use super::*;
use crate::{Certainty, Severity};

/// A home network with a private address whose router was not asked yet.
fn home() -> Facts {
    let own = "192.168.1.5".parse().unwrap();
    let gateway = Some("192.168.1.1".parse().unwrap());
    Facts {
        links: Links {
            addresses: vec![LocalAddress {
                interface: "eth0".into(),
                index: 2,
                address: IpAddr::V4(own),
                prefix: 24,
            }],
            gateway_v4: gateway,
            source_v4: Some(own),
            ..Links::default()
        },
        plan: Plan {
            rungs: Via::ALL.into_iter().collect(),
            stun: vec!["stun.example:3478".into()],
            ..Plan::default()
        },
        ladder: reach::Report {
            port: 2121,
            scheme: Some("ftp"),
            rungs: Vec::new(),
            situation: vec![Situation::ForwardMissing],
            view: NetView {
                source_v4: Some(own),
                gateway_v4: gateway,
                seen_v4: Some(ip("5.6.7.8")),
                ..NetView::default()
            },
            settled: true,
        },
        datagrams: Datagrams {
            sights: vec![sight(Ok("5.6.7.8:40000".parse().unwrap()))],
            behaviour: None,
        },
        running: Vec::new(),
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn sight(seen: Result<SocketAddr, std::io::ErrorKind>) -> Sight {
    Sight {
        server: "stun.example:3478".into(),
        seen,
    }
}

fn rung(via: Via, outcome: Outcome) -> Rung {
    Rung {
        via,
        how: "here".into(),
        asked: None,
        outcome,
        took: Duration::ZERO,
    }
}

fn refused(via: Via, reason: Reason) -> Rung {
    rung(via, Outcome::Refused { reason })
}

fn verified(via: Via, endpoint: &str, proof: Proof) -> Rung {
    let endpoint = endpoint.parse().unwrap();
    rung(via, Outcome::Verified { endpoint, proof })
}

fn unproven(via: Via, endpoint: &str, doubt: Doubt) -> Rung {
    let endpoint = endpoint.parse().unwrap();
    rung(via, Outcome::Unproven { endpoint, doubt })
}

/// A rung of the own router.
fn asked(protocol: Protocol, why: Refusal) -> Rung {
    Rung {
        how: protocol.to_string(),
        asked: Some((Router::Own, protocol)),
        ..refused(Via::Mapped, Reason::Router { protocol, why })
    }
}

fn told(facts: &Facts) -> Report {
    let mut report = Report::new("this machine's network");
    tell(facts, &mut report);
    for finding in &report.findings {
        // Some cases here have no ladder that would be the verdict's evidence.
        let lacks_ladder = finding.kind.id == "network.unreachable" && facts.ladder.rungs.is_empty();
        assert!(lacks_ladder || !finding.evidence.is_empty(), "{finding:?}");
    }
    report
}

/// The ids of what is told, in order.
fn ids(facts: &Facts) -> Vec<&'static str> {
    told(facts)
        .findings
        .iter()
        .map(|finding| finding.kind.id)
        .collect()
}

#[track_caller]
fn says(facts: &Facts, id: &str) -> String {
    let report = told(facts);
    let found = report.finding(id).map(|finding| finding.says.clone());
    found.unwrap_or_else(|| panic!("no {id}: {}", report.render()))
}

#[test]
fn without_a_route_nothing_else_is_said() {
    let mut facts = home();
    facts.ladder.view = NetView::default();
    facts.ladder.situation = vec![Situation::Offline];
    facts.plan.stun.clear();
    let report = told(&facts);
    let culprit = report.culprit().unwrap();
    assert_eq!(culprit.kind.id, "network.no-default-route");
    assert_eq!(report.exit_code(), 3);
    assert_eq!(report.finding("network.unreachable").map(|f| f.kind.id), None);
}

#[test]
fn each_block_of_addresses_has_its_finding() {
    for (own, seen, id) in [
        ("5.6.7.8", Some("5.6.7.8"), "network.address-public"),
        ("5.6.7.8", None, "network.address-public"),
        ("5.6.7.9", Some("5.6.7.8"), "network.address-translated"),
        ("10.1.2.3", Some("5.6.7.8"), "network.address-private"),
        ("100.64.3.4", Some("5.6.7.8"), "network.address-carrier"),
        ("192.0.0.2", Some("5.6.7.8"), "network.address-carrier"),
        ("169.254.3.4", None, "network.address-unusable"),
    ] {
        let mut facts = home();
        facts.ladder.view.source_v4 = Some(own.parse().unwrap());
        facts.ladder.view.seen_v4 = seen.map(ip);
        assert_eq!(ids(&facts)[0], id, "{own} {seen:?}");
    }
}

#[test]
fn a_carriers_address_is_a_carriers_nat() {
    let mut facts = home();
    facts.ladder.view.source_v4 = Some("100.64.3.4".parse().unwrap());
    facts.ladder.situation = vec![Situation::CarrierNat];
    let report = told(&facts);
    let carrier = report.finding("network.carrier-nat").unwrap();
    assert_eq!(carrier.evidence, ["this machine's own address is 100.64.3.4"]);
    assert_eq!(carrier.severity, Severity::Warning);
    // Nobody can have made a forward there.
    assert_eq!(report.culprit().unwrap().certainty, Certainty::Certain);
}

#[test]
fn another_address_than_the_routers_is_a_second_nat() {
    let differs = Reason::Differs {
        router: ip("5.6.7.1"),
        seen: ip("5.6.7.8"),
    };
    for (reason, id, certainty) in [
        (
            Reason::BehindAnother(ip("192.168.0.2")),
            "network.double-nat",
            Certainty::Certain,
        ),
        (
            Reason::BehindAnother(ip("100.64.0.2")),
            "network.carrier-nat",
            Certainty::Certain,
        ),
        (
            Reason::BehindAnother(ip("192.0.0.2")),
            "network.carrier-nat",
            Certainty::Certain,
        ),
        (differs, "network.double-nat", Certainty::Likely),
    ] {
        let mut facts = home();
        facts.ladder.rungs = vec![Rung {
            asked: Some((Router::Own, Protocol::NatPmp)),
            ..refused(Via::Mapped, reason)
        }];
        // The router does map ports, only to an address that is no use.
        let report = told(&facts);
        assert!(
            report.finding("network.mapping-nat-pmp").is_some(),
            "{}",
            report.render()
        );
        assert_eq!(
            report.finding(id).unwrap().certainty,
            certainty,
            "{}",
            report.render()
        );
    }
}

#[test]
fn routers_that_refuse_differ_from_those_that_are_silent() {
    let silent = [
        asked(Protocol::Pcp, Refusal::NoAnswer),
        asked(Protocol::NatPmp, Refusal::PortUnreachable),
        asked(Protocol::Upnp, Refusal::NoService),
    ];
    let mut facts = home();
    facts.ladder.rungs = silent.to_vec();
    assert_eq!(
        says(&facts, "network.mapping-absent"),
        "the router 192.168.1.1 maps no ports on request"
    );
    facts.ladder.rungs[0] = asked(Protocol::Pcp, Refusal::NotAuthorized);
    let report = told(&facts);
    let finding = report.finding("network.mapping-refused").unwrap();
    assert_eq!(
        finding.evidence,
        [
            "PCP: the router does not allow it",
            "NAT-PMP: the router has no such service",
            "UPnP: the router describes no service that maps ports",
        ]
    );
    facts.ladder.rungs[0] = asked(Protocol::Pcp, Refusal::LowPort);
    assert_eq!(
        says(&facts, "network.mapping-absent"),
        "the router 192.168.1.1 does not map port 2121 on request"
    );
}

#[test]
fn udp_is_blocked_only_where_tcp_gets_through() {
    let mut facts = home();
    facts.datagrams.sights = vec![sight(Err(std::io::ErrorKind::TimedOut))];
    let found = ids(&facts);
    assert!(
        found.contains(&"network.udp-blocked") && found.contains(&"network.nat-unknown"),
        "{found:?}"
    );
    facts.ladder.view.seen_v4 = None;
    facts.ladder.rungs = vec![refused(
        Via::Punched,
        Reason::StunSilent("stun.example:3478".into()),
    )];
    let found = ids(&facts);
    assert!(found.contains(&"network.stun-silent"), "{found:?}");
    assert!(
        !found.contains(&"network.udp-blocked") && !found.contains(&"network.nat-unknown"),
        "{found:?}"
    );
}

#[test]
fn every_kind_of_nat_has_its_finding() {
    use Dependence::{AddressAndPortDependent, AddressDependent, EndpointIndependent};
    for (mapping, filtering, id) in [
        (EndpointIndependent, EndpointIndependent, "network.nat-full-cone"),
        (EndpointIndependent, AddressDependent, "network.nat-restricted"),
        (
            EndpointIndependent,
            AddressAndPortDependent,
            "network.nat-port-restricted",
        ),
        (AddressDependent, EndpointIndependent, "network.nat-symmetric"),
        (
            AddressAndPortDependent,
            AddressAndPortDependent,
            "network.nat-symmetric",
        ),
    ] {
        let mut facts = home();
        facts.datagrams.behaviour = Some(Behaviour {
            mapped: "5.6.7.8:40000".parse().unwrap(),
            mapping,
            filtering,
        });
        let found = ids(&facts);
        assert!(found.contains(&id), "{mapping:?} {filtering:?}: {found:?}");
    }
}

#[test]
fn a_port_that_the_nat_keeps_shut_is_no_way_in() {
    let mut facts = home();
    facts.ladder.rungs = vec![unproven(Via::Punched, "5.6.7.8:2121", Doubt::Filtering)];
    assert_eq!(
        told(&facts).culprit().unwrap().kind.id,
        "network.reachable-unproven"
    );
    facts.ladder.view.filtering = Some(reach::Filtering::Closed);
    assert_eq!(told(&facts).culprit().unwrap().kind.id, "network.unreachable");
    // What else stands counts all the same.
    let ipv6 = unproven(Via::Direct, "[2a11:9::5]:2121", Doubt::Firewall);
    facts.ladder.rungs.push(ipv6);
    assert_eq!(
        says(&facts, "network.reachable-unproven"),
        "nothing proves that [2a11:9::5]:2121 can be reached from outside: whether a firewall stands before it cannot be \
         seen from here"
    );
}

#[test]
fn with_a_relay_a_second_nat_is_only_worth_knowing() {
    let mut facts = home();
    facts.ladder.view.hops = vec![ip("192.168.1.1"), ip("100.64.0.1")];
    facts.ladder.situation = vec![Situation::CarrierNat];
    facts.plan.turn = vec!["turn:server:secret@1.2.3.4:3478".parse().unwrap()];
    facts.ladder.rungs = vec![verified(Via::Relayed, "1.2.3.4:2121", Proof::Relay)];
    let report = told(&facts);
    assert_eq!(
        report.finding("network.carrier-nat").unwrap().severity,
        Severity::Note
    );
    assert!(report.culprit().is_none(), "{}", report.render());
    assert!(!report.render().contains("secret"));

    facts.ladder.rungs = vec![refused(Via::Relayed, Reason::Relay("connection refused".into()))];
    let report = told(&facts);
    assert_eq!(
        report.finding("network.relay-refused").unwrap().evidence,
        ["connection refused"]
    );
    assert_eq!(report.culprit().unwrap().kind.id, "network.unreachable");
}

#[test]
fn ipv6_is_told_by_what_stands_before_it() {
    let own = "2a11:9::5";
    let pinhole = Rung {
        asked: Some((Router::Ipv6, Protocol::Pcp)),
        ..verified(Via::Mapped, "[2a11:9::5]:2121", Proof::Router)
    };
    let closed = Reason::DialledBack("[2a11:9::5]:2121".parse().unwrap(), reach::Unanswered::TimedOut);
    for (rung, id) in [
        (
            unproven(Via::Direct, "[2a11:9::5]:2121", Doubt::Firewall),
            "network.ipv6-firewall-unknown",
        ),
        (
            verified(Via::Direct, "[2a11:9::5]:2121", Proof::DialBack),
            "network.ipv6-open",
        ),
        (refused(Via::Direct, closed), "network.ipv6-closed"),
        (pinhole, "network.ipv6-pinhole"),
    ] {
        let mut facts = home();
        facts.ladder.view.source_v6 = Some(own.parse().unwrap());
        facts.ladder.rungs = vec![rung];
        let found = ids(&facts);
        assert!(found.contains(&id), "{found:?}");
    }
}

#[test]
fn what_was_not_asked_is_said_with_how_to_ask() {
    let mut facts = home();
    facts.plan = Plan::default();
    facts.ladder.view.seen_v4 = None;
    facts.datagrams = Datagrams::default();
    let report = told(&facts);
    for (id, flag) in [
        ("network.stun-not-asked", "--stun"),
        ("network.relay-not-asked", "--relay"),
        ("network.mapping-not-asked", "--reach"),
    ] {
        let finding = report.finding(id).unwrap_or_else(|| panic!("no {id}"));
        assert!(crate::report::lines(finding).contains(flag), "{id}");
    }
    let verdict = report.culprit().unwrap();
    assert!(
        verdict
            .advice
            .as_ref()
            .unwrap()
            .starts_with("let the router be asked"),
        "{verdict:?}"
    );
}

#[test]
fn a_server_that_runs_speaks_for_itself() {
    let mut facts = home();
    facts.running = vec![("ftp://5.6.7.8:21".into(), true)];
    assert_eq!(
        says(&facts, "network.reachable"),
        "the server that runs here can be reached from outside at ftp://5.6.7.8:21"
    );
    facts.running = vec![("ftp://5.6.7.8:21".into(), false)];
    assert_eq!(told(&facts).culprit().unwrap().kind.id, "network.unreachable");
}

#[test]
fn who_says_what_the_internet_does_not_see_is_contradicted() {
    let mut facts = home();
    facts.ladder.rungs = vec![unproven(Via::Fixed, "5.6.7.9:21", Doubt::OperatorsWord)];
    assert_eq!(
        says(&facts, "network.public-address-differs"),
        "the public address is said to be 5.6.7.9, but the Internet sees 5.6.7.8"
    );
    facts.ladder.rungs = vec![unproven(Via::Fixed, "5.6.7.8:21", Doubt::Forward)];
    assert!(told(&facts).finding("network.public-address-differs").is_none());
}

#[test]
fn nobody_who_gets_in_is_told_with_what_closes_that_way() {
    let closed = || Reason::DialledBack("5.6.7.8:2121".parse().unwrap(), reach::Unanswered::TimedOut);
    for (via, word) in [
        (Via::Direct, "provider"),
        (Via::Mapped, "another one"),
        (Via::Fixed, "forwards the port to this machine"),
    ] {
        let mut facts = home();
        facts.ladder.rungs = vec![refused(via, closed())];
        let report = told(&facts);
        let finding = report.finding("network.closed-from-outside").unwrap();
        assert_eq!(
            finding.says,
            "a relay could not connect to 5.6.7.8:2121: no answer"
        );
        assert!(finding.advice.as_ref().unwrap().contains(word), "{finding:?}");
    }
    let mut facts = home();
    facts.ladder.rungs = vec![refused(Via::Punched, closed())];
    assert!(told(&facts).finding("network.closed-from-outside").is_none());
}
