//! Each network is what its name says: who gets through to the server, and as whom the internet sees it.
#![allow(clippy::unwrap_used, reason = "test code: a panic is its report")]

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use pasarela_lab::lab;
use pasarela_lab::probe::{
    discover_gateway, gets_through, hold_open, is_kept_out, listen, pcp_map, seen_as, stranger_gets_in, udp,
};
use pasarela_testkit::lab::{Addresses, Event, Lab, Mapping, Role, TURN_ACCOUNT};
use pasarela_testkit::run;

/// The client gets through to where the server listens on `inside`, and is seen as its site.
#[track_caller]
fn opened(lab: &Lab, outside: u16, inside: u16) {
    let there = SocketAddr::new(lab.addresses().public, outside);
    let listener = listen(lab, Role::Server, inside);
    assert_eq!(
        gets_through(lab, Role::Client, there, &listener),
        lab.addresses().client_site
    );
}

/// The client does not get through, though the server listens.
#[track_caller]
fn closed(lab: &Lab, port: u16) {
    let there = SocketAddr::new(lab.addresses().public, port);
    is_kept_out(lab, Role::Client, there, &listen(lab, Role::Server, port));
}

/// A UDP port of the server, and how two STUN servers see it.
fn seen_twice(lab: &Lab) -> (u16, [SocketAddr; 2]) {
    let Addresses { stun, stun_other, .. } = lab.addresses();
    let socket = udp(lab, Role::Server);
    let seen = [stun, stun_other].map(|stun| seen_as(&socket, stun));
    (socket.local_addr().unwrap().port(), seen)
}

#[test]
fn public_server() {
    let Some(lab) = lab("pub") else { return };
    opened(&lab, 21, 21);
    opened(&lab, 7000, 7000);
    let (port, seen) = seen_twice(&lab);
    assert_eq!(seen, [SocketAddr::new(lab.addresses().server, port); 2]);
    let client = seen_as(&udp(&lab, Role::Client), lab.addresses().stun);
    assert_eq!(client.ip(), lab.addresses().client_site);
    assert_ne!(client.ip(), lab.addresses().client);
}

#[test]
fn static_forwards() {
    let Some(lab) = lab("fwd") else { return };
    for port in [21, 990, 50000, 50009] {
        opened(&lab, port, port);
    }
    closed(&lab, 7000);
    closed(&lab, 50010);
}

#[test]
fn remapped_forwards() {
    let Some(lab) = lab("remap") else { return };
    assert_eq!(lab.addresses().control.port(), 2121);
    for (outside, inside) in [(2121, 21), (2990, 990), (40000, 50000), (40009, 50009)] {
        opened(&lab, outside, inside);
    }
    closed(&lab, 21);
    closed(&lab, 50000);
}

#[test]
fn mapping_on_request_and_a_reboot_that_forgets() {
    let Some(mut lab) = lab("upnp") else { return };
    let server = lab.addresses().server;
    let of = |port| Mapping {
        tcp: true,
        outside: port,
        inside: SocketAddr::new(server, port),
    };
    closed(&lab, 7001);
    assert_eq!(lab.mappings().unwrap(), []);

    let gateway = lab.addresses().gateway;
    let public = lab.addresses().public;
    let described = discover_gateway(&lab, Role::Server);
    assert!(
        described.starts_with(&format!("http://{gateway}:")),
        "{described}"
    );
    assert_eq!(
        pcp_map(&lab, Role::Server, gateway, 7001).unwrap(),
        (0, SocketAddr::new(public, 7001))
    );
    let mut natpmpc = lab.command(Role::Server, "natpmpc");
    let said =
        run(natpmpc.args(["-g", &gateway.to_string(), "-a", "21", "21", "tcp", "600"])).expect_success();
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains(&format!("Public IP address : {public}")), "{said}");
    assert!(
        said.contains("Mapped public port 21 protocol TCP to local port 21 "),
        "{said}"
    );
    opened(&lab, 7001, 7001);
    opened(&lab, 21, 21);
    let mut mappings = lab.mappings().unwrap();
    mappings.sort_by_key(|mapping| mapping.outside);
    assert_eq!(mappings, [of(21), of(7001)]);

    lab.event(Event::RouterReboot).unwrap();
    assert_eq!(lab.mappings().unwrap(), []);
    closed(&lab, 7001);
    assert_eq!(pcp_map(&lab, Role::Server, gateway, 7001).unwrap().0, 0);
    opened(&lab, 7001, 7001);
}

#[test]
fn full_cone() {
    let Some(lab) = lab("cone") else { return };
    let (port, [one, other]) = seen_twice(&lab);
    assert_eq!(one, other, "one outside port for every peer");
    assert_eq!(one.ip(), lab.addresses().public);
    assert_ne!(one.port(), port, "and it is not the inside one");
    assert!(stranger_gets_in(&lab, Role::Server, Role::Client, true));
    closed(&lab, 21);
    // What a TCP connection to somebody has opened, a listener on that port gets from everybody.
    let held = hold_open(&lab, Role::Server, 6500);
    let client = lab.addresses().client;
    assert_eq!(
        gets_through(&lab, Role::Client, held.outside, &held.listener),
        client
    );
}

#[test]
fn port_restricted() {
    for name in ["plain", "plain2"] {
        let Some(lab) = lab(name) else { return };
        let public = lab.addresses().public;
        let (port, seen) = seen_twice(&lab);
        assert_eq!(seen, [SocketAddr::new(public, port); 2], "it keeps the port");
        assert!(!stranger_gets_in(&lab, Role::Server, Role::Client, false));
        closed(&lab, 21);
        let held = hold_open(&lab, Role::Server, 6500);
        is_kept_out(&lab, Role::Client, held.outside, &held.listener);
    }
}

#[test]
fn carrier_nat() {
    for name in ["cgnat", "cgnat2"] {
        let Some(lab) = lab(name) else { return };
        let (_, [one, other]) = seen_twice(&lab);
        assert_eq!([one.ip(), other.ip()], [lab.addresses().public; 2]);
        assert_ne!(one.port(), other.port(), "a port for every peer");
        assert!(!stranger_gets_in(&lab, Role::Server, Role::Client, false));
        closed(&lab, 21);
        assert_eq!(
            lab.addresses().outer_gateway,
            Some([100, 64, 0, 1].into()),
            "RFC 6598"
        );
    }
}

/// PCP result codes (RFC 6887 §7.4).
const SUCCESS: u8 = 0;
const ADDRESS_MISMATCH: u8 = 12;

#[test]
fn double_nat() {
    let Some(lab) = lab("double") else { return };
    let (result, _) = pcp_map(&lab, Role::Server, lab.addresses().gateway, 7001).unwrap();
    assert_ne!(result, SUCCESS, "a router without a public address maps nothing");
    assert_eq!(lab.mappings().unwrap(), []);
    closed(&lab, 7001);
    closed(&lab, 21);
}

#[test]
fn double_nat_with_forwards_in_both() {
    let Some(lab) = lab("doublefwd") else { return };
    opened(&lab, 21, 21);
    opened(&lab, 50009, 50009);
    closed(&lab, 7000);
}

#[test]
fn double_nat_whose_outer_router_maps() {
    let Some(lab) = lab("doubleupnp") else { return };
    let outer: IpAddr = lab.addresses().outer_gateway.unwrap().into();
    closed(&lab, 21);
    // Through the inner NAT the request's source is not the client address that it names: RFC 6887 §8.3.
    assert_eq!(
        pcp_map(&lab, Role::Server, outer, 21).unwrap().0,
        ADDRESS_MISMATCH
    );
    let mut natpmpc = lab.command(Role::Server, "natpmpc");
    let _ = run(natpmpc.args(["-g", &outer.to_string(), "-a", "21", "21", "tcp", "600"])).expect_success();
    opened(&lab, 21, 21);
    let inner = SocketAddr::from(([192, 168, 0, 2], 21));
    assert_eq!(
        lab.mappings().unwrap(),
        [Mapping {
            tcp: true,
            outside: 21,
            inside: inner
        }]
    );
}

#[test]
fn public_address_from_the_lan() {
    let (Some(off), Some(on)) = (lab("hairoff"), lab("hairon")) else {
        return;
    };
    closed(&off, 21);
    for lab in [&off, &on] {
        let own = SocketAddr::new(lab.addresses().server, 21);
        let client = lab.addresses().client;
        let listener = listen(lab, Role::Server, 21);
        assert_eq!(
            gets_through(lab, Role::Client, own, &listener),
            client,
            "the LAN address"
        );
    }
    let listener = listen(&on, Role::Server, 21);
    let seen = gets_through(&on, Role::Client, on.addresses().control, &listener);
    assert_eq!(seen, on.addresses().gateway, "the router hides who it was");
}

#[test]
fn client_that_may_reach_three_ports() {
    for name in ["clifw", "clifwnat"] {
        let Some(lab) = lab(name) else { return };
        for port in [21, 990] {
            opened(&lab, port, port);
        }
        closed(&lab, 50000);
        if name == "clifw" {
            opened(&lab, 443, 443);
        }
    }
}

#[test]
fn ipv6_pinholes() {
    let Some(lab) = lab("v6") else { return };
    closed(&lab, 21);
    closed(&lab, 7001);
    let server = lab.addresses().server;
    assert_eq!(
        pcp_map(&lab, Role::Server, lab.addresses().gateway, 7001).unwrap(),
        (SUCCESS, SocketAddr::new(server, 7001))
    );
    opened(&lab, 7001, 7001);
    let pinhole = Mapping {
        tcp: true,
        outside: 7001,
        inside: SocketAddr::new(server, 7001),
    };
    assert_eq!(lab.mappings().unwrap(), [pinhole]);
    let stun = lab.addresses().stun;
    assert_eq!(seen_as(&udp(&lab, Role::Server), stun).ip(), server, "no NAT");
}

#[test]
fn dual_stack() {
    let Some(lab) = lab("dual") else { return };
    opened(&lab, 21, 21);
    let listener = listen(&lab, Role::Server, 21);
    let firewalled = "[2a11:9:1::10]:21".parse().unwrap();
    is_kept_out(&lab, Role::Client, firewalled, &listener);
    let _ = gets_through(&lab, Role::Router, firewalled, &listener);
}

#[test]
fn address_change() {
    let Some(mut lab) = lab("ipchange") else { return };
    let old = lab.addresses();
    opened(&lab, 21, 21);
    assert_eq!(seen_as(&udp(&lab, Role::Server), old.stun).ip(), old.public);
    lab.event(Event::AddressChange).unwrap();
    let new = lab.addresses();
    assert_ne!(old.public, new.public);
    opened(&lab, 21, 21);
    let listener = listen(&lab, Role::Server, 21);
    is_kept_out(&lab, Role::Client, old.control, &listener);
    assert_eq!(seen_as(&udp(&lab, Role::Server), new.stun).ip(), new.public);
}

/// The server announces its LAN address and a port that nobody forwards; what arrives is the public one, and it is open.
#[test]
fn application_level_gateway_of_the_server() {
    let Some(lab) = lab("algsrv") else { return };
    closed(&lab, 50000);
    let [client, mut server] = control_connection(&lab);
    server
        .write_all(b"227 Entering Passive Mode (192,168,1,10,195,80).\r\n")
        .unwrap();
    assert_eq!(line(&client), "227 Entering Passive Mode (11,9,0,20,195,80).\r\n");
    opened(&lab, 50000, 50000);
}

/// The client announces its LAN address in PORT; the server hears the public one, and gets through to the client.
#[test]
fn application_level_gateway_of_the_client() {
    let Some(lab) = lab("algcli") else { return };
    let there = SocketAddr::new(lab.addresses().client_site, 50000);
    is_kept_out(&lab, Role::Server, there, &listen(&lab, Role::Client, 50000));
    let [mut client, server] = control_connection(&lab);
    client.write_all(b"PORT 10,10,0,10,195,80\r\n").unwrap();
    assert_eq!(line(&server), "PORT 11,9,0,101,195,80\r\n");
    let listener = listen(&lab, Role::Client, 50000);
    let server = lab.addresses().server;
    assert_eq!(gets_through(&lab, Role::Server, there, &listener), server);
}

/// Both ends of a connection to the server's port 21, after a greeting and a command: a gateway looks at nothing before
/// it has seen a line end.
fn control_connection(lab: &Lab) -> [TcpStream; 2] {
    let listener = listen(lab, Role::Server, 21);
    let there = lab.addresses().control;
    let mut client = lab.within(Role::Client, || TcpStream::connect(there)).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    server.write_all(b"220 Ready.\r\n").unwrap();
    assert_eq!(line(&client), "220 Ready.\r\n");
    client.write_all(b"NOOP\r\n").unwrap();
    assert_eq!(line(&server), "NOOP\r\n");
    [client, server]
}

/// The next line that arrives.
fn line(stream: &TcpStream) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line
}

/// coturn's own client asks for two allocations from behind a carrier's NAT, and sends from one to the other.
#[test]
fn both_turn_servers_relay() {
    let Some(lab) = lab("cgnat") else { return };
    let Addresses { stun, turn_open, .. } = lab.addresses();
    let relays = |server: SocketAddr| {
        let mut client = lab.command(Role::Server, "turnutils_uclient");
        client.args([
            "-y",
            "-c",
            "-n",
            "1",
            "-m",
            "1",
            "-u",
            TURN_ACCOUNT,
            "-w",
            TURN_ACCOUNT,
            "-p",
        ]);
        client.args([server.port().to_string(), server.ip().to_string()]);
        let said = run(&mut client).expect_success();
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(
            said.contains("start_mclient: tot_send_msgs=2, tot_recv_msgs=2"),
            "{said}"
        );
    };
    std::thread::scope(|scope| {
        [stun, turn_open]
            .map(|server| scope.spawn(move || relays(server)))
            .map(|ran| ran.join().unwrap())
    });
}
