//! A TLS client that trusts exactly the server's self-signed certificate.

use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme,
};

/// A protocol version to insist on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    /// RFC 5246.
    V1_2,
    /// RFC 8446.
    V1_3,
}

/// One visitor's TLS: its trust and its session cache. Clones share the cache, so connections made with one value
/// resume each other's sessions unless [`TlsClient::without_resumption`] says no.
#[derive(Debug, Clone)]
pub struct TlsClient {
    config: Arc<ClientConfig>,
    trust: Arc<Pinned>,
    version: Option<TlsVersion>,
}

impl TlsClient {
    /// Trusts the certificate in a PEM file (see `Pasarela::certificate`), speaks 1.2 and 1.3, resumes sessions.
    ///
    /// # Panics
    /// When the file holds no certificate.
    #[must_use]
    #[track_caller]
    pub fn new(certificate: impl AsRef<Path>) -> Self {
        let certificate = certificate.as_ref();
        let leaf = CertificateDer::from_pem_file(certificate)
            .unwrap_or_else(|error| panic!("{}: {error}", certificate.display()));
        let trust = Arc::new(Pinned {
            leaf,
            provider: aws_lc_rs::default_provider(),
        });
        Self {
            config: config(&trust, None, true),
            trust,
            version: None,
        }
    }

    /// The same trust with a fresh cache and one version only.
    #[must_use]
    pub fn only(&self, version: TlsVersion) -> Self {
        let config = config(&self.trust, Some(version), true);
        Self {
            config,
            trust: self.trust.clone(),
            version: Some(version),
        }
    }

    /// The same trust and version, but every handshake is a full one (as Python's ftplib does).
    #[must_use]
    pub fn without_resumption(&self) -> Self {
        Self {
            config: config(&self.trust, self.version, false),
            ..self.clone()
        }
    }

    /// A connection that has not sent anything yet.
    pub(crate) fn connection(&self) -> ClientConnection {
        ClientConnection::new(self.config.clone(), ServerName::try_from("localhost").unwrap()).unwrap()
    }
}

fn config(trust: &Arc<Pinned>, version: Option<TlsVersion>, resume: bool) -> Arc<ClientConfig> {
    let versions: &[_] = match version {
        Some(TlsVersion::V1_2) => &[&rustls::version::TLS12],
        Some(TlsVersion::V1_3) => &[&rustls::version::TLS13],
        None => rustls::DEFAULT_VERSIONS,
    };
    let mut config = ClientConfig::builder_with_provider(Arc::new(trust.provider.clone()))
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(trust.clone())
        .with_no_client_auth();
    config.resumption = if resume {
        Resumption::in_memory_sessions(64)
    } else {
        Resumption::disabled()
    };
    Arc::new(config)
}

/// Accepts one leaf, byte for byte, and checks that the peer holds its key.
#[derive(Debug)]
struct Pinned {
    leaf: CertificateDer<'static>,
    provider: CryptoProvider,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if *leaf == self.leaf {
            return Ok(ServerCertVerified::assertion());
        }
        Err(Error::InvalidCertificate(
            CertificateError::ApplicationVerificationFailure,
        ))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            leaf,
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            leaf,
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
