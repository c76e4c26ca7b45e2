//! With our own relay: it says from outside whether a port that we hold open can be connected to.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use pasarela_nat_proto::extension::Dialled;
use pasarela_reach::turn::{Allocation, ProtocolError, TurnError, TurnServer};
use pasarela_reach::{Forward, Listening, Outcome, Plan, Proof, PublicHost, Reach, Reason, Rung, Via};
use pasarela_relay::{Account, Config, Credential, Handle, Metrics, Relay, RelayAddress, Secret};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// The relay's address: what listens there it does not call back.
const OUTSIDE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

struct Running {
    server: TurnServer,
    metrics: Arc<Metrics>,
    handle: Handle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.stop();
    }
}

fn relay(dials_back: bool) -> Running {
    let mut config = Config::new("example.org");
    config.tcp = vec![(OUTSIDE, 0).into()];
    config.relay = vec![RelayAddress {
        bind: OUTSIDE,
        public: OUTSIDE,
    }];
    let mut account = Account::new("anna", Credential::Password(Secret::new("sesame".into())));
    account.any_peer = true;
    account.dial_back = dials_back;
    config.accounts = vec![account];
    config.danger_allow_private_peers = true;
    let relay = Relay::bind(config).unwrap();
    let address = relay.local_addrs().tcp[0];
    let running = Running {
        server: format!("turn:anna:sesame@{address}").parse().unwrap(),
        metrics: relay.metrics(),
        handle: relay.handle(),
    };
    tokio::spawn(relay.run());
    running
}

/// A port that is ours and where nobody listens, as long as the socket lives.
fn closed() -> (TcpSocket, u16) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((HERE, 0).into()).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

#[tokio::test]
async fn the_relay_tells_an_open_port_from_a_closed_one() {
    let relay = relay(true);
    let (allocation, _incoming) = Allocation::open(&relay.server, Vec::new(), PATIENCE)
        .await
        .unwrap();
    assert_eq!(allocation.mapped().ip(), HERE);
    assert_eq!(allocation.server().ip(), OUTSIDE);
    let listener = TcpListener::bind((HERE, 0)).await.unwrap();
    let open = listener.local_addr().unwrap().port();
    let (_closed, closed) = closed();
    let (first, second, same, (_, from)) = tokio::join!(
        allocation.dial_back(open),
        allocation.dial_back(closed),
        allocation.dial_back(open),
        async { listener.accept().await.unwrap() },
    );
    assert_eq!(first.unwrap(), Some(Dialled::Connected));
    assert_eq!(second.unwrap(), Some(Dialled::Refused));
    assert_eq!(same.unwrap(), Some(Dialled::Connected));
    assert_eq!(from.ip(), OUTSIDE);
    // The same question at the same time is asked once.
    assert_eq!(relay.metrics.dial_backs_total.value(), 2);
}

#[tokio::test]
async fn a_relay_that_may_not_dial_back_says_so_and_the_allocation_lives() {
    let relay = relay(false);
    let (allocation, _incoming) = Allocation::open(&relay.server, Vec::new(), PATIENCE)
        .await
        .unwrap();
    let refused = allocation.dial_back(2121).await;
    assert!(
        matches!(&refused, Err(TurnError::Protocol(ProtocolError::Refused(why))) if why.code == 403),
        "{refused:?}"
    );
    allocation.permit(HERE).await.unwrap();
}

/// What the operator's word comes to for a port that listens, where he says that `outside` leads there.
async fn operators_word(relay: &Running, inside: SocketAddr, outside: u16) -> Rung {
    let reach = Reach::new(Plan {
        rungs: BTreeSet::from([Via::Fixed, Via::Relayed]),
        public: Some(PublicHost::Address(HERE)),
        forwards: vec![Forward {
            outside,
            inside: inside.port(),
        }],
        turn: vec![relay.server.clone()],
        ..Plan::default()
    });
    let publication = reach.publish(Listening {
        address: inside,
        shares_port: false,
        greeting: None,
        scheme: Some("ftp"),
    });
    let mut report = publication.report();
    let climbed = timeout(PATIENCE, report.wait_for(|report| !report.rungs.is_empty()));
    let report = climbed.await.unwrap().unwrap().clone();
    publication.close().await;
    let fixed = report.rungs.into_iter().find(|rung| rung.via == Via::Fixed);
    fixed.unwrap()
}

#[tokio::test]
async fn the_operators_word_stands_or_falls_with_what_the_relay_finds() {
    let relay = relay(true);
    let listener = TcpListener::bind((HERE, 0)).await.unwrap();
    let inside = listener.local_addr().unwrap();
    let rung = operators_word(&relay, inside, inside.port()).await;
    assert!(rung.outcome.has_proof(Proof::DialBack), "{rung:?}");

    let (_closed, closed) = closed();
    let rung = operators_word(&relay, inside, closed).await;
    assert!(
        matches!(
            &rung.outcome,
            Outcome::Refused { reason: Reason::DialledBack(endpoint, _) } if endpoint.port() == closed
        ),
        "{rung:?}"
    );
}

#[tokio::test]
async fn what_comes_through_our_relay_is_told_to_come_through_ours() {
    let relay = relay(true);
    let listener = TcpListener::bind((HERE, 0)).await.unwrap();
    let reach = Reach::new(Plan {
        rungs: BTreeSet::from([Via::Relayed]),
        turn: vec![relay.server.clone()],
        ..Plan::default()
    });
    let mut publication = reach.publish(Listening {
        address: listener.local_addr().unwrap(),
        shares_port: false,
        greeting: None,
        scheme: Some("ftp"),
    });
    let mut report = publication.report();
    let climbed = timeout(PATIENCE, report.wait_for(|report| !report.rungs.is_empty()));
    let lent = climbed.await.unwrap().unwrap().best().unwrap().outcome.endpoint();
    let _peer = TcpStream::connect(lent.unwrap()).await.unwrap();
    let arrived = timeout(PATIENCE, publication.arrival()).await.unwrap().unwrap();
    assert!(arrived.is_ours);
    publication.close().await;
}

#[tokio::test]
async fn without_dial_back_the_operators_word_stays_unproven() {
    let relay = relay(false);
    let listener = TcpListener::bind((HERE, 0)).await.unwrap();
    let inside = listener.local_addr().unwrap();
    let rung = operators_word(&relay, inside, inside.port()).await;
    assert!(matches!(rung.outcome, Outcome::Unproven { .. }), "{rung:?}");
}
