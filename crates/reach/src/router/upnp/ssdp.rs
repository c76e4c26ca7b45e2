//! Finding the router's description (UPnP Device Architecture 1.1 §1.3), and whom to believe about it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use socket2::SockRef;
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

use super::super::{Refusal, exchange};
use super::http::Target;

/// Where devices are searched.
pub(in super::super) const PORT: u16 = 1900;

const GROUP_V4: Ipv4Addr = Ipv4Addr::new(239, 255, 255, 250);
/// The link-local group (UPnP Device Architecture 1.1, Annex A).
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xc);

/// A search that is sent twice, as datagrams get lost; the second time after this long.
const AGAIN: Duration = Duration::from_millis(400);
const PATIENCE: Duration = Duration::from_secs(1);

/// A router of the second version answers to the first, too (UPnP Device Architecture 1.1 §1.3.2).
const TYPE: &str = "urn:schemas-upnp-org:device:InternetGatewayDevice:1";

/// Where the description of the router at `gateway` is. Asks the link's group and the router itself, since some
/// answer to only one of them.
pub(super) async fn discover(from: IpAddr, gateway: SocketAddr) -> Result<Target, Refusal> {
    let socket = UdpSocket::bind(exchange::local(from, gateway))
        .await
        .map_err(|error| exchange::not_ours(from, &error))?;
    let group: SocketAddr = match (from, gateway) {
        (IpAddr::V4(from), _) => {
            // Out of the interface that leads to the router, whatever the routing table says of groups.
            if let Err(error) = SockRef::from(&socket).set_multicast_if_v4(&from) {
                return Err(Refusal::from_io(&error));
            }
            (GROUP_V4, PORT).into()
        }
        (IpAddr::V6(_), SocketAddr::V6(gateway)) => {
            SocketAddrV6::new(GROUP_V6, PORT, 0, gateway.scope_id()).into()
        }
        (IpAddr::V6(_), SocketAddr::V4(_)) => return Err(Refusal::AddressMismatch),
    };
    let end = Instant::now() + PATIENCE;
    search(&socket, [group, gateway]).await?;
    let mut again = Some(Instant::now() + AGAIN);
    let mut silent = Refusal::NoAnswer;
    let mut datagram = [0; 2048];
    loop {
        let due = again.unwrap_or(end).min(end);
        match timeout_at(due, socket.recv_from(&mut datagram)).await {
            Ok(Ok((length, peer))) => match found(&datagram[..length], peer, from, gateway) {
                Ok(Some(target)) => return Ok(target),
                Ok(None) => {}
                Err(refusal) => silent = refusal,
            },
            // An ICMP error of an earlier sending; the next may do better.
            Ok(Err(_)) if Instant::now() < end => tokio::task::yield_now().await,
            Ok(Err(error)) => return Err(Refusal::from_io(&error)),
            Err(_) if again.take().is_some() => search(&socket, [group, gateway]).await?,
            Err(_) => return Err(silent),
        }
    }
}

/// Sends to all of them; one that can be sent to is enough.
async fn search(socket: &UdpSocket, targets: [SocketAddr; 2]) -> Result<(), Refusal> {
    let mut sent = Err(Refusal::NoAnswer);
    for target in targets {
        let host = match target {
            SocketAddr::V4(target) => target.to_string(),
            // Without the scope id, which means nothing to others.
            SocketAddr::V6(target) => format!("[{}]:{}", target.ip(), target.port()),
        };
        let search = format!(
            "M-SEARCH * HTTP/1.1\r\nHOST: {host}\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\nST: {TYPE}\r\n\r\n"
        );
        match socket.send_to(search.as_bytes(), target).await {
            Ok(_) => sent = Ok(()),
            Err(error) if sent.is_err() => sent = Err(Refusal::from_io(&error)),
            Err(_) => {}
        }
    }
    sent
}

/// What a datagram says of the description: nothing where it is no answer to a search for routers.
fn found(
    datagram: &[u8],
    peer: SocketAddr,
    from: IpAddr,
    gateway: SocketAddr,
) -> Result<Option<Target>, Refusal> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    if response.parse(datagram).is_err() || response.code != Some(200) {
        return Ok(None);
    }
    let header = |name| {
        let header = response
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(header.value).ok().map(str::trim)
    };
    let (Some(kind), Some(location)) = (header("ST"), header("LOCATION")) else {
        return Ok(None);
    };
    if !kind.contains("InternetGatewayDevice") {
        return Ok(None);
    }
    if !is_router(peer.ip(), from, gateway) {
        return Err(Refusal::foreign(&peer.ip().to_string()));
    }
    trusted(location, from, gateway).map(Some)
}

/// A URL that leads to the router and nowhere else.
pub(super) fn trusted(url: &str, from: IpAddr, gateway: SocketAddr) -> Result<Target, Refusal> {
    let target = Target::parse(url, exchange::local(from, gateway))?;
    match is_router(target.address.ip(), from, gateway) {
        true => Ok(target),
        false => Err(Refusal::foreign(&target.address.ip().to_string())),
    }
}

/// Whether an address is the router's: the gateway itself. A router whose link-local address is the gateway (IPv6)
/// speaks from a global one, too; that is one of our own prefix.
fn is_router(address: IpAddr, from: IpAddr, gateway: SocketAddr) -> bool {
    if address == gateway.ip() {
        return true;
    }
    match (address, from, gateway.ip()) {
        (IpAddr::V6(address), IpAddr::V6(from), IpAddr::V6(gateway)) => {
            gateway.is_unicast_link_local()
                && address != from
                && address.segments()[..4] == from.segments()[..4]
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GATEWAY: &str = "192.168.1.1:1900";

    fn answer(location: &str) -> String {
        format!("HTTP/1.1 200 OK\r\nST: {TYPE}\r\nLOCATION: {location}\r\nUSN: uuid:1\r\n\r\n")
    }

    fn heard(text: &str, peer: &str, from: &str, gateway: &str) -> Result<Option<String>, Refusal> {
        found(
            text.as_bytes(),
            peer.parse().unwrap(),
            from.parse().unwrap(),
            gateway.parse().unwrap(),
        )
        .map(|target| target.map(|target| format!("{} {}", target.address, target.path)))
    }

    #[test]
    fn the_gateway_is_believed_about_itself() {
        let heard = |location: &str| heard(&answer(location), GATEWAY, "192.168.1.10", GATEWAY);
        assert_eq!(
            heard("http://192.168.1.1:5000/rootDesc.xml"),
            Ok(Some("192.168.1.1:5000 /rootDesc.xml".into()))
        );
        assert_eq!(heard("HTTP://192.168.1.1"), Ok(Some("192.168.1.1:80 /".into())));
    }

    #[test]
    fn a_location_elsewhere_is_not_visited() {
        for location in [
            "http://169.254.169.254/latest/meta-data",
            "http://127.0.0.1:5000/",
            "http://192.168.1.2:5000/rootDesc.xml",
            "http://192.168.1.10:5000/",
            "http://[::1]:5000/",
            "http://router.example/",
            "http://192.168.1.1@10.0.0.1/",
            "https://192.168.1.1/",
            "file:///etc/passwd",
            "//192.168.1.1/",
            "http://192.168.1.1:0/",
            "http://192.168.1.1:99999/",
            "http://0xc0a80101/",
            "http://192.168.1.1/a\u{7f}b",
            "",
        ] {
            let heard = heard(&answer(location), GATEWAY, "192.168.1.10", GATEWAY);
            assert!(matches!(heard, Err(_) | Ok(None)), "{location}: {heard:?}");
        }
    }

    #[test]
    fn nobody_else_is_believed() {
        let text = answer("http://192.168.1.1:5000/rootDesc.xml");
        assert_eq!(
            heard(&text, "192.168.1.66:1900", "192.168.1.10", GATEWAY),
            Err(Refusal::Foreign("192.168.1.66".into()))
        );
    }

    #[test]
    fn the_global_address_of_a_link_local_gateway_is_one_of_our_own_prefix() {
        let gateway = "[fe80::1%2]:1900";
        let from = "2a11:9:1::10";
        for (address, router) in [
            ("2a11:9:1::1", true),
            ("2a11:9:2::1", false),
            ("2a11:9:1::10", false),
            ("fe80::2", false),
        ] {
            let text = answer(&format!("http://[{address}]:5000/d.xml"));
            let heard = heard(&text, &format!("[{address}]:1900"), from, gateway);
            assert_eq!(matches!(heard, Ok(Some(_))), router, "{address}: {heard:?}");
        }
        let text = answer("http://[fe80::1]:5000/d.xml");
        assert_eq!(
            heard(&text, "[fe80::1%2]:1900", from, gateway),
            Ok(Some("[fe80::1%2]:5000 /d.xml".into()))
        );
    }

    #[test]
    fn what_is_no_answer_to_our_search_is_passed_over() {
        for text in [
            "",
            "NOTIFY * HTTP/1.1\r\nLOCATION: http://192.168.1.1/\r\n\r\n",
            "HTTP/1.1 404 Not Found\r\n\r\n",
            "HTTP/1.1 200 OK\r\nST: upnp:rootdevice\r\nLOCATION: http://192.168.1.1/\r\n\r\n",
            "HTTP/1.1 200 OK\r\nST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n\r\n",
        ] {
            assert_eq!(heard(text, GATEWAY, "192.168.1.10", GATEWAY), Ok(None), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_heard_leads_to_the_gateway(bytes: Vec<u8>, url in "(http://192.168.1.1)?[0-9.:/@%a-f\\[\\]]{0,40}") {
            let gateway: SocketAddr = GATEWAY.parse().unwrap();
            for datagram in [bytes, answer(&url).into_bytes()] {
                if let Ok(Some(target)) = found(&datagram, gateway, "192.168.1.10".parse().unwrap(), gateway) {
                    proptest::prop_assert_eq!(target.address.ip(), gateway.ip());
                }
            }
        }
    }
}
