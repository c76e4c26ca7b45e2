//! A raw FTP client and a starter for the built server: all that the conformance tests stand on.
//!
//! The client never guesses: a malformed reply, a missing one or one too many fails the test. Every wait has a
//! deadline. `PASARELA_BIN` names the server to test; without it, the `pasarela` beside the test's profile.

// A harness fails by panicking, with what it saw.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::missing_panics_doc)]

mod client;
mod data;
mod reply;
mod server;
pub mod tls;
mod wire;

use std::time::{Duration, Instant};

pub use client::Client;
pub use data::Data;
pub use reply::Reply;
pub use server::{PASSWORD, Server, Setup, USER, free_ports};
pub use tls::Version;

/// How long any single wait may take before the test fails. It only ends what hangs: a busy machine is no failure.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// The address the server listens on, and where clients come from unless told otherwise.
pub const OWNER: [u8; 4] = [127, 0, 0, 1];

/// An address of somebody else.
pub const STRANGER: [u8; 4] = [127, 0, 0, 2];

/// Waits until `event` has happened.
pub fn eventually(what: &str, mut event: impl FnMut() -> bool) {
    let until = Instant::now() + DEADLINE;
    while !event() {
        assert!(Instant::now() < until, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Deterministic numbers (splitmix64).
pub struct Numbers(pub u64);

impl Numbers {
    /// The next number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}

/// `len` bytes without a pattern, the same for the same `seed`.
#[must_use]
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut numbers = Numbers(seed);
    (0..len).map(|_| numbers.below(256) as u8).collect()
}

/// Whether `needle` occurs in `haystack`.
#[must_use]
pub fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
