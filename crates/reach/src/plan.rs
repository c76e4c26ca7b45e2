//! What the operator allows and names.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::turn::TurnServer;
use crate::{Forward, PublicHost, Via};

/// What the operator allows and names.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The rungs that may be tried. [`Via::Direct`] sends nothing and always holds for peers that it fits.
    pub rungs: BTreeSet<Via>,
    /// The public address or name.
    pub public: Option<PublicHost>,
    /// Forwarded ports whose number differs outside.
    pub forwards: Vec<Forward>,
    /// STUN servers, `host:port`.
    pub stun: Vec<String>,
    /// TURN servers, the first that answers is used.
    pub turn: Vec<TurnServer>,
    /// Where to keep the record of mappings that have to be given back after a crash.
    pub journal: Option<PathBuf>,
}

impl Default for Plan {
    /// Nothing that sends a packet.
    fn default() -> Self {
        Self {
            rungs: BTreeSet::from([Via::Direct, Via::Fixed]),
            public: None,
            forwards: Vec::new(),
            stun: Vec::new(),
            turn: Vec::new(),
            journal: None,
        }
    }
}

impl Plan {
    /// Whether a listening socket has to share its port, so that a STUN server can be asked from it.
    #[must_use]
    pub fn shares_port(&self) -> bool {
        self.rungs.contains(&Via::Punched) && !self.stun.is_empty()
    }

    /// Whether anything is to be done beyond waiting for peers.
    #[must_use]
    pub fn climbs(&self) -> bool {
        self.rungs
            .iter()
            .any(|via| matches!(via, Via::Mapped | Via::Punched | Via::Relayed))
            || !self.stun.is_empty()
    }
}
