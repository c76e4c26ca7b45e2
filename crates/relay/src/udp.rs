//! STUN Binding over UDP (RFC 8489, RFC 5780), with answers no longer than the requests, so that nobody uses it to
//! amplify.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pasarela_nat_proto::stun::{ChangeRequest, MappedAddress, OtherAddress, ResponseOrigin};
use stun_types::attribute::{AttributeType, AttributeWrite, Fingerprint, Software, XorMappedAddress};
use stun_types::message::{BINDING, Message, MessageClass, MessageWriteVec};
use stun_types::prelude::{AttributeStaticType as _, MessageWrite as _, MessageWriteExt as _};
use tokio::net::UdpSocket;

use crate::message::plain;
use crate::shared::Shared;

/// Padding of requests (RFC 5780 section 7.6); it must be understood, and there is nothing to it.
pub(crate) const PADDING: AttributeType = AttributeType::new(0x0026);

/// Longer datagrams are cut, and no message then.
const LONGEST: usize = 2048;

/// A socket that answers.
pub(crate) struct Door {
    socket: Arc<UdpSocket>,
    /// Where it is among the four of RFC 5780.
    among: Option<(Arc<Four>, usize, usize)>,
}

/// Two addresses with two ports each (RFC 5780 section 6): by address, and then by port.
struct Four {
    sockets: [[Arc<UdpSocket>; 2]; 2],
    /// As others know them.
    known: [[SocketAddr; 2]; 2],
}

impl Door {
    /// Answers at `address` and from nowhere else.
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        Ok(Self {
            socket: Arc::new(bind(address)?),
            among: None,
        })
    }

    /// Answers at `first` and at `other`, and at the two addresses that have one's address and the other's port;
    /// others know `first` by the address `public`.
    pub(crate) fn bind_four(
        first: SocketAddr,
        public: SocketAddr,
        other: SocketAddr,
    ) -> io::Result<[Self; 4]> {
        let first = bind(first)?;
        let other = bind(other)?;
        let (a, b) = (first.local_addr()?, other.local_addr()?);
        let (c, d) = (
            SocketAddr::new(a.ip(), b.port()),
            SocketAddr::new(b.ip(), a.port()),
        );
        let sockets = [[first, bind(c)?], [bind(d)?, other]].map(|of| of.map(Arc::new));
        let at = |address: SocketAddr| SocketAddr::new(public.ip(), address.port());
        let four = Arc::new(Four {
            sockets,
            known: [[at(a), at(c)], [d, b]],
        });
        let door = |address: usize, port: usize| Self {
            socket: Arc::clone(&four.sockets[address][port]),
            among: Some((Arc::clone(&four), address, port)),
        };
        Ok([door(0, 0), door(0, 1), door(1, 0), door(1, 1)])
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Answers for ever. Dropping the future stops it.
    pub(crate) async fn serve(self, shared: &Shared) {
        let metrics = &shared.metrics;
        let mut buffer = [0; LONGEST];
        loop {
            let Ok((length, from)) = self.socket.recv_from(&mut buffer).await else {
                // An ICMP error for an earlier answer, or memory: neither is news for long.
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            };
            let longest = if shared.current().config.short_binding_requests {
                usize::MAX
            } else {
                length
            };
            let answer = self.answer(&buffer[..length], from, longest);
            // A full send queue drops the answer, as the network might; the client asks again.
            match answer.map(|(answer, socket)| socket.try_send_to(&answer, from)) {
                Some(Ok(_)) => metrics.udp_answered_total.up(),
                _ => metrics.udp_dropped_total.up(),
            }
        }
    }

    /// The answer to a datagram that is a Binding request without a word that must be understood and is not, and
    /// where it goes out. What RFC 5780 adds to it is left out when it would be longer than `longest` with it.
    fn answer(&self, datagram: &[u8], from: SocketAddr, longest: usize) -> Option<(Vec<u8>, &UdpSocket)> {
        let message = Message::from_bytes(datagram).ok()?;
        if !message.has_class(MessageClass::Request)
            || message.method() != BINDING
            || usize::from(u16::from_be_bytes([datagram[2], datagram[3]])) + 20 != datagram.len()
        {
            return None;
        }
        let mut attributes = message.iter_attributes();
        if attributes.any(|(_, attribute)| {
            let kind = attribute.header.get_type();
            let is_known = [PADDING, Software::TYPE].contains(&kind)
                || (kind == ChangeRequest::TYPE && self.among.is_some());
            kind.comprehension_required() && !is_known
        }) {
            return None;
        }
        let from = plain(from);
        let mapped = XorMappedAddress::new(from, message.transaction_id());
        let fitting = |attributes: &[&dyn AttributeWrite]| {
            success(&message, attributes).filter(|answer| answer.len() <= longest)
        };
        let Some((four, address, port)) = &self.among else {
            return Some((fitting(&[&mapped])?, &self.socket));
        };
        let change = if message.has_attribute(ChangeRequest::TYPE) {
            message.attribute::<ChangeRequest>().ok()?
        } else {
            ChangeRequest::default()
        };
        let out = (
            address ^ usize::from(change.address),
            port ^ usize::from(change.port),
        );
        let origin = ResponseOrigin(four.known[out.0][out.1]);
        let other = OtherAddress(four.known[1 - address][1 - port]);
        let answer = fitting(&[&mapped, &origin, &other, &MappedAddress(from)]);
        let answer = answer.or_else(|| fitting(&[&mapped, &origin, &other]));
        let answer = answer.or_else(|| fitting(&[&mapped]))?;
        Some((answer, &four.sockets[out.0][out.1]))
    }
}

fn success(request: &Message<'_>, attributes: &[&dyn AttributeWrite]) -> Option<Vec<u8>> {
    let mut answer = Message::builder_success(request, MessageWriteVec::new());
    for attribute in attributes {
        answer.add_attribute(*attribute).ok()?;
    }
    if request.has_attribute(Fingerprint::TYPE) {
        answer.add_fingerprint().ok()?;
    }
    Some(answer.finish())
}

fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(address),
        socket2::Type::DGRAM.nonblocking(),
        Some(socket2::Protocol::UDP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Of four addresses the configuration names two: without its address nobody would know which one is meant.
    let bound = socket.bind(&address.into());
    bound.map_err(|error| io::Error::new(error.kind(), format!("{address}: {error}")))?;
    UdpSocket::from_std(socket.into())
}
