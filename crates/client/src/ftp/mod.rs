//! A place reached by FTP or FTPS: control connections in a pool, a data connection a transfer.

mod control;
mod data;
mod dial;
mod listing;
mod login;
mod pool;
pub mod probe;
mod reading;
mod remote;
mod renaming;
mod site;
mod software;
mod stopwatch;
mod wire;
mod writing;

pub(crate) use dial::dial;
pub use remote::FtpRemote;
pub use site::{Family, Options, Security, Site};
pub use stopwatch::{Phase, Stopwatch};
