//! Checksums of files, computed away from the runtime's threads, a block at a time.

use md5::Md5;
use pasarela_ftp_proto::server_pi::HashAlgorithm;
use pasarela_store::{Error, File};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

/// Bytes hashed in one step.
const BLOCK: usize = 1024 * 1024;

/// Why there is no digest.
pub(crate) enum Failed {
    /// The store could not.
    Store(Error),
    /// The file is shorter than it was.
    Shrunk,
    /// The runtime is stopping.
    Stopping,
}

enum Hasher {
    Sha256(Sha256),
    Sha512(Sha512),
    Sha1(Sha1),
    Md5(Md5),
    Crc32(crc32fast::Hasher),
}

impl Hasher {
    fn new(algorithm: HashAlgorithm) -> Self {
        match algorithm {
            HashAlgorithm::Sha256 => Self::Sha256(Sha256::new()),
            HashAlgorithm::Sha512 => Self::Sha512(Sha512::new()),
            HashAlgorithm::Sha1 => Self::Sha1(Sha1::new()),
            HashAlgorithm::Md5 => Self::Md5(Md5::new()),
            HashAlgorithm::Crc32 => Self::Crc32(crc32fast::Hasher::new()),
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

    fn digest(self) -> Vec<u8> {
        match self {
            Self::Sha256(hasher) => hasher.finalize().to_vec(),
            Self::Sha512(hasher) => hasher.finalize().to_vec(),
            Self::Sha1(hasher) => hasher.finalize().to_vec(),
            Self::Md5(hasher) => hasher.finalize().to_vec(),
            Self::Crc32(hasher) => hasher.finalize().to_be_bytes().to_vec(),
        }
    }
}

/// The digest of the bytes from `first` up to but without `end`.
pub(crate) async fn digest(
    file: &dyn File,
    algorithm: HashAlgorithm,
    first: u64,
    end: u64,
) -> Result<Vec<u8>, Failed> {
    let mut hasher = Hasher::new(algorithm);
    let mut at = first;
    while at < end {
        let len = usize::try_from(end - at).map_or(BLOCK, |left| left.min(BLOCK));
        let block = file.read_at(at, len).await.map_err(Failed::Store)?;
        if block.is_empty() {
            return Err(Failed::Shrunk);
        }
        at += block.len() as u64;
        hasher = tokio::task::spawn_blocking(move || {
            hasher.update(&block);
            hasher
        })
        .await
        .map_err(|_| Failed::Stopping)?;
    }
    Ok(hasher.digest())
}
