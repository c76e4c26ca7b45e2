//! Against servers that are written out here, byte by byte.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// A Binding response with XOR-MAPPED-ADDRESS (RFC 8489 section 14.2).
fn answer(request: &[u8], mapped: SocketAddr) -> Vec<u8> {
    assert_eq!(request[..8], [0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42]);
    let IpAddr::V4(ip) = mapped.ip() else {
        panic!("an IPv4 address")
    };
    let mut answer = [&[1, 1, 0, 12], &request[4..20], &[0, 0x20, 0, 8, 0, 1]].concat();
    answer.extend((mapped.port() ^ 0x2112).to_be_bytes());
    answer.extend((u32::from(ip) ^ 0x2112_a442).to_be_bytes());
    answer
}

fn outside() -> SocketAddr {
    "203.0.113.9:40000".parse().unwrap()
}

/// A listener as [`Line::open`] wants it.
fn shared(address: &str) -> TcpListener {
    let address: SocketAddr = address.parse().unwrap();
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }
    .unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.set_reuseport(true).unwrap();
    socket.bind(address).unwrap();
    socket.listen(16).unwrap()
}

async fn server() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[tokio::test]
async fn a_line_comes_from_the_port_that_is_listened_on() {
    for listens in ["127.0.0.1:0", "0.0.0.0:0", "[::]:0"] {
        let (stun, address) = server().await;
        let listener = shared(listens);
        let port = listener.local_addr().unwrap().port();
        let mut line = Line::open(listener.local_addr().unwrap(), address, PATIENCE)
            .await
            .unwrap();
        let (mut seen, from) = stun.accept().await.unwrap();
        assert_eq!(
            (from.port(), line.local_addr().unwrap().port()),
            (port, port),
            "{listens}"
        );

        let serve = async {
            for _ in 0..2 {
                let mut request = [0; 20];
                seen.read_exact(&mut request).await.unwrap();
                seen.write_all(&answer(&request, outside())).await.unwrap();
            }
        };
        let ask = async {
            assert_eq!(line.ask(PATIENCE).await.unwrap(), outside());
            assert_eq!(line.ask(PATIENCE).await.unwrap(), outside());
        };
        tokio::join!(serve, ask);

        // The line does not take what is meant for the listener.
        let visit = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let (_, visitor) = listener.accept().await.unwrap();
        assert_eq!(visitor.port(), visit.local_addr().unwrap().port());
    }
}

#[tokio::test]
async fn an_answer_that_came_too_late_is_not_the_next_ones() {
    let (stun, address) = server().await;
    let listener = shared("127.0.0.1:0");
    let mut line = Line::open(listener.local_addr().unwrap(), address, PATIENCE)
        .await
        .unwrap();
    let (mut seen, _) = stun.accept().await.unwrap();
    let error = line.ask(Duration::from_millis(20)).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    let serve = async {
        let mut requests = [0; 40];
        seen.read_exact(&mut requests).await.unwrap();
        let late = answer(&requests[..20], "203.0.113.9:1".parse().unwrap());
        seen.write_all(&[late, answer(&requests[20..], outside())].concat())
            .await
            .unwrap();
    };
    let (asked, ()) = tokio::join!(line.ask(PATIENCE), serve);
    assert_eq!(asked.unwrap(), outside());
}

#[tokio::test]
async fn a_server_that_hangs_up_is_an_end() {
    let (stun, address) = server().await;
    let listener = shared("127.0.0.1:0");
    let mut line = Line::open(listener.local_addr().unwrap(), address, PATIENCE)
        .await
        .unwrap();
    let serve = async {
        let (mut seen, _) = stun.accept().await.unwrap();
        seen.read_exact(&mut [0; 20]).await.unwrap();
    };
    let (asked, ()) = tokio::join!(line.ask(PATIENCE), serve);
    assert_eq!(asked.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn what_is_no_stun_server_is_invalid() {
    let (stun, address) = server().await;
    let listener = shared("127.0.0.1:0");
    let mut line = Line::open(listener.local_addr().unwrap(), address, PATIENCE)
        .await
        .unwrap();
    let serve = async {
        let (mut seen, _) = stun.accept().await.unwrap();
        seen.read_exact(&mut [0; 20]).await.unwrap();
        seen.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        seen
    };
    let (asked, _seen) = tokio::join!(line.ask(PATIENCE), serve);
    assert_eq!(asked.unwrap_err().kind(), io::ErrorKind::InvalidData);
}

#[tokio::test]
async fn a_line_needs_one_family() {
    let local = "127.0.0.1:0".parse().unwrap();
    let error = Line::open(local, "[2001:db8::1]:3478".parse().unwrap(), PATIENCE)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}

#[tokio::test]
async fn a_lost_datagram_is_sent_again_and_a_forged_one_passed_over() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let serve = async {
        let mut request = [0; 20];
        let (_, first) = socket.recv_from(&mut request).await.unwrap();
        let (_, again) = socket.recv_from(&mut request).await.unwrap();
        assert_eq!(first, again);
        let mut forged = answer(&request, "203.0.113.9:1".parse().unwrap());
        forged[19] ^= 1;
        socket.send_to(&forged, again).await.unwrap();
        // The right id, from another port.
        let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        stranger
            .send_to(&answer(&request, "203.0.113.9:2".parse().unwrap()), again)
            .await
            .unwrap();
        socket.send_to(&answer(&request, outside()), again).await.unwrap();
    };
    let (asked, ()) = tokio::join!(udp(address, PATIENCE), serve);
    assert_eq!(asked.unwrap(), outside());
}

#[tokio::test]
async fn a_silent_server_is_given_up_after_its_schedule() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let error = udp(socket.local_addr().unwrap(), PATIENCE).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    let mut sent = 0;
    while socket.try_recv(&mut [0; 20]).is_ok() {
        sent += 1;
    }
    assert_eq!(sent, 3);
}
