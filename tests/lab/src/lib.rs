//! The built server behind NATs, routers and firewalls, and the clients people already have beyond them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "test code: a panic is its report"
)]
use pasarela_testkit::lab;

/// x
pub fn lab_runs_here() -> bool {
    let Some(why) = lab::unsupported() else { return true };
    eprintln!("skipped: {why}");
    false
}
