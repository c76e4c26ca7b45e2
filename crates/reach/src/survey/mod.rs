//! What this machine knows of its network: addresses and gateways without a packet sent, and the next routers out.

mod changes;
mod class;
pub(crate) mod hops;
mod links;
mod procfs;

pub use changes::Changes;
pub use class::Class;
pub use links::{Links, LocalAddress, source_towards};
