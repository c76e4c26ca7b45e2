//! Digests of files: which there are, and computing one away from the runtime's threads.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use md5::Md5;
use pasarela_dtp::Pace;
use pasarela_store as store;
use serde::{Deserialize, Serialize};
use sha1::Sha1;
use sha2::{Digest as _, Sha256, Sha512};
use store::File;

use crate::transfer::PACED_CHUNK;

/// Bytes that are read and hashed in one step while nothing bounds the pace.
const BLOCK: usize = 1024 * 1024;

/// How a digest is computed. In order of preference, the strongest that servers commonly have first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
    /// SHA-1: finds damage, not malice.
    Sha1,
    /// MD5: finds damage, not malice.
    Md5,
    /// CRC-32 of ISO 3309: finds damage, not malice.
    Crc32,
}

/// What a digest algorithm made of some bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    /// Which algorithm.
    pub algorithm: Algorithm,
    /// Its result, most significant byte first.
    pub bytes: Vec<u8>,
}

impl Algorithm {
    /// Every algorithm, in order of preference.
    pub const ALL: [Self; 5] = [Self::Sha256, Self::Sha512, Self::Sha1, Self::Md5, Self::Crc32];
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sha256 => "SHA-256",
            Self::Sha512 => "SHA-512",
            Self::Sha1 => "SHA-1",
            Self::Md5 => "MD5",
            Self::Crc32 => "CRC-32",
        })
    }
}

impl fmt::Display for Digest {
    /// Lower-case hexadecimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.bytes))
    }
}

/// A digest in the making.
pub(crate) enum Hasher {
    Sha256(Sha256),
    Sha512(Sha512),
    Sha1(Sha1),
    Md5(Md5),
    Crc32(crc32fast::Hasher),
}

impl Hasher {
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(Sha512::new()),
            Algorithm::Sha1 => Self::Sha1(Sha1::new()),
            Algorithm::Md5 => Self::Md5(Md5::new()),
            Algorithm::Crc32 => Self::Crc32(crc32fast::Hasher::new()),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
            Self::Sha1(hasher) => hasher.update(bytes),
            Self::Md5(hasher) => hasher.update(bytes),
            Self::Crc32(hasher) => hasher.update(bytes),
        }
    }

    /// Takes in `bytes` on a thread that may compute for long.
    pub(crate) async fn with(mut self, bytes: Bytes) -> Self {
        on_thread(move || {
            self.update(&bytes);
            self
        })
        .await
    }

    pub(crate) fn finish(self) -> Digest {
        let (algorithm, bytes) = match self {
            Self::Sha256(hasher) => (Algorithm::Sha256, hasher.finalize().to_vec()),
            Self::Sha512(hasher) => (Algorithm::Sha512, hasher.finalize().to_vec()),
            Self::Sha1(hasher) => (Algorithm::Sha1, hasher.finalize().to_vec()),
            Self::Md5(hasher) => (Algorithm::Md5, hasher.finalize().to_vec()),
            Self::Crc32(hasher) => (Algorithm::Crc32, hasher.finalize().to_be_bytes().to_vec()),
        };
        Digest { algorithm, bytes }
    }
}

/// Takes the bytes of `span` of a file into `hasher`; [`store::ErrorKind::PastEnd`] where the file ends before.
pub(crate) async fn take_in(
    mut hasher: Hasher,
    file: &Arc<dyn File>,
    span: Range<u64>,
    pace: &Pace,
) -> store::Result<Hasher> {
    let mut at = span.start;
    let most = if pace.is_unbounded() { BLOCK } else { PACED_CHUNK };
    while at < span.end {
        let want = usize::try_from(span.end - at).map_or(most, |left| left.min(most));
        let bytes = file.read_at(at, want).await?;
        if bytes.is_empty() {
            return Err(store::ErrorKind::PastEnd.into());
        }
        at += bytes.len() as u64;
        pace.take(bytes.len() as u64).await;
        hasher = hasher.with(bytes).await;
    }
    Ok(hasher)
}

/// The digest of a span of a file, or of all of it, by reading.
pub(crate) async fn of_file(
    file: &Arc<dyn File>,
    algorithm: Algorithm,
    span: Option<Range<u64>>,
    pace: &Pace,
) -> store::Result<Digest> {
    let span = match span {
        Some(span) => span,
        None => 0..file.size().await?,
    };
    Ok(take_in(Hasher::new(algorithm), file, span, pace).await?.finish())
}

async fn on_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(failed) => match failed.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down, and this task with it.
            Err(_) => std::future::pending().await,
        },
    }
}
