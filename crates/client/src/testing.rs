//! Places that fail as tests tell them to.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use pasarela_store as store;
use store::memory::Memory;
use store::{Entry, File, Kind, Metadata, Open, Pages, Storage, VirtualPath};

use crate::remote::{Abilities, Local, Place, Remote};
use crate::transfer::{Options, Retries};

/// Files in memory that fail on demand.
#[derive(Clone, Default)]
pub(crate) struct Faulty {
    inner: Memory,
    faults: Arc<Mutex<Faults>>,
}

#[derive(Default)]
pub(crate) struct Faults {
    /// For each next file that is opened for reading, the offset where its connection breaks.
    pub(crate) reads_break_at: VecDeque<u64>,
    /// The same for writing.
    pub(crate) writes_break_at: VecDeque<u64>,
    /// So many uploads are published, and then the connection breaks.
    pub(crate) publishes_lost: usize,
    /// So many files opened for reading have a wrong byte.
    pub(crate) corrupt_reads: usize,
    /// The size that it tells of every file.
    pub(crate) told_size: Option<u64>,
    /// Folders that cannot be listed.
    pub(crate) unlistable: HashSet<VirtualPath>,
    /// Files that cannot be opened.
    pub(crate) unreadable: HashSet<VirtualPath>,
    /// What else is in listings.
    pub(crate) listed: HashMap<VirtualPath, Vec<Entry>>,
    /// Where each reading began.
    pub(crate) readings: Vec<u64>,
    /// How many files were opened for writing.
    pub(crate) writings: usize,
}

pub(crate) fn path(text: &str) -> VirtualPath {
    VirtualPath::root().resolve(text.as_bytes()).unwrap()
}

pub(crate) fn time(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000 + seconds)
}

/// Options with which nothing waits.
pub(crate) fn options() -> Options {
    let retries = Retries {
        first_wait: Duration::ZERO,
        ..Retries::default()
    };
    Options {
        retries,
        ..Options::default()
    }
}

/// Bytes that are nowhere the same as elsewhere.
pub(crate) fn content(length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2) | 1;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(next).collect()
}

fn reset() -> store::Error {
    io::Error::from(io::ErrorKind::ConnectionReset).into()
}

impl Faulty {
    pub(crate) fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap()
    }

    /// As a place on this machine.
    pub(crate) fn place(&self, at: &str) -> Place {
        self.place_with(at, |_| {})
    }

    /// As a place that is far away.
    pub(crate) fn far(&self, at: &str) -> Place {
        self.place_with(at, |can| can.is_local = false)
    }

    pub(crate) fn place_with(&self, at: &str, change: impl FnOnce(&mut Abilities)) -> Place {
        let local = Local::over(Arc::new(self.clone()));
        let mut can = local.abilities();
        change(&mut can);
        Place {
            remote: Arc::new(local.with_abilities(can)),
            path: path(at),
        }
    }

    pub(crate) async fn put(&self, at: &str, content: &[u8], modified: SystemTime) {
        let path = path(at);
        let dirs: Vec<_> = std::iter::successors(path.parent(), VirtualPath::parent).collect();
        for dir in dirs.iter().rev() {
            let _ = self.inner.make_dir(dir).await;
        }
        let file = self.inner.open(&path, Open::Replace).await.unwrap();
        file.write_at(0, Bytes::copy_from_slice(content)).await.unwrap();
        file.publish().await.unwrap();
        self.inner.set_modified(&path, modified).await.unwrap();
    }

    /// The content of a file; `None` where there is none.
    pub(crate) async fn content(&self, at: &str) -> Option<Vec<u8>> {
        let file = self.inner.open(&path(at), Open::Read).await.ok()?;
        Some(file.read_at(0, usize::MAX).await.unwrap().to_vec())
    }

    /// Every path there is.
    pub(crate) async fn all(&self) -> Vec<String> {
        let (mut found, mut dirs) = (Vec::new(), vec![VirtualPath::root()]);
        while let Some(dir) = dirs.pop() {
            let mut pages = self.inner.list(&dir).await.unwrap();
            while let Some(page) = pages.next_page().await.unwrap() {
                for entry in page {
                    let path = dir.resolve(&entry.name).unwrap();
                    found.push(String::from_utf8(path.to_bytes()).unwrap());
                    if entry.metadata.kind == Kind::Directory {
                        dirs.push(path);
                    }
                }
            }
        }
        found.sort();
        found
    }

    fn told(&self, metadata: Metadata) -> Metadata {
        let size = match (metadata.kind, self.faults().told_size) {
            (Kind::File, Some(told)) => told,
            _ => metadata.size,
        };
        Metadata { size, ..metadata }
    }
}

struct Broken {
    inner: Arc<dyn File>,
    faulty: Faulty,
    breaks_at: Option<u64>,
    is_corrupt: bool,
    is_upload: bool,
    has_begun: Mutex<bool>,
}

#[async_trait]
impl File for Broken {
    async fn read_at(&self, offset: u64, len: usize) -> store::Result<Bytes> {
        if !self.is_upload {
            let mut begun = self.has_begun.lock().unwrap();
            if !std::mem::replace(&mut *begun, true) {
                self.faulty.faults().readings.push(offset);
            }
        }
        let mut len = len;
        if let Some(at) = self.breaks_at.filter(|_| !self.is_upload) {
            if offset >= at {
                return Err(reset());
            }
            len = len.min((at - offset) as usize);
        }
        let bytes = self.inner.read_at(offset, len).await?;
        if self.is_corrupt && !bytes.is_empty() && offset == 0 {
            let mut bytes = bytes.to_vec();
            bytes[0] ^= 1;
            return Ok(bytes.into());
        }
        Ok(bytes)
    }

    async fn write_at(&self, offset: u64, bytes: Bytes) -> store::Result<()> {
        if self.breaks_at.is_some_and(|at| offset + bytes.len() as u64 > at) {
            return Err(reset());
        }
        self.inner.write_at(offset, bytes).await
    }

    async fn size(&self) -> store::Result<u64> {
        self.inner.size().await
    }

    fn start(&self) -> u64 {
        self.inner.start()
    }

    async fn prepare(&self) -> store::Result<()> {
        self.inner.prepare().await
    }

    async fn publish(&self) -> store::Result<()> {
        self.inner.publish().await?;
        let mut faults = self.faulty.faults();
        if faults.publishes_lost > 0 {
            faults.publishes_lost -= 1;
            return Err(reset());
        }
        Ok(())
    }
}

struct Listing(Vec<Box<dyn Pages>>, Option<Vec<Entry>>);

#[async_trait]
impl Pages for Listing {
    async fn next_page(&mut self) -> store::Result<Option<Vec<Entry>>> {
        match self.0[0].next_page().await? {
            Some(page) => Ok(Some(page)),
            None => Ok(self.1.take()),
        }
    }
}

#[async_trait]
impl Storage for Faulty {
    async fn stat(&self, path: &VirtualPath) -> store::Result<Metadata> {
        Ok(self.told(self.inner.stat(path).await?))
    }

    async fn stat_entry(&self, path: &VirtualPath) -> store::Result<Entry> {
        self.inner.stat_entry(path).await
    }

    async fn list(&self, dir: &VirtualPath) -> store::Result<Box<dyn Pages>> {
        if self.faults().unlistable.contains(dir) {
            return Err(store::ErrorKind::PermissionDenied.into());
        }
        let more = self.faults().listed.get(dir).cloned();
        Ok(Box::new(Listing(vec![self.inner.list(dir).await?], more)))
    }

    async fn open(&self, path: &VirtualPath, how: Open) -> store::Result<Arc<dyn File>> {
        let is_upload = how != Open::Read;
        if self.faults().unreadable.contains(path) {
            return Err(store::ErrorKind::PermissionDenied.into());
        }
        let inner = self.inner.open(path, how).await?;
        let mut faults = self.faults();
        let (breaks_at, mut is_corrupt) = match is_upload {
            true => (faults.writes_break_at.pop_front(), false),
            false => (faults.reads_break_at.pop_front(), faults.corrupt_reads > 0),
        };
        if is_upload {
            faults.writings += 1;
            is_corrupt = false;
        }
        faults.corrupt_reads -= usize::from(is_corrupt);
        Ok(Arc::new(Broken {
            inner,
            faulty: self.clone(),
            breaks_at,
            is_corrupt,
            is_upload,
            has_begun: Mutex::new(false),
        }))
    }

    async fn part(&self, path: &VirtualPath) -> store::Result<Option<u64>> {
        self.inner.part(path).await
    }

    async fn make_dir(&self, path: &VirtualPath) -> store::Result<()> {
        self.inner.make_dir(path).await
    }

    async fn remove_file(&self, path: &VirtualPath) -> store::Result<()> {
        self.inner.remove_file(path).await
    }

    async fn remove_dir(&self, path: &VirtualPath) -> store::Result<()> {
        self.inner.remove_dir(path).await
    }

    async fn rename(&self, from: &VirtualPath, to: &VirtualPath, replace: bool) -> store::Result<()> {
        self.inner.rename(from, to, replace).await
    }

    async fn set_modified(&self, path: &VirtualPath, to: SystemTime) -> store::Result<()> {
        self.inner.set_modified(path, to).await
    }

    async fn set_mode(&self, path: &VirtualPath, mode: u32) -> store::Result<()> {
        self.inner.set_mode(path, mode).await
    }

    async fn make_link(&self, target: &[u8], link: &VirtualPath) -> store::Result<()> {
        self.inner.make_link(target, link).await
    }

    async fn space(&self, dir: &VirtualPath) -> store::Result<Option<u64>> {
        self.inner.space(dir).await
    }
}
