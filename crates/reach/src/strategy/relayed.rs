//! A public address that a relay lends: TURN with TCP allocations (RFC 8656, RFC 6062).

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use pasarela_nat_proto::extension::{AnyPeer, Instance, LendPort, raw};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::report::{Outcome, Proof, Rung};
use crate::survey::Class;
use crate::turn::{Allocation, Incoming, ProtocolError, TurnError, TurnServer};
use crate::{Reason, Via};

/// How long a relay may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Insufficient Capacity (RFC 8656 section 19): a relay of ours says so of a port that is lent already.
const TAKEN: u16 = 508;

/// How long a port that we had is waited for: a relay that does not know INSTANCE needs half a minute to notice that
/// the old connection has gone.
const OURS: Duration = Duration::from_secs(75);

/// How soon a relay is asked again: at first, at most while it may be restarting, and at most after that time.
const AGAIN: Duration = Duration::from_millis(250);
const AGAIN_MOST: Duration = Duration::from_secs(3);
const RESTARTING: Duration = Duration::from_secs(300);
const AGAIN_LATER: Duration = Duration::from_secs(30);

/// The allocation of one listening port.
#[derive(Debug)]
pub(crate) struct Relayed {
    servers: Vec<TurnServer>,
    arrivals: mpsc::Sender<Relay>,
    held: Option<Held>,
    /// Who lent what until a moment ago, and when that was.
    had: Option<(String, SocketAddr, Instant)>,
    refused: Vec<Rung>,
    /// While there is none: since when, how often it was asked for, and when it is next.
    lacking: Option<Lacking>,
    /// Tells a relay of ours that it is us again, while our old connection looks alive to it. `None` without random
    /// numbers.
    instance: Option<Instance>,
}

#[derive(Debug, Clone, Copy)]
struct Lacking {
    since: Instant,
    tries: u32,
    next: Instant,
}

/// A connection that came through a relay.
#[derive(Debug)]
pub struct Relay {
    /// The stream and whose it is.
    pub incoming: Incoming,
    /// What the peer connected to.
    pub dialled: SocketAddr,
    /// The relay is one of ours, which passes a stream's end on as the end that it was. Other TURN servers may cut the
    /// last bytes off (coturn resets both sides when one has ended), which protected data alone can tell.
    pub is_ours: bool,
}

#[derive(Debug)]
struct Held {
    allocation: Allocation,
    is_ours: bool,
    how: String,
    took: Duration,
    pump: tokio::task::JoinHandle<()>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

impl Relayed {
    pub(crate) fn new(servers: Vec<TurnServer>, arrivals: mpsc::Sender<Relay>) -> Self {
        let mut instance = [0; 16];
        let is_random = getrandom::fill(&mut instance).is_ok();
        Self {
            servers,
            arrivals,
            held: None,
            had: None,
            refused: Vec::new(),
            lacking: None,
            instance: is_random.then_some(Instance(instance)),
        }
    }

    /// Makes sure of an allocation, at the first server that has one.
    pub(crate) async fn ensure(&mut self, port: u16) {
        if self.held.is_some() {
            return;
        }
        self.refused.clear();
        for server in &self.servers {
            let start = Instant::now();
            let waits = self.had.as_ref().is_some_and(|(how, lent, when)| {
                *how == server.to_string() && lent.port() == port && when.elapsed() < OURS
            });
            match open(server, port, self.instance, waits).await {
                Ok(Opened {
                    allocation,
                    mut incoming,
                    is_ours,
                }) => {
                    let (arrivals, dialled) = (self.arrivals.clone(), allocation.relayed());
                    if !is_ours {
                        tracing::info!(%server, "not one of our relays: it may cut streams, so it carries protected data only");
                    }
                    let pump = tokio::spawn(async move {
                        while let Some(incoming) = incoming.recv().await {
                            let relay = Relay {
                                incoming,
                                dialled,
                                is_ours,
                            };
                            if arrivals.send(relay).await.is_err() {
                                return;
                            }
                        }
                    });
                    self.held = Some(Held {
                        allocation,
                        is_ours,
                        how: server.to_string(),
                        took: start.elapsed(),
                        pump,
                    });
                    self.lacking = None;
                    return;
                }
                Err(reason) => self.refused.push(Rung {
                    via: Via::Relayed,
                    asked: None,
                    how: server.to_string(),
                    outcome: Outcome::Refused { reason },
                    took: start.elapsed(),
                }),
            }
        }
        let now = Instant::now();
        let (since, tries) = self
            .lacking
            .map_or((now, 0), |lacking| (lacking.since, lacking.tries));
        self.lacking = Some(Lacking {
            since,
            tries: tries.saturating_add(1),
            next: now + pause(tries, now.duration_since(since), chance()),
        });
    }

    /// When to ask again for what is lacking.
    pub(crate) fn due(&self) -> Option<tokio::time::Instant> {
        let lacking = self.lacking.filter(|_| self.is_wanting())?;
        Some(lacking.next.into())
    }

    /// Our own address as the relay sees it.
    pub(crate) fn seen_ip(&self) -> Option<IpAddr> {
        let seen = self.held.as_ref()?.allocation.mapped().ip().to_canonical();
        // One in our own network sees nothing of the NAT.
        Class::of(seen).is_public().then_some(seen)
    }

    /// Returns when the allocation is lost; never without one.
    pub(crate) async fn lost(&mut self) {
        match &self.held {
            Some(held) => {
                let why = held.allocation.ended().await;
                tracing::warn!(relay = held.how, %why, "the relay is lost");
                self.had = Some((held.how.clone(), held.allocation.relayed(), Instant::now()));
                self.held = None;
            }
            None => std::future::pending().await,
        }
    }

    /// Whether a relay is wanted and there is none.
    pub(crate) fn is_wanting(&self) -> bool {
        self.held.is_none() && !self.servers.is_empty()
    }

    /// The allocation at a relay of ours, which may know how to dial back.
    pub(crate) fn ours(&self) -> Option<&Allocation> {
        let held = self.held.as_ref().filter(|held| held.is_ours);
        held.map(|held| &held.allocation)
    }

    /// Gives it back.
    pub(crate) fn give_back(&mut self) {
        self.held = None;
    }

    /// What stands.
    pub(crate) fn judge(&self) -> Vec<Rung> {
        match &self.held {
            Some(held) => vec![Rung {
                via: Via::Relayed,
                asked: None,
                how: held.how.clone(),
                outcome: Outcome::Verified {
                    endpoint: held.allocation.relayed(),
                    proof: Proof::Relay,
                },
                took: held.took,
            }],
            None if self.servers.is_empty() => vec![Rung {
                via: Via::Relayed,
                asked: None,
                how: "TURN".to_owned(),
                outcome: Outcome::Skipped {
                    reason: Reason::NotConfigured,
                },
                took: Duration::ZERO,
            }],
            None => self.refused.clone(),
        }
    }
}

/// How long to wait before a relay is asked again: a restart is noticed within seconds, and all who wait for it do not
/// come at once. `chance` is from 0 to 255.
fn pause(tries: u32, lacking: Duration, chance: u8) -> Duration {
    let most = if lacking < RESTARTING {
        AGAIN_MOST
    } else {
        AGAIN_LATER
    };
    let longest = AGAIN.saturating_mul(1 << tries.min(16)).min(most);
    longest / 2 + longest / 2 * u32::from(chance) / 255
}

/// One byte that nobody can foresee.
fn chance() -> u8 {
    RandomState::new().hash_one(()).to_le_bytes()[0]
}

/// An allocation and what comes in over it.
struct Opened {
    allocation: Allocation,
    incoming: mpsc::Receiver<Incoming>,
    /// It has granted ANY-PEER, which only our relay knows.
    is_ours: bool,
}

/// An allocation that strangers can connect to, at `port` where the relay lends it. A relay of ours says whether it lets
/// everybody in. Other servers let in only whom we permit, unless their operator says otherwise, and say nothing of
/// it; a connection of our own, which nobody permitted, tells. Who `waits` takes no other port while that one is taken.
async fn open(
    server: &TurnServer,
    port: u16,
    instance: Option<Instance>,
    waits: bool,
) -> Result<Opened, Reason> {
    let any_peer = raw(&AnyPeer);
    let us = || instance.as_ref().map(raw).into_iter().chain([raw(&AnyPeer)]);
    let lent = LendPort::new(&(port..=port)).map(|port| raw(&port));
    let (allocation, mut incoming) = match allocate(server, lent.into_iter().chain(us())).await {
        Err(TurnError::Protocol(ProtocolError::Refused(refusal))) if waits && refusal.code == TAKEN => {
            Err(TurnError::Protocol(ProtocolError::Refused(refusal)))
        }
        // The port is somebody else's, or none that this account may have: another one will do.
        Err(TurnError::Protocol(why)) => {
            tracing::info!(%server, port, %why, "the relay does not lend this port");
            allocate(server, us()).await
        }
        other => other,
    }
    .map_err(|error| Reason::Relay(error.to_string()))?;
    if allocation.extra().iter().any(|(kind, _)| *kind == any_peer.0) {
        return Ok(Opened {
            allocation,
            incoming,
            is_ours: true,
        });
    }
    let dialled = timeout(PATIENCE, TcpStream::connect(allocation.relayed())).await;
    let dialled = dialled.ok().and_then(Result::ok);
    match (dialled, timeout(PATIENCE / 2, incoming.recv()).await) {
        (Some(_), Ok(Some(_))) => Ok(Opened {
            allocation,
            incoming,
            is_ours: false,
        }),
        _ => Err(Reason::Relay(format!(
            "its address {} lets nobody connect who has no permission",
            allocation.relayed()
        ))),
    }
}

async fn allocate(
    server: &TurnServer,
    extra: impl IntoIterator<Item = (u16, Vec<u8>)>,
) -> Result<(Allocation, mpsc::Receiver<Incoming>), TurnError> {
    Allocation::open(server, extra.into_iter().collect(), PATIENCE).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_that_restarts_is_asked_within_seconds_and_one_that_stays_away_rarely() {
        for tries in 0..100 {
            assert!(pause(tries, Duration::from_secs(60), 255) <= AGAIN_MOST);
            assert!(pause(tries, Duration::from_secs(60), 0) >= AGAIN / 2);
        }
        assert_eq!(pause(0, Duration::ZERO, 255), AGAIN);
        assert_eq!(pause(100, RESTARTING, 255), AGAIN_LATER);
        assert_eq!(pause(100, RESTARTING, 0), AGAIN_LATER / 2);
    }
}
