//! What somebody outside says of our endpoints: a relay of ours connects to them when it is asked to
//! ([`pasarela_nat_proto::extension::DialBack`]).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use pasarela_nat_proto::extension::Dialled;

use crate::Reason;
use crate::report::{Outcome, Proof, Rung};
use crate::turn::Allocation;

/// As many endpoints are dialled at most, all at a time.
const MAX_DIALS: usize = 3;

/// How nobody answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Unanswered {
    /// Something there said that nobody listens.
    #[error("connection refused")]
    Refused,
    /// Nothing answered.
    #[error("no answer")]
    TimedOut,
}

/// How long a verdict is worth something, as relays limit how often they are asked: what was closed may have been opened
/// meanwhile.
const OPEN: Duration = Duration::from_secs(10);
const CLOSED: Duration = Duration::from_secs(2);

/// What came of dialling each endpoint of late.
#[derive(Debug, Default)]
pub(crate) struct Verdicts(BTreeMap<SocketAddr, (Instant, Dialled)>);

impl Verdicts {
    /// Has the relay dial what may not be open to strangers, at the address that it sees us at, and applies what it
    /// tells; what was dialled a moment ago is not dialled again. It takes 6 s at most, and 3 s where a filter swallows
    /// the attempt.
    ///
    /// `is_known_to_relay` says of an endpoint that we have sent to the relay from it: a NAT that lets in only those
    /// whom we have sent to lets the relay in, which proves nothing for others.
    pub(crate) async fn judge(
        &mut self,
        allocation: &Allocation,
        rungs: &mut [Rung],
        is_known_to_relay: impl Fn(SocketAddr) -> bool,
    ) {
        self.0
            .retain(|_, (when, dialled)| when.elapsed() < fresh(*dialled));
        let mut unknown = doubted(rungs, allocation.mapped());
        unknown.retain(|endpoint| !self.0.contains_key(endpoint));
        unknown.truncate(MAX_DIALS);
        let dial = |index: usize| {
            let endpoint = unknown.get(index).copied();
            async move {
                let endpoint = endpoint?;
                Some((endpoint, dial(allocation, endpoint).await?))
            }
        };
        let (first, second, third) = tokio::join!(dial(0), dial(1), dial(2));
        let now = Instant::now();
        let told = [first, second, third].into_iter().flatten();
        self.0
            .extend(told.map(|(endpoint, dialled)| (endpoint, (now, dialled))));
        self.apply(rungs, is_known_to_relay);
    }

    /// How nobody gets in any more where somebody could; asked twice before that is told.
    pub(crate) async fn lost(&mut self, allocation: &Allocation, endpoint: SocketAddr) -> Option<Unanswered> {
        self.0.remove(&endpoint);
        if endpoint.ip().to_canonical() != allocation.mapped().ip().to_canonical() {
            return None;
        }
        dial(allocation, endpoint).await.and_then(unanswered)?;
        dial(allocation, endpoint).await.and_then(unanswered)
    }

    fn apply(&self, rungs: &mut [Rung], is_known_to_relay: impl Fn(SocketAddr) -> bool) {
        for rung in rungs {
            let Some(endpoint) = doubtful(&rung.outcome) else {
                continue;
            };
            let Some((_, dialled)) = self.0.get(&endpoint) else {
                continue;
            };
            match (*dialled, unanswered(*dialled)) {
                (Dialled::Connected, _) if !is_known_to_relay(endpoint) => {
                    let proof = Proof::DialBack;
                    rung.outcome = Outcome::Verified { endpoint, proof };
                }
                (_, Some(how)) => {
                    let reason = Reason::DialledBack(endpoint, how);
                    rung.outcome = Outcome::Refused { reason };
                }
                _ => {}
            }
        }
    }
}

/// That it is closed, if this says so: no way from the relay says nothing of the way from elsewhere.
fn unanswered(dialled: Dialled) -> Option<Unanswered> {
    match dialled {
        Dialled::Refused => Some(Unanswered::Refused),
        Dialled::TimedOut => Some(Unanswered::TimedOut),
        Dialled::Connected | Dialled::Unreachable | Dialled::NotYet => None,
    }
}

fn fresh(dialled: Dialled) -> Duration {
    match dialled {
        Dialled::Connected => OPEN,
        _ => CLOSED,
    }
}

/// Whether the relay can connect there, at the address that it sees us at.
pub(crate) async fn opens(allocation: &Allocation, endpoint: SocketAddr) -> bool {
    endpoint.ip().to_canonical() == allocation.mapped().ip().to_canonical()
        && dial(allocation, endpoint).await == Some(Dialled::Connected)
}

/// What the relay finds there; nothing where it does not tell.
async fn dial(allocation: &Allocation, endpoint: SocketAddr) -> Option<Dialled> {
    allocation
        .dial_back(endpoint.port())
        .await
        .unwrap_or_else(|error| {
            tracing::debug!(%endpoint, %error, "the relay did not dial back");
            None
        })
}

/// What stands without anybody having come: unproven, or by the word of those who need not know of a firewall.
fn doubtful(outcome: &Outcome) -> Option<SocketAddr> {
    match outcome {
        Outcome::Unproven { endpoint, .. }
        | Outcome::Verified {
            endpoint,
            proof: Proof::Router | Proof::RouterAndStun | Proof::OwnAddressSeen,
        } => Some(*endpoint),
        _ => None,
    }
}

/// What can be dialled and should be, in the ladder's order: the relay connects to `seen`'s address alone.
fn doubted(rungs: &[Rung], seen: SocketAddr) -> Vec<SocketAddr> {
    let mut endpoints = Vec::new();
    for rung in rungs {
        if let Some(endpoint) = doubtful(&rung.outcome)
            && endpoint.ip().to_canonical() == seen.ip().to_canonical()
            && !endpoints.contains(&endpoint)
        {
            endpoints.push(endpoint);
        }
    }
    endpoints
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Via;
    use crate::report::Doubt;

    const ENDPOINT: &str = "203.0.113.7:2121";

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn unproven(via: Via, endpoint: &str) -> Rung {
        Rung {
            via,
            asked: None,
            how: String::new(),
            outcome: Outcome::Unproven {
                endpoint: at(endpoint),
                doubt: Doubt::Filtering,
            },
            took: Duration::ZERO,
        }
    }

    fn told(dialled: Dialled) -> Verdicts {
        Verdicts(BTreeMap::from([(at(ENDPOINT), (Instant::now(), dialled))]))
    }

    /// What becomes of an unproven rung.
    fn judged(dialled: Dialled, is_known_to_relay: bool) -> Outcome {
        let mut rungs = [unproven(Via::Punched, ENDPOINT)];
        told(dialled).apply(&mut rungs, |_| is_known_to_relay);
        rungs[0].outcome.clone()
    }

    #[test]
    fn who_could_connect_has_proved_it() {
        assert!(judged(Dialled::Connected, false).has_proof(Proof::DialBack));
    }

    #[test]
    fn a_relay_that_we_have_sent_to_proves_nothing_by_getting_in() {
        assert!(matches!(
            judged(Dialled::Connected, true),
            Outcome::Unproven { .. }
        ));
    }

    #[test]
    fn what_nobody_can_connect_to_does_not_stand() {
        for (dialled, words) in [
            (Dialled::Refused, "connection refused"),
            (Dialled::TimedOut, "no answer"),
        ] {
            for is_known_to_relay in [false, true] {
                let Outcome::Refused { reason } = judged(dialled, is_known_to_relay) else {
                    panic!("{dialled:?} leaves it standing");
                };
                let told = format!("nobody outside could connect to {ENDPOINT}: {words}");
                assert_eq!(reason.to_string(), told);
            }
        }
    }

    #[test]
    fn no_way_from_the_relay_says_nothing() {
        assert!(matches!(
            judged(Dialled::Unreachable, false),
            Outcome::Unproven { .. }
        ));
    }

    #[test]
    fn a_verdict_is_for_one_endpoint_and_for_what_had_no_proof() {
        let proved = Rung {
            outcome: Outcome::Verified {
                endpoint: at(ENDPOINT),
                proof: Proof::OwnDial,
            },
            ..unproven(Via::Fixed, ENDPOINT)
        };
        let mut rungs = [
            proved,
            unproven(Via::Mapped, "203.0.113.7:50000"),
            unproven(Via::Punched, ENDPOINT),
        ];
        told(Dialled::TimedOut).apply(&mut rungs, |_| false);
        assert!(rungs[0].outcome.has_proof(Proof::OwnDial));
        assert!(matches!(rungs[1].outcome, Outcome::Unproven { .. }));
        assert!(matches!(
            rungs[2].outcome,
            Outcome::Refused {
                reason: Reason::DialledBack(..)
            }
        ));
    }

    #[test]
    fn each_doubted_endpoint_at_the_address_that_the_relay_sees_is_dialled_once() {
        let rungs = [
            unproven(Via::Direct, "[2001:db8::1]:2121"),
            unproven(Via::Fixed, "198.51.100.9:2121"),
            unproven(Via::Mapped, ENDPOINT),
            unproven(Via::Punched, ENDPOINT),
        ];
        let seen = at("203.0.113.7:60000");
        assert_eq!(doubted(&rungs, seen), [at(ENDPOINT)]);
        let written_as_ipv6 = at("[::ffff:203.0.113.7]:60000");
        assert_eq!(doubted(&rungs, written_as_ipv6), [at(ENDPOINT)]);
    }

    #[test]
    fn the_routers_word_is_not_enough_where_nobody_outside_gets_in() {
        for proof in [Proof::Router, Proof::RouterAndStun, Proof::OwnAddressSeen] {
            let word = Rung {
                outcome: Outcome::Verified {
                    endpoint: at(ENDPOINT),
                    proof,
                },
                ..unproven(Via::Mapped, ENDPOINT)
            };
            let mut rungs = [word.clone(), word];
            told(Dialled::Unreachable).apply(&mut rungs[..1], |_| false);
            assert!(rungs[0].outcome.has_proof(proof));
            told(Dialled::Connected).apply(&mut rungs[..1], |_| false);
            assert!(rungs[0].outcome.has_proof(Proof::DialBack));
            told(Dialled::TimedOut).apply(&mut rungs[1..], |_| false);
            assert_eq!(rungs[1].outcome.endpoint(), None);
        }
    }
}
