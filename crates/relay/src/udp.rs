//! STUN Binding over UDP (RFC 8489), with answers no longer than the requests, so that nobody uses it to amplify.

use std::net::SocketAddr;
use std::time::Duration;

use stun_types::attribute::{AttributeType, Fingerprint, Software, XorMappedAddress};
use stun_types::message::{BINDING, Message, MessageClass, MessageWriteVec};
use stun_types::prelude::{AttributeStaticType as _, MessageWrite as _, MessageWriteExt as _};
use tokio::net::UdpSocket;

use crate::message::plain;
use crate::shared::Shared;

/// Padding of requests (RFC 5780 section 7.6); it must be understood, and there is nothing to it.
pub(crate) const PADDING: AttributeType = AttributeType::new(0x0026);

/// Longer datagrams are cut, and no message then.
const LONGEST: usize = 2048;

/// Answers for ever. Dropping the future stops it.
pub(crate) async fn serve(socket: UdpSocket, shared: &Shared) {
    let metrics = &shared.metrics;
    let mut buffer = [0; LONGEST];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
            // An ICMP error for an earlier answer, or memory: neither is news for long.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let short_requests = shared.current().config.short_binding_requests;
        let answer =
            answer(&buffer[..length], from).filter(|answer| short_requests || answer.len() <= length);
        // A full send queue drops the answer, as the network might; the client asks again.
        match answer.map(|answer| socket.try_send_to(&answer, from)) {
            Some(Ok(_)) => metrics.udp_answered_total.up(),
            _ => metrics.udp_dropped_total.up(),
        }
    }
}

/// The answer to a datagram that is a Binding request without a word that must be understood and is not.
fn answer(datagram: &[u8], from: SocketAddr) -> Option<Vec<u8>> {
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
        kind.comprehension_required() && ![PADDING, Software::TYPE].contains(&kind)
    }) {
        return None;
    }
    let mut answer = Message::builder_success(&message, MessageWriteVec::new());
    let mapped = XorMappedAddress::new(plain(from), message.transaction_id());
    answer.add_attribute(&mapped).ok()?;
    if message.has_attribute(Fingerprint::TYPE) {
        answer.add_fingerprint().ok()?;
    }
    Some(answer.finish())
}
