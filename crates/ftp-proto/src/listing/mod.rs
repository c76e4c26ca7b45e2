//! Directory entries as lines: `ls -l` for LIST, names for NLST, facts for MLSD and MLST.

pub mod facts;
pub mod options;
pub mod read;
pub mod unix;

use std::time::SystemTime;

/// What a line is made from; the caller fills it from its store.
#[derive(Debug, Clone)]
pub struct Item<'a> {
    /// The name as it stands in the line.
    pub name: &'a [u8],
    /// What it is.
    pub kind: ItemKind<'a>,
    /// Length in bytes.
    pub size: u64,
    /// When the content changed last.
    pub modified: SystemTime,
    /// `0o7777`.
    pub mode: u32,
    /// Owner, as a number.
    pub uid: u32,
    /// Group, as a number.
    pub gid: u32,
    /// Number of names.
    pub links: u64,
    /// What identifies it (device, inode).
    pub unique: (u64, u64),
    /// What the visitor may do with it.
    pub rights: Rights,
}

/// The kind of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemKind<'a> {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link and its text.
    Link(&'a [u8]),
    /// Anything else.
    Other,
}

/// What the visitor may do, for the `perm` fact (RFC 3659 §7.5.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is one letter of the fact, independent of the others"
)]
pub struct Rights {
    /// RETR, or LIST and CWD for a directory.
    pub read: bool,
    /// STOR, or making files in a directory.
    pub write: bool,
    /// APPE.
    pub append: bool,
    /// DELE and RMD.
    pub delete: bool,
    /// RNFR.
    pub rename: bool,
    /// MKD.
    pub mkdir: bool,
    /// LIST, CWD.
    pub list: bool,
}

/// Whether a name can stand in a listing: names with control bytes would break the line and are left out.
#[must_use]
pub fn is_listable(name: &[u8]) -> bool {
    !name.iter().any(|b| *b < 0x20 || *b == 0x7f)
}
