//! SFTP without the network: packets, attributes, status codes, extensions and bounds, for both ends of a session.
//!
//! Version 3 of the protocol (draft-ietf-secsh-filexfer-02), which is what every implementation speaks, with the
//! extensions that OpenSSH describes in its `PROTOCOL`. Names are bytes; nothing here asks whether they are UTF-8.
//!
//! Bytes become packets in [`Frames`]; a packet becomes a [`Hello`], a [`Request`] or a [`Response`], and each of
//! those writes itself as a packet. Whatever is read is a slice of the packet that it came in, and no count that a
//! peer sends makes anything be allocated before the bytes are there.

mod attributes;
mod check;
pub mod extension;
mod frames;
mod hello;
mod request;
mod response;
mod status;
mod wire;

pub use attributes::{Attributes, FileKind};
pub use check::{Check, Checked};
pub use extension::{Extended, Limits, StatVfs};
pub use frames::{BadFrame, Frames};
pub use hello::Hello;
pub use request::{OpenFlags, Request};
pub use response::{Name, Response};
pub use status::{Status, StatusCode};
pub use wire::Malformed;

/// The version of the protocol that this crate speaks.
pub const VERSION: u32 = 3;

/// The longest packet, in bytes after its length field, that OpenSSH's server takes, and ours.
pub const MAX_PACKET: usize = 256 * 1024;

/// What a READ or WRITE may carry where packets may have [`MAX_PACKET`] bytes: the rest is for everything else in it.
pub const MAX_DATA: u32 = 255 * 1024;

/// What every implementation takes in a READ or WRITE (filexfer-02 §3), whether it tells of its limits or not.
pub const SAFE_DATA: u32 = 32 * 1024;

/// Types of packets (filexfer-02 §3).
mod kind {
    pub(crate) const INIT: u8 = 1;
    pub(crate) const VERSION: u8 = 2;
    pub(crate) const OPEN: u8 = 3;
    pub(crate) const CLOSE: u8 = 4;
    pub(crate) const READ: u8 = 5;
    pub(crate) const WRITE: u8 = 6;
    pub(crate) const LSTAT: u8 = 7;
    pub(crate) const FSTAT: u8 = 8;
    pub(crate) const SETSTAT: u8 = 9;
    pub(crate) const FSETSTAT: u8 = 10;
    pub(crate) const OPENDIR: u8 = 11;
    pub(crate) const READDIR: u8 = 12;
    pub(crate) const REMOVE: u8 = 13;
    pub(crate) const MKDIR: u8 = 14;
    pub(crate) const RMDIR: u8 = 15;
    pub(crate) const REALPATH: u8 = 16;
    pub(crate) const STAT: u8 = 17;
    pub(crate) const RENAME: u8 = 18;
    pub(crate) const READLINK: u8 = 19;
    pub(crate) const SYMLINK: u8 = 20;
    pub(crate) const STATUS: u8 = 101;
    pub(crate) const HANDLE: u8 = 102;
    pub(crate) const DATA: u8 = 103;
    pub(crate) const NAME: u8 = 104;
    pub(crate) const ATTRS: u8 = 105;
    pub(crate) const EXTENDED: u8 = 200;
    pub(crate) const EXTENDED_REPLY: u8 = 201;
}

#[cfg(test)]
mod tests;
