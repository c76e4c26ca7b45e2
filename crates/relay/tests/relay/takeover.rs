//! A client that lost its connection without a word, and who else may have what it was lent.

use pasarela_nat_proto::extension::{AnyPeer, Instance, LendName, LendPort};
use socket2::{SockFilter, SockRef};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use turn_types::message::REFRESH;

use crate::client::{Client, HERE, Running, any_lent_port, config, drain, start};

const ONE: Instance = Instance(*b"one-one-one-one!");
const OTHER: Instance = Instance(*b"other-other-oth!");

fn exactly(port: u16) -> LendPort {
    LendPort::new(&(port..=port)).unwrap()
}

/// A client with a lent port and an open door.
async fn holder(relay: &Running, instance: Instance) -> (Client<TcpStream>, u16) {
    let mut client = relay.client("anna").await;
    let wishes: [&dyn stun_types::attribute::AttributeWrite; 3] = [&any_lent_port(), &AnyPeer, &instance];
    let port = client.allocate(&wishes).await.success().relayed().port();
    (client, port)
}

/// From now on nothing reaches the client, and it answers nothing, as if its machine had lost power.
fn cut(client: &Client<TcpStream>) {
    /// BPF_RET with no byte kept.
    const DROP: SockFilter = SockFilter::new(0x06, 0, 0, 0);
    SockRef::from(&client.stream).attach_filter(&[DROP]).unwrap();
}

/// Asks until it gets the port: the last that the other one acknowledged may have been on its way when it was cut off.
async fn wait_for(relay: &Running, port: u16) -> Client<TcpStream> {
    let mut client = relay.client("anna").await;
    for _ in 0..3 {
        if client.allocate(&[&exactly(port), &AnyPeer, &OTHER]).await.code() == 0 {
            return client;
        }
    }
    panic!("the port stays taken");
}

#[tokio::test]
async fn who_comes_again_has_its_port_at_once_and_its_streams_live_on() {
    let mut config = config();
    config.accounts[0].limits.allocations = 1;
    let relay = start(config);
    let (mut first, port) = holder(&relay, ONE).await;
    let mut peer = TcpStream::connect((HERE, port)).await.unwrap();
    let mut carried = relay.bind("anna", first.attempt().await.id()).await;

    // The first connection still looks alive.
    let mut second = relay.client("anna").await;
    let answer = second.allocate(&[&exactly(port), &AnyPeer, &ONE]).await.success();
    assert_eq!(answer.relayed().port(), port);
    assert_eq!(answer.get::<LendPort>(), Some(exactly(port)));
    assert!(drain(&mut first.stream).await.0.is_empty());
    relay.until(|metrics| metrics.allocations.value(), 1).await;

    peer.write_all(b"still here").await.unwrap();
    peer.shutdown().await.unwrap();
    assert_eq!(drain(&mut carried).await, (b"still here".to_vec(), Ok(())));
    let late = TcpStream::connect((HERE, port)).await.unwrap();
    assert_eq!(second.attempt().await.peer(), late.local_addr().unwrap());

    // What was taken over is given back as what was not.
    drop(second);
    relay.until(|metrics| metrics.allocations.value(), 0).await;
    let mut bob = relay.client("bob").await;
    bob.allocate(&[&exactly(port)]).await.success();
}

#[tokio::test]
async fn who_comes_again_may_wish_for_another_port_and_leaves_the_old_one() {
    let relay = start(config());
    let (mut first, port) = holder(&relay, ONE).await;
    let (mut second, another) = holder(&relay, ONE).await;
    assert_ne!(port, another);
    drain(&mut first.stream).await.1.unwrap();
    relay.until(|metrics| metrics.allocations.value(), 1).await;
    let mut bob = relay.client("bob").await;
    bob.allocate(&[&exactly(port)]).await.success();
    second.request(REFRESH, &[]).await.success();
}

#[tokio::test]
async fn a_name_is_taken_over_too() {
    let mut config = config();
    config.names = vec![(HERE, 0).into()];
    let relay = start(config);
    let name = LendName::new("ftp.example.org").unwrap();
    let mut first = relay.client("anna").await;
    first.allocate(&[&name, &AnyPeer, &ONE]).await.success();
    let mut second = relay.client("anna").await;
    second.allocate(&[&name, &AnyPeer, &ONE]).await.success();
    drain(&mut first.stream).await.1.unwrap();
    // The end of the first did not take the name from the second.
    relay.until(|metrics| metrics.allocations.value(), 1).await;
    let mut bob = relay.client("bob").await;
    assert_eq!(bob.allocate(&[&name, &AnyPeer, &ONE]).await.code(), 508);
}

#[tokio::test]
async fn an_instance_of_another_account_takes_nothing() {
    let relay = start(config());
    let (mut anna, port) = holder(&relay, ONE).await;
    let mut bob = relay.client("bob").await;
    assert_eq!(bob.allocate(&[&exactly(port), &AnyPeer, &ONE]).await.code(), 508);
    anna.request(REFRESH, &[]).await.success();
}

#[tokio::test]
async fn of_two_servers_with_one_account_the_first_keeps_its_port() {
    let relay = start(config());
    let (mut first, port) = holder(&relay, ONE).await;
    let mut second = relay.client("anna").await;
    assert_eq!(
        second.allocate(&[&exactly(port), &AnyPeer, &OTHER]).await.code(),
        508
    );
    assert_eq!(second.allocate(&[&exactly(port), &AnyPeer]).await.code(), 508);
    first.request(REFRESH, &[]).await.success();
    let peer = TcpStream::connect((HERE, port)).await.unwrap();
    assert_eq!(first.attempt().await.peer(), peer.local_addr().unwrap());
}

#[tokio::test]
async fn the_port_of_a_server_without_power_goes_to_the_next_of_its_account() {
    let relay = start(config());
    let (first, port) = holder(&relay, ONE).await;
    cut(&first);
    let _second = wait_for(&relay, port).await;
    relay.until(|metrics| metrics.allocations.value(), 1).await;
}

#[tokio::test]
async fn it_does_so_too_while_peers_knock_at_it() {
    let relay = start(config());
    let (first, port) = holder(&relay, ONE).await;
    cut(&first);
    // The news of this one stays unacknowledged, and keepalive does not ask while it is.
    let _peer = TcpStream::connect((HERE, port)).await.unwrap();
    relay.until(|metrics| metrics.waiting.value(), 1).await;
    let _second = wait_for(&relay, port).await;
    relay.until(|metrics| metrics.allocations.value(), 1).await;
}
