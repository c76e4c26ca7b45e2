//! The client's side of TLS: whom it trusts, and one store of sessions for a control connection and its data connections.
//!
//! Servers that bind data connections to the control connection want its session resumed, or that of an earlier data
//! connection. TLS 1.3 tickets arrive with what is read after the handshake, on both kinds of connection, so both
//! put theirs into the same [`Sessions`].

mod facts;
mod known;
mod sessions;
mod trust;
mod validity;

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, SupportedProtocolVersion};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpStream;

pub use facts::Facts;
pub use known::{Known, KnownServers};
pub use trust::{BadPin, Lack, Pin, Stranger, Trust, TrustError, public_key_of};
pub use validity::Validity;

use crate::stream::Tickets;
use crate::{ALPN_DATA, Fingerprint, Stream};
use sessions::Sessions;
use trust::Judge;

/// The TLS of one control connection and of its data connections.
pub struct ClientTls {
    config: Arc<ClientConfig>,
    /// The same, for data connections that say what they are.
    data_config: Arc<ClientConfig>,
    names_data: AtomicBool,
    name: ServerName<'static>,
    judge: Arc<Judge>,
    sessions: Arc<Sessions>,
    /// The public key that the control connection showed.
    control_key: Mutex<Option<Pin>>,
}

/// What the server of a control connection showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// SHA-256 of its certificate.
    pub fingerprint: Fingerprint,
    /// SHA-256 of its public key.
    pub key: Pin,
    /// Whether an authority vouches for it under this name.
    pub vouched: bool,
}

/// Why there is no protected connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The server's certificate is not trusted.
    #[error("the server's certificate is not trusted")]
    Untrusted(#[source] TrustError),
    /// The data connection's server has another key than the control connection's.
    #[error("the data connection leads to another server than the control connection")]
    AnotherServer,
    /// What came is not TLS, or ended early.
    #[error("the handshake failed")]
    Handshake(#[source] io::Error),
}

impl ClientTls {
    /// For one control connection to `host` (a DNS name or an address) on `port`.
    ///
    /// # Errors
    /// [`TrustError`] when roots cannot be read, or when `host` is no name.
    pub fn new(trust: &Trust, host: &str, port: u16) -> Result<Self, TrustError> {
        Self::speaking(&[&TLS13, &TLS12], trust, host, port)
    }

    /// As [`ClientTls::new`], with TLS 1.2 alone, whose sessions resume any number of times: for servers that demand
    /// resumption and are mean with tickets (ProFTPD gives none with an upload).
    ///
    /// # Errors
    /// As [`ClientTls::new`].
    pub fn new_tls12(trust: &Trust, host: &str, port: u16) -> Result<Self, TrustError> {
        Self::speaking(&[&TLS12], trust, host, port)
    }

    fn speaking(
        versions: &[&'static SupportedProtocolVersion],
        trust: &Trust,
        host: &str,
        port: u16,
    ) -> Result<Self, TrustError> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| TrustError::BadName(host.to_owned()))?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let judge = Arc::new(Judge::new(trust, host, port, &provider)?);
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(|error| TrustError::Unusable(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&judge) as Arc<_>)
            .with_no_client_auth();
        let sessions = Arc::new(Sessions::default());
        config.resumption = Resumption::store(Arc::clone(&sessions) as Arc<_>);
        let mut data_config = config.clone();
        data_config.alpn_protocols.push(ALPN_DATA.to_vec());
        Ok(Self {
            config: Arc::new(config),
            data_config: Arc::new(data_config),
            names_data: AtomicBool::new(false),
            name,
            judge,
            sessions,
            control_key: Mutex::default(),
        })
    }

    /// The handshake of the control connection. A server that [`Trust::FirstUse`] sees for the first time is
    /// remembered by the caller, with [`KnownServers::remember`].
    ///
    /// Like its sibling it sets no deadline and may be dropped at any time, which closes the connection.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect_control(&self, tcp: TcpStream) -> Result<(Stream, Shown), ConnectError> {
        let stream = self.shake_hands(tcp, &self.config).await?;
        let shown = self.shown(&stream)?;
        *self.control_key.lock().unwrap_or_else(PoisonError::into_inner) = Some(shown.key);
        Ok((stream, shown))
    }

    /// Data connections say from now on that they are ones: they offer [`ALPN_DATA`] and nothing else, which servers that
    /// have not heard of it may refuse.
    pub fn name_data_connections(&self) {
        self.names_data.store(true, Ordering::Relaxed);
    }

    /// The handshake of a data connection; resumes a session of the control connection where there is one.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect_data(&self, tcp: TcpStream) -> Result<Stream, ConnectError> {
        let config = if self.names_data.load(Ordering::Relaxed) {
            &self.data_config
        } else {
            &self.config
        };
        let stream = self.shake_hands(tcp, config).await?;
        let expected = *self.control_key.lock().unwrap_or_else(PoisonError::into_inner);
        if expected.is_some_and(|key| self.shown(&stream).is_ok_and(|shown| shown.key != key)) {
            return Err(ConnectError::AnotherServer);
        }
        Ok(stream)
    }

    /// Why the last certificate was refused, if it was.
    #[must_use]
    pub fn refusal(&self) -> Option<TrustError> {
        self.judge.verdict()
    }

    /// What the authorities lacked to vouch for the last certificate, whether the server was trusted all the same or
    /// not; `None` where they vouched, or were not asked.
    #[must_use]
    pub fn lack(&self) -> Option<Lack> {
        self.judge.lack()
    }

    /// From when until when the last certificate holds; `None` before a handshake, or where it cannot be read.
    #[must_use]
    pub fn validity(&self) -> Option<Validity> {
        self.judge.validity()
    }

    /// Whether sessions could be resumed and none is left: the next data connection would not be resumed.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.sessions.are_spent()
    }

    async fn shake_hands(&self, tcp: TcpStream, config: &Arc<ClientConfig>) -> Result<Stream, ConnectError> {
        let tls = ClientConnection::new(Arc::clone(config), self.name.clone())
            .map_err(|error| ConnectError::Handshake(io::Error::other(error)))?;
        Stream::shake_hands(tcp, tls, Tickets::AtOnce)
            .await
            .map_err(|error| match self.judge.verdict() {
                Some(refused) => ConnectError::Untrusted(refused),
                None => ConnectError::Handshake(error),
            })
    }

    fn shown(&self, stream: &Stream) -> Result<Shown, ConnectError> {
        let leaf = stream.tls().peer_certificates().and_then(<[_]>::first);
        let leaf = leaf.ok_or_else(|| ConnectError::Handshake(io::ErrorKind::InvalidData.into()))?;
        let key =
            public_key_of(leaf).ok_or_else(|| ConnectError::Handshake(io::ErrorKind::InvalidData.into()))?;
        Ok(Shown {
            fingerprint: Fingerprint(Sha256::digest(leaf).into()),
            key,
            vouched: self.judge.vouched(),
        })
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("ClientTls")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
