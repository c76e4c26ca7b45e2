//! The operator's public name: asked again as time goes by, without making a peer wait.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::Reason;

/// How long an answer is taken for granted. The system's resolver tells no TTL; home connections whose address
/// changes publish it with about this one.
const FRESH: Duration = Duration::from_secs(60);

/// How soon a failed question is asked again.
const RETRY: Duration = Duration::from_secs(5);

/// How long a peer waits for the first answer: its own patience with PASV is not much longer.
const PATIENCE: Duration = Duration::from_secs(2);

/// When a question that the system has not answered counts as failed.
const GIVE_UP: Duration = Duration::from_secs(30);

/// An answer on its way.
type Answer = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Who is asked.
type Lookup = Arc<dyn Fn(String) -> Answer + Send + Sync>;

/// A name with its last good answer.
pub(crate) struct Name {
    name: String,
    known: Arc<watch::Sender<Known>>,
    lookup: Lookup,
}

#[derive(Default)]
struct Known {
    /// The last good answer.
    addresses: Vec<IpAddr>,
    /// Whether a question is on its way.
    asking: bool,
    /// When to ask next; at once where nobody has asked.
    due: Option<Instant>,
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Name").field(&self.name).finish()
    }
}

impl Name {
    /// A name that the system resolves.
    pub(crate) fn new(name: String) -> Self {
        Self::asking(name, Arc::new(|name| Box::pin(system(name))))
    }

    fn asking(name: String, lookup: Lookup) -> Self {
        Self {
            name,
            known: Arc::default(),
            lookup,
        }
    }

    /// Its IPv4 address, `preferred` where that is one of several. The last good answer is given at once, however
    /// old; only where there is none is the question waited for.
    pub(crate) async fn ipv4(&self, preferred: IpAddr) -> Result<IpAddr, Reason> {
        self.ask_if_due();
        let mut known = self.known.subscribe();
        // Whether it ran out of patience or not: what counts is what is known by then.
        let _ = timeout(
            PATIENCE,
            known.wait_for(|known| !known.addresses.is_empty() || !known.asking),
        )
        .await;
        let addresses = &known.borrow().addresses;
        let mut fitting = addresses.iter().filter(|address| address.is_ipv4());
        let first = fitting.clone().next();
        fitting
            .find(|address| **address == preferred)
            .or(first)
            .copied()
            .ok_or_else(|| Reason::Unresolved(self.name.clone()))
    }

    /// Asks in the background unless the last answer is fresh or one is on its way.
    fn ask_if_due(&self) {
        let ask = self.known.send_if_modified(|known| {
            let ask = !known.asking && known.due.is_none_or(|due| due <= Instant::now());
            known.asking |= ask;
            ask
        });
        if !ask {
            return;
        }
        let (name, lookup, known) = (self.name.clone(), self.lookup.clone(), self.known.clone());
        tokio::spawn(async move {
            let answer = timeout(GIVE_UP, lookup(name.clone()))
                .await
                .unwrap_or_else(|late| Err(late.into()));
            known.send_modify(|known| {
                known.asking = false;
                match answer {
                    Ok(addresses) if !addresses.is_empty() => {
                        known.addresses = addresses
                            .into_iter()
                            .map(|address| address.to_canonical())
                            .collect();
                        known.due = Some(Instant::now() + FRESH);
                    }
                    failed => {
                        let (why, kept) = (failed.err(), known.addresses.first());
                        tracing::warn!(name = ?name, ?why, ?kept, "the public name does not resolve");
                        known.due = Some(Instant::now() + RETRY);
                    }
                }
            });
        });
    }
}

async fn system(name: String) -> io::Result<Vec<IpAddr>> {
    // The port does not matter to the question.
    Ok(tokio::net::lookup_host((name, 0))
        .await?
        .map(|found| found.ip())
        .collect())
}

#[cfg(test)]
mod tests;
