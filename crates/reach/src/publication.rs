//! One listening port, kept reachable: climbs the ladder, renews what it finds, and climbs again when something changes.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use crate::dial_back::Verdicts;
use crate::report::{Doubt, Filtering, NetView, Outcome, Proof, Report, Rung};
use crate::strategy::fixed::Fixed;
use crate::strategy::mapped::Mapped;
use crate::strategy::punched::Punched;
use crate::strategy::relayed::{Relay, Relayed};
use crate::stun::{Behaviour, Dependence};
use crate::survey::{self, Class, Links};
use crate::turn::Allocation;
use crate::{Reach, Reason, Via, dial_back, lock, prove, situation};

/// How often a STUN server is asked again over the open line. It keeps the NAT's mapping (RFC 5382 asks for two hours,
/// devices with less than a minute exist), and tells of a new address within this time.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// How often mappings are asserted again: routers lose them when they restart, and say nothing. What takes one datagram
/// (PCP, NAT-PMP) more often than what takes a dialogue.
const ASSERT: Duration = Duration::from_secs(60);
const ASSERT_BY_DATAGRAM: Duration = Duration::from_secs(15);

/// How often a relay of ours has to prove again what it has proved.
const CHECK: Duration = Duration::from_secs(15);

/// How soon the ladder is climbed again where something that was wanted is missing: at first, and at most.
const TRY_AGAIN: Duration = Duration::from_secs(2);
const TRY_AGAIN_MOST: Duration = Duration::from_secs(60);

/// How soon it is climbed again where a relay's address is all that there has been: a router may have learned something.
const TRY_BETTER: Duration = Duration::from_secs(300);

/// How long a connection that the relay has made may take to be told of here.
const ARRIVAL: Duration = Duration::from_secs(2);

/// How long giving back may take.
const GIVE_BACK: Duration = Duration::from_secs(3);

/// Connections that have come through a relay and wait to be taken.
const BACKLOG: usize = 64;

/// A port that listens.
#[derive(Debug, Clone)]
pub struct Listening {
    /// Where; its host may be a wildcard.
    pub address: SocketAddr,
    /// It was bound with SO_REUSEPORT, so that others can connect out from it.
    pub shares_port: bool,
    /// What it says first, as far as that is always the same; `None` where it says nothing or speaks TLS.
    pub greeting: Option<String>,
    /// The scheme of its URL; `None` where no session begins (a data port).
    pub scheme: Option<&'static str>,
}

/// A port that is kept reachable. Dropped, everything is given back in the background.
#[derive(Debug)]
pub struct Publication {
    report: watch::Receiver<Report>,
    arrivals: mpsc::Receiver<Relay>,
    stop: watch::Sender<bool>,
    keeper: JoinHandle<()>,
}

impl Publication {
    pub(crate) fn start(reach: &Reach, listening: Listening) -> Self {
        let port = listening.address.port();
        let view = reach.published.view.borrow().clone();
        let (report_sender, report) = watch::channel(Report {
            port,
            scheme: listening.scheme,
            rungs: Vec::new(),
            situation: Vec::new(),
            view,
            settled: false,
        });
        let (sender, arrivals) = mpsc::channel(BACKLOG);
        let stop = watch::Sender::new(false);
        let came = watch::Sender::new(false);
        let came_here = came.subscribe();
        lock(&reach.published.ports).insert(port, report.clone());
        lock(&reach.published.came).insert(port, came);
        let dialled = watch::Sender::new(0);
        let dialled_here = dialled.subscribe();
        lock(&reach.published.dialled).insert(port, dialled);
        let plan = reach.plan();
        let allowed = |via: Via| plan.rungs.contains(&via);
        let keeper = Keeper {
            mapped: Mapped::new(Arc::clone(&reach.published.record)),
            punched: Punched::default(),
            relayed: Relayed::new(
                if allowed(Via::Relayed) {
                    plan.turn.clone()
                } else {
                    Vec::new()
                },
                sender,
            ),
            reach: reach.clone(),
            listening,
            report: report_sender,
            verdicts: Verdicts::default(),
            came: came_here,
            dialled: dialled_here,
            had_better: false,
            told: None,
        };
        let keeper = tokio::spawn(keeper.keep(stop.subscribe()));
        Self {
            report,
            arrivals,
            stop,
            keeper,
        }
    }

    /// What the ladder came to; changes as the network does. Before the first climb has ended it has no rungs.
    #[must_use]
    pub fn report(&self) -> watch::Receiver<Report> {
        self.report.clone()
    }

    /// The next connection that came through a relay; `None` once nothing can come any more.
    pub async fn arrival(&mut self) -> Option<Relay> {
        self.arrivals.recv().await
    }

    /// Gives everything back to the routers, for a few seconds at most.
    pub async fn close(self) {
        self.close_within(GIVE_BACK).await;
    }

    /// The same for as long as this: what a router is still being asked for takes up to 20 s until it can be given back.
    pub async fn close_within(mut self, patience: Duration) {
        self.stop.send_replace(true);
        let _ = timeout(patience, &mut self.keeper).await;
    }
}

impl Drop for Publication {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

struct Keeper {
    reach: Reach,
    listening: Listening,
    mapped: Mapped,
    punched: Punched,
    relayed: Relayed,
    report: watch::Sender<Report>,
    verdicts: Verdicts,
    came: watch::Receiver<bool>,
    /// How often a relay has come that was asked to.
    dialled: watch::Receiver<u64>,
    /// In this network there was once a way without a relay.
    had_better: bool,
    /// What was logged last.
    told: Option<(Via, SocketAddr, bool)>,
}

impl Keeper {
    async fn keep(mut self, mut stop: watch::Receiver<bool>) {
        let mut delay = TRY_AGAIN;
        let mut changes = Changes::watch();
        loop {
            let links = read().await;
            // Not cut off by a stop: what a router is being asked for has to be known to be given back.
            self.climb(&links).await;
            let again = if self.is_wanting() {
                let now = delay;
                delay = (delay * 2).min(TRY_AGAIN_MOST);
                Some(now)
            } else {
                delay = TRY_AGAIN;
                self.is_relayed().then_some(TRY_BETTER)
            };
            let over = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => true,
                () = changes.next() => false,
                () = self.rest(links.clone(), again) => false,
            };
            if over {
                break;
            }
        }
        self.relayed.give_back();
        self.mapped.give_back().await;
        let port = self.listening.address.port();
        lock(&self.reach.published.ports).remove(&port);
        lock(&self.reach.published.came).remove(&port);
        lock(&self.reach.published.dialled).remove(&port);
    }

    /// Whether something was asked for in vain that may come with time.
    fn is_wanting(&self) -> bool {
        self.punched.misses_any()
            || self.report.borrow().best().is_none()
            || (self.had_better && self.is_relayed())
    }

    /// Whether nothing better than a relay's address stands.
    fn is_relayed(&self) -> bool {
        self.report
            .borrow()
            .best()
            .is_some_and(|best| best.via == Via::Relayed)
    }

    /// Keeps what was found; returns when it is time to climb again.
    async fn rest(&mut self, links: Links, again: Option<Duration>) {
        let every = |period| {
            let mut ticks = interval(period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks.reset();
            ticks
        };
        let (mut ask, mut check) = (every(ASK_AGAIN), every(CHECK));
        let (mut assert, mut assert_by_datagram) = (every(ASSERT), every(ASSERT_BY_DATAGRAM));
        let now = Instant::now();
        let due = again.map(|again| now + again);
        loop {
            let relay_due = self.relayed.due();
            tokio::select! {
                () = sleep_until(due.unwrap_or(now)), if due.is_some() => return,
                _ = ask.tick() => {
                    if !self.punched.stands().await || read().await != links {
                        return;
                    }
                }
                _ = assert.tick() => {
                    if !self.mapped.renew(true).await {
                        return;
                    }
                }
                _ = assert_by_datagram.tick() => {
                    if !self.mapped.renew(false).await {
                        return;
                    }
                }
                _ = check.tick() => {
                    if !self.holds_up().await {
                        return;
                    }
                }
                behaviour = self.punched.behaviour() => self.learn(behaviour),
                () = self.relayed.lost() => return,
                () = sleep_until(relay_due.unwrap_or(now)), if relay_due.is_some() => {
                    let port = self.listening.address.port();
                    let plan = self.reach.plan.clone();
                    let outside = Fixed::new(plan.public.clone(), plan.forwards.clone()).outside(port);
                    self.relayed.ensure(outside.unwrap_or(port)).await;
                    if !self.relayed.is_wanting() {
                        return;
                    }
                }
                Ok(()) = self.came.changed() => {
                    if *self.came.borrow() {
                        self.vouch();
                    }
                }
            }
        }
    }

    async fn climb(&mut self, links: &Links) {
        let plan = self.reach.plan.clone();
        let port = self.listening.address.port();
        let fixed = Fixed::new(plan.public.clone(), plan.forwards.clone());
        let outside = fixed.outside(port);
        let may = |via: Via| plan.rungs.contains(&via);
        let stun = plan.stun.clone();
        let look = self
            .punched
            .look(&stun, self.listening.address, self.listening.shares_port);
        let ask = async {
            if may(Via::Mapped) {
                let wish = outside.unwrap_or(port);
                self.mapped
                    .ask(links, self.listening.address, wish, outside.is_some())
                    .await;
            }
        };
        tokio::join!(look, ask, self.relayed.ensure(outside.unwrap_or(port)));
        // Who named no STUN server has the relay's word.
        let seen = match &stun[..] {
            [] => self.relayed.seen_ip(),
            _ => self.punched.seen_ip(),
        };
        let view = NetView {
            source_v4: links.source_v4,
            source_v6: links.source_v6,
            gateway_v4: links.gateway_v4,
            gateway_v6: links.gateway_v6.map(|(gateway, _)| gateway),
            seen_v4: seen.filter(IpAddr::is_ipv4),
            hops: self.hops().await,
            filtering: None,
        };
        let mut rungs = self.direct(&view);
        rungs.push(self.fixed(&fixed, &view, may(Via::Fixed)).await);
        if may(Via::Mapped) {
            rungs.extend(self.mapped.judge(view.seen_v4));
        } else {
            rungs.push(switched_off(Via::Mapped));
        }
        if may(Via::Punched) {
            rungs.push(self.punched.judge(links.source_v4.map(IpAddr::V4)));
        } else {
            rungs.push(switched_off(Via::Punched));
        }
        rungs.extend(self.relayed.judge());
        if links
            .source_v4
            .is_some_and(|own| !Class::of(own.into()).is_public())
        {
            self.punched.begin_behaviour();
        }
        self.have_dialled(&mut rungs).await;
        if may(Via::Fixed) {
            self.look_for_forward(&mut rungs, &view).await;
        }
        if !self.report.borrow().view.is_same_network(&view) {
            // Whoever came before has come by another way.
            self.reach.published.forget_peers(port);
            self.had_better = false;
        }
        let situation = situation::tell(&view, &rungs);
        self.reach.published.view.send_replace(view.clone());
        self.report.send_replace(Report {
            port,
            scheme: self.listening.scheme,
            rungs,
            situation,
            view,
            settled: !self.punched.is_asking(),
        });
        let best = self.report.borrow().best().map(|best| best.via);
        self.had_better |= best.is_some_and(|via| via != Via::Relayed);
        if *self.came.borrow() {
            self.vouch();
        }
        self.tell();
    }

    /// Has a relay of ours try from outside what cannot be proved from here.
    async fn have_dialled(&mut self, rungs: &mut [Rung]) {
        let Some(allocation) = self.relayed.ours() else {
            return;
        };
        let hosts = relay_hosts(allocation);
        lock(&self.reach.published.relays).extend(hosts);
        let punched = &self.punched;
        let is_known_to_relay = |endpoint| punched.has_opened(endpoint, &hosts);
        self.verdicts.judge(allocation, rungs, is_known_to_relay).await;
    }

    /// Where nothing else leads here, and the relay gets in at our own number of the address that the Internet sees, and
    /// arrives here: somebody has made a forward and told nobody.
    async fn look_for_forward(&self, rungs: &mut [Rung], view: &NetView) {
        let (Some(seen), Some(allocation)) = (view.seen_v4, self.relayed.ours()) else {
            return;
        };
        let endpoint = SocketAddr::new(seen, self.listening.address.port());
        let is_answered = rungs.iter().any(|rung| {
            let is_there = rung.outcome.is_verified() && rung.via != Via::Relayed;
            let is_closed = matches!(
                rung.outcome,
                Outcome::Refused { reason: Reason::DialledBack(at, _) } if at == endpoint
            );
            is_there || is_closed || rung.outcome.endpoint() == Some(endpoint)
        });
        let is_behind_nat = view
            .source_v4
            .is_some_and(|own| !Class::of(own.into()).is_public());
        let no_word = |rung: &&mut Rung| {
            rung.via == Via::Fixed
                && matches!(&rung.outcome, Outcome::Skipped { reason } if *reason == Reason::NotConfigured)
        };
        let Some(fixed) = rungs.iter_mut().find(no_word) else {
            return;
        };
        if is_answered || !is_behind_nat || self.punched.has_opened(endpoint, &relay_hosts(allocation)) {
            return;
        }
        let start = Instant::now();
        let mut dialled = self.dialled.clone();
        let before = *dialled.borrow();
        // That somebody listens there is not enough: the address may be a carrier's, and the port another customer's.
        if dial_back::opens(allocation, endpoint).await
            && let Ok(Ok(_)) = timeout(ARRIVAL, dialled.wait_for(|times| *times != before)).await
        {
            *fixed = Rung {
                via: Via::Fixed,
                asked: None,
                how: "a forward that the relay has found".to_owned(),
                outcome: Outcome::Verified {
                    endpoint,
                    proof: Proof::DialBack,
                },
                took: start.elapsed(),
            };
        }
    }

    /// Whether a relay of ours still gets in where it has got in before.
    async fn holds_up(&mut self) -> bool {
        let proved = self
            .report
            .borrow()
            .best()
            .filter(|best| best.outcome.has_proof(Proof::DialBack))
            .and_then(|best| best.outcome.endpoint());
        let (Some(endpoint), Some(allocation)) = (proved, self.relayed.ours()) else {
            return true;
        };
        let Some(how) = self.verdicts.lost(allocation, endpoint).await else {
            return true;
        };
        // Told at once: asking everybody again takes seconds.
        self.report.send_modify(|report| {
            for rung in &mut report.rungs {
                if rung.outcome.endpoint() == Some(endpoint) && rung.outcome.has_proof(Proof::DialBack) {
                    rung.outcome = Outcome::Refused {
                        reason: Reason::DialledBack(endpoint, how),
                    };
                }
            }
        });
        self.tell();
        false
    }

    /// The private routers on the way to a STUN server.
    async fn hops(&self) -> Vec<IpAddr> {
        match self.punched.server() {
            Some(IpAddr::V4(server)) => survey::hops::private(server).await,
            _ => Vec::new(),
        }
    }

    /// This machine's own addresses.
    fn direct(&self, view: &NetView) -> Vec<Rung> {
        let port = self.listening.address.port();
        let rung = |own: IpAddr, outcome| Rung {
            via: Via::Direct,
            asked: None,
            how: if own.is_ipv4() { "IPv4" } else { "IPv6" }.to_owned(),
            outcome,
            took: Duration::ZERO,
        };
        let mut rungs = Vec::new();
        if let Some(own) = view.source_v4.map(IpAddr::V4) {
            let endpoint = SocketAddr::new(own, port);
            let outcome = match view.seen_v4 {
                _ if !Class::of(own).is_public() => Outcome::Refused {
                    reason: Reason::NotPublic(own),
                },
                Some(seen) if seen == own => Outcome::Verified {
                    endpoint,
                    proof: Proof::OwnAddressSeen,
                },
                Some(seen) => Outcome::Refused {
                    reason: Reason::Differs { router: own, seen },
                },
                None => Outcome::Unproven {
                    endpoint,
                    doubt: Doubt::Firewall,
                },
            };
            rungs.push(rung(own, outcome));
        }
        if let Some(own) = view.source_v6.map(IpAddr::V6)
            && self.listening.address.is_ipv6()
        {
            let endpoint = SocketAddr::new(own, port);
            let doubt = Doubt::Firewall;
            rungs.push(rung(own, Outcome::Unproven { endpoint, doubt }));
        }
        if rungs.is_empty() {
            rungs.push(Rung {
                via: Via::Direct,
                asked: None,
                how: "IPv4".to_owned(),
                outcome: Outcome::Refused {
                    reason: Reason::NoRoute,
                },
                took: Duration::ZERO,
            });
        }
        rungs
    }

    /// The operator's word, and what can be proved of it from here.
    async fn fixed(&self, fixed: &Fixed, view: &NetView, allowed: bool) -> Rung {
        let start = Instant::now();
        let outcome = match fixed.endpoint(self.listening.address.port(), view.seen_v4).await {
            _ if !allowed => Outcome::Skipped {
                reason: Reason::NotAllowed,
            },
            Err(reason @ Reason::NotConfigured) => Outcome::Skipped { reason },
            // The port was named and no address: the own router forwards it, and nobody knows of the next one.
            Ok(_) if !fixed.names_host() && view.hops.len() > 1 => Outcome::Refused {
                reason: Reason::BehindAnother(view.hops[1]),
            },
            Err(reason) => Outcome::Refused { reason },
            Ok(endpoint) => {
                let proved = match &self.listening.greeting {
                    Some(greeting) => prove::own_dial(endpoint, greeting.clone()).await,
                    None => false,
                };
                match view.seen_v4 {
                    _ if proved => Outcome::Verified {
                        endpoint,
                        proof: Proof::OwnDial,
                    },
                    Some(seen) if seen == endpoint.ip() => Outcome::Unproven {
                        endpoint,
                        doubt: Doubt::Forward,
                    },
                    _ => Outcome::Unproven {
                        endpoint,
                        doubt: Doubt::OperatorsWord,
                    },
                }
            }
        };
        Rung {
            via: Via::Fixed,
            asked: None,
            how: "the operator's word".to_owned(),
            outcome,
            took: start.elapsed(),
        }
    }

    /// It is known what kind of NAT this is, or that nobody can tell.
    fn learn(&mut self, behaviour: Option<Behaviour>) {
        self.report.send_modify(|report| {
            report.settled = true;
            report.view.filtering = behaviour.map(|behaviour| match behaviour.filtering {
                Dependence::EndpointIndependent => Filtering::Open,
                _ => Filtering::Closed,
            });
            report.situation = situation::tell(&report.view, &report.rungs);
        });
        self.reach.published.changes.send_modify(|count| *count += 1);
    }

    /// A peer from outside has come through the router: the best that stands beyond it is proved.
    fn vouch(&mut self) {
        self.report.send_modify(|report| {
            let standing = report.rungs.iter_mut().filter(|rung| {
                rung.via != Via::Direct
                    && rung.via != Via::Relayed
                    && rung.outcome.endpoint().is_some_and(|endpoint| endpoint.is_ipv4())
            });
            if let Some(rung) = standing.min_by_key(|rung| (!rung.outcome.is_verified(), rung.via))
                && let Outcome::Unproven { endpoint, .. } = rung.outcome
            {
                rung.outcome = Outcome::Verified {
                    endpoint,
                    proof: Proof::PeersCame,
                };
            }
        });
        self.tell();
    }

    /// Logs what has changed.
    fn tell(&mut self) {
        let report = self.report.borrow();
        let best = report
            .best()
            .and_then(|rung| Some((rung.via, rung.outcome.endpoint()?, rung.outcome.is_verified())));
        if best == self.told {
            return;
        }
        let port = report.port;
        for rung in &report.rungs {
            tracing::debug!(port, via = %rung.via, how = rung.how, outcome = ?rung.outcome, took = ?rung.took, "rung");
        }
        match best {
            Some((via, endpoint, verified)) => {
                let url = self
                    .listening
                    .scheme
                    .map(|scheme| format!("{scheme}://{endpoint}"));
                tracing::info!(port, %via, verified, %endpoint, url, "reachable");
            }
            None => tracing::warn!(port, situation = ?report.situation, "no way in from outside was found"),
        }
        drop(report);
        self.told = best;
        self.reach.published.changes.send_modify(|count| *count += 1);
    }
}

/// Where a relay's own connections come from.
fn relay_hosts(allocation: &Allocation) -> [IpAddr; 2] {
    [allocation.server(), allocation.relayed()].map(|relay| relay.ip().to_canonical())
}

fn switched_off(via: Via) -> Rung {
    Rung {
        via,
        asked: None,
        how: String::new(),
        outcome: Outcome::Skipped {
            reason: Reason::NotAllowed,
        },
        took: Duration::ZERO,
    }
}

/// This machine's addresses; none where the system does not tell.
async fn read() -> Links {
    Links::read().await.unwrap_or_else(|error| {
        tracing::warn!(%error, "this machine's addresses cannot be read");
        Links::default()
    })
}

/// Changes of addresses, as far as the system tells them.
struct Changes(Option<survey::Changes>);

impl Changes {
    fn watch() -> Self {
        let watch = survey::Changes::watch();
        if let Err(error) = &watch {
            tracing::warn!(%error, "changes of this machine's addresses are noticed late");
        }
        Self(watch.ok())
    }

    async fn next(&mut self) {
        match &mut self.0 {
            Some(changes) => changes.changed().await,
            None => std::future::pending().await,
        }
    }
}
