//! A port that stays open because we keep talking from it: STUN over TCP from the listening port, held open
//! (RFC 8489; works behind NATs with endpoint-independent mapping and filtering, RFC 5382 §4).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::net::lookup_host;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::report::{Doubt, Outcome, Rung};
use crate::stun::{self, Behaviour, Line};
use crate::survey::Class;
use crate::{Reason, Via};

/// How long a STUN server may take, over TCP.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long finding out the kind of NAT may take (RFC 5780 §4.4 waits for what is filtered).
const BEHAVIOUR: Duration = Duration::from_secs(7);

/// As many servers are asked at most.
const MAX_SERVERS: usize = 4;

/// Lines to STUN servers from the listening port, and what they saw last.
#[derive(Debug)]
pub(crate) struct Punched {
    sights: Vec<Sight>,
    silent: Vec<String>,
    took: Duration,
    shares_port: bool,
    /// Where lines go out from.
    from: SocketAddr,
    /// Finds out over UDP whom the NAT lets in. That takes seconds where it lets in nobody, and nobody waits for it.
    behaviour: Option<JoinHandle<io::Result<Behaviour>>>,
}

impl Default for Punched {
    fn default() -> Self {
        Self {
            sights: Vec::new(),
            silent: Vec::new(),
            took: Duration::ZERO,
            shares_port: false,
            from: SocketAddr::from(([0; 4], 0)),
            behaviour: None,
        }
    }
}

impl Drop for Punched {
    fn drop(&mut self) {
        if let Some(behaviour) = &self.behaviour {
            behaviour.abort();
        }
    }
}

#[derive(Debug)]
struct Sight {
    server: SocketAddr,
    seen: SocketAddr,
    line: Line,
}

impl Punched {
    /// Asks the servers anew, over new lines.
    pub(crate) async fn look(&mut self, servers: &[String], local: SocketAddr, shares_port: bool) {
        *self = Self::default();
        self.shares_port = shares_port;
        let start = Instant::now();
        let from = SocketAddr::new(local.ip(), if shares_port { local.port() } else { 0 });
        self.from = from;
        let mut asked = JoinSet::new();
        for server in servers.iter().take(MAX_SERVERS).cloned() {
            asked.spawn(async move {
                let answer = timeout(2 * PATIENCE, ask(&server, from)).await;
                (server, answer.ok().flatten())
            });
        }
        while let Some(Ok((server, answer))) = asked.join_next().await {
            match answer {
                Some(sight) => self.sights.push(sight),
                None => self.silent.push(server),
            }
        }
        self.took = start.elapsed();
    }

    /// Begins to find out what kind of NAT this is.
    pub(crate) fn begin_behaviour(&mut self) {
        let server = self.sights.first().map(|sight| sight.server);
        self.behaviour = server.map(|server| tokio::spawn(stun::behaviour(server, BEHAVIOUR)));
    }

    /// What kind of NAT this is, once: `None` where the servers cannot tell. Never returns where nobody was asked.
    pub(crate) async fn behaviour(&mut self) -> Option<Behaviour> {
        let Some(asked) = &mut self.behaviour else {
            return std::future::pending().await;
        };
        let answer = asked.await;
        self.behaviour = None;
        answer.ok().and_then(Result::ok)
    }

    /// Whether that is still being found out.
    pub(crate) fn is_asking(&self) -> bool {
        self.behaviour.is_some()
    }

    /// The address that the Internet sees, where the servers agree.
    pub(crate) fn seen_ip(&self) -> Option<IpAddr> {
        let first = self.sights.first()?.seen.ip();
        self.sights
            .iter()
            .all(|sight| sight.seen.ip() == first)
            .then_some(first)
    }

    /// A server that answered.
    pub(crate) fn server(&self) -> Option<IpAddr> {
        self.sights.first().map(|sight| sight.server.ip())
    }

    /// Asks again over the lines that are open, which keeps the port open too; `false` when a line is lost or the
    /// address has changed.
    pub(crate) async fn stands(&mut self) -> bool {
        for sight in &mut self.sights {
            let seen = match sight.line.ask(PATIENCE).await {
                Ok(seen) => Some(canonical(seen)),
                // Servers close lines that are idle for long, and may restart.
                Err(_) => match open(sight.server, self.from).await {
                    Some(again) => {
                        sight.line = again.line;
                        Some(again.seen)
                    }
                    None => None,
                },
            };
            // A line from no fixed port tells the address alone.
            let stands = match seen {
                Some(seen) if self.shares_port => seen == sight.seen,
                Some(seen) => seen.ip() == sight.seen.ip(),
                None => false,
            };
            if !stands {
                return false;
            }
        }
        true
    }

    /// Whether we keep this endpoint open towards one of `hosts`: where the NAT lets in those whom we have sent to, it
    /// lets these in and nobody else.
    pub(crate) fn has_opened(&self, endpoint: SocketAddr, hosts: &[IpAddr]) -> bool {
        self.shares_port
            && self
                .sights
                .iter()
                .any(|sight| sight.seen == endpoint && hosts.contains(&sight.server.ip().to_canonical()))
    }

    /// Whether a server that was named has not answered.
    pub(crate) fn misses_any(&self) -> bool {
        !self.silent.is_empty()
    }

    /// What the sights say of the port.
    pub(crate) fn judge(&self, own: Option<IpAddr>) -> Rung {
        let outcome = match &self.sights[..] {
            [] if self.silent.is_empty() => Outcome::Skipped {
                reason: Reason::NotConfigured,
            },
            [] => Outcome::Refused {
                reason: Reason::StunSilent(self.silent.join(", ")),
            },
            [first, ..] if own.is_some_and(|own| own == first.seen.ip()) => Outcome::Skipped {
                reason: Reason::NotNeeded,
            },
            _ if !self.shares_port => Outcome::Refused {
                reason: Reason::PortNotShared,
            },
            [_] => Outcome::Refused {
                reason: Reason::OneServer,
            },
            [first, rest @ ..] => match rest.iter().find(|other| other.seen != first.seen) {
                Some(other) => Outcome::Refused {
                    reason: Reason::Symmetric(first.seen, other.seen),
                },
                None => Outcome::Unproven {
                    endpoint: first.seen,
                    doubt: Doubt::Filtering,
                },
            },
        };
        Rung {
            via: Via::Punched,
            asked: None,
            how: "STUN".to_owned(),
            outcome,
            took: self.took,
        }
    }
}

async fn ask(server: &str, from: SocketAddr) -> Option<Sight> {
    let addresses: Vec<_> = lookup_host(server).await.ok()?.collect();
    // The NAT is IPv4's.
    let address = addresses.iter().find(|a| a.is_ipv4()).or(addresses.first())?;
    open(*address, from).await
}

async fn open(server: SocketAddr, from: SocketAddr) -> Option<Sight> {
    let mut line = Line::open(from, server, PATIENCE).await.ok()?;
    let seen = canonical(line.ask(PATIENCE).await.ok()?);
    // A server in our own network sees nothing of the NAT.
    Class::of(seen.ip())
        .is_public()
        .then_some(Sight { server, seen, line })
}

fn canonical(seen: SocketAddr) -> SocketAddr {
    SocketAddr::new(seen.ip().to_canonical(), seen.port())
}
