//! The two directions of bytes that a session runs over: a channel of SSH, a process, or a stream in memory.

use std::io;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// What the server sends.
#[async_trait]
pub(super) trait Incoming: Send {
    /// Appends what has come to `buffer`, at most some hundred kilobytes; 0 means the end.
    async fn read(&mut self, buffer: &mut BytesMut) -> io::Result<usize>;
}

/// What the server is sent.
#[async_trait]
pub(super) trait Outgoing: Send {
    /// Sends all of it; waits while the server takes nothing.
    async fn write(&mut self, bytes: Bytes) -> io::Result<()>;

    /// Says that nothing more comes.
    async fn end(&mut self);
}

/// Bytes that are read at once.
const READ_SIZE: usize = 64 * 1024;

/// A direction of an ordinary stream.
pub(super) struct Plain<T>(pub(super) T);

#[async_trait]
impl<R: AsyncRead + Send + Unpin> Incoming for Plain<R> {
    async fn read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        buffer.reserve(READ_SIZE);
        self.0.read_buf(buffer).await
    }
}

#[async_trait]
impl<W: AsyncWrite + Send + Unpin> Outgoing for Plain<W> {
    async fn write(&mut self, bytes: Bytes) -> io::Result<()> {
        self.0.write_all(&bytes).await?;
        self.0.flush().await
    }

    async fn end(&mut self) {
        // It may be gone already.
        let _ = self.0.shutdown().await;
    }
}
