//! The relay over real sockets on loopback, against a client by hand, coturn's and librice's.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "test code: a panic is its report"
)]

mod behaviour;
mod client;
mod coturn;
mod lending;
mod librice;
mod log;
mod reload;
mod requests;
mod soak;
mod streams;
mod takeover;
mod tls;
mod unauthenticated;
