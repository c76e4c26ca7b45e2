//! One request of the client and what its answer means, before anybody looks at what was asked.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use stun_types::attribute::{AttributeType, RawAttribute};
use stun_types::message::{BINDING, Message, MessageClass, MessageWriteExt as _, Method, StunWriteError};
use turn_types::attribute::{ConnectionId, Lifetime, RequestedTransport, XorPeerAddress};
use turn_types::message::{ALLOCATE, CONNECT, CONNECTION_BIND, CREATE_PERMISSION, REFRESH};

use super::Error;
use crate::authentication::Authentication;
use crate::extension::{DialBack, Dialled};
use crate::message::{self, Refusal};
use crate::transaction::{Schedule, Transaction, TransactionId};

/// IANA's number of TCP (RFC 6062 section 4.1).
const TCP: u8 = 6;
/// How often one request is signed anew: a nonce that gets old on the way is bad luck, more of them is a server that
/// wants none of our requests.
const MAX_CHALLENGES: u8 = 3;

/// What is asked on the control connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    Allocate,
    Refresh {
        lifetime: Duration,
    },
    Permit {
        ip: IpAddr,
        is_renewal: bool,
    },
    Connect(SocketAddr),
    /// Ours, not TURN's: [`DialBack`].
    DialBack(u16),
    /// Whether somebody is there: a Binding, to which any answer will do.
    Presence,
}

/// What is asked: its method on the wire.
pub(super) trait Asks {
    fn method(&self) -> Method;
}

/// What is asked on a second connection (RFC 6062 section 4.3).
#[derive(Debug, Clone, Copy)]
pub(super) struct BindRequest(pub(super) u32);

impl Asks for Request {
    fn method(&self) -> Method {
        match self {
            Self::Allocate => ALLOCATE,
            Self::Refresh { .. } => REFRESH,
            Self::Permit { .. } => CREATE_PERMISSION,
            Self::Connect(_) => CONNECT,
            Self::DialBack(_) | Self::Presence => BINDING,
        }
    }
}

impl Asks for BindRequest {
    fn method(&self) -> Method {
        CONNECTION_BIND
    }
}

impl BindRequest {
    pub(super) fn write(
        self,
        id: TransactionId,
        authentication: &Authentication,
    ) -> Result<Bytes, StunWriteError> {
        let mut request = message::request(self.method(), id);
        request.add_attribute(&ConnectionId::new(self.0))?;
        authentication.finish(request)
    }
}

impl Request {
    pub(super) fn write(
        self,
        id: TransactionId,
        lifetime: Duration,
        extra: &[(u16, Vec<u8>)],
        authentication: &Authentication,
    ) -> Result<Bytes, StunWriteError> {
        let mut request = message::request(self.method(), id);
        match self {
            Self::Allocate => {
                request.add_attribute(&RequestedTransport::new(TCP))?;
                request.add_attribute(&seconds(lifetime))?;
                for (kind, value) in extra {
                    request.add_attribute(&RawAttribute::new(AttributeType::new(*kind), value))?;
                }
            }
            Self::Refresh { lifetime } => request.add_attribute(&seconds(lifetime))?,
            // The port is ignored (RFC 8656 section 10.1).
            Self::Permit { ip, .. } => {
                request.add_attribute(&XorPeerAddress::new(SocketAddr::new(ip, 0), id))?;
            }
            Self::Connect(peer) => request.add_attribute(&XorPeerAddress::new(peer, id))?,
            Self::DialBack(port) => request.add_attribute(&DialBack {
                port,
                result: Dialled::NotYet,
            })?,
            Self::Presence => {}
        }
        authentication.finish(request)
    }
}

fn seconds(lifetime: Duration) -> Lifetime {
    Lifetime::new(lifetime.as_secs().try_into().unwrap_or(u32::MAX))
}

/// A request under way.
#[derive(Debug)]
pub(super) struct Exchange<R> {
    pub(super) request: R,
    pub(super) transaction: Transaction,
    /// How often the server has wanted it signed, or signed anew.
    pub(super) challenges: u8,
    was_signed: bool,
}

/// What an answer comes to.
#[derive(Debug)]
pub(super) enum Reply {
    Yes,
    No(Error),
    /// Ask again, signed with what the server has just said.
    Again,
}

impl<R: Asks> Exchange<R> {
    pub(super) fn new(
        now: Instant,
        request: R,
        id: TransactionId,
        bytes: Bytes,
        patience: Duration,
        was_signed: bool,
        challenges: u8,
    ) -> Self {
        let transaction = Transaction::new(now, id, bytes, &Schedule::reliable(patience));
        Self {
            request,
            transaction,
            challenges,
            was_signed,
        }
    }

    pub(super) fn is_answered_by(&self, message: &Message<'_>) -> bool {
        message.is_response()
            && message.transaction_id() == self.transaction.id()
            && message.has_method(self.request.method())
    }

    /// Who says yes has to sign it (RFC 8489 section 9.2.5). A no is believed without: servers sign not all of
    /// theirs, and who can write into the stream can end it as well.
    pub(super) fn judge(&self, authentication: &mut Authentication, message: &Message<'_>) -> Reply {
        if message.has_class(MessageClass::Success) {
            return if self.was_signed && !authentication.verifies(message) {
                Reply::No(Error::BadIntegrity)
            } else if message::not_understood(message).is_some() {
                Reply::No(Error::Malformed)
            } else {
                Reply::Yes
            };
        }
        let Some(refusal) = Refusal::read(message) else {
            return Reply::No(Error::Malformed);
        };
        // 401 to a signed request means that name or password is wrong; 438 that the nonce is too old.
        let is_challenge = refusal.code == 438 || (refusal.code == 401 && !self.was_signed);
        if !is_challenge || self.challenges >= MAX_CHALLENGES {
            Reply::No(Error::Refused(refusal))
        } else if authentication.handle_challenge(message).is_some() {
            Reply::Again
        } else {
            Reply::No(Error::Malformed)
        }
    }
}
