//! Transfers whose bytes the kernel moves: between a file of the operating system and bare TCP, through a pipe.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use pasarela_store::{ErrorKind, File};
use tokio::net::TcpStream;

use crate::pipe::{Pipe, Taken};
use crate::{Controls, Error};

/// What a pipe holds for a download: by the time that they are sent, more bytes than that have left the cache.
const DOWN: usize = 256 * 1024;
/// The same for an upload, whose bytes are copied into the file by whichever thread may wait for it.
const UP: usize = 1024 * 1024;
/// An urgent byte is read with so many others.
const SMALL: usize = 4 * 1024;

/// Sends `span` and tells where it stopped: at its end, or where the file cannot be sent this way.
pub(crate) async fn send(
    file: &dyn File,
    span: Range<u64>,
    to: &TcpStream,
    controls: &Controls,
) -> Result<u64, Error> {
    let mut at = span.start;
    let (Some(os), Ok(pipe)) = (file.as_os_file(), Pipe::new(DOWN)) else {
        return Ok(at);
    };
    let pipe = Arc::new(pipe);
    // For the thread that may wait.
    let mut second: Option<Arc<std::fs::File>> = None;
    while at < span.end {
        let want = usize::try_from(span.end - at).map_or(pipe.holds(), |left| left.min(pipe.holds()));
        let taken = if file.is_at_hand(at..at + want as u64) {
            pipe.take_of_file(os, at, want)
        } else {
            let os = match &second {
                Some(os) => Arc::clone(os),
                None => Arc::clone(second.insert(Arc::new(os.try_clone().map_err(store)?))),
            };
            let pipe = Arc::clone(&pipe);
            let waiting = move || pipe.take_of_file(&*os, at, want);
            tokio::task::spawn_blocking(waiting)
                .await
                .unwrap_or_else(|failed| Err(io::Error::other(failed)))
        };
        let mut left = match taken {
            Ok(0) => return Err(Error::Shrunk),
            Ok(taken) => taken,
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Ok(at),
            Err(error) => return Err(store(error)),
        };
        let is_last = at + left as u64 >= span.end;
        while left > 0 {
            let given = controls.unless_stalled(pipe.give_some(to, left, is_last)).await?;
            left = left.saturating_sub(given);
            at += given as u64;
        }
        tokio::task::consume_budget().await;
    }
    Ok(at)
}

/// Receives into the file from `at` on, and tells where it stopped, and whether that was the connection's end; otherwise
/// the file cannot be written this way.
pub(crate) async fn receive(
    from: &TcpStream,
    file: &dyn File,
    mut at: u64,
    controls: &Controls,
) -> Result<(u64, bool), Error> {
    let Ok(pipe) = Pipe::new(UP) else {
        return Ok((at, false));
    };
    let mut small = [0; SMALL];
    loop {
        match controls.unless_stalled(pipe.take_some(from, &mut small)).await? {
            Taken::Read(0) => return Ok((at, true)),
            Taken::Read(read) => {
                file.write_at(at, Bytes::copy_from_slice(&small[..read])).await?;
                at += read as u64;
            }
            Taken::Piped(piped) => match file.write_from(at, pipe.out_of(), piped).await {
                Ok(()) => at += piped as u64,
                Err(error) if error.kind == ErrorKind::Unsupported => {
                    let bytes = pipe.read(piped).map_err(Error::Broken)?;
                    file.write_at(at, bytes.into()).await?;
                    return Ok((at + piped as u64, false));
                }
                Err(error) => return Err(error.into()),
            },
        }
        tokio::task::consume_budget().await;
    }
}

fn store(error: io::Error) -> Error {
    Error::Store(error.into())
}
