//! The keys by which clients know the server again: made at the first run, and kept.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use russh::keys::key::safe_rng;
use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PrivateKey};

/// The server's private keys. Their `Debug` shows none.
#[derive(Clone)]
pub struct HostKeys(Vec<PrivateKey>);

/// What a person compares at the first connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// The kind of key, as OpenSSH calls it: `ED25519`.
    pub kind: String,
    /// As OpenSSH prints it: `SHA256:…`.
    pub sha256: String,
}

/// A key that cannot be used, and why.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", path.display())]
pub struct UnusableKey {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it, in words.
    pub why: String,
}

/// The keys that are made, by the names of their files: Ed25519 for everybody, ECDSA for those who cannot.
const MADE: [(&str, Algorithm); 2] = [
    ("ssh_host_ed25519_key", Algorithm::Ed25519),
    (
        "ssh_host_ecdsa_key",
        Algorithm::Ecdsa {
            curve: EcdsaCurve::NistP256,
        },
    ),
];

impl std::fmt::Debug for HostKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl HostKeys {
    /// The keys in a folder; those that are missing are made.
    ///
    /// # Errors
    /// When one cannot be read or kept.
    pub fn in_folder(dir: &Path) -> Result<Self, UnusableKey> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(|error| unusable(dir, &error))?;
        let keys = MADE.into_iter().map(|(name, algorithm)| {
            let path = dir.join(name);
            if !path.exists() {
                make(&path, algorithm)?;
            }
            load(&path)
        });
        Ok(Self(keys.collect::<Result<_, _>>()?))
    }

    /// The keys in these files, in OpenSSH's format and without a passphrase.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn from_files(paths: &[PathBuf]) -> Result<Self, UnusableKey> {
        let keys = paths.iter().map(|path| load(path));
        Ok(Self(keys.collect::<Result<_, _>>()?))
    }

    /// Their fingerprints.
    #[must_use]
    pub fn fingerprints(&self) -> Vec<Fingerprint> {
        let fingerprint = |key: &PrivateKey| Fingerprint {
            kind: match key.algorithm() {
                Algorithm::Ed25519 => "ED25519".to_owned(),
                Algorithm::Ecdsa { .. } => "ECDSA".to_owned(),
                Algorithm::Rsa { .. } => "RSA".to_owned(),
                other => other.to_string(),
            },
            sha256: key.fingerprint(HashAlg::Sha256).to_string(),
        };
        self.0.iter().map(fingerprint).collect()
    }

    pub(super) fn keys(&self) -> Vec<PrivateKey> {
        self.0.clone()
    }
}

fn load(path: &Path) -> Result<PrivateKey, UnusableKey> {
    let text = fs::read(path).map_err(|error| unusable(path, &error))?;
    let key = PrivateKey::from_openssh(&text).map_err(|error| unusable(path, &error))?;
    if key.is_encrypted() {
        return Err(unusable(path, &"the key has a passphrase"));
    }
    Ok(key)
}

/// Makes a key. Of two processes that do so at once, the first one's is kept.
fn make(path: &Path, algorithm: Algorithm) -> Result<(), UnusableKey> {
    let key = PrivateKey::random(&mut safe_rng(), algorithm).map_err(|error| unusable(path, &error))?;
    let text = key
        .to_openssh(LineEnding::LF)
        .map_err(|error| unusable(path, &error))?;
    let number = getrandom::u64().map_err(|error| unusable(path, &error))?;
    let draft = path.with_extension(format!("{number:016x}"));
    let kept = write(&draft, text.as_bytes()).and_then(|()| match fs::hard_link(&draft, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    });
    let _ = fs::remove_file(&draft);
    kept.map_err(|error| unusable(path, &error))
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn unusable(path: &Path, why: &dyn std::fmt::Display) -> UnusableKey {
    UnusableKey {
        path: path.to_owned(),
        why: why.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn keys_are_made_once_and_are_nobody_elses_to_read() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("state");
        let first = HostKeys::in_folder(&dir).unwrap().fingerprints();
        assert_eq!(first.len(), 2);
        assert!(first.iter().all(|key| key.sha256.starts_with("SHA256:")));
        assert_eq!(HostKeys::in_folder(&dir).unwrap().fingerprints(), first);
        let files: Vec<_> = fs::read_dir(&dir).unwrap().map(Result::unwrap).collect();
        assert_eq!(files.len(), 2);
        for file in files {
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn what_is_no_key_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        fs::write(&path, "no key").unwrap();
        let wrong = HostKeys::from_files(std::slice::from_ref(&path)).unwrap_err();
        assert!(
            wrong.to_string().starts_with(&path.display().to_string()),
            "{wrong}"
        );
        assert!(HostKeys::from_files(&[dir.path().join("missing")]).is_err());
    }
}
