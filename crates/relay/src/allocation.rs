//! An allocation: an address that is lent, who may connect to it, and for how long.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::DropGuard;

use crate::config::Account;
use crate::credentials::Proof;
use crate::message::plain;
use crate::metrics::Gauge;
use crate::peers::canonical;
use crate::sockets;
use crate::tenancy::{Lent, NameLease, Tenant, Will};
use crate::usage::Place;

/// What a control connection holds. Dropped, everything is given back: port, name, and peers that nobody fetched.
/// Streams that are carried already go on to their own end.
pub(crate) struct Allocation {
    _will: Option<Will>,
    pub(crate) owner: Proof,
    /// `None` when only a name is lent.
    pub(crate) lent: Option<Arc<Lent>>,
    pub(crate) name: Option<NameLease>,
    /// As it was announced.
    pub(crate) relayed: SocketAddr,
    pub(crate) any_peer: bool,
    /// The port is one that only some accounts may have.
    pub(crate) wished: bool,
    pub(crate) expires: Instant,
    /// Peers to which a Connect is under way.
    pub(crate) connecting: HashSet<SocketAddr>,
    pub(crate) tenant: Tenant,
    pub(crate) line: Arc<Semaphore>,
    permissions: HashMap<IpAddr, Instant>,
    _gauge: Gauge,
    _counted: Arc<Place>,
    /// Last: who waits for it wants what the others are.
    _ends: DropGuard,
}

/// How long a permission lasts (RFC 8656 section 9).
const PERMISSION: Duration = Duration::from_secs(300);
/// The lifetime of an allocation that asks for none, and the least (RFC 8656 section 7.2).
const DEFAULT_LIFETIME: u32 = 600;
/// The longest (RFC 8656 section 7.2).
const LONGEST_LIFETIME: u32 = 3600;

/// The seconds that a wish for this lifetime gets.
pub(crate) fn lifetime(wish: Option<u32>) -> u32 {
    wish.map_or(DEFAULT_LIFETIME, |wish| {
        wish.clamp(DEFAULT_LIFETIME, LONGEST_LIFETIME)
    })
}

impl Allocation {
    pub(crate) fn new(
        owner: Proof,
        tenant: Tenant,
        (lent, name): (Option<Arc<Lent>>, Option<NameLease>),
        relayed: SocketAddr,
        (any_peer, wished): (bool, bool),
        seconds: u32,
        (gauge, counted, will): (Gauge, Arc<Place>, Option<Will>),
    ) -> Self {
        Self {
            lent,
            name,
            relayed,
            any_peer,
            wished,
            expires: Instant::now() + Duration::from_secs(seconds.into()),
            connecting: HashSet::new(),
            _ends: tenant.token.clone().drop_guard(),
            tenant,
            line: Arc::new(Semaphore::new(owner.member.account.limits.waiting)),
            permissions: HashMap::new(),
            owner,
            _gauge: gauge,
            _counted: counted,
            _will: will,
        }
    }

    pub(crate) fn refresh(&mut self, seconds: u32) {
        self.expires = Instant::now() + Duration::from_secs(seconds.into());
    }

    /// Whether an account may have all of this.
    pub(crate) fn is_allowed_by(&self, account: &Account) -> bool {
        (account.any_peer || !self.any_peer)
            && (!self.wished || account.may_lend_port(self.relayed.port()))
            && self
                .name
                .as_ref()
                .is_none_or(|lease| account.may_lend_name(&lease.name))
    }

    /// Permits all of `peers`, or none when that would be too many.
    pub(crate) fn permit(&mut self, peers: &[IpAddr]) -> bool {
        let now = Instant::now();
        self.permissions.retain(|_, until| *until > now);
        let peers: HashSet<_> = peers.iter().map(|peer| canonical(*peer)).collect();
        let fresh = peers
            .iter()
            .filter(|peer| !self.permissions.contains_key(*peer))
            .count();
        if self.permissions.len() + fresh > self.owner.member.account.limits.permissions {
            return false;
        }
        self.permissions
            .extend(peers.into_iter().map(|peer| (peer, now + PERMISSION)));
        true
    }

    /// Whether this peer may connect.
    pub(crate) fn admits(&self, peer: IpAddr) -> bool {
        self.any_peer
            || self
                .permissions
                .get(&canonical(peer))
                .is_some_and(|until| *until > Instant::now())
    }

    /// The next peer that connects, once there is room for one more to wait. May be dropped without loss.
    pub(crate) async fn arrival(&mut self) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
        loop {
            let Ok(in_line) = Arc::clone(&self.line).acquire_owned().await else {
                // Nobody closes it.
                return std::future::pending().await;
            };
            let next = tokio::select! {
                next = accept(self.lent.as_deref()) => next,
                next = named(self.name.as_mut()) => Ok(next),
            };
            match next {
                Ok((stream, peer)) => return (stream, plain(peer), in_line),
                // A peer that is gone already, or no descriptor; the latter will not be over at once.
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }
}

async fn accept(lent: Option<&Lent>) -> io::Result<(TcpStream, SocketAddr)> {
    match lent {
        Some(lent) => lent.listener.accept().await,
        None => std::future::pending().await,
    }
}

async fn named(lease: Option<&mut NameLease>) -> (TcpStream, SocketAddr) {
    if let Some(lease) = lease
        && let Some(arrival) = lease.arrivals.recv().await
    {
        return (arrival.stream, arrival.peer);
    }
    std::future::pending().await
}

/// Why no port was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoPort {
    /// None of the wanted is allowed.
    Forbidden,
    /// All that were tried are taken.
    Taken,
}

/// How many ports are tried for one wish.
const TRIES: usize = 256;

/// Listens on the first free port of `wish` that `may` allows.
pub(crate) fn lend(
    at: IpAddr,
    wish: RangeInclusive<u16>,
    may: impl Fn(u16) -> bool,
) -> Result<TcpListener, NoPort> {
    let mut outcome = NoPort::Forbidden;
    for port in wish.filter(|port| may(*port)).take(TRIES) {
        match sockets::listen(SocketAddr::new(at, port)) {
            Ok(listener) => return Ok(listener),
            Err(error) => {
                if error.kind() != io::ErrorKind::AddrInUse {
                    tracing::warn!(address = %at, port, %error, "port cannot be lent");
                }
                outcome = NoPort::Taken;
            }
        }
    }
    Err(outcome)
}

/// Listens on some port of `range` that is not `reserved`.
pub(crate) fn pick(
    at: IpAddr,
    range: &RangeInclusive<u16>,
    reserved: impl Fn(u16) -> bool,
) -> Result<TcpListener, NoPort> {
    let mut random = [0; 4];
    // Without random numbers the first port that is free.
    let _ = getrandom::fill(&mut random);
    let (first, last) = (*range.start(), *range.end());
    let count = u32::from(last - first) + 1;
    let skip = u16::try_from(u32::from_ne_bytes(random) % count).unwrap_or(0);
    let middle = first.saturating_add(skip);
    match lend(at, middle..=last, |port| !reserved(port)) {
        Err(_) if skip > 0 => lend(at, first..=middle - 1, |port| !reserved(port)),
        found => found,
    }
    .map_err(|_| NoPort::Taken)
}
