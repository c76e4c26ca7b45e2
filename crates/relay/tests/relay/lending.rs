//! Ports and names that are lent, open doors, and calling back.

use pasarela_nat_proto::extension::{AnyPeer, DialBack, Dialled, LendName, LendPort};
use pasarela_relay::Config;
use stun_types::message::BINDING;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::client::{Client, HERE, any_lent_port, config, drain, start};

#[tokio::test]
async fn a_lent_port_has_one_owner_and_is_free_when_that_one_goes() {
    let relay = start(config());
    let mut anna = relay.client("anna").await;
    let answer = anna.allocate(&[&any_lent_port()]).await.success();
    let port = answer.relayed().port();
    let exactly = LendPort::new(&(port..=port)).unwrap();
    assert_eq!(answer.get::<LendPort>(), Some(exactly.clone()));
    let mut bob = relay.client("bob").await;
    assert_eq!(bob.allocate(&[&exactly]).await.code(), 508);

    // A peer is still connected when the owner goes: no matter.
    anna.permit(HERE).await;
    let _peer = TcpStream::connect(answer.relayed()).await.unwrap();
    let _client = relay.bind("anna", anna.attempt().await.id()).await;
    drop(anna);
    relay.until(|metrics| metrics.allocations.value(), 0).await;
    assert_eq!(bob.allocate(&[&exactly]).await.success().relayed().port(), port);
}

#[tokio::test]
async fn a_connect_from_a_lent_port_does_not_free_it() {
    let relay = start(config());
    let mut anna = relay.client("anna").await;
    let port = anna
        .allocate(&[&any_lent_port()])
        .await
        .success()
        .relayed()
        .port();
    let listener = TcpListener::bind((HERE, 0)).await.unwrap();
    let connected = anna.connect(listener.local_addr().unwrap()).await.success();
    let (_peer, from) = listener.accept().await.unwrap();
    assert_eq!(from.port(), port);
    let exactly = LendPort::new(&(port..=port)).unwrap();
    let mut bob = relay.client("bob").await;
    assert_eq!(bob.allocate(&[&exactly]).await.code(), 508);
    // The connection lives on, and does not hold the port either.
    let _client = relay.bind("anna", connected.id()).await;
    drop(anna);
    relay.until(|metrics| metrics.allocations.value(), 0).await;
    bob.allocate(&[&exactly]).await.success();
}

#[tokio::test]
async fn a_lent_port_is_back_after_a_restart_with_peers_connected() {
    let relay = start(config());
    let mut anna = relay.client("anna").await;
    let relayed = anna.allocate(&[&any_lent_port()]).await.success().relayed();
    anna.permit(HERE).await;
    let mut peer = TcpStream::connect(relayed).await.unwrap();
    let mut client = relay.bind("anna", anna.attempt().await.id()).await;
    client.shutdown().await.unwrap();
    peer.shutdown().await.unwrap();
    assert_eq!(drain(&mut client).await.1, Ok(()));
    relay.stop().await;
    let relay = start(config());
    let exactly = LendPort::new(&(relayed.port()..=relayed.port())).unwrap();
    let again = relay.client("anna").await.allocate(&[&exactly]).await.success();
    assert_eq!(again.relayed(), relayed);
}

#[tokio::test]
async fn ports_and_doors_that_an_account_may_not_have_are_forbidden() {
    let mut config = config();
    config.accounts[1].any_peer = false;
    config.names = vec![(HERE, 0).into()];
    let relay = start(config);
    let mut bob = relay.client("bob").await;
    let low = LendPort::new(&(21..=21)).unwrap();
    assert_eq!(bob.allocate(&[&low]).await.code(), 403);
    assert_eq!(bob.allocate(&[&AnyPeer]).await.code(), 403);
    let name = LendName::new("ftp.example.com").unwrap();
    assert_eq!(bob.allocate(&[&name]).await.code(), 403);
    // The range is cut to what is allowed.
    let wide = LendPort::new(&(1..=65_535)).unwrap();
    let port = bob.allocate(&[&wide]).await.success().relayed().port();
    assert!((20_000..=25_000).contains(&port));
    // Who wishes for nothing gets none of the lendable.
    let port = relay
        .client("anna")
        .await
        .allocate(&[])
        .await
        .success()
        .relayed()
        .port();
    assert!((25_001..=32_000).contains(&port));
}

#[tokio::test]
async fn an_open_door_lets_strangers_in_and_tells_who_they_are() {
    let relay = start(config());
    let mut anna = relay.client("anna").await;
    let answer = anna.allocate(&[&any_lent_port(), &AnyPeer]).await.success();
    assert_eq!(answer.get::<AnyPeer>(), Some(AnyPeer));
    let elsewhere = TcpSocket::new_v4().unwrap();
    elsewhere.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut stranger = elsewhere.connect(answer.relayed()).await.unwrap();
    let attempt = anna.attempt().await;
    assert_eq!(attempt.peer(), stranger.local_addr().unwrap());
    let mut client = relay.bind("anna", attempt.id()).await;
    client.write_all(b"220 hello").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(drain(&mut stranger).await, (b"220 hello".to_vec(), Ok(())));
}

async fn dial_back(client: &mut Client<TcpStream>, port: u16) -> (u16, Option<Dialled>) {
    let wish = DialBack {
        port,
        result: Dialled::NotYet,
    };
    let answer = client.request(BINDING, &[&wish]).await;
    let result: Option<DialBack> = answer.get();
    (answer.code(), result.map(|back| back.result))
}

#[tokio::test]
async fn a_dial_back_goes_to_the_one_who_asks_and_says_nothing() {
    let mut config = config();
    config.accounts[0].limits.dial_backs_per_minute = 2;
    config.accounts[1].dial_back = false;
    let relay = start(config);
    // The relay listens on all of loopback's addresses only in so far as the client comes from one of them.
    let own = "127.0.0.3:0".parse().unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(own).unwrap();
    let mut anna = Client::new(socket.connect(relay.address).await.unwrap(), "anna");
    let mine = TcpListener::bind("127.0.0.3:0").await.unwrap();
    let port = mine.local_addr().unwrap().port();
    let (outcome, accepted) = tokio::join!(dial_back(&mut anna, port), mine.accept());
    assert_eq!(outcome, (0, Some(Dialled::Connected)));
    let (mut stream, from) = accepted.unwrap();
    assert_eq!(from.ip(), HERE);
    assert_eq!(drain(&mut stream).await, (Vec::new(), Ok(())));

    // Somebody else's listener is not reached.
    let others = TcpListener::bind((HERE, 0)).await.unwrap();
    let port = others.local_addr().unwrap().port();
    assert_eq!(dial_back(&mut anna, port).await, (0, Some(Dialled::Refused)));
    assert_eq!(dial_back(&mut anna, port).await, (486, None));
    assert_eq!(dial_back(&mut relay.client("bob").await, port).await, (403, None));
    let mut nobody = relay.client("nobody").await;
    assert_eq!(dial_back(&mut nobody, port).await, (401, None));
    assert_eq!(relay.metrics.dial_backs_total.value(), 2);
}

#[tokio::test]
async fn a_dial_back_into_the_relays_own_network_is_forbidden() {
    let mut config: Config = config();
    config.danger_allow_private_peers = false;
    let relay = start(config);
    assert_eq!(dial_back(&mut relay.client("anna").await, 80).await, (403, None));
    assert_eq!(relay.metrics.dial_backs_total.value(), 0);
}
