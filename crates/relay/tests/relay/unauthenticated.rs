//! What strangers get: little, and never more than they give.

use std::time::Duration;

use stun_types::attribute::{AttributeType, RawAttribute, XorMappedAddress};
use stun_types::message::{BINDING, Message, MessageWriteVec};
use stun_types::prelude::{MessageWrite as _, MessageWriteExt as _};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpStream, UdpSocket};
use turn_types::message::ALLOCATE;

use crate::client::{HERE, Random, config, drain, start};

fn padded(method: stun_types::message::Method, padding: &[u8]) -> Vec<u8> {
    let mut message = Message::builder_request(method, MessageWriteVec::new());
    if !padding.is_empty() {
        let padding = RawAttribute::new(AttributeType::new(0x0026), padding);
        message.add_attribute(&padding).unwrap();
    }
    message.finish()
}

#[tokio::test]
async fn a_flood_over_udp_never_gets_back_more_than_it_sent() {
    let relay = start(config());
    let socket = UdpSocket::bind((HERE, 0)).await.unwrap();
    socket.connect(relay.addresses.udp[0]).await.unwrap();
    let mut random = Random::new(5);
    let (mut sent, mut came, mut answers) = (0, 0, 0);
    let mut buffer = [0; 2048];
    for round in 0..500 {
        let mut datagram = match round % 4 {
            0 => padded(BINDING, &[]),
            1 => padded(ALLOCATE, &[0; 64]),
            2 => padded(BINDING, &vec![0; random.below(64)]),
            _ => crate::client::bytes(round, random.below(200)),
        };
        if random.below(4) == 0 && !datagram.is_empty() {
            let at = random.below(datagram.len());
            datagram[at] ^= 0x40;
        }
        sent += socket.send(&datagram).await.unwrap();
        // The last word: one that is answered, so that all answers before it have come.
        let last = padded(BINDING, &[0; 12]);
        sent += socket.send(&last).await.unwrap();
        let id = Message::from_bytes(&last).unwrap().transaction_id();
        loop {
            let length = tokio::time::timeout(Duration::from_secs(5), socket.recv(&mut buffer))
                .await
                .expect("an answer")
                .unwrap();
            came += length;
            answers += 1;
            let answer = Message::from_bytes(&buffer[..length]).unwrap();
            if answer.transaction_id() == id {
                let mapped: XorMappedAddress = answer.attribute().unwrap();
                assert_eq!(mapped.addr(id), socket.local_addr().unwrap());
                break;
            }
        }
    }
    assert!(answers >= 500);
    assert!(came <= sent, "{came} for {sent}");
    assert!(relay.metrics.udp_dropped_total.value() > 200);
}

#[tokio::test]
async fn a_short_request_is_answered_where_the_operator_wants_it() {
    let mut config = config();
    config.short_binding_requests = true;
    let relay = start(config);
    let socket = UdpSocket::bind((HERE, 0)).await.unwrap();
    socket.connect(relay.addresses.udp[0]).await.unwrap();
    socket.send(&padded(BINDING, &[])).await.unwrap();
    let mut buffer = [0; 100];
    assert_eq!(socket.recv(&mut buffer).await.unwrap(), 32);
}

#[tokio::test]
async fn binding_over_tcp_needs_no_account() {
    let relay = start(config());
    let mut client = relay.client("nobody").await;
    let answer = client.once(BINDING, &[]).await.success();
    let mapped: XorMappedAddress = answer.get().unwrap();
    assert_eq!(
        mapped.addr(answer.message().transaction_id()),
        client.stream.local_addr().unwrap()
    );
}

/// Over TCP the handshake has proven the address, so that the answer may be longer than the request; it is still short.
#[tokio::test]
async fn a_challenge_over_tcp_fits_into_200_bytes() {
    let relay = start(config());
    let mut client = relay.client("nobody").await;
    for _ in 0..3 {
        let answer = client.once(ALLOCATE, &[]).await;
        assert_eq!(answer.code(), 401);
        assert!(answer.0.len() <= 200, "{} bytes", answer.0.len());
    }
}

#[tokio::test]
async fn who_does_not_authenticate_is_closed_in_time() {
    let mut config = config();
    config.authentication_deadline = Duration::from_millis(100);
    let relay = start(config);
    let mut silent = TcpStream::connect(relay.address).await.unwrap();
    let mut talks = relay.client("nobody").await;
    talks.once(BINDING, &[]).await.success();
    let mut member = relay.client("anna").await;
    member.allocate(&[]).await.success();
    assert_eq!(drain(&mut silent).await.1, Ok(()));
    assert_eq!(drain(&mut talks.stream).await.1, Ok(()));
    relay.until(|metrics| metrics.connections.value(), 1).await;
    assert_eq!(relay.metrics.unauthenticated_total.value(), 2);
    member.request(turn_types::message::REFRESH, &[]).await.success();
}

#[tokio::test]
async fn strangers_of_one_address_are_bounded_and_members_do_not_count() {
    let mut config = config();
    config.unauthenticated_per_address = 2;
    let relay = start(config);
    let mut members = Vec::new();
    for _ in 0..3 {
        let mut member = relay.client("anna").await;
        member.allocate(&[]).await.success();
        members.push(member);
    }
    let _strangers = (
        TcpStream::connect(relay.address).await.unwrap(),
        TcpStream::connect(relay.address).await.unwrap(),
    );
    let mut third = TcpStream::connect(relay.address).await.unwrap();
    assert!(drain(&mut third).await.1.is_err());
    assert_eq!(relay.metrics.connections_refused_total.value(), 1);
}

#[tokio::test]
async fn garbage_closes_the_connection() {
    let relay = start(config());
    for garbage in [
        &b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"[..],
        &[0xff; 40],
        &[0; 40],
    ] {
        let mut stream = TcpStream::connect(relay.address).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        assert!(drain(&mut stream).await.0.is_empty());
    }
    relay.until(|metrics| metrics.connections.value(), 0).await;
}
