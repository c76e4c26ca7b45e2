//! The ladder, rung by rung.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::*;

const HOME: &str = "192.168.1.5";
const PUBLIC: &str = "203.0.113.7";
const STRANGER: &str = "198.51.100.9";
/// Addresses that are no documentation's, which count as not public.
const RELAY: &str = "1.2.3.4";
const OUTSIDER: &str = "5.6.7.8";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A PASV (IPv4 only) from `peer` over a control connection to port 21 of `control`; port 2121 listens.
fn pasv(peer: &str, control: &str) -> Want {
    Want {
        peer: ip(peer),
        control: SocketAddr::new(ip(control), 21),
        dialled: None,
        port: 2121,
        ipv4_only: true,
    }
}

fn epsv(peer: &str, control: &str) -> Want {
    Want {
        ipv4_only: false,
        ..pasv(peer, control)
    }
}

fn address(text: &str) -> Option<PublicHost> {
    Some(PublicHost::Address(ip(text)))
}

fn name(text: &str) -> Option<PublicHost> {
    Some(PublicHost::Name(text.into()))
}

fn forward() -> Vec<Forward> {
    vec![
        Forward {
            outside: 50_000,
            inside: 21,
        },
        Forward {
            outside: 40_000,
            inside: 2121,
        },
    ]
}

/// What is announced, as `via address:port`, or the refusals.
async fn open(public: Option<PublicHost>, forwards: Vec<Forward>, want: Want) -> Result<String, String> {
    tell(&Reach::new(plan(public, forwards)), want).await
}

fn plan(public: Option<PublicHost>, forwards: Vec<Forward>) -> Plan {
    Plan {
        public,
        forwards,
        ..Plan::default()
    }
}

async fn tell(reach: &Reach, want: Want) -> Result<String, String> {
    match reach.passive_open(&want).await {
        Ok(endpoint) => Ok(format!("{} {}", endpoint.via, endpoint.announce)),
        Err(unreachable) => Err(unreachable
            .0
            .iter()
            .map(|(via, why)| format!("{via} {why:?}"))
            .collect::<Vec<_>>()
            .join(", ")),
    }
}

fn ok(text: &str) -> Result<String, String> {
    Ok(text.into())
}

fn refused(text: &str) -> Result<String, String> {
    Err(text.into())
}

#[tokio::test]
async fn without_a_word_from_the_operator_it_is_the_address_that_the_peer_connected_to() {
    assert_eq!(
        open(None, vec![], pasv(STRANGER, PUBLIC)).await,
        ok("direct 203.0.113.7:2121")
    );
    assert_eq!(
        open(None, vec![], epsv(STRANGER, PUBLIC)).await,
        ok("direct 203.0.113.7:2121")
    );
    assert_eq!(
        open(None, vec![], epsv("2001:db8::9", "2001:db8::1")).await,
        ok("direct [2001:db8::1]:2121")
    );
    assert_eq!(
        open(None, vec![], pasv("127.0.0.2", "127.0.0.1")).await,
        ok("direct 127.0.0.1:2121")
    );
    let reach = Reach::default();
    assert_eq!(
        reach.passive_open(&pasv(STRANGER, PUBLIC)).await.unwrap().via,
        Via::Direct
    );
}

#[tokio::test]
async fn a_stranger_is_told_the_operators_address_and_the_routers_port() {
    assert_eq!(
        open(address(PUBLIC), vec![], pasv(STRANGER, HOME)).await,
        ok("fixed 203.0.113.7:2121")
    );
    assert_eq!(
        open(address(PUBLIC), forward(), pasv(STRANGER, HOME)).await,
        ok("fixed 203.0.113.7:40000")
    );
    assert_eq!(
        open(address(PUBLIC), forward(), epsv(STRANGER, HOME)).await,
        ok("fixed 203.0.113.7:40000")
    );
    let control_port = Want {
        port: 21,
        ..pasv(STRANGER, HOME)
    };
    assert_eq!(
        open(address(PUBLIC), forward(), control_port).await,
        ok("fixed 203.0.113.7:50000")
    );
}

#[tokio::test]
async fn a_local_peer_is_told_the_address_that_it_connected_to_and_the_port_that_listens() {
    for peer in [
        "127.0.0.1",
        "127.9.9.9",
        "10.1.2.3",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.7.7",
        "169.254.1.1",
        HOME,
    ] {
        assert_eq!(
            open(address(PUBLIC), forward(), pasv(peer, HOME)).await,
            ok("direct 192.168.1.5:2121"),
            "{peer}"
        );
        assert_eq!(
            open(name(PUBLIC), forward(), pasv(peer, HOME)).await,
            ok("direct 192.168.1.5:2121"),
            "{peer}"
        );
    }
    for peer in ["::1", "fe80::1", "fd00::9", "fc00::1", "2001:db8::5"] {
        let want = epsv(peer, "2001:db8::5");
        assert_eq!(
            open(address(PUBLIC), forward(), want).await,
            ok("direct [2001:db8::5]:2121"),
            "{peer}"
        );
    }
}

#[tokio::test]
async fn a_peer_just_outside_the_local_ranges_is_a_stranger() {
    for peer in [
        "172.15.0.1",
        "172.32.0.1",
        "192.169.0.1",
        "11.0.0.1",
        "169.253.0.1",
        "100.63.0.1",
        "2001:db8::9",
    ] {
        assert_eq!(
            open(address(PUBLIC), vec![], pasv(peer, HOME)).await,
            ok("fixed 203.0.113.7:2121"),
            "{peer}"
        );
    }
}

#[tokio::test]
async fn the_carriers_network_is_local_only_to_those_who_are_in_it() {
    let peer = "100.64.9.9";
    assert_eq!(
        open(address(PUBLIC), vec![], pasv(peer, HOME)).await,
        ok("fixed 203.0.113.7:2121")
    );
    assert_eq!(
        open(address(PUBLIC), vec![], pasv(peer, "100.127.0.1")).await,
        ok("direct 100.127.0.1:2121")
    );
    assert_eq!(
        open(address(PUBLIC), vec![], pasv(peer, "100.128.0.1")).await,
        ok("fixed 203.0.113.7:2121")
    );
}

#[tokio::test]
async fn an_ipv4_address_that_is_written_as_ipv6_is_an_ipv4_address() {
    let want = pasv("::ffff:198.51.100.9", "::ffff:192.168.1.5");
    assert_eq!(
        open(None, vec![], want.clone()).await,
        ok("direct 192.168.1.5:2121")
    );
    assert_eq!(
        open(address("::ffff:203.0.113.7"), vec![], want).await,
        ok("fixed 203.0.113.7:2121")
    );
    let local = pasv("::ffff:10.0.0.1", "::ffff:192.168.1.5");
    assert_eq!(
        open(address(PUBLIC), vec![], local).await,
        ok("direct 192.168.1.5:2121")
    );
}

#[tokio::test]
async fn pasv_over_ipv6_is_refused_unless_the_operator_named_an_ipv4_address() {
    let want = || pasv("2001:db8::9", "2001:db8::1");
    assert_eq!(
        open(None, vec![], want()).await,
        refused("fixed NotConfigured, mapped NothingStands, direct NoIpv4")
    );
    assert_eq!(
        open(address("2001:db8::7"), vec![], want()).await,
        refused("fixed NoIpv4, mapped NothingStands, direct NoIpv4")
    );
    assert_eq!(
        open(address(PUBLIC), vec![], want()).await,
        ok("fixed 203.0.113.7:2121")
    );
    let local = pasv("fd00::9", "fd00::1");
    assert_eq!(
        open(address(PUBLIC), vec![], local).await,
        refused("fixed LocalPeer, mapped LocalPeer, direct NoIpv4")
    );
}

#[tokio::test]
async fn epsv_takes_the_routers_port_whatever_the_family_of_the_operators_address() {
    let want = epsv("2001:db8::9", "2001:db8::1");
    assert_eq!(
        open(address(PUBLIC), forward(), want).await,
        ok("fixed 203.0.113.7:40000")
    );
    assert_eq!(
        open(address("2001:db8::7"), forward(), epsv(STRANGER, HOME)).await,
        ok("fixed [2001:db8::7]:40000")
    );
}

#[tokio::test]
async fn a_forwarded_port_counts_where_no_address_was_named() {
    assert_eq!(
        open(None, forward(), epsv(STRANGER, HOME)).await,
        ok("fixed 192.168.1.5:40000")
    );
    assert_eq!(
        open(None, forward(), epsv("10.0.0.1", HOME)).await,
        ok("direct 192.168.1.5:2121")
    );
    let other = Want {
        port: 2122,
        ..epsv(STRANGER, HOME)
    };
    assert_eq!(open(None, forward(), other).await, ok("direct 192.168.1.5:2122"));
}

#[tokio::test]
async fn a_name_is_resolved_for_pasv_and_not_asked_for_epsv() {
    // An address for a name resolves to itself, without a question to anybody.
    assert_eq!(
        open(name(PUBLIC), forward(), pasv(STRANGER, HOME)).await,
        ok("fixed 203.0.113.7:40000")
    );
    assert_eq!(
        open(name(PUBLIC), forward(), epsv(STRANGER, HOME)).await,
        ok("fixed 192.168.1.5:40000")
    );
    assert_eq!(
        open(name("2001:db8::7"), vec![], pasv(STRANGER, HOME)).await,
        ok("direct 192.168.1.5:2121")
    );
    let nowhere = open(name("2001:db8::7"), vec![], pasv("2001:db8::9", "2001:db8::1")).await;
    assert_eq!(
        nowhere,
        refused(r#"fixed Unresolved("2001:db8::7"), mapped NothingStands, direct NoIpv4"#)
    );
}

#[tokio::test]
async fn a_stranger_is_never_told_an_address_that_only_this_machine_knows() {
    for here in ["127.0.0.1", "0.0.0.0", "::ffff:127.0.0.1"] {
        let only_here = format!("OnlyHere({})", ip(here).to_canonical());
        let want = pasv(STRANGER, here);
        let both = format!("fixed {only_here}, mapped NothingStands, direct {only_here}");
        assert_eq!(
            open(None, vec![], want.clone()).await,
            refused(&format!(
                "fixed NotConfigured, mapped NothingStands, direct {only_here}"
            ))
        );
        assert_eq!(open(address(here), vec![], want.clone()).await, refused(&both));
        assert_eq!(
            open(name(&ip(here).to_canonical().to_string()), vec![], want).await,
            refused(&both)
        );
        assert_eq!(
            open(address(here), vec![], pasv(STRANGER, HOME)).await,
            ok("direct 192.168.1.5:2121")
        );
    }
}

#[test]
fn the_refusals_read_as_one_line() {
    let unreachable = Unreachable(vec![
        (Via::Fixed, Reason::NotConfigured),
        (Via::Direct, Reason::NoIpv4),
    ]);
    assert_eq!(
        unreachable.to_string(),
        "no endpoint that this peer can connect to: fixed: not configured; \
         direct: no IPv4 address to announce"
    );
}

/// A ladder that has been climbed: the Internet sees us at [`PUBLIC`], the router is 192.168.1.1, and `rungs` stand for
/// port 2121.
fn climbed(plan: Plan, rungs: &[(Via, &str, bool)]) -> (Reach, watch::Sender<Report>) {
    let reach = Reach::new(plan);
    let view = NetView {
        source_v4: Some("192.168.1.5".parse().unwrap()),
        gateway_v4: Some("192.168.1.1".parse().unwrap()),
        seen_v4: Some(ip(PUBLIC)),
        ..NetView::default()
    };
    reach.published.view.send_replace(view.clone());
    let rung = |(via, endpoint, verified): &(Via, &str, bool)| {
        let endpoint = endpoint.parse().unwrap();
        let outcome = if *verified {
            Outcome::Verified {
                endpoint,
                proof: Proof::Router,
            }
        } else {
            Outcome::Unproven {
                endpoint,
                doubt: Doubt::Filtering,
            }
        };
        Rung {
            via: *via,
            asked: None,
            how: String::new(),
            outcome,
            took: Duration::ZERO,
        }
    };
    let (sender, report) = watch::channel(Report {
        port: 2121,
        scheme: Some("ftp"),
        rungs: rungs.iter().map(rung).collect(),
        situation: Vec::new(),
        view,
        settled: true,
    });
    lock(&reach.published.ports).insert(2121, report);
    (reach, sender)
}

#[tokio::test]
async fn peers_beyond_the_router_are_told_what_stands_and_local_ones_are_not() {
    let standing = [
        (Via::Punched, "203.0.113.7:41000", false),
        (Via::Mapped, "203.0.113.7:2122", true),
    ];
    let (reach, _report) = climbed(Plan::default(), &standing);
    for want in [pasv(STRANGER, HOME), epsv(STRANGER, HOME)] {
        assert_eq!(tell(&reach, want).await, ok("mapped 203.0.113.7:2122"));
    }
    assert_eq!(
        tell(&reach, pasv("192.168.1.50", HOME)).await,
        ok("direct 192.168.1.5:2121")
    );
    // Nothing stands for another port.
    let other = Want {
        port: 2199,
        ..epsv(STRANGER, HOME)
    };
    assert_eq!(tell(&reach, other).await, ok("fixed 203.0.113.7:2199"));
}

#[tokio::test]
async fn the_operators_word_goes_before_what_was_found() {
    let (reach, _report) = climbed(
        plan(address("198.51.100.77"), vec![]),
        &[(Via::Mapped, "203.0.113.7:2122", true)],
    );
    assert_eq!(
        tell(&reach, pasv(STRANGER, HOME)).await,
        ok("fixed 198.51.100.77:2121")
    );
    let silent = reach.with_words(None, vec![]);
    assert_eq!(
        tell(&silent, pasv(STRANGER, HOME)).await,
        ok("mapped 203.0.113.7:2122")
    );
}

#[tokio::test]
async fn a_connection_that_the_router_turned_back_in_is_a_strangers() {
    let (reach, _report) = climbed(Plan::default(), &[(Via::Mapped, "203.0.113.7:2121", true)]);
    assert_eq!(
        tell(&reach, pasv("192.168.1.1", HOME)).await,
        ok("mapped 203.0.113.7:2121")
    );
}

#[tokio::test]
async fn who_came_through_an_unknown_forward_is_told_the_address_that_the_internet_sees() {
    let (reach, _report) = climbed(Plan::default(), &[]);
    assert_eq!(
        tell(&reach, pasv(STRANGER, HOME)).await,
        ok("fixed 203.0.113.7:2121")
    );
    assert_eq!(
        tell(&reach, pasv("192.168.1.50", HOME)).await,
        ok("direct 192.168.1.5:2121")
    );
}

#[tokio::test]
async fn who_came_through_a_relay_is_told_the_relays_address_whatever_else_stands() {
    let (reach, _report) = climbed(
        plan(address(PUBLIC), vec![]),
        &[(Via::Mapped, "203.0.113.7:2121", true)],
    );
    let relayed = |ipv4_only| Want {
        dialled: Some("192.0.2.5:21".parse().unwrap()),
        control: SocketAddr::new(ip(HOME), 2121),
        ipv4_only,
        ..pasv(STRANGER, HOME)
    };
    assert_eq!(tell(&reach, relayed(true)).await, ok("relayed 192.0.2.5:21"));
    assert_eq!(tell(&reach, relayed(false)).await, ok("relayed 192.0.2.5:21"));
}

#[tokio::test]
async fn who_came_through_a_relay_is_told_of_another_port_only_when_that_relay_lends_it() {
    let through = |control: u16, dialled: &str| Want {
        dialled: Some(dialled.parse().unwrap()),
        control: SocketAddr::new(ip(HOME), control),
        ..pasv(STRANGER, HOME)
    };
    let (reach, _report) = climbed(
        plan(address(PUBLIC), vec![]),
        &[
            (Via::Mapped, "203.0.113.7:2121", true),
            (Via::Relayed, "192.0.2.5:50123", true),
        ],
    );
    let told = tell(&reach, through(21, "192.0.2.5:21")).await;
    assert_eq!(told, ok("relayed 192.0.2.5:50123"));
    let told = tell(&reach, through(21, "192.0.2.6:21")).await;
    assert!(told.is_err(), "{told:?}");
}

#[test]
fn the_best_rung_is_verified_before_unproven_and_ipv4_before_ipv6() {
    let best = |rungs: &[(Via, &str, bool)]| {
        let (_reach, report) = climbed(Plan::default(), rungs);
        report.borrow().url()
    };
    assert_eq!(best(&[]), None);
    assert_eq!(
        best(&[
            (Via::Direct, "[2001:db8::1]:21", false),
            (Via::Punched, "203.0.113.7:21", false)
        ]),
        Some("ftp://203.0.113.7:21".into())
    );
    assert_eq!(
        best(&[
            (Via::Fixed, "203.0.113.7:21", false),
            (Via::Relayed, "192.0.2.5:21", true)
        ]),
        Some("ftp://192.0.2.5:21".into())
    );
}

#[test]
fn a_relay_that_dials_back_is_not_the_peer_that_proves_a_forward() {
    let reach = Reach::default();
    let came = watch::Sender::new(false);
    lock(&reach.published.came).insert(21, came.clone());
    lock(&reach.published.relays).insert(ip(RELAY));
    let control = SocketAddr::new(ip(HOME), 21);
    reach.peer_came(control, ip(RELAY));
    assert!(!*came.borrow());
    reach.peer_came(control, ip(OUTSIDER));
    assert!(*came.borrow());
}

#[test]
fn who_came_proves_nothing_for_another_network() {
    let reach = Reach::default();
    let came = watch::Sender::new(false);
    let told = came.subscribe();
    lock(&reach.published.came).insert(2121, came);
    let control = SocketAddr::new(ip(HOME), 2121);
    reach.peer_came(control, ip("9.9.9.9"));
    assert!(*told.borrow());
    reach.published.forget_peers(2121);
    assert!(!*told.borrow());
    let at_home = NetView {
        seen_v4: Some(ip("11.9.0.20")),
        ..NetView::default()
    };
    let moved = NetView {
        seen_v4: Some(ip("11.9.0.21")),
        ..at_home.clone()
    };
    assert!(at_home.is_same_network(&at_home) && !at_home.is_same_network(&moved));
}
