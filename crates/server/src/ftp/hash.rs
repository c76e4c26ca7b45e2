//! Checksums of files, computed away from the runtime's threads, a block at a time.

use md5::Md5;
use pasarela_ftp_proto::server_pi::{HashAlgorithm, Refusal};
use pasarela_store::File;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

use super::refusal;

/// Bytes hashed in one step.
const BLOCK: usize = 1024 * 1024;

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

    fn digest(self) -> String {
        match self {
            Self::Sha256(hasher) => hex::encode(hasher.finalize()),
            Self::Sha512(hasher) => hex::encode(hasher.finalize()),
            Self::Sha1(hasher) => hex::encode(hasher.finalize()),
            Self::Md5(hasher) => hex::encode(hasher.finalize()),
            Self::Crc32(hasher) => format!("{:08x}", hasher.finalize()),
        }
    }
}

/// The digest of the bytes from `first` up to but without `end`, in lower-case hexadecimal.
pub(crate) async fn digest(
    file: &dyn File,
    algorithm: HashAlgorithm,
    first: u64,
    end: u64,
) -> Result<String, Refusal> {
    let mut hasher = Hasher::new(algorithm);
    let mut at = first;
    while at < end {
        let len = usize::try_from(end - at).map_or(BLOCK, |left| left.min(BLOCK));
        let block = file
            .read_at(at, len)
            .await
            .map_err(|error| refusal::of_store(&error))?;
        if block.is_empty() {
            return Err(Refusal::Shrunk);
        }
        at += block.len() as u64;
        hasher = tokio::task::spawn_blocking(move || {
            hasher.update(&block);
            hasher
        })
        .await
        .map_err(|_| Refusal::Local)?;
    }
    Ok(hasher.digest())
}
