//! What is known of a file, or wanted of it (filexfer-02 §5).

use bytes::{BufMut, Bytes, BytesMut};

use crate::wire::{Fields, Short, put_string};

/// Attributes, each of which may be missing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attributes {
    /// Length in bytes.
    pub size: Option<u64>,
    /// Owner and group, as numbers.
    pub owner: Option<(u32, u32)>,
    /// POSIX mode: permission bits and, in a server's answers, the type of the file.
    pub permissions: Option<u32>,
    /// When it was read last and when its content changed last, in seconds since 1970 (until 2106).
    pub times: Option<(u32, u32)>,
    /// Named attributes of extensions.
    pub extended: Vec<(Bytes, Bytes)>,
}

/// The type of a file, from the mode's upper bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A device, socket or pipe.
    Other,
}

const SIZE: u32 = 0x0000_0001;
const OWNER: u32 = 0x0000_0002;
const PERMISSIONS: u32 = 0x0000_0004;
const TIMES: u32 = 0x0000_0008;
const EXTENDED: u32 = 0x8000_0000;

/// The bits of a mode that say the type.
const TYPE: u32 = 0o170_000;

impl FileKind {
    /// The bits of a mode that say this type; for [`FileKind::Other`] those of a device, as which nobody opens it.
    #[must_use]
    pub fn bits(self) -> u32 {
        match self {
            Self::File => 0o100_000,
            Self::Directory => 0o040_000,
            Self::Link => 0o120_000,
            Self::Other => 0o020_000,
        }
    }
}

impl Attributes {
    /// The type of the file, where its mode says one.
    #[must_use]
    pub fn kind(&self) -> Option<FileKind> {
        Some(match self.permissions? & TYPE {
            0 => return None,
            0o100_000 => FileKind::File,
            0o040_000 => FileKind::Directory,
            0o120_000 => FileKind::Link,
            _ => FileKind::Other,
        })
    }

    /// Whether nothing is known or wanted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn put(&self, out: &mut BytesMut) {
        let flag = |is_there: bool, bit: u32| if is_there { bit } else { 0 };
        out.put_u32(
            flag(self.size.is_some(), SIZE)
                | flag(self.owner.is_some(), OWNER)
                | flag(self.permissions.is_some(), PERMISSIONS)
                | flag(self.times.is_some(), TIMES)
                | flag(!self.extended.is_empty(), EXTENDED),
        );
        if let Some(size) = self.size {
            out.put_u64(size);
        }
        if let Some((user, group)) = self.owner {
            out.put_u32(user);
            out.put_u32(group);
        }
        if let Some(permissions) = self.permissions {
            out.put_u32(permissions);
        }
        if let Some((accessed, modified)) = self.times {
            out.put_u32(accessed);
            out.put_u32(modified);
        }
        if !self.extended.is_empty() {
            out.put_u32(u32::try_from(self.extended.len()).unwrap_or(u32::MAX));
            for (name, value) in &self.extended {
                put_string(out, name);
                put_string(out, value);
            }
        }
    }

    /// Bits that the protocol's third version does not know stand for nothing.
    pub(crate) fn read(fields: &mut Fields) -> Result<Self, Short> {
        let flags = fields.u32()?;
        let mut read = Self::default();
        if flags & SIZE != 0 {
            read.size = Some(fields.u64()?);
        }
        if flags & OWNER != 0 {
            read.owner = Some((fields.u32()?, fields.u32()?));
        }
        if flags & PERMISSIONS != 0 {
            read.permissions = Some(fields.u32()?);
        }
        if flags & TIMES != 0 {
            read.times = Some((fields.u32()?, fields.u32()?));
        }
        if flags & EXTENDED != 0 {
            for _ in 0..fields.u32()? {
                read.extended.push((fields.string()?, fields.string()?));
            }
        }
        Ok(read)
    }
}
