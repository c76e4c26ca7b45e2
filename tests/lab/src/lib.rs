//! The built server behind NATs, routers and firewalls, and the clients people already have beyond them.
//!
//! `tests/` shows that each network is what it says, and runs a representative part of topology × client; the program
//! `matrix` (`cargo xtask lab`) runs all of it and prints it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "test code: a panic is its report"
)]

pub mod clients;
pub mod doctor;
pub mod matrix;
pub mod probe;
pub mod relay;
pub mod site;
pub mod vsftpd;

use std::env;

use pasarela_testkit::lab::{self, Lab, Topology};

/// Builds a lab; `None`, with the reason printed, where none can run.
///
/// # Panics
/// When it cannot be built, or cannot run in continuous integration (`CI=true`) and `PASARELA_NO_LAB` does not say that
/// this is meant.
#[must_use]
#[track_caller]
pub fn lab(name: &str) -> Option<Lab> {
    let topology = Topology::named(name).unwrap_or_else(|| panic!("no topology {name}"));
    runs_here().then(|| Lab::up(topology).unwrap_or_else(|error| panic!("{error}")))
}

/// Whether labs run here; says why not.
///
/// # Panics
/// As [`lab`].
#[must_use]
#[track_caller]
pub fn runs_here() -> bool {
    if env::var_os("PASARELA_NO_LAB").is_some() {
        eprintln!("skipped: PASARELA_NO_LAB is set");
        return false;
    }
    let Some(why) = lab::unsupported() else {
        return true;
    };
    assert!(
        env::var("CI").as_deref() != Ok("true"),
        "{why}\nhint: set PASARELA_NO_LAB where no lab is to run"
    );
    eprintln!("skipped: {why}");
    false
}
