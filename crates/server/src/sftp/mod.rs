//! SFTP: an engine that serves a session over any stream of bytes, and SSH to carry such streams.

mod engine;
mod extended;
mod handler;
mod handles;
mod names;
mod status;
mod writing;

pub use engine::{Terms, serve};

#[cfg(test)]
mod tests;
