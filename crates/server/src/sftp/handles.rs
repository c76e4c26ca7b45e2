//! What a session has open: files that it reads, files that it writes, directories.

use std::collections::{HashMap, VecDeque};
use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::Bytes;
use pasarela_sftp_proto::{Attributes, Status};
use pasarela_store::{Entry, File, Pages, VirtualPath};
use tracing::info;

use super::status;
use super::writing::Writing;

/// Handles that a session may have open at once; it is told so.
pub(super) const MOST: usize = 256;

/// The handles of one session. A handle is a number that no other one of the session had before.
#[derive(Default)]
pub(super) struct Handles {
    open: HashMap<u64, Handle>,
    last: u64,
}

/// One of them.
pub(super) enum Handle {
    Reading(Arc<Reading>),
    Writing(Arc<Writing>),
    Directory(Directory),
}

/// A file that is open for reading.
pub(super) struct Reading {
    pub(super) file: Arc<dyn File>,
    pub(super) path: VirtualPath,
    pub(super) attributes: Attributes,
    pub(super) log: TransferLog,
}

/// A directory that is being listed.
pub(super) struct Directory {
    pub(super) path: VirtualPath,
    pub(super) attributes: Attributes,
    /// Locked by nobody: it lets the session be looked at from several threads, which pages alone do not.
    pub(super) pages: Mutex<Box<dyn Pages>>,
    /// What has come of a page and was not sent yet.
    pub(super) ready: VecDeque<Entry>,
}

impl Handles {
    /// Whether there is room for another one.
    pub(super) fn has_room(&self) -> Result<(), Status> {
        match self.open.len() < MOST {
            true => Ok(()),
            false => Err(status::failure("too many handles are open")),
        }
    }

    /// What it is called from now on.
    pub(super) fn add(&mut self, handle: Handle) -> Bytes {
        self.last += 1;
        self.open.insert(self.last, handle);
        Bytes::copy_from_slice(&self.last.to_be_bytes())
    }

    pub(super) fn at(&self, handle: &[u8]) -> Result<&Handle, Status> {
        let found = number(handle).and_then(|number| self.open.get(&number));
        found.ok_or_else(status::no_such_handle)
    }

    pub(super) fn directory(&mut self, handle: &[u8]) -> Result<&mut Directory, Status> {
        match number(handle).and_then(|number| self.open.get_mut(&number)) {
            Some(Handle::Directory(directory)) => Ok(directory),
            Some(_) => Err(status::failure("the handle is none of a directory")),
            None => Err(status::no_such_handle()),
        }
    }

    pub(super) fn take(&mut self, handle: &[u8]) -> Result<Handle, Status> {
        let found = number(handle).and_then(|number| self.open.remove(&number));
        found.ok_or_else(status::no_such_handle)
    }

    /// The file that the session is writing under this name, where it is.
    pub(super) fn writing(&self, path: &VirtualPath) -> Option<&Arc<Writing>> {
        self.uploads().find(|writing| writing.path() == path)
    }

    /// All files that are being written.
    pub(super) fn uploads(&self) -> impl Iterator<Item = &Arc<Writing>> {
        self.open.values().filter_map(|handle| match handle {
            Handle::Writing(writing) => Some(writing),
            _ => None,
        })
    }

    /// Whether a file is open.
    pub(super) fn has_files(&self) -> bool {
        let mut open = self.open.values();
        open.any(|handle| !matches!(handle, Handle::Directory(_)))
    }
}

/// The number that a handle is.
pub(super) fn number(handle: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(handle.try_into().ok()?))
}

/// One line a transfer in the log, also where the client never closes its handle.
pub(super) struct TransferLog {
    verb: &'static str,
    path: String,
    began: Instant,
    bytes: AtomicU64,
    open: AtomicBool,
}

impl TransferLog {
    pub(super) fn begin(verb: &'static str, path: &VirtualPath) -> Self {
        let path = String::from_utf8_lossy(&path.to_bytes())
            .escape_debug()
            .to_string();
        Self {
            verb,
            path,
            began: Instant::now(),
            bytes: AtomicU64::new(0),
            open: AtomicBool::new(true),
        }
    }

    pub(super) fn moved(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        self.open.store(false, Ordering::Relaxed);
        let bytes = self.bytes.load(Ordering::Relaxed);
        let elapsed = self.began.elapsed();
        info!(
            verb = self.verb,
            path = self.path,
            bytes,
            ?elapsed,
            "transfer complete"
        );
    }

    pub(super) fn fail(&self, why: impl Debug) {
        self.open.store(false, Ordering::Relaxed);
        let elapsed = self.began.elapsed();
        info!(
            verb = self.verb,
            path = self.path,
            ?elapsed,
            ?why,
            "transfer failed"
        );
    }
}

impl Drop for TransferLog {
    fn drop(&mut self) {
        if *self.open.get_mut() {
            info!(verb = self.verb, path = self.path, elapsed = ?self.began.elapsed(), "transfer aborted");
        }
    }
}
