//! Uploads: from the data connection through the decoding to a file.

use bytes::{Bytes, BytesMut};
use pasarela_ftp_proto::server_pi::Representation;
use pasarela_store::File;
use tokio::io::AsyncReadExt;

use crate::wire::{Decoder, is_plain};
use crate::{Connection, Controls, Error, SHORT, kernel};

/// Receives until the connection's clean end, writes from [`File::start`] on, and tells how many bytes of the
/// file that were. While one block is written the next is read. Nothing is published.
///
/// # Errors
/// [`Error`].
pub async fn receive<C: Connection>(
    from: &mut C,
    how: &Representation,
    file: &dyn File,
    controls: &Controls,
) -> Result<u64, Error> {
    let mut at = file.start();
    if is_plain(how) && controls.pace.is_unbounded() && from.tcp().is_some() {
        while at - file.start() < SHORT {
            let Some(bytes) = read(from, controls).await? else {
                return Ok(at - file.start());
            };
            at = put(file, at, bytes).await?;
        }
        if let Some(tcp) = from.tcp() {
            let (reached, is_end) = kernel::receive(tcp, file, at, controls).await?;
            at = reached;
            if is_end {
                return Ok(at - file.start());
            }
        }
    }
    let mut decoder = (!is_plain(how)).then(|| Decoder::new(how));
    let mut block = read(from, controls).await?;
    while let Some(bytes) = block {
        let (written, next) = tokio::join!(write(file, at, bytes, &mut decoder), read(from, controls));
        at = written?;
        block = next?;
    }
    if let Some(decoder) = &mut decoder {
        let rest = decoder.finish()?;
        at = put(file, at, rest.into()).await?;
    }
    Ok(at - file.start())
}

async fn read<C: Connection>(from: &mut C, controls: &Controls) -> Result<Option<Bytes>, Error> {
    let mut block = BytesMut::with_capacity(controls.block());
    let count = controls.unless_stalled(from.read_buf(&mut block)).await?;
    controls.pace.take(count as u64).await;
    Ok((count > 0).then(|| block.freeze()))
}

async fn write(
    file: &dyn File,
    mut at: u64,
    bytes: Bytes,
    decoder: &mut Option<Decoder>,
) -> Result<u64, Error> {
    let Some(decoder) = decoder else {
        return put(file, at, bytes).await;
    };
    let mut input = &bytes[..];
    loop {
        let piece = decoder.decode(&mut input)?;
        if piece.is_empty() && input.is_empty() {
            return Ok(at);
        }
        at = put(file, at, piece.into()).await?;
    }
}

async fn put(file: &dyn File, at: u64, bytes: Bytes) -> Result<u64, Error> {
    let end = at + bytes.len() as u64;
    if !bytes.is_empty() {
        file.write_at(at, bytes).await?;
    }
    Ok(end)
}
