//! The rungs of the ladder: what every way to an endpoint has to answer.

mod direct;
pub(crate) mod fixed;
pub(crate) mod mapped;
mod name;
pub(crate) mod punched;
pub(crate) mod relayed;
mod standing;

use std::fmt::Debug;
use std::net::IpAddr;

use async_trait::async_trait;

use crate::survey::Class;
use crate::{Endpoint, NetView, Reason, Via, Want};
pub(crate) use direct::Direct;
pub(crate) use fixed::Fixed;
pub(crate) use standing::Standing;

/// One way to an endpoint for a peer.
#[async_trait]
pub(crate) trait Strategy: Debug + Send + Sync {
    /// Which one it is.
    fn via(&self) -> Via;

    /// Whether it is worth trying, without a packet sent.
    fn judge(&self, want: &Want, view: &NetView) -> Verdict;

    /// Tries; only what was judged [`Verdict::Possible`] is.
    async fn open(&self, want: &Want, view: &NetView) -> Result<Endpoint, Reason>;
}

/// What can be said of a strategy before it is tried.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It may hold.
    Possible,
    /// It cannot.
    Refused(Reason),
}

/// Whether `host` can be announced to this peer; where a port alone is announced any will do.
pub(crate) fn announceable(host: IpAddr, want: &Want) -> Result<IpAddr, Reason> {
    if !want.ipv4_only {
        Ok(host)
    } else if host.is_ipv6() {
        Err(Reason::NoIpv4)
    } else if (host.is_loopback() || host.is_unspecified()) && !want.peer.is_loopback() {
        Err(Reason::OnlyHere(host))
    } else {
        Ok(host)
    }
}

/// Whether an address of ours is one that a router replaces by another on the way out.
pub(crate) fn is_behind_nat(own: IpAddr) -> bool {
    matches!(Class::of(own), Class::Private | Class::Shared | Class::LinkLocal) && own.is_ipv4()
}
