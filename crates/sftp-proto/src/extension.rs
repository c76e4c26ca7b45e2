//! Requests that the protocol's third version does not have itself, by name, and the answers that some of them get.

use bytes::{BufMut, Bytes, BytesMut};

use crate::attributes::Attributes;
use crate::check::Check;
use crate::wire::{Fields, Malformed, Short, put_string};

/// Renames over what stands there (version `1`).
pub const POSIX_RENAME: &str = "posix-rename@openssh.com";
/// Tells of a file system, by path (version `2`).
pub const STATVFS: &str = "statvfs@openssh.com";
/// Tells of a file system, by handle (version `2`).
pub const FSTATVFS: &str = "fstatvfs@openssh.com";
/// Makes a second name for a file (version `1`).
pub const HARDLINK: &str = "hardlink@openssh.com";
/// Puts an open file on stable storage (version `1`).
pub const FSYNC: &str = "fsync@openssh.com";
/// Sets attributes of a link itself (version `1`).
pub const LSETSTAT: &str = "lsetstat@openssh.com";
/// Asks how much a packet may carry (version `1`).
pub const LIMITS: &str = "limits@openssh.com";
/// Makes a path absolute, `~` too (version `1`).
pub const EXPAND_PATH: &str = "expand-path@openssh.com";
/// Copies from one handle to another (version `1`).
pub const COPY_DATA: &str = "copy-data";
/// Asks for a user's home directory (version `1`).
pub const HOME_DIRECTORY: &str = "home-directory";
/// The name under which `check-file` is announced, its value the algorithms with commas between; some clients ask
/// for a handle's digests by it too.
pub const CHECK_FILE: &str = "check-file";
/// Asks for digests of a file, by path.
pub const CHECK_FILE_NAME: &str = "check-file-name";
/// Asks for digests of an open file.
pub const CHECK_FILE_HANDLE: &str = "check-file-handle";
/// Announced (version `1`) by servers that put an upload under its name when it is closed, and as a whole: there is no
/// need to write it under another name first. There is no such request.
pub const WHOLE_UPLOADS: &str = "whole-uploads@pasarela";

/// A request that goes by name. The answer is a STATUS unless something else is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Extended {
    /// [`POSIX_RENAME`].
    PosixRename {
        /// What is renamed.
        from: Bytes,
        /// Its new name.
        to: Bytes,
    },
    /// [`STATVFS`]; answered with [`StatVfs`].
    StatVfs {
        /// Something on that file system.
        path: Bytes,
    },
    /// [`FSTATVFS`]; answered with [`StatVfs`].
    FStatVfs {
        /// An open file on that file system.
        handle: Bytes,
    },
    /// [`HARDLINK`].
    HardLink {
        /// The file.
        target: Bytes,
        /// Its second name.
        link: Bytes,
    },
    /// [`FSYNC`].
    FSync {
        /// The open file.
        handle: Bytes,
    },
    /// [`LSETSTAT`].
    LSetStat {
        /// The entry, a link itself and not what it leads to.
        path: Bytes,
        /// What is wanted.
        attributes: Attributes,
    },
    /// [`LIMITS`]; answered with [`Limits`].
    Limits,
    /// [`EXPAND_PATH`]; answered with one name.
    ExpandPath {
        /// The path, which may begin with `~`.
        path: Bytes,
    },
    /// [`COPY_DATA`].
    CopyData {
        /// The handle that is read.
        from: Bytes,
        /// Where reading begins.
        from_offset: u64,
        /// How many bytes; 0 means to the end of the file.
        length: u64,
        /// The handle that is written.
        to: Bytes,
        /// Where writing begins.
        to_offset: u64,
    },
    /// [`HOME_DIRECTORY`]; answered with one name.
    HomeDirectory {
        /// Whose; empty means the visitor's own.
        user: Bytes,
    },
    /// [`CHECK_FILE_NAME`]; answered with [`crate::Checked`].
    CheckFileName {
        /// The file.
        path: Bytes,
        /// What to digest, and how.
        check: Check,
    },
    /// [`CHECK_FILE_HANDLE`] or [`CHECK_FILE`]; answered with [`crate::Checked`].
    CheckFileHandle {
        /// The open file.
        handle: Bytes,
        /// What to digest, and how.
        check: Check,
    },
    /// A request of another name.
    Other {
        /// The name.
        name: Bytes,
        /// What it says.
        content: Bytes,
    },
}

impl Extended {
    /// The name that it goes by.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        let name = match self {
            Self::PosixRename { .. } => POSIX_RENAME,
            Self::StatVfs { .. } => STATVFS,
            Self::FStatVfs { .. } => FSTATVFS,
            Self::HardLink { .. } => HARDLINK,
            Self::FSync { .. } => FSYNC,
            Self::LSetStat { .. } => LSETSTAT,
            Self::Limits => LIMITS,
            Self::ExpandPath { .. } => EXPAND_PATH,
            Self::CopyData { .. } => COPY_DATA,
            Self::HomeDirectory { .. } => HOME_DIRECTORY,
            Self::CheckFileName { .. } => CHECK_FILE_NAME,
            Self::CheckFileHandle { .. } => CHECK_FILE_HANDLE,
            Self::Other { name, .. } => return name,
        };
        name.as_bytes()
    }

    pub(crate) fn put(&self, out: &mut BytesMut) {
        put_string(out, self.name());
        match self {
            Self::PosixRename { from: one, to: other }
            | Self::HardLink {
                target: one,
                link: other,
            } => {
                put_string(out, one);
                put_string(out, other);
            }
            Self::StatVfs { path: text }
            | Self::FStatVfs { handle: text }
            | Self::FSync { handle: text }
            | Self::ExpandPath { path: text }
            | Self::HomeDirectory { user: text } => put_string(out, text),
            Self::LSetStat { path, attributes } => {
                put_string(out, path);
                attributes.put(out);
            }
            Self::Limits => {}
            Self::CopyData {
                from,
                from_offset,
                length,
                to,
                to_offset,
            } => {
                put_string(out, from);
                out.put_u64(*from_offset);
                out.put_u64(*length);
                put_string(out, to);
                out.put_u64(*to_offset);
            }
            Self::CheckFileName { path: text, check } | Self::CheckFileHandle { handle: text, check } => {
                put_string(out, text);
                check.put(out);
            }
            Self::Other { content, .. } => out.put_slice(content),
        }
    }

    pub(crate) fn read(fields: &mut Fields) -> Result<Self, Short> {
        let name = fields.string()?;
        Ok(match std::str::from_utf8(&name).unwrap_or_default() {
            POSIX_RENAME => Self::PosixRename {
                from: fields.string()?,
                to: fields.string()?,
            },
            STATVFS => Self::StatVfs {
                path: fields.string()?,
            },
            FSTATVFS => Self::FStatVfs {
                handle: fields.string()?,
            },
            HARDLINK => Self::HardLink {
                target: fields.string()?,
                link: fields.string()?,
            },
            FSYNC => Self::FSync {
                handle: fields.string()?,
            },
            LSETSTAT => Self::LSetStat {
                path: fields.string()?,
                attributes: Attributes::read(fields)?,
            },
            LIMITS => Self::Limits,
            EXPAND_PATH => Self::ExpandPath {
                path: fields.string()?,
            },
            COPY_DATA => Self::CopyData {
                from: fields.string()?,
                from_offset: fields.u64()?,
                length: fields.u64()?,
                to: fields.string()?,
                to_offset: fields.u64()?,
            },
            HOME_DIRECTORY => Self::HomeDirectory {
                user: fields.string()?,
            },
            CHECK_FILE_NAME => Self::CheckFileName {
                path: fields.string()?,
                check: Check::read(fields)?,
            },
            CHECK_FILE_HANDLE | CHECK_FILE => Self::CheckFileHandle {
                handle: fields.string()?,
                check: Check::read(fields)?,
            },
            _ => Self::Other {
                name,
                content: fields.rest(),
            },
        })
    }
}

/// How much an implementation takes, the answer to [`LIMITS`]. 0 means that it does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Bytes of a packet.
    pub packet: u64,
    /// Bytes that a READ may ask for.
    pub read: u64,
    /// Bytes that a WRITE may carry.
    pub write: u64,
    /// Handles that may be open at once.
    pub handles: u64,
}

impl Limits {
    /// As the content of [`crate::Response::Extended`].
    #[must_use]
    pub fn encode(&self) -> Bytes {
        put_numbers([self.packet, self.read, self.write, self.handles])
    }

    /// From the content of [`crate::Response::Extended`].
    ///
    /// # Errors
    /// [`Malformed`]: it is cut short.
    pub fn decode(content: Bytes) -> Result<Self, Malformed> {
        let [packet, read, write, handles] = read_numbers(content, LIMITS)?;
        Ok(Self {
            packet,
            read,
            write,
            handles,
        })
    }
}

/// What is known of a file system, the answer to [`STATVFS`]: the fields of POSIX's `statvfs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StatVfs {
    /// Bytes of a block.
    pub block_size: u64,
    /// Bytes of the unit that blocks are counted in.
    pub fragment_size: u64,
    /// Blocks in all.
    pub blocks: u64,
    /// Blocks that are free.
    pub blocks_free: u64,
    /// Blocks that are free for everybody.
    pub blocks_available: u64,
    /// Files that there can be.
    pub files: u64,
    /// Files that there can still be.
    pub files_free: u64,
    /// The same, for everybody.
    pub files_available: u64,
    /// What tells it from other file systems.
    pub id: u64,
    /// [`StatVfs::READ_ONLY`] and [`StatVfs::NO_SETUID`].
    pub flags: u64,
    /// Bytes of the longest name.
    pub name_max: u64,
}

impl StatVfs {
    /// Nothing can be written there.
    pub const READ_ONLY: u64 = 1;
    /// Set-user-id and set-group-id have no effect there.
    pub const NO_SETUID: u64 = 2;

    /// As the content of [`crate::Response::Extended`].
    #[must_use]
    pub fn encode(&self) -> Bytes {
        put_numbers([
            self.block_size,
            self.fragment_size,
            self.blocks,
            self.blocks_free,
            self.blocks_available,
            self.files,
            self.files_free,
            self.files_available,
            self.id,
            self.flags,
            self.name_max,
        ])
    }

    /// From the content of [`crate::Response::Extended`].
    ///
    /// # Errors
    /// [`Malformed`]: it is cut short.
    pub fn decode(content: Bytes) -> Result<Self, Malformed> {
        let numbers: [u64; 11] = read_numbers(content, STATVFS)?;
        let [
            block_size,
            fragment_size,
            blocks,
            blocks_free,
            blocks_available,
            rest @ ..,
        ] = numbers;
        let [files, files_free, files_available, id, flags, name_max] = rest;
        Ok(Self {
            block_size,
            fragment_size,
            blocks,
            blocks_free,
            blocks_available,
            files,
            files_free,
            files_available,
            id,
            flags,
            name_max,
        })
    }
}

fn put_numbers<const N: usize>(numbers: [u64; N]) -> Bytes {
    let mut out = BytesMut::with_capacity(N * 8);
    numbers.into_iter().for_each(|number| out.put_u64(number));
    out.freeze()
}

fn read_numbers<const N: usize>(content: Bytes, what: &'static str) -> Result<[u64; N], Malformed> {
    let mut fields = Fields(content);
    let mut numbers = [0; N];
    for number in &mut numbers {
        *number = fields.u64().map_err(|short| short.within(None, what))?;
    }
    Ok(numbers)
}
