//! The data transfer process: bytes between a file and a data connection; pace, type, abort.
mod pace;
pub use pace::{Bucket, Pace};
