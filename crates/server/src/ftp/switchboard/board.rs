//! The rules of the switchboard: whose data connection is this, or is it a control connection? No socket, no clock.
//!
//! A session that expects a data connection *waits* on a place (a listening port). What connects to a place is an
//! *arrival*. The rules, and where they come from:
//!
//! - One outstanding wait per peer address and place; further ones queue briefly. So an arrival can mean one
//!   session only, whatever else it shows.
//! - A TLS ticket proves whose an arrival is, wherever it comes from. It proves the visitor, not the one control
//!   connection: clients that keep one session cache for several control connections (curl, rclone) present any
//!   of them. Where resumption is demanded, it must be the very session.
//! - An arrival that is younger than the round trip of the reply that invited it is not its answer.
//! - What could be a data connection is never greeted while it could be: the greeting would be taken for data.
//! - On a control port everybody else is greeted at once; who might be the answer is held for a bounded time.
//! - On plain FTP nobody proves anything. A silent arrival is the answer once its session has given the transfer
//!   command, if it is the only one; of two, nobody can tell, and the transfer is refused rather than guessed at.
//!   An upload belongs to the one that speaks.
//! - A stranger gets nothing and uses nothing up.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use pasarela_tls::Tag;

use crate::config::{Protocol, Protocols, RequireResumption};

/// A session, as the board knows it.
pub(crate) type SessionId = u64;
/// A connection that has been accepted and not yet been told what it is.
pub(crate) type ArrivalId = u64;
/// A listening port, by its number in the switchboard's list.
pub(crate) type PlaceId = usize;

/// How long a possible answer is held on a control port before it is greeted: the peer's own, and a stranger's
/// (which could still prove itself by TLS).
const HOLD: Duration = Duration::from_secs(2);
const HOLD_STRANGER: Duration = Duration::from_millis(250);
/// How long a silent arrival from the waiting peer's address is held once the transfer command of a protected wait
/// is given: a busy client begins its handshake late, and a greeting would end the transfer. A control connection
/// is held that long only if the data connection does not come either.
const HOLD_FOR_HELLO: Duration = Duration::from_secs(10);
/// How long a newcomer may keep silent, where several protocols are spoken, before it is greeted as an FTP client. SSH and
/// TLS clients speak as soon as they are connected, so this is a round trip and what a busy machine adds to it.
const FIRST_WORD: Duration = Duration::from_millis(500);
/// How long opening a file may take (an append copies it) while its data connection is held.
const OPENING: Duration = Duration::from_secs(600);
/// How long a second candidate is waited for when the first one came only after the transfer command.
const GUARD: Duration = Duration::from_millis(20);
/// How long several candidates for an upload have until one of them speaks.
const PATIENCE_FOR_SPEECH: Duration = Duration::from_millis(500);
/// How long a wait stays open after an arrival that should have proved itself and did not, or that broke.
const GRACE: Duration = Duration::from_millis(500);
/// Clients that work in parallel dial several control connections at once. While more than one of a peer is this
/// young, its plain data waits: the next newcomer could not be told from it.
const BURST: Duration = Duration::from_millis(30);
/// How long a request queues at most, and how long a plain one does before it may have the second port.
const QUEUE: Duration = Duration::from_secs(5);
const QUEUE_FOR_CONTROL: Duration = Duration::from_secs(1);
/// After how many times the control port counts as in doubt for a peer. Clients that work in parallel try again after
/// one or two refusals and then go on without any.
const IN_DOUBT: u32 = 3;
/// How long a peer's troubles are remembered, and of how many peers.
const MEMORY: Duration = Duration::from_secs(300);
const MAX_TROUBLES: usize = 10_000;
/// Arrivals held at once that no wait of their own address expects: in all, and from one network.
const MAX_STRANGERS: usize = 256;
const MAX_STRANGERS_OF_NETWORK: usize = 16;
/// Arrivals held at once from a network, one of which somebody there expects.
const MAX_HELD_EXPECTED: usize = 64;

/// What listens at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlaceKind {
    /// Control connections too.
    Control {
        /// TLS from the first byte.
        implicit: bool,
    },
    /// Data connections alone.
    Data,
    /// SSH alone: everybody is greeted at once, and no session waits there.
    Ssh,
    /// Several protocols, of which the first word tells.
    Shared(Protocols),
}

impl PlaceKind {
    /// What listens where that is spoken.
    pub(crate) fn speaking(protocols: Protocols) -> Self {
        let mut spoken = protocols.iter();
        match (spoken.next(), spoken.next()) {
            (Some(Protocol::Ftp), None) => Self::Control { implicit: false },
            (Some(Protocol::Ftps), None) => Self::Control { implicit: true },
            (Some(Protocol::Sftp), None) => Self::Ssh,
            _ => Self::Shared(protocols),
        }
    }

    /// Whether who begins with TLS may be a control connection.
    pub(crate) fn takes_tls_first(self) -> bool {
        match self {
            Self::Control { implicit } => implicit,
            Self::Shared(spoken) => spoken.ftps,
            Self::Data | Self::Ssh => false,
        }
    }

    /// How long a newcomer has for its first word.
    fn first_word(self) -> Option<Duration> {
        match self {
            Self::Shared(spoken) if spoken.ftp => Some(FIRST_WORD),
            // Nobody who has a place here keeps silent.
            Self::Shared(_) => Some(HOLD_FOR_HELLO),
            _ => None,
        }
    }
}

/// Which way the bytes of a transfer go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// The client sends.
    Up,
    /// The client receives.
    Down,
}

/// What an arrival has shown by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// The first byte of a TLS handshake.
    Hello,
    /// The beginning of an SSH identification.
    Ssh,
    /// Something else.
    Bytes,
    /// It has closed its side without a byte.
    End,
}

/// What happened to a peer's plain transfers on a shared port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// Its connections could not be told apart, so many times by then.
    Ambiguous(Instant, u32),
    /// It did not reach the second port.
    Unreachable(Instant),
}

/// A visitor: all sessions of one account from one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Visitor {
    /// The peer of its control connections.
    pub(crate) peer: IpAddr,
    /// The account's name.
    pub(crate) account: String,
}

/// What a session wants.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Who.
    pub(crate) session: SessionId,
    /// The peer of its control connection.
    pub(crate) peer: IpAddr,
    /// The owner tag of its TLS session; without one its data connections are in the clear.
    pub(crate) tag: Option<Tag>,
    /// Whether the data connection will be protected.
    pub(crate) protected: bool,
    /// The places that will do; one that is free for the peer is taken at random.
    pub(crate) places: Vec<PlaceId>,
    /// Plain data may go to the second port where the places leave it in doubt.
    pub(crate) may_use_second: bool,
    /// It has queued long enough to have the second port.
    pub(crate) is_late: bool,
    /// Whether the proof is demanded.
    pub(crate) require: RequireResumption,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is a control connection.
    Greet(ArrivalId),
    /// It is a control connection that begins with TLS.
    Hello(ArrivalId),
    /// It is an SSH connection.
    Ssh(ArrivalId),
    /// Make the TLS handshake and tell what it proved.
    Handshake(ArrivalId),
    /// It is that session's data connection.
    Pair(SessionId, ArrivalId),
    /// Close it.
    Drop(ArrivalId, &'static str),
    /// The session may announce that place.
    Grant(SessionId, PlaceId),
    /// The session's request or wait is over.
    Refuse(SessionId, Why),
}

/// Why a session gets no data connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// Its peer uses every place already.
    Full,
    /// It was not used for long, and another session of its peer needed the place.
    Lapsed,
    /// Nobody came in time.
    NobodyCame,
    /// Several came and nothing tells them apart.
    Ambiguous,
    /// Who came did not resume the session.
    NotResumed,
    /// Who came did not get through the handshake, or broke off.
    Broke,
}

/// What counts as one stranger: an IPv4 address, or an IPv6 /64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Network(IpAddr);

impl Network {
    fn of(peer: IpAddr) -> Self {
        match peer {
            IpAddr::V4(_) => Self(peer),
            IpAddr::V6(peer) => Self(Ipv6Addr::from_bits(peer.to_bits() & !u128::from(u64::MAX)).into()),
        }
    }
}

#[derive(Debug)]
struct Wait {
    request: Request,
    place: PlaceId,
    granted: Instant,
    /// From when on an arrival can be the answer; `None` before the reply is out.
    answers_from: Option<Instant>,
    /// Since when its transfer command is being looked at.
    opening: Option<Instant>,
    command: Option<(Instant, Direction)>,
    /// Since when somebody has come in vain, and why in vain.
    failed: Option<(Instant, Why)>,
    /// Its transfer command failed; it gives way to anybody.
    idle: bool,
}

#[derive(Debug)]
struct Arrival {
    peer: IpAddr,
    place: PlaceId,
    at: Instant,
    nature: Nature,
    /// A wait of its own peer was there when it came.
    is_expected: bool,
    /// It begins as SSH clients do, where that is one way to begin.
    speaks_ssh: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nature {
    Silent,
    Spoke,
    Ended,
    /// It could have been the answer to a wait that is over. A client that was refused closes its data connection;
    /// until then nothing is said to it that it could take for data.
    Doubtful {
        since: Instant,
    },
    /// Its handshake is under way.
    Handshaking,
    /// The handshake is done. `spoke` counts what came after it; `is_data` is the client's own word for it (ALPN).
    Proved {
        owner: Option<Tag>,
        spoke: bool,
        is_data: bool,
    },
}

impl Wait {
    fn is_unused(&self) -> bool {
        self.command.is_none() && self.opening.is_none()
    }
}

/// The state of all waits and arrivals.
#[derive(Debug, Default)]
pub(crate) struct Board {
    places: Vec<PlaceKind>,
    queue: VecDeque<(Instant, Request)>,
    waits: BTreeMap<SessionId, Wait>,
    arrivals: BTreeMap<ArrivalId, Arrival>,
    held_of: HashMap<Network, usize>,
    strangers: usize,
    /// Control connections of the last moment.
    greeted: VecDeque<(Instant, IpAddr)>,
    visitors: HashMap<Tag, Visitor>,
    /// Sessions whose data connection is on its way to them.
    served: BTreeSet<SessionId>,
    /// Where a second port serves plain data once the control port is ambiguous for a peer.
    second: Option<PlaceId>,
    troubles: HashMap<IpAddr, Trouble>,
    verdicts: VecDeque<Verdict>,
    next_arrival: ArrivalId,
    patience: Duration,
    random: u64,
}

impl Board {
    /// `patience` is how long a request queues and how long a data connection is waited for.
    pub(crate) fn new(patience: Duration, seed: u64) -> Self {
        Self {
            patience,
            random: seed | 1,
            ..Self::default()
        }
    }

    /// One more listening port.
    pub(crate) fn add_place(&mut self, kind: PlaceKind) -> PlaceId {
        self.places.push(kind);
        self.places.len() - 1
    }

    /// The place of the second port, which is opened only when it is granted.
    pub(crate) fn set_second(&mut self, place: PlaceId) {
        self.second = Some(place);
    }

    /// Whether anybody waits at a place.
    pub(crate) fn is_waited_at(&self, place: PlaceId) -> bool {
        self.waits.values().any(|wait| wait.place == place)
    }

    /// Other numbers for waits from now on.
    pub(crate) fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// The TLS session of this tag belongs to this visitor from now on.
    pub(crate) fn introduce(&mut self, now: Instant, tag: Tag, visitor: Visitor) {
        self.visitors.insert(tag, visitor);
        self.settle(now);
    }

    /// The TLS session of this tag is over, or its visitor has logged out.
    pub(crate) fn dismiss(&mut self, tag: Tag) {
        self.visitors.remove(&tag);
    }

    /// Whether a TLS session is known to be another visitor's than `own`. One that is still logging in (or has
    /// logged out) is nobody's.
    pub(crate) fn is_somebody_elses(&self, resumed: Tag, own: Tag) -> bool {
        let visitor = self.visitors.get(&resumed);
        visitor.is_some() && visitor != self.visitors.get(&own)
    }

    /// A session asks for an endpoint; [`Verdict::Grant`] or [`Verdict::Refuse`] answers.
    pub(crate) fn request(&mut self, now: Instant, request: Request) {
        self.forget(now, request.session);
        self.queue.push_back((now, request));
        self.settle(now);
    }

    /// The reply that names the endpoint goes out now; nothing that comes before `round_trip` has passed answers it.
    pub(crate) fn announced(&mut self, now: Instant, session: SessionId, round_trip: Duration) {
        if let Some(wait) = self.waits.get_mut(&session) {
            wait.answers_from = Some(now + round_trip);
        }
        self.settle(now);
    }

    /// The session has given its transfer command.
    pub(crate) fn command(&mut self, now: Instant, session: SessionId, direction: Direction) {
        match self.waits.get_mut(&session) {
            Some(wait) => {
                wait.command = Some((now, direction));
                wait.opening = None;
                wait.idle = false;
            }
            None if self.served.contains(&session) => {}
            None => self.verdicts.push_back(Verdict::Refuse(session, Why::Lapsed)),
        }
        self.settle(now);
    }

    /// The session's transfer command has come; its file is being opened, however long that takes.
    pub(crate) fn opening(&mut self, now: Instant, session: SessionId) {
        if let Some(wait) = self.waits.get_mut(&session) {
            wait.opening = Some(now);
            wait.idle = false;
        }
    }

    /// The session's transfer command failed before it needed the connection: it keeps the endpoint unless
    /// somebody else wants it.
    pub(crate) fn idle(&mut self, now: Instant, session: SessionId) {
        if let Some(wait) = self.waits.get_mut(&session) {
            wait.idle = true;
            wait.opening = None;
        }
        self.settle(now);
    }

    /// The session wants nothing any more.
    pub(crate) fn cancel(&mut self, now: Instant, session: SessionId) {
        self.forget(now, session);
        self.settle(now);
    }

    /// Somebody connected.
    pub(crate) fn arrive(&mut self, now: Instant, peer: IpAddr, place: PlaceId) -> ArrivalId {
        self.next_arrival += 1;
        let id = self.next_arrival;
        let held = self.held_of.get(&Network::of(peer)).copied().unwrap_or(0);
        let implicit = matches!(self.places[place], PlaceKind::Control { implicit: true });
        let is_expected = self.waits.values().any(|wait| {
            wait.place == place
                && wait.request.peer == peer
                && wait.answers_from.is_some_and(|from| now >= from)
        });
        if is_expected && held >= MAX_HELD_EXPECTED {
            // It may be a data connection, so it is not greeted.
            self.verdicts
                .push_back(Verdict::Drop(id, "too many connections are held"));
        } else if !is_expected && (self.strangers >= MAX_STRANGERS || held >= self.most_held_at(place)) {
            self.release_unheld(id, place, "too many connections are held");
        } else if implicit && !self.is_anybody_waiting_at(place) {
            self.verdicts.push_back(Verdict::Greet(id));
        } else {
            let nature = if implicit {
                Nature::Handshaking
            } else {
                Nature::Silent
            };
            self.arrivals.insert(
                id,
                Arrival {
                    peer,
                    place,
                    at: now,
                    nature,
                    is_expected,
                    speaks_ssh: false,
                },
            );
            *self.held_of.entry(Network::of(peer)).or_default() += 1;
            self.strangers += usize::from(!is_expected);
            if implicit {
                self.verdicts.push_back(Verdict::Handshake(id));
            }
            self.settle(now);
        }
        id
    }

    /// An arrival has shown what it is. After a handshake, [`Shown::Bytes`] are bytes inside TLS.
    pub(crate) fn showed(&mut self, now: Instant, id: ArrivalId, shown: Shown) {
        let Some(arrival) = self.arrivals.get(&id) else {
            return;
        };
        let kind = self.places[arrival.place];
        if matches!(kind, PlaceKind::Shared(spoken) if spoken.ftps)
            && arrival.nature == Nature::Silent
            && shown == Shown::Hello
            && !self.is_anybody_waiting_at(arrival.place)
        {
            return self.decide(id, Verdict::Hello(id));
        }
        let Some(arrival) = self.arrivals.get_mut(&id) else {
            return;
        };
        arrival.speaks_ssh = shown == Shown::Ssh && matches!(kind, PlaceKind::Shared(spoken) if spoken.sftp);
        arrival.nature = match (arrival.nature, shown) {
            (Nature::Silent, Shown::Hello) => Nature::Handshaking,
            (Nature::Silent, Shown::Bytes | Shown::Ssh) => Nature::Spoke,
            (Nature::Silent | Nature::Doubtful { .. }, Shown::End) => Nature::Ended,
            (Nature::Proved { owner, is_data, .. }, Shown::Bytes) => Nature::Proved {
                owner,
                spoke: true,
                is_data,
            },
            (nature, _) => nature,
        };
        if arrival.nature == Nature::Handshaking {
            let (peer, place) = (arrival.peer, arrival.place);
            // Only a wait that expects TLS is worth a handshake, or a control connection.
            let answers = |w: &Wait| w.request.protected && (w.place == place || w.request.peer == peer);
            if kind.takes_tls_first() || self.waits.values().any(answers) {
                self.verdicts.push_back(Verdict::Handshake(id));
            } else {
                self.decide(id, Verdict::Drop(id, "TLS where nobody expects it"));
            }
        }
        self.settle(now);
    }

    /// A handshake has ended well. `owner` is the session that it resumed; `is_data`: the client said so in it.
    pub(crate) fn proved(&mut self, now: Instant, id: ArrivalId, owner: Option<Tag>, is_data: bool) {
        if let Some(arrival) = self.arrivals.get_mut(&id) {
            arrival.nature = Nature::Proved {
                owner,
                spoke: false,
                is_data,
            };
        }
        self.settle(now);
    }

    /// An arrival has broken off, in its handshake or before.
    pub(crate) fn gone(&mut self, now: Instant, id: ArrivalId) {
        if let Some(arrival) = self.remove(id) {
            let sessions: Vec<SessionId> = self
                .waits
                .iter()
                .filter(|(_, wait)| self.may_answer(wait, &arrival))
                .map(|(id, _)| *id)
                .collect();
            if let [session] = sessions[..] {
                self.fail(now, session, Why::Broke);
            }
        }
        self.settle(now);
    }

    /// Closes the oldest arrival that nobody of its address expects, to make room; `false` where there is none.
    pub(crate) fn evict(&mut self, now: Instant) -> bool {
        let oldest = self.arrivals.iter().find(|(_, arrival)| !arrival.is_expected);
        let Some(id) = oldest.map(|(id, _)| *id) else {
            return false;
        };
        self.decide(id, Verdict::Drop(id, "no descriptors are left"));
        self.settle(now);
        true
    }

    fn fail(&mut self, now: Instant, session: SessionId, why: Why) {
        if let Some(wait) = self.waits.get_mut(&session) {
            wait.failed.get_or_insert((now, why));
        }
    }

    /// Time has passed.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.settle(now);
    }

    /// When [`Board::handle_timeout`] wants to be called.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let queued = self.queue.iter().flat_map(|(since, request)| {
            // Whether it may have the second port by then is looked at when the time has come.
            let second = (request.may_use_second && !request.is_late).then_some(*since + QUEUE_FOR_CONTROL);
            second.into_iter().chain([*since + QUEUE.min(self.patience)])
        });
        let waits = self.waits.values().flat_map(|wait| {
            let came = wait.command.map(|(at, _)| at + self.patience);
            let lapses =
                (wait.is_unused() && self.is_contested(wait)).then_some(wait.granted + self.patience);
            let failed = wait
                .command
                .zip(wait.failed)
                .map(|((at, _), (since, _))| since.max(at) + GRACE);
            [came, lapses, failed].into_iter().flatten()
        });
        let idle = self
            .arrivals
            .values()
            .filter(|arrival| arrival.nature != Nature::Handshaking);
        let arrivals = idle.filter_map(|arrival| self.hold_ends(arrival));
        let guards = self.waits.values().filter_map(|wait| self.guard_ends(wait));
        let burst = self
            .greeted
            .front()
            .map(|(at, _)| *at + BURST)
            .filter(|_| !self.queue.is_empty());
        queued
            .chain(burst)
            .chain(waits)
            .chain(arrivals)
            .chain(guards)
            .min()
    }

    /// What is to be done next.
    pub(crate) fn poll_verdict(&mut self) -> Option<Verdict> {
        self.verdicts.pop_front()
    }

    /// Waits and arrivals, for a glance at what is going on.
    #[cfg(test)]
    pub(crate) fn load(&self) -> (usize, usize, usize) {
        (self.queue.len(), self.waits.len(), self.arrivals.len())
    }

    fn forget(&mut self, now: Instant, session: SessionId) {
        self.give_up(now, session);
        self.served.remove(&session);
        self.queue.retain(|(_, request)| request.session != session);
    }

    /// Ends a wait that has got no answer.
    fn give_up(&mut self, now: Instant, session: SessionId) {
        let Some(wait) = self.waits.remove(&session) else {
            return;
        };
        let doubtful: Vec<ArrivalId> = self
            .arrivals
            .iter()
            .filter(|(_, arrival)| {
                let is_open = matches!(
                    arrival.nature,
                    Nature::Silent | Nature::Spoke | Nature::Proved { .. }
                );
                is_open && self.may_answer(&wait, arrival)
            })
            .map(|(id, _)| *id)
            .collect();
        for id in doubtful {
            if let Some(arrival) = self.arrivals.get_mut(&id) {
                arrival.nature = Nature::Doubtful { since: now };
            }
        }
    }

    fn remove(&mut self, id: ArrivalId) -> Option<Arrival> {
        let arrival = self.arrivals.remove(&id)?;
        let network = Network::of(arrival.peer);
        if let Some(held) = self.held_of.get_mut(&network) {
            *held -= 1;
            if *held == 0 {
                self.held_of.remove(&network);
            }
        }
        self.strangers -= usize::from(!arrival.is_expected);
        Some(arrival)
    }

    fn decide(&mut self, id: ArrivalId, verdict: Verdict) {
        if self.remove(id).is_some() {
            self.verdicts.push_back(verdict);
        }
    }

    /// It is nobody's answer: greeted on a control port, closed elsewhere.
    fn release(&mut self, now: Instant, id: ArrivalId, why: &'static str) {
        if let Some(arrival) = self.remove(id) {
            let knows_tls = matches!(arrival.nature, Nature::Proved { .. } | Nature::Handshaking);
            let is_data = matches!(arrival.nature, Nature::Proved { is_data: true, .. });
            match self.places[arrival.place] {
                _ if arrival.speaks_ssh => self.verdicts.push_back(Verdict::Ssh(id)),
                // A client that speaks TLS first on an explicit port never was a control connection.
                PlaceKind::Control { implicit } if !is_data && (implicit || !knows_tls) => {
                    self.greeted.push_back((now, arrival.peer));
                    self.verdicts.push_back(Verdict::Greet(id));
                }
                PlaceKind::Shared(spoken) if (knows_tls && spoken.ftps) || (!knows_tls && spoken.ftp) => {
                    self.greeted.push_back((now, arrival.peer));
                    self.verdicts.push_back(Verdict::Greet(id));
                }
                _ => self.verdicts.push_back(Verdict::Drop(id, why)),
            }
        }
    }

    fn release_unheld(&mut self, id: ArrivalId, place: PlaceId, why: &'static str) {
        self.verdicts.push_back(match self.places[place] {
            PlaceKind::Control { .. } | PlaceKind::Ssh => Verdict::Greet(id),
            PlaceKind::Shared(spoken) if spoken.ftp => Verdict::Greet(id),
            PlaceKind::Shared(_) | PlaceKind::Data => Verdict::Drop(id, why),
        });
    }

    /// How many of one network are held at a place that nobody there expects.
    fn most_held_at(&self, place: PlaceId) -> usize {
        match self.places[place].first_word() {
            // Everybody is, for a moment.
            Some(_) => MAX_HELD_EXPECTED,
            None => MAX_STRANGERS_OF_NETWORK,
        }
    }

    fn is_anybody_waiting_at(&self, place: PlaceId) -> bool {
        self.waits
            .values()
            .any(|wait| wait.place == place && wait.answers_from.is_some())
    }

    /// Applies every rule until nothing changes.
    fn settle(&mut self, now: Instant) {
        self.lapse(now);
        self.pair(now);
        self.expire(now);
        self.let_go(now);
        self.grant(now);
    }

    /// Waits that have gone unused give way once somebody queues for their place.
    fn lapse(&mut self, now: Instant) {
        let over: Vec<SessionId> = self
            .waits
            .iter()
            .filter(|(_, wait)| {
                let unused = wait.is_unused() && (wait.idle || now >= wait.granted + self.patience);
                unused && self.is_contested(wait)
            })
            .map(|(session, _)| *session)
            .collect();
        for session in over {
            self.give_up(now, session);
        }
    }

    fn is_contested(&self, wait: &Wait) -> bool {
        self.queue.iter().any(|(_, request)| {
            let may_have = request.places.contains(&wait.place)
                || (request.may_use_second && self.second == Some(wait.place));
            may_have && request.peer == wait.request.peer
        })
    }

    fn grant(&mut self, now: Instant) {
        while self.greeted.front().is_some_and(|(at, _)| now >= *at + BURST) {
            self.greeted.pop_front();
        }
        let mut still_queued = VecDeque::new();
        while let Some((since, mut request)) = self.queue.pop_front() {
            request.is_late |= now >= since + QUEUE_FOR_CONTROL;
            let places = self.places_for(now, &request);
            let is_burst = !request.protected && !request.is_late && self.is_in_burst(request.peer);
            let free: Vec<PlaceId> = places
                .into_iter()
                .filter(|place| self.is_free(*place, request.peer))
                .collect();
            if free.is_empty()
                || (is_burst && free.iter().any(|place| self.places[*place] != PlaceKind::Data))
            {
                if now >= since + QUEUE.min(self.patience) {
                    self.verdicts
                        .push_back(Verdict::Refuse(request.session, Why::Full));
                } else {
                    still_queued.push_back((since, request));
                }
                continue;
            }
            let place = free[self.roll(free.len())];
            self.verdicts.push_back(Verdict::Grant(request.session, place));
            let wait = Wait {
                place,
                granted: now,
                answers_from: None,
                opening: None,
                command: None,
                failed: None,
                idle: false,
                request,
            };
            self.waits.insert(wait.request.session, wait);
        }
        self.queue = still_queued;
    }

    /// Whether a peer has just opened several control connections; its own is one of them.
    fn is_in_burst(&self, peer: IpAddr) -> bool {
        self.greeted
            .iter()
            .filter(|(_, greeted)| *greeted == peer)
            .count()
            > 1
    }

    /// The places that a request may have by now.
    fn places_for(&self, now: Instant, request: &Request) -> Vec<PlaceId> {
        // Where TLS comes first, nothing arrives in the clear.
        let implicit = PlaceKind::Control { implicit: true };
        let is_usable = |place: &PlaceId| request.protected || self.places[*place] != implicit;
        let places: Vec<PlaceId> = request.places.iter().copied().filter(is_usable).collect();
        let Some(second) = self.second.filter(|_| request.may_use_second) else {
            return places;
        };
        match self.troubles.get(&request.peer) {
            _ if places.is_empty() => vec![second],
            Some(Trouble::Ambiguous(at, times)) if *times >= IN_DOUBT && now < *at + MEMORY => vec![second],
            Some(Trouble::Unreachable(at)) if now < *at + MEMORY => places,
            _ if request.is_late => [places, vec![second]].concat(),
            _ => places,
        }
    }

    fn is_free(&self, place: PlaceId, peer: IpAddr) -> bool {
        !self
            .waits
            .values()
            .any(|wait| wait.place == place && wait.request.peer == peer)
    }

    /// Remembers what a plain wait came to.
    fn note_trouble(&mut self, now: Instant, peer: IpAddr, trouble: Trouble) {
        if self.troubles.len() >= MAX_TROUBLES {
            self.troubles.retain(|_, trouble| {
                let (Trouble::Ambiguous(at, _) | Trouble::Unreachable(at)) = trouble;
                now < *at + MEMORY
            });
        }
        if self.second.is_some() && (self.troubles.len() < MAX_TROUBLES || self.troubles.contains_key(&peer))
        {
            self.troubles.insert(peer, trouble);
        }
    }

    /// A number below `sides` that nobody outside can foresee well enough to matter (xorshift, seeded at random).
    fn roll(&mut self, sides: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        usize::try_from(self.random % sides as u64).unwrap_or(0)
    }

    fn pair(&mut self, now: Instant) {
        let sessions: Vec<SessionId> = self.waits.keys().copied().collect();
        for session in sessions {
            let Some(wait) = self.waits.get(&session) else {
                continue;
            };
            let commanded = wait.command.map(|(at, _)| at);
            let outcome = if wait.request.protected {
                self.protected_answer(now, wait)
            } else {
                self.plain_answer(now, wait)
            };
            match outcome {
                Outcome::Nothing => {}
                Outcome::Answer(id) => {
                    self.waits.remove(&session);
                    self.served.insert(session);
                    self.decide(id, Verdict::Pair(session, id));
                }
                Outcome::Unproved(ids) => {
                    for id in ids {
                        self.decide(id, Verdict::Drop(id, "the TLS session is not this session's"));
                    }
                    self.fail(now, session, Why::NotResumed);
                }
                Outcome::Ambiguous => {
                    if !wait.request.protected {
                        let peer = wait.request.peer;
                        let times = match self.troubles.get(&peer) {
                            Some(Trouble::Ambiguous(at, times)) if now < *at + MEMORY => times + 1,
                            _ => 1,
                        };
                        self.note_trouble(now, peer, Trouble::Ambiguous(now, times));
                    }
                    self.give_up(now, session);
                    if commanded.is_none_or(|at| at < now) {
                        // The client has been told to read. It will see the end, and then the refusal.
                        self.drop_doubtful(now);
                    }
                    self.verdicts.push_back(Verdict::Refuse(session, Why::Ambiguous));
                }
            }
        }
    }

    /// Closes what has come into doubt just now.
    fn drop_doubtful(&mut self, now: Instant) {
        let doubtful: Vec<ArrivalId> = self
            .arrivals
            .iter()
            .filter(|(_, arrival)| arrival.nature == Nature::Doubtful { since: now })
            .map(|(id, _)| *id)
            .collect();
        for id in doubtful {
            self.decide(id, Verdict::Drop(id, "it could not be told from another one"));
        }
    }

    /// TLS: by proof, wherever it comes from; else by peer, as far as that is allowed.
    fn protected_answer(&self, now: Instant, wait: &Wait) -> Outcome {
        let (mut unproved, mut candidates, mut certain) = (Vec::new(), Vec::new(), None);
        for (id, arrival) in &self.arrivals {
            let Nature::Proved {
                owner,
                spoke,
                is_data,
            } = arrival.nature
            else {
                continue;
            };
            match self.proof(wait, arrival, owner) {
                Proof::Good if is_data && owner.is_some() && owner == wait.request.tag => certain = Some(*id),
                Proof::Good => candidates.push((*id, spoke)),
                Proof::Bad => unproved.push(*id),
                Proof::Later | Proof::Elsewhere => {}
            }
        }
        if !self.places[wait.place].takes_tls_first() {
            // Control clients wait for the greeting; whoever begins with a handshake is a data connection.
            return match certain.or(candidates.first().map(|(id, _)| *id)) {
                Some(id) => Outcome::Answer(id),
                None if unproved.is_empty() => Outcome::Nothing,
                None => Outcome::Unproved(unproved),
            };
        }
        // On an implicit port a new control connection looks the same; only the transfer command tells.
        let Some((commanded, direction)) = wait.command else {
            return Outcome::Nothing;
        };
        // Unless the client says itself what its connection is for, and proves to be this session.
        if let Some(id) = certain {
            return Outcome::Answer(id);
        }
        // Nor is it known yet what those will prove who are in their handshake.
        if self.is_one_unknown(wait) && !candidates.is_empty() {
            return if now < commanded + HOLD {
                Outcome::Nothing
            } else {
                Outcome::Ambiguous
            };
        }
        let mut speaking = candidates.iter().filter(|(_, spoke)| *spoke);
        match (&candidates[..], direction, speaking.next(), speaking.next()) {
            ([(id, _)], ..) => Outcome::Answer(*id),
            ([], ..) => Outcome::Nothing,
            (_, Direction::Up, Some((id, _)), None) => Outcome::Answer(*id),
            (_, Direction::Up, None, _) if now < commanded + PATIENCE_FOR_SPEECH => Outcome::Nothing,
            _ => Outcome::Ambiguous,
        }
    }

    /// What a finished handshake says about an arrival.
    fn proof(&self, wait: &Wait, arrival: &Arrival, owner: Option<Tag>) -> Proof {
        let is_later = wait.answers_from.is_some_and(|from| arrival.at >= from);
        if wait.place != arrival.place || !is_later {
            return Proof::Elsewhere;
        }
        let is_own = wait.request.peer == arrival.peer;
        let visitor = |tag: &Tag| self.visitors.get(tag);
        let is_very_session = owner.is_some() && owner == wait.request.tag;
        let shown = owner.as_ref().and_then(visitor);
        let is_visitors = shown.is_some() && wait.request.tag.as_ref().and_then(visitor) == shown;
        match wait.request.require {
            _ if is_very_session => Proof::Good,
            RequireResumption::Always if is_own => Proof::Bad,
            RequireResumption::Always => Proof::Elsewhere,
            _ if is_visitors => Proof::Good,
            _ if !is_own && owner.is_some() && shown.is_none() => Proof::Later,
            _ if !is_own => Proof::Elsewhere,
            RequireResumption::WhenOffered if shown.is_some() => Proof::Bad,
            _ => Proof::Good,
        }
    }

    /// Plain FTP: the only one, once the transfer command is given; of several, the one that uploads.
    fn plain_answer(&self, now: Instant, wait: &Wait) -> Outcome {
        let Some((commanded, direction)) = wait.command else {
            return Outcome::Nothing;
        };
        let candidates = self.plain_candidates(wait);
        match &candidates[..] {
            [] => Outcome::Nothing,
            [(id, arrival)] => {
                // It came after the command: was it the answer, or was it only faster?
                let guarded = arrival.at > commanded && now < arrival.at + GUARD;
                let speaks = direction == Direction::Up && arrival.nature == Nature::Spoke;
                // One that came and went before the command sends nothing; the upload may still be on its way.
                let left = direction == Direction::Up && arrival.nature == Nature::Ended;
                let left = left && now < commanded + PATIENCE_FOR_SPEECH;
                if left || (guarded && !speaks) {
                    Outcome::Nothing
                } else {
                    Outcome::Answer(*id)
                }
            }
            several => {
                let mut speaking = several
                    .iter()
                    .filter(|(_, arrival)| arrival.nature == Nature::Spoke);
                match (direction, speaking.next(), speaking.next()) {
                    (Direction::Up, Some((id, _)), None) => Outcome::Answer(*id),
                    (Direction::Up, None, _) if now < commanded + PATIENCE_FOR_SPEECH => Outcome::Nothing,
                    _ => Outcome::Ambiguous,
                }
            }
        }
    }

    fn plain_candidates(&self, wait: &Wait) -> Vec<(ArrivalId, &Arrival)> {
        let uploads = matches!(wait.command, Some((_, Direction::Up)));
        let fits = |arrival: &Arrival| match arrival.nature {
            // A client may close its side of a download at once.
            Nature::Silent | Nature::Ended => true,
            Nature::Spoke => uploads,
            _ => false,
        };
        let found = self.arrivals.iter().map(|(id, arrival)| (*id, arrival));
        let mut found: Vec<_> = found
            .filter(|(_, a)| fits(a) && self.may_answer(wait, a))
            .collect();
        if found.len() > 1 {
            // Who has closed its side already is less likely to want anything.
            found.retain(|(_, arrival)| arrival.nature != Nature::Ended);
        }
        found
    }

    /// Whether peer, place and time fit.
    fn may_answer(&self, wait: &Wait, arrival: &Arrival) -> bool {
        wait.place == arrival.place
            && wait.request.peer == arrival.peer
            && wait.answers_from.is_some_and(|from| arrival.at >= from)
    }

    /// When a lone late candidate may be taken.
    fn guard_ends(&self, wait: &Wait) -> Option<Instant> {
        let (commanded, direction) = wait.command?;
        if wait.request.protected {
            let proved = self.arrivals.values().filter(|arrival| {
                matches!(arrival.nature, Nature::Proved { owner, .. }
                    if matches!(self.proof(wait, arrival, owner), Proof::Good))
            });
            return match proved.count() {
                0 => None,
                _ if self.is_one_unknown(wait) => Some(commanded + HOLD),
                1 => None,
                _ => (direction == Direction::Up).then_some(commanded + PATIENCE_FOR_SPEECH),
            };
        }
        match &self.plain_candidates(wait)[..] {
            [] => None,
            [(_, arrival)] if arrival.nature == Nature::Ended && direction == Direction::Up => {
                Some(commanded + PATIENCE_FOR_SPEECH)
            }
            [(_, arrival)] => (arrival.at > commanded).then_some(arrival.at + GUARD),
            _ => (direction == Direction::Up).then_some(commanded + PATIENCE_FOR_SPEECH),
        }
    }

    /// Whether somebody who may be the answer is still in the handshake (implicit TLS).
    fn is_one_unknown(&self, wait: &Wait) -> bool {
        self.arrivals
            .values()
            .any(|arrival| arrival.nature == Nature::Handshaking && self.may_answer(wait, arrival))
    }

    /// Waits whose time is up.
    fn expire(&mut self, now: Instant) {
        let over: Vec<(SessionId, Why)> = self
            .waits
            .iter()
            .filter_map(|(session, wait)| {
                let (commanded, _) = wait.command?;
                match wait.failed {
                    Some((since, why)) if now >= since.max(commanded) + GRACE => Some((*session, why)),
                    _ => (now >= commanded + self.patience).then_some((*session, Why::NobodyCame)),
                }
            })
            .collect();
        for (session, why) in over {
            if let Some(wait) = self
                .waits
                .get(&session)
                .filter(|wait| Some(wait.place) == self.second)
            {
                let peer = wait.request.peer;
                self.note_trouble(now, peer, Trouble::Unreachable(now));
            }
            self.give_up(now, session);
            self.verdicts.push_back(Verdict::Refuse(session, why));
        }
    }

    /// Arrivals that are nobody's answer any more.
    fn let_go(&mut self, now: Instant) {
        let released: Vec<ArrivalId> = self
            .arrivals
            .iter()
            .filter(|(_, arrival)| {
                !matches!(arrival.nature, Nature::Handshaking)
                    && self.hold_ends(arrival).is_none_or(|end| now >= end)
            })
            .map(|(id, _)| *id)
            .collect();
        for id in released {
            let ended = self
                .arrivals
                .get(&id)
                .is_some_and(|arrival| arrival.nature == Nature::Ended);
            if ended {
                self.decide(id, Verdict::Drop(id, "closed by its peer"));
            } else {
                self.release(now, id, "nobody expects it");
            }
        }
    }

    /// Until when an arrival is held; `None`: not at all.
    fn hold_ends(&self, arrival: &Arrival) -> Option<Instant> {
        let held = self.hold_as_answer_ends(arrival);
        match (arrival.nature, self.places[arrival.place].first_word()) {
            (Nature::Silent, Some(word)) => held.max(Some(arrival.at + word)),
            _ => held,
        }
    }

    /// Until when an arrival is held because it may be an answer.
    fn hold_as_answer_ends(&self, arrival: &Arrival) -> Option<Instant> {
        let is_data_place = self.places[arrival.place] == PlaceKind::Data;
        if let Nature::Doubtful { since } = arrival.nature {
            return (!is_data_place).then_some(since + HOLD);
        }
        let own = self.waits.values().find(|wait| {
            // Whoever begins like SSH may be an upload in the clear, and no other answer.
            let uploads = !wait.request.protected && !matches!(wait.command, Some((_, Direction::Down)));
            self.may_answer(wait, arrival) && (uploads || !arrival.speaks_ssh)
        });
        let proof_possible = match arrival.nature {
            Nature::Silent => self.waits.values().any(|wait| {
                // A session that has let its endpoint lie for long holds nobody up.
                let is_fresh = wait.command.is_some() || arrival.at < wait.granted + self.patience;
                is_fresh
                    && wait.request.protected
                    && wait.place == arrival.place
                    && wait.answers_from.is_some_and(|f| arrival.at >= f)
            }),
            Nature::Proved { owner, .. } => self.waits.values().any(|wait| {
                let proof = self.proof(wait, arrival, owner);
                wait.request.protected && matches!(proof, Proof::Good | Proof::Later)
            }),
            _ => false,
        };
        if let Some(wait) = own {
            Some(match (wait.opening, wait.command) {
                // On a data port it is held as long as the wait; it has nothing else to be.
                _ if is_data_place => arrival.at + OPENING,
                (Some(since), _) => since.max(arrival.at) + OPENING,
                (_, Some((since, _))) if wait.request.protected && arrival.nature == Nature::Silent => {
                    since.max(arrival.at) + HOLD_FOR_HELLO
                }
                (_, Some((since, _))) => since.max(arrival.at) + HOLD,
                _ => arrival.at + HOLD,
            })
        } else if proof_possible {
            Some(arrival.at + if is_data_place { HOLD } else { HOLD_STRANGER })
        } else {
            None
        }
    }
}

/// What a handshake says of an arrival, with regard to one wait.
enum Proof {
    Good,
    Bad,
    /// It comes from elsewhere with a ticket of a session that is logging in: who that is will be known in a moment.
    Later,
    Elsewhere,
}

enum Outcome {
    Nothing,
    Answer(ArrivalId),
    Unproved(Vec<ArrivalId>),
    Ambiguous,
}
