//! The checks, one file each, in the order in which they are made.

pub(crate) mod alg;
pub(crate) mod connect;
pub(crate) mod families;
pub(crate) mod features;
pub(crate) mod greeting;
pub(crate) mod idle;
pub(crate) mod login;
pub(crate) mod names;
pub(crate) mod passive;
pub(crate) mod place;
pub(crate) mod resumption;
pub(crate) mod rewriting;
pub(crate) mod sftp;
pub(crate) mod timing;
pub(crate) mod tls;
pub(crate) mod transfer;
