//! What somebody outside says of our endpoints: a relay of ours connects to them when it is asked to
//! ([`pasarela_nat_proto::extension::DialBack`]).

use std::collections::BTreeMap;
use std::net::SocketAddr;

use pasarela_nat_proto::extension::Dialled;

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

/// What came of dialling each endpoint.
pub(crate) type Verdicts = BTreeMap<SocketAddr, Dialled>;

/// Has the relay dial what stands without proof at the address that it sees us at. What it does not tell is left out;
/// it takes 6 s at most, and 3 s where a filter swallows the attempt.
pub(crate) async fn ask(allocation: &Allocation, rungs: &[Rung]) -> Verdicts {
    let endpoints = doubted(rungs, allocation.mapped());
    let dial = |index: usize| {
        let endpoint = endpoints.get(index).copied();
        async move {
            let endpoint = endpoint?;
            match allocation.dial_back(endpoint.port()).await {
                Ok(dialled) => Some((endpoint, dialled?)),
                Err(error) => {
                    tracing::debug!(%endpoint, %error, "the relay did not dial back");
                    None
                }
            }
        }
    };
    let (first, second, third) = tokio::join!(dial(0), dial(1), dial(2));
    [first, second, third].into_iter().flatten().collect()
}

/// What can be dialled and should be, in the ladder's order: the relay connects to `seen`'s address alone.
fn doubted(rungs: &[Rung], seen: SocketAddr) -> Vec<SocketAddr> {
    let mut endpoints = Vec::new();
    for rung in rungs {
        if let Outcome::Unproven { endpoint, .. } = rung.outcome
            && endpoint.ip().to_canonical() == seen.ip().to_canonical()
            && !endpoints.contains(&endpoint)
        {
            endpoints.push(endpoint);
        }
    }
    endpoints.truncate(MAX_DIALS);
    endpoints
}

/// Applies the verdicts. `is_known_to_relay` says of an endpoint that we have sent to the relay from it: a NAT that lets
/// in only those whom we have sent to lets the relay in, which proves nothing for others.
pub(crate) fn judge(rungs: &mut [Rung], verdicts: &Verdicts, is_known_to_relay: impl Fn(SocketAddr) -> bool) {
    for rung in rungs {
        let Outcome::Unproven { endpoint, .. } = rung.outcome else {
            continue;
        };
        let Some(dialled) = verdicts.get(&endpoint) else {
            continue;
        };
        let refused = |how| Outcome::Refused {
            reason: crate::Reason::DialledBack(endpoint, how),
        };
        rung.outcome = match dialled {
            Dialled::Connected if !is_known_to_relay(endpoint) => Outcome::Verified {
                endpoint,
                proof: Proof::DialBack,
            },
            Dialled::Refused => refused(Unanswered::Refused),
            Dialled::TimedOut => refused(Unanswered::TimedOut),
            // No way from there says nothing of the way from elsewhere.
            Dialled::Connected | Dialled::Unreachable | Dialled::NotYet => continue,
        };
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::report::Doubt;
    use crate::{Reason, Via};

    const ENDPOINT: &str = "203.0.113.7:2121";

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn unproven(via: Via, endpoint: &str) -> Rung {
        Rung {
            via,
            how: String::new(),
            outcome: Outcome::Unproven {
                endpoint: at(endpoint),
                doubt: Doubt::Filtering,
            },
            took: Duration::ZERO,
        }
    }

    /// What becomes of an unproven rung.
    fn judged(dialled: Dialled, is_known_to_relay: bool) -> Outcome {
        let mut rungs = [unproven(Via::Punched, ENDPOINT)];
        let verdicts = Verdicts::from([(at(ENDPOINT), dialled)]);
        judge(&mut rungs, &verdicts, |_| is_known_to_relay);
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
        let verdicts = Verdicts::from([(at(ENDPOINT), Dialled::TimedOut)]);
        judge(&mut rungs, &verdicts, |_| false);
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
        let mut rungs = vec![
            unproven(Via::Direct, "[2001:db8::1]:2121"),
            unproven(Via::Fixed, "198.51.100.9:2121"),
            unproven(Via::Mapped, ENDPOINT),
            unproven(Via::Punched, ENDPOINT),
        ];
        let seen = at("203.0.113.7:60000");
        assert_eq!(doubted(&rungs, seen), [at(ENDPOINT)]);
        let written_as_ipv6 = at("[::ffff:203.0.113.7]:60000");
        assert_eq!(doubted(&rungs, written_as_ipv6), [at(ENDPOINT)]);
        rungs.extend((1..10).map(|port| unproven(Via::Mapped, &format!("203.0.113.7:{port}"))));
        assert_eq!(doubted(&rungs, seen).len(), MAX_DIALS);
    }
}
