//! Our commands as a user starts them, against our server: saved places, known servers, the shell, measurements.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "test code: a panic is its report"
)]
#![allow(unreachable_pub, missing_docs, reason = "a test has no public")]

mod bench;
mod others;
mod places;
#[path = "../client/servers.rs"]
#[expect(dead_code, reason = "what the other test needs")]
mod servers;
mod shell;
mod trust;
mod user;
