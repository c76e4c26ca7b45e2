//! Every client in every topology that lets one in: list, send and fetch, by the rung that is expected there.
//!
//! `cargo xtask lab` runs the same and prints it.
#![allow(clippy::unwrap_used, reason = "test code: a panic is its report")]

use pasarela_lab::clients::CLIENTS;
use pasarela_lab::matrix::{Row, SIZES};
use pasarela_lab::site::{Help, Site};
use pasarela_lab::{lab, runs_here};
use pasarela_testkit::lab::{Event, Topology};

/// Each line is one test: a topology in which every client gets through.
macro_rules! everybody_gets_through {
    ($($(#[$attribute:meta])* $name:ident: $topology:literal;)+) => {
        $($(#[$attribute])* #[test]
        fn $name() {
            if runs_here() {
                let row = Row::run(Topology::named($topology).unwrap(), SIZES, Help::None);
                assert_eq!(row.failures(), [String::new(); 0]);
                assert_eq!(row.visits.unwrap().len(), CLIENTS.len());
            }
        })+
    };
}

everybody_gets_through! {
    public_server: "pub";
    static_forwards: "fwd";
    remapped_forwards: "remap";
    double_nat_with_forwards_in_both: "doublefwd";
    client_that_may_reach_three_ports: "clifw";
    client_that_may_reach_three_ports_and_server_behind_forwards: "clifwnat";
    application_level_gateway_of_the_server: "algsrv";
    application_level_gateway_of_the_client: "algcli";
    dual_stack: "dual";
    public_address_from_the_lan: "hairon";
    mapping_on_request: "upnp";
    mapping_on_request_of_the_outer_router: "doubleupnp";
    ipv6_pinholes: "v6";
    full_cone: "cone";
}

/// The new address is found out, and every client gets through by it.
#[test]
fn new_sessions_work_after_an_address_change() {
    let Some(lab) = lab("ipchange") else { return };
    let mut site = Site::start(lab).unwrap();
    let everybody = |site: &Site| {
        for client in CLIENTS {
            client
                .visit(&site.lab, &site.server, site.there, SIZES)
                .unwrap_or_else(|why| panic!("{}: {why}\n{}", client.name, site.server.log()));
        }
    };
    everybody(&site);
    site.lab.event(Event::AddressChange).unwrap();
    let there = site.lab.addresses().control;
    assert_ne!(there, site.there);
    site.wait_until_reachable_at(there).unwrap();
    everybody(&site);
}

/// Every rung that is not there is missing for a reason: nobody gets a greeting on the public address.
#[test]
fn a_closed_topology_lets_nobody_in() {
    let Some(lab) = lab("plain") else { return };
    let site = Site::start(lab).unwrap();
    let refused = CLIENTS[0]
        .visit(&site.lab, &site.server, site.there, &[1])
        .unwrap_err();
    assert!(
        refused.contains("exit status: 28"),
        "CURLE_OPERATION_TIMEDOUT: {refused}"
    );
}

/// A server that ends takes its mappings back.
#[test]
fn a_server_that_ends_leaves_no_mapping() {
    let Some(lab) = lab("upnp") else { return };
    let Site { server, lab, .. } = Site::start(lab).unwrap();
    let ports: Vec<u16> = lab
        .mappings()
        .unwrap()
        .iter()
        .map(|mapping| mapping.inside.port())
        .collect();
    assert!(ports.contains(&21), "{ports:?}");
    assert!(server.terminate().unwrap().success());
    assert_eq!(lab.mappings().unwrap(), []);
}

/// What a killed server has left at the router, the next one takes back.
#[test]
fn a_killed_server_leaves_nothing_stale_to_the_next_one() {
    let Some(lab) = lab("upnp") else { return };
    let site = Site::start(lab).unwrap();
    // That was said of port 21; the other one has a keeper of its own.
    let url = format!("url=\"ftps://{}\"", site.lab.addresses().implicit);
    let patience = std::time::Duration::from_secs(60);
    let said = site
        .server
        .wait_for_log(patience, |line| line.contains(&url).then_some(()));
    assert!(said.is_some(), "{}", site.server.log());
    let inside = |site: &Site| -> Vec<u16> {
        let mappings = site.lab.mappings().unwrap();
        let mut ports: Vec<u16> = mappings.iter().map(|mapping| mapping.inside.port()).collect();
        ports.sort_unstable();
        ports
    };
    assert_eq!(inside(&site), [21, 990]);
    site.kill_server();
    assert_eq!(inside(&site), [21, 990]);
    // Another port, so that nothing is taken over by chance; it gives its own mapping back at the end.
    let told = site.ladder("[::]:2121");
    assert_eq!(told["ports"][0]["rungs"][2]["verdict"], "verified", "{told}");
    assert_eq!(inside(&site), [0_u16; 0]);
}

/// A router that has forgotten everything is asked again.
#[test]
fn mappings_come_back_after_a_router_reboot() {
    let Some(lab) = lab("upnp") else { return };
    let mut site = Site::start(lab).unwrap();
    site.lab.event(Event::RouterReboot).unwrap();
    assert_eq!(site.lab.mappings().unwrap(), []);
    let end = std::time::Instant::now() + std::time::Duration::from_secs(120);
    while site.lab.mappings().unwrap().is_empty() {
        assert!(std::time::Instant::now() < end, "{}", site.server.log());
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    CLIENTS[0]
        .visit(&site.lab, &site.server, site.there, SIZES)
        .unwrap();
}
