//! What each end looks like from the other side of a bridge.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector, server};

use super::*;

/// The near end of a bridge, and the peer at the far end of its TLS.
async fn bridge() -> (TcpStream, server::TlsStream<TcpStream>) {
    let certified = rcgen::generate_simple_self_signed(["relay.example".to_owned()]).unwrap();
    let certificate = certified.cert.der().clone();
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let client = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();

    let (here, there) = pair().await.unwrap();
    let name = ServerName::try_from("relay.example").unwrap();
    let (tls, peer) = tokio::join!(
        TlsConnector::from(Arc::new(client)).connect(name, here),
        TlsAcceptor::from(Arc::new(server)).accept(there)
    );
    (bridged(tls.unwrap()).await.unwrap(), peer.unwrap())
}

/// All that comes, and how it ends.
async fn read_all(stream: &mut (impl AsyncRead + Unpin)) -> (Vec<u8>, io::Result<()>) {
    let mut all = Vec::new();
    let ended = timeout(Duration::from_secs(20), stream.read_to_end(&mut all))
        .await
        .unwrap();
    (all, ended.map(|_| ()))
}

#[tokio::test]
async fn each_side_may_end_before_the_other() {
    let (mut near, mut peer) = bridge().await;
    let sent = vec![7; 3 * CHUNK + 1];
    let upload = async {
        near.write_all(&sent).await.unwrap();
        near.shutdown().await.unwrap();
        read_all(&mut near).await
    };
    let answer = async {
        let (all, ended) = read_all(&mut peer).await;
        ended.unwrap();
        assert!(all == sent);
        peer.write_all(b"226 done\r\n").await.unwrap();
        peer.shutdown().await.unwrap();
    };
    let ((all, ended), ()) = tokio::join!(upload, answer);
    ended.unwrap();
    assert_eq!(all, b"226 done\r\n");
}

#[tokio::test]
async fn a_peer_that_says_no_goodbye_is_a_reset() {
    let (mut near, mut peer) = bridge().await;
    peer.write_all(b"half of a file").await.unwrap();
    peer.flush().await.unwrap();
    // FIN without close_notify.
    peer.get_mut().0.shutdown().await.unwrap();
    let (all, ended) = read_all(&mut near).await;
    assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    assert!(b"half of a file".starts_with(&all));
}

#[tokio::test]
async fn a_near_end_that_is_reset_says_no_goodbye() {
    let (mut near, mut peer) = bridge().await;
    near.write_all(b"half").await.unwrap();
    let mut half = [0; 4];
    peer.read_exact(&mut half).await.unwrap();
    reset(&near);
    drop(near);
    let (all, ended) = read_all(&mut peer).await;
    assert!(all.is_empty());
    assert!(ended.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_half_that_stays_silent_is_ended() {
    let moved = AtomicU64::new(0);
    let silent = pin!(std::future::pending::<io::Result<()>>());
    assert_eq!(
        finish(silent, &moved).await.unwrap_err().kind(),
        io::ErrorKind::TimedOut
    );
}
