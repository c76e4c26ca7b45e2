//! Small questions to a network, asked from inside a lab: who can be reached, and what an address looks like outside.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use pasarela_testkit::lab::{Lab, Role};
use socket2::{Domain, Socket, Type};

/// How long an answer that must come may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a wait for one that must not come lasts: a network that drops packets says nothing. A slow machine can make
/// a test miss a fault by that, never find one that is not there.
const SILENCE: Duration = Duration::from_millis(700);

/// A listener on every address of a node. A child that somebody else starts at this moment holds sockets that we have
/// closed until it has become its program; that ends.
#[must_use]
pub fn listen(lab: &Lab, role: Role, port: u16) -> TcpListener {
    let end = Instant::now() + PATIENCE;
    lab.within(role, || {
        loop {
            match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < end => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                bound => return bound.unwrap_or_else(|error| panic!("port {port}: {error}")),
            }
        }
    })
}

/// Dials `there` from a node, which must lead to this listener. Gives the address that the listener sees.
#[must_use]
#[track_caller]
pub fn gets_through(lab: &Lab, from: Role, there: SocketAddr, listener: &TcpListener) -> IpAddr {
    let dialled = lab.within(from, || TcpStream::connect_timeout(&there, PATIENCE));
    let mut dialled = dialled.unwrap_or_else(|error| panic!("{from:?} → {there}: {error}"));
    let (mut accepted, peer) = listener.accept().unwrap();
    // Only bytes show that it is this very connection.
    dialled.write_all(b"hello").unwrap();
    accepted.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut heard = [0; 5];
    accepted.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"hello");
    peer.ip().to_canonical()
}

/// Dials `there` from a node, which must lead nowhere.
#[track_caller]
pub fn is_kept_out(lab: &Lab, from: Role, there: SocketAddr, listener: &TcpListener) {
    let dialled = lab.within(from, || TcpStream::connect_timeout(&there, SILENCE));
    assert!(dialled.is_err(), "{from:?} → {there}: {dialled:?}");
    listener.set_nonblocking(true).unwrap();
    let accepted = listener.accept();
    listener.set_nonblocking(false).unwrap();
    assert!(accepted.is_err(), "nobody dialled, yet: {accepted:?}");
}

/// How the internet sees the UDP socket of a node (RFC 8489 Binding).
#[must_use]
pub fn seen_as(socket: &UdpSocket, server: SocketAddr) -> SocketAddr {
    socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let end = Instant::now() + PATIENCE;
    let mut answer = [0; 512];
    while Instant::now() < end {
        socket.send_to(&BINDING, server).unwrap(); // again until it is answered
        match socket.recv_from(&mut answer) {
            Ok((len, from)) if from == server => return mapped(&answer[..len]).unwrap(),
            Ok(_) | Err(_) => {} // the answer to an earlier one
        }
    }
    panic!("{server} does not answer");
}

/// A UDP socket of a node, on a port that the system chooses.
#[must_use]
pub fn udp(lab: &Lab, role: Role) -> UdpSocket {
    let any: IpAddr = match lab.addresses().stun {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    lab.within(role, || UdpSocket::bind((any, 0)).unwrap())
}

/// Whether a stranger's packet reaches a socket of a node through what its own STUN question has opened. `expected` says
/// only how long to wait for it.
#[must_use]
pub fn stranger_gets_in(lab: &Lab, role: Role, stranger: Role, expected: bool) -> bool {
    let socket = udp(lab, role);
    let outside = seen_as(&socket, lab.addresses().stun);
    udp(lab, stranger).send_to(b"stranger", outside).unwrap();
    let patience = if expected { PATIENCE } else { SILENCE };
    socket.set_read_timeout(Some(patience)).unwrap();
    let mut heard = [0; 512];
    while let Ok(len) = socket.recv(&mut heard) {
        if &heard[..len] == b"stranger" {
            return true;
        }
    }
    false
}

/// Where a router of the node's LAN says that it is described (UPnP Device Architecture §1.3: SSDP discovery).
#[must_use]
pub fn discover_gateway(lab: &Lab, role: Role) -> String {
    const SEARCH: &str = "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\n\
        ST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n\r\n";
    let socket = udp(lab, role);
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let end = Instant::now() + PATIENCE;
    let mut answer = [0; 2048];
    while Instant::now() < end {
        socket.send_to(SEARCH.as_bytes(), "239.255.255.250:1900").unwrap();
        let Ok(len) = socket.recv(&mut answer) else {
            continue;
        };
        let answer = String::from_utf8_lossy(&answer[..len]).into_owned();
        let location = answer.lines().find_map(|line| line.strip_prefix("LOCATION: "));
        return location.unwrap_or_else(|| panic!("{answer}")).to_owned();
    }
    panic!("no router answers");
}

/// A listener on a port from which a connection to a STUN server is open, so that a NAT has a mapping for it.
#[derive(Debug)]
pub struct HeldOpen {
    /// The listener.
    pub listener: TcpListener,
    /// What the STUN server says that its port is called.
    pub outside: SocketAddr,
    _held: TcpStream,
}

/// Opens one on a node (RFC 8489 §6.2.2, IPv4).
#[must_use]
pub fn hold_open(lab: &Lab, role: Role, port: u16) -> HeldOpen {
    let server = lab.addresses().stun;
    let socket = |local: SocketAddr| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_port(true).unwrap();
        socket.bind(&local.into()).unwrap();
        socket
    };
    let (listener, mut held) = lab.within(role, || {
        let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        let (listener, held) = (socket(any), socket(any));
        listener.listen(8).unwrap();
        held.connect_timeout(&server.into(), PATIENCE).unwrap();
        (TcpListener::from(listener), TcpStream::from(held))
    });
    held.set_read_timeout(Some(PATIENCE)).unwrap();
    held.write_all(&BINDING).unwrap();
    let mut answer = vec![0; 20];
    held.read_exact(&mut answer).unwrap();
    let rest = usize::from(u16::from_be_bytes([answer[2], answer[3]]));
    answer.resize(20 + rest, 0);
    held.read_exact(&mut answer[20..]).unwrap();
    HeldOpen {
        listener,
        outside: mapped(&answer).unwrap(),
        _held: held,
    }
}

/// Asks a router for a mapping of a TCP port with PCP MAP (RFC 6887 §11) for ten minutes. Gives its result code, and the
/// outside address and port.
///
/// # Errors
/// When nobody answers.
pub fn pcp_map(lab: &Lab, role: Role, gateway: IpAddr, inside: u16) -> io::Result<(u8, SocketAddr)> {
    let socket = udp(lab, role);
    socket.connect((gateway, 5351))?;
    let bytes_of = |address: IpAddr| match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    };
    let mut request = vec![2, 1, 0, 0];
    request.extend(600_u32.to_be_bytes());
    request.extend(bytes_of(socket.local_addr()?.ip()));
    request.extend(*b"a lab, nonce"); // 96 bits
    request.extend([6, 0, 0, 0]); // TCP
    request.extend(inside.to_be_bytes());
    request.extend(inside.to_be_bytes());
    request.extend(bytes_of(if gateway.is_ipv6() {
        Ipv6Addr::UNSPECIFIED.into()
    } else {
        Ipv4Addr::UNSPECIFIED.into()
    }));
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send(&request)?;
    let mut answer = [0; 1100];
    let len = socket.recv(&mut answer)?;
    assert!(
        len >= 60 && answer[0] == 2 && answer[1] == 0x81,
        "{:?}",
        &answer[..len]
    );
    let port = u16::from_be_bytes([answer[42], answer[43]]);
    let address: [u8; 16] = answer[44..60].try_into().unwrap();
    let address = IpAddr::V6(address.into()).to_canonical();
    Ok((answer[3], SocketAddr::new(address, port)))
}

/// A Binding request without attributes.
const BINDING: [u8; 20] = *b"\x00\x01\x00\x00\x21\x12\xa4\x42laboratory!!";

/// XOR-MAPPED-ADDRESS of a success response (RFC 8489 §14.2).
fn mapped(answer: &[u8]) -> Option<SocketAddr> {
    let (header, mut attributes) = answer.split_at_checked(20)?;
    if header[..2] != [1, 1] || header[4..] != BINDING[4..] {
        return None;
    }
    loop {
        let (head, rest) = attributes.split_at_checked(4)?;
        let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let value = rest.get(..len)?;
        if head[..2] == [0, 0x20] {
            let plain: Vec<u8> = value
                .get(4..)?
                .iter()
                .zip(&BINDING[4..])
                .map(|(a, b)| a ^ b)
                .collect();
            let port = u16::from_be_bytes([value[2] ^ BINDING[4], value[3] ^ BINDING[5]]);
            let address = match plain.len() {
                4 => IpAddr::from(<[u8; 4]>::try_from(plain).ok()?),
                _ => IpAddr::from(<[u8; 16]>::try_from(plain).ok()?),
            };
            return Some(SocketAddr::new(address, port));
        }
        attributes = rest.get(len.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_address_is_read_whatever_stands_before_it() {
        let mut answer = BINDING.to_vec();
        answer[..2].copy_from_slice(&[1, 1]);
        answer.extend(b"\x80\x22\x00\x03abc\x00"); // SOFTWARE, padded
        answer.extend([0, 0x20, 0, 8, 0, 1, 0x21 ^ 0x12, 0x12 ^ 0x34]);
        answer.extend([11 ^ 0x21, 9 ^ 0x12, 0xa4, 20 ^ 0x42]);
        assert_eq!(mapped(&answer), Some("11.9.0.20:4660".parse().unwrap()));
        assert_eq!(mapped(&answer[..39]), None);
        answer[1] = 0x11; // an error response
        assert_eq!(mapped(&answer), None);
    }
}
