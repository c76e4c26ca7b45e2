//! A place that files are in, seen from a client.

use std::ops::Range;

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

/// What a place can do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is an ability of its own, independent of the others"
)]
pub struct Abilities {
    /// Sizes are those of the bytes that a read gives.
    pub exact_size: bool,
    /// Times are exact to the second and in UTC.
    pub exact_times: bool,
    /// Modification times can be set.
    pub set_times: bool,
    /// Uploads can begin in the middle of a file.
    pub ranges_up: bool,
    /// Reads can begin in the middle of a file.
    pub ranges_down: bool,
    /// What `digest` can compute, best first.
    pub digests: Vec<Algorithm>,
    /// A rename replaces what stands under the new name in one step.
    pub atomic_rename: bool,
    /// Files that may be open at once.
    pub parallel: usize,
}
