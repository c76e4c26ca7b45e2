//! What all connections of a relay share: accounts, peers that wait for their ConnectionBind, what is lent.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::config::{Config, RelayAddress};
use crate::credentials::Keeper;
use crate::metrics::{Gauge, Metrics};
use crate::tenancy::Tenancies;
use crate::usage::{Place, Usage};
use crate::{peers, sockets};

/// One relay.
pub(crate) struct Shared {
    /// Told to all connections when it changes.
    current: watch::Sender<Arc<Current>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
    /// Where names are served, with real ports.
    pub(crate) names_at: Vec<SocketAddr>,
    waiting: Mutex<HashMap<u32, Waiting>>,
    pub(crate) tenancies: Arc<Tenancies>,
    strangers: Mutex<HashMap<IpAddr, usize>>,
    unauthenticated: Arc<Usage>,
    connections: Arc<Usage>,
}

/// What the operator wants, as of now.
pub(crate) struct Current {
    pub(crate) config: Config,
    pub(crate) keeper: Keeper,
}

/// A peer's connection that a client has not fetched yet. Nothing is read from it: what the peer sends fills the
/// kernel's buffer, and then its window closes. Dropped, it is reset.
#[derive(Debug)]
pub(crate) struct Waiting {
    stream: Option<TcpStream>,
    pub(crate) peer: SocketAddr,
    /// Who may fetch it.
    pub(crate) username: String,
    place: Option<Place>,
    _in_line: OwnedSemaphorePermit,
    _gauge: Gauge,
    _fetched_or_gone: DropGuard,
}

/// A connection that has not authenticated itself yet.
pub(crate) struct Stranger {
    shared: Arc<Shared>,
    address: IpAddr,
    _one_of_many: Place,
}

impl Shared {
    pub(crate) fn new(config: Config, keeper: Keeper, names_at: Vec<SocketAddr>) -> Self {
        Self {
            current: watch::Sender::new(Arc::new(Current { config, keeper })),
            metrics: Arc::new(Metrics::default()),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            names_at,
            waiting: Mutex::default(),
            tenancies: Arc::default(),
            strangers: Mutex::default(),
            unauthenticated: Arc::default(),
            connections: Arc::default(),
        }
    }

    /// The configuration and who is who by it.
    pub(crate) fn current(&self) -> Arc<Current> {
        Arc::clone(&self.current.borrow())
    }

    /// Tells when [`Shared::current`] is another.
    pub(crate) fn reloads(&self) -> watch::Receiver<Arc<Current>> {
        self.current.subscribe()
    }

    /// From now on this is [`Shared::current`].
    pub(crate) fn reload(&self, current: Current) {
        self.current.send_replace(Arc::new(current));
    }

    /// A place among the connections; `None` when there are too many.
    pub(crate) fn seat(&self) -> Option<Place> {
        self.connections.take(self.current().config.connections)
    }

    /// Where ports of this family are lent.
    pub(crate) fn relay_address(&self, ipv4: bool) -> Option<RelayAddress> {
        let current = self.current();
        current
            .config
            .relay
            .iter()
            .find(|relay| relay.bind.is_ipv4() == ipv4)
            .copied()
    }

    /// Whether the relay may connect to this address, or let it in by a permission.
    pub(crate) fn may_reach(&self, address: IpAddr) -> bool {
        self.current().config.danger_allow_private_peers || peers::is_global(address)
    }

    /// Whether the relay may connect to this address and port. Of its own addresses it reaches what it has lent and
    /// nothing else: what else listens there may trust this machine more than the world.
    pub(crate) fn may_connect(&self, peer: SocketAddr) -> bool {
        let ip = peers::canonical(peer.ip());
        let is_own = |relay: &RelayAddress| ip == relay.public || ip == relay.bind;
        let current = self.current();
        current.config.danger_allow_private_peers
            || (peers::is_global(ip)
                && (!current.config.relay.iter().any(is_own)
                    || self.tenancies.is_lent(SocketAddr::new(ip, peer.port()))))
    }

    /// Counts a connection among the strangers; `None` when there are too many.
    pub(crate) fn admit(self: &Arc<Self>, from: IpAddr) -> Option<Stranger> {
        let current = self.current();
        let one_of_many = self.unauthenticated.take(current.config.unauthenticated)?;
        let address = site(from);
        let mut strangers = lock(&self.strangers);
        let count = strangers.entry(address).or_insert(0);
        if *count >= current.config.unauthenticated_per_address {
            return None;
        }
        *count += 1;
        Some(Stranger {
            shared: Arc::clone(self),
            address,
            _one_of_many: one_of_many,
        })
    }

    /// Keeps a peer until [`Shared::fetch`], the deadline, or the end of `allocation`; gives its CONNECTION-ID.
    pub(crate) fn keep(
        self: &Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        username: &str,
        place: Place,
        in_line: OwnedSemaphorePermit,
        allocation: &CancellationToken,
    ) -> Option<u32> {
        let gone = CancellationToken::new();
        let mut waiting = lock(&self.waiting);
        let Some(id) = unused(&waiting) else {
            sockets::reset_at_close(&stream);
            return None;
        };
        waiting.insert(
            id,
            Waiting {
                stream: Some(stream),
                peer,
                username: username.to_owned(),
                place: Some(place),
                _in_line: in_line,
                _gauge: Gauge::new(&self.metrics, |metrics| &metrics.waiting),
                _fetched_or_gone: gone.clone().drop_guard(),
            },
        );
        drop(waiting);
        let (shared, allocation) = (Arc::clone(self), allocation.clone());
        let deadline = self.current().config.bind_deadline;
        self.tasks.spawn(async move {
            tokio::select! {
                () = gone.cancelled() => return,
                () = allocation.cancelled() => {}
                () = shared.stop.cancelled() => {}
                () = tokio::time::sleep(deadline) => {}
            }
            let too_late = lock(&shared.waiting).remove(&id);
            if too_late.is_some() {
                shared.metrics.unbound_total.up();
            }
        });
        Some(id)
    }

    /// Takes the peer with this CONNECTION-ID, if `may` says so.
    pub(crate) fn fetch(&self, id: u32, may: impl FnOnce(&Waiting) -> bool) -> Fetched {
        let mut waiting = lock(&self.waiting);
        match waiting.get(&id) {
            None => Fetched::Unknown,
            Some(known) if !may(known) => Fetched::NotYours,
            Some(_) => waiting
                .remove(&id)
                .and_then(Waiting::take)
                .map_or(Fetched::Unknown, |(stream, peer, place)| {
                    Fetched::Yours(stream, peer, place)
                }),
        }
    }
}

/// What [`Shared::fetch`] found.
pub(crate) enum Fetched {
    Yours(TcpStream, SocketAddr, Place),
    NotYours,
    Unknown,
}

/// An id that nobody could guess and nobody has (RFC 6062 section 6.2.1).
fn unused(waiting: &HashMap<u32, Waiting>) -> Option<u32> {
    for _ in 0..16 {
        let mut id = [0; 4];
        getrandom::fill(&mut id).ok()?;
        let id = u32::from_ne_bytes(id);
        if !waiting.contains_key(&id) {
            return Some(id);
        }
    }
    None
}

impl Waiting {
    fn take(mut self) -> Option<(TcpStream, SocketAddr, Place)> {
        Some((self.stream.take()?, self.peer, self.place.take()?))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(stream) = &self.stream {
            sockets::reset_at_close(stream);
        }
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let mut strangers = lock(&self.shared.strangers);
        if let Some(count) = strangers.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                strangers.remove(&self.address);
            }
        }
    }
}

/// What one host has for itself: an IPv4 address or an IPv6 /64.
fn site(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::tenancy::Tenant;

    #[tokio::test]
    async fn of_its_own_addresses_a_relay_reaches_what_it_has_lent() {
        let mut config = Config::new("realm");
        config.relay = vec![RelayAddress {
            bind: "0.0.0.0".parse().unwrap(),
            public: "9.9.9.9".parse().unwrap(),
        }];
        let keeper = Keeper::new(&config).unwrap();
        let shared = Arc::new(Shared::new(config, keeper, Vec::new()));
        let may = |peer: &str| shared.may_connect(peer.parse().unwrap());
        assert!(may("8.8.8.8:22"));
        assert!(!may("9.9.9.9:50000"));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let lent = shared
            .tenancies
            .lend(listener, "9.9.9.9:50000".parse().unwrap(), &Tenant::new("a"));
        assert!(may("9.9.9.9:50000") && may("[::ffff:9.9.9.9]:50000"));
        assert!(!may("9.9.9.9:22") && !may("[::ffff:9.9.9.9]:22") && !may("10.0.0.1:50000"));
        drop(lent);
        assert!(!may("9.9.9.9:50000"));
    }
}
