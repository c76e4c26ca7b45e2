//! Certificate chains and keys: from PEM files, or self-signed at the first run and kept.

use std::path::Path;

/// A certificate chain and its key.
#[derive(Debug, Clone)]
pub struct Material {}

/// SHA-256 of the leaf certificate; displays as `AB:CD:…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MaterialError {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file holds no certificate or no key, or they do not fit each other.
    #[error("{path}: {what}")]
    Invalid {
        /// Which.
        path: std::path::PathBuf,
        /// What is wrong.
        what: String,
    },
}

impl Material {
    /// Loads a PEM chain (leaf first) and a PEM key (PKCS#8, PKCS#1 or SEC1).
    ///
    /// # Errors
    /// [`MaterialError`].
    pub fn load(_certificate: &Path, _key: &Path) -> Result<Self, MaterialError> {
        Ok(Self {})
    }

    /// The self-signed certificate in `state_dir`; made for `names` at the first run and kept.
    ///
    /// # Errors
    /// [`MaterialError`].
    pub fn self_signed(_state_dir: &Path, _names: &[String]) -> Result<Self, MaterialError> {
        Ok(Self {})
    }

    /// Of the leaf.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint([0; 32])
    }
}
