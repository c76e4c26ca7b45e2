//! What a client asks for (filexfer-02 §6).

use std::ops::BitOr;

use bytes::{BufMut, Bytes, BytesMut};

use crate::attributes::Attributes;
use crate::extension::Extended;
use crate::kind;
use crate::wire::{Fields, Malformed, Short, put_packet, put_string};

/// A request. Each carries a number of the client's choice, by which its answer is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Opens a file; answered with a handle.
    Open {
        /// The file.
        path: Bytes,
        /// What for.
        flags: OpenFlags,
        /// What a file that is made gets.
        attributes: Attributes,
    },
    /// Gives a handle of a file or a directory back.
    Close {
        /// The handle.
        handle: Bytes,
    },
    /// Reads; answered with data, fewer than asked for only at the end of the file, which is a STATUS.
    Read {
        /// The open file.
        handle: Bytes,
        /// Where to begin, in bytes.
        offset: u64,
        /// At most so many bytes.
        length: u32,
    },
    /// Writes.
    Write {
        /// The open file.
        handle: Bytes,
        /// Where to begin, in bytes.
        offset: u64,
        /// What to write.
        data: Bytes,
    },
    /// Describes an entry, a link as a link; answered with attributes.
    LStat {
        /// The entry.
        path: Bytes,
    },
    /// Describes an open file; answered with attributes.
    FStat {
        /// The handle.
        handle: Bytes,
    },
    /// Sets attributes of a file.
    SetStat {
        /// The file.
        path: Bytes,
        /// What is wanted.
        attributes: Attributes,
    },
    /// Sets attributes of an open file.
    FSetStat {
        /// The handle.
        handle: Bytes,
        /// What is wanted.
        attributes: Attributes,
    },
    /// Opens a directory; answered with a handle.
    OpenDir {
        /// The directory.
        path: Bytes,
    },
    /// The next entries of a directory; answered with names, at the end with a STATUS.
    ReadDir {
        /// The handle.
        handle: Bytes,
    },
    /// Removes a file or a link.
    Remove {
        /// The entry.
        path: Bytes,
    },
    /// Makes a directory.
    MakeDir {
        /// Its name.
        path: Bytes,
        /// What it gets.
        attributes: Attributes,
    },
    /// Removes an empty directory.
    RemoveDir {
        /// The directory.
        path: Bytes,
    },
    /// Makes a path absolute; answered with one name.
    RealPath {
        /// The path.
        path: Bytes,
    },
    /// Describes a file, links followed; answered with attributes.
    Stat {
        /// The file.
        path: Bytes,
    },
    /// Renames where nothing stands under the new name.
    Rename {
        /// What is renamed.
        from: Bytes,
        /// Its new name.
        to: Bytes,
    },
    /// Reads a link; answered with one name.
    ReadLink {
        /// The link.
        path: Bytes,
    },
    /// Makes a link. The order is that of OpenSSH, which most implementations have followed; the draft has the link
    /// first.
    SymLink {
        /// What the link says.
        target: Bytes,
        /// The link's own name.
        link: Bytes,
    },
    /// A request that goes by name.
    Extended(Extended),
    /// A type of packet that version 3 does not have; it is to be answered with
    /// [`crate::StatusCode::OpUnsupported`].
    Unknown {
        /// The type.
        kind: u8,
    },
}

/// What a file is opened for (filexfer-02 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OpenFlags(pub u32);

impl OpenFlags {
    /// For reading.
    pub const READ: Self = Self(0x01);
    /// For writing.
    pub const WRITE: Self = Self(0x02);
    /// Everything is written at the end, whatever offset it names.
    pub const APPEND: Self = Self(0x04);
    /// Made where it is missing.
    pub const CREATE: Self = Self(0x08);
    /// Emptied first.
    pub const TRUNCATE: Self = Self(0x10);
    /// With [`OpenFlags::CREATE`]: refused where it is there already.
    pub const EXCLUSIVE: Self = Self(0x20);

    /// Whether all of `flags` are set.
    #[must_use]
    pub fn has(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }
}

impl BitOr for OpenFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl Request {
    /// Writes it as a packet with the number `id`.
    pub fn encode(&self, id: u32, out: &mut BytesMut) {
        if let Self::Write { data, .. } = self {
            out.reserve(data.len() + 64);
        }
        put_packet(out, self.kind(), |out| {
            out.put_u32(id);
            self.put(out);
        });
    }

    /// Reads a packet: its number, and the request.
    ///
    /// # Errors
    /// [`Malformed`], with the number where it could be read.
    pub fn decode(packet: Bytes) -> Result<(u32, Self), Malformed> {
        let mut fields = Fields(packet);
        let (kind, id) = fields
            .u8()
            .and_then(|kind| Ok((kind, fields.u32()?)))
            .map_err(|short| short.within(None, "a request"))?;
        let request = Self::read(kind, &mut fields).map_err(|short| short.within(Some(id), named(kind)))?;
        Ok((id, request))
    }

    /// The protocol's word for it, for logs.
    #[must_use]
    pub fn word(&self) -> &'static str {
        named(self.kind())
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Open { .. } => kind::OPEN,
            Self::Close { .. } => kind::CLOSE,
            Self::Read { .. } => kind::READ,
            Self::Write { .. } => kind::WRITE,
            Self::LStat { .. } => kind::LSTAT,
            Self::FStat { .. } => kind::FSTAT,
            Self::SetStat { .. } => kind::SETSTAT,
            Self::FSetStat { .. } => kind::FSETSTAT,
            Self::OpenDir { .. } => kind::OPENDIR,
            Self::ReadDir { .. } => kind::READDIR,
            Self::Remove { .. } => kind::REMOVE,
            Self::MakeDir { .. } => kind::MKDIR,
            Self::RemoveDir { .. } => kind::RMDIR,
            Self::RealPath { .. } => kind::REALPATH,
            Self::Stat { .. } => kind::STAT,
            Self::Rename { .. } => kind::RENAME,
            Self::ReadLink { .. } => kind::READLINK,
            Self::SymLink { .. } => kind::SYMLINK,
            Self::Extended(_) => kind::EXTENDED,
            Self::Unknown { kind } => *kind,
        }
    }

    fn put(&self, out: &mut BytesMut) {
        match self {
            Self::Open {
                path,
                flags,
                attributes,
            } => {
                put_string(out, path);
                out.put_u32(flags.0);
                attributes.put(out);
            }
            Self::Read {
                handle,
                offset,
                length,
            } => {
                put_string(out, handle);
                out.put_u64(*offset);
                out.put_u32(*length);
            }
            Self::Write { handle, offset, data } => {
                put_string(out, handle);
                out.put_u64(*offset);
                put_string(out, data);
            }
            Self::Close { handle: text }
            | Self::FStat { handle: text }
            | Self::ReadDir { handle: text }
            | Self::LStat { path: text }
            | Self::OpenDir { path: text }
            | Self::Remove { path: text }
            | Self::RemoveDir { path: text }
            | Self::RealPath { path: text }
            | Self::Stat { path: text }
            | Self::ReadLink { path: text } => put_string(out, text),
            Self::SetStat {
                path: text,
                attributes,
            }
            | Self::MakeDir {
                path: text,
                attributes,
            }
            | Self::FSetStat {
                handle: text,
                attributes,
            } => {
                put_string(out, text);
                attributes.put(out);
            }
            Self::Rename { from: one, to: other }
            | Self::SymLink {
                target: one,
                link: other,
            } => {
                put_string(out, one);
                put_string(out, other);
            }
            Self::Extended(extended) => extended.put(out),
            Self::Unknown { .. } => {}
        }
    }

    fn read(kind: u8, fields: &mut Fields) -> Result<Self, Short> {
        Ok(match kind {
            kind::OPEN => Self::Open {
                path: fields.string()?,
                flags: OpenFlags(fields.u32()?),
                attributes: Attributes::read(fields)?,
            },
            kind::CLOSE => Self::Close {
                handle: fields.string()?,
            },
            kind::READ => Self::Read {
                handle: fields.string()?,
                offset: fields.u64()?,
                length: fields.u32()?,
            },
            kind::WRITE => Self::Write {
                handle: fields.string()?,
                offset: fields.u64()?,
                data: fields.string()?,
            },
            kind::LSTAT => Self::LStat {
                path: fields.string()?,
            },
            kind::FSTAT => Self::FStat {
                handle: fields.string()?,
            },
            kind::SETSTAT => Self::SetStat {
                path: fields.string()?,
                attributes: Attributes::read(fields)?,
            },
            kind::FSETSTAT => Self::FSetStat {
                handle: fields.string()?,
                attributes: Attributes::read(fields)?,
            },
            kind::OPENDIR => Self::OpenDir {
                path: fields.string()?,
            },
            kind::READDIR => Self::ReadDir {
                handle: fields.string()?,
            },
            kind::REMOVE => Self::Remove {
                path: fields.string()?,
            },
            kind::MKDIR => Self::MakeDir {
                path: fields.string()?,
                attributes: Attributes::read(fields)?,
            },
            kind::RMDIR => Self::RemoveDir {
                path: fields.string()?,
            },
            kind::REALPATH => Self::RealPath {
                path: fields.string()?,
            },
            kind::STAT => Self::Stat {
                path: fields.string()?,
            },
            kind::RENAME => Self::Rename {
                from: fields.string()?,
                to: fields.string()?,
            },
            kind::READLINK => Self::ReadLink {
                path: fields.string()?,
            },
            kind::SYMLINK => Self::SymLink {
                target: fields.string()?,
                link: fields.string()?,
            },
            kind::EXTENDED => Self::Extended(Extended::read(fields)?),
            kind => Self::Unknown { kind },
        })
    }
}

fn named(kind: u8) -> &'static str {
    match kind {
        kind::OPEN => "OPEN",
        kind::CLOSE => "CLOSE",
        kind::READ => "READ",
        kind::WRITE => "WRITE",
        kind::LSTAT => "LSTAT",
        kind::FSTAT => "FSTAT",
        kind::SETSTAT => "SETSTAT",
        kind::FSETSTAT => "FSETSTAT",
        kind::OPENDIR => "OPENDIR",
        kind::READDIR => "READDIR",
        kind::REMOVE => "REMOVE",
        kind::MKDIR => "MKDIR",
        kind::RMDIR => "RMDIR",
        kind::REALPATH => "REALPATH",
        kind::STAT => "STAT",
        kind::RENAME => "RENAME",
        kind::READLINK => "READLINK",
        kind::SYMLINK => "SYMLINK",
        kind::EXTENDED => "EXTENDED",
        _ => "a request of an unknown type",
    }
}
