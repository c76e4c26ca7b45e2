//! SFTP: an engine that serves a session over any stream of bytes, and SSH to carry such streams.

mod authorized;
mod channel;
pub(crate) mod connection;
mod engine;
mod extended;
mod handler;
mod handles;
mod host_keys;
mod names;
mod status;
mod visitor;
mod writing;

pub use authorized::check as check_authorized_keys;
pub use engine::{Error, Terms, serve};
pub use host_keys::{Fingerprint, HostKeys, UnusableKey};

#[cfg(test)]
mod tests;
