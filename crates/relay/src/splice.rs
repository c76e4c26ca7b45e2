//! One direction of a stream through a pipe, so that its bytes stay in the kernel.

use std::io;

use pasarela_dtp::{Pipe, Taken};
use rustix::io::ioctl_fionread;
use rustix::net::RecvFlags;
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::carry::{Broken, Direction, finish_sending};

/// Bytes at once until more than that wait. A stream of questions and answers, as FTP's control connections are, needs
/// no pipe.
const SMALL: usize = 4 * 1024;
/// What a pipe holds. Larger ones cost less, but by the time that the receiver reads, its bytes have left the cache, and
/// the receiver pays more than was saved.
const PIPE: usize = 256 * 1024;

/// Carries until the source ends, and passes its FIN on.
pub(crate) async fn carry(from: &TcpStream, to: &TcpStream, direction: &Direction<'_>) -> Result<(), Broken> {
    let mut small = [0; SMALL];
    let mut pipe: Option<Pipe> = None;
    let mut wants_pipe = true;
    loop {
        tokio::task::consume_budget().await;
        from.readable().await.map_err(|_| Broken::Source)?;
        if pipe.is_none() && wants_pipe && ioctl_fionread(from).is_ok_and(|waiting| waiting > SMALL as u64) {
            // Without descriptors it goes on as it is.
            (pipe, wants_pipe) = (Pipe::new(PIPE).ok(), false);
        }
        let taken = from.try_io(Interest::READABLE, || match &pipe {
            Some(pipe) => pipe.take_now(from, &mut small),
            None => Ok(Taken::Read(
                rustix::net::recv(from, &mut small[..], RecvFlags::DONTWAIT)?.0,
            )),
        });
        let bytes = match (taken, &pipe) {
            (Ok(Taken::Piped(bytes)), Some(pipe)) => {
                let mut left = bytes;
                while left > 0 {
                    let given = pipe.give_some(to, left, true).await;
                    left = left.saturating_sub(given.map_err(|_| direction.sink_failed())?);
                }
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
            (Err(error), _) if is_transient(&error) => continue,
            (Err(_), _) => return Err(Broken::Source),
        };
        direction.count(bytes as u64).await;
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
