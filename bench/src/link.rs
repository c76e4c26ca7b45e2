//! One connection to a server, with TLS or without, and the cheapest ways to empty or fill it.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::sendfile;
use rustix::io::retry_on_intr;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use rustls::ClientConfig;

use crate::failed::{During as _, Failed};
use crate::tls::{CHUNK, TlsStream};

/// How long a server may be silent in the middle of something.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes a sendfile call.
const AT_ONCE: u64 = 1 << 20;

/// A connection.
pub(crate) enum Link {
    Plain(TcpStream),
    Tls(Box<TlsStream>),
}

/// A connected socket that sends at once what it is given, and does not wait for ever.
pub(crate) fn connect(address: SocketAddr) -> Result<TcpStream, Failed> {
    let socket = TcpStream::connect_timeout(&address, PATIENCE).during(format!("connecting to {address}"))?;
    let set = socket
        .set_nodelay(true)
        .and_then(|()| socket.set_read_timeout(Some(PATIENCE)))
        .and_then(|()| socket.set_write_timeout(Some(PATIENCE)));
    set.during("setting up a socket")?;
    Ok(socket)
}

/// What there is to read; a signal in between is none of the peer's doing.
pub(crate) fn read_some(mut socket: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match socket.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

impl Link {
    /// The socket with TLS around it if there is a configuration for it.
    pub(crate) fn over(socket: TcpStream, tls: Option<&Arc<ClientConfig>>) -> Result<Self, Failed> {
        Ok(match tls {
            None => Self::Plain(socket),
            Some(config) => Self::Tls(Box::new(TlsStream::connect(socket, config)?)),
        })
    }

    /// The same connection with TLS from here on.
    pub(crate) fn protected(self, config: &Arc<ClientConfig>) -> Result<Self, Failed> {
        match self {
            Self::Plain(socket) => Self::over(socket, Some(config)),
            Self::Tls(_) => Err(Failed::Protocol("TLS within TLS".into())),
        }
    }

    /// Gives out what comes next, at least a byte; false at the end.
    pub(crate) fn read(&mut self, buffer: &mut [u8], deliver: &mut dyn FnMut(&[u8])) -> Result<bool, Failed> {
        match self {
            Self::Plain(socket) => {
                let read = read_some(socket, buffer).during("reading")?;
                deliver(&buffer[..read]);
                Ok(read > 0)
            }
            Self::Tls(stream) => stream.read(deliver),
        }
    }

    /// Reads to the end and keeps it.
    pub(crate) fn read_all(&mut self) -> Result<Vec<u8>, Failed> {
        let (mut all, mut buffer) = (Vec::new(), vec![0; CHUNK]);
        while self.read(&mut buffer, &mut |bytes| all.extend_from_slice(bytes))? {}
        Ok(all)
    }

    /// Reads to the end through a buffer and counts: for what is small.
    pub(crate) fn count(&mut self, buffer: &mut [u8]) -> Result<u64, Failed> {
        let mut count = 0;
        while self.read(buffer, &mut |bytes| count += bytes.len() as u64)? {}
        Ok(count)
    }

    /// Reads to the end and counts; without TLS the bytes go nowhere within the kernel.
    pub(crate) fn drain(&mut self, drain: &Drain) -> Result<u64, Failed> {
        match self {
            Self::Plain(socket) => drain.run(socket),
            Self::Tls(_) => self.count(&mut []),
        }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Failed> {
        match self {
            Self::Plain(socket) => socket.write_all(bytes).during("sending"),
            Self::Tls(stream) => bytes.chunks(CHUNK).try_for_each(|chunk| stream.write(chunk)),
        }
    }

    /// Sends a file from its beginning, without copying it where there is no TLS.
    pub(crate) fn send(&mut self, file: &File, size: u64) -> Result<(), Failed> {
        match self {
            Self::Plain(socket) => {
                let mut offset = 0;
                while offset < size {
                    let wanted = AT_ONCE.min(size - offset) as usize;
                    let sent = retry_on_intr(|| sendfile(&*socket, file, Some(&mut offset), wanted))
                        .during("sendfile")?;
                    if sent == 0 {
                        return Err(Failed::Protocol("the file to send has shrunk".into()));
                    }
                }
                Ok(())
            }
            Self::Tls(stream) => {
                // Read once: what is to be measured is not how fast this side reads files.
                let mut chunk = vec![0; CHUNK];
                let mut file = file;
                let read = file.read(&mut chunk).during("reading the file to send")?;
                let chunk = &chunk[..read.max(1)];
                let mut left = size;
                while left > 0 {
                    let part = &chunk[..chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
                    stream.write(part)?;
                    left -= part.len() as u64;
                }
                Ok(())
            }
        }
    }

    /// Ends what is sent, as TLS wants it ended: some servers wait for that before they reply.
    pub(crate) fn finish(&mut self) -> Result<(), Failed> {
        match self {
            Self::Plain(socket) => {
                let _ = socket.shutdown(Shutdown::Write);
                Ok(())
            }
            Self::Tls(stream) => stream.finish(),
        }
    }

    /// Waits until the peer has closed, who says nothing more.
    pub(crate) fn end(self) -> Result<(), Failed> {
        match self {
            Self::Plain(socket) => match read_some(&socket, &mut [0]).during("waiting for the end")? {
                0 => Ok(()),
                _ => Err(Failed::Protocol("a byte after the end".to_owned())),
            },
            // Its end has come before `finish` returned.
            Self::Tls(_) => Ok(()),
        }
    }
}

/// Where plain bytes go: through a pipe to the null device.
pub(crate) struct Drain {
    pipe: (OwnedFd, OwnedFd),
    null: File,
}

impl Drain {
    pub(crate) fn new() -> Result<Self, Failed> {
        let pipe = pipe_with(PipeFlags::CLOEXEC).during("pipe")?;
        // Where the system allows no pipe of that size, a smaller one does, too.
        let _ = fcntl_setpipe_size(&pipe.1, 1 << 20);
        let null = File::options()
            .write(true)
            .open("/dev/null")
            .during("/dev/null")?;
        Ok(Self { pipe, null })
    }

    fn run(&self, socket: &TcpStream) -> Result<u64, Failed> {
        let (out, into) = &self.pipe;
        let mut count = 0;
        loop {
            let taken = retry_on_intr(|| splice(socket, None, into, None, 1 << 20, SpliceFlags::MOVE))
                .during("splice")?;
            if taken == 0 {
                return Ok(count);
            }
            count += taken as u64;
            let mut left = taken;
            while left > 0 {
                left -= splice(out, None, &self.null, None, left, SpliceFlags::MOVE).during("splice")?;
            }
        }
    }
}
