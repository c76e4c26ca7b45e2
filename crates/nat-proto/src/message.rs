//! What every usage of STUN reads and writes alike: requests, refusals, attributes that nobody here knows.

use std::fmt;
use std::net::SocketAddr;

use stun_types::attribute::{AlternateServer, ErrorCode, RawAttribute};
use stun_types::message::{Message, MessageClass, MessageType, MessageWriteVec, Method, TransactionId};
use stun_types::prelude::Attribute as _;

/// What the server said instead of yes: an error response (RFC 8489 section 14.8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The error code, 300 to 699.
    pub code: u16,
    /// The server's words, for a person.
    pub reason: String,
    /// Where to try instead, with 300 (RFC 8489 section 10).
    pub alternate: Option<SocketAddr>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The words come from the network and end up in a log.
        write!(f, "{} {}", self.code, self.reason.escape_debug())
    }
}

impl Refusal {
    /// The refusal in an error response; `None` when it does not say its code.
    pub(crate) fn read(message: &Message<'_>) -> Option<Self> {
        let error = message.attribute::<ErrorCode>().ok()?;
        Some(Self {
            code: error.code(),
            reason: error.reason().to_owned(),
            alternate: message
                .attribute::<AlternateServer>()
                .ok()
                .map(|alternate| alternate.server()),
        })
    }
}

/// Begins a request.
pub(crate) fn request(method: Method, id: TransactionId) -> MessageWriteVec {
    let kind = MessageType::from_class_method(MessageClass::Request, method);
    Message::builder(kind, id, MessageWriteVec::with_capacity(256))
}

/// The attributes that STUN, TURN and their extensions define (IANA's "STUN Attributes"), as far as they may come
/// to a client; 0x0002 to 0x000b and 0x8020 in part from RFC 3489 and the drafts behind it, which old servers still
/// send beside what RFC 8489 wants. What is not here belongs to somebody else.
const KNOWN: &[u16] = &[
    0x0001, 0x0002, 0x0003, 0x0004, 0x0005, 0x0006, 0x0007, 0x000b, 0x8020, 0x0008, 0x0009, 0x000a, 0x000c,
    0x000d, 0x0012, 0x0013, 0x0014, 0x0015, 0x0016, 0x0017, 0x0018, 0x0019, 0x001a, 0x001c, 0x001d, 0x001e,
    0x0020, 0x0022, 0x0024, 0x0025, 0x0026, 0x0027, 0x002a, 0x8000, 0x8001, 0x8002, 0x8003, 0x8004, 0x8022,
    0x8023, 0x8027, 0x8028, 0x8029, 0x802a, 0x802b, 0x802c,
];

pub(crate) fn is_known(kind: u16) -> bool {
    KNOWN.contains(&kind)
}

/// The comprehension-optional attributes that nobody here knows, in their order.
pub(crate) fn extensions(message: &Message<'_>) -> Vec<(u16, Vec<u8>)> {
    unknown(message)
        .filter(|raw| raw.get_type().value() >= 0x8000)
        .map(owned)
        .collect()
}

/// The first attribute that must be understood and is not (RFC 8489 section 6.3: it makes a response a failure).
pub(crate) fn not_understood(message: &Message<'_>) -> Option<u16> {
    unknown(message)
        .map(|raw| raw.get_type().value())
        .find(|kind| *kind < 0x8000)
}

fn unknown<'m>(message: &'m Message<'_>) -> impl Iterator<Item = RawAttribute<'m>> {
    message
        .iter_attributes()
        .map(|(_, raw)| raw)
        .filter(|raw| !is_known(raw.get_type().value()))
}

fn owned(raw: RawAttribute<'_>) -> (u16, Vec<u8>) {
    (raw.get_type().value(), raw.value.to_vec())
}
