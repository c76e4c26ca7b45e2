//! A data connection: plain or protected, made by the client or (active mode) by this server.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use pasarela_tls::{Stream, Tag};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::AbortHandle;

/// How long a client may take to close its side after the last byte.
const LINGER: Duration = Duration::from_secs(3);
/// How many of one session may take that time at once.
const LINGERING: usize = 8;

/// Data connections of one session that wait for their clients' end.
#[derive(Default)]
pub(crate) struct Lingering(Mutex<VecDeque<AbortHandle>>);

/// The bytes of one transfer.
pub(crate) enum DataConnection {
    /// In the clear.
    Plain(TcpStream),
    /// Protected; the tag is the one under which its handshake issues tickets.
    Protected(Box<Stream>, Tag),
}

impl DataConnection {
    /// Connects to the client, from the address that it knows this server by.
    pub(crate) async fn connect(from: IpAddr, to: SocketAddr, patience: Duration) -> io::Result<TcpStream> {
        let socket = if to.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        let from = if to.is_ipv4() { from.to_canonical() } else { from };
        if from.is_ipv4() == to.is_ipv4() {
            socket.bind(SocketAddr::new(from, 0))?;
        }
        let stream = tokio::time::timeout(patience, socket.connect(to))
            .await
            .map_err(io::Error::from)??;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// Says that everything was sent (close_notify, FIN).
    pub(crate) async fn finish(&mut self) -> io::Result<()> {
        self.shutdown().await
    }

    /// Waits in the background for the client's end before the socket is closed, so that nothing the client still
    /// sends (its own close_notify) turns into a reset that eats what it has not read yet. Of too many the oldest
    /// is waited for no longer.
    pub(crate) fn linger(mut self, lingering: &Lingering) {
        let mut open = lingering.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|task| !task.is_finished());
        if open.len() >= LINGERING
            && let Some(oldest) = open.pop_front()
        {
            oldest.abort();
        }
        let task = tokio::spawn(async move {
            let mut rest = [0; 1024];
            let end = async { while matches!(self.read(&mut rest).await, Ok(1..)) {} };
            let _ = tokio::time::timeout(LINGER, end).await;
        });
        open.push_back(task.abort_handle());
    }
}

impl pasarela_dtp::Connection for DataConnection {
    fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Plain(stream) => Some(stream),
            Self::Protected(..) => None,
        }
    }
}

impl AsyncRead for DataConnection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Protected(stream, _) => Pin::new(&mut **stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for DataConnection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Protected(stream, _) => Pin::new(&mut **stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Protected(stream, _) => Pin::new(&mut **stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Protected(stream, _) => Pin::new(&mut **stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_client_that_never_closes_does_not_pile_up_sockets() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap();
        let lingering = Lingering::default();
        let mut clients = Vec::new();
        // The clock stands still from here on, so that nobody's time runs out.
        tokio::time::pause();
        for _ in 0..3 * LINGERING {
            let client = std::net::TcpStream::connect(to).unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            clients.push(client);
            DataConnection::Plain(stream).linger(&lingering);
        }
        let ended = |client: &std::net::TcpStream| {
            client.set_nonblocking(true).unwrap();
            matches!(client.peek(&mut [0]), Ok(0))
        };
        // Aborted tasks end at their next turn.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        let gone = clients.iter().filter(|client| ended(client)).count();
        assert_eq!(gone, 2 * LINGERING);
        assert!(clients[..2 * LINGERING].iter().all(ended), "the oldest");
    }
}
