//! "An endpoint this peer can connect to", and why not otherwise.
//!
//! The ladder has two sides. [`Reach::publish`] climbs it for a listening port and keeps what it finds: mappings are
//! renewed, changes are noticed, and a [`Report`] says what every rung came to. [`Reach::passive_open`] tells one peer
//! what to connect to, from what stands: the first rung that fits wins, and every refusal is kept with its reason.

mod dial_back;
mod endpoint;
mod plan;
mod prove;
mod publication;
mod record;
mod report;
pub mod router;
mod situation;
mod strategy;
pub mod stun;
pub mod survey;
pub mod turn;
mod want;

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

pub use dial_back::Unanswered;
pub use endpoint::{Endpoint, Reason, Unreachable, Via};
pub use plan::Plan;
pub use publication::{Listening, Publication};
use record::Record;
pub use report::{Doubt, Filtering, NetView, Outcome, Proof, Report, Router, Rung};
pub use situation::Situation;
pub use strategy::fixed::{Forward, PublicHost};
pub use strategy::relayed::Relay;
use strategy::{Direct, Fixed, Standing, Strategy, Verdict};
pub use turn::{Incoming, TurnServer};
pub use want::Want;

/// The ladder. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Reach {
    plan: Arc<Plan>,
    rungs: Arc<[Box<dyn Strategy>]>,
    published: Published,
}

/// What stands for each listening port; shared by all that [`Reach::with_words`] made of one another.
#[derive(Debug, Clone)]
struct Published {
    ports: Arc<Mutex<HashMap<u16, watch::Receiver<Report>>>>,
    view: Arc<watch::Sender<NetView>>,
    /// Ports that a peer from outside has come to, told to those who keep them.
    came: Arc<Mutex<HashMap<u16, watch::Sender<bool>>>>,
    /// Relays that were asked to dial back: what comes from there may be that.
    relays: Arc<Mutex<HashSet<IpAddr>>>,
    /// How often such a relay has come to a port, told to those who keep it.
    dialled: Arc<Mutex<HashMap<u16, watch::Sender<u64>>>>,
    /// Counts what changed.
    changes: Arc<watch::Sender<u64>>,
    /// What routers were asked for.
    record: Arc<Record>,
}

impl Published {
    /// Nobody has come to this port from outside, as far as its present way in is concerned.
    fn forget_peers(&self, port: u16) {
        if let Some(came) = lock(&self.came).get(&port) {
            came.send_if_modified(|came| std::mem::replace(came, false));
        }
    }
}

impl Default for Reach {
    /// The ladder for an operator who said nothing.
    fn default() -> Self {
        Self::new(Plan::default())
    }
}

impl Reach {
    /// The ladder for this plan. Nothing is sent before [`Self::publish`].
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        let published = Published {
            ports: Arc::default(),
            view: Arc::new(watch::Sender::new(NetView::default())),
            came: Arc::default(),
            relays: Arc::default(),
            dialled: Arc::default(),
            changes: Arc::new(watch::Sender::new(0)),
            record: Arc::new(Record::new(plan.journal.clone())),
        };
        Self::standing_on(plan, published)
    }

    fn standing_on(plan: Plan, published: Published) -> Self {
        // The operator's word goes before what we find out ourselves, and that before what we see from here.
        let fixed = Fixed::new(plan.public.clone(), plan.forwards.clone());
        Self {
            plan: Arc::new(plan),
            rungs: [
                Box::new(fixed) as Box<dyn Strategy>,
                Box::new(Standing(published.clone())),
                Box::new(Direct),
            ]
            .into(),
            published,
        }
    }

    /// The same ladder with other words of the operator; what stands goes on standing.
    #[must_use]
    pub fn with_words(&self, public: Option<PublicHost>, forwards: Vec<Forward>) -> Self {
        let plan = Plan {
            public,
            forwards,
            ..(*self.plan).clone()
        };
        Self::standing_on(plan, self.published.clone())
    }

    /// What the operator allows and names.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What is known of this machine's network.
    #[must_use]
    pub fn view(&self) -> watch::Receiver<NetView> {
        self.published.view.subscribe()
    }

    /// The reports of all published ports, by port.
    #[must_use]
    pub fn reports(&self) -> Vec<Report> {
        let ports = lock(&self.published.ports);
        let mut reports: Vec<_> = ports.values().map(|report| report.borrow().clone()).collect();
        reports.sort_by_key(|report| report.port);
        reports
    }

    /// Counts up when a report's best rung changes.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.published.changes.subscribe()
    }

    /// Whether peers like this one come through a router, so that no other port than the published ones can be
    /// reached.
    #[must_use]
    pub fn is_behind_router(&self, want: &Want) -> bool {
        let (want, view) = (want.canonical(), self.published.view.borrow());
        !want.peer_is_local(&view) && !survey::Class::of(want.control.ip()).is_public()
    }

    /// A control connection from `peer` has come to `control`: where only a router's port leads there, that proves it.
    /// A relay that was asked to dial back is no peer: what it tells is judged by itself.
    pub fn peer_came(&self, control: SocketAddr, peer: IpAddr) {
        let public = |ip: IpAddr| survey::Class::of(ip).is_public();
        if public(peer)
            && !public(control.ip())
            && !self.dials_back(peer)
            && let Some(came) = lock(&self.published.came).get(&control.port())
        {
            came.send_if_modified(|came| !std::mem::replace(came, true));
        }
    }

    /// Whether a relay that was asked to dial back connects from this address: no session comes of that.
    #[must_use]
    pub fn dials_back(&self, peer: IpAddr) -> bool {
        lock(&self.published.relays).contains(&peer.to_canonical())
    }

    /// Such a relay has come to the listening port `port`.
    pub fn relay_came(&self, port: u16) {
        if let Some(dialled) = lock(&self.published.dialled).get(&port) {
            dialled.send_modify(|times| *times += 1);
        }
    }

    /// Climbs the ladder for a listening port, and keeps what is found until the publication is dropped or closed.
    /// Must be called within a tokio runtime.
    #[must_use]
    pub fn publish(&self, listening: Listening) -> Publication {
        Publication::start(self, listening)
    }

    /// An endpoint for this peer.
    ///
    /// # Errors
    /// [`Unreachable`] with the reason of every rung.
    pub async fn passive_open(&self, want: &Want) -> Result<Endpoint, Unreachable> {
        let want = want.canonical();
        if let Some(dialled) = want.dialled {
            // Through a relay: control and data go by the same address.
            let via = Via::Relayed;
            let lent = if want.port == want.control.port() {
                Some(dialled)
            } else {
                self.lent(want.port).filter(|lent| lent.ip() == dialled.ip())
            };
            return lent
                .ok_or(Reason::NothingStands)
                .and_then(|announce| {
                    strategy::announceable(announce.ip(), &want)?;
                    Ok(Endpoint { announce, via })
                })
                .map_err(|reason| Unreachable(vec![(via, reason)]));
        }
        let view = self.published.view.borrow().clone();
        let mut refusals = Vec::new();
        for rung in &*self.rungs {
            let opened = match rung.judge(&want, &view) {
                Verdict::Possible => rung.open(&want, &view).await,
                Verdict::Refused(reason) => Err(reason),
            };
            match opened {
                Ok(endpoint) => return Ok(endpoint),
                Err(reason) => {
                    tracing::debug!(via = %rung.via(), %reason, peer = %want.peer, "no endpoint this way");
                    refusals.push((rung.via(), reason));
                }
            }
        }
        Err(Unreachable(refusals))
    }

    /// What a relay lends for a listening port.
    fn lent(&self, port: u16) -> Option<SocketAddr> {
        let ports = lock(&self.published.ports);
        let report = ports.get(&port)?.borrow();
        let mut lent = report.rungs.iter().filter(|rung| rung.via == Via::Relayed);
        lent.find_map(|rung| rung.outcome.endpoint())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
