//! Requests and their refusals, each with the code that its RFC gives it.

use std::net::{IpAddr, SocketAddr};

use stun_types::attribute::{AttributeType, RawAttribute};
use stun_types::message::{BINDING, Method};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use turn_types::attribute::{ConnectionId, EvenPort, Lifetime, RequestedAddressFamily, RequestedTransport};
use turn_types::message::{ALLOCATE, CONNECT, CONNECTION_BIND, CREATE_PERMISSION, REFRESH};

use crate::client::{HERE, config, drain, start};

#[tokio::test]
async fn nothing_is_lent_without_credentials_or_with_wrong_ones() {
    let relay = start(config());
    let mut client = relay.client("anna").await;
    assert_eq!(
        client.once(ALLOCATE, &[&RequestedTransport::new(6)]).await.code(),
        401
    );
    client.password = "wrong".into();
    for _ in 0..4 {
        assert_eq!(client.allocate(&[]).await.code(), 401);
    }
    assert_eq!(client.allocate(&[]).await.code(), 401);
    // That was the last try.
    assert_eq!(drain(&mut client.stream).await, (Vec::new(), Ok(())));
    assert_eq!(relay.metrics.wrong_credentials_total.value(), 5);
    assert_eq!(relay.metrics.allocations_total.value(), 0);
}

#[tokio::test]
async fn a_nonce_that_is_not_ours_is_stale() {
    let relay = start(config());
    let mut client = relay.client("anna").await;
    client.nonce = Some("00".repeat(20));
    assert_eq!(client.allocate(&[]).await.code(), 438);
    client.nonce = None;
    client.allocate(&[]).await.success();
}

#[tokio::test]
async fn a_connection_has_one_allocation_and_one_user() {
    let relay = start(config());
    let mut client = relay.client("anna").await;
    assert_eq!(client.request(REFRESH, &[]).await.code(), 437);
    assert_eq!(client.connect((HERE, 9).into()).await.code(), 437);
    client.allocate(&[]).await.success();
    assert_eq!(client.allocate(&[]).await.code(), 437);
    client.user = "bob".into();
    assert_eq!(client.request(REFRESH, &[]).await.code(), 441);
    assert_eq!(client.connect((HERE, 9).into()).await.code(), 441);
    client.user = "anna".into();
    let lifetime: Lifetime = client.request(REFRESH, &[]).await.success().get().unwrap();
    assert_eq!(lifetime.seconds(), 600);
    let long = client.request(REFRESH, &[&Lifetime::new(1_000_000)]).await;
    assert_eq!(long.get::<Lifetime>().unwrap().seconds(), 3600);
    let gone = client.request(REFRESH, &[&Lifetime::new(0)]).await;
    assert_eq!(gone.get::<Lifetime>().unwrap().seconds(), 0);
    assert_eq!(client.request(REFRESH, &[]).await.code(), 437);
    assert_eq!(relay.metrics.allocations.value(), 0);
    client.allocate(&[]).await.success();
}

#[tokio::test]
async fn what_an_allocation_over_tcp_cannot_have_is_refused() {
    let relay = start(config());
    let mut client = relay.client("anna").await;
    assert_eq!(client.request(ALLOCATE, &[]).await.code(), 400);
    let udp = RequestedTransport::new(17);
    assert_eq!(client.request(ALLOCATE, &[&udp]).await.code(), 442);
    assert_eq!(client.allocate(&[&EvenPort::new(false)]).await.code(), 400);
    let ipv6 = RequestedAddressFamily::new(stun_types::AddressFamily::IPV6);
    assert_eq!(client.allocate(&[&ipv6]).await.code(), 440);
    let unknown = RawAttribute::new(AttributeType::new(0x7777), b"what");
    assert_eq!(client.allocate(&[&unknown]).await.code(), 420);
    let ignored = RawAttribute::new(AttributeType::new(0xf777), b"what");
    client.allocate(&[&ignored]).await.success();
    assert_eq!(client.request(Method::new(0x009), &[]).await.code(), 400);
}

#[tokio::test]
async fn an_account_has_its_quota_and_gets_it_back() {
    let mut config = config();
    config.accounts[0].limits.allocations = 2;
    config.accounts[0].limits.connections = 1;
    let relay = start(config);
    let (mut one, mut two, mut three) = (
        relay.client("anna").await,
        relay.client("anna").await,
        relay.client("anna").await,
    );
    one.allocate(&[]).await.success();
    two.allocate(&[]).await.success();
    assert_eq!(three.allocate(&[]).await.code(), 486);
    relay.client("bob").await.allocate(&[]).await.success();
    drop(one);
    relay.until(|metrics| metrics.allocations.value(), 1).await;
    three.allocate(&[]).await.success();

    let listener = TcpListener::bind((HERE, 0)).await.unwrap();
    let peer = listener.local_addr().unwrap();
    two.connect(peer).await.success();
    assert_eq!(three.connect(peer).await.code(), 486);
}

#[tokio::test]
async fn peers_come_in_by_permission_only() {
    let relay = start(config());
    let mut control = relay.client("anna").await;
    let relayed = control.allocate(&[]).await.success().relayed();
    let mut early = TcpStream::connect(relayed).await.unwrap();
    assert!(drain(&mut early).await.1.is_err());
    control.permit(HERE).await;
    let elsewhere = TcpSocket::new_v4().unwrap();
    elsewhere.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut stranger = elsewhere.connect(relayed).await.unwrap();
    assert!(drain(&mut stranger).await.1.is_err());
    let peer = TcpStream::connect(relayed).await.unwrap();
    assert_eq!(control.attempt().await.peer(), peer.local_addr().unwrap());
    assert_eq!(relay.metrics.peers_refused_total.value(), 2);
}

#[tokio::test]
async fn connect_tells_what_came_of_it() {
    let relay = start(config());
    let mut control = relay.client("anna").await;
    control.allocate(&[]).await.success();
    let listener = TcpListener::bind((HERE, 0)).await.unwrap();
    let peer = listener.local_addr().unwrap();
    control.connect(peer).await.success();
    assert_eq!(control.connect(peer).await.code(), 446);
    let closed = TcpListener::bind((HERE, 0)).await.unwrap().local_addr().unwrap();
    assert_eq!(control.connect(closed).await.code(), 447);
    assert_eq!(control.request(CONNECT, &[]).await.code(), 400);
    assert_eq!(
        control
            .about(CONNECT, &["[2a00::1]:9".parse().unwrap()])
            .await
            .code(),
        443
    );
}

#[tokio::test]
async fn a_peer_is_fetched_once_and_by_its_owner() {
    let relay = start(config());
    let mut control = relay.client("anna").await;
    let relayed = control.allocate(&[]).await.success().relayed();
    control.permit(HERE).await;
    let _peer = TcpStream::connect(relayed).await.unwrap();
    let id = ConnectionId::new(control.attempt().await.id());
    assert_eq!(
        relay
            .client("bob")
            .await
            .request(CONNECTION_BIND, &[&id])
            .await
            .code(),
        441
    );
    assert_eq!(control.request(CONNECTION_BIND, &[&id]).await.code(), 400);
    let _client = relay.bind("anna", id.id()).await;
    let mut again = relay.client("anna").await;
    assert_eq!(again.request(CONNECTION_BIND, &[&id]).await.code(), 400);
    assert_eq!(again.request(CONNECTION_BIND, &[]).await.code(), 400);
    assert_eq!(again.request(BINDING, &[]).await.code(), 0);
}

/// Spellings of one IPv4 address.
fn spellings(v4: &str) -> Vec<IpAddr> {
    let address: std::net::Ipv4Addr = v4.parse().unwrap();
    let [a, b, c, d] = address.octets();
    [
        v4.to_owned(),
        format!("::ffff:{v4}"),
        format!("::{v4}"),
        format!("64:ff9b::{v4}"),
        format!("2002:{a:02x}{b:02x}:{c:02x}{d:02x}::1"),
        format!("2001:0:808:808::{:02x}{:02x}:{:02x}{:02x}", !a, !b, !c, !d),
    ]
    .iter()
    .map(|text| text.parse().unwrap())
    .collect()
}

#[tokio::test]
async fn no_spelling_of_a_private_address_is_reached() {
    let mut config = config();
    config.danger_allow_private_peers = false;
    let relay = start(config);
    let mut control = relay.client("anna").await;
    control.allocate(&[]).await.success();
    let mut peers: Vec<IpAddr> = Vec::new();
    for v4 in [
        "0.0.0.0",
        "10.0.0.1",
        "100.64.0.1",
        "127.0.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "192.0.0.1",
        "192.0.2.1",
        "192.168.0.1",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
    ] {
        peers.extend(spellings(v4));
    }
    for v6 in ["::", "::1", "fe80::1", "fc00::1", "ff02::1", "2001:db8::1"] {
        peers.push(v6.parse().unwrap());
    }
    for peer in peers {
        let peer = SocketAddr::new(peer, 80);
        assert_eq!(
            control.about(CREATE_PERMISSION, &[peer]).await.code(),
            403,
            "{peer}"
        );
        assert_eq!(control.about(CONNECT, &[peer]).await.code(), 403, "{peer}");
        let hidden = ["9.9.9.9:80".parse().unwrap(), peer];
        assert_eq!(
            control.about(CREATE_PERMISSION, &hidden).await.code(),
            403,
            "{peer}"
        );
    }
    assert_eq!(control.about(CREATE_PERMISSION, &[]).await.code(), 400);
    control
        .about(CREATE_PERMISSION, &["9.9.9.9:80".parse().unwrap()])
        .await
        .success();
}

#[tokio::test]
async fn an_expired_name_makes_nothing_new() {
    let mut config = config();
    let secret = pasarela_relay::Secret::new("shared".into());
    config.accounts[0].credential = pasarela_relay::Credential::Shared(secret);
    let relay = start(config);
    for (username, code) in [("4000000000:anna", 0), ("1000000000:anna", 401)] {
        let mut client = relay.client(username).await;
        client.password = pasarela_relay::shared_password("shared", username);
        assert_eq!(client.allocate(&[]).await.code(), code);
    }
    assert_eq!(relay.client("anna").await.allocate(&[]).await.code(), 401);
}
