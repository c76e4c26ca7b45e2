//! What STUN servers say over UDP: whether it gets through, and what kind of NAT this is (RFC 5780).

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use pasarela_reach::stun::{self, Behaviour};
use pasarela_reach::survey::Links;
use tokio::net::lookup_host;
use tokio::time::timeout;

/// How long a server may take to answer one question.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long finding out the kind of NAT may take (RFC 5780 section 4.4 waits for what is filtered).
const BEHAVIOUR: Duration = Duration::from_secs(7);

/// As many servers are asked at most; the ladder does the same.
const MOST: usize = 4;

/// What one server saw.
#[derive(Debug, Clone)]
pub struct Sight {
    /// The server, as it was named.
    pub server: String,
    /// Our address as it sees it, or how it did not answer.
    pub seen: Result<SocketAddr, io::ErrorKind>,
}

/// What all of them said.
#[derive(Debug, Clone, Default)]
pub struct Datagrams {
    /// One of each server.
    pub sights: Vec<Sight>,
    /// What kind of NAT this is, where one could tell.
    pub behaviour: Option<Behaviour>,
}

impl Datagrams {
    /// Asks the servers.
    pub(super) async fn ask(servers: &[String], links: &Links) -> Self {
        let mut asked = Vec::new();
        for server in servers.iter().take(MOST) {
            let name = server.clone();
            asked.push((server, tokio::spawn(async move { seen(&name).await })));
        }
        let mut told = Self::default();
        let mut able = Vec::new();
        for (server, answer) in asked {
            let answer = answer.await.unwrap_or(Err(io::ErrorKind::Other));
            // Only a NAT has a kind.
            if let Ok((address, seen)) = answer
                && !links.is_own(seen.ip())
            {
                able.push(address);
            }
            told.sights.push(Sight {
                server: server.clone(),
                seen: answer.map(|(_, seen)| SocketAddr::new(seen.ip().to_canonical(), seen.port())),
            });
        }
        for address in able {
            match stun::behaviour(address, BEHAVIOUR).await {
                Ok(behaviour) => {
                    told.behaviour = Some(behaviour);
                    break;
                }
                // One without a second address says so at once.
                Err(error) => tracing::debug!(%address, %error, "the kind of NAT"),
            }
        }
        told
    }

    /// Whether UDP got through to any of them.
    pub(super) fn got_through(&self) -> bool {
        self.sights.iter().any(|sight| sight.seen.is_ok())
    }
}

/// A server's address, and ours as it sees it.
async fn seen(server: &str) -> Result<(SocketAddr, SocketAddr), io::ErrorKind> {
    let resolved = timeout(PATIENCE, lookup_host(server))
        .await
        .map_err(|_| io::ErrorKind::TimedOut)?;
    let addresses: Vec<_> = resolved.map_err(|_| io::ErrorKind::NotFound)?.collect();
    // The NAT is IPv4's.
    let address = addresses.iter().find(|a| a.is_ipv4()).or(addresses.first());
    let address = *address.ok_or(io::ErrorKind::NotFound)?;
    match stun::udp(address, PATIENCE).await {
        Ok(seen) => Ok((address, seen)),
        Err(error) => Err(error.kind()),
    }
}
