//! A relay with two addresses, by which clients find out what kind of NAT they are behind (RFC 5780).

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use pasarela_nat_proto::stun::behaviour::{Behaviour, Dependence, Discovery};
use pasarela_nat_proto::stun::{ChangeRequest, OtherAddress, ResponseOrigin};
use pasarela_nat_proto::transaction::{Schedule, TransactionId};
use pasarela_relay::{Config, Relay};
use stun_types::attribute::{AttributeType, RawAttribute, XorMappedAddress};
use stun_types::message::{BINDING, Message, MessageWriteVec};
use stun_types::prelude::{MessageWrite as _, MessageWriteExt as _};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::client::{HERE, Running, config, run};

/// A relay at 127.0.0.1 and 127.0.0.2, with ports that are free at both.
fn start(short: bool) -> Running {
    for _ in 0..20 {
        let mut config = config();
        config.other = vec!["127.0.0.2:0".parse().unwrap()];
        config.short_binding_requests = short;
        if let Ok(relay) = Relay::bind(config) {
            return run(relay);
        }
    }
    panic!("no two ports that are free at two addresses");
}

fn request(change: Option<ChangeRequest>, padding: usize) -> Vec<u8> {
    let mut message = Message::builder_request(BINDING, MessageWriteVec::new());
    if let Some(change) = &change {
        message.add_attribute(change).unwrap();
    }
    let padding = vec![0; padding];
    if !padding.is_empty() {
        let padding = RawAttribute::new(AttributeType::new(0x0026), &padding);
        message.add_attribute(&padding).unwrap();
    }
    message.finish()
}

/// The next datagram.
async fn heard(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 2048];
    let heard = timeout(Duration::from_secs(20), socket.recv_from(&mut buffer)).await;
    let (length, from) = heard.expect("an answer").unwrap();
    (buffer[..length].to_vec(), from)
}

#[tokio::test]
async fn answers_come_from_where_they_are_wanted_and_say_so() {
    let relay = start(false);
    let (first, other) = (relay.addresses.udp[0], relay.addresses.other[0]);
    let socket = UdpSocket::bind((HERE, 0)).await.unwrap();
    let swap = |at: SocketAddr, change: ChangeRequest| {
        let ip = |ip| if ip == first.ip() { other.ip() } else { first.ip() };
        let port = |port| {
            if port == first.port() {
                other.port()
            } else {
                first.port()
            }
        };
        SocketAddr::new(
            if change.address { ip(at.ip()) } else { at.ip() },
            if change.port { port(at.port()) } else { at.port() },
        )
    };
    let both = ChangeRequest {
        address: true,
        port: true,
    };
    for to in [
        first,
        other,
        SocketAddr::new(first.ip(), other.port()),
        SocketAddr::new(other.ip(), first.port()),
    ] {
        for (address, port) in [(false, false), (false, true), (true, false), (true, true)] {
            let change = ChangeRequest { address, port };
            let request = request((address || port).then_some(change), 44);
            socket.send_to(&request, to).await.unwrap();
            let (answer, from) = heard(&socket).await;
            assert!(answer.len() <= request.len());
            let answer = Message::from_bytes(&answer).unwrap();
            assert_eq!(from, swap(to, change));
            assert_eq!(answer.attribute::<ResponseOrigin>().unwrap().0, from);
            assert_eq!(answer.attribute::<OtherAddress>().unwrap().0, swap(to, both));
            let mapped = answer.attribute::<XorMappedAddress>().unwrap();
            assert_eq!(mapped.addr(answer.transaction_id()), socket.local_addr().unwrap());
        }
    }
}

#[tokio::test]
async fn an_answer_is_never_longer_than_its_request_wherever_it_comes_from() {
    let relay = start(false);
    let socket = UdpSocket::bind((HERE, 0)).await.unwrap();
    let both = ChangeRequest {
        address: true,
        port: true,
    };
    // Too short for any answer, for the other address, for everything.
    for (padding, wants_other) in [(0, None), (4, Some(false)), (24, Some(true))] {
        let request = request(Some(both), padding);
        socket.send_to(&request, relay.addresses.udp[0]).await.unwrap();
        let Some(wants_other) = wants_other else {
            relay.until(|metrics| metrics.udp_dropped_total.value(), 1).await;
            continue;
        };
        let (answer, from) = heard(&socket).await;
        assert_eq!(from, relay.addresses.other[0]);
        assert!(answer.len() <= request.len());
        let answer = Message::from_bytes(&answer).unwrap();
        assert_eq!(
            answer.transaction_id(),
            Message::from_bytes(&request).unwrap().transaction_id()
        );
        assert_eq!(answer.attribute::<OtherAddress>().is_ok(), wants_other);
    }
}

/// What our own client makes of it.
async fn discover(server: SocketAddr) -> Behaviour {
    let socket = UdpSocket::bind((HERE, 0)).await.unwrap();
    let ids = Box::new(TransactionId::generate);
    let mut discovery = Discovery::new(Instant::now(), server, Schedule::default(), ids);
    loop {
        while let Some((to, datagram)) = discovery.poll_transmit() {
            socket.send_to(&datagram, to).await.unwrap();
        }
        if let Some(outcome) = discovery.poll_outcome() {
            return outcome.unwrap();
        }
        let due = discovery.poll_timeout().unwrap();
        let mut buffer = [0; 2048];
        match tokio::time::timeout_at(due.into(), socket.recv_from(&mut buffer)).await {
            Ok(heard) => {
                let (length, from) = heard.unwrap();
                discovery.handle_datagram(Instant::now(), from, &buffer[..length]);
            }
            Err(_) => discovery.handle_timeout(Instant::now()),
        }
    }
}

#[tokio::test]
async fn our_client_finds_no_nat_on_loopback() {
    let relay = start(true);
    let behaviour = discover(relay.addresses.udp[0]).await;
    assert_eq!(behaviour.mapped.ip(), HERE);
    assert_eq!(behaviour.mapping, Dependence::EndpointIndependent);
    assert_eq!(behaviour.filtering, Dependence::EndpointIndependent);
}

#[tokio::test]
async fn coturns_client_finds_no_nat_on_loopback() {
    let relay = start(true);
    let port = relay.addresses.udp[0].port().to_string();
    let run = move || {
        let output = Command::new("timeout")
            .args([
                "60",
                "turnutils_natdiscovery",
                "-m",
                "-f",
                "-p",
                &port,
                "127.0.0.1",
            ])
            .stdin(Stdio::null())
            .output();
        // 127: `timeout` did not find it.
        let output = output.ok().filter(|output| output.status.code() != Some(127))?;
        Some(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let Some(said) = tokio::task::spawn_blocking(run).await.unwrap() else {
        eprintln!("not run: turnutils_natdiscovery (coturn) is not installed");
        return;
    };
    for found in [
        "NAT with Endpoint Independent Mapping!",
        "NAT with Endpoint Independent Filtering!",
    ] {
        assert!(said.contains(found), "{said}");
    }
}

#[test]
fn two_addresses_that_are_not_two_are_refused() {
    let check = |change: fn(&mut Config)| {
        let mut config = config();
        config.udp = vec!["127.0.0.1:3478".parse().unwrap()];
        config.other = vec!["127.0.0.2:3479".parse().unwrap()];
        change(&mut config);
        config.check().map_err(|bad| bad.to_string())
    };
    assert_eq!(check(|_| ()), Ok(()));
    // What listens everywhere listens, for this, at the relay's own address.
    assert_eq!(
        check(|config| config.udp[0].set_ip("0.0.0.0".parse().unwrap())),
        Ok(())
    );
    for change in [
        (|config: &mut Config| config.other[0].set_port(3478)) as fn(&mut Config),
        |config| config.other[0].set_ip(HERE),
        |config| config.other[0].set_ip("::1".parse().unwrap()),
        |config| config.other[0].set_ip("0.0.0.0".parse().unwrap()),
        |config| config.other.push("127.0.0.3:3479".parse().unwrap()),
        |config| config.udp.clear(),
    ] {
        assert!(check(change).unwrap_err().contains("other"));
    }
}
