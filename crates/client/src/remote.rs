//! A place that files are in, whatever leads to it: the trait, and what a place can do.

mod local;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pasarela_dtp::Pace;
use pasarela_store as store;
use store::{Storage, VirtualPath};

use crate::digest::{self, Algorithm, Digest};
pub use local::Local;

/// A [`Storage`] that the client reaches: the local disk, or a server.
#[async_trait]
pub trait Remote: Storage {
    /// The digest of a file, or of `span` bytes of it, computed where the file is; `None` where it cannot be.
    /// Without an algorithm, the best that the place has.
    async fn digest(
        &self,
        path: &VirtualPath,
        algorithm: Option<Algorithm>,
        span: Option<Range<u64>>,
    ) -> store::Result<Option<Digest>>;

    /// What this place can do; it decides how a transfer is made and checked.
    fn abilities(&self) -> Abilities;

    /// [`Storage::open`] for reading, where `size` is what was just told of the file.
    async fn open_known(&self, path: &VirtualPath, size: u64) -> store::Result<Arc<dyn store::File>> {
        let _ = size;
        self.open(path, store::Open::Read).await
    }

    /// What becomes of an upload to `path` before it is whole.
    async fn uploads(&self, path: &VirtualPath) -> store::Result<Uploads> {
        let _ = path;
        Ok(Uploads::Whole)
    }

    /// Opens one file several times for writing, anew, so that a range of it is written behind each of `starts`, the
    /// first of which is 0; `None` where the place does not take that. What comes of it has to be looked at as a whole:
    /// none of them knows of the others.
    async fn open_ranges(
        &self,
        path: &VirtualPath,
        starts: &[u64],
    ) -> store::Result<Option<Vec<Arc<dyn store::File>>>> {
        let _ = (path, starts);
        Ok(None)
    }

    /// Ends all connections politely.
    async fn close(&self);
}

/// What becomes of an upload before it is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uploads {
    /// It stands nowhere under its name.
    Whole,
    /// It stands under its name, and could be written under another one and be renamed.
    Renamable,
    /// It stands under its name, and nothing can be done about that.
    Shown,
}

/// What a place can do. The default is a place that can nearly nothing, one file at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Abilities {
    /// It is on this machine: reading it back costs no network.
    pub is_local: bool,
    /// The sizes that it tells are exact, in bytes.
    pub exact_size: bool,
    /// Listings tell what is asked for of each file: exact sizes and times.
    pub exact_listings: bool,
    /// The times that it tells have a zone and are good to `time_precision`; otherwise they come from a listing for
    /// people, to the minute at best and in an unknown zone.
    pub exact_times: bool,
    /// How exactly a time is kept.
    pub time_precision: Duration,
    /// [`Storage::set_modified`] works.
    pub set_times: bool,
    /// A file can be read from any offset.
    pub ranges_down: bool,
    /// An interrupted upload can go on where it ended ([`store::Open::Resume`]).
    pub ranges_up: bool,
    /// An upload takes bytes at any offset in any order, can be read back before it is published, and outlives a
    /// failing source.
    pub writes_anywhere: bool,
    /// [`Remote::open_ranges`] may work.
    pub ranges_at_once: bool,
    /// [`store::File::publish`] has asked for the length that stands there.
    pub confirms_size: bool,
    /// Digests that [`Remote::digest`] computes.
    pub digests: Vec<Algorithm>,
    /// [`Storage::rename`] replaces a file in one step.
    pub atomic_rename: bool,
    /// Names that differ only in case or in how their letters are composed are one name here.
    pub folds_names: bool,
    /// How many transfers it takes at once.
    pub parallel: usize,
}

impl Default for Abilities {
    fn default() -> Self {
        Self {
            is_local: false,
            exact_size: false,
            exact_listings: false,
            exact_times: false,
            time_precision: Duration::from_secs(1),
            set_times: false,
            ranges_down: false,
            ranges_up: false,
            writes_anywhere: false,
            ranges_at_once: false,
            confirms_size: false,
            digests: Vec::new(),
            atomic_rename: false,
            folds_names: false,
            parallel: 1,
        }
    }
}

/// A path at a [`Remote`].
#[derive(Clone)]
pub struct Place {
    /// Where.
    pub remote: Arc<dyn Remote>,
    /// What is meant there.
    pub path: VirtualPath,
}

impl Place {
    /// `relative`, taken from this path instead of from the root.
    ///
    /// # Errors
    /// When both together are too long.
    pub fn join(&self, relative: &VirtualPath) -> Result<Self, store::BadPath> {
        let text = relative.to_bytes();
        Ok(Self {
            remote: Arc::clone(&self.remote),
            path: self.path.resolve(text.strip_prefix(b"/").unwrap_or(&text))?,
        })
    }
}

/// The digest of a file: computed by its place where that can, from its bytes otherwise.
///
/// # Errors
/// When the file cannot be read.
pub async fn digest_of(place: &Place, algorithm: Algorithm) -> store::Result<Digest> {
    paced_digest_of(place, algorithm, &Pace::default()).await
}

/// As [`digest_of`], and bytes that have to come here do so at a pace.
pub(crate) async fn paced_digest_of(
    place: &Place,
    algorithm: Algorithm,
    pace: &Pace,
) -> store::Result<Digest> {
    if let Some(told) = place.remote.digest(&place.path, Some(algorithm), None).await? {
        return Ok(told);
    }
    let file = place.remote.open(&place.path, store::Open::Read).await?;
    digest::of_file(&file, algorithm, None, pace).await
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Place").field(&self.path).finish()
    }
}
