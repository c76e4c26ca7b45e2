//! A TLS stream over TCP that can hold its tickets back.

use tokio::net::TcpStream;

/// A protected connection. `AsyncRead`: a clean end (close_notify) reads as 0 bytes, an end without it is
/// [`std::io::ErrorKind::UnexpectedEof`]. `AsyncWrite`: `shutdown` sends what was held back and close_notify, and
/// then closes the sending side of TCP.
pub struct Stream {}

impl Stream {
    /// The connection beneath.
    #[must_use]
    pub fn tcp(&self) -> &TcpStream {
        unimplemented!()
    }
}
