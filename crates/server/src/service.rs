//! What all connections of a server share: settings of the moment, the gate, the switchboard, who may be evicted.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use pasarela_ftp_proto::server_pi::Refusal;
use pasarela_session::limits::Gate;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{DataPorts, Protocol, Protocols, Settings};
use crate::ftp::switchboard::{PlaceId, Switchboard};

/// The shared state of one server.
pub(crate) struct Service {
    settings: RwLock<Arc<Settings>>,
    gate: Arc<Gate>,
    switchboard: OnceLock<Arc<Switchboard>>,
    /// For each control place, what is spoken there; data places follow.
    protocols: Vec<Protocols>,
    data_ports: DataPorts,
    data_places: Vec<PlaceId>,
    connections: AtomicU64,
    unauthenticated: Mutex<BTreeMap<u64, Arc<Notify>>>,
    drain: CancellationToken,
    tasks: TaskTracker,
}

impl Service {
    pub(crate) fn new(settings: Settings, protocols: Vec<Protocols>, data_places: Vec<PlaceId>) -> Arc<Self> {
        let gate = Gate::new(settings.limits.clone());
        let data_ports = settings.data_ports;
        Arc::new(Self {
            settings: RwLock::new(Arc::new(settings)),
            gate,
            switchboard: OnceLock::new(),
            protocols,
            data_ports,
            data_places,
            connections: AtomicU64::new(0),
            unauthenticated: Mutex::default(),
            drain: CancellationToken::new(),
            tasks: TaskTracker::new(),
        })
    }

    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Running sessions keep the settings that they began with.
    pub(crate) fn reload(&self, settings: Settings) {
        self.gate.set_limits(settings.limits.clone());
        if let Some(switchboard) = self.switchboard.get() {
            switchboard.set_patience(settings.limits.data_connection);
        }
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
    }

    pub(crate) fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    pub(crate) fn set_switchboard(&self, switchboard: Arc<Switchboard>) {
        // Set once, by the server that made both.
        let _ = self.switchboard.set(switchboard);
    }

    pub(crate) fn switchboard(&self) -> Result<&Arc<Switchboard>, Refusal> {
        self.switchboard.get().ok_or(Refusal::Local)
    }

    /// Whether TLS comes first at a place, whoever comes.
    pub(crate) fn is_implicit(&self, place: PlaceId) -> bool {
        self.protocols(place) == Protocol::Ftps.into()
    }

    /// What is spoken at a place; nothing where nobody is greeted.
    pub(crate) fn protocols(&self, place: PlaceId) -> Protocols {
        self.protocols.get(place).copied().unwrap_or_default()
    }

    /// Where the data connections of a session may arrive whose control connection arrived at `control`.
    pub(crate) fn data_places(&self, control: PlaceId) -> Vec<PlaceId> {
        match self.data_ports {
            DataPorts::Auto | DataPorts::Control => vec![control],
            DataPorts::Port(_) | DataPorts::Range(..) => self.data_places.clone(),
        }
    }

    /// Whether plain data may go to a second port.
    pub(crate) fn has_second_port(&self) -> bool {
        self.data_ports == DataPorts::Auto
    }

    pub(crate) fn next_connection(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A connection that is not logged in is the first to go when there is no room for others.
    pub(crate) fn note_unauthenticated(self: &Arc<Self>, id: u64) -> Waiting {
        let notify = Arc::new(Notify::new());
        self.unauthenticated().insert(id, Arc::clone(&notify));
        Waiting {
            service: Arc::clone(self),
            id,
            notify,
        }
    }

    fn unauthenticated(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Notify>>> {
        self.unauthenticated
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns once the server is to stop.
    pub(crate) async fn draining(&self) {
        self.drain.cancelled().await;
    }

    pub(crate) fn drain(&self) {
        self.drain.cancel();
    }

    /// Runs a connection's task, which the end of the server waits for.
    pub(crate) fn spawn(&self, connection: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(connection);
    }

    /// Tells the oldest connection that is not logged in to go; `false` where there is none.
    pub(crate) fn evict(&self) -> bool {
        let oldest = self.unauthenticated().pop_first();
        if let Some((_, notify)) = &oldest {
            notify.notify_one();
        }
        oldest.is_some()
    }

    /// Waits for the end of all connections, `patience` at most.
    pub(crate) async fn finished(&self, patience: Duration) -> bool {
        self.tasks.close();
        tokio::time::timeout(patience, self.tasks.wait()).await.is_ok()
    }
}

/// A connection's place among those that are not logged in, until it is or has ended.
pub(crate) struct Waiting {
    service: Arc<Service>,
    id: u64,
    notify: Arc<Notify>,
}

impl Waiting {
    /// Returns when the connection has to go.
    pub(crate) async fn notified(&self) {
        self.notify.notified().await;
    }

    /// It is logged out.
    pub(crate) fn again(&self) {
        let notify = Arc::clone(&self.notify);
        self.service.unauthenticated().insert(self.id, notify);
    }

    /// It is logged in.
    pub(crate) fn forget(&self) {
        self.service.unauthenticated().remove(&self.id);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.forget();
    }
}
