//! A file that is read: from the page cache at once, from the disk on a thread that may wait.

use std::io::IoSliceMut;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use rustix::fs::{self, AtFlags, FileType, OFlags, StatxFlags};
use rustix::io::{Errno, ReadWriteFlags};

use super::blocking;
use super::confine::{Root, kind};
use super::medium::Medium;
use super::metadata::size;
use crate::{Error, ErrorKind, File, Result, VirtualPath};

/// A regular file, open for reading.
pub(super) struct Reading {
    file: Arc<std::fs::File>,
    medium: Medium,
}

impl Reading {
    /// Opens a regular file. Nothing else is opened for effect: what stands there is looked at before, since
    /// opening some devices does something, and after, since it may have been swapped.
    pub(super) fn open(root: &Root, path: &VirtualPath) -> Result<Self> {
        only_file(&fs::fstat(root.open_at(path, OFlags::PATH)?)?)?;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = root.open_at(path, flags)?;
        only_file(&fs::fstat(&file)?)?;
        Ok(Self {
            medium: Medium::of(&file),
            file: Arc::new(file.into()),
        })
    }
}

/// Refuses what is no regular file.
pub(super) fn only_file(stat: &fs::Stat) -> Result<()> {
    match kind(stat) {
        FileType::RegularFile => Ok(()),
        FileType::Directory => Err(ErrorKind::IsDirectory.into()),
        _ => Err(ErrorKind::NotAFile.into()),
    }
}

#[async_trait]
impl File for Reading {
    /// Fewer bytes where the page cache holds fewer just now, none at the end only.
    async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes> {
        if len == 0 || i64::try_from(offset).is_err() {
            return Ok(Bytes::new());
        }
        let mut buffer = vec![0; len];
        if self.medium == Medium::Memory {
            return read_blocking(&self.file, buffer, offset);
        }
        match cached(&self.file, &mut buffer, offset) {
            Some(count) => {
                buffer.truncate(count);
                Ok(buffer.into())
            }
            None => {
                let file = Arc::clone(&self.file);
                blocking(move || read_blocking(&file, buffer, offset)).await
            }
        }
    }

    async fn write_at(&self, _offset: u64, _bytes: Bytes) -> Result<()> {
        Err(ErrorKind::PermissionDenied.into())
    }

    async fn size(&self) -> Result<u64> {
        if let Some(size) = size_at_hand(&self.file) {
            return Ok(size);
        }
        let file = Arc::clone(&self.file);
        blocking(move || Ok(size(&fs::fstat(&*file)?))).await
    }

    fn start(&self) -> u64 {
        0
    }

    async fn prepare(&self) -> Result<()> {
        Ok(())
    }

    async fn publish(&self) -> Result<()> {
        Ok(())
    }

    fn as_os_file(&self) -> Option<&std::fs::File> {
        Some(&self.file)
    }

    /// The page cache fills up in order, so where it has both ends of a short span it has, as a rule, what is between.
    fn is_at_hand(&self, span: Range<u64>) -> bool {
        let has = |at| cached(&self.file, &mut [0], at) == Some(1);
        self.medium == Medium::Memory || (!span.is_empty() && has(span.end - 1) && has(span.start))
    }
}

/// The length as this machine knows it, which no disk and no network is waited for. Opening the file has just asked.
fn size_at_hand(file: &std::fs::File) -> Option<u64> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let told = fs::statx(file, c"", flags, StatxFlags::SIZE).ok()?;
    (told.stx_mask & StatxFlags::SIZE.bits() != 0).then_some(told.stx_size)
}

/// What the page cache holds, without waiting for a disk; `None` where that cannot be told.
fn cached(file: &std::fs::File, buffer: &mut [u8], offset: u64) -> Option<usize> {
    match rustix::io::preadv2(
        file,
        &mut [IoSliceMut::new(buffer)],
        offset,
        ReadWriteFlags::NOWAIT,
    ) {
        // Linux 5.9 and 5.10 answer 0 in the middle of a file too (preadv2(2), BUGS). A file system that takes
        // this flag has the length at hand, so fstat does not wait either.
        Ok(0) => (size(&fs::fstat(file).ok()?) <= offset).then_some(0),
        Ok(count) => Some(count),
        Err(_) => None,
    }
}

/// Reads on a thread that may wait.
pub(super) fn read_blocking(file: &std::fs::File, mut buffer: Vec<u8>, offset: u64) -> Result<Bytes> {
    let count = loop {
        match file.read_at(&mut buffer, offset) {
            Err(error) if error.raw_os_error() == Some(Errno::INTR.raw_os_error()) => {}
            other => break other.map_err(Error::from)?,
        }
    };
    buffer.truncate(count);
    Ok(buffer.into())
}
