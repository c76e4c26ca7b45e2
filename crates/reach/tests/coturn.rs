//! Against coturn, the TURN server that others run. Skipped, with a word, where it is not installed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use pasarela_reach::stun::{self, Dependence, Line};
use pasarela_reach::turn::{Allocation, Incoming, ProtocolError, TurnError, TurnServer};
use pasarela_reach::{Listening, Plan, Reach, Via};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(30);
const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A coturn of our own.
struct Coturn {
    child: Child,
    port: u16,
    tls_port: u16,
    roots: RootCertStore,
    _folder: tempfile::TempDir,
}

impl Drop for Coturn {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Ports that are free now, and next to each other so that a range can be made of them.
fn free_ports(count: u16) -> u16 {
    let is_free = |port| {
        std::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
            && std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
    };
    loop {
        let first = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        if first
            .checked_add(count)
            .is_some_and(|end| (first..end).all(is_free))
        {
            return first;
        }
    }
}

impl Coturn {
    /// `None` where it is not installed.
    async fn start(arguments: &[&str]) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let certified =
            rcgen::generate_simple_self_signed(["relay.example".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        std::fs::write(&cert, certified.cert.pem()).unwrap();
        std::fs::write(&key, certified.signing_key.serialize_pem()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certified.cert.der().clone()).unwrap();

        // Main, TLS and their alternates, then the relayed ones.
        let first = free_ports(24);
        let option = |name: &str, value: &dyn std::fmt::Display| format!("--{name}={value}");
        let path = |path: &Path| path.display().to_string();
        let mut command = Command::new("turnserver");
        command
            .args([
                "-n",
                "--listening-ip=127.0.0.1",
                "--relay-ip=127.0.0.1",
                "--lt-cred-mech",
            ])
            .args([
                "-u",
                "lab:lab",
                "-r",
                "lab",
                "--no-dtls",
                "--no-cli",
                "--allow-loopback-peers",
            ])
            .args(["--log-file=stdout", "--simple-log", "--max-bps=0"])
            .arg(option("listening-port", &first))
            .arg(option("alt-listening-port", &(first + 1)))
            .arg(option("tls-listening-port", &(first + 2)))
            .arg(option("alt-tls-listening-port", &(first + 3)))
            .arg(option("min-port", &(first + 4)))
            .arg(option("max-port", &(first + 23)))
            .arg(option("cert", &path(&cert)))
            .arg(option("pkey", &path(&key)))
            .arg(option("pidfile", &path(&folder.path().join("pid"))))
            .arg(option("userdb", &path(&folder.path().join("db"))))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = match command.spawn() {
            Ok(child) => child,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                #[allow(clippy::print_stderr, reason = "a test that does not run says so")]
                {
                    eprintln!("skipped: turnserver (coturn) is not installed");
                }
                return None;
            }
            Err(error) => panic!("turnserver: {error}"),
        };
        let mut coturn = Self {
            child,
            port: first,
            tls_port: first + 2,
            roots,
            _folder: folder,
        };
        for port in [coturn.port, coturn.tls_port] {
            let deadline = Instant::now() + PATIENCE;
            while TcpStream::connect((LOCALHOST, port)).await.is_err() {
                assert_eq!(coturn.child.try_wait().unwrap(), None, "turnserver ended");
                assert!(Instant::now() < deadline, "turnserver does not listen");
                sleep(Duration::from_millis(20)).await;
            }
        }
        Some(coturn)
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::new(LOCALHOST, self.port)
    }

    fn plain(&self) -> TurnServer {
        format!("turn:lab:lab@127.0.0.1:{}?transport=tcp", self.port)
            .parse()
            .unwrap()
    }

    fn protected(&self) -> TurnServer {
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        TurnServer {
            port: self.tls_port,
            tls: Some(Arc::new(config)),
            ..self.plain()
        }
    }

    fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn open(server: &TurnServer) -> (Allocation, mpsc::Receiver<Incoming>) {
    let opened = Allocation::open(server, vec![(0xc001, b"not known to coturn".to_vec())], PATIENCE).await;
    opened.unwrap_or_else(|error| panic!("{error}"))
}

async fn taken(incoming: &mut mpsc::Receiver<Incoming>) -> Incoming {
    timeout(PATIENCE, incoming.recv()).await.unwrap().unwrap()
}

async fn read(stream: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    timeout(PATIENCE, stream.read_exact(&mut bytes))
        .await
        .unwrap()
        .unwrap();
    bytes
}

/// A conversation in which the peer speaks first, so that its bytes are there with the answer to ConnectionBind.
async fn converse(allocation: &Allocation, incoming: &mut mpsc::Receiver<Incoming>) {
    assert_eq!(allocation.relayed().ip(), LOCALHOST);
    assert_eq!(allocation.mapped().ip(), LOCALHOST);
    let mut peer = TcpStream::connect(allocation.relayed()).await.unwrap();
    peer.write_all(b"USER anna\r\n").await.unwrap();
    let mut arrived = taken(incoming).await;
    assert_eq!(arrived.peer, peer.local_addr().unwrap());
    assert_eq!(read(&mut arrived.stream, 11).await, b"USER anna\r\n");
    arrived.stream.write_all(b"331 and?\r\n").await.unwrap();
    assert_eq!(read(&mut peer, 10).await, b"331 and?\r\n");

    let sent: Vec<u8> = (0..100_000_u32).map(|index| ((index * 7) >> 3) as u8).collect();
    let (got, ()) = tokio::join!(read(&mut arrived.stream, sent.len()), async {
        peer.write_all(&sent).await.unwrap();
    });
    assert!(got == sent);
}

#[tokio::test]
async fn peers_connections_come_with_their_first_byte() {
    let Some(coturn) = Coturn::start(&["--server-relay"]).await else {
        return;
    };
    let (allocation, mut incoming) = open(&coturn.plain()).await;
    for _ in 0..20 {
        converse(&allocation, &mut incoming).await;
    }
}

#[tokio::test]
async fn a_server_that_is_not_ours_knows_no_dial_back_and_is_kept() {
    let Some(coturn) = Coturn::start(&["--server-relay"]).await else {
        return;
    };
    let (allocation, mut incoming) = open(&coturn.plain()).await;
    let dialled = allocation.dial_back(2121).await;
    assert!(matches!(dialled, Ok(None)), "{dialled:?}");
    converse(&allocation, &mut incoming).await;
}

#[tokio::test]
async fn what_comes_through_coturn_is_told_to_come_through_no_relay_of_ours() {
    let Some(coturn) = Coturn::start(&["--server-relay"]).await else {
        return;
    };
    let listener = TcpListener::bind((LOCALHOST, 0)).await.unwrap();
    let reach = Reach::new(Plan {
        rungs: [Via::Relayed].into(),
        turn: vec![coturn.plain()],
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
    assert!(!arrived.is_ours);
    publication.close().await;
}

#[tokio::test]
async fn peers_connections_come_over_tls() {
    let Some(coturn) = Coturn::start(&["--server-relay"]).await else {
        return;
    };
    let (allocation, mut incoming) = open(&coturn.protected()).await;
    for _ in 0..5 {
        converse(&allocation, &mut incoming).await;
    }
    // Trust is asked for: nobody signed this certificate for another name.
    let server = TurnServer {
        host: "localhost".to_owned(),
        ..coturn.protected()
    };
    let error = Allocation::open(&server, Vec::new(), PATIENCE).await.unwrap_err();
    assert!(matches!(error, TurnError::Tls(_)), "{error}");
}

#[tokio::test]
async fn several_peers_are_fetched_at_a_time() {
    let Some(coturn) = Coturn::start(&["--server-relay"]).await else {
        return;
    };
    let (allocation, mut incoming) = open(&coturn.plain()).await;
    let mut peers = Vec::new();
    for _ in 0..12 {
        peers.push(TcpStream::connect(allocation.relayed()).await.unwrap());
    }
    for (number, peer) in peers.iter_mut().enumerate() {
        peer.write_all(&[number as u8]).await.unwrap();
    }
    for _ in 0..peers.len() {
        let mut arrived = taken(&mut incoming).await;
        let number = usize::from(read(&mut arrived.stream, 1).await[0]);
        assert_eq!(arrived.peer, peers[number].local_addr().unwrap());
    }
}

#[tokio::test]
async fn a_peer_comes_through_once_it_is_permitted() {
    let Some(coturn) = Coturn::start(&[]).await else {
        return;
    };
    let (allocation, mut incoming) = open(&coturn.plain()).await;
    // coturn hangs up on it, at times before we know that it had accepted.
    if let Ok(mut stranger) = TcpStream::connect(allocation.relayed()).await {
        let ended = timeout(PATIENCE, stranger.read(&mut [0; 1])).await.unwrap();
        assert!(matches!(ended, Ok(0) | Err(_)));
    }
    assert!(incoming.try_recv().is_err());
    allocation.permit(LOCALHOST).await.unwrap();
    converse(&allocation, &mut incoming).await;
    allocation
        .permit("::ffff:127.0.0.1".parse().unwrap())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_refusal_keeps_the_servers_code() {
    let Some(coturn) = Coturn::start(&["--denied-peer-ip=192.0.2.1"]).await else {
        return;
    };
    let server = TurnServer {
        password: "guess".to_owned(),
        ..coturn.plain()
    };
    let error = Allocation::open(&server, Vec::new(), PATIENCE).await.unwrap_err();
    let TurnError::Protocol(ProtocolError::Refused(refusal)) = error else {
        panic!("{error}")
    };
    assert_eq!(refusal.code, 401);

    let (allocation, _incoming) = open(&coturn.plain()).await;
    let error = allocation.permit("192.0.2.1".parse().unwrap()).await.unwrap_err();
    let TurnError::Protocol(ProtocolError::Refused(refusal)) = error else {
        panic!("{error}")
    };
    assert_eq!(refusal.code, 403);
}

#[tokio::test]
async fn a_dropped_allocation_is_given_back() {
    let Some(coturn) = Coturn::start(&["--server-relay"]).await else {
        return;
    };
    let (allocation, mut incoming) = open(&coturn.plain()).await;
    let relayed = allocation.relayed();
    TcpStream::connect(relayed).await.unwrap();
    drop(allocation);
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(relayed).await.is_ok() {
        assert!(Instant::now() < deadline, "the relayed port still answers");
        sleep(Duration::from_millis(20)).await;
    }
    // What was fetched before may still come out, and then it is over.
    while timeout(PATIENCE, incoming.recv()).await.unwrap().is_some() {}
}

#[tokio::test]
async fn a_lost_server_is_told_to_everybody_who_waits() {
    let Some(mut coturn) = Coturn::start(&["--server-relay"]).await else {
        return;
    };
    let (allocation, mut incoming) = open(&coturn.plain()).await;
    coturn.stop();
    let error = timeout(PATIENCE, allocation.ended()).await.unwrap();
    assert!(matches!(error, TurnError::Lost(_)), "{error}");
    assert!(timeout(PATIENCE, incoming.recv()).await.unwrap().is_none());
    assert!(matches!(
        allocation.permit(LOCALHOST).await,
        Err(TurnError::Lost(_))
    ));
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let server: TurnServer = format!("turn:127.0.0.1:{port}").parse().unwrap();
    let error = Allocation::open(&server, Vec::new(), PATIENCE).await.unwrap_err();
    assert!(matches!(error, TurnError::Unreachable(_)), "{error}");
}

#[tokio::test]
async fn stun_tells_our_address_from_the_listening_port_and_over_udp() {
    let Some(coturn) = Coturn::start(&["--listening-ip=127.0.0.2"]).await else {
        return;
    };
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.set_reuseport(true).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(16).unwrap();
    let local = listener.local_addr().unwrap();
    let mut line = Line::open(local, coturn.address(), PATIENCE).await.unwrap();
    assert_eq!(line.ask(PATIENCE).await.unwrap(), local);
    assert_eq!(line.ask(PATIENCE).await.unwrap(), local);

    assert_eq!(
        stun::udp(coturn.address(), PATIENCE).await.unwrap().ip(),
        LOCALHOST
    );
    let behaviour = stun::behaviour(coturn.address(), PATIENCE).await.unwrap();
    let open = (Dependence::EndpointIndependent, Dependence::EndpointIndependent);
    assert_eq!((behaviour.mapping, behaviour.filtering), open);
}
