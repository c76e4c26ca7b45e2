//! One connection of a client, owned by one task: a control connection, or by ConnectionBind a stream to a peer.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use stun_types::attribute::{
    AttributeType, AttributeWrite, ErrorCode, Fingerprint, MessageIntegrity, MessageIntegritySha256, Nonce,
    PasswordAlgorithm, Realm, Software, Userhash, Username, XorMappedAddress,
};
use stun_types::message::{BINDING, Message, MessageClass};
use stun_types::prelude::AttributeStaticType as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use turn_types::attribute::{
    ConnectionId, EvenPort, Lifetime, RequestedAddressFamily, RequestedTransport, XorPeerAddress,
};
use turn_types::message::{
    ALLOCATE, CONNECT, CONNECTION_ATTEMPT, CONNECTION_BIND, CREATE_PERMISSION, REFRESH,
};

use crate::allocation::Allocation;
use crate::carry::{End, Pair};
use crate::credentials::{Proof, Unproven, is_signed};
use crate::leg::Leg;
use crate::message::{Inbox, Refusal, Slip, indication};
use crate::metrics::{Count, Gauge};
use crate::request;
use crate::shared::{Fetched, Shared, Stranger};
use crate::sockets;
use crate::udp::PADDING;
use crate::usage::Place;

/// How long an authenticated connection without an allocation may be silent.
const IDLE: Duration = Duration::from_secs(60);
/// How long a client may take to read a response.
const WRITING: Duration = Duration::from_secs(10);
/// Wrong passwords that end a connection.
const MOST_WRONG: u32 = 5;
/// Connects and dial-backs that one connection may have under way.
const MOST_JOBS: usize = 16;

/// What must be understood and is.
const KNOWN: &[AttributeType] = &[
    Username::TYPE,
    Userhash::TYPE,
    MessageIntegrity::TYPE,
    MessageIntegritySha256::TYPE,
    PasswordAlgorithm::TYPE,
    Realm::TYPE,
    Nonce::TYPE,
    Fingerprint::TYPE,
    Software::TYPE,
    Lifetime::TYPE,
    RequestedTransport::TYPE,
    RequestedAddressFamily::TYPE,
    EvenPort::TYPE,
    XorPeerAddress::TYPE,
    ConnectionId::TYPE,
    PADDING,
    // DONT-FRAGMENT and RESERVATION-TOKEN: known, so that an Allocate with them is refused with 400 and not 420.
    AttributeType::new(0x001a),
    AttributeType::new(0x0022),
];

/// A control connection and what it holds.
pub(crate) struct Control {
    pub(crate) shared: Arc<Shared>,
    pub(crate) from: SocketAddr,
    pub(crate) allocation: Option<Allocation>,
    /// What takes time runs beside the loop and answers through it.
    pub(crate) jobs: JoinSet<Job>,
    stranger: Option<Stranger>,
    proven: bool,
    wrong: u32,
    since: Instant,
    doubt: Option<Doubt>,
}

/// Somebody of the same account wants what this connection holds, so it has to show that its client is there.
struct Doubt {
    until: Instant,
    /// What was on its way when it was last looked at.
    unacknowledged: i32,
}

/// How long it has for that.
const DOUBT: Duration = Duration::from_millis(3500);
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// A job that is done.
pub(crate) enum Job {
    /// A Connect.
    Connected {
        slip: Slip,
        peer: SocketAddr,
        outcome: Result<(TcpStream, Place, OwnedSemaphorePermit), Refusal>,
        /// For an allocation that may have gone meanwhile.
        allocation: tokio_util::sync::CancellationToken,
    },
    /// Something whose response is ready.
    Answered(Vec<u8>),
    /// A request to look at again, and then to answer.
    Again(Vec<u8>),
}

/// What to do after a message.
pub(crate) enum Next {
    Answer(Vec<u8>),
    Nothing,
    /// Answer, and be a stream to this peer from now on.
    Carry(Box<Fetch>),
    /// Answer, and close.
    Close(Vec<u8>),
}

/// A peer that was fetched.
pub(crate) struct Fetch {
    pub(crate) answer: Vec<u8>,
    pub(crate) peer: (TcpStream, SocketAddr),
    pub(crate) place: Place,
    pub(crate) proof: Proof,
}

/// Serves a client until it goes.
pub(crate) async fn serve(shared: Arc<Shared>, stream: Leg, from: SocketAddr, stranger: Stranger) {
    let mut control = Control {
        shared,
        from,
        allocation: None,
        jobs: JoinSet::new(),
        stranger: Some(stranger),
        proven: false,
        wrong: 0,
        since: Instant::now(),
        doubt: None,
    };
    let mut stream = stream;
    match control.converse(&mut stream).await {
        Ok(Some(fetch)) => {
            let shared = Arc::clone(&control.shared);
            drop(control);
            carry(&shared, stream, from, *fetch).await;
        }
        Ok(None) => {}
        Err(error) => tracing::debug!(client = %from, %error, "connection ends"),
    }
}

impl Control {
    /// Answers messages; gives a peer when the connection has become its stream.
    async fn converse(&mut self, stream: &mut Leg) -> io::Result<Option<Box<Fetch>>> {
        let mut inbox = Inbox::default();
        let mut reloads = self.shared.reloads();
        loop {
            let deadline = self.deadline();
            let allocation = self.allocation.as_mut();
            let has_allocation = allocation.is_some();
            let tenant = allocation.as_ref().map(|allocation| allocation.tenant.clone());
            let (succeeded, doubted) = (
                async {
                    match &tenant {
                        Some(tenant) => tenant.token.cancelled().await,
                        None => std::future::pending().await,
                    }
                },
                async {
                    match &tenant {
                        Some(tenant) => tenant.doubt.notified().await,
                        None => std::future::pending().await,
                    }
                },
            );
            let arrival = async {
                match allocation {
                    Some(allocation) => allocation.arrival().await,
                    None => std::future::pending().await,
                }
            };
            let next = tokio::select! {
                () = self.shared.stop.cancelled() => return Ok(None),
                () = succeeded => {
                    self.release("its client has come again");
                    return Ok(None);
                }
                // The sender is ours.
                _ = reloads.changed() => {
                    if !self.is_still_allowed() {
                        self.release("its account has changed");
                        return Ok(None);
                    }
                    Next::Nothing
                }
                () = doubted => {
                    self.doubt(stream.tcp());
                    Next::Nothing
                }
                message = inbox.next(stream) => {
                    let Some(message) = message? else {
                        return Ok(None);
                    };
                    self.handle(&message, true)
                }
                (peer, address, in_line) = arrival, if has_allocation => {
                    self.handle_arrival(peer, address, in_line).map_or(Next::Nothing, Next::Answer)
                }
                Some(job) = self.jobs.join_next(), if !self.jobs.is_empty() => {
                    job.map_or(Next::Nothing, |job| self.handle_job(job))
                }
                () = sleep_until(deadline) => {
                    if self.is_gone(stream.tcp()) {
                        return Ok(None);
                    }
                    Next::Nothing
                }
            };
            match next {
                Next::Nothing => {}
                Next::Answer(answer) => send(stream, &answer).await?,
                Next::Close(answer) => {
                    send(stream, &answer).await?;
                    return Ok(None);
                }
                Next::Carry(fetch) => {
                    // It may have been watched as a control connection before.
                    sockets::prepare(stream.tcp());
                    send(stream, &fetch.answer).await?;
                    return Ok(Some(fetch));
                }
            }
            if self.allocation.is_some() && !has_allocation {
                sockets::watch(stream.tcp());
            }
        }
    }

    /// The configuration is another: whether this connection may have what it holds.
    fn is_still_allowed(&mut self) -> bool {
        let Some(allocation) = &mut self.allocation else {
            return true;
        };
        match self.shared.current().keeper.still(&allocation.owner.member) {
            Some(member) if allocation.is_allowed_by(&member.account) => {
                allocation.owner.member = member;
                true
            }
            _ => false,
        }
    }

    /// Another one of the account wants what this one has.
    fn doubt(&mut self, stream: &TcpStream) {
        if self.doubt.is_none() {
            sockets::doubt(stream);
            self.doubt = Some(Doubt {
                until: Instant::now() + DOUBT,
                unacknowledged: sockets::unacknowledged(stream.as_fd()),
            });
        }
    }

    /// A deadline may have passed: whether the connection ends by it.
    fn is_gone(&mut self, stream: &TcpStream) -> bool {
        let now = Instant::now();
        if let Some(doubt) = &mut self.doubt {
            let unacknowledged = sockets::unacknowledged(stream.as_fd());
            // With nothing on its way, the kernel asks, and ends the connection when there is no answer.
            let is_alive =
                unacknowledged < doubt.unacknowledged || (doubt.unacknowledged == 0 && now >= doubt.until);
            if is_alive {
                sockets::watch(stream);
                self.doubt = None;
            } else if now >= doubt.until {
                self.release("its client is gone");
                return true;
            } else {
                doubt.unacknowledged = unacknowledged;
            }
        }
        match &self.allocation {
            Some(allocation) if now >= allocation.expires => self.release("expired"),
            Some(_) => {}
            None if now < self.since_deadline() => {}
            None => {
                if !self.proven {
                    self.shared.metrics.unauthenticated_total.up();
                }
                return true;
            }
        }
        false
    }

    /// When [`Control::is_gone`] has to be asked.
    fn deadline(&self) -> Instant {
        let deadline = match &self.allocation {
            Some(allocation) => allocation.expires,
            None => self.since_deadline(),
        };
        match &self.doubt {
            Some(doubt) => deadline.min(doubt.until).min(Instant::now() + LOOK),
            None => deadline,
        }
    }

    /// When a connection without an allocation ends.
    fn since_deadline(&self) -> Instant {
        let time = if self.proven {
            IDLE
        } else {
            self.shared.current().config.authentication_deadline
        };
        self.since + time
    }

    /// Ends the allocation.
    pub(crate) fn release(&mut self, why: &'static str) {
        if let Some(allocation) = self.allocation.take() {
            tracing::info!(
                client = %self.from,
                user = ?allocation.owner.username,
                relayed = %allocation.relayed,
                reason = why,
                "allocation ends"
            );
            self.since = Instant::now();
        }
    }

    /// `may_wait`: the answer may come later, when something has been found out.
    fn handle(&mut self, bytes: &[u8], may_wait: bool) -> Next {
        let Ok(message) = Message::from_bytes(bytes) else {
            return Next::Close(Vec::new());
        };
        if !message.has_class(MessageClass::Request) {
            // Nothing that a client may indicate concerns TCP allocations.
            return Next::Nothing;
        }
        let slip = Slip::new(&message);
        if let Some(refusal) = Refusal::of_unknown(&message, KNOWN) {
            return Next::Answer(slip.error(&refusal));
        }
        let signed = is_signed(&message);
        let wants_dial_back = request::dial_back_of(&message).is_some();
        if message.method() == BINDING && !signed && !wants_dial_back {
            return Next::Answer(self.binding(&slip, None));
        }
        let now = SystemTime::now();
        let proof = match self.shared.current().keeper.prove(&message, self.from.ip(), now) {
            Ok(proof) => proof,
            Err(unproven) => return self.challenge(&slip, unproven, now),
        };
        self.proven = true;
        self.stranger = None;
        self.since = Instant::now();
        let slip = slip.signed_with(&proof.key, proof.algorithm);
        match self.grant(&message, &slip, &proof) {
            Ok(next) => next,
            Err(refusal) if may_wait && request::doubts(self, &message, &refusal, &proof) => Next::Nothing,
            Err(refusal) => {
                tracing::debug!(client = %self.from, method = ?slip.method, code = refusal.code, "refused");
                Next::Answer(slip.error(&refusal))
            }
        }
    }

    fn grant(&mut self, message: &Message<'_>, slip: &Slip, proof: &Proof) -> Result<Next, Refusal> {
        match message.method() {
            BINDING => match request::dial_back_of(message) {
                Some(port) => request::dial_back(self, port, slip, proof).map(|()| Next::Nothing),
                None => Ok(Next::Answer(self.binding(slip, None))),
            },
            ALLOCATE => request::allocate(self, message, slip, proof.clone()).map(Next::Answer),
            REFRESH => request::refresh(self, message, slip, proof).map(Next::Answer),
            CREATE_PERMISSION => request::create_permission(self, message, slip, proof).map(Next::Answer),
            CONNECT => request::connect(self, message, slip, proof).map(|()| Next::Nothing),
            CONNECTION_BIND => self.connection_bind(message, slip, proof.clone()),
            _ => Err(Refusal::new(ErrorCode::BAD_REQUEST, "No Such Method Over TCP")),
        }
    }

    /// A success response to Binding.
    pub(crate) fn binding(&self, slip: &Slip, more: Option<&dyn AttributeWrite>) -> Vec<u8> {
        let mapped = XorMappedAddress::new(self.from, slip.transaction());
        let mut attributes: Vec<&dyn AttributeWrite> = vec![&mapped];
        attributes.extend(more);
        slip.success(&attributes)
    }

    fn challenge(&mut self, slip: &Slip, unproven: Unproven, now: SystemTime) -> Next {
        let refusal = match unproven {
            Unproven::Missing | Unproven::Wrong => Refusal::new(ErrorCode::UNAUTHORIZED, "Unauthenticated"),
            Unproven::Stale => Refusal::new(ErrorCode::STALE_NONCE, "Stale Nonce"),
            Unproven::Bad => {
                return Next::Answer(slip.error(&Refusal::new(ErrorCode::BAD_REQUEST, "Bad Request")));
            }
        };
        let current = self.shared.current();
        let keeper = &current.keeper;
        let nonce = keeper.nonce(self.from.ip(), now);
        let answer = slip.challenge(&refusal, keeper.realm(), &nonce);
        if unproven == Unproven::Wrong {
            self.shared.metrics.wrong_credentials_total.up();
            self.wrong += 1;
            tracing::info!(client = %self.from, "wrong credentials");
            if self.wrong >= MOST_WRONG {
                return Next::Close(answer);
            }
        }
        Next::Answer(answer)
    }

    /// RFC 6062 section 5.4.
    fn connection_bind(&mut self, message: &Message<'_>, slip: &Slip, proof: Proof) -> Result<Next, Refusal> {
        let bad = Refusal::new(ErrorCode::BAD_REQUEST, "No Such Connection");
        if self.allocation.is_some() {
            return Err(bad);
        }
        let id = message.attribute::<ConnectionId>().map_err(|_| bad.clone())?.id();
        match self
            .shared
            .fetch(id, |waiting| waiting.username == proof.username)
        {
            Fetched::Yours(peer, address, place) => Ok(Next::Carry(Box::new(Fetch {
                answer: slip.success(&[]),
                peer: (peer, address),
                place,
                proof,
            }))),
            Fetched::NotYours => Err(Refusal::new(ErrorCode::WRONG_CREDENTIALS, "Wrong Credentials")),
            Fetched::Unknown => Err(bad),
        }
    }

    /// A peer has connected: RFC 6062 section 5.3.
    fn handle_arrival(
        &mut self,
        peer: TcpStream,
        address: SocketAddr,
        in_line: OwnedSemaphorePermit,
    ) -> Option<Vec<u8>> {
        let allocation = self.allocation.as_ref()?;
        let member = &allocation.owner.member;
        let place = allocation
            .admits(address.ip())
            .then(|| member.connections.take(member.account.limits.connections))
            .flatten();
        let Some(place) = place else {
            self.shared.metrics.peers_refused_total.up();
            tracing::debug!(peer = %address, relayed = %allocation.relayed, "peer refused");
            sockets::reset_at_close(&peer);
            return None;
        };
        let id = self.keep(peer, address, place, in_line)?;
        Some(indication(CONNECTION_ATTEMPT, |transaction| {
            vec![
                Box::new(XorPeerAddress::new(address, transaction)),
                Box::new(ConnectionId::new(id)),
            ]
        }))
    }

    fn keep(
        &self,
        peer: TcpStream,
        address: SocketAddr,
        place: Place,
        in_line: OwnedSemaphorePermit,
    ) -> Option<u32> {
        let allocation = self.allocation.as_ref()?;
        sockets::prepare(&peer);
        let owner = &allocation.owner.username;
        self.shared
            .keep(peer, address, owner, place, in_line, &allocation.tenant.token)
    }

    fn handle_job(&mut self, job: Job) -> Next {
        let (slip, peer, outcome, token) = match job {
            Job::Answered(answer) => return Next::Answer(answer),
            Job::Again(request) => return self.handle(&request, false),
            Job::Connected {
                slip,
                peer,
                outcome,
                allocation,
            } => (slip, peer, outcome, allocation),
        };
        if !token.is_cancelled()
            && let Some(allocation) = &mut self.allocation
        {
            allocation.connecting.remove(&peer);
        }
        let granted = outcome.and_then(|(stream, place, in_line)| {
            let gone = Refusal::new(ErrorCode::ALLOCATION_MISMATCH, "Allocation Mismatch");
            if token.is_cancelled() {
                return Err(gone);
            }
            self.keep(stream, peer, place, in_line).ok_or(gone)
        });
        Next::Answer(match granted {
            Ok(id) => slip.success(&[&ConnectionId::new(id)]),
            Err(refusal) => slip.error(&refusal),
        })
    }

    /// The allocation, if it is this requester's (RFC 8656 section 5).
    pub(crate) fn own(&mut self, proof: &Proof) -> Result<&mut Allocation, Refusal> {
        match &mut self.allocation {
            None => Err(Refusal::new(
                ErrorCode::ALLOCATION_MISMATCH,
                "Allocation Mismatch",
            )),
            Some(allocation) if allocation.owner.username != proof.username => {
                Err(Refusal::new(ErrorCode::WRONG_CREDENTIALS, "Wrong Credentials"))
            }
            Some(allocation) => Ok(allocation),
        }
    }

    pub(crate) fn has_room_for_job(&self) -> bool {
        self.jobs.len() < MOST_JOBS
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.release("connection closed");
    }
}

async fn send(stream: &mut Leg, bytes: &[u8]) -> io::Result<()> {
    let sent = timeout(WRITING, async {
        stream.write_all(bytes).await?;
        stream.flush().await
    });
    sent.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// A client's connection is a stream to its peer now.
async fn carry(shared: &Arc<Shared>, client: Leg, from: SocketAddr, fetch: Fetch) {
    let metrics = &shared.metrics;
    metrics.streams_total.up();
    let _gauge = Gauge::new(metrics, |metrics| &metrics.streams);
    let (sent, received) = (Count::default(), Count::default());
    let begun = Instant::now();
    let (peer, address) = fetch.peer;
    let pair = Pair::new(client, peer);
    let carried = pair.carry(
        &fetch.proof.member.pace,
        (&metrics.bytes_to_peers_total, &metrics.bytes_to_clients_total),
        (&sent, &received),
        shared.current().config.drain_deadline,
    );
    let end = tokio::select! {
        end = carried => Some(end),
        () = shared.stop.cancelled() => None,
    };
    if end != Some(End::Finished) {
        metrics.streams_reset_total.up();
    }
    drop(fetch.place);
    tracing::info!(
        client = %from,
        peer = %address,
        user = ?fetch.proof.username,
        bytes_to_peer = sent.value(),
        bytes_to_client = received.value(),
        elapsed = ?begun.elapsed(),
        reason = end.map_or("relay stops", End::word),
        "stream ends"
    );
}
