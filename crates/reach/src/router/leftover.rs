//! What has to be remembered of a mapping to take it back in another life of this process.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::pcp::Nonce;
use super::upnp::Control;
use super::{Asked, Granted, Protocol, Refusal, natpmp, pcp, upnp};

/// A mapping as it is written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leftover {
    /// Our address and port.
    pub inside: SocketAddr,
    /// The router's address and port.
    pub outside: SocketAddr,
    /// When it ends by itself, in seconds since 1970; without one it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<u64>,
    /// The address that the router sees instead of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seen_as: Option<IpAddr>,
    pub(super) how: How,
}

/// Who was asked, and what proves that it is ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "protocol", rename_all = "kebab-case")]
pub(super) enum How {
    Pcp {
        server: SocketAddr,
        nonce: Nonce,
    },
    NatPmp {
        server: SocketAddr,
    },
    Upnp {
        gateway: SocketAddr,
        control: Control,
    },
    Pinhole {
        gateway: SocketAddr,
        control: Control,
        id: u16,
    },
}

impl Leftover {
    pub(super) fn new(asked: &Asked, granted: &Granted, lifetime: Option<u32>) -> Self {
        Self {
            inside: asked.inside,
            outside: granted.outside,
            until: lifetime.map(|seconds| now().saturating_add(seconds.into())),
            seen_as: asked.seen_as,
            how: granted.how.clone(),
        }
    }

    /// What it was asked with.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        match self.how {
            How::Pcp { .. } => Protocol::Pcp,
            How::NatPmp { .. } => Protocol::NatPmp,
            How::Upnp { .. } | How::Pinhole { .. } => Protocol::Upnp,
        }
    }

    /// The router that it is on.
    #[must_use]
    pub fn router(&self) -> IpAddr {
        match &self.how {
            How::Pcp { server, .. } | How::NatPmp { server } => server.ip(),
            How::Upnp { gateway, .. } | How::Pinhole { gateway, .. } => gateway.ip(),
        }
    }

    /// Whether it has ended by itself.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.until.is_some_and(|until| until <= now())
    }

    /// Whether the other one is an earlier state of this one: the same port of ours at the same router.
    pub(super) fn replaces(&self, other: &Self) -> bool {
        self.inside == other.inside
            && match (&self.how, &other.how) {
                (How::Pcp { server: a, .. }, How::Pcp { server: b, .. })
                | (How::NatPmp { server: a }, How::NatPmp { server: b }) => a == b,
                (How::Upnp { gateway: a, .. }, How::Upnp { gateway: b, .. }) => {
                    a == b && self.outside.port() == other.outside.port()
                }
                (
                    How::Pinhole { gateway: a, id, .. },
                    How::Pinhole {
                        gateway: b,
                        id: other,
                        ..
                    },
                ) => a == b && id == other,
                _ => false,
            }
    }

    /// Takes the mapping back. The question leaves from the address that the mapping is for: if that is no longer
    /// this machine's, nothing is sent.
    ///
    /// # Errors
    /// Why it was not taken back.
    pub async fn remove(&self) -> Result<(), Refusal> {
        let from = self.inside.ip();
        let client = SocketAddr::new(self.seen_as.unwrap_or(from), self.inside.port());
        match &self.how {
            How::Pcp { server, nonce } => pcp::unmap(from, client, *server, *nonce).await,
            How::NatPmp { server } => natpmp::unmap(from, client.port(), *server).await,
            How::Upnp { gateway, control } => {
                upnp::remove_mapping(from, client, *gateway, control, self.outside.port()).await
            }
            How::Pinhole { gateway, control, id } => upnp::remove_pinhole(from, *gateway, control, *id).await,
        }
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or(Duration::ZERO).as_secs()
}
