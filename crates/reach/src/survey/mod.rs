//! What this machine knows of its network without sending a packet.

mod changes;
mod class;
mod links;
mod procfs;

pub use changes::Changes;
pub use class::Class;
pub use links::{Links, LocalAddress, source_towards};
