//! One direction of a stream through a pipe, so that its bytes stay in the kernel.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fd::OwnedFd;
use rustix::io::{Errno, ioctl_fionread};
use rustix::net::RecvFlags;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::carry::{Broken, Direction, finish_sending};

/// A pipe that is empty between two rounds.
#[derive(Debug)]
struct Pipe {
    into: OwnedFd,
    out_of: OwnedFd,
    holds: usize,
    is_large: bool,
}

/// Bytes at once until more than that wait. A stream of questions and answers, as FTP's control connections are, needs
/// no pipe.
const SMALL: usize = 4 * 1024;
/// What a pipe holds by default.
const DEFAULT: usize = 64 * 1024;
/// What costs a third less CPU. Larger ones cost less still, but by the time that the receiver reads, its bytes have
/// left the cache, and the receiver pays more than was saved.
const LARGE: usize = 256 * 1024;
/// Large pipes at a time, in all of this process. A user may have 64 MiB of pipes (`fs.pipe-user-pages-soft`), and
/// beyond that new ones hold next to nothing: this leaves room for 700 of the default size.
const MOST_LARGE: usize = 64;

static LARGE_PIPES: AtomicUsize = AtomicUsize::new(0);

/// What one round took from the source.
enum Taken {
    /// So many bytes are in the pipe.
    Piped(usize),
    /// So many are in the small buffer.
    Read(usize),
    /// There is more than the small buffer holds.
    Nothing,
}

/// Carries until the source ends, and passes its FIN on.
pub(crate) async fn carry(from: &TcpStream, to: &TcpStream, direction: &Direction<'_>) -> Result<(), Broken> {
    let mut small = [0; SMALL];
    let mut pipe: Option<Pipe> = None;
    let mut wants_pipe = true;
    loop {
        tokio::task::consume_budget().await;
        from.readable().await.map_err(|_| Broken::Source)?;
        let taken = from.try_io(Interest::READABLE, || {
            take(from, pipe.as_ref(), wants_pipe, &mut small)
        });
        let bytes = match (taken, &pipe) {
            (Ok(Taken::Piped(bytes)), Some(pipe)) => {
                pipe.give(to, bytes).await.map_err(|_| direction.sink_failed())?;
                bytes
            }
            (Ok(Taken::Read(0) | Taken::Piped(_)), _) => {
                direction.end_is_real()?;
                return finish_sending(to).map_err(|_| direction.sink_failed());
            }
            (Ok(Taken::Read(bytes)), _) => {
                write_all(to, &small[..bytes])
                    .await
                    .map_err(|_| direction.sink_failed())?;
                bytes
            }
            (Ok(Taken::Nothing), _) => {
                pipe = Pipe::new().ok();
                // Without descriptors it goes on as it is.
                wants_pipe = false;
                continue;
            }
            (Err(error), _) if is_transient(&error) => continue,
            (Err(_), _) => return Err(Broken::Source),
        };
        direction.count(bytes as u64).await;
    }
}

/// Fills the pipe if there is one. In front of an urgent byte Linux finds nothing to splice, or even the end, and would
/// do so for ever; reading gets over it.
fn take(from: &TcpStream, pipe: Option<&Pipe>, wants_pipe: bool, small: &mut [u8]) -> io::Result<Taken> {
    if let Some(pipe) = pipe {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        match splice(from, None, &pipe.into, None, pipe.holds, flags) {
            Ok(0) | Err(Errno::AGAIN) => {}
            Ok(bytes) => return Ok(Taken::Piped(bytes)),
            Err(error) => return Err(error.into()),
        }
    } else if wants_pipe && ioctl_fionread(from)? > SMALL as u64 {
        return Ok(Taken::Nothing);
    }
    let (read, _) = rustix::net::recv(from, small, RecvFlags::DONTWAIT)?;
    Ok(Taken::Read(read))
}

impl Pipe {
    fn new() -> io::Result<Self> {
        let (out_of, into) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let mut pipe = Self {
            into,
            out_of,
            holds: DEFAULT,
            is_large: LARGE_PIPES.fetch_add(1, Ordering::Relaxed) < MOST_LARGE,
        };
        if !pipe.is_large {
            LARGE_PIPES.fetch_sub(1, Ordering::Relaxed);
        } else if let Ok(holds) = fcntl_setpipe_size(&pipe.into, LARGE) {
            pipe.holds = holds;
        }
        Ok(pipe)
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

impl Drop for Pipe {
    fn drop(&mut self) {
        if self.is_large {
            LARGE_PIPES.fetch_sub(1, Ordering::Relaxed);
        }
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
