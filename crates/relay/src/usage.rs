//! How many of something are in use, under a limit that may change meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many there are.
#[derive(Debug, Default)]
pub(crate) struct Usage(AtomicUsize);

/// One of them, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Place(Arc<Usage>);

impl Usage {
    /// One more, if there are fewer than `limit`.
    pub(crate) fn take(self: &Arc<Self>, limit: usize) -> Option<Place> {
        let more = |used: usize| (used < limit).then_some(used + 1);
        let taken = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.ok().map(|_| Place(Arc::clone(self)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_shrinks_lets_nobody_in_before_enough_have_gone() {
        let usage = Arc::new(Usage::default());
        let (first, second) = (usage.take(2).unwrap(), usage.take(2).unwrap());
        assert!(usage.take(2).is_none());
        drop(first);
        assert!(usage.take(1).is_none());
        drop(second);
        assert!(usage.take(1).is_some());
        assert!(usage.take(0).is_none());
    }
}
