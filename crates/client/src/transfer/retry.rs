//! What may pass when it is tried again, and how long to wait before.

use std::io;
use std::time::Duration;

use pasarela_store as store;
use store::ErrorKind;

use super::Retries;
use crate::{Failure, FailureKind};

/// Whether a place's failure may pass by itself: it is busy, or a connection was lost or timed out.
pub(super) fn may_pass(error: &store::Error) -> bool {
    use FailureKind as F;
    if let Some(failure) = Failure::of(error) {
        let passes = matches!(
            failure.kind,
            F::Connect | F::Lost | F::Data | F::Timeout | F::Busy
        );
        return passes && !failure.is_lasting;
    }
    match (error.kind, &error.source) {
        (ErrorKind::Busy, _) => true,
        (ErrorKind::Io, Some(source)) => is_connection(source),
        _ => false,
    }
}

fn is_connection(error: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(
        error.kind(),
        K::ConnectionRefused
            | K::ConnectionReset
            | K::ConnectionAborted
            | K::NotConnected
            | K::BrokenPipe
            | K::HostUnreachable
            | K::NetworkUnreachable
            | K::NetworkDown
            | K::TimedOut
            | K::UnexpectedEof
            | K::Interrupted
    )
}

/// How long to wait before each next try.
#[derive(Debug)]
pub(super) struct Waits {
    retries: Retries,
    tried: u32,
}

impl Waits {
    pub(super) fn new(retries: Retries) -> Self {
        Self { retries, tried: 0 }
    }

    /// Whether nothing has failed yet.
    pub(super) fn is_fresh(&self) -> bool {
        self.tried == 0
    }

    /// The wait before the next try; `None` when there is none left.
    pub(super) fn next(&mut self) -> Option<Duration> {
        if self.tried >= self.retries.times {
            return None;
        }
        let wait = self.retries.first_wait.saturating_mul(1 << self.tried.min(16));
        self.tried += 1;
        Some(wait.min(self.retries.longest_wait))
    }

    /// There was progress: the count begins anew, but something has failed.
    pub(super) fn progressed(&mut self) {
        self.tried = self.tried.min(1);
    }
}

/// Does `work` again while it fails with what may pass.
pub(crate) async fn again<T, W>(retries: Retries, work: impl Fn() -> W) -> store::Result<T>
where
    W: Future<Output = store::Result<T>>,
{
    let mut waits = Waits::new(retries);
    loop {
        let error = match work().await {
            Err(error) if may_pass(&error) => error,
            other => return other,
        };
        match waits.next() {
            Some(wait) => tokio::time::sleep(wait).await,
            None => return Err(error),
        }
    }
}
