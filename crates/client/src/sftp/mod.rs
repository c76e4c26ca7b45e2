//! A place reached by SFTP: sessions over channels of one SSH connection, many requests on their way at once.

mod channel;
mod connection;
mod key_file;
mod known_hosts;
mod listing;
mod login;
mod pool;
mod reading;
mod remote;
mod session;
mod site;
mod status;
#[cfg(test)]
mod tests;
mod trust;
mod wire;
mod writing;

pub use connection::Seen;
pub use remote::SftpRemote;
pub use site::{Asks, Question, SftpOptions, SftpSite};
pub use trust::HostKeyError;
