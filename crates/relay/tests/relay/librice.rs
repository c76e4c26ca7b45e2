//! The TURN client of librice, which has TCP allocations, against our relay.
//!
//! It does not take peers in: it waits for ConnectionAttempt as a request, where RFC 6062 section 4.4 has an
//! indication.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use turn_client_proto::api::{TurnConfig, TurnEvent, TurnPollRet, TurnRecvRet};
use turn_client_proto::prelude::{DelayedTransmitBuild as _, TurnClientApi as _};
use turn_client_proto::stun::agent::Transmit;
use turn_client_proto::stun::auth::Feature;
use turn_client_proto::tcp::TurnClientTcp;
use turn_client_proto::types::{TransportType, TurnCredentials};

use crate::client::{HERE, PASSWORD, bytes, config, drain, start};

/// Longer than anything takes that works.
const PATIENCE: Duration = Duration::from_secs(20);

/// The client with its sockets, each known by its own address.
struct Librice {
    client: TurnClientTcp,
    begun: Instant,
    server: SocketAddr,
    sockets: HashMap<SocketAddr, OwnedWriteHalf>,
    heard: mpsc::UnboundedReceiver<(SocketAddr, Vec<u8>)>,
    hears: mpsc::UnboundedSender<(SocketAddr, Vec<u8>)>,
    /// What the peer has said; `None` stands for its end.
    peer: Vec<Option<Vec<u8>>>,
}

impl Librice {
    async fn allocate(server: SocketAddr, change: fn(&mut TurnConfig)) -> Self {
        let mut wishes = TurnConfig::new(TurnCredentials::new("anna", PASSWORD));
        wishes.set_allocation_transport(TransportType::Tcp);
        change(&mut wishes);
        let control = TcpStream::connect(server).await.unwrap();
        let (hears, heard) = mpsc::unbounded_channel();
        let mut librice = Self {
            client: TurnClientTcp::allocate(control.local_addr().unwrap(), server, wishes),
            begun: Instant::now(),
            server,
            sockets: HashMap::new(),
            heard,
            hears,
            peer: Vec::new(),
        };
        librice.add(control);
        librice
    }

    fn now(&self) -> turn_client_proto::stun::Instant {
        turn_client_proto::stun::Instant::from_std(self.begun)
    }

    /// Reads from one more socket.
    fn add(&mut self, stream: TcpStream) -> SocketAddr {
        let own = stream.local_addr().unwrap();
        let (mut reading, writing) = stream.into_split();
        self.sockets.insert(own, writing);
        let hears = self.hears.clone();
        tokio::spawn(async move {
            let mut buffer = vec![0; 16 * 1024];
            loop {
                let length = reading.read(&mut buffer).await.unwrap_or(0);
                if hears.send((own, buffer[..length].to_vec())).is_err() || length == 0 {
                    return;
                }
            }
        });
        own
    }

    /// Everything that can be done at once, and then the next that is heard or due; gives what has happened.
    async fn step(&mut self) -> Vec<TurnEvent> {
        let until = loop {
            match self.client.poll(self.now()) {
                TurnPollRet::AllocateTcpSocket {
                    id,
                    socket,
                    peer_addr,
                } => {
                    let own = self.add(TcpStream::connect(socket.to).await.unwrap());
                    let now = self.now();
                    self.client
                        .allocated_tcp_socket(id, socket, peer_addr, Some(own), now)
                        .unwrap();
                }
                TurnPollRet::WaitUntil(until) => break until,
                // Nothing here closes anything.
                other => panic!("{other:?}"),
            }
        };
        while let Some(transmit) = self.client.poll_transmit(self.now()) {
            let socket = self.sockets.get_mut(&transmit.from).unwrap();
            socket.write_all(transmit.data.as_ref()).await.unwrap();
        }
        while let Some(data) = self.client.poll_recv(self.now()) {
            self.peer.push(Some(data.data().to_vec()));
        }
        let events: Vec<_> = std::iter::from_fn(|| self.client.poll_event()).collect();
        if !events.is_empty() {
            return events;
        }
        let patience = until.saturating_duration_since(self.now());
        let Ok(heard) = timeout(patience, self.heard.recv()).await else {
            return Vec::new();
        };
        let (to, data) = heard.unwrap();
        let is_end = data.is_empty();
        let transmit = Transmit::new(data, TransportType::Tcp, self.server, to);
        match self.client.recv(transmit, self.now()) {
            TurnRecvRet::PeerData(data) => self.peer.push(Some(data.data().to_vec())),
            TurnRecvRet::Handled if is_end => self.peer.push(None),
            _ => {}
        }
        Vec::new()
    }

    /// The event that is waited for; any other is a failure.
    async fn event(&mut self) -> TurnEvent {
        let event = async {
            loop {
                if let Some(event) = self.step().await.pop() {
                    return event;
                }
            }
        };
        timeout(PATIENCE, event).await.expect("an event")
    }
}

/// Allocate, CreatePermission, Connect, ConnectionBind, data both ways, its end, and giving back.
async fn a_stream_both_ways(change: fn(&mut TurnConfig)) {
    let relay = start(config());
    let mut librice = Librice::allocate(relay.address, change).await;
    let event = librice.event().await;
    let TurnEvent::AllocationCreated(TransportType::Tcp, relayed) = event else {
        panic!("{event:?}");
    };
    assert_eq!(relayed.ip(), HERE);

    let listener = TcpListener::bind((HERE, 0)).await.unwrap();
    let at = listener.local_addr().unwrap();
    let now = librice.now();
    librice
        .client
        .create_permission(TransportType::Tcp, HERE, now)
        .unwrap();
    let event = librice.event().await;
    assert!(matches!(event, TurnEvent::PermissionCreated(..)), "{event:?}");
    let now = librice.now();
    librice.client.tcp_connect(at, now).unwrap();
    let event = librice.event().await;
    assert!(
        matches!(&event, TurnEvent::TcpConnected(peer) if *peer == at),
        "{event:?}"
    );
    let (peer, from) = listener.accept().await.unwrap();
    assert_eq!(from, relayed);

    let (up, down) = (bytes(1, 1_000_003), bytes(2, 1_000_003));
    let (mut reading, mut writing) = peer.into_split();
    let said = down.clone();
    let peer = tokio::spawn(async move {
        let says = async {
            writing.write_all(&said).await.unwrap();
            writing.shutdown().await.unwrap();
        };
        tokio::join!(says, drain(&mut reading)).1
    });
    let mut own = None;
    for chunk in up.chunks(20_000) {
        let now = librice.now();
        let sent = librice.client.send_to(TransportType::Tcp, at, chunk, now);
        let sent = sent.unwrap().unwrap();
        let socket = librice.sockets.get_mut(&sent.from).unwrap();
        own = Some(sent.from);
        socket.write_all(&sent.data.build()).await.unwrap();
    }
    let socket = librice.sockets.get_mut(&own.unwrap()).unwrap();
    socket.shutdown().await.unwrap();
    assert!(peer.await.unwrap() == (up, Ok(())));
    let ended = async {
        while !librice.peer.contains(&None) {
            librice.step().await;
        }
    };
    timeout(PATIENCE, ended).await.expect("the end");
    assert!(librice.peer.into_iter().flatten().flatten().eq(down));

    drop(librice.sockets);
    relay.until(|metrics| metrics.allocations.value(), 0).await;
    assert_eq!(relay.metrics.streams_reset_total.value(), 0);
    assert_eq!(relay.metrics.wrong_credentials_total.value(), 0);
}

#[tokio::test]
async fn librices_client_has_a_stream_both_ways() {
    a_stream_both_ways(|_| ()).await;
}

#[tokio::test]
async fn librices_client_has_one_with_sha_256_and_a_hashed_name_too() {
    a_stream_both_ways(|wishes| {
        wishes.set_supported_integrity(stun_types::message::IntegrityAlgorithm::Sha256);
        wishes.set_anonymous_username(Feature::Required);
    })
    .await;
}
