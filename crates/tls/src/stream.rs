//! A TLS stream over TCP that can hold its tickets back.
//!
//! TLS 1.3 servers send tickets after the handshake. A client that uploads may close without ever having read, and
//! a TCP that is closed with unread bytes sends RST, which makes our kernel throw away the tail of the upload. So
//! a stream that is asked to waits with its tickets until it writes anyway (the client reads then) or says goodbye
//! (the client's last byte has come then).

use std::fmt;
use std::future::{Future as _, poll_fn};
use std::io::{self, BufRead as _, IoSlice, Write};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use rustls::{Connection, HandshakeKind, ProtocolVersion};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A protected connection. `AsyncRead`: a clean end (close_notify) reads as 0 bytes, an end without it is
/// [`std::io::ErrorKind::UnexpectedEof`]. `AsyncWrite`: `shutdown` sends what was held back and close_notify, and
/// then closes the sending side of TCP; a peer that said goodbye itself may be gone by then without harm.
pub struct Stream {
    tcp: TcpStream,
    tls: Connection,
    /// Read from TCP, not yet given to rustls, which by itself would read 4 KiB at a time.
    received: BytesMut,
    tickets: Tickets,
    peer_said_goodbye: bool,
    said_goodbye: bool,
}

/// When the tickets of TLS 1.3 go out. (In TLS 1.2 they are a part of the handshake.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tickets {
    AtOnce,
    HeldBack,
}

/// Four of TLS's largest records a system call.
const READ_SIZE: usize = 64 * 1024;
/// The most that is encrypted before TCP takes it.
const WRITE_SIZE: usize = 128 * 1024;

impl Stream {
    /// Makes the handshake. Dropping the future closes the connection.
    pub(crate) async fn shake_hands(
        tcp: TcpStream,
        tls: impl Into<Connection>,
        tickets: Tickets,
    ) -> io::Result<Self> {
        let mut stream = Self {
            tcp,
            tls: tls.into(),
            received: BytesMut::new(),
            tickets,
            peer_said_goodbye: false,
            said_goodbye: false,
        };
        stream.tls.set_buffer_limit(Some(WRITE_SIZE));
        while stream.tls.is_handshaking() {
            poll_fn(|cx| stream.poll_send(cx)).await?;
            if poll_fn(|cx| stream.poll_receive(cx)).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            stream.process_received()?;
        }
        poll_fn(|cx| stream.poll_send(cx)).await?;
        Ok(stream)
    }

    /// The connection beneath.
    #[must_use]
    pub fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// The agreed version: `TLSv1.2` or `TLSv1.3`.
    #[must_use]
    pub fn protocol(&self) -> &'static str {
        if self.is_tls13() { "TLSv1.3" } else { "TLSv1.2" }
    }

    /// The agreed cipher suite, such as `TLS13_AES_256_GCM_SHA384`.
    #[must_use]
    pub fn cipher(&self) -> &'static str {
        self.tls
            .negotiated_cipher_suite()
            .and_then(|suite| suite.suite().as_str())
            .unwrap_or("unknown")
    }

    /// Whether this handshake resumed a session.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.tls.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Whether the peer's close_notify has come: what can be read, now or already, is all that it sent.
    #[must_use]
    pub fn read_closed(&self) -> bool {
        self.peer_said_goodbye
    }

    /// Holds the tickets back no longer.
    ///
    /// To be called on an upload when the *next* data connection must be resumed too. curl, which uses a ticket
    /// once, keeps the newest only, and closes an upload without waiting for our goodbye, has none left after an
    /// upload whose tickets were held back (seen with 7.88 and OpenSSL 3.0 on TLS 1.3; lftp, Python and all of
    /// TLS 1.2 do resume again). The price is the lost tail that this module's first lines tell of, when the client
    /// closes without having read.
    pub fn release_tickets(&mut self) {
        self.tickets = Tickets::AtOnce;
        self.send_now();
    }

    /// Sends what was held back and close_notify, and leaves the sending side of TCP open: there are proxies that end
    /// both directions with the first of them, and the peer's last bytes with them.
    ///
    /// # Errors
    /// Those of TCP.
    pub async fn say_goodbye(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_last_word(cx)).await
    }

    pub(crate) fn tls(&self) -> &Connection {
        &self.tls
    }

    fn is_tls13(&self) -> bool {
        self.tls.protocol_version() == Some(ProtocolVersion::TLSv1_3)
    }

    /// Whether all that waits to be sent are tickets (or what came after them) that shall wait.
    fn holds_back(&self) -> bool {
        self.tickets == Tickets::HeldBack && self.is_tls13() && !self.tls.is_handshaking()
    }

    /// Reads from TCP when all that was read before is processed. Memory is kept while there is something to read.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.received.reserve(READ_SIZE);
        let polled = pin!(self.tcp.read_buf(&mut self.received)).poll(cx);
        if polled.is_pending() {
            self.received = BytesMut::new();
        }
        polled
    }

    /// Has rustls process what was received until there is plaintext to read, and answers what it wants answered.
    fn process_received(&mut self) -> io::Result<()> {
        while !self.received.is_empty() {
            let taken = self.tls.read_tls(&mut &self.received[..])?;
            self.received.advance(taken);
            let state = self.tls.process_new_packets().map_err(|error| {
                // There is an alert to be sent; the error is what matters, so this is tried once.
                self.release_tickets();
                io::Error::new(io::ErrorKind::InvalidData, error)
            })?;
            if state.peer_has_closed() {
                // What comes after close_notify is to be ignored (RFC 8446 section 6.1).
                self.peer_said_goodbye = true;
                self.received.clear();
            } else if state.plaintext_bytes_to_read() > 0 {
                break;
            } else if taken == 0 {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        self.send_now();
        Ok(())
    }

    /// Sends what is queued and may be sent, until TCP takes no more.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.tls.wants_write() && !self.holds_back() {
            let tcp = &mut self.tcp;
            match self.tls.write_tls(&mut Outlet { tcp, cx }) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Like [`Stream::poll_send`] from the reading side: never waits, so that it takes no waker's place. What it
    /// cannot send waits for the next occasion, and an error shows in the next operation.
    fn send_now(&mut self) {
        while self.tls.wants_write() && !self.holds_back() {
            if !matches!(self.tls.write_tls(&mut ImpatientOutlet(&self.tcp)), Ok(1..)) {
                break;
            }
        }
    }

    /// Encrypts with `encrypt`, which says how much there was room for, and sends. What TCP does not take at once
    /// is sent before anything else is encrypted, so that there is always room for records of full size.
    fn poll_encrypt(
        &mut self,
        cx: &mut Context<'_>,
        encrypt: impl FnOnce(&mut rustls::Writer<'_>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        if self.said_goodbye {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        self.tickets = Tickets::AtOnce;
        ready!(self.poll_send(cx))?;
        let taken = encrypt(&mut self.tls.writer())?;
        let _sent_or_queued = self.poll_send(cx)?;
        Poll::Ready(Ok(taken))
    }

    fn poll_last_word(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.said_goodbye {
            self.said_goodbye = true;
            self.tickets = Tickets::AtOnce;
            self.tls.send_close_notify();
        }
        self.poll_send(cx)
    }

    fn poll_goodbye(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_last_word(cx))?;
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        while buf.remaining() > 0 {
            let mut reader = this.tls.reader();
            match reader.fill_buf() {
                Ok([]) => break,
                Ok(chunk) => {
                    let length = chunk.len().min(buf.remaining());
                    buf.put_slice(&chunk[..length]);
                    reader.consume(length);
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            if this.received.is_empty() {
                if buf.filled().len() > before {
                    break;
                }
                if ready!(this.poll_receive(cx))? == 0 {
                    // From now on the reader tells a clean end from a cut.
                    this.tls.read_tls(&mut io::empty())?;
                }
            }
            this.process_received()?;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.get_mut().poll_encrypt(cx, |writer| writer.write(buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if bufs.iter().all(|buf| buf.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        self.get_mut()
            .poll_encrypt(cx, |writer| writer.write_vectored(bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_send(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match ready!(this.poll_goodbye(cx)) {
            // It had sent all and read all that it cared for.
            Err(error) if this.peer_said_goodbye && is_gone(error.kind()) => Poll::Ready(Ok(())),
            done => Poll::Ready(done),
        }
    }
}

fn is_gone(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected};
    matches!(kind, BrokenPipe | ConnectionReset | NotConnected)
}

impl fmt::Debug for Stream {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Stream")
            .field("tcp", &self.tcp)
            .field("protocol", &self.protocol())
            .field("tickets", &self.tickets)
            .finish_non_exhaustive()
    }
}

/// TCP as rustls writes to it; the task is woken when TCP takes more.
struct Outlet<'a, 'b> {
    tcp: &'a mut TcpStream,
    cx: &'a mut Context<'b>,
}

impl Write for Outlet<'_, '_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(buf)])
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        match Pin::new(&mut *self.tcp).poll_write_vectored(self.cx, bufs) {
            Poll::Ready(written) => written,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The same for once; nobody is woken.
struct ImpatientOutlet<'a>(&'a TcpStream);

impl Write for ImpatientOutlet<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.try_write(buf)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
