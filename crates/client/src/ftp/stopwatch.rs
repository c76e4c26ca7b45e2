//! Where the time of connections and transfers goes, for whoever measures a server.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A step whose time is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// The name is resolved and the control connection made.
    Connect,
    /// The server greets; with TLS from the first byte, the handshake before that is [`Phase::Tls`].
    Greeting,
    /// AUTH TLS, the handshake, and the protection of data connections.
    Tls,
    /// USER and PASS.
    Login,
    /// What the server can do.
    Survey,
    /// The server is asked where it waits for a data connection, and that is made.
    DataConnection,
    /// From the transfer command to its 1yz reply and the handshake of the data connection.
    Begin,
}

/// Takes times; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Stopwatch(Arc<Mutex<Vec<(Phase, Duration)>>>);

/// Times that are kept until somebody takes them, at most.
const MOST: usize = 100_000;

impl Stopwatch {
    /// The times since the last call, in their order.
    #[must_use]
    pub fn take(&self) -> Vec<(Phase, Duration)> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Keeps how long a step has taken that began then; and when the next one begins.
    pub(super) fn lap(this: Option<&Self>, phase: Phase, since: Instant) -> Instant {
        let now = Instant::now();
        if let Some(Self(times)) = this {
            let mut times = times.lock().unwrap_or_else(PoisonError::into_inner);
            if times.len() < MOST {
                times.push((phase, now.duration_since(since)));
            }
        }
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_kept_until_they_are_taken() {
        let watch = Stopwatch::default();
        let began = Instant::now();
        let next = Stopwatch::lap(Some(&watch.clone()), Phase::Connect, began);
        Stopwatch::lap(None, Phase::Tls, next);
        Stopwatch::lap(Some(&watch), Phase::Login, next);
        let phases: Vec<_> = watch.take().into_iter().map(|(phase, _)| phase).collect();
        assert_eq!(phases, [Phase::Connect, Phase::Login]);
        assert!(watch.take().is_empty());
    }
}
