//! "Which address do you see?": the Binding client of RFC 8489, over UDP and TCP.
//!
//! [`behaviour`] asks more than once and tells what kind of NAT stands between.

mod attributes;
pub mod behaviour;

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use stun_types::attribute::XorMappedAddress;
use stun_types::message::{BINDING, Message, MessageClass, MessageWrite as _, MessageWriteExt as _};

pub use attributes::{ChangeRequest, MappedAddress, OtherAddress, ResponseOrigin};

use crate::message::{self, Refusal};
use crate::transaction::{Schedule, Transaction, TransactionId};

/// What a Binding response says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Our address as the server sees it.
    pub mapped: SocketAddr,
    /// Where the server says that it answers from (RFC 5780 section 7.3).
    pub origin: Option<SocketAddr>,
    /// The server's other address, if it has one (RFC 5780 section 7.4). Nothing vouches for it.
    pub other: Option<SocketAddr>,
}

/// Why there is no [`Answer`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BindingError {
    /// Nothing came in time.
    #[error("no answer in time")]
    Silent,
    /// The server said no.
    #[error("the server refused: {0}")]
    Refused(Refusal),
    /// An answer to our request without an address in it, or with something in it that has to be understood.
    #[error("the server's answer is malformed")]
    Malformed,
}

/// One Binding request until its answer.
#[derive(Debug)]
pub struct Binding {
    transaction: Transaction,
    outcome: Option<Result<Answer, BindingError>>,
    is_over: bool,
}

impl Binding {
    /// Asks. `id` is random; over UDP `change` may ask for an answer from elsewhere (RFC 5780 section 7.2).
    #[must_use]
    pub fn new(now: Instant, id: TransactionId, schedule: &Schedule, change: ChangeRequest) -> Self {
        let mut request = message::request(BINDING, id);
        if change != ChangeRequest::default() {
            // It is the only attribute and of 4 bytes, so it can be added.
            let _ = request.add_attribute(&change);
        }
        let request = Bytes::from(request.finish());
        Self {
            transaction: Transaction::new(now, id, request, schedule),
            outcome: None,
            is_over: false,
        }
    }

    /// A whole message came: a datagram, or what [`Frames`](crate::frame::Frames) made of a stream. What is not the
    /// answer to this request is passed over, whatever it is.
    pub fn handle_message(&mut self, bytes: &[u8]) {
        let Ok(message) = Message::from_bytes(bytes) else {
            return;
        };
        if self.is_over || message.transaction_id() != self.transaction.id() || !message.has_method(BINDING) {
            return;
        }
        self.finish(match message.class() {
            MessageClass::Success => Answer::read(&message).ok_or(BindingError::Malformed),
            MessageClass::Error => {
                Err(Refusal::read(&message).map_or(BindingError::Malformed, BindingError::Refused))
            }
            MessageClass::Request | MessageClass::Indication => return,
        });
    }

    /// Time has come this far.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.transaction.handle_timeout(now);
        if self.transaction.has_expired() && !self.is_over {
            self.finish(Err(BindingError::Silent));
        }
    }

    /// The request, when it is to be sent.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        self.transaction.poll_transmit().filter(|_| !self.is_over)
    }

    /// How it ended, told once.
    pub fn poll_outcome(&mut self) -> Option<Result<Answer, BindingError>> {
        self.outcome.take()
    }

    /// When [`Binding::handle_timeout`] has to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.transaction.poll_timeout().filter(|_| !self.is_over)
    }

    fn finish(&mut self, outcome: Result<Answer, BindingError>) {
        self.outcome = Some(outcome);
        self.is_over = true;
    }
}

impl Answer {
    fn read(message: &Message<'_>) -> Option<Self> {
        if message::not_understood(message).is_some() {
            return None;
        }
        let xored = message
            .attribute::<XorMappedAddress>()
            .ok()
            .map(|it| it.addr(message.transaction_id()));
        // Servers of RFC 3489 know MAPPED-ADDRESS only.
        let mapped = xored.or_else(|| Some(message.attribute::<MappedAddress>().ok()?.0))?;
        Some(Self {
            mapped,
            origin: message.attribute::<ResponseOrigin>().ok().map(|it| it.0),
            other: message.attribute::<OtherAddress>().ok().map(|it| it.0),
        })
    }
}

#[cfg(test)]
mod tests;
