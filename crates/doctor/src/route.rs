//! How far packets get: the routers that answer for packets that may live for one hop, two hops, and so on.
//!
//! Routers count hops before they look at their rules, and at rules before they send on. So the last router that answers
//! is the one whose rules, or whose neighbour's, stop a packet. Two ports of one address compared that way show where a
//! firewall stands.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use pasarela_reach::survey::Class;
use tokio::task::JoinSet;

use crate::knock::{Answer, knock};

/// Paths are looked at so far.
const MOST_HOPS: u8 = 24;
/// Routers answer at once or not at all; the kernel sends its SYN again after one second, for lost answers.
const PATIENCE: Duration = Duration::from_millis(1500);
/// So many silent routers in a row, and the rest is given up.
const SILENT_HOPS: u8 = 5;

/// What was seen with so many hops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hop {
    /// A router that says that the packet ends there.
    Router(IpAddr),
    /// The port answers: open.
    Open,
    /// The port refuses, or somebody refuses for it.
    Refused,
    /// Somebody says that there is no way on.
    Unreachable(IpAddr),
    Silent,
}

impl Hop {
    pub(crate) fn of(answer: &Answer) -> Self {
        match answer {
            Answer::Open(_) => Self::Open,
            Answer::Expired(by) => Self::Router(*by),
            Answer::Unreachable(Some(by)) | Answer::Prohibited(by) => Self::Unreachable(*by),
            Answer::Refused(_) => Self::Refused,
            Answer::Unreachable(None) | Answer::Silent | Answer::Local(_) => Self::Silent,
        }
    }
}

/// Hops with their number, the first one is 1.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Route(pub(crate) Vec<(u8, Hop)>);

impl Route {
    /// The last router that answered.
    pub(crate) fn last_router(&self) -> Option<(u8, IpAddr)> {
        self.0.iter().rev().find_map(|(number, hop)| match hop {
            Hop::Router(by) => Some((*number, *by)),
            _ => None,
        })
    }

    /// The first hop with an answer that is no router's.
    pub(crate) fn end(&self) -> Option<(u8, Hop)> {
        let is_end = |hop: &Hop| matches!(hop, Hop::Open | Hop::Refused | Hop::Unreachable(_));
        self.0.iter().copied().find(|(_, hop)| is_end(hop))
    }

    /// Whether the router with this number is at our end: the first one, or with none but private ones before it.
    pub(crate) fn is_near(&self, number: u8) -> bool {
        let mut before = self.0.iter().take_while(|(other, _)| *other <= number);
        number == 1 || before.all(|(_, hop)| !matches!(hop, Hop::Router(by) if Class::of(*by).is_public()))
    }

    /// Whether a router with this address answered.
    pub(crate) fn has_router(&self, address: IpAddr) -> bool {
        self.0.iter().any(|(_, hop)| *hop == Hop::Router(address))
    }

    /// As a line of evidence.
    pub(crate) fn line(&self, to: SocketAddr) -> String {
        let hops: Vec<_> = self
            .0
            .iter()
            .filter_map(|(number, hop)| {
                Some(match hop {
                    Hop::Router(by) => format!("{number} {by}"),
                    Hop::Open => format!("{number} open"),
                    Hop::Refused => format!("{number} refused"),
                    Hop::Unreachable(by) => format!("{number} unreachable, says {by}"),
                    Hop::Silent => return None,
                })
            })
            .collect();
        let hops = match hops.is_empty() {
            true => "no router answers".to_owned(),
            false => hops.join(", "),
        };
        format!("on the way to {to}: {hops}")
    }
}

/// The way to a port that does not answer, all hops at once.
pub(crate) async fn to_closed(from: Option<IpAddr>, to: SocketAddr) -> Route {
    let mut attempts = JoinSet::new();
    for number in 1..=MOST_HOPS {
        attempts.spawn(async move {
            (
                number,
                Hop::of(&knock(from, to, Some(number), PATIENCE).await.answer),
            )
        });
    }
    let mut hops = Vec::new();
    while let Some(done) = attempts.join_next().await {
        // A task that ended otherwise has nothing to tell.
        hops.extend(done.ok());
    }
    hops.sort_unstable_by_key(|(number, _)| *number);
    if let Some(end) = hops
        .iter()
        .position(|(_, hop)| matches!(hop, Hop::Open | Hop::Refused | Hop::Unreachable(_)))
    {
        hops.truncate(end + 1);
    }
    Route(hops)
}

/// The way to a port that does answer, from a hop on, one hop at a time so that it is connected to once.
pub(crate) async fn to_open(from: Option<IpAddr>, to: SocketAddr, first: u8) -> Route {
    let (mut hops, mut silent) = (Vec::new(), 0);
    for number in first..=MOST_HOPS {
        let hop = Hop::of(&knock(from, to, Some(number), PATIENCE).await.answer);
        hops.push((number, hop));
        silent = if hop == Hop::Silent { silent + 1 } else { 0 };
        if !matches!(hop, Hop::Silent | Hop::Router(_)) || silent == SILENT_HOPS {
            break;
        }
    }
    Route(hops)
}

/// Where the packets to one port end, while those to another port of the same address go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In front of the server or at the router that has its address.
    Server,
    /// At our own end: at this router, or before the first one.
    Ours(Option<IpAddr>),
    /// Between two routers that are neither ours nor the server's.
    Between(IpAddr, IpAddr),
    /// The last router before the server is also the first one: at one of these two.
    EitherEnd(IpAddr),
    /// Too few routers answer.
    Unknown,
}

/// Compares the way of a port that is stopped with the way of one that goes through.
pub(crate) fn compare(stopped: &Route, passing: &Route, peer: IpAddr) -> Place {
    let last = stopped.last_router();
    let after = last.map_or(0, |(number, _)| number);
    let next = passing
        .0
        .iter()
        .find(|(number, hop)| *number > after && *hop != Hop::Silent);
    // Silent routers in between: the place is somewhere among them.
    let is_next = next.is_some_and(|(number, _)| *number == after + 1);
    match (last, next) {
        (Some((number, last)), Some((next_number, hop))) => {
            let is_near = stopped.is_near(number);
            match hop {
                Hop::Router(router) if *router != peer => match is_near {
                    true if is_next => Place::Ours(Some(last)),
                    true => Place::Unknown,
                    // The last one of all may be the server's own router, which need not answer by its public address.
                    false if passing.end().is_some_and(|(end, _)| end == next_number + 1) => Place::Server,
                    false => Place::Between(last, *router),
                },
                _ if !is_next => Place::Unknown,
                _ if is_near => Place::EitherEnd(last),
                _ => Place::Server,
            }
        }
        (None, Some((1, Hop::Router(router)))) if *router != peer => Place::Ours(None),
        _ => Place::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn route(hops: &str) -> Route {
        Route(
            hops.split_whitespace()
                .zip(1..)
                .map(|(hop, number)| {
                    let hop = match hop {
                        "*" => Hop::Silent,
                        "open" => Hop::Open,
                        "refused" => Hop::Refused,
                        router => Hop::Router(ip(router)),
                    };
                    (number, hop)
                })
                .collect(),
        )
    }

    #[test]
    fn the_place_where_packets_end_is_found_as_far_as_routers_answer() {
        let server = ip("11.9.0.20");
        for (stopped, passing, place) in [
            // A client's router lets out port 21 and not the other.
            (
                "192.168.0.1 * *",
                "192.168.0.1 11.9.0.1 open",
                Place::Ours(Some(ip("192.168.0.1"))),
            ),
            // So does what stands before the first router.
            ("* * *", "192.168.0.1 11.9.0.1 open", Place::Ours(None)),
            // The packets get as far as the last router, whatever the server's own router does.
            (
                "192.168.0.1 11.9.0.1 * *",
                "192.168.0.1 11.9.0.1 11.9.0.20 open",
                Place::Server,
            ),
            (
                "192.168.0.1 11.9.0.1 * *",
                "192.168.0.1 11.9.0.1 open",
                Place::Server,
            ),
            // One router between client and server: it may be either's.
            (
                "11.9.0.1 * *",
                "11.9.0.1 11.9.0.20 open",
                Place::EitherEnd(ip("11.9.0.1")),
            ),
            (
                "192.168.0.1 *",
                "192.168.0.1 open",
                Place::EitherEnd(ip("192.168.0.1")),
            ),
            // A provider's network.
            (
                "192.168.0.1 11.7.0.1 * *",
                "192.168.0.1 11.7.0.1 11.8.0.1 11.9.0.1 open",
                Place::Between(ip("11.7.0.1"), ip("11.8.0.1")),
            ),
            // Private addresses are in providers' networks, too.
            (
                "192.168.0.1 11.7.0.1 10.1.1.1 * *",
                "192.168.0.1 11.7.0.1 10.1.1.1 11.8.0.1 11.9.0.1 open",
                Place::Between(ip("10.1.1.1"), ip("11.8.0.1")),
            ),
            // The server's own router, by another address than the server's.
            (
                "192.168.0.1 11.7.0.1 11.8.0.1 * *",
                "192.168.0.1 11.7.0.1 11.8.0.1 10.2.2.2 open",
                Place::Server,
            ),
            // Routers that do not answer leave it open.
            ("* * *", "* * open", Place::Unknown),
            ("192.168.0.1 * * *", "192.168.0.1 * 11.9.0.1 open", Place::Unknown),
            ("192.168.0.1 * * *", "192.168.0.1 * * open", Place::Unknown),
            ("* *", "open", Place::Unknown),
        ] {
            let found = compare(&route(stopped), &route(passing), server);
            assert_eq!(found, place, "{stopped} against {passing}");
        }
    }
}
