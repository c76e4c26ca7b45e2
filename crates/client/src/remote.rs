//! A place that files are in, seen from a client.

use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use pasarela_store::{Result, Storage, VirtualPath};

/// A Storage that the client reaches; FTP(S) now, SFTP later, and the local disk.
#[async_trait]
pub trait Remote: Storage {
    /// The digest of `span` bytes of a file (all of it without one), computed where the file is; with `algorithm`
    /// `None`, the best that the place has. `None` where it cannot.
    async fn digest(
        &self,
        path: &VirtualPath,
        algorithm: Option<Algorithm>,
        span: Option<Range<u64>>,
    ) -> Result<Option<Digest>>;

    /// What this place can do; decides how a transfer is made and checked.
    fn abilities(&self) -> Abilities;

    /// Ends all connections politely.
    async fn close(&self);
}

/// How a digest is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Algorithm {
    /// FIPS 180-4.
    Sha256,
    /// FIPS 180-4.
    Sha512,
    /// FIPS 180-4; against accidents only.
    Sha1,
    /// RFC 1321; against accidents only.
    Md5,
    /// The CRC of Ethernet; against accidents only.
    Crc32,
}

/// A digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    /// How it was computed.
    pub algorithm: Algorithm,
    /// What came out.
    pub bytes: Vec<u8>,
}

/// What a place can do. The default is a place that can nearly nothing, one file at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Abilities {
    /// It is on this machine: reading it back costs no network.
    pub is_local: bool,
    /// The sizes that it tells are exact, in bytes.
    pub exact_size: bool,
    /// The times that it tells have a zone and are good to `time_precision`.
    pub exact_times: bool,
    /// How exactly a time is kept.
    pub time_precision: Duration,
    /// Modification times can be set.
    pub set_times: bool,
    /// A file can be read from any offset.
    pub ranges_down: bool,
    /// An interrupted upload can go on where it ended.
    pub ranges_up: bool,
    /// An upload takes bytes at any offset in any order.
    pub writes_anywhere: bool,
    /// What `digest` can compute, best first.
    pub digests: Vec<Algorithm>,
    /// A rename replaces a file in one step.
    pub atomic_rename: bool,
    /// Names that differ only in case are one name here.
    pub folds_names: bool,
    /// How many transfers it takes at once.
    pub parallel: usize,
}

impl Default for Abilities {
    fn default() -> Self {
        Self {
            is_local: false,
            exact_size: false,
            exact_times: false,
            time_precision: Duration::from_secs(1),
            set_times: false,
            ranges_down: false,
            ranges_up: false,
            writes_anywhere: false,
            digests: Vec::new(),
            atomic_rename: false,
            folds_names: false,
            parallel: 1,
        }
    }
}
