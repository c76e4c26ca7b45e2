//! One direction of a stream through a pipe, so that its bytes stay in the kernel.

use std::io;

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, splice};
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::carry::{Broken, Direction, finish_sending};

/// A pipe that is empty between two rounds.
#[derive(Debug)]
pub(crate) struct Pipe {
    into: OwnedFd,
    out_of: OwnedFd,
}

/// What a pipe holds by default.
const CHUNK: usize = 64 * 1024;

/// What one round took from the source.
enum Taken {
    /// So many bytes are in the pipe.
    Piped(usize),
    /// So many are in the small buffer.
    Read(usize),
}

impl Pipe {
    pub(crate) fn new() -> io::Result<Self> {
        let (out_of, into) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok(Self { into, out_of })
    }

    /// Carries until the source ends, and passes its FIN on.
    pub(crate) async fn carry(
        &self,
        from: &TcpStream,
        to: &TcpStream,
        direction: &Direction<'_>,
    ) -> Result<(), Broken> {
        let mut small = [0; 1024];
        loop {
            tokio::task::consume_budget().await;
            from.readable().await.map_err(|_| Broken::Source)?;
            let taken = from.try_io(Interest::READABLE, || self.take(from, &mut small));
            let bytes = match taken {
                Ok(Taken::Piped(bytes)) => {
                    self.give(to, bytes).await.map_err(|_| direction.sink_failed())?;
                    bytes
                }
                Ok(Taken::Read(0)) => {
                    direction.end_is_real()?;
                    return finish_sending(to).map_err(|_| direction.sink_failed());
                }
                Ok(Taken::Read(bytes)) => {
                    write_all(to, &small[..bytes])
                        .await
                        .map_err(|_| direction.sink_failed())?;
                    bytes
                }
                Err(error) if is_transient(&error) => continue,
                Err(_) => return Err(Broken::Source),
            };
            direction.count(bytes as u64).await;
        }
    }

    /// Fills the pipe. In front of an urgent byte Linux finds nothing to splice, or even the end, and would do so
    /// for ever; reading gets over it.
    fn take(&self, from: &TcpStream, small: &mut [u8]) -> io::Result<Taken> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        match splice(from, None, &self.into, None, CHUNK, flags) {
            Ok(0) | Err(Errno::AGAIN) => {
                let (read, _) = rustix::net::recv(from, small, RecvFlags::DONTWAIT)?;
                Ok(Taken::Read(read))
            }
            Ok(bytes) => Ok(Taken::Piped(bytes)),
            Err(error) => Err(error.into()),
        }
    }

    /// Empties the pipe, which holds `left` bytes.
    async fn give(&self, to: &TcpStream, mut left: usize) -> io::Result<()> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        while left > 0 {
            to.writable().await?;
            let given = to.try_io(Interest::WRITABLE, || {
                Ok(splice(&self.out_of, None, to, None, left, flags)?)
            });
            match given {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(bytes) => left = left.saturating_sub(bytes),
                Err(error) if is_transient(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

async fn write_all(to: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        to.writable().await?;
        match to.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if is_transient(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}
