//! A TLS stream as a TCP stream of this machine: who gets it must not care whether the relay was reached over TLS.
//!
//! An end keeps its meaning on the way: close_notify and FIN become each other, and whatever else ends a stream
//! becomes a reset, so that a truncated file never looks like a whole one (RFC 8446 section 6.1).

use std::io;
use std::net::Ipv4Addr;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

/// Of TLS's largest records.
const CHUNK: usize = 16 * 1024;
/// After one side has ended, how long the other may be silent. Whoever closes both sides at once looks from here as
/// if only one had ended.
const HALF_OPEN: Duration = Duration::from_secs(300);
/// Others on this machine may knock at the listener that exists for a moment.
const MAX_STRANGERS: usize = 16;

/// The near end of a bridge over `tls`, which from now on runs by itself.
pub(super) async fn bridged(tls: TlsStream<TcpStream>) -> io::Result<TcpStream> {
    let (near, far) = pair().await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    tokio::spawn(carry_both(far, tls));
    Ok(near)
}

/// Two ends of a connection of this machine with itself.
async fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let near = TcpStream::connect(listener.local_addr()?).await?;
    for _ in 0..MAX_STRANGERS {
        let (far, from) = listener.accept().await?;
        if from == near.local_addr()? {
            return Ok((near, far));
        }
    }
    Err(io::ErrorKind::ConnectionRefused.into())
}

async fn carry_both(mut far: TcpStream, mut tls: TlsStream<TcpStream>) {
    let moved = AtomicU64::new(0);
    let outcome = {
        let (from_near, to_near) = far.split();
        let (from_peer, to_peer) = tokio::io::split(&mut tls);
        let mut down = pin!(carry(from_peer, to_near, &moved));
        let mut up = pin!(carry(from_near, to_peer, &moved));
        tokio::select! {
            ended = &mut down => match ended {
                Ok(()) => finish(up, &moved).await,
                Err(error) => Err(error),
            },
            ended = &mut up => match ended {
                Ok(()) => finish(down, &moved).await,
                Err(error) => Err(error),
            },
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "a relayed connection is reset");
        reset(&far);
        reset(tls.get_ref().0);
    }
}

/// Until a clean end, which is passed on. rustls tells an end without close_notify as `UnexpectedEof`.
async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    moved: &AtomicU64,
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..length]).await?;
        to.flush().await?;
        moved.fetch_add(length as u64, Ordering::Relaxed);
    }
}

/// The other direction to its end, as long as something moves.
async fn finish(mut rest: impl Future<Output = io::Result<()>> + Unpin, moved: &AtomicU64) -> io::Result<()> {
    loop {
        let before = moved.load(Ordering::Relaxed);
        match timeout(HALF_OPEN, &mut rest).await {
            Ok(ended) => return ended,
            Err(_) if moved.load(Ordering::Relaxed) != before => {}
            Err(elapsed) => return Err(elapsed.into()),
        }
    }
}

/// Lets the stream end with RST when it is dropped.
fn reset(stream: &TcpStream) {
    if let Err(error) = SockRef::from(stream).set_linger(Some(Duration::ZERO)) {
        tracing::warn!(%error, "a relayed connection cannot be reset");
    }
}

#[cfg(test)]
mod tests;
