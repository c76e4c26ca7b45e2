//! Putting files and directories on stable storage, with what some file systems need beside `fsync`.

use std::fs::File;

use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{self, Mode, OFlags};
use rustix::io::Errno;

use crate::Result;

/// File systems that tell of a failed write only when the file is closed or synced (statfs(2)): NFS, SMB, CIFS, SMB2.
const LATE_TO_TELL: [u32; 4] = [0x6969, 0x517b, 0xff53_4d42, 0xfe53_4d42];

/// Puts a file with its length, mode and owner on stable storage. Without `safe` only where the file system would
/// keep quiet about a failed write otherwise.
pub(super) fn file(file: &File, safe: bool) -> Result<()> {
    if safe || is_late_to_tell(file) {
        fs::fsync(file)?;
    }
    Ok(())
}

/// Puts the names in a directory on stable storage. `witness` is a readable file on the same file system.
pub(super) fn directory(dir: BorrowedFd<'_>, witness: impl AsFd) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let synced = match fs::openat(dir, c".", flags, Mode::empty()) {
        Ok(dir) => fs::fsync(dir),
        // A drop box, which we may write to but not read.
        Err(Errno::ACCESS) => fs::syncfs(witness),
        Err(other) => Err(other),
    };
    match synced {
        // The file system knows no such thing for directories; what it does for files is all there is.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Ok(()),
        other => Ok(other?),
    }
}

fn is_late_to_tell(file: &File) -> bool {
    fs::fstatfs(file).is_ok_and(|stat| {
        // Its width differs between architectures; the numbers have 32 bits.
        LATE_TO_TELL.contains(&(stat.f_type as u32))
    })
}
