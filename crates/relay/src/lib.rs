//! A TURN server for TCP (RFC 8656, RFC 6062): lends addresses to servers behind NAT and carries streams as they are.
//!
//! What it can do beyond the RFCs is in [`pasarela_nat_proto::extension`]. Three things it does otherwise than other
//! relays, because files go through it: a peer's bytes wait in the kernel until the client has fetched the
//! connection, an end is passed on as the end that it was, and a stream that is carried outlives the control
//! connection that it came from.

mod allocation;
mod carry;
mod config;
mod control;
mod credentials;
mod leg;
mod message;
mod metrics;
mod names;
mod peers;
mod relay;
mod request;
mod shared;
mod sockets;
mod splice;
mod tenancy;
mod udp;
mod usage;

pub use config::{Account, BadConfig, Config, Credential, Limits, RelayAddress, Secret};
pub use credentials::shared_password;
pub use metrics::{Count, Metrics};
pub use relay::{Addresses, Handle, Relay};

/// What clients may offer by ALPN (RFC 7443); for [`pasarela_tls::ServerTls::for_protocols`].
pub const ALPN: [&[u8]; 2] = [b"stun.turn", b"stun.nat-discovery"];
