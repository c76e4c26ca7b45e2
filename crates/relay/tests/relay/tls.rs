//! Clients over TLS, and names that are lent on a port that many share.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;

use pasarela_nat_proto::extension::{AnyPeer, LendName};
use pasarela_relay::ALPN;
use pasarela_tls::{Material, ServerTls};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use turn_types::attribute::ConnectionId;
use turn_types::message::CONNECTION_BIND;

use crate::client::{Client, HERE, Running, bytes, config, drain, start};

struct Certificate {
    material: Material,
    connector: TlsConnector,
    _dir: tempfile::TempDir,
}

fn certificate(names: &[&str]) -> Certificate {
    let dir = tempfile::tempdir().unwrap();
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let material = Material::self_signed(dir.path(), &names).unwrap();
    let mut roots = RootCertStore::empty();
    let own = CertificateDer::from_pem_file(dir.path().join("certificate.pem")).unwrap();
    roots.add(own).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Certificate {
        material,
        connector: TlsConnector::from(Arc::new(config)),
        _dir: dir,
    }
}

async fn connect(
    certificate: &Certificate,
    to: SocketAddr,
    name: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(to).await?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    certificate.connector.connect(name, stream).await
}

fn start_tls(certificate: &Certificate) -> Running {
    let mut config = config();
    config.tls = vec![(HERE, 0).into()];
    config.certificate = Some(ServerTls::for_protocols(certificate.material.clone(), &ALPN).unwrap());
    start(config)
}

/// A stream whose client's end is in TLS.
async fn incoming(relay: &Running, certificate: &Certificate) -> (TlsStream<TcpStream>, TcpStream) {
    let at = relay.addresses.tls[0];
    let mut control = Client::new(connect(certificate, at, "localhost").await.unwrap(), "anna");
    let relayed = control.allocate(&[]).await.success().relayed();
    control.permit(HERE).await;
    let peer = TcpStream::connect(relayed).await.unwrap();
    let id = control.attempt().await.id();
    let mut data = Client::new(connect(certificate, at, "localhost").await.unwrap(), "anna");
    data.request(CONNECTION_BIND, &[&ConnectionId::new(id)])
        .await
        .success();
    (data.stream, peer)
}

#[tokio::test]
async fn a_client_over_tls_exchanges_with_its_peer_and_both_ends_are_clean() {
    let certificate = certificate(&[]);
    let relay = start_tls(&certificate);
    let (client, mut peer) = incoming(&relay, &certificate).await;
    let (there, back) = (bytes(1, 3 << 20), bytes(2, 1 << 20));
    let (mut reads, mut writes) = tokio::io::split(client);
    let writing = async {
        writes.write_all(&there).await.unwrap();
        writes.shutdown().await.unwrap();
    };
    let peers = async {
        let (got, end) = drain(&mut peer).await;
        peer.write_all(&back).await.unwrap();
        peer.shutdown().await.unwrap();
        (got, end)
    };
    let ((), (got_by_peer, end), got_by_client) = tokio::join!(writing, peers, drain(&mut reads));
    assert!(got_by_peer == there && end == Ok(()));
    assert!(got_by_client == (back, Ok(())));
    relay.until(|metrics| metrics.streams.value(), 0).await;
    assert_eq!(relay.metrics.streams_reset_total.value(), 0);
}

#[tokio::test]
async fn an_end_without_close_notify_is_a_reset_for_the_peer() {
    let certificate = certificate(&[]);
    let relay = start_tls(&certificate);
    let (mut client, mut peer) = incoming(&relay, &certificate).await;
    let sent = bytes(3, 200_000);
    client.write_all(&sent).await.unwrap();
    client.flush().await.unwrap();
    let (tcp, _) = client.get_mut();
    tcp.shutdown().await.unwrap();
    let (got, end) = drain(&mut peer).await;
    assert!(got == sent);
    assert_eq!(end, Err(ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn a_peers_reset_leaves_the_client_without_close_notify() {
    let certificate = certificate(&[]);
    let relay = start_tls(&certificate);
    let (mut client, mut peer) = incoming(&relay, &certificate).await;
    let sent = bytes(4, 200_000);
    peer.write_all(&sent).await.unwrap();
    relay
        .until(
            |metrics| metrics.bytes_to_clients_total.value(),
            sent.len() as u64,
        )
        .await;
    peer.set_zero_linger().unwrap();
    drop(peer);
    let (got, end) = drain(&mut client).await;
    assert!(got == sent);
    assert!(end.is_err());
}

#[tokio::test]
async fn two_servers_share_a_port_by_name_and_the_relay_sees_no_key() {
    let mut config = config();
    config.names = vec![(HERE, 0).into()];
    let relay = start(config);
    let shared_port = relay.addresses.names[0];
    let mut servers = Vec::new();
    for (user, name) in [("anna", "anna.example.org"), ("bob", "bob.example.org")] {
        let mut control = relay.client(user).await;
        let wish = LendName::new(name).unwrap();
        let answer = control.allocate(&[&wish, &AnyPeer]).await.success();
        assert_eq!(answer.relayed(), shared_port);
        assert_eq!(answer.get::<LendName>(), Some(wish));
        servers.push((control, user, name));
    }
    let taken = LendName::new("bob.example.org").unwrap();
    assert_eq!(relay.client("anna").await.allocate(&[&taken]).await.code(), 508);

    for (control, user, name) in &mut servers {
        let certificate = certificate(&[name]);
        let server = async {
            let attempt = control.attempt().await;
            let stream = relay.bind(user, attempt.id()).await;
            let tls = ServerTls::for_protocols(certificate.material.clone(), &[]).unwrap();
            let mut stream = tls.accept_control(stream).await.unwrap().stream;
            stream.write_all(name.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            attempt.peer()
        };
        let visitor = async {
            let mut stream = connect(&certificate, shared_port, name).await.unwrap();
            let mut greeting = String::new();
            stream.read_to_string(&mut greeting).await.unwrap();
            assert_eq!(greeting, *name);
            stream.get_ref().0.local_addr().unwrap()
        };
        let (seen, own) = tokio::join!(server, visitor);
        assert_eq!(seen, own);
    }

    // Nobody's name, no name, and a name that is free again.
    let certificate = certificate(&["carl.example.org"]);
    assert!(
        connect(&certificate, shared_port, "carl.example.org")
            .await
            .is_err()
    );
    assert!(connect(&certificate, shared_port, "127.0.0.1").await.is_err());
    servers.clear();
    relay.until(|metrics| metrics.allocations.value(), 0).await;
    assert!(
        connect(&certificate, shared_port, "anna.example.org")
            .await
            .is_err()
    );
    assert_eq!(relay.metrics.names_unknown_total.value(), 3);
}
