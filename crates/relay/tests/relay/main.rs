//! The relay over real sockets on loopback, against a client by hand and coturn's.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "test code: a panic is its report"
)]

mod client;
mod coturn;
mod lending;
mod requests;
mod soak;
mod streams;
mod tls;
mod unauthenticated;
