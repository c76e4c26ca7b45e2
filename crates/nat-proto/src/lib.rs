//! NAT protocols without the network: STUN and TURN messages, transactions, retransmission. No socket, no clock.

pub mod extension;
