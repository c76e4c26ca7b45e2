//! TLS for the load: a blocking stream over rustls that reads and writes many records a system call.

use std::io::Write as _;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, UnbufferedClientConnection};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

use crate::failed::{During as _, Failed};
use crate::link::read_some;

/// Bytes of application data encrypted, and of records read, at once.
pub(crate) const CHUNK: usize = 256 * 1024;
/// What records add to a chunk: at most a header, a type and a tag for each 16 KiB, and room to spare.
const OVERHEAD: usize = CHUNK / 256;

/// One visitor's TLS 1.3 with a session cache of its own, so that its data connections resume its control connection.
///
/// # Errors
/// When rustls cannot speak TLS 1.3, which it can.
pub(crate) fn visitor() -> Result<Arc<ClientConfig>, Failed> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    config.resumption = Resumption::in_memory_sessions(16);
    Ok(Arc::new(config))
}

/// A connection that records go through.
pub(crate) struct TlsStream {
    socket: TcpStream,
    tls: UnbufferedClientConnection,
    incoming: Vec<u8>,
    /// The bytes of `incoming` that are not used up.
    from: usize,
    to: usize,
    outgoing: Vec<u8>,
    /// How much of `outgoing` is to be sent.
    queued: usize,
    /// What came along with the handshake.
    early: Vec<u8>,
    ended: bool,
}

/// What the machine came to with the bytes that it had.
enum Turn {
    /// It gave application data out.
    Delivered,
    /// It cannot go on without bytes of the peer.
    Starved { handshaken: bool },
    /// The peer has said that nothing more comes.
    Ended,
}

impl TlsStream {
    /// Does the handshake.
    pub(crate) fn connect(socket: TcpStream, config: &Arc<ClientConfig>) -> Result<Self, Failed> {
        let name = ServerName::try_from("localhost").map_err(|error| Failed::Protocol(error.to_string()))?;
        let mut stream = Self {
            socket,
            tls: UnbufferedClientConnection::new(config.clone(), name)?,
            incoming: vec![0; 20 * 1024],
            from: 0,
            to: 0,
            outgoing: vec![0; 4 * 1024],
            queued: 0,
            early: Vec::new(),
            ended: false,
        };
        let mut early = Vec::new();
        loop {
            match stream.turn(&mut |bytes| early.extend_from_slice(bytes))? {
                Turn::Delivered => {}
                Turn::Starved { handshaken: false } => stream.read_more()?,
                Turn::Starved { handshaken: true } => break,
                Turn::Ended => {
                    stream.ended = true;
                    break;
                }
            }
        }
        stream.early = early;
        Ok(stream)
    }

    /// Gives out what comes next, at least a byte; false at the end, which must be the TLS one.
    pub(crate) fn read(&mut self, deliver: &mut dyn FnMut(&[u8])) -> Result<bool, Failed> {
        let mut delivered = !self.early.is_empty();
        if delivered {
            deliver(&std::mem::take(&mut self.early));
        }
        while !self.ended {
            match self.turn(deliver)? {
                Turn::Delivered => delivered = true,
                Turn::Starved { .. } if delivered => return Ok(true),
                Turn::Starved { .. } => self.read_more()?,
                Turn::Ended => self.ended = true,
            }
        }
        Ok(delivered)
    }

    /// Sends a chunk at most.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Failed> {
        self.room(bytes.len() + OVERHEAD.max(bytes.len() / 128));
        let written = self.writing(|traffic, out| traffic.encrypt(bytes, out))?;
        let Some(written) = written else {
            return Err(Failed::Protocol("cannot write now".into()));
        };
        self.socket
            .write_all(&self.outgoing[..written])
            .during("sending TLS")
    }

    /// Says that nothing more comes, and waits until the peer has ended, too: what it said and we left unread would
    /// reset the connection and take the last of our bytes with it.
    pub(crate) fn finish(&mut self) -> Result<(), Failed> {
        self.room(256);
        let closing = self.writing(|traffic, out| traffic.queue_close_notify(out))?;
        if let Some(written) = closing {
            self.socket
                .write_all(&self.outgoing[..written])
                .during("closing TLS")?;
        }
        let _ = self.socket.shutdown(Shutdown::Write);
        // Whatever way the peer ends, the transfer's reply will tell; its tickets are wanted for the next connection.
        while self.read(&mut |_| ()).is_ok_and(|more| more) {}
        Ok(())
    }

    fn writing(
        &mut self,
        write: impl FnOnce(
            &mut rustls::unbuffered::WriteTraffic<'_, rustls::client::ClientConnectionData>,
            &mut [u8],
        ) -> Result<usize, EncryptError>,
    ) -> Result<Option<usize>, Failed> {
        // What lies unread belongs to the reader: the machine gets none of it here.
        let UnbufferedStatus { state, .. } = self.tls.process_tls_records(&mut []);
        match state? {
            ConnectionState::WriteTraffic(mut traffic) => write(&mut traffic, &mut self.outgoing)
                .map(Some)
                .map_err(|error| Failed::Protocol(error.to_string())),
            _ => Ok(None),
        }
    }

    fn room(&mut self, bytes: usize) {
        if self.outgoing.len() < bytes {
            self.outgoing.resize(bytes, 0);
        }
    }

    fn read_more(&mut self) -> Result<(), Failed> {
        if self.from > 0 {
            self.incoming.copy_within(self.from..self.to, 0);
            (self.from, self.to) = (0, self.to - self.from);
        }
        if self.to == self.incoming.len() && self.to < CHUNK + OVERHEAD {
            self.incoming.resize(CHUNK + OVERHEAD, 0);
        }
        let read = read_some(&self.socket, &mut self.incoming[self.to..]).during("reading TLS")?;
        if read == 0 {
            return Err(Failed::Protocol("the stream ended without close_notify".into()));
        }
        self.to += read;
        Ok(())
    }

    fn turn(&mut self, deliver: &mut dyn FnMut(&[u8])) -> Result<Turn, Failed> {
        loop {
            let UnbufferedStatus { mut discard, state } = self
                .tls
                .process_tls_records(&mut self.incoming[self.from..self.to]);
            let turn = match state? {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        discard += record.discard;
                        deliver(record.payload);
                    }
                    Some(Turn::Delivered)
                }
                ConnectionState::EncodeTlsData(mut data) => {
                    let mut encoded = data.encode(&mut self.outgoing[self.queued..]);
                    if let Err(EncodeError::InsufficientSize(needed)) = &encoded {
                        self.outgoing.resize(self.queued + needed.required_size, 0);
                        encoded = data.encode(&mut self.outgoing[self.queued..]);
                    }
                    self.queued += encoded.map_err(|error| Failed::Protocol(error.to_string()))?;
                    None
                }
                ConnectionState::TransmitTlsData(data) => {
                    self.socket
                        .write_all(&self.outgoing[..self.queued])
                        .during("sending TLS")?;
                    self.queued = 0;
                    data.done();
                    None
                }
                ConnectionState::BlockedHandshake => Some(Turn::Starved { handshaken: false }),
                ConnectionState::WriteTraffic(_) => Some(Turn::Starved { handshaken: true }),
                ConnectionState::PeerClosed | ConnectionState::Closed => Some(Turn::Ended),
                _ => return Err(Failed::Protocol("a TLS state that no client has".into())),
            };
            self.from += discard;
            if let Some(turn) = turn {
                return Ok(turn);
            }
        }
    }
}

/// Trusts whoever answers: these servers are our own children on the loopback interface, and only their own work is to
/// be measured.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
