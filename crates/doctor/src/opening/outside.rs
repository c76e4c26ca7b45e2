//! Whether the ports can be reached from outside, as the ladder or a running server says.

use pasarela_reach as reach;
use pasarela_reach::{Doubt, Outcome, Proof, Via};
use serde_json::Value;

use crate::Finding;
use crate::advice::opening as kinds;
use crate::network::{self, best, doubt_words, missing, proof_words, tried};

/// What is known of one port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outside {
    /// The port that listens here.
    pub port: u16,
    /// What the outside connects to, and how that is known; `None` where nothing stands.
    pub way: Option<Way>,
    /// What was tried and does not hold, one line each.
    pub refused: Vec<String>,
    /// Why nothing stands and what to do, where nothing does.
    pub missing: Option<(String, String)>,
}

/// A way in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// What the outside connects to.
    pub endpoint: String,
    /// The rung of the ladder.
    pub via: String,
    /// The proof, or what is not known.
    pub known: Result<Proof, Doubt>,
}

impl Outside {
    /// What climbing came to.
    #[must_use]
    pub fn of_ladder(ladder: &reach::Report) -> Self {
        let way = best(ladder).and_then(|rung| {
            let (endpoint, known) = match &rung.outcome {
                Outcome::Verified { endpoint, proof } => (endpoint, Ok(*proof)),
                Outcome::Unproven { endpoint, doubt } => (endpoint, Err(*doubt)),
                Outcome::Refused { .. } | Outcome::Skipped { .. } => return None,
            };
            Some(Way {
                endpoint: endpoint.to_string(),
                via: rung.via.to_string(),
                known,
            })
        });
        let (why, advice) = missing(ladder);
        Self {
            port: ladder.port,
            missing: way.is_none().then(|| (why.to_owned(), advice.to_owned())),
            way,
            refused: tried(ladder).collect(),
        }
    }

    /// What a running server's document says of one of its ports; `None` where it is no such document.
    #[must_use]
    pub fn of_document(port: &Value) -> Option<Self> {
        let number = u16::try_from(port["port"].as_u64()?).ok()?;
        let rungs = port["rungs"].as_array()?;
        let text = |rung: &Value, key: &str| rung[key].as_str().map(ToOwned::to_owned);
        let mut ways: Vec<Way> = rungs
            .iter()
            .filter_map(|rung| {
                let known = match rung["verdict"].as_str()? {
                    "verified" => Ok(serde_json::from_value(rung["proof"].clone()).ok()?),
                    "unproven" => Err(serde_json::from_value(rung["doubt"].clone()).ok()?),
                    _ => return None,
                };
                Some(Way {
                    endpoint: text(rung, "endpoint")?,
                    via: text(rung, "via")?,
                    known,
                })
            })
            .collect();
        if port["view"]["filtering"] == "closed" {
            ways.retain(|way| way.via != Via::Punched.word() || way.known.is_ok());
        }
        // The rungs stand in the ladder's order.
        let order = |way: &Way| (way.known.is_err(), way.endpoint.starts_with('['));
        let best = ways.into_iter().min_by_key(order);
        let refused = rungs
            .iter()
            .filter(|rung| rung["verdict"] == "refused")
            .filter_map(|rung| Some(format!("{}: {}", text(rung, "via")?, text(rung, "reason")?)));
        let advice: Vec<&str> = port["advice"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        Some(Self {
            port: number,
            missing: best
                .is_none()
                .then(|| ("the server has found no way in".to_owned(), advice.join("; "))),
            way: best,
            refused: refused.collect(),
        })
    }

    /// In words.
    #[must_use]
    pub fn finding(&self) -> Finding {
        let port = self.port;
        let refused = self.refused.iter().cloned();
        match (&self.way, &self.missing) {
            (
                Some(Way {
                    endpoint,
                    via,
                    known: Ok(proof),
                }),
                _,
            ) => {
                let says = format!(
                    "port {port} can be reached from outside at {endpoint}: {}",
                    proof_words(*proof)
                );
                Finding::new(&kinds::OUTSIDE_OPEN, says).evidence(via.clone())
            }
            (
                Some(Way {
                    endpoint,
                    via,
                    known: Err(doubt),
                }),
                _,
            ) => {
                let says = format!(
                    "nothing proves that port {port} can be reached from outside at {endpoint}: {}",
                    doubt_words(*doubt)
                );
                Finding::new(&kinds::OUTSIDE_UNPROVEN, says)
                    .evidence(via.clone())
                    .all_evidence(refused)
            }
            (None, missing) => {
                let (why, advice) = missing.clone().unwrap_or_default();
                let says = format!("port {port} cannot be reached from outside: {why}");
                let finding = Finding::new(&kinds::OUTSIDE_CLOSED, says)
                    .all_evidence(refused)
                    .likely();
                match advice.is_empty() {
                    true => finding,
                    false => finding.advice(advice),
                }
            }
        }
    }
}

/// What was said to lead to a port and does not.
#[must_use]
pub fn contradictions(ladder: &reach::Report) -> Vec<Finding> {
    network::contradictions(
        ladder,
        &kinds::PUBLIC_ADDRESS_DIFFERS,
        &kinds::CLOSED_FROM_OUTSIDE,
    )
}

/// What the relays that were named came to, once.
#[must_use]
pub fn relays(ladder: &reach::Report) -> Vec<Finding> {
    let rungs = ladder.rungs.iter().filter(|rung| rung.via == Via::Relayed);
    rungs
        .filter_map(|rung| match &rung.outcome {
            Outcome::Verified { endpoint, .. } | Outcome::Unproven { endpoint, .. } => Some(
                Finding::new(
                    &kinds::RELAY_REACHED,
                    format!("the relay {} can be reached and lends {endpoint}", rung.how),
                )
                .evidence(format!("it answered in {} ms", rung.took.as_millis())),
            ),
            Outcome::Refused { reason } => Some(
                Finding::new(
                    &kinds::RELAY_REFUSED,
                    format!("the relay {} lends nothing", rung.how),
                )
                .evidence(reason.to_string()),
            ),
            Outcome::Skipped { .. } => None,
        })
        .collect()
}
