//! Files with private keys: found, read, and unlocked when it is clear that they are wanted.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::keys::ssh_key::PublicKey;
use russh::keys::{PrivateKey, decode_secret_key, load_public_key};
use zeroize::Zeroizing;

use super::login::about;
use crate::{Failure, Secret};

/// A file with a private key.
pub(super) struct KeyFile {
    pub(super) path: PathBuf,
    text: Zeroizing<String>,
    /// `None`: it is locked.
    open: Option<Arc<PrivateKey>>,
    public: Option<PublicKey>,
}

/// More is no key.
const LARGEST: u64 = 256 * 1024;

/// The keys in `named`, or where those are none, in those of `usual` that exist and can be read.
pub(super) async fn load(named: &[PathBuf], usual: &[PathBuf]) -> Result<Vec<KeyFile>, Failure> {
    let is_named = !named.is_empty();
    let paths = if is_named { named.to_vec() } else { usual.to_vec() };
    let read = tokio::task::spawn_blocking(move || {
        let mut files = Vec::new();
        for path in paths {
            match KeyFile::read(&path) {
                Ok(file) => files.push(file),
                Err(error) if is_named => return Err(about(&path, error)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => tracing::debug!(path = %path.display(), %error, "a key cannot be read"),
            }
        }
        Ok(files)
    });
    read.await
        .unwrap_or_else(|error| Err(about(Path::new("keys"), error)))
}

impl KeyFile {
    fn read(path: &Path) -> io::Result<Self> {
        let mut text = Zeroizing::new(String::new());
        let file = std::fs::File::open(path)?;
        file.take(LARGEST).read_to_string(&mut text)?;
        // OpenSSH's own format tells the public key of a locked one.
        if let Ok(key) = PrivateKey::from_openssh(text.as_str()) {
            let public = Some(key.public_key().clone());
            let open = (!key.is_encrypted()).then(|| Arc::new(key));
            return Ok(Self {
                path: path.to_owned(),
                text,
                open,
                public,
            });
        }
        let (open, public) = match decode_secret_key(&text, None) {
            Ok(key) => (Some(Arc::new(key.clone())), Some(key.public_key().clone())),
            Err(_) if text.contains("ENCRYPTED") || text.contains("Encryption: aes") => {
                let beside = [path.as_os_str().as_encoded_bytes(), b".pub"].concat();
                let beside = <std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(beside);
                (None, load_public_key(beside).ok())
            }
            Err(error) => {
                let why = format!("no private key that can be read: {error}");
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
        };
        Ok(Self {
            path: path.to_owned(),
            text,
            open,
            public,
        })
    }

    /// Whether it is the private half of this key.
    pub(super) fn is_of(&self, key: &PublicKey) -> bool {
        self.public
            .as_ref()
            .is_some_and(|public| public.key_data() == key.key_data())
    }

    /// The key, where it is not locked.
    pub(super) fn open(&self) -> Option<Arc<PrivateKey>> {
        self.open.clone()
    }

    /// The public half, where it is known.
    pub(super) fn public(&self) -> Option<&PublicKey> {
        self.public.as_ref()
    }

    /// The key; `None` where the passphrase is another one.
    pub(super) async fn unlock(&self, passphrase: Secret) -> Result<Option<Arc<PrivateKey>>, Failure> {
        let text = self.text.clone();
        // Made to take long.
        let unlocked = tokio::task::spawn_blocking(move || {
            let passphrase = std::str::from_utf8(passphrase.reveal()).ok()?;
            decode_secret_key(&text, Some(passphrase)).ok().map(Arc::new)
        });
        unlocked.await.map_err(|error| about(&self.path, error))
    }
}
