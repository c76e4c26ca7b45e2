//! The operator's word: a public address or name, and ports whose number differs outside.

use std::net::{IpAddr, SocketAddr};

use async_trait::async_trait;

use super::name::Name;
use super::{Strategy, Verdict, announceable};
use crate::{Endpoint, Reason, Via, Want};

/// What the operator says the outside sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicHost {
    /// An address.
    Address(IpAddr),
    /// A DNS name, resolved again as time goes by; the last good answer is kept.
    Name(String),
}

/// A statically forwarded port whose outside number differs from the inside one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forward {
    /// The router's port.
    pub outside: u16,
    /// The port that listens here.
    pub inside: u16,
}

/// What holds for every peer that is not on the local network.
#[derive(Debug)]
pub(crate) struct Fixed {
    host: Option<Host>,
    forwards: Vec<Forward>,
}

#[derive(Debug)]
enum Host {
    Address(IpAddr),
    Name(Name),
}

impl Fixed {
    pub(crate) fn new(public: Option<PublicHost>, forwards: Vec<Forward>) -> Self {
        let host = public.map(|public| match public {
            PublicHost::Address(address) => Host::Address(address.to_canonical()),
            PublicHost::Name(name) => Host::Name(Name::new(name)),
        });
        Self { host, forwards }
    }

    /// The number of the router's port, where the operator named one.
    fn outside(&self, inside: u16) -> Option<u16> {
        self.forwards
            .iter()
            .find(|forward| forward.inside == inside)
            .map(|forward| forward.outside)
    }
}

#[async_trait]
impl Strategy for Fixed {
    fn via(&self) -> Via {
        Via::Fixed
    }

    fn judge(&self, want: &Want) -> Verdict {
        if self.host.is_none() && self.outside(want.port).is_none() {
            return Verdict::Refused(Reason::NotConfigured);
        }
        if want.peer_is_local() {
            return Verdict::Refused(Reason::LocalPeer);
        }
        match &self.host {
            Some(Host::Address(address)) => {
                announceable(*address, want).map_or_else(Verdict::Refused, |_| Verdict::Possible)
            }
            Some(Host::Name(_)) | None => Verdict::Possible,
        }
    }

    async fn open(&self, want: &Want) -> Result<Endpoint, Reason> {
        let own = want.control.ip();
        let host = match &self.host {
            Some(Host::Address(address)) => *address,
            // A port alone needs no answer, so nobody waits for one.
            Some(Host::Name(name)) if want.ipv4_only => name.ipv4(own).await?,
            Some(Host::Name(_)) | None => own,
        };
        let port = self.outside(want.port).unwrap_or(want.port);
        Ok(Endpoint {
            announce: SocketAddr::new(announceable(host, want)?, port),
            via: Via::Fixed,
        })
    }
}
