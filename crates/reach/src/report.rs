//! What climbing the ladder came to: each rung with its answer, and what that says of the network.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use crate::router::Protocol;
use crate::survey::Class;
use crate::{Reason, Situation, Via};

/// The ladder of one listening port, as it stands.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The port that listens here.
    pub port: u16,
    /// The scheme of its URL; `None` for a data port.
    pub scheme: Option<&'static str>,
    /// What was tried, in the order of the ladder.
    pub rungs: Vec<Rung>,
    /// What kind of network this is, as far as it shows; the most important first.
    pub situation: Vec<Situation>,
    /// What this machine and the Internet know of its addresses.
    pub view: NetView,
    /// Whether every question has been answered; what is not yet known only adds to the rest.
    pub settled: bool,
}

/// One rung that was tried, or why it was not.
#[derive(Debug, Clone, Serialize)]
pub struct Rung {
    /// Which one.
    pub via: Via,
    /// How: a protocol, a server.
    pub how: String,
    /// For a mapping: who was asked, and by which protocol.
    #[serde(skip)]
    pub asked: Option<(Router, Protocol)>,
    /// What it came to.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// How long that took.
    #[serde(rename = "ms", serialize_with = "milliseconds")]
    pub took: Duration,
}

/// A router that can be asked for a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Router {
    /// This machine's own, for IPv4.
    Own,
    /// The next one out behind two, for IPv4.
    Next,
    /// This machine's own, for a pinhole in its IPv6 firewall.
    Ipv6,
}

/// What a rung came to.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "lowercase", tag = "verdict")]
pub enum Outcome {
    /// It stands, and this is how that is known.
    Verified {
        /// What the outside connects to.
        endpoint: SocketAddr,
        /// How it is known.
        proof: Proof,
    },
    /// It stands as far as can be known from here; only a connection from outside could prove it.
    Unproven {
        /// What the outside would connect to.
        endpoint: SocketAddr,
        /// What is not known.
        doubt: Doubt,
    },
    /// It does not hold.
    Refused {
        /// Why.
        #[serde(serialize_with = "shown")]
        reason: Reason,
    },
    /// It was not tried.
    Skipped {
        /// Why.
        #[serde(serialize_with = "shown")]
        reason: Reason,
    },
}

impl Outcome {
    /// What the outside connects to, if it stands.
    #[must_use]
    pub fn endpoint(&self) -> Option<SocketAddr> {
        match self {
            Self::Verified { endpoint, .. } | Self::Unproven { endpoint, .. } => Some(*endpoint),
            Self::Refused { .. } | Self::Skipped { .. } => None,
        }
    }

    /// Whether it is known to stand in this way.
    #[must_use]
    pub fn has_proof(&self, wanted: Proof) -> bool {
        matches!(self, Self::Verified { proof, .. } if *proof == wanted)
    }

    /// Whether it is known to stand.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        matches!(self, Self::Verified { .. })
    }
}

/// How a standing endpoint is known to stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proof {
    /// Somebody outside connected to it at our request.
    DialBack,
    /// Peers from outside have come through it.
    PeersCame,
    /// We reached our own server by dialling it (the router turns such connections back in).
    OwnDial,
    /// The router says that it forwards the port, and the Internet sees us at the router's address.
    RouterAndStun,
    /// The router says that it forwards the port, and its own address is public.
    Router,
    /// The Internet sees us at our own address.
    OwnAddressSeen,
    /// A relay lends it.
    Relay,
}

/// What is not known of an endpoint that may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Doubt {
    /// A firewall may stand before it.
    Firewall,
    /// Whether the router forwards the port.
    Forward,
    /// Whether the NAT lets strangers in (filtering, RFC 4787 §5).
    Filtering,
    /// Whether the name or address is right.
    OperatorsWord,
    /// Whether the inner router forwards what the outer one does.
    InnerForward,
}

/// What this machine and the Internet know of its addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NetView {
    /// The IPv4 address that connections leave from.
    pub source_v4: Option<std::net::Ipv4Addr>,
    /// The global IPv6 address that connections leave from.
    pub source_v6: Option<std::net::Ipv6Addr>,
    /// The router.
    pub gateway_v4: Option<std::net::Ipv4Addr>,
    /// The router.
    pub gateway_v6: Option<std::net::Ipv6Addr>,
    /// The IPv4 address that the Internet sees.
    pub seen_v4: Option<IpAddr>,
    /// The routers on the way out that have private addresses, the nearest first.
    pub hops: Vec<IpAddr>,
    /// Whom the NAT lets in over UDP (RFC 4787 §5); TCP may differ.
    pub filtering: Option<Filtering>,
}

/// Whom a NAT lets in to a port that we have sent from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Filtering {
    /// Everybody.
    Open,
    /// Those whom we have sent to.
    Closed,
}

impl NetView {
    /// Whether what leads here from outside is still the same: our address, the router, what the Internet sees.
    pub(crate) fn is_same_network(&self, other: &Self) -> bool {
        let way = |view: &Self| (view.source_v4, view.gateway_v4, view.seen_v4);
        way(self) == way(other)
    }

    /// Whether the second router out is the carrier's (RFC 6598).
    pub(crate) fn beyond_carrier(&self) -> bool {
        self.hops.iter().any(|hop| Class::is_carriers(*hop))
    }

    /// Whether another private router stands beyond the first.
    pub(crate) fn has_second_router(&self) -> bool {
        self.hops.len() > 1
    }
}

impl Report {
    /// The best rung that stands: verified before unproven, IPv4 before IPv6 (every client has it), then by the
    /// ladder's order.
    #[must_use]
    pub fn best(&self) -> Option<&Rung> {
        let standing = self.rungs.iter().filter(|rung| rung.outcome.endpoint().is_some());
        standing.min_by_key(|rung| {
            let is_v6 = rung.outcome.endpoint().is_some_and(|endpoint| endpoint.is_ipv6());
            (!rung.outcome.is_verified(), is_v6, rung.via)
        })
    }
}

impl Report {
    /// What to change, where something should be.
    #[must_use]
    pub fn advice(&self) -> Vec<&'static str> {
        let verified = self.best().is_some_and(|best| best.outcome.is_verified());
        let told = self.situation.iter();
        told.filter(|told| !verified || **told == Situation::NoHairpin)
            .filter_map(|told| told.advice())
            .collect()
    }

    /// The URL of the best rung.
    #[must_use]
    pub fn url(&self) -> Option<String> {
        let endpoint = self.best()?.outcome.endpoint()?;
        Some(format!("{}://{endpoint}", self.scheme?))
    }
}

fn milliseconds<S: Serializer>(took: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(took.as_millis()).unwrap_or(u64::MAX))
}

fn shown<S: Serializer>(reason: &Reason, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(reason)
}
