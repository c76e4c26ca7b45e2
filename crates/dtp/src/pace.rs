//! Holding a transfer to a rate: token buckets, several of which may bound one transfer.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A token bucket of bytes that any number of transfers share.
#[derive(Debug)]
pub struct Bucket {
    bytes_per_second: u64,
    /// The moment at which everything granted so far has been paid for.
    paid_until: Mutex<Instant>,
}

/// How far a bucket that lay idle may run ahead: what arrives in this time is let through at once.
const BURST: Duration = Duration::from_millis(100);

impl Bucket {
    /// A bucket that lets `bytes_per_second` through (at least 1).
    #[must_use]
    pub fn new(bytes_per_second: u64) -> Arc<Self> {
        Arc::new(Self {
            bytes_per_second: bytes_per_second.max(1),
            paid_until: Mutex::new(Instant::now()),
        })
    }

    /// Takes `bytes` out and tells until when to wait before they may go.
    fn take(&self, bytes: u64) -> Instant {
        let cost = Duration::from_nanos(
            u64::try_from(u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_per_second))
                .unwrap_or(u64::MAX),
        );
        let mut paid_until = self.paid_until.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let from = (*paid_until).max(now.checked_sub(BURST).unwrap_or(now));
        *paid_until = from + cost;
        *paid_until
    }
}

/// The buckets that bound one transfer; none means unbounded.
#[derive(Debug, Clone, Default)]
pub struct Pace(Vec<Arc<Bucket>>);

impl Pace {
    /// Bounded by all of `buckets`.
    #[must_use]
    pub fn new(buckets: Vec<Arc<Bucket>>) -> Self {
        Self(buckets)
    }

    /// Whether nothing bounds it.
    #[must_use]
    pub fn is_unbounded(&self) -> bool {
        self.0.is_empty()
    }

    /// Waits until `bytes` may go.
    pub async fn take(&self, bytes: u64) {
        let Some(until) = self.0.iter().map(|bucket| bucket.take(bytes)).max() else {
            return;
        };
        tokio::time::sleep_until(until).await;
    }
}
