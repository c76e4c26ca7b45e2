//! "An endpoint this peer can connect to", and why not otherwise.
//!
//! The ladder: each strategy judges without a packet, then opens; the first success wins and every refusal is
//! kept with its reason.

mod endpoint;
mod strategy;
pub mod stun;
pub mod turn;
mod want;

use std::sync::Arc;

pub use endpoint::{Endpoint, Reason, Unreachable, Via};
pub use strategy::fixed::{Forward, PublicHost};
use strategy::{Direct, Fixed, Strategy, Verdict};
pub use want::Want;

/// The ladder. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Reach {
    rungs: Arc<[Box<dyn Strategy>]>,
}

impl Default for Reach {
    /// The ladder for an operator who said nothing.
    fn default() -> Self {
        Self::new(None, Vec::new())
    }
}

impl Reach {
    /// The ladder for an operator who said this much.
    #[must_use]
    pub fn new(public: Option<PublicHost>, forwards: Vec<Forward>) -> Self {
        // The operator's word goes before what we see ourselves.
        Self {
            rungs: [
                Box::new(Fixed::new(public, forwards)) as Box<dyn Strategy>,
                Box::new(Direct),
            ]
            .into(),
        }
    }

    /// An endpoint for this peer.
    ///
    /// # Errors
    /// [`Unreachable`] with the reason of every rung.
    pub async fn passive_open(&self, want: &Want) -> Result<Endpoint, Unreachable> {
        let want = want.canonical();
        let mut refusals = Vec::new();
        for rung in &*self.rungs {
            let opened = match rung.judge(&want) {
                Verdict::Possible => rung.open(&want).await,
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
}

#[cfg(test)]
mod tests;
