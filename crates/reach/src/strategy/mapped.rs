//! Port mappings that routers make at our request: PCP, then NAT-PMP, then UPnP; for IPv6 pinholes; behind two routers
//! also of the next one out.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::record::Record;
use crate::report::{Doubt, Outcome, Proof, Router, Rung};
use crate::router::{self, Asked, Mapping, Protocol, Refusal};
use crate::survey::{Class, Links};
use crate::{Reason, Via};

/// Where home routers stand that have another one behind them.
const NEXT_ROUTERS: [Ipv4Addr; 4] = [
    Ipv4Addr::new(192, 168, 0, 1),
    Ipv4Addr::new(192, 168, 1, 1),
    Ipv4Addr::new(192, 168, 100, 1),
    Ipv4Addr::new(10, 0, 0, 1),
];

/// The mappings of one listening port.
#[derive(Debug)]
pub(crate) struct Mapped {
    record: Arc<Record>,
    /// At the own router, at the next one out, and for IPv6.
    held: Vec<Held>,
    refused: Vec<Rung>,
}

#[derive(Debug)]
struct Held {
    mapping: Mapping,
    /// Which router.
    at: Router,
    took: Duration,
}

impl Mapped {
    pub(crate) fn new(record: Arc<Record>) -> Self {
        Self {
            record,
            held: Vec::new(),
            refused: Vec::new(),
        }
    }

    /// Asks this machine's routers for the port; `outside` is the number wished for, `forwarded` whether the own router
    /// is known to forward it by itself.
    pub(crate) async fn ask(&mut self, links: &Links, inside: SocketAddr, outside: u16, forwarded: bool) {
        self.refused.clear();
        self.record.open().await;
        self.renew_or_drop(links).await;
        let port = inside.port();
        let own_router = match (links.source_v4, links.gateway_v4) {
            (Some(own), Some(gateway))
                if !Class::of(own.into()).is_public() && reaches(inside, own.into()) =>
            {
                Some(Asked {
                    outside,
                    ..Asked::new(gateway.into(), 0, SocketAddr::new(own.into(), port))
                })
            }
            _ => None,
        };
        let ipv6 = match (links.source_v6, links.gateway_v6) {
            (Some(own), Some((gateway, scope))) if reaches(inside, own.into()) => Some(Asked {
                low_port: true,
                ..Asked::new(gateway.into(), scope, SocketAddr::new(own.into(), port))
            }),
            _ => None,
        };
        let wanted = |asked: &Option<Asked>, at: Router| asked.clone().filter(|_| !self.holds(at));
        let answers = tokio::join!(
            ask_in_turn(wanted(&own_router, Router::Own), Router::Own),
            ask_in_turn(wanted(&ipv6, Router::Ipv6), Router::Ipv6),
        );
        for (answer, at) in [(answers.0, Router::Own), (answers.1, Router::Ipv6)] {
            self.refused.extend(answer.refused);
            if let Some((mapping, took)) = answer.granted {
                self.hold(mapping, at, took).await;
            }
        }
        if let Some(asked) = &own_router {
            self.ask_next_router(links, asked, forwarded).await;
        }
    }

    fn holds(&self, at: Router) -> bool {
        self.held.iter().any(|held| held.at == at)
    }

    /// Where the own router's outside is private itself, the port is asked of the router beyond it. That leads here only
    /// through the own router, so it must have mapped or forward the port.
    async fn ask_next_router(&mut self, links: &Links, asked: &Asked, forwarded: bool) {
        if self.holds(Router::Next) {
            return;
        }
        let inner = self.held.iter().find(|held| held.at == Router::Own);
        let inner = inner.map(|held| held.mapping.outside());
        let inner_port = match inner {
            Some(outside) if Class::of(outside.ip()).is_public() => return,
            Some(outside) => outside.port(),
            None if forwarded => asked.outside,
            None => return,
        };
        let mut candidates: Vec<Ipv4Addr> = Vec::new();
        if let Some(IpAddr::V4(wan)) = inner.map(|outside| outside.ip()) {
            let [a, b, c, _] = wan.octets();
            candidates.push(Ipv4Addr::new(a, b, c, 1));
        }
        candidates.extend(NEXT_ROUTERS);
        candidates.dedup();
        let mut answers = JoinSet::new();
        for candidate in candidates {
            if Some(candidate) == links.gateway_v4 || links.is_on_link(candidate.into()) {
                continue;
            }
            let asked = Asked {
                seen_as: inner.map(|outside| outside.ip()),
                outside: asked.outside,
                // It is asked once only, and whoever forwards such a port at the inner router wants it.
                low_port: true,
                ..Asked::new(
                    candidate.into(),
                    0,
                    SocketAddr::new(asked.inside.ip(), inner_port),
                )
            };
            answers.spawn(async move {
                let start = Instant::now();
                (router::map(&asked, Protocol::NatPmp).await, asked, start)
            });
        }
        while let Some(Ok((answer, asked, start))) = answers.join_next().await {
            match answer {
                Ok(mapping) if !self.holds(Router::Next) => {
                    self.hold(mapping, Router::Next, start.elapsed()).await;
                }
                Ok(mapping) => {
                    take_back(mapping).await;
                }
                // Most of the candidates are nobody.
                Err(Refusal::NoAnswer | Refusal::PortUnreachable) => {}
                Err(why) => {
                    let rung = refused(Protocol::NatPmp, Router::Next, asked.gateway, why, start);
                    self.refused.push(rung);
                }
            }
        }
    }

    async fn hold(&mut self, mapping: Mapping, at: Router, took: Duration) {
        self.record.add(mapping.leftover()).await;
        self.held.push(Held { mapping, at, took });
    }

    /// Asserts again what is held, all of it or what takes one datagram; `false` when something is lost or has another
    /// address now.
    pub(crate) async fn renew(&mut self, all: bool) -> bool {
        let mut unchanged = true;
        for held in &mut self.held {
            if !all && held.mapping.protocol() == Protocol::Upnp {
                continue;
            }
            let before = held.mapping.outside();
            match held.mapping.renew().await {
                Ok(()) => unchanged &= held.mapping.outside() == before,
                Err(why) => {
                    tracing::info!(outside = %before, %why, "a mapping is lost");
                    unchanged = false;
                }
            }
            self.record.add(held.mapping.leftover()).await;
        }
        unchanged
    }

    /// Keeps what can be renewed for the addresses of the moment, and gives back the rest.
    async fn renew_or_drop(&mut self, links: &Links) {
        for mut held in std::mem::take(&mut self.held) {
            let fits = match held.mapping.leftover().inside.ip() {
                IpAddr::V4(ip) => links.source_v4 == Some(ip),
                IpAddr::V6(ip) => links.source_v6 == Some(ip),
            };
            if fits && held.mapping.renew().await.is_ok() {
                self.held.push(held);
            } else {
                self.forget(held.mapping).await;
            }
        }
    }

    /// Gives everything back.
    pub(crate) async fn give_back(&mut self) {
        for held in std::mem::take(&mut self.held) {
            self.forget(held.mapping).await;
        }
    }

    async fn forget(&self, mapping: Mapping) {
        let leftover = mapping.leftover().clone();
        if take_back(mapping).await {
            self.record.strike(&leftover).await;
        }
    }

    /// What the answers are worth; `seen` is the address that the Internet sees.
    pub(crate) fn judge(&self, seen: Option<IpAddr>) -> Vec<Rung> {
        let next = self.held.iter().find(|held| held.at == Router::Next);
        let mut rungs: Vec<Rung> = self.refused.clone();
        for held in &self.held {
            let endpoint = held.mapping.outside();
            let ip = endpoint.ip();
            let outcome = match held.at {
                Router::Ipv6 => Outcome::Verified {
                    endpoint,
                    proof: Proof::Router,
                },
                Router::Own if next.is_some() => continue,
                _ if !Class::of(ip).is_public() => Outcome::Refused {
                    reason: Reason::BehindAnother(ip),
                },
                _ => match seen {
                    Some(seen) if seen != ip => Outcome::Refused {
                        reason: Reason::Differs { router: ip, seen },
                    },
                    _ if held.at == Router::Next => Outcome::Unproven {
                        endpoint,
                        doubt: Doubt::InnerForward,
                    },
                    Some(_) => Outcome::Verified {
                        endpoint,
                        proof: Proof::RouterAndStun,
                    },
                    None => Outcome::Verified {
                        endpoint,
                        proof: Proof::Router,
                    },
                },
            };
            rungs.push(Rung {
                via: Via::Mapped,
                asked: Some((held.at, held.mapping.protocol())),
                how: how(held.mapping.protocol(), held.at, None),
                outcome,
                took: held.took,
            });
        }
        rungs
    }
}

/// What a router answered.
#[derive(Debug, Default)]
struct Answer {
    granted: Option<(Mapping, Duration)>,
    refused: Vec<Rung>,
}

/// One protocol after another, until one has a mapping; a router is asked one thing at a time.
async fn ask_in_turn(asked: Option<Asked>, at: Router) -> Answer {
    let mut answer = Answer::default();
    let Some(asked) = asked else { return answer };
    // NAT-PMP is IPv4's alone.
    let protocols: &[Protocol] = if at == Router::Ipv6 {
        &[Protocol::Pcp, Protocol::Upnp]
    } else {
        &[Protocol::Pcp, Protocol::NatPmp, Protocol::Upnp]
    };
    for protocol in protocols.iter().copied() {
        let start = Instant::now();
        match router::map(&asked, protocol).await {
            Ok(mapping) => {
                answer.granted = Some((mapping, start.elapsed()));
                break;
            }
            Err(why) => answer
                .refused
                .push(refused(protocol, at, asked.gateway, why, start)),
        }
    }
    answer
}

/// Whether the router has taken it back.
async fn take_back(mapping: Mapping) -> bool {
    let outside = mapping.outside();
    match mapping.remove().await {
        Ok(()) => true,
        Err(why) => {
            tracing::info!(%outside, %why, "a mapping could not be taken back");
            false
        }
    }
}

/// Whether what listens at `listening` can be reached by our address `own`.
fn reaches(listening: SocketAddr, own: IpAddr) -> bool {
    let ip = listening.ip().to_canonical();
    ip == own || (ip.is_unspecified() && (own.is_ipv4() || ip.is_ipv6()))
}

fn refused(protocol: Protocol, at: Router, gateway: IpAddr, why: Refusal, start: Instant) -> Rung {
    Rung {
        via: Via::Mapped,
        asked: Some((at, protocol)),
        how: how(protocol, at, Some(gateway)),
        outcome: Outcome::Refused {
            reason: Reason::Router { protocol, why },
        },
        took: start.elapsed(),
    }
}

fn how(protocol: Protocol, at: Router, gateway: Option<IpAddr>) -> String {
    let whom = gateway.map(|gateway| format!(" {gateway}")).unwrap_or_default();
    match at {
        Router::Own => format!("{protocol}{whom}"),
        Router::Next => format!("{protocol} of the next router{whom}"),
        Router::Ipv6 => format!("{protocol} for IPv6{whom}"),
    }
}
