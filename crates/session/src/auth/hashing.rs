//! Computing password hashes, a few at once, so that a flood of logins starves neither memory nor transfers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use argon2::Argon2;
use argon2::password_hash::PasswordVerifier;
use argon2::password_hash::phc::PasswordHash;
use tokio::sync::Semaphore;

use super::{Overflow, Password};

/// Hashes computed at once: each takes a core and, by default, 19 MiB for its 40 ms.
pub(super) const AT_ONCE: usize = 2;

/// Logins that wait for their turn; the last of them waits about two seconds.
pub(super) const WAITING: usize = 100;

/// The bounded place where hashes are computed.
pub(super) struct Hashing {
    /// One for each that is computed or waits.
    pub(super) places: Arc<Semaphore>,
    /// One for each that is computed.
    pub(super) turns: Arc<Semaphore>,
    /// Whether somebody was turned away since it stood empty last.
    overflowed: AtomicBool,
    computed: AtomicU64,
}

impl Hashing {
    pub(super) fn new() -> Self {
        Self {
            places: Arc::new(Semaphore::new(AT_ONCE + WAITING)),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            overflowed: AtomicBool::new(false),
            computed: AtomicU64::new(0),
        }
    }

    /// Whether `password` proves `hash`; refused at once where too many wait already.
    pub(super) async fn verify(&self, password: Password, hash: Arc<PasswordHash>) -> Result<bool, Overflow> {
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            // Once for each flood, not once for each of its drops.
            if !self.overflowed.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    waiting = WAITING,
                    "too many logins at once, some are refused unchecked"
                );
            }
            return Err(Overflow);
        };
        if self.places.available_permits() == AT_ONCE + WAITING - 1 {
            self.overflowed.store(false, Ordering::Relaxed);
        }
        let Ok(turn) = self.turns.clone().acquire_owned().await else {
            return Err(Overflow);
        };
        self.computed.fetch_add(1, Ordering::Relaxed);
        let proven = tokio::task::spawn_blocking(move || {
            // Held here and not by the caller: a visitor who hangs up does not stop the work.
            let _held = (place, turn);
            Argon2::default()
                .verify_password(password.as_bytes(), &*hash)
                .is_ok()
        })
        .await
        .unwrap_or(false);
        Ok(proven)
    }

    /// Hashes computed so far.
    pub(super) fn computed(&self) -> u64 {
        self.computed.load(Ordering::Relaxed)
    }
}
