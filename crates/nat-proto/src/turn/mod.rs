//! The TURN client for TCP allocations: RFC 8656 with RFC 6062.
//!
//! [`Client`] speaks on the control connection; each of the peers' connections is fetched over a connection of its
//! own with a [`Bind`]. Over TCP and TLS alone, so nothing is sent twice.

mod bind;
mod request;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use stun_types::attribute::{AttributeStaticType as _, XorMappedAddress};
use stun_types::message::{Message, MessageClass, MessageWrite as _, MessageWriteVec};
use turn_types::attribute::{ConnectionId, Lifetime, XorPeerAddress, XorRelayedAddress};
use turn_types::message::CONNECTION_ATTEMPT;

pub use bind::Bind;
use request::{Exchange, Reply, Request};

use crate::authentication::{Authentication, Credentials};
use crate::extension::{DialBack, Dialled};
use crate::frame::{FrameError, Frames};
use crate::message::{self, Refusal};
use crate::transaction::TransactionIds;

/// A permission lasts 300 s (RFC 8656 section 9) and is renewed well before.
const PERMISSION_RENEWAL: Duration = Duration::from_secs(240);
/// The most addresses that are permitted, and the most Connects under way, at a time.
pub const MAX_PERMISSIONS: usize = 1024;
const MAX_CONNECTS: usize = 64;
/// The most dial-backs under way.
const MAX_DIAL_BACKS: usize = 8;
/// How long the answer to a dial-back may take: the server tries for 3 s.
const DIAL_BACK: Duration = Duration::from_secs(6);
/// How long a server may take to say that it is there; whatever is on the way holds up its answer.
const PRESENCE: Duration = Duration::from_secs(10);
/// A server that grants less is asked again no faster than that.
const LEAST_RENEWAL: Duration = Duration::from_secs(5);
/// Bytes of extra attributes in an Allocate; with all others they stay below a message's bound.
const MAX_EXTRA: usize = 2048;

/// What a client is told at its begin.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Who we are to the server.
    pub credentials: Credentials,
    /// How long an answer may take.
    pub patience: Duration,
    /// What the allocation is asked to last; the server decides, and it is renewed at half of that.
    pub lifetime: Duration,
    /// Attributes to go with Allocate, as type and value: what a server offers beyond the RFCs is asked for by these.
    /// One whose type begins at 0x8000 is ignored by a server that does not know it, another is refused (420).
    pub extra: Vec<(u16, Vec<u8>)>,
}

/// What happened, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The allocation is there. Told once.
    Allocated {
        /// Where peers connect to.
        relayed: SocketAddr,
        /// Our own address as the server sees it.
        mapped: SocketAddr,
        /// What the server granted.
        lifetime: Duration,
        /// Attributes of the response that nobody here knows and nobody has to.
        extra: Vec<(u16, Vec<u8>)>,
    },
    /// Peers at this address may connect, until [`Client::forbid`]. Told once a [`Client::permit`].
    Permitted(IpAddr),
    /// They may not, or not any more.
    NotPermitted(IpAddr, Error),
    /// A peer connected to the relayed address; to be fetched with [`Client::bind`] within 30 s
    /// (RFC 6062 section 5.3).
    Attempt(Attempt),
    /// [`Client::connect`] reached the peer; to be fetched with [`Client::bind`].
    Connected {
        /// The peer.
        peer: SocketAddr,
        /// What [`Client::bind`] wants to know.
        connection_id: u32,
    },
    /// [`Client::connect`] did not.
    NotConnected(SocketAddr, Error),
    /// [`Client::dial_back`] was answered.
    DialledBack {
        /// The port that was to be dialled.
        port: u16,
        /// What came of it; `None` where the server does not know dial-backs.
        dialled: Option<Dialled>,
    },
    /// The server did not dial back.
    NotDialledBack(u16, Error),
    /// There is no allocation, or no longer one. Nothing else comes.
    Failed(Error),
    /// The server took the allocation back, as [`Client::close`] asked. Nothing else comes.
    Closed,
}

/// A peer's connection that waits at the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// What [`Client::bind`] wants to know.
    pub connection_id: u32,
    /// The peer.
    pub peer: SocketAddr,
    /// Attributes that nobody here knows and nobody has to.
    pub extra: Vec<(u16, Vec<u8>)>,
}

/// Why something asked of the server was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server said no.
    #[error("the server refused: {0}")]
    Refused(Refusal),
    /// No answer came in time.
    #[error("no answer in time")]
    Silent,
    /// The server's answer lacks something, or has something in it that has to be understood.
    #[error("the server's answer is malformed")]
    Malformed,
    /// Somebody answered who does not know our password.
    #[error("the answer is not signed with our password")]
    BadIntegrity,
    /// What came is no STUN at all.
    #[error("not a TURN server's stream: {0}")]
    Frame(#[from] FrameError),
    /// Ours: the name, a realm or an extra attribute does not fit, or its type is not free.
    #[error("the request cannot be written")]
    Unwritable,
    /// Ours: too many at a time.
    #[error("too many at a time")]
    TooMany,
    /// Ours: it was taken back before the answer came.
    #[error("not wanted any more")]
    Withdrawn,
    /// Ours: there is no allocation to do this with.
    #[error("there is no allocation")]
    NoAllocation,
}

/// The control connection's side of one allocation.
pub struct Client {
    ids: Box<dyn TransactionIds>,
    authentication: Authentication,
    patience: Duration,
    lifetime: Duration,
    extra: Vec<(u16, Vec<u8>)>,
    state: State,
    frames: Frames,
    exchanges: Vec<Exchange<Request>>,
    /// When each is renewed; `None` while the first answer is awaited.
    permissions: BTreeMap<IpAddr, Option<Instant>>,
    out: VecDeque<Bytes>,
    events: VecDeque<Event>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("authentication", &self.authentication)
            .field("state", &self.state)
            .field("permissions", &self.permissions)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Allocating,
    Allocated {
        /// `None` while a Refresh is under way.
        renew_at: Option<Instant>,
    },
    Closing,
    Over,
}

impl Client {
    /// Begins: the first Allocate is to be sent.
    #[must_use]
    pub fn new(now: Instant, profile: Profile, ids: Box<dyn TransactionIds>) -> Self {
        let Profile {
            credentials,
            patience,
            lifetime,
            extra,
        } = profile;
        let mut client = Self {
            ids,
            authentication: Authentication::new(credentials),
            patience,
            // Refresh with 0 would give the allocation back.
            lifetime: lifetime.max(2 * LEAST_RENEWAL),
            extra,
            state: State::Allocating,
            frames: Frames::default(),
            exchanges: Vec::new(),
            permissions: BTreeMap::new(),
            out: VecDeque::new(),
            events: VecDeque::new(),
        };
        let size: usize = client.extra.iter().map(|(_, value)| value.len() + 8).sum();
        if size > MAX_EXTRA || client.extra.iter().any(|(kind, _)| message::is_known(*kind)) {
            client.fail(Error::Unwritable);
        } else {
            client.ask(now, Request::Allocate);
        }
        client
    }

    /// Lets peers at this address connect, and keeps that renewed. One that is permitted already is asked for again,
    /// so that an event comes in any case.
    ///
    /// # Errors
    /// [`Error::NoAllocation`]; [`Error::TooMany`] beyond [`MAX_PERMISSIONS`].
    pub fn permit(&mut self, now: Instant, ip: IpAddr) -> Result<(), Error> {
        self.with_allocation()?;
        if self.permissions.len() >= MAX_PERMISSIONS && !self.permissions.contains_key(&ip) {
            return Err(Error::TooMany);
        }
        // The same question that is under way has the same answer.
        if self.permissions.insert(ip, None) != Some(None) {
            self.ask(
                now,
                Request::Permit {
                    ip,
                    is_renewal: false,
                },
            );
        }
        Ok(())
    }

    /// Renews this address's permission no more. It ends by itself within 300 s; TURN knows no way to take it back.
    pub fn forbid(&mut self, ip: IpAddr) {
        self.permissions.remove(&ip);
    }

    /// Has the server connect to a peer (RFC 6062 section 4.3); its address must be permitted.
    ///
    /// # Errors
    /// [`Error::NoAllocation`], [`Error::TooMany`].
    pub fn connect(&mut self, now: Instant, peer: SocketAddr) -> Result<(), Error> {
        self.with_allocation()?;
        let under_way = self
            .exchanges
            .iter()
            .filter(|it| matches!(it.request, Request::Connect(_)))
            .count();
        if under_way >= MAX_CONNECTS {
            return Err(Error::TooMany);
        }
        self.ask(now, Request::Connect(peer));
        Ok(())
    }

    /// Has the server connect to the address that it sees us at, at this port ([`DialBack`]). Which address that is, is
    /// told by [`Event::Allocated`].
    ///
    /// # Errors
    /// [`Error::NoAllocation`]; [`Error::TooMany`]; [`Error::Unwritable`] for port 0.
    pub fn dial_back(&mut self, now: Instant, port: u16) -> Result<(), Error> {
        self.with_allocation()?;
        if port == 0 {
            return Err(Error::Unwritable);
        }
        let under_way = self
            .exchanges
            .iter()
            .filter(|it| matches!(it.request, Request::DialBack(_)))
            .count();
        if under_way >= MAX_DIAL_BACKS {
            return Err(Error::TooMany);
        }
        self.ask(now, Request::DialBack(port));
        Ok(())
    }

    /// Asks the server for a sign of life, which also keeps NATs on the way from forgetting the connection. Without one
    /// the allocation fails after 10 s. Where an answer is due anyway nothing is asked.
    pub fn ask_presence(&mut self, now: Instant) {
        let is_due = |exchange: &Exchange<Request>| !matches!(exchange.request, Request::DialBack(_));
        if self.with_allocation().is_ok() && !self.exchanges.iter().any(is_due) {
            self.ask(now, Request::Presence);
        }
    }

    /// Begins to fetch a connection: the dialogue on a second connection to the same server.
    #[must_use]
    pub fn bind(&self, now: Instant, connection_id: u32, ids: Box<dyn TransactionIds>) -> Bind {
        Bind::new(
            now,
            connection_id,
            self.authentication.clone(),
            self.patience,
            ids,
        )
    }

    /// Gives the allocation back. [`Event::Closed`] comes when the server has heard it.
    pub fn close(&mut self, now: Instant) {
        match self.state {
            State::Allocated { .. } => {
                self.state = State::Closing;
                self.ask(
                    now,
                    Request::Refresh {
                        lifetime: Duration::ZERO,
                    },
                );
            }
            State::Allocating => self.finish(Event::Closed),
            State::Closing | State::Over => {}
        }
    }

    /// Bytes came.
    pub fn handle_input(&mut self, now: Instant, mut bytes: &[u8]) {
        while self.state != State::Over {
            match self.frames.decode(&mut bytes) {
                Ok(Some(message)) => self.handle_message(now, &message),
                Ok(None) => return,
                Err(error) => self.fail(error.into()),
            }
        }
    }

    /// Time has come this far.
    pub fn handle_timeout(&mut self, now: Instant) {
        for exchange in &mut self.exchanges {
            exchange.transaction.handle_timeout(now);
        }
        // A server that passes over what it does not know is still there.
        let is_unanswered = |exchange: &mut Exchange<Request>| {
            matches!(exchange.request, Request::DialBack(_)) && exchange.transaction.has_expired()
        };
        let unanswered: Vec<_> = self.exchanges.extract_if(.., is_unanswered).collect();
        for exchange in unanswered {
            self.handle_no(exchange.request, Error::Silent);
        }
        // Nothing is lost on the way over TCP: no answer means that nobody is there any more.
        if self
            .exchanges
            .iter()
            .any(|exchange| exchange.transaction.has_expired())
        {
            self.fail(Error::Silent);
        }
        if let State::Allocated { renew_at } = &mut self.state
            && renew_at.is_some_and(|at| at <= now)
        {
            *renew_at = None;
            self.ask(
                now,
                Request::Refresh {
                    lifetime: self.lifetime,
                },
            );
        }
        if matches!(self.state, State::Allocated { .. }) {
            let is_due = |at: &Option<Instant>| at.is_some_and(|at| at <= now);
            let due: Vec<IpAddr> = self
                .permissions
                .iter()
                .filter(|(_, at)| is_due(at))
                .map(|(ip, _)| *ip)
                .collect();
            for ip in due {
                // Asked for again by its owner meanwhile, it gets an event of its own.
                self.permissions.insert(ip, Some(now + PERMISSION_RENEWAL));
                self.ask(now, Request::Permit { ip, is_renewal: true });
            }
        }
    }

    /// Bytes to be sent.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        if self.state == State::Over {
            return None;
        }
        self.out.pop_front().or_else(|| {
            self.exchanges
                .iter_mut()
                .find_map(|exchange| exchange.transaction.poll_transmit())
        })
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`Client::handle_timeout`] has to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let renewal = match self.state {
            State::Over => return None,
            State::Allocated { renew_at } => renew_at
                .into_iter()
                .chain(self.permissions.values().copied().flatten())
                .min(),
            State::Allocating | State::Closing => None,
        };
        let answer = self
            .exchanges
            .iter()
            .filter_map(|exchange| exchange.transaction.poll_timeout())
            .min();
        renewal.into_iter().chain(answer).min()
    }

    fn handle_message(&mut self, now: Instant, bytes: &[u8]) {
        // What cannot be read is nobody's answer (RFC 8489 section 6.3).
        let Ok(message) = Message::from_bytes(bytes) else {
            return;
        };
        match message.class() {
            MessageClass::Success | MessageClass::Error => self.handle_response(now, &message),
            // RFC 6062 section 4.4 has an indication here, which coturn sends; turn-server-proto sends a request.
            MessageClass::Indication | MessageClass::Request if message.has_method(CONNECTION_ATTEMPT) => {
                self.handle_attempt(&message);
            }
            MessageClass::Indication | MessageClass::Request => {}
        }
    }

    fn handle_attempt(&mut self, message: &Message<'_>) {
        let (Ok(id), Ok(peer)) = (
            message.attribute::<ConnectionId>(),
            message.attribute::<XorPeerAddress>(),
        ) else {
            return;
        };
        if !matches!(self.state, State::Allocated { .. }) || message::not_understood(message).is_some() {
            return;
        }
        if message.has_class(MessageClass::Request) {
            self.out.push_back(
                Message::builder_success(message, MessageWriteVec::new())
                    .finish()
                    .into(),
            );
        }
        self.events.push_back(Event::Attempt(Attempt {
            connection_id: id.id(),
            peer: peer.addr(message.transaction_id()),
            extra: message::extensions(message),
        }));
    }

    fn handle_response(&mut self, now: Instant, message: &Message<'_>) {
        let Some(index) = self
            .exchanges
            .iter()
            .position(|exchange| exchange.is_answered_by(message))
        else {
            return;
        };
        let exchange = self.exchanges.remove(index);
        match exchange.judge(&mut self.authentication, message) {
            Reply::Again => {
                self.begin(now, exchange.request, exchange.challenges + 1);
            }
            // Whoever answers is there.
            _ if matches!(exchange.request, Request::Presence) => {}
            // coturn does not sign its answer to a Binding. It says nothing that would have to be believed.
            Reply::No(Error::BadIntegrity)
                if matches!(exchange.request, Request::DialBack(_))
                    && !message.has_attribute(DialBack::TYPE) =>
            {
                self.handle_yes(now, exchange.request, message);
            }
            Reply::No(error) => self.handle_no(exchange.request, error),
            Reply::Yes => self.handle_yes(now, exchange.request, message),
        }
    }

    fn handle_yes(&mut self, now: Instant, request: Request, message: &Message<'_>) {
        let id = message.transaction_id();
        match request {
            Request::Allocate => {
                let (Ok(relayed), Ok(mapped), Some(lifetime)) = (
                    message.attribute::<XorRelayedAddress>(),
                    message.attribute::<XorMappedAddress>(),
                    granted(message),
                ) else {
                    return self.fail(Error::Malformed);
                };
                self.renew_after(now, lifetime);
                self.events.push_back(Event::Allocated {
                    relayed: relayed.addr(id),
                    mapped: mapped.addr(id),
                    lifetime,
                    extra: message::extensions(message),
                });
            }
            Request::Refresh {
                lifetime: Duration::ZERO,
            } => self.finish(Event::Closed),
            Request::Refresh { .. } => match granted(message) {
                Some(_) if self.state == State::Closing => {}
                Some(lifetime) => self.renew_after(now, lifetime),
                None => self.fail(Error::Malformed),
            },
            Request::Permit { ip, is_renewal } => {
                // Forbidden meanwhile: nobody waits for this.
                if let Some(renew_at) = self.permissions.get_mut(&ip)
                    && !is_renewal
                {
                    *renew_at = Some(now + PERMISSION_RENEWAL);
                    self.events.push_back(Event::Permitted(ip));
                }
            }
            Request::Connect(peer) => self.events.push_back(match message.attribute::<ConnectionId>() {
                Ok(id) => Event::Connected {
                    peer,
                    connection_id: id.id(),
                },
                Err(_) => Event::NotConnected(peer, Error::Malformed),
            }),
            Request::DialBack(port) => self.events.push_back(if message.has_attribute(DialBack::TYPE) {
                match message.attribute::<DialBack>() {
                    Ok(back) if back.port == port && back.result != Dialled::NotYet => Event::DialledBack {
                        port,
                        dialled: Some(back.result),
                    },
                    _ => Event::NotDialledBack(port, Error::Malformed),
                }
            } else {
                Event::DialledBack { port, dialled: None }
            }),
            Request::Presence => {}
        }
    }

    fn handle_no(&mut self, request: Request, error: Error) {
        match request {
            // 437: the server has forgotten the allocation, which is what was wanted.
            Request::Refresh {
                lifetime: Duration::ZERO,
            } => self.finish(Event::Closed),
            Request::Allocate | Request::Refresh { .. } => self.fail(error),
            Request::Permit { ip, .. } => {
                if self.permissions.remove(&ip).is_some() {
                    self.events.push_back(Event::NotPermitted(ip, error));
                }
            }
            Request::Connect(peer) => self.events.push_back(Event::NotConnected(peer, error)),
            Request::DialBack(port) => self.events.push_back(Event::NotDialledBack(port, error)),
            Request::Presence => {}
        }
    }

    fn renew_after(&mut self, now: Instant, lifetime: Duration) {
        let renew_at = Some(now + (lifetime / 2).max(LEAST_RENEWAL));
        self.state = State::Allocated { renew_at };
    }

    fn with_allocation(&self) -> Result<(), Error> {
        matches!(self.state, State::Allocated { .. })
            .then_some(())
            .ok_or(Error::NoAllocation)
    }

    fn ask(&mut self, now: Instant, request: Request) {
        self.begin(now, request, 0);
    }

    fn begin(&mut self, now: Instant, request: Request, challenges: u8) {
        let id = self.ids.next_id();
        let patience = match request {
            Request::DialBack(_) => DIAL_BACK,
            Request::Presence => PRESENCE,
            _ => self.patience,
        };
        let written = request.write(id, self.lifetime, &self.extra, &self.authentication);
        match written {
            Ok(bytes) => self.exchanges.push(Exchange::new(
                now,
                request,
                id,
                bytes,
                patience,
                self.authentication.is_challenged(),
                challenges,
            )),
            Err(_) => self.handle_no(request, Error::Unwritable),
        }
    }

    fn fail(&mut self, error: Error) {
        self.finish(Event::Failed(error));
    }

    /// `last` is the last event.
    fn finish(&mut self, last: Event) {
        if self.state != State::Over {
            self.state = State::Over;
            self.exchanges.clear();
            self.permissions.clear();
            self.out.clear();
            self.events.push_back(last);
        }
    }
}

/// The lifetime in a response; `None` when there is none or it is nothing.
fn granted(message: &Message<'_>) -> Option<Duration> {
    let seconds = message.attribute::<Lifetime>().ok()?.seconds();
    (seconds > 0).then(|| Duration::from_secs(seconds.into()))
}

#[cfg(test)]
mod tests;
