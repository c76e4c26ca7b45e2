//! Downloads: from a source through the encoding to the data connection.

use std::ops::Range;

use async_trait::async_trait;
use bytes::{Buf, Bytes};
use pasarela_ftp_proto::server_pi::Representation;
use pasarela_store::File;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::wire::{Encoder, is_plain};
use crate::{Connection, Controls, Error, SHORT, Source, kernel};

/// A span of a file.
pub struct FileSource<'a> {
    file: &'a dyn File,
    span: Range<u64>,
}

impl<'a> FileSource<'a> {
    /// `span` must lie within the file as it was when it was opened.
    #[must_use]
    pub fn new(file: &'a dyn File, span: Range<u64>) -> Self {
        Self { file, span }
    }
}

#[async_trait]
impl Source for FileSource<'_> {
    async fn next(&mut self, at_most: usize) -> Result<Option<Bytes>, Error> {
        let left = self.span.end.saturating_sub(self.span.start);
        if left == 0 {
            return Ok(None);
        }
        let len = usize::try_from(left).map_or(at_most, |left| left.min(at_most));
        let bytes = self.file.read_at(self.span.start, len).await?;
        if bytes.is_empty() {
            return Err(Error::Shrunk);
        }
        self.span.start += bytes.len() as u64;
        Ok(Some(bytes))
    }
}

/// Sends `span` of a file, as [`send`] does.
///
/// # Errors
/// [`Error`].
pub async fn send_file<C: Connection>(
    file: &dyn File,
    span: Range<u64>,
    how: &Representation,
    to: &mut C,
    controls: &Controls,
) -> Result<u64, Error> {
    let mut rest = span.clone();
    if is_plain(how)
        && controls.pace.is_unbounded()
        && span.end.saturating_sub(span.start) > SHORT
        && let Some(tcp) = to.tcp()
    {
        rest.start = kernel::send(file, span.clone(), tcp, controls).await?;
    }
    let sent = send(&mut FileSource::new(file, rest.clone()), how, to, controls).await?;
    Ok(rest.start - span.start + sent)
}

/// Sends all of `source`, flushes, and tells how many bytes of the source that were. The connection's end is the
/// caller's to mark.
///
/// # Errors
/// [`Error`].
pub async fn send<W>(
    source: &mut dyn Source,
    how: &Representation,
    to: &mut W,
    controls: &Controls,
) -> Result<u64, Error>
where
    W: AsyncWrite + Unpin + Send,
{
    let mut encoder = (!is_plain(how)).then(|| Encoder::new(how));
    let mut sent = 0;
    while let Some(bytes) = source.next(controls.block()).await? {
        sent += bytes.len() as u64;
        let bytes = match &mut encoder {
            Some(encoder) => encoder.encode(&bytes).into(),
            None => bytes,
        };
        write(to, bytes, controls).await?;
    }
    if let Some(encoder) = &mut encoder {
        write(to, encoder.finish().into(), controls).await?;
    }
    controls.unless_stalled(to.flush()).await?;
    Ok(sent)
}

/// Every step forward, however small, begins the stall timeout anew.
async fn write<W: AsyncWrite + Unpin + Send>(
    to: &mut W,
    mut bytes: Bytes,
    controls: &Controls,
) -> Result<(), Error> {
    controls.pace.take(bytes.len() as u64).await;
    while !bytes.is_empty() {
        let written = controls.unless_stalled(to.write(&bytes)).await?;
        if written == 0 {
            return Err(Error::Broken(std::io::ErrorKind::WriteZero.into()));
        }
        bytes.advance(written);
    }
    Ok(())
}
