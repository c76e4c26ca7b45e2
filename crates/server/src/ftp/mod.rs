//! FTP and FTPS: one task a control connection, a switchboard for data connections.

pub(crate) mod chore;
pub(crate) mod connection;
pub(crate) mod data;
pub(crate) mod list;
mod refusal;
pub(crate) mod switchboard;
