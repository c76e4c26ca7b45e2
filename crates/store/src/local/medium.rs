//! What a file lies on, and so whether its operations may have to wait.

use rustix::fd::AsFd;
use rustix::fs::fstatfs;

/// What a file lies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Medium {
    /// Memory: nothing waits.
    Memory,
    /// A disk, here or elsewhere.
    Disk,
}

/// tmpfs and ramfs (statfs(2)).
const MEMORY: [u32; 2] = [0x0102_1994, 0x8584_58f6];

impl Medium {
    /// What an open file lies on.
    pub(super) fn of(file: impl AsFd) -> Self {
        // Its width differs between architectures; the numbers have 32 bits.
        match fstatfs(file) {
            Ok(told) if MEMORY.contains(&(told.f_type as u32)) => Self::Memory,
            _ => Self::Disk,
        }
    }
}
