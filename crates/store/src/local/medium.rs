//! What a file lies on, and so whether its operations may have to wait.

use rustix::fd::AsFd;
use rustix::fs::fstatfs;

/// What a file lies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Medium {
    /// Memory: nothing waits.
    Memory,
    /// A disk of this machine: what the kernel knows of an open file needs none of it.
    Disk,
    /// Anything else, such as another machine's disk.
    Other,
}

/// tmpfs and ramfs (statfs(2)).
const MEMORY: [u32; 2] = [0x0102_1994, 0x8584_58f6];
/// ext2 to ext4, XFS, Btrfs, F2FS, ZFS.
const DISK: [u32; 5] = [0xef53, 0x5846_5342, 0x9123_683e, 0xf2f5_2010, 0x2fc1_2fc1];

impl Medium {
    /// What an open file lies on.
    pub(super) fn of(file: impl AsFd) -> Self {
        // Its width differs between architectures; the numbers have 32 bits.
        match fstatfs(file).map(|told| told.f_type as u32).ok() {
            Some(kind) if MEMORY.contains(&kind) => Self::Memory,
            Some(kind) if DISK.contains(&kind) => Self::Disk,
            _ => Self::Other,
        }
    }
}
