//! What the system tells of a file, in the words of the contract.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{self, FileType, Stat, Timespec};

use super::confine::kind;
use crate::{Kind, Metadata};

/// The contract's description of a `stat` answer.
pub(super) fn metadata(stat: &Stat) -> Metadata {
    Metadata {
        kind: match kind(stat) {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Link,
            _ => Kind::Other,
        },
        size: size(stat),
        modified: modified(stat),
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        #[allow(clippy::useless_conversion)] // its width differs from architecture to architecture
        links: u64::from(stat.st_nlink),
        unique: (stat.st_dev, stat.st_ino),
    }
}

/// Length in bytes.
pub(super) fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

/// When the content changed last; an impossible time is the epoch.
pub(super) fn modified(stat: &Stat) -> SystemTime {
    #[allow(clippy::useless_conversion)] // signedness differs between architectures
    let nanoseconds = Duration::from_nanos(u64::try_from(stat.st_mtime_nsec).unwrap_or(0));
    #[allow(clippy::unnecessary_cast, clippy::useless_conversion)] // signedness differs between architectures
    let seconds = stat.st_mtime as i64;
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let time = if seconds < 0 {
        UNIX_EPOCH.checked_sub(whole)
    } else {
        UNIX_EPOCH.checked_add(whole)
    };
    time.and_then(|time| time.checked_add(nanoseconds))
        .unwrap_or(UNIX_EPOCH)
}

/// The times for `utimensat`: access left as it is, modification `to`.
pub(super) fn modified_at(to: SystemTime) -> fs::Timestamps {
    let (tv_sec, tv_nsec) = match to.duration_since(UNIX_EPOCH) {
        Ok(after) => (after.as_secs().cast_signed(), after.subsec_nanos()),
        Err(before) => {
            // A timespec counts nanoseconds forward, before the epoch too.
            let before = before.duration();
            let seconds = before.as_secs().cast_signed();
            match before.subsec_nanos() {
                0 => (-seconds, 0),
                nanoseconds => (-seconds - 1, 1_000_000_000 - nanoseconds),
            }
        }
    };
    fs::Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: fs::UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec,
            tv_nsec: tv_nsec.into(),
        },
    }
}
