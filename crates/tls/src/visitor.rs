//! A client for the tests: rustls over a blocking socket, which reads and writes just when it is told to.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::client::{ClientSessionMemoryCache, Resumption, Tls12Resumption};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::{Accepted, Material, ServerTls, Stream};

/// How sessions are remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Tickets12,
    SessionIds12,
    Tickets13,
}

pub(crate) const WAYS: [Way; 3] = [Way::Tickets12, Way::SessionIds12, Way::Tickets13];

/// Which handshake the server makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum As {
    Control,
    Data,
    Either,
}

/// A server's side of TLS, with a port.
pub(crate) struct Host {
    pub(crate) tls: ServerTls,
    pub(crate) listener: TcpListener,
}

/// A self-signed certificate; its directory is gone again.
pub(crate) fn material() -> Material {
    let directory = tempfile::tempdir().unwrap();
    Material::self_signed(directory.path(), &["127.0.0.1".to_owned()]).unwrap()
}

impl Host {
    pub(crate) async fn with(material: Material) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self {
            tls: ServerTls::new(material).unwrap(),
            listener,
        }
    }

    pub(crate) async fn accept(&self, role: As) -> io::Result<Accepted> {
        let (tcp, _) = self.listener.accept().await?;
        match role {
            As::Control => self.tls.accept_control(tcp).await,
            As::Data => self.tls.accept_data(tcp).await,
            As::Either => self.tls.accept_either(tcp).await,
        }
    }

    /// Both sides of one handshake.
    pub(crate) async fn meet(&self, visitor: &Visitor, role: As) -> (Accepted, Visit) {
        let (address, visitor) = (self.listener.local_addr().unwrap(), visitor.clone());
        let visit = tokio::task::spawn_blocking(move || visitor.connect(TcpStream::connect(address)?));
        let (accepted, visit) = tokio::join!(self.accept(role), visit);
        (accepted.unwrap(), visit.unwrap().unwrap())
    }

    /// A handshake and a clean end, at which the visitor gets its tickets. Gives what the server knows of it.
    pub(crate) async fn brief(&self, visitor: &Visitor, role: As) -> Accepted {
        let (mut accepted, mut visit) = self.meet(visitor, role).await;
        let visit = tokio::task::spawn_blocking(move || {
            visit.close();
            visit.read_to_end()
        });
        assert_eq!(read_to_end(&mut accepted.stream).await.unwrap(), b"");
        accepted.stream.shutdown().await.unwrap();
        assert_eq!(visit.await.unwrap().unwrap(), b"");
        accepted
    }

    /// A control connection that was admitted.
    pub(crate) async fn control(&self, visitor: &Visitor) -> Accepted {
        let control = self.brief(visitor, As::Control).await;
        self.tls.admit(control.issued, control.issued);
        control
    }
}

pub(crate) async fn read_to_end(stream: &mut Stream) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await?;
    Ok(all)
}

/// A client with its sessions.
#[derive(Clone)]
pub(crate) struct Visitor {
    pub(crate) config: Arc<ClientConfig>,
}

impl Visitor {
    pub(crate) fn new(way: Way, trusted: &[&Material]) -> Self {
        Self {
            config: Arc::new(Self::config(way, trusted)),
        }
    }

    pub(crate) fn offering(alpn: &[&str], way: Way, trusted: &[&Material]) -> Self {
        let mut config = Self::config(way, trusted);
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Self {
            config: Arc::new(config),
        }
    }

    fn config(way: Way, trusted: &[&Material]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        for material in trusted {
            roots
                .add(CertificateDer::clone(&material.certified_key().cert[0]))
                .unwrap();
        }
        let version = if way == Way::Tickets13 { &TLS13 } else { &TLS12 };
        let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let session_ids = if way == Way::SessionIds12 {
            Tls12Resumption::SessionIdOnly
        } else {
            Tls12Resumption::SessionIdOrTickets
        };
        config.resumption =
            Resumption::store(Arc::new(ClientSessionMemoryCache::new(64))).tls12_resumption(session_ids);
        config
    }

    /// The handshake and nothing more: what the server sends after it stays unread.
    pub(crate) fn connect(&self, tcp: TcpStream) -> io::Result<Visit> {
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from("localhost").unwrap();
        let tls = ClientConnection::new(Arc::clone(&self.config), name).map_err(io::Error::other)?;
        let mut visit = Visit { tcp, tls };
        while visit.tls.is_handshaking() {
            visit.flush()?;
            if visit.tls.is_handshaking() {
                visit.receive()?;
            }
        }
        visit.flush()?;
        Ok(visit)
    }
}

/// A client's connection.
pub(crate) struct Visit {
    pub(crate) tcp: TcpStream,
    pub(crate) tls: ClientConnection,
}

impl Visit {
    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let taken = self.tls.writer().write(bytes)?;
            bytes = &bytes[taken..];
            self.flush()?;
        }
        Ok(())
    }

    /// Sends close_notify; TCP stays open.
    pub(crate) fn close(&mut self) {
        self.tls.send_close_notify();
        self.flush().unwrap();
    }

    pub(crate) fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.tls.reader().read(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.receive()?,
                read => return read,
            }
        }
    }

    pub(crate) fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        let (mut all, mut part) = (Vec::new(), [0; 16 * 1024]);
        loop {
            match self.read(&mut part)? {
                0 => return Ok(all),
                length => all.extend_from_slice(&part[..length]),
            }
        }
    }

    fn receive(&mut self) -> io::Result<()> {
        let read = self.tls.read_tls(&mut self.tcp)?;
        if read == 0 && self.tls.is_handshaking() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.tls
            .process_new_packets()
            .map(|_| ())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.tcp)?;
        }
        Ok(())
    }
}
