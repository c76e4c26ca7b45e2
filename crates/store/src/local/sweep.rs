//! Takes away parts that nobody came back for, a little at a time, where uploads go.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustix::fd::BorrowedFd;
use rustix::fs;

use super::metadata::modified;
use super::part::{is_part_name, read_dir, remove_if_free};
use crate::Result;

/// How often one directory is swept.
const EVERY: Duration = Duration::from_secs(60);
/// Entries looked at in one sweep; the next one goes on behind them.
const MOST_ENTRIES: usize = 1000;
/// Directories remembered.
const MOST_DIRECTORIES: usize = 1024;

/// When each directory was swept, and how far.
#[derive(Debug)]
pub(super) struct Sweeps {
    keep: Duration,
    done: Mutex<HashMap<(u64, u64), Done>>,
}

#[derive(Debug, Clone, Copy)]
struct Done {
    at: Instant,
    /// Where the next sweep begins; 0 is the first entry.
    cookie: i64,
}

impl Sweeps {
    /// Parts older than `keep` are taken away.
    pub(super) fn new(keep: Duration) -> Self {
        Self {
            keep,
            done: Mutex::default(),
        }
    }

    /// Sweeps a directory, unless that was done a moment ago. A failure is no business of the upload that
    /// happened to come along: the next one tries again.
    pub(super) fn visit(&self, dir: BorrowedFd<'_>) {
        let Ok(stat) = fs::fstat(dir) else { return };
        let (key, now) = ((stat.st_dev, stat.st_ino), Instant::now());
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let cookie = match done.get(&key) {
            Some(last) if now.duration_since(last.at) < EVERY => return,
            Some(last) => last.cookie,
            None => 0,
        };
        if done.len() >= MOST_DIRECTORIES {
            done.retain(|_, last| now.duration_since(last.at) < EVERY);
        }
        if done.len() >= MOST_DIRECTORIES {
            return;
        }
        done.insert(key, Done { at: now, cookie: 0 });
        drop(done);
        match sweep(dir, cookie, self.keep) {
            Ok(cookie) => {
                let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
                done.insert(key, Done { at: now, cookie });
            }
            Err(error) => tracing::debug!(?error, "directory not swept"),
        }
    }
}

/// Looks at some entries from `cookie` on. Returns where the next sweep goes on.
fn sweep(dir: BorrowedFd<'_>, cookie: i64, keep: Duration) -> Result<i64> {
    let mut entries = read_dir(dir)?;
    if cookie != 0 {
        entries.seek(cookie)?;
    }
    let (now, mut next) = (SystemTime::now(), 0);
    for _ in 0..MOST_ENTRIES {
        let Some(entry) = entries.read() else { return Ok(0) };
        let entry = entry?;
        next = entry.offset();
        let name = entry.file_name().to_bytes();
        if is_part_name(name) {
            let is_old = |stat: &fs::Stat| now.duration_since(modified(stat)).is_ok_and(|age| age > keep);
            if let Err(error) = remove_if_free(dir, name, is_old) {
                tracing::debug!(part = %name.escape_ascii(), ?error, "old part not removed");
            }
        }
    }
    Ok(next)
}

#[cfg(test)]
mod tests {
    use std::fs::{File, read_dir};

    use rustix::fd::AsFd;

    use super::super::part::canonical_name;
    use super::*;

    fn old_part(dir: &std::path::Path, name: &str) {
        let part = String::from_utf8(canonical_name(name.as_bytes())).unwrap();
        let file = File::create(dir.join(part)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(3600))
            .unwrap();
    }

    #[test]
    fn a_directory_of_any_size_is_swept_in_the_end_and_not_twice_a_minute() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = File::open(tmp.path()).unwrap();
        for number in 0..MOST_ENTRIES + 200 {
            old_part(tmp.path(), &number.to_string());
        }
        let sweeps = Sweeps::new(Duration::from_secs(60));
        sweeps.visit(dir.as_fd());
        let left = read_dir(tmp.path()).unwrap().count();
        assert!((200..=202).contains(&left), "{left}");
        sweeps.visit(dir.as_fd());
        assert_eq!(read_dir(tmp.path()).unwrap().count(), left);

        let cookie = sweeps.done.lock().unwrap().values().next().unwrap().cookie;
        sweep(dir.as_fd(), cookie, Duration::from_secs(60)).unwrap();
        assert_eq!(read_dir(tmp.path()).unwrap().count(), 0);
    }
}
