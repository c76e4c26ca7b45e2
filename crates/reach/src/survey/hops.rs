//! The routers on the way out: packets that may live for one, two, three hops come back with the name of the router
//! that let them die (ICMP time exceeded, RFC 792). Two private ones are two NATs.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use nix::sys::socket::sockopt::Ipv4RecvErr;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, setsockopt};
use tokio::io::Interest;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Class;

/// Home routers, a carrier's: nobody has more private ones that matter.
const HOPS: u32 = 3;

/// Routers answer within milliseconds or not at all.
const PATIENCE: Duration = Duration::from_millis(500);

/// Where nothing listens (the port of traceroute).
const PORT: u16 = 33434;

/// The routers without a public address between us and `towards`, the nearest first. Those that stay silent are left
/// out.
pub(crate) async fn private(towards: Ipv4Addr) -> Vec<IpAddr> {
    let mut probes = JoinSet::new();
    for ttl in 1..=HOPS {
        probes.spawn(async move { (ttl, timeout(PATIENCE, probe(towards, ttl)).await) });
    }
    let mut hops = Vec::new();
    while let Some(Ok((ttl, answer))) = probes.join_next().await {
        if let Ok(Ok(Some(hop))) = answer {
            hops.push((ttl, hop));
        }
    }
    hops.sort_unstable();
    let mut private: Vec<IpAddr> = hops
        .into_iter()
        .map(|(_, hop)| IpAddr::V4(hop))
        .take_while(|hop| !Class::of(*hop).is_public())
        .collect();
    private.dedup();
    private
}

/// The router at which a packet of this life ends; `None` where it ends otherwise.
async fn probe(towards: Ipv4Addr, ttl: u32) -> io::Result<Option<Ipv4Addr>> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_nonblocking(true)?;
    socket.set_ttl(ttl)?;
    setsockopt(&socket, Ipv4RecvErr, &true)?;
    let socket = tokio::net::UdpSocket::from_std(socket)?;
    socket.connect(SocketAddr::from((towards, PORT))).await?;
    socket.send(&[]).await?;
    socket
        .async_io(Interest::ERROR, || read_error(socket.as_raw_fd()))
        .await
}

/// Who reported the error at the head of a socket's queue (IP_RECVERR, ip(7)).
fn read_error(socket: i32) -> io::Result<Option<Ipv4Addr>> {
    /// RFC 792.
    const TIME_EXCEEDED: u8 = 11;
    let mut payload = [0; 64];
    let mut slices = [IoSliceMut::new(&mut payload)];
    let mut control = nix::cmsg_space!(libc::sock_extended_err, libc::sockaddr_in);
    let message = recvmsg::<SockaddrIn>(socket, &mut slices, Some(&mut control), MsgFlags::MSG_ERRQUEUE)?;
    let reporter = message.cmsgs()?.find_map(|message| match message {
        ControlMessageOwned::Ipv4RecvErr(error, Some(from))
            if error.ee_origin == libc::SO_EE_ORIGIN_ICMP && error.ee_type == TIME_EXCEEDED =>
        {
            Some(Ipv4Addr::from(u32::from_be(from.sin_addr.s_addr)))
        }
        _ => None,
    });
    Ok(reporter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_way_to_this_machine_has_no_routers() {
        assert_eq!(private(Ipv4Addr::LOCALHOST).await, Vec::<IpAddr>::new());
    }
}
