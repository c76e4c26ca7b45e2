//! The client: every place that files are in is a [`Remote`], and transfers and mirrors go between any two of them.

mod digest;
pub mod mirror;
mod parallel;
pub mod progress;
mod remote;
#[cfg(test)]
mod testing;
pub mod transfer;

pub use digest::{Algorithm, Digest};
pub use progress::{Event, Progress};
pub use remote::{Abilities, Local, Place, Remote};
