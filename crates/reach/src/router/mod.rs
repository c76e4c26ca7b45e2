//! Asking a router for one TCP mapping: PCP, NAT-PMP or UPnP.
//!
//! One question to a router at a time, and no more packets than its answer needs: some routers take minutes over
//! a question that they are going to refuse.

mod exchange;
mod journal;
mod leftover;
mod natpmp;
mod pcp;
mod refusal;
mod upnp;

use std::fmt;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use journal::Journal;
use leftover::How;
pub use leftover::Leftover;
pub use refusal::Refusal;

/// How long a mapping is asked for: what RFC 6886 §3.3 recommends.
pub const LIFETIME: Duration = Duration::from_secs(7200);

/// A mapping that a router promises for longer is renewed as if it were for this long.
const LONGEST: u32 = 24 * 60 * 60;

/// What a router is asked for: that TCP connections to one of its ports come to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The router.
    pub gateway: IpAddr,
    /// The scope id of a link-local gateway; 0 for others.
    pub scope: u32,
    /// Our address towards it ([`source_towards`](crate::survey::source_towards)) and the port that is to be reached.
    /// Behind an inner router: the port that this one has
    /// mapped to us.
    pub inside: SocketAddr,
    /// The address that the router sees instead of ours, where an inner router stands between us.
    pub seen_as: Option<IpAddr>,
    /// The port that we would like to have outside. A pinhole (IPv6) has the inside port whatever stands here.
    pub outside: u16,
    /// For how long, unless renewed.
    pub lifetime: Duration,
    /// Whether PCP and NAT-PMP are asked although the inside port is below 1024. A router that forbids such ports may
    /// hear nobody for minutes then (miniupnpd tries all outside ports one by one); with UPnP it answers at once.
    pub low_port: bool,
}

impl Asked {
    /// One port of ours at this router, the same number outside, for [`LIFETIME`].
    #[must_use]
    pub fn new(gateway: IpAddr, scope: u32, inside: SocketAddr) -> Self {
        Self {
            gateway,
            scope,
            inside,
            seen_as: None,
            outside: inside.port(),
            lifetime: LIFETIME,
            low_port: false,
        }
    }

    fn server(&self, port: u16) -> SocketAddr {
        match self.gateway {
            IpAddr::V4(gateway) => (gateway, port).into(),
            IpAddr::V6(gateway) => SocketAddrV6::new(gateway, port, 0, self.scope).into(),
        }
    }

    /// Who we are to the router.
    fn client(&self) -> SocketAddr {
        SocketAddr::new(self.seen_as.unwrap_or(self.inside.ip()), self.inside.port())
    }

    fn seconds(&self) -> u32 {
        // A pinhole may last a day (WANIPv6FirewallControl:1 §2.5.3), and no mapping needs more.
        u32::try_from(self.lifetime.as_secs())
            .unwrap_or(LONGEST)
            .clamp(1, LONGEST)
    }
}

/// A protocol that routers are asked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// Port Control Protocol (RFC 6887): IPv4 mappings and IPv6 pinholes.
    Pcp,
    /// NAT Port Mapping Protocol (RFC 6886): IPv4 only.
    NatPmp,
    /// UPnP Internet Gateway Device: IPv4 mappings and IPv6 pinholes.
    Upnp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pcp => "PCP",
            Self::NatPmp => "NAT-PMP",
            Self::Upnp => "UPnP",
        })
    }
}

/// What a router has granted.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Granted {
    outside: SocketAddr,
    /// In seconds; without one it holds until it is removed.
    lifetime: Option<u32>,
    how: How,
}

/// A mapping that a router has granted. It does not end by being dropped: [`Mapping::remove`] it.
#[derive(Debug)]
pub struct Mapping {
    asked: Asked,
    lifetime: Option<Duration>,
    leftover: Leftover,
}

impl Mapping {
    fn new(asked: Asked, granted: Granted) -> Self {
        let lifetime = granted.lifetime.map(|seconds| seconds.min(LONGEST));
        Self {
            leftover: Leftover::new(&asked, &granted, lifetime),
            lifetime: lifetime.map(|seconds| Duration::from_secs(seconds.into())),
            asked,
        }
    }

    /// The router's address and port. Whether strangers can use the address is for the caller to judge: behind two
    /// routers the inner one's is private.
    #[must_use]
    pub fn outside(&self) -> SocketAddr {
        self.leftover.outside
    }

    /// What it was asked with.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.leftover.protocol()
    }

    /// How long it holds from when it was granted or renewed; without one, until it is removed.
    #[must_use]
    pub fn lifetime(&self) -> Option<Duration> {
        self.lifetime
    }

    /// When to renew at the latest: at half its life (RFC 6887 §11.2.1), but not within half a minute however short
    /// the router makes it.
    #[must_use]
    pub fn renew_after(&self) -> Duration {
        let half = self.lifetime.map_or(LIFETIME, |lifetime| lifetime / 2);
        half.clamp(Duration::from_secs(30), LIFETIME)
    }

    /// What has to be remembered to remove it in another life of this process.
    #[must_use]
    pub fn leftover(&self) -> &Leftover {
        &self.leftover
    }

    /// Asks for the same again. Afterwards [`Mapping::outside`] and [`Mapping::leftover`] may be others.
    ///
    /// # Errors
    /// Why the router does not grant it any more. The mapping may still hold until its life is over.
    pub async fn renew(&mut self) -> Result<(), Refusal> {
        let mut asked = self.asked.clone();
        asked.outside = self.leftover.outside.port();
        let granted = match &self.leftover.how {
            How::Pcp { server, nonce } => {
                pcp::map(&asked, *server, Some((*nonce, self.outside().ip()))).await
            }
            How::NatPmp { server } => natpmp::map(&asked, *server).await,
            How::Upnp { gateway, control } => upnp::renew_mapping(&asked, *gateway, control).await,
            How::Pinhole { gateway, control, id } => {
                upnp::renew_pinhole(&asked, *gateway, control, *id).await
            }
        }?;
        let wished = self.asked.clone();
        *self = Self::new(wished, granted);
        Ok(())
    }

    /// Takes it back.
    ///
    /// # Errors
    /// Why the router did not; [`Mapping::leftover`] of before can be kept for another try.
    pub async fn remove(self) -> Result<(), Refusal> {
        self.leftover.remove().await
    }
}

/// Asks for a mapping. A future that is dropped may leave a mapping behind that nobody knows of.
///
/// # Errors
/// Why there is none, within 1.8 s (PCP, NAT-PMP) or 8 s (UPnP).
pub async fn map(asked: &Asked, protocol: Protocol) -> Result<Mapping, Refusal> {
    let granted = match protocol {
        Protocol::Pcp | Protocol::NatPmp if asked.inside.port() < 1024 && !asked.low_port => {
            Err(Refusal::LowPort)
        }
        Protocol::Pcp => pcp::map(asked, asked.server(exchange::PORT), None).await,
        Protocol::NatPmp => natpmp::map(asked, asked.server(exchange::PORT)).await,
        Protocol::Upnp => upnp::map(asked, asked.server(upnp::SSDP_PORT)).await,
    }?;
    Ok(Mapping::new(asked.clone(), granted))
}

#[cfg(test)]
mod tests;
