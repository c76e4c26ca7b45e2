//! A directory, page by page, as the system hands it out.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use rustix::fs::{self, Dir};
use rustix::io::Errno;

use super::blocking;
use super::confine::stat_in;
use super::metadata::metadata;
use super::part::is_part_name;
use crate::{Entry, ErrorKind, Kind, Pages, Result};

/// Entries in one page: enough to make a hop to another thread cheap, few enough to hold in memory.
const PAGE: usize = 256;

/// An open directory and how far it has been read.
pub(super) struct Listing {
    dir: Arc<Mutex<Dir>>,
    ended: bool,
}

impl Listing {
    pub(super) fn new(dir: Dir) -> Self {
        Self {
            dir: Arc::new(Mutex::new(dir)),
            ended: false,
        }
    }
}

#[async_trait]
impl Pages for Listing {
    async fn next_page(&mut self) -> Result<Option<Vec<Entry>>> {
        // What is known already needs no other thread.
        if self.ended {
            return Ok(None);
        }
        let dir = Arc::clone(&self.dir);
        let read = blocking(move || page(&mut dir.lock().unwrap_or_else(PoisonError::into_inner)));
        let (entries, ended) = read.await?;
        self.ended = ended;
        Ok((!entries.is_empty()).then_some(entries))
    }
}

/// The next entries, and whether these were the last.
fn page(dir: &mut Dir) -> Result<(Vec<Entry>, bool)> {
    let mut entries = Vec::new();
    while entries.len() < PAGE {
        let next = match dir.read() {
            // The directory itself was removed meanwhile: it has no more entries.
            None | Some(Err(Errno::NOENT)) => return Ok((entries, true)),
            Some(next) => next?,
        };
        let name = next.file_name().to_bytes();
        if name != b"." && name != b".." && !is_part_name(name) {
            match entry_in(dir.fd()?, name) {
                // What vanished since its name was read is left out.
                Ok(entry) => entries.extend(entry),
                // So is what cannot be told, such as a dead mount: it must not hide the others.
                Err(error) if error.kind == ErrorKind::Io => {
                    tracing::warn!(name = %name.escape_ascii(), ?error, "entry left out of a listing");
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok((entries, false))
}

/// The entry `name` of a directory; `None` where nothing stands.
pub(super) fn entry_in(dir: impl rustix::fd::AsFd + Copy, name: &[u8]) -> Result<Option<Entry>> {
    let Some(stat) = stat_in(dir, name)? else {
        return Ok(None);
    };
    let metadata = metadata(&stat);
    let link_target = match metadata.kind {
        // Gone or another thing by now: the entry is told as it was, without its text.
        Kind::Link => fs::readlinkat(dir, name, Vec::new())
            .ok()
            .map(std::ffi::CString::into_bytes),
        _ => None,
    };
    Ok(Some(Entry {
        name: name.to_vec(),
        metadata,
        link_target,
    }))
}
