//! Where files are: the [`Storage`] trait, virtual paths and the backends; knows no protocol and no account.
//!
//! A backend keeps the **publish promise**: what is written through [`Storage::open`] stands nowhere under its
//! name before [`File::publish`] has returned; until then the old file is whole. See [`Open`] for what becomes
//! of an upload that is dropped unpublished.

mod error;
pub mod local;
pub mod memory;
mod path;

use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;

pub use error::{Error, ErrorKind};
pub use path::{BadPath, VirtualPath};

/// What every operation of a backend returns.
pub type Result<T> = std::result::Result<T, Error>;

/// A tree of files and directories beneath one root.
///
/// Every path is absolute within that root. Links are followed beneath the root only, as `chroot` would: a link
/// to `/x` means the root's own `x`, and `..` above the root is the root.
#[async_trait]
pub trait Storage: Send + Sync + 'static {
    /// What stands under `path`, links followed.
    async fn stat(&self, path: &VirtualPath) -> Result<Metadata>;

    /// What stands under `path` itself: a link is described as a link.
    async fn stat_entry(&self, path: &VirtualPath) -> Result<Entry>;

    /// The entries of a directory, page by page, in the order of the backend; `.` and `..` and unpublished
    /// parts are left out. Memory does not grow with the folder.
    async fn list(&self, dir: &VirtualPath) -> Result<Box<dyn Pages>>;

    /// Opens a file for reading or for an upload.
    async fn open(&self, path: &VirtualPath, how: Open) -> Result<Arc<dyn File>>;

    /// The length in bytes of the unpublished part that an interrupted upload of a *new* file left under this
    /// name; `None` where there is none or where a file stands under the name.
    async fn part(&self, path: &VirtualPath) -> Result<Option<u64>>;

    /// Makes one directory; [`ErrorKind::Exists`] where something stands already.
    async fn make_dir(&self, path: &VirtualPath) -> Result<()>;

    /// Removes a file or a link (the link itself); [`ErrorKind::IsDirectory`] for a directory.
    /// Where no file but only a part stands under the name, the part is removed.
    async fn remove_file(&self, path: &VirtualPath) -> Result<()>;

    /// Removes an empty directory. Parts that nobody is writing do not count as content and go with it.
    async fn remove_dir(&self, path: &VirtualPath) -> Result<()>;

    /// Renames an entry (a link itself, not its target). With `replace` a *file* that stands under `to` is
    /// replaced in one step; without, [`ErrorKind::Exists`].
    async fn rename(&self, from: &VirtualPath, to: &VirtualPath, replace: bool) -> Result<()>;

    /// Sets the modification time.
    async fn set_modified(&self, path: &VirtualPath, to: SystemTime) -> Result<()>;

    /// Sets the permission bits `0o777`; set-user-id, set-group-id and sticky are never set.
    async fn set_mode(&self, path: &VirtualPath, mode: u32) -> Result<()>;

    /// Makes a symbolic link at `link` whose text is `target`.
    async fn make_link(&self, target: &[u8], link: &VirtualPath) -> Result<()>;

    /// Bytes that an upload into this directory may still take, where the backend can tell.
    async fn space(&self, dir: &VirtualPath) -> Result<Option<u64>>;

    /// The file system that holds `path`, where the backend has one; else [`ErrorKind::Unsupported`].
    async fn volume(&self, _path: &VirtualPath) -> Result<Volume> {
        Err(ErrorKind::Unsupported.into())
    }
}

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// For reading. Only a regular file can be read; anything else is [`ErrorKind::NotAFile`] or
    /// [`ErrorKind::IsDirectory`].
    Read,
    /// New content as a whole. Dropped unpublished: an existing file stays as it was and what was written is
    /// discarded; of a *new* file the part is kept (see [`Storage::part`]).
    Replace,
    /// As [`Open::Replace`], but [`ErrorKind::Exists`] where something stands under the name, now and at publish.
    CreateNew,
    /// Content that begins with the first `offset` bytes of the file (or, where no file stands, of its part).
    /// [`ErrorKind::PastEnd`] where there are fewer, [`ErrorKind::Busy`] where the part is still being written,
    /// as it is until a session that lost its client is closed. What is dropped unpublished: as with
    /// [`Open::Replace`]; of a part, nothing is cut before the first byte is written.
    Resume {
        /// Where writing begins, in bytes.
        offset: u64,
    },
    /// Content that begins with all of the file (or of its part, [`ErrorKind::Busy`] while that is written); new
    /// where neither stands.
    Append,
}

impl Open {
    /// Where writing begins when `length` bytes are there already.
    pub(crate) fn start(self, length: u64) -> Result<u64> {
        match self {
            Self::Resume { offset } if offset > length => Err(ErrorKind::PastEnd.into()),
            Self::Resume { offset } => Ok(offset),
            Self::Append => Ok(length),
            Self::Read | Self::Replace | Self::CreateNew => Ok(0),
        }
    }
}

/// An open file. Offsets and lengths are in bytes. All methods may be called from several tasks.
#[async_trait]
pub trait File: Send + Sync {
    /// Up to `len` bytes from `offset`; empty means the end of the file.
    async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes>;

    /// Writes all of `bytes` at `offset`. Never leaves a hole that the caller did not ask for.
    async fn write_at(&self, offset: u64, bytes: Bytes) -> Result<()>;

    /// Writes the first `len` bytes that wait in a pipe at `offset`, without their becoming this process's;
    /// [`ErrorKind::Unsupported`] where that cannot be done, and then they wait in the pipe still.
    async fn write_from(&self, _offset: u64, _pipe: &Arc<OwnedFd>, _len: usize) -> Result<()> {
        Err(ErrorKind::Unsupported.into())
    }

    /// Cuts an upload to `size` bytes, or fills it up with zeros; [`ErrorKind::Unsupported`] where the backend takes
    /// bytes in their order only.
    async fn set_size(&self, _size: u64) -> Result<()> {
        Err(ErrorKind::Unsupported.into())
    }

    /// The length at the moment of the call.
    async fn size(&self) -> Result<u64>;

    /// Where an upload's first byte goes: 0, the offset of [`Open::Resume`], or the old end for [`Open::Append`].
    fn start(&self) -> u64;

    /// Everything has come: puts it on stable storage (nothing to do where durability is "fast"), so that what
    /// remains for [`File::publish`] is short. Of an upload that is dropped from here on, the part that is kept
    /// lacks its last byte: a client that compares lengths must never take a part for the whole.
    async fn prepare(&self) -> Result<()>;

    /// Makes the upload stand under its name, durably: rename, then the directory. A second call does nothing.
    ///
    /// It fails, and nothing changes, after any failed write. Only when the directory cannot be put on stable
    /// storage does the upload stand under its name in spite of the error.
    async fn publish(&self) -> Result<()>;

    /// The operating system's file, where there is one, for zero-copy transfers.
    fn as_os_file(&self) -> Option<&std::fs::File> {
        None
    }

    /// Whether a span of [`File::as_os_file`] can be read now without waiting for a disk, as far as that can be told.
    fn is_at_hand(&self, _span: Range<u64>) -> bool {
        false
    }
}

/// A directory listing, page by page.
#[async_trait]
pub trait Pages: Send {
    /// The next entries (at most a few hundred); `None` at the end.
    async fn next_page(&mut self) -> Result<Option<Vec<Entry>>>;
}

/// One entry of a directory.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The name, one component, in the file system's bytes.
    pub name: Vec<u8>,
    /// What it is; a link is described as a link.
    pub metadata: Metadata,
    /// A link's text.
    pub link_target: Option<Vec<u8>>,
}

/// What a backend knows of a file.
#[derive(Debug, Clone)]
pub struct Metadata {
    /// Its kind.
    pub kind: Kind,
    /// Length in bytes.
    pub size: u64,
    /// When its content changed last.
    pub modified: SystemTime,
    /// Permission bits, `0o7777`.
    pub mode: u32,
    /// Owner, as a number.
    pub uid: u32,
    /// Group, as a number.
    pub gid: u32,
    /// Number of names.
    pub links: u64,
    /// What identifies the file while it exists (device and inode).
    pub unique: (u64, u64),
}

/// What a backend knows of the file system that holds a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Volume {
    /// Bytes of the unit that blocks are counted in.
    pub block: u64,
    /// Blocks in all.
    pub blocks: u64,
    /// Blocks that are free.
    pub free: u64,
    /// Blocks that an upload may still take.
    pub available: u64,
    /// Files that there can be.
    pub files: u64,
    /// Files that there can still be.
    pub files_free: u64,
}

/// The kind of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A device, socket or pipe.
    Other,
}
