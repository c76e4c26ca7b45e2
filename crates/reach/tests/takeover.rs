//! With our own relay: a connection that is lost on one side only costs nothing but the moment.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use pasarela_reach::{Listening, Plan, Reach, Via};
use pasarela_relay::{Account, Config, Credential, Relay, RelayAddress, Secret};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(30);
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Where the relay lends, so that the port's number is free there.
const OUTSIDE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

fn relay() -> Relay {
    let mut config = Config::new("example.org");
    config.tcp = vec![(OUTSIDE, 0).into()];
    config.relay = vec![RelayAddress {
        bind: OUTSIDE,
        public: OUTSIDE,
    }];
    let mut account = Account::new("anna", Credential::Password(Secret::new("sesame".into())));
    account.any_peer = true;
    account.ports = vec![1024..=65_535];
    config.accounts = vec![account];
    config.danger_allow_private_peers = true;
    Relay::bind(config).unwrap()
}

/// A way to the relay that, when it is `cut`, closes at the near side and stays as it is at the relay's.
async fn way(listener: TcpListener, relay: SocketAddr, cut: Arc<Notify>) {
    loop {
        let (mut near, _) = listener.accept().await.unwrap();
        let cut = Arc::clone(&cut);
        tokio::spawn(async move {
            let mut far = TcpStream::connect(relay).await.unwrap();
            tokio::select! {
                _ = copy_bidirectional(&mut near, &mut far) => {}
                () = cut.notified() => {
                    drop(near);
                    std::future::pending::<()>().await;
                }
            }
        });
    }
}

#[tokio::test]
async fn a_relay_that_has_not_noticed_gives_the_same_port_back() {
    let relay = relay();
    let (at, metrics, handle) = (relay.local_addrs().tcp[0], relay.metrics(), relay.handle());
    tokio::spawn(relay.run());
    let (entrance, cut) = (TcpListener::bind((HERE, 0)).await.unwrap(), Arc::default());
    let url = format!("turn:anna:sesame@{}", entrance.local_addr().unwrap());
    tokio::spawn(way(entrance, at, Arc::clone(&cut)));

    let listener = TcpListener::bind((HERE, 0)).await.unwrap();
    let inside = listener.local_addr().unwrap();
    let reach = Reach::new(Plan {
        rungs: BTreeSet::from([Via::Relayed]),
        turn: vec![url.parse().unwrap()],
        ..Plan::default()
    });
    let mut publication = reach.publish(Listening {
        address: inside,
        shares_port: false,
        greeting: None,
        scheme: Some("ftp"),
    });
    let mut report = publication.report();
    let climbed = timeout(PATIENCE, report.wait_for(|report| !report.rungs.is_empty()));
    let lent = climbed.await.unwrap().unwrap().best().unwrap().outcome.endpoint();
    let lent = lent.unwrap();
    assert_eq!(lent, SocketAddr::new(OUTSIDE, inside.port()));

    cut.notify_waiters();
    let again = async {
        while metrics.allocations_total.value() < 2 {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, again).await.unwrap();
    let _peer = TcpStream::connect(lent).await.unwrap();
    timeout(PATIENCE, publication.arrival()).await.unwrap().unwrap();
    publication.close().await;
    handle.stop();
}
