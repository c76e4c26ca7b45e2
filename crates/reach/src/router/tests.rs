//! Routers on the loopback interface that answer as they are told.

use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;

use super::*;

/// Something that answers datagrams, and what it has been sent.
pub(super) struct Fake {
    pub(super) address: SocketAddr,
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Fake {
    /// Answers each datagram with these.
    pub(super) async fn answering(
        host: &str,
        mut answer: impl FnMut(&[u8]) -> Vec<Vec<u8>> + Send + 'static,
    ) -> Self {
        let socket = UdpSocket::bind((host, 0)).await.unwrap();
        let (address, heard) = (
            socket.local_addr().unwrap(),
            Arc::<Mutex<Vec<Vec<u8>>>>::default(),
        );
        let hears = heard.clone();
        tokio::spawn(async move {
            let mut datagram = [0; 2048];
            loop {
                let (length, peer) = socket.recv_from(&mut datagram).await.unwrap();
                let datagram = &datagram[..length];
                hears.lock().unwrap().push(datagram.to_vec());
                for text in answer(datagram) {
                    socket.send_to(&text, peer).await.unwrap();
                }
            }
        });
        Self { address, heard }
    }

    pub(super) fn heard(&self) -> Vec<Vec<u8>> {
        self.heard.lock().unwrap().clone()
    }
}

/// A question for port 2121 of a loopback address.
pub(super) fn asked(host: &str) -> Asked {
    let host: IpAddr = host.parse().unwrap();
    Asked::new(host, 0, (host, 2121).into())
}

/// How many datagrams a socket that nobody reads has been sent.
pub(super) fn waiting(socket: &std::net::UdpSocket) -> usize {
    socket.set_nonblocking(true).unwrap();
    let mut datagram = [0; 2048];
    std::iter::from_fn(|| socket.recv(&mut datagram).ok()).count()
}

#[tokio::test]
async fn a_router_is_not_asked_for_a_low_port_unless_the_caller_insists() {
    let mut asked = asked("127.0.0.1");
    asked.inside.set_port(21);
    for protocol in [Protocol::Pcp, Protocol::NatPmp] {
        assert_eq!(map(&asked, protocol).await.unwrap_err(), Refusal::LowPort);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_understood_is_told_from_silence() {
    let router = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let socket = exchange::socket("127.0.0.1".parse().unwrap(), router.local_addr().unwrap())
        .await
        .unwrap();
    router.send_to(b"?", socket.local_addr().unwrap()).unwrap();
    let end = tokio::time::Instant::now() + exchange::PATIENCE;
    let refused = exchange::ask(&socket, b"!", 2121, end, |_| None::<Result<(), Refusal>>).await;
    assert!(matches!(refused, Err(Refusal::Malformed(_))), "{refused:?}");
}

#[test]
fn a_mapping_is_renewed_at_half_its_life_within_bounds() {
    let renew_after = |lifetime| {
        let granted = Granted {
            outside: "11.9.0.20:2121".parse().unwrap(),
            lifetime,
            how: How::NatPmp {
                server: "127.0.0.1:5351".parse().unwrap(),
            },
        };
        Mapping::new(asked("127.0.0.1"), granted).renew_after().as_secs()
    };
    assert_eq!(renew_after(Some(3600)), 1800);
    assert_eq!(renew_after(Some(1)), 30);
    assert_eq!(renew_after(Some(u32::MAX)), 7200);
    assert_eq!(renew_after(None), 7200);
}

#[test]
fn a_nonce_is_not_shown() {
    let text = "inside = \"192.168.1.10:2121\"\noutside = \"11.9.0.20:2121\"\n[how]\nprotocol = \"pcp\"\n\
                server = \"192.168.1.1:5351\"\nnonce = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]\n";
    let leftover: Leftover = toml::from_str(text).unwrap();
    let shown = format!("{leftover:?}");
    assert!(shown.contains("***") && !shown.contains("10, 11"), "{shown}");
}
