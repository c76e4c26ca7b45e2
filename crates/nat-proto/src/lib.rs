//! NAT protocols without the network: STUN and TURN messages, transactions, retransmission. No socket, no clock.
//!
//! Each machine is driven alike: bytes and datagrams go in (`handle_input`, `handle_datagram`), and so does time
//! (`handle_timeout`); after each of these its owner drains `poll_transmit` and `poll_event` or `poll_outcome`, and
//! calls again when `poll_timeout` is due at the latest.

mod authentication;
pub mod extension;
pub mod frame;
mod message;
pub mod stun;
pub mod transaction;
pub mod turn;

#[cfg(test)]
mod tests;

pub use authentication::{Credentials, signed};
pub use message::Refusal;
