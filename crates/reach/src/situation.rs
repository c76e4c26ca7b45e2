//! What kind of network this is, as far as the rungs of the ladder show it, and what to do about it.

use serde::Serialize;

use crate::report::{Filtering, NetView, Outcome, Proof, Rung};
use crate::survey::Class;
use crate::{Reason, Via};

/// What kind of network this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Situation {
    /// This machine has a public IPv4 address.
    Public,
    /// A router that maps ports at our request.
    Mapped,
    /// The operator's word describes a forward.
    Forwarded,
    /// A NAT that keeps our port for every destination; whom it lets in is not known.
    PortKeepingNat,
    /// A NAT that keeps our port and lets everybody in, as far as UDP shows.
    FullConeNat,
    /// A NAT that keeps our port and lets in only whom we have sent to, as far as UDP or a dial-back shows.
    RestrictedNat,
    /// The router does not turn connections to its public address back in.
    NoHairpin,
    /// A NAT that gives every connection another port.
    SymmetricNat,
    /// Another router stands beyond the first.
    DoubleNat,
    /// The carrier's NAT stands beyond the router (RFC 6598).
    CarrierNat,
    /// A NAT, and nothing that opens a port in it.
    ForwardMissing,
    /// IPv6 reaches this machine: the router has opened the port.
    Ipv6,
    /// This machine has an IPv6 address, and no router that can be asked whether a firewall stands before it.
    Ipv6Unproven,
    /// There is no way out at all.
    Offline,
    /// Nothing outside could be asked.
    Unknown,
}

impl Situation {
    /// What to do about it, where something can be done.
    #[must_use]
    pub fn advice(self) -> Option<&'static str> {
        Some(match self {
            Self::DoubleNat => {
                "put the first router into bridge mode, or forward the port on both routers and say so with \
                 --public-address"
            }
            Self::CarrierNat => {
                "no port can be opened at the carrier's NAT: ask the carrier for a public address, use IPv6, or a relay"
            }
            Self::ForwardMissing => {
                "switch UPnP or NAT-PMP on in the router, or forward the port there to this machine and say so with \
                 --public-address; else use a relay"
            }
            Self::PortKeepingNat => {
                "whether strangers get in can only be seen from outside: try it from another network; if it fails, \
                 forward the port on the router"
            }
            Self::Ipv6Unproven => {
                "where the router's IPv6 firewall keeps connections out, open the port for this machine there"
            }
            Self::NoHairpin => {
                "clients on this network use this machine's own address, as the router does not lead them back here"
            }
            Self::Unknown => "name a STUN server, so that the public address is known: --stun HOST",
            Self::Offline => "this machine has no default route: connect it to a network",
            // What can be done about these two is what is said of a missing forward.
            Self::SymmetricNat | Self::RestrictedNat => return None,
            Self::Public | Self::Mapped | Self::Forwarded | Self::FullConeNat | Self::Ipv6 => return None,
        })
    }
}

/// What the answers of the rungs say of the network; the most important first.
pub(crate) fn tell(view: &NetView, rungs: &[Rung]) -> Vec<Situation> {
    let refused = |via: Via, found: fn(&Reason) -> bool| {
        rungs.iter().any(|rung| match &rung.outcome {
            Outcome::Refused { reason } => rung.via == via && found(reason),
            _ => false,
        })
    };
    let stands = |via: Via, v4: bool| {
        let mut endpoints = rungs.iter().filter(|rung| rung.via == via);
        endpoints.any(|rung| rung.outcome.endpoint().is_some_and(|e| e.is_ipv4() == v4))
    };
    let mut told = Vec::new();
    match view.source_v4 {
        None if view.source_v6.is_none() => told.push(Situation::Offline),
        None => {}
        Some(own) if Class::of(own.into()).is_public() && view.seen_v4.is_none_or(|seen| seen == own) => {
            told.push(Situation::Public);
        }
        Some(own) => {
            if stands(Via::Mapped, true) {
                told.push(Situation::Mapped);
            }
            if stands(Via::Fixed, true) {
                told.push(Situation::Forwarded);
            }
            let carrier =
                |reason: &Reason| matches!(reason, Reason::BehindAnother(ip) if Class::is_carriers(*ip));
            if refused(Via::Mapped, carrier) || Class::is_carriers(own.into()) || view.beyond_carrier() {
                told.push(Situation::CarrierNat);
            } else if refused(Via::Mapped, |r| {
                matches!(r, Reason::BehindAnother(_) | Reason::Differs { .. })
            }) || view.has_second_router()
            {
                told.push(Situation::DoubleNat);
            }
            if refused(Via::Punched, |r| matches!(r, Reason::Symmetric(..))) {
                told.push(Situation::SymmetricNat);
            } else if refused(Via::Punched, |r| matches!(r, Reason::DialledBack(..))) {
                told.push(Situation::RestrictedNat);
            } else if stands(Via::Punched, true) {
                told.push(match view.filtering {
                    None => Situation::PortKeepingNat,
                    Some(Filtering::Open) => Situation::FullConeNat,
                    Some(Filtering::Closed) => Situation::RestrictedNat,
                });
            }
            if stands(Via::Fixed, true) && !rungs.iter().any(|rung| rung.outcome.has_proof(Proof::OwnDial)) {
                told.push(Situation::NoHairpin);
            }
            if !stands(Via::Mapped, true)
                && !stands(Via::Fixed, true)
                && view.filtering != Some(Filtering::Open)
            {
                told.push(if view.seen_v4.is_some() {
                    Situation::ForwardMissing
                } else {
                    Situation::Unknown
                });
            }
        }
    }
    if view.source_v6.is_some() {
        told.push(if stands(Via::Mapped, false) {
            Situation::Ipv6
        } else {
            Situation::Ipv6Unproven
        });
    }
    told
}
