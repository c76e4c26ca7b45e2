//! Certificate chains and keys: from PEM files, or self-signed at the first run and kept.

use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, date_time_ymd};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};

use crate::Tag;

/// A certificate chain and its key, checked to fit each other. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Material {
    certified: Arc<CertifiedKey>,
    fingerprint: Fingerprint,
    public_key: [u8; 32],
}

/// SHA-256 of the leaf certificate; displays as `AB:CD:…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MaterialError {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file holds no certificate or no key, or they do not fit each other.
    #[error("{path}: {what}")]
    Invalid {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

impl Material {
    /// Loads a PEM chain (leaf first) and a PEM key (PKCS#8, PKCS#1 or SEC1). Both may be in one file.
    ///
    /// # Errors
    /// [`MaterialError`], which names the file that is at fault.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, MaterialError> {
        let chain = read_chain(certificate)?;
        let leaf = chain
            .first()
            .ok_or_else(|| invalid(certificate, "holds no certificate in PEM form"))?;
        let parsed = ParsedCertificate::try_from(leaf).map_err(|error| {
            invalid(
                certificate,
                format!("its first certificate is not usable: {error}"),
            )
        })?;
        let fingerprint = Fingerprint(Sha256::digest(leaf).into());
        let public_key = Sha256::digest(parsed.subject_public_key_info()).into();

        let certified = CertifiedKey::from_der(chain, read_key(key)?, &aws_lc_rs::default_provider())
            .map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => invalid(
                    key,
                    format!(
                        "this key does not belong to the certificate in {}",
                        certificate.display()
                    ),
                ),
                other => invalid(key, format!("not a usable key: {other}")),
            })?;
        Ok(Self {
            certified: Arc::new(certified),
            fingerprint,
            public_key,
        })
    }

    /// The self-signed certificate in `state_dir`; made for `names` (DNS names and IP addresses) and `localhost`
    /// at the first run and kept: `certificate.pem`, and `key.pem` that only its owner may read.
    ///
    /// A directory that holds a key alone gets a new certificate for that key, so whoever pinned
    /// [`Material::public_key_pin`] needs no new pin when `certificate.pem` was removed to be renewed.
    ///
    /// # Errors
    /// [`MaterialError`].
    pub fn self_signed(state_dir: &Path, names: &[String]) -> Result<Self, MaterialError> {
        let certificate_path = state_dir.join("certificate.pem");
        let key_path = state_dir.join("key.pem");
        if !exists(&certificate_path)? {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(state_dir)
                .map_err(at(state_dir))?;
            if !exists(&key_path)? {
                let key = KeyPair::generate().map_err(|error| invalid(&key_path, error.to_string()))?;
                write_new(&key_path, key.serialize_pem().as_bytes(), 0o600)?;
            }
            let key = std::fs::read_to_string(&key_path).map_err(at(&key_path))?;
            let key = KeyPair::from_pem(&key)
                .map_err(|error| invalid(&key_path, format!("not a usable key: {error}")))?;
            let certificate = sign_own(&key, names).map_err(|what| invalid(&certificate_path, what))?;
            // Last, because its presence is what says that there is nothing left to make.
            write_new(&certificate_path, certificate.as_bytes(), 0o644)?;
        }
        Self::load(&certificate_path, &key_path)
    }

    /// Of the leaf.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The leaf's public key as `sha256//BASE64`, the form that `curl --pinnedpubkey` takes: SHA-256 of the
    /// SubjectPublicKeyInfo (RFC 7469 section 2.4). Unlike the fingerprint it survives a renewal with the same key.
    #[must_use]
    pub fn public_key_pin(&self) -> String {
        format!("sha256//{}", BASE64.encode(self.public_key))
    }

    /// For the configuration of rustls.
    pub(crate) fn certified_key(&self) -> CertifiedKey {
        CertifiedKey::clone(&self.certified)
    }
}

impl Fingerprint {
    /// As 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn to_hex(&self) -> String {
        hex::encode(self.0)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ":" };
            write!(out, "{separator}{byte:02X}")?;
        }
        Ok(())
    }
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, MaterialError> {
    let text = std::fs::read(path).map_err(at(path))?;
    CertificateDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| invalid(path, format!("not readable as PEM: {error}")))
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, MaterialError> {
    let text = std::fs::read(path).map_err(at(path))?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        pem::Error::NoItemsFound if text.windows(10).any(|part| part == b" ENCRYPTED") => invalid(
            path,
            "the key is encrypted with a passphrase\nhint: store it without one: openssl pkey -in KEY -out PLAIN",
        ),
        pem::Error::NoItemsFound => invalid(path, "holds no private key in PEM form"),
        other => invalid(path, format!("not readable as PEM: {other}")),
    })
}

/// A certificate for `names` and `localhost`, valid for ten years, in PEM form.
fn sign_own(key: &KeyPair, names: &[String]) -> Result<String, String> {
    let mut subjects = names.to_vec();
    if !subjects.iter().any(|name| name == "localhost") {
        subjects.push("localhost".to_owned());
    }
    let mut parameters =
        CertificateParams::new(subjects).map_err(|error| format!("cannot be made for {names:?}: {error}"))?;
    let common_name = names.first().map_or("Pasarela", String::as_str);
    parameters
        .distinguished_name
        .push(DnType::CommonName, common_name);
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];

    // Small machines without a battery start in 1970; a certificate that ended in 1980 would never be of use.
    let since_epoch = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let now = (date_time_ymd(1970, 1, 1) + since_epoch).max(date_time_ymd(2026, 1, 1));
    parameters.not_before = now - DAY;
    parameters.not_after = now + 3652 * DAY;

    let certificate = parameters.self_signed(key).map_err(|error| error.to_string())?;
    Ok(certificate.pem())
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Writes all of a file or none of it.
fn write_new(path: &Path, content: &[u8], mode: u32) -> Result<(), MaterialError> {
    let unique = Tag::fresh().map_err(at(path))?;
    let draft = path.with_extension(format!("{}.tmp", hex::encode(unique.0)));
    let written = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&draft)?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&draft, path)?;
        // The rename itself must outlast a power cut too.
        path.parent()
            .map_or(Ok(()), |directory| File::open(directory)?.sync_all())
    })();
    written.map_err(|error| {
        // It may not exist; the error that matters is the first one.
        let _ = std::fs::remove_file(&draft);
        at(path)(error)
    })
}

fn exists(path: &Path) -> Result<bool, MaterialError> {
    path.try_exists().map_err(at(path))
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> MaterialError {
    move |source| MaterialError::Io {
        path: path.to_owned(),
        source,
    }
}

fn invalid(path: &Path, what: impl Into<String>) -> MaterialError {
    MaterialError::Invalid {
        path: path.to_owned(),
        what: what.into(),
    }
}

#[cfg(test)]
mod tests;
