//! Why a router did not do what it was asked.

use std::io;
use std::net::{IpAddr, SocketAddr};

/// Why a router did not do what it was asked, as it said so itself or as its silence did.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Nothing came back in time.
    #[error("the router does not answer")]
    NoAnswer,
    /// The router says that nobody listens there.
    #[error("the router has no such service")]
    PortUnreachable,
    /// This machine cannot send there.
    #[error("this machine cannot send to the router: {0}")]
    Unreachable(io::ErrorKind),
    /// The mapping is for an address that this machine does not have, or not any more.
    #[error("{0} is not an address of this machine")]
    NotOurs(IpAddr),
    /// The router was not asked.
    #[error("routers are not asked for ports below 1024 this way")]
    LowPort,
    /// The router speaks another version, for PCP often NAT-PMP.
    #[error("the router speaks another version of the protocol")]
    VersionMismatch,
    /// The router's policy: mappings are off, or this port is forbidden.
    #[error("the router does not allow it")]
    NotAuthorized,
    /// The router has no mapping left to give, or sits behind another NAT and knows it.
    #[error("the router has nothing left to map with")]
    NoResources,
    /// We have as many as we may have.
    #[error("the router allows no more mappings to this machine")]
    UserExceededQuota,
    /// The router itself is not connected.
    #[error("the router has no connection to the Internet")]
    NetworkFailure,
    /// The router cannot give such an address or port; often it is itself behind a NAT.
    #[error("the router cannot provide an outside address and port")]
    CannotProvideExternal,
    /// The router sees another address than the one that we ask for.
    #[error("the router sees another address than this machine's: a NAT stands between")]
    AddressMismatch,
    /// The router does not know the operation, the protocol or an option.
    #[error("the router does not support it")]
    Unsupported,
    /// All ports that were tried belong to somebody else; the last one.
    #[error("port {0} of the router belongs to another machine")]
    PortTaken(u16),
    /// The pinhole is not what was asked for: the router translates IPv6 addresses.
    #[error("the router opened {0}, which is not this machine")]
    OtherOutside(SocketAddr),
    /// Another result code of PCP (RFC 6887 §7.4) or NAT-PMP (RFC 6886 §3.5), or a status of HTTP.
    #[error("the router answers with code {0}")]
    Code(u16),
    /// Another error of UPnP, with the router's own words.
    #[error("the router answers with code {code} ({text})")]
    Upnp {
        /// The number, from the service's document.
        code: u16,
        /// The router's words, without control characters, at most 100 characters.
        text: String,
    },
    /// What came back is no answer of the protocol.
    #[error("the router's answer is not understood: {0}")]
    Malformed(&'static str),
    /// What came back came from, or points to, a machine that is not the router.
    #[error("the answer is from {0}, which is not the router")]
    Foreign(String),
    /// The description of the router has no service that maps ports.
    #[error("the router describes no service that maps ports")]
    NoService,
}

impl Refusal {
    /// What the operating system said about a socket.
    pub(super) fn from_io(error: &io::Error) -> Self {
        match error.kind() {
            // An ICMP port unreachable (UDP), a reset (TCP).
            io::ErrorKind::ConnectionRefused => Self::PortUnreachable,
            io::ErrorKind::TimedOut => Self::NoAnswer,
            kind => Self::Unreachable(kind),
        }
    }

    /// Words from the network, made fit to be shown.
    pub(super) fn upnp(code: u16, text: &str) -> Self {
        Self::Upnp {
            code,
            text: printable(text),
        }
    }

    pub(super) fn foreign(text: &str) -> Self {
        Self::Foreign(printable(text))
    }
}

fn printable(text: &str) -> String {
    let shown = text.trim().chars().take(100);
    shown.map(|c| if c.is_control() { ' ' } else { c }).collect()
}
