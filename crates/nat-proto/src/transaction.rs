//! One request until its answer: when it is sent again, and when there is no answer.

use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;
pub use stun_types::message::TransactionId;

/// Where transaction ids come from. They must be random and not to be guessed: over UDP the id is all that tells the
/// server's answer from a forged one (RFC 8489 section 5).
pub trait TransactionIds: Send {
    /// An id that was not used before.
    fn next_id(&mut self) -> TransactionId;
}

impl<F: FnMut() -> TransactionId + Send> TransactionIds for F {
    fn next_id(&mut self) -> TransactionId {
        self()
    }
}

/// How long each sending of a request waits for the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    waits: Vec<Duration>,
}

impl Default for Schedule {
    /// For UDP: three times, 1.75 s in all. RFC 8489 section 6.2.1 keeps on for 39.5 s; a server that is that slow
    /// or that far away is no use here.
    fn default() -> Self {
        Self::unreliable([250, 500, 1000].map(Duration::from_millis))
    }
}

impl Schedule {
    /// Sends as often as there are waits.
    #[must_use]
    pub fn unreliable(waits: impl IntoIterator<Item = Duration>) -> Self {
        Self {
            waits: waits.into_iter().collect(),
        }
    }

    /// Sends once, as over TCP (RFC 8489 section 6.2.2).
    #[must_use]
    pub fn reliable(patience: Duration) -> Self {
        Self {
            waits: vec![patience],
        }
    }
}

/// One request that waits for its answer.
pub struct Transaction {
    id: TransactionId,
    request: Bytes,
    waits: std::vec::IntoIter<Duration>,
    due: Option<Instant>,
    is_to_send: bool,
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction")
            .field("id", &self.id)
            .field("due", &self.due)
            .finish_non_exhaustive()
    }
}

impl Transaction {
    /// Begins: `request`, which carries `id`, is to be sent.
    #[must_use]
    pub fn new(now: Instant, id: TransactionId, request: Bytes, schedule: &Schedule) -> Self {
        let mut waits = schedule.waits.clone().into_iter();
        let due = waits.next().map(|wait| now + wait);
        Self {
            id,
            request,
            waits,
            is_to_send: due.is_some(),
            due,
        }
    }

    /// The id that the answer has to carry.
    #[must_use]
    pub fn id(&self) -> TransactionId {
        self.id
    }

    /// Time has come this far.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.due.is_some_and(|due| due <= now) {
            self.due = self.waits.next().map(|wait| now + wait);
            self.is_to_send = self.due.is_some();
        }
    }

    /// The request, when it is to be sent.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        std::mem::take(&mut self.is_to_send).then(|| self.request.clone())
    }

    /// When [`Transaction::handle_timeout`] has to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// Whether the last wait is over.
    #[must_use]
    pub fn has_expired(&self) -> bool {
        self.due.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::start;

    #[test]
    fn a_datagram_is_sent_three_times_and_then_given_up() {
        let start = start();
        let mut transaction =
            Transaction::new(start, 7.into(), Bytes::from_static(b"x"), &Schedule::default());
        let mut sent = Vec::new();
        let mut now = start;
        loop {
            while transaction.poll_transmit().is_some() {
                sent.push((now - start).as_millis());
            }
            let Some(due) = transaction.poll_timeout() else {
                break;
            };
            now = due;
            transaction.handle_timeout(now);
        }
        assert_eq!(sent, [0, 250, 750]);
        assert_eq!((now - start).as_millis(), 1750);
        assert!(transaction.has_expired());
    }

    #[test]
    fn over_tcp_a_request_is_sent_once() {
        let start = start();
        let schedule = Schedule::reliable(Duration::from_secs(5));
        let mut transaction = Transaction::new(start, 7.into(), Bytes::from_static(b"x"), &schedule);
        assert!(transaction.poll_transmit().is_some());
        transaction.handle_timeout(start + Duration::from_secs(4));
        assert!(!transaction.has_expired());
        transaction.handle_timeout(start + Duration::from_secs(5));
        assert!(transaction.poll_transmit().is_none());
        assert!(transaction.has_expired());
    }
}
