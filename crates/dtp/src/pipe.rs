//! A pipe through which the kernel moves bytes between a connection and something else, so that they never are this
//! process's.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// A pipe, empty between two rounds of its owner's.
#[derive(Debug)]
pub struct Pipe {
    into: OwnedFd,
    out_of: Arc<OwnedFd>,
    holds: usize,
    /// What was asked for beyond [`DEFAULT`].
    extra: usize,
}

/// What [`Pipe::take_some`] took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// So many bytes are in the pipe.
    Piped(usize),
    /// So many are in the buffer; 0 is the connection's end.
    Read(usize),
}

/// What a pipe holds by default.
const DEFAULT: usize = 64 * 1024;
/// What all pipes of this process may hold beyond that. A user may have 64 MiB of pipes
/// (`fs.pipe-user-pages-soft`), and beyond that new ones hold next to nothing: this leaves room for 700 of the default
/// size.
const MOST_EXTRA: usize = 16 * 1024 * 1024;

static EXTRA: AtomicUsize = AtomicUsize::new(0);

impl Pipe {
    /// A pipe that holds `size` bytes, or 64 KiB where so many large ones are there already that a user may not have
    /// more.
    ///
    /// # Errors
    /// When there are no descriptors.
    pub fn new(size: usize) -> io::Result<Self> {
        let (out_of, into) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let extra = size.saturating_sub(DEFAULT);
        let mut pipe = Self {
            into,
            out_of: Arc::new(out_of),
            holds: DEFAULT,
            extra,
        };
        if EXTRA.fetch_add(extra, Ordering::Relaxed) + extra > MOST_EXTRA {
            EXTRA.fetch_sub(extra, Ordering::Relaxed);
            pipe.extra = 0;
        } else if let Ok(holds) = fcntl_setpipe_size(&pipe.into, size) {
            pipe.holds = holds;
        }
        Ok(pipe)
    }

    /// How many bytes it holds.
    #[must_use]
    pub fn holds(&self) -> usize {
        self.holds
    }

    /// The end that bytes come out of.
    #[must_use]
    pub fn out_of(&self) -> &Arc<OwnedFd> {
        &self.out_of
    }

    /// Fills it with up to `at_most` bytes of a file from `offset` on; 0 is the file's end. Waits for the disk where that
    /// must be waited for.
    ///
    /// # Errors
    /// What the kernel says; [`io::ErrorKind::InvalidInput`] for a file that cannot be spliced from.
    pub fn take_of_file(&self, file: impl AsFd, offset: u64, at_most: usize) -> io::Result<usize> {
        loop {
            let mut offset = offset;
            let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
            match splice(&file, Some(&mut offset), &self.into, None, at_most, flags) {
                Err(Errno::INTR) => {}
                other => return Ok(other?),
            }
        }
    }

    /// Fills it with what a connection has received, without waiting. In front of an urgent byte Linux finds nothing to
    /// splice, or even the end, and would do so for ever; reading into `small` gets over it.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`], or what TCP says.
    pub fn take_now(&self, from: &TcpStream, small: &mut [u8]) -> io::Result<Taken> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        match splice(from, None, &self.into, None, self.holds, flags) {
            Ok(0) | Err(Errno::AGAIN) => {}
            Ok(bytes) => return Ok(Taken::Piped(bytes)),
            Err(error) => return Err(error.into()),
        }
        let (read, _) = rustix::net::recv(from, small, RecvFlags::DONTWAIT)?;
        Ok(Taken::Read(read))
    }

    /// As [`Pipe::take_now`], once there is something.
    ///
    /// # Errors
    /// What TCP says.
    pub async fn take_some(&self, from: &TcpStream, small: &mut [u8]) -> io::Result<Taken> {
        loop {
            from.readable().await?;
            match from.try_io(Interest::READABLE, || self.take_now(from, small)) {
                Err(error) if is_transient(&error) => {}
                taken => return taken,
            }
        }
    }

    /// Gives some of the `left` bytes that it holds to a connection, once that takes any, and tells how many. `is_last`:
    /// nothing follows these that would fill a packet.
    ///
    /// # Errors
    /// What TCP says.
    pub async fn give_some(&self, to: &TcpStream, left: usize, is_last: bool) -> io::Result<usize> {
        let mut flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        if !is_last {
            flags |= SpliceFlags::MORE;
        }
        loop {
            to.writable().await?;
            let given = to.try_io(Interest::WRITABLE, || {
                Ok(splice(&self.out_of, None, to, None, left, flags)?)
            });
            match given {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Err(error) if is_transient(&error) => {}
                given => return given,
            }
        }
    }

    /// Takes `left` bytes out of it again.
    ///
    /// # Errors
    /// When it holds fewer.
    pub fn read(&self, left: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; left];
        let mut filled = 0;
        while filled < left {
            match rustix::io::read(&*self.out_of, &mut bytes[filled..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => filled += read,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(bytes)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        EXTRA.fetch_sub(self.extra, Ordering::Relaxed);
    }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}
