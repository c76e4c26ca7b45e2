//! The data transfer process: bytes between a file and a data connection; pace, type, abort.
//!
//! Dropping the future of [`send`] or [`receive`] aborts the transfer. Neither opens, publishes or closes
//! anything: what a transfer means is its caller's business.
//!
//! Where the bytes of the wire are those of the file, and both are the operating system's, the kernel moves them; in all
//! other cases they come through this process.

mod kernel;
mod pace;
mod pipe;
mod receive;
mod send;
mod wire;

#[cfg(test)]
mod tests;

use std::io;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

pub use pace::{Bucket, Pace};
pub use pipe::{Pipe, Taken};
pub use receive::receive;
pub use send::{FileSource, send, send_file};

/// How many bytes are asked of a file or a connection at once.
pub const BLOCK: usize = 256 * 1024;
/// The same while something bounds the pace, so that the flow is even.
const PACED_BLOCK: usize = 16 * 1024;

/// What a transfer is held to.
#[derive(Debug, Clone)]
pub struct Controls {
    /// How fast.
    pub pace: Pace,
    /// How long no byte may move.
    pub stall: Duration,
}

impl Controls {
    fn block(&self) -> usize {
        if self.pace.is_unbounded() {
            BLOCK
        } else {
            PACED_BLOCK
        }
    }

    /// Waits for `moving`, but not longer than the stall timeout.
    async fn unless_stalled<T>(&self, moving: impl Future<Output = io::Result<T>>) -> Result<T, Error> {
        match tokio::time::timeout(self.stall, moving).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Err(Error::Truncated),
            Ok(Err(error)) => Err(Error::Broken(error)),
            Err(_) => Err(Error::Stalled),
        }
    }
}

/// A data connection.
pub trait Connection: AsyncRead + AsyncWrite + Unpin + Send {
    /// TCP itself, where nothing lies between it and the transfer.
    fn tcp(&self) -> Option<&TcpStream> {
        None
    }
}

impl Connection for TcpStream {
    fn tcp(&self) -> Option<&TcpStream> {
        Some(self)
    }
}

/// A transfer this short is over before the kernel's help pays.
const SHORT: u64 = BLOCK as u64;

/// Where the bytes of a download come from.
#[async_trait]
pub trait Source: Send {
    /// The next bytes, about `at_most` of them; `None` at the end.
    async fn next(&mut self, at_most: usize) -> Result<Option<Bytes>, Error>;
}

/// Why a transfer ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No byte moved for [`Controls::stall`].
    #[error("no byte moved for too long")]
    Stalled,
    /// The data connection broke.
    #[error("the data connection broke")]
    Broken(#[source] io::Error),
    /// The data connection ended, but not as one that has sent everything (no close_notify, MODE Z cut short).
    #[error("the data connection ended early")]
    Truncated,
    /// The file became shorter than it was when it was opened.
    #[error("the file became shorter")]
    Shrunk,
    /// What came does not follow the grammar of MODE Z or STRU R.
    #[error("the data does not follow its encoding")]
    BadEncoding,
    /// The store could not read or write.
    #[error(transparent)]
    Store(#[from] pasarela_store::Error),
    /// A source other than a file failed.
    #[error("the source failed")]
    Source(#[source] Box<dyn std::error::Error + Send + Sync>),
}
