//! The operator's word: a public address or name, and ports whose number differs outside.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use async_trait::async_trait;

use super::name::Name;
use super::{Strategy, Verdict, announceable, is_behind_nat};
use crate::{Endpoint, NetView, Reason, Via, Want};

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

    /// What the operator says of a listening port, without regard to a peer; `seen` is the address that the Internet
    /// sees.
    ///
    /// # Errors
    /// [`Reason::NotConfigured`] where nothing was said, [`Reason::Unresolved`].
    pub(crate) async fn endpoint(&self, inside: u16, seen: Option<IpAddr>) -> Result<SocketAddr, Reason> {
        let host = match (&self.host, seen) {
            (Some(Host::Address(address)), _) => *address,
            (Some(Host::Name(name)), _) => {
                let none = Ipv4Addr::UNSPECIFIED.into();
                name.ipv4(seen.unwrap_or(none)).await?
            }
            (None, Some(seen)) if self.outside(inside).is_some() => seen,
            (None, _) => return Err(Reason::NotConfigured),
        };
        Ok(SocketAddr::new(host, self.outside(inside).unwrap_or(inside)))
    }

    /// Whether the operator named an address.
    pub(crate) fn names_host(&self) -> bool {
        self.host.is_some()
    }

    /// The number of the router's port, where the operator named one.
    pub(crate) fn outside(&self, inside: u16) -> Option<u16> {
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

    fn judge(&self, want: &Want, view: &NetView) -> Verdict {
        if self.host.is_none() && self.outside(want.port).is_none() {
            return Verdict::Refused(Reason::NotConfigured);
        }
        if want.peer_is_local(view) {
            return Verdict::Refused(Reason::LocalPeer);
        }
        match &self.host {
            Some(Host::Address(address)) => {
                announceable(*address, want).map_or_else(Verdict::Refused, |_| Verdict::Possible)
            }
            Some(Host::Name(_)) | None => Verdict::Possible,
        }
    }

    async fn open(&self, want: &Want, view: &NetView) -> Result<Endpoint, Reason> {
        let own = want.control.ip();
        let host = match &self.host {
            Some(Host::Address(address)) => *address,
            // A port alone needs no answer, so nobody waits for one.
            Some(Host::Name(name)) if want.ipv4_only => name.ipv4(own).await?,
            Some(Host::Name(_)) => own,
            // The operator told the port alone: the address is the one that the Internet sees.
            None if is_behind_nat(own) => view.seen_v4.unwrap_or(own),
            None => own,
        };
        let port = self.outside(want.port).unwrap_or(want.port);
        Ok(Endpoint {
            announce: SocketAddr::new(announceable(host, want)?, port),
            via: Via::Fixed,
        })
    }
}
