//! Whom a client trusts: authorities, a pinned key, or whoever was there the first time.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD as BASE64, STANDARD_NO_PAD as BASE64_NO_PAD};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};
use sha2::{Digest as _, Sha256};

use super::facts::Facts;
use super::known::{Known, KnownServers};
use super::validity::Validity;
use crate::Fingerprint;

/// Which servers are the ones they say they are.
#[derive(Debug, Clone)]
pub enum Trust {
    /// Those that an authority of this system vouches for.
    System,
    /// Those that an authority in this PEM file vouches for; the server's own certificate may stand there too.
    Roots(PathBuf),
    /// The one that has this key or certificate, whatever its name and dates.
    Pinned(Pin),
    /// Those that an authority of this system vouches for, those that were there before, and strangers as told.
    FirstUse {
        /// Who was there before.
        servers: Arc<KnownServers>,
        /// What becomes of somebody who was not.
        stranger: Stranger,
    },
}

/// What becomes of a server that nobody vouches for and that has not been seen before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stranger {
    /// It is taken for what it says it is, and remembered.
    Accept,
    /// [`TrustError::Stranger`], so that somebody can be asked.
    Refuse,
}

/// What the authorities lacked when they did not vouch for a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lack {
    /// Its certificate has ended.
    Expired,
    /// Its certificate has not begun; one of two clocks is wrong.
    NotYetValid,
    /// Its certificate is for other names.
    OtherName,
    /// Nobody known here has signed it, or somebody in between is missing.
    Issuer,
    /// Something else.
    Other,
}

/// SHA-256 of a SubjectPublicKeyInfo (RFC 7469 section 2.4), of a certificate, or of a host key of SSH; displays as
/// `sha256//BASE64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pin(pub [u8; 32]);

/// What is no pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("neither sha256//BASE64 nor SHA256:BASE64 nor 64 hexadecimal digits")]
pub struct BadPin;

/// Why a server is not trusted.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// Nobody vouches for it and it has not been seen before.
    #[error("{host}:{port} has not been seen before and no authority vouches for it ({why})")]
    Stranger {
        /// Its name.
        host: String,
        /// Its port.
        port: u16,
        /// Its key.
        key: Pin,
        /// Its certificate.
        fingerprint: Fingerprint,
        /// What its certificate says of itself, where that can be read.
        facts: Option<Box<Facts>>,
        /// What the authorities lack.
        why: Box<str>,
    },
    /// It showed another key than the last time.
    #[error("{host}:{port} shows another key than before")]
    Changed {
        /// Its name.
        host: String,
        /// Its port.
        port: u16,
        /// The key of before.
        known: Pin,
        /// The key of now.
        key: Pin,
    },
    /// It has another key than the pinned one.
    #[error("the server has the key {key}, which is not the pinned one")]
    NotPinned {
        /// The key that it has.
        key: Pin,
    },
    /// No authority vouches for it.
    #[error("no authority vouches for the server: {0}")]
    NotVouchedFor(String),
    /// Neither a DNS name nor an address.
    #[error("{0:?} is not a server's name")]
    BadName(String),
    /// The authorities, or the known servers, cannot be read.
    #[error("{0}")]
    Unusable(String),
}

impl Pin {
    /// As OpenSSH shows the fingerprint of a host key.
    #[must_use]
    pub fn as_openssh(&self) -> String {
        format!("SHA256:{}", BASE64_NO_PAD.encode(self.0))
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "sha256//{}", BASE64.encode(self.0))
    }
}

impl FromStr for Pin {
    type Err = BadPin;

    /// Takes `sha256//BASE64` (curl's spelling), `sha256/BASE64`, `SHA256:BASE64` (OpenSSH's), and 64 hexadecimal
    /// digits with or without colons.
    fn from_str(text: &str) -> Result<Self, BadPin> {
        if let Some(rest) = text.strip_prefix("SHA256:") {
            let bytes = BASE64_NO_PAD.decode(rest.trim_end_matches('=')).ok();
            return bytes
                .and_then(|bytes| bytes.try_into().ok())
                .map(Self)
                .ok_or(BadPin);
        }
        // 32 bytes are 44 letters, of which `/` may be the first: the length tells whose it is.
        let bytes = match text.strip_prefix("sha256/") {
            Some(rest) if rest.len() == 45 => BASE64.decode(rest.strip_prefix('/').unwrap_or(rest)).ok(),
            Some(rest) => BASE64.decode(rest).ok(),
            None => hex::decode(text.replace(':', "")).ok(),
        };
        bytes
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or(BadPin)
    }
}

/// SHA-256 of a certificate's public key; `None` for what is no certificate.
#[must_use]
pub fn public_key_of(certificate: &CertificateDer<'_>) -> Option<Pin> {
    let parsed = ParsedCertificate::try_from(certificate).ok()?;
    Some(Pin(Sha256::digest(parsed.subject_public_key_info()).into()))
}

/// Judges the certificate of each full handshake.
pub(super) struct Judge {
    rule: Rule,
    host: String,
    port: u16,
    provider: Arc<CryptoProvider>,
    told: Mutex<Told>,
}

enum Rule {
    Authorities(Arc<WebPkiServerVerifier>, Vec<CertificateDer<'static>>),
    Pinned(Pin),
    FirstUse {
        authorities: Option<Arc<WebPkiServerVerifier>>,
        known: Option<Known>,
        stranger: Stranger,
    },
}

#[derive(Debug, Default)]
struct Told {
    refused: Option<TrustError>,
    vouched: bool,
    lack: Option<Lack>,
    validity: Option<Validity>,
}

impl Judge {
    pub(super) fn new(
        trust: &Trust,
        host: &str,
        port: u16,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, TrustError> {
        let rule = match trust {
            Trust::System => Rule::Authorities(verifier(system_roots(), provider)?, Vec::new()),
            Trust::Roots(path) => {
                let unusable = |why: String| TrustError::Unusable(format!("{}: {why}", path.display()));
                let given: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(path)
                    .and_then(Iterator::collect)
                    .map_err(|error| unusable(error.to_string()))?;
                let mut roots = RootCertStore::empty();
                if roots.add_parsable_certificates(given.iter().cloned()).0 == 0 {
                    return Err(unusable("holds no certificate".to_owned()));
                }
                Rule::Authorities(verifier(roots, provider)?, given)
            }
            Trust::Pinned(pin) => Rule::Pinned(*pin),
            Trust::FirstUse { servers, stranger } => Rule::FirstUse {
                // A system without authorities still has its own memory.
                authorities: verifier(system_roots(), provider).ok(),
                known: servers
                    .look_up(host, port)
                    .map_err(|error| TrustError::Unusable(error.to_string()))?,
                stranger: *stranger,
            },
        };
        Ok(Self {
            rule,
            host: host.to_owned(),
            port,
            provider: Arc::clone(provider),
            told: Mutex::default(),
        })
    }

    /// Why the last certificate was refused, if it was.
    pub(super) fn verdict(&self) -> Option<TrustError> {
        self.told().refused.clone()
    }

    /// Whether an authority vouched for the last certificate.
    pub(super) fn vouched(&self) -> bool {
        self.told().vouched
    }

    /// What the authorities lacked, whoever was trusted in the end; `None` when they vouched or were not asked.
    pub(super) fn lack(&self) -> Option<Lack> {
        self.told().lack
    }

    /// When the last certificate holds.
    pub(super) fn validity(&self) -> Option<Validity> {
        self.told().validity
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an authority vouches.
    fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
        lack: &mut Option<Lack>,
    ) -> Result<bool, TrustError> {
        let mut ask = |authority: &WebPkiServerVerifier| {
            authority
                .verify_server_cert(leaf, others, name, &[], now)
                .map(|_| true)
                .map_err(|error| {
                    *lack = Some(lack_of(&error));
                    error.to_string()
                })
        };
        let certificate = Pin(Sha256::digest(leaf).into());
        let key =
            public_key_of(leaf).ok_or_else(|| TrustError::NotVouchedFor("it is not readable".to_owned()))?;
        match &self.rule {
            // A self-signed certificate that was handed over as such: its presence in the file is the vouching.
            Rule::Authorities(_, given) if given.iter().any(|one| one == leaf) => Ok(true),
            Rule::Authorities(authority, _) => ask(authority).map_err(TrustError::NotVouchedFor),
            Rule::Pinned(pin) if *pin == key || *pin == certificate => Ok(false),
            Rule::Pinned(_) => Err(TrustError::NotPinned { key }),
            Rule::FirstUse {
                known: Some(Known { key: Some(known), .. }),
                ..
            } if *known == key || *known == certificate => Ok(false),
            Rule::FirstUse {
                authorities,
                known,
                stranger,
            } => {
                let vouched = authorities
                    .as_ref()
                    .map_or_else(|| Err("this system has no authorities".to_owned()), |a| ask(a));
                let why = match vouched {
                    // Authorities renew keys; that is what they are there for.
                    Ok(vouched) => return Ok(vouched),
                    Err(why) => why,
                };
                let (host, port) = (self.host.clone(), self.port);
                match known.as_ref().and_then(|known| known.key) {
                    Some(known) => Err(TrustError::Changed {
                        host,
                        port,
                        known,
                        key,
                    }),
                    None if *stranger == Stranger::Accept => Ok(false),
                    None => Err(TrustError::Stranger {
                        host,
                        port,
                        key,
                        fingerprint: Fingerprint(certificate.0),
                        facts: Facts::of(leaf).map(Box::new),
                        why: why.into(),
                    }),
                }
            }
        }
    }
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let mut lack = None;
        let judged = self.judge(leaf, others, name, now, &mut lack);
        let mut told = self.told();
        told.lack = lack;
        told.validity = Validity::of(leaf);
        told.vouched = matches!(judged, Ok(true));
        told.refused = judged.err();
        if told.refused.is_some() {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

impl fmt::Debug for Judge {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Judge")
            .field("host", &self.host)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

fn lack_of(error: &rustls::Error) -> Lack {
    let rustls::Error::InvalidCertificate(error) = error else {
        return Lack::Other;
    };
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Lack::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Lack::NotYetValid,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Lack::OtherName
        }
        CertificateError::UnknownIssuer => Lack::Issuer,
        _ => Lack::Other,
    }
}

/// What cannot be read is left out: other authorities may do.
fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

fn verifier(
    roots: RootCertStore,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, TrustError> {
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|error| TrustError::Unusable(format!("no authorities: {error}")))
}
