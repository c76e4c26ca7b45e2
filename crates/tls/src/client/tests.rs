//! Our client against our server's side, over TCP.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::visitor::{As, Host, material};
use crate::{ALPN_DATA, Material};

async fn dial(to: SocketAddr) -> TcpStream {
    TcpStream::connect(to).await.unwrap()
}

async fn host() -> (Host, Material, SocketAddr) {
    let material = material();
    let host = Host::with(material.clone()).await;
    let address = host.listener.local_addr().unwrap();
    (host, material, address)
}

fn pin_of(material: &Material) -> Pin {
    material.public_key_pin().parse().unwrap()
}

async fn control(host: &Host, tls: &ClientTls, to: SocketAddr) -> Result<(Stream, Shown), ConnectError> {
    let tcp = dial(to).await;
    let (accepted, connected) = tokio::join!(host.accept(As::Control), tls.connect_control(tcp));
    if let (Ok(mut accepted), true) = (accepted, connected.is_ok()) {
        host.tls.admit(accepted.issued, accepted.issued);
        accepted.stream.write_all(b"220 Ready\r\n").await.unwrap();
        let (mut stream, shown) = connected?;
        let mut line = [0; 11];
        stream.read_exact(&mut line).await.unwrap();
        return Ok((stream, shown));
    }
    connected
}

#[tokio::test]
async fn data_connections_resume_the_control_connection_again_and_again() {
    let (host, material, to) = host().await;
    let tls = ClientTls::new(&Trust::Pinned(pin_of(&material)), "localhost", 21).unwrap();
    let (control, shown) = control(&host, &tls, to).await.unwrap();
    assert_eq!(shown.key, pin_of(&material));
    assert!(!control.is_resumed());
    // More than the tickets that the control connection gave; each data connection gives the next one its ticket.
    for round in 0..24 {
        let tcp = dial(to).await;
        let by_name = round >= 12;
        if by_name {
            tls.name_data_connections();
        }
        let (accepted, connected) = tokio::join!(host.accept(As::Data), tls.connect_data(tcp));
        let (mut accepted, mut stream) = (accepted.unwrap(), connected.unwrap());
        assert_eq!(accepted.alpn.as_deref(), by_name.then_some(ALPN_DATA));
        assert!(stream.is_resumed() && accepted.resumed.is_some());
        host.tls.admit(accepted.issued, accepted.resumed.unwrap());
        stream.shutdown().await.unwrap();
        let mut read = Vec::new();
        let (shut, read) = tokio::join!(accepted.stream.shutdown(), stream.read_to_end(&mut read));
        shut.unwrap();
        assert_eq!(read.unwrap(), 0);
    }
}

#[tokio::test]
async fn an_end_without_goodbye_is_not_a_clean_one() {
    let (host, material, to) = host().await;
    let tls = ClientTls::new(&Trust::Pinned(pin_of(&material)), "localhost", 21).unwrap();
    let tcp = dial(to).await;
    let (accepted, connected) = tokio::join!(host.accept(As::Control), tls.connect_control(tcp));
    let (mut accepted, mut stream) = (accepted.unwrap().stream, connected.unwrap().0);
    accepted.write_all(b"half").await.unwrap();
    drop(accepted);
    let mut read = Vec::new();
    let error = stream.read_to_end(&mut read).await.unwrap_err();
    assert_eq!(
        (error.kind(), &read[..]),
        (io::ErrorKind::UnexpectedEof, &b"half"[..])
    );
}

#[tokio::test]
async fn a_key_that_is_not_the_pinned_one_is_refused() {
    let (host, _, to) = host().await;
    let tls = ClientTls::new(&Trust::Pinned(Pin([1; 32])), "localhost", 21).unwrap();
    let refused = control(&host, &tls, to).await.unwrap_err();
    assert!(
        matches!(refused, ConnectError::Untrusted(TrustError::NotPinned { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn authorities_of_the_system_do_not_vouch_for_a_self_signed_one_but_its_own_file_does() {
    let (host, material, to) = host().await;
    if let Ok(tls) = ClientTls::new(&Trust::System, "localhost", 21) {
        let refused = control(&host, &tls, to).await.unwrap_err();
        assert!(
            matches!(refused, ConnectError::Untrusted(TrustError::NotVouchedFor(_))),
            "{refused:?}"
        );
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("roots.pem");
    let certificate = &material.certified_key().cert[0];
    let text = format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        base64::Engine::encode(&base64::engine::general_purpose::STANDARD, certificate)
    );
    std::fs::write(&file, text).unwrap();
    let tls = ClientTls::new(&Trust::Roots(file), "localhost", 21).unwrap();
    assert!(control(&host, &tls, to).await.unwrap().1.vouched);
}

#[tokio::test]
async fn first_use_believes_once_and_notices_another_key() {
    let directory = tempfile::tempdir().unwrap();
    let servers = Arc::new(KnownServers::at(directory.path().join("known_servers")));
    let first_use = |stranger| Trust::FirstUse {
        servers: Arc::clone(&servers),
        stranger,
    };
    let (host, material, to) = host().await;

    let tls = ClientTls::new(&first_use(Stranger::Refuse), "localhost", 21).unwrap();
    let refused = control(&host, &tls, to).await.unwrap_err();
    let ConnectError::Untrusted(TrustError::Stranger { key, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(key, pin_of(&material));

    let tls = ClientTls::new(&first_use(Stranger::Accept), "localhost", 21).unwrap();
    let (_, shown) = control(&host, &tls, to).await.unwrap();
    servers
        .remember("localhost", 21, Known { key: Some(shown.key) })
        .unwrap();
    let tls = ClientTls::new(&first_use(Stranger::Refuse), "localhost", 21).unwrap();
    control(&host, &tls, to).await.unwrap();

    servers
        .remember(
            "localhost",
            21,
            Known {
                key: Some(Pin([9; 32])),
            },
        )
        .unwrap();
    let tls = ClientTls::new(&first_use(Stranger::Accept), "localhost", 21).unwrap();
    let refused = control(&host, &tls, to).await.unwrap_err();
    assert!(
        matches!(refused, ConnectError::Untrusted(TrustError::Changed { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_data_connection_to_another_key_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let servers = Arc::new(KnownServers::at(directory.path().join("known_servers")));
    let (host, _, to) = host().await;
    let (other, _, elsewhere) = self::host().await;
    let tls = ClientTls::new(
        &Trust::FirstUse {
            servers,
            stranger: Stranger::Accept,
        },
        "localhost",
        21,
    )
    .unwrap();
    control(&host, &tls, to).await.unwrap();
    let tcp = dial(elsewhere).await;
    let (_, connected) = tokio::join!(other.accept(As::Data), tls.connect_data(tcp));
    assert!(matches!(connected.unwrap_err(), ConnectError::AnotherServer));
}

#[test]
fn pins_are_read_in_the_spellings_people_have() {
    let pin = Pin([0xab; 32]);
    assert_eq!(pin.to_string().parse(), Ok(pin));
    assert_eq!(Fingerprint(pin.0).to_string().parse(), Ok(pin));
    assert_eq!(Fingerprint(pin.0).to_hex().parse(), Ok(pin));
    let slashes = Pin([0xff; 32]);
    assert_eq!(slashes.to_string().parse(), Ok(slashes));
    assert_eq!(slashes.to_string().replacen("//", "/", 1).parse(), Ok(slashes));
    assert_eq!("sha256//AAAA".parse::<Pin>(), Err(BadPin));
    assert_eq!("".parse::<Pin>(), Err(BadPin));
}
