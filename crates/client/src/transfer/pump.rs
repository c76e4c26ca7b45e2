//! The bytes of one range: a few chunks are read ahead of the writing, and a source that fails is opened again.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use pasarela_store as store;
use store::File;
use tokio::sync::mpsc;

use super::retry::Waits;
use super::{End, Error, Job};
use crate::digest::Hasher;

/// Bytes that are read at once while nothing bounds the pace.
pub(super) const CHUNK: usize = 256 * 1024;
/// Chunks that wait for the writing.
const AHEAD: usize = 4;

/// Copies `range`, and takes the bytes into `hasher`. While the target takes bytes anywhere, a source that fails
/// with what may pass is gone on with where it failed.
pub(super) async fn pump(
    job: &Job,
    target: &Arc<dyn File>,
    range: Range<u64>,
    hasher: &mut Option<Hasher>,
) -> Result<(), Error> {
    let mut at = range.start;
    let mut waits = Waits::new(job.options.retries);
    loop {
        let before = at;
        let tried = async {
            if !waits.is_fresh() {
                job.same_source().await?;
            }
            pipe(job, target, &mut at, range.end, hasher).await
        };
        let error = match tried.await {
            Ok(()) => return Ok(()),
            Err(error @ Error::Place { end: End::Source, .. }) => error,
            Err(error) => return Err(error),
        };
        if !job.to_can.writes_anywhere || !(job.from_can.ranges_down || at == 0) {
            return Err(error);
        }
        if at > before {
            waits.progressed();
        }
        job.wait_to_retry(&mut waits, error).await?;
    }
}

/// Copies from `at` to `end`; `at` follows what has been written.
async fn pipe(
    job: &Job,
    target: &Arc<dyn File>,
    at: &mut u64,
    end: u64,
    hasher: &mut Option<Hasher>,
) -> Result<(), Error> {
    let source = job.open_source().await?;
    let (chunks, mut arrived) = mpsc::channel::<Result<Bytes, Error>>(AHEAD);
    let reading = read(job, source, *at..end, chunks);
    let writing = async {
        while let Some(chunk) = arrived.recv().await {
            let chunk = chunk?;
            let length = chunk.len() as u64;
            let hashed = async {
                if let Some(old) = hasher.take() {
                    *hasher = Some(old.with(chunk.clone()).await);
                }
            };
            let (written, ()) = tokio::join!(target.write_at(*at, chunk.clone()), hashed);
            written.map_err(Error::target)?;
            *at += length;
            job.told.moved(length);
        }
        Ok(())
    };
    let read_out = async {
        reading.await;
        std::future::pending().await
    };
    // The writing ends with the last chunk, or at once when the target fails: then nothing more is read.
    tokio::select! {
        biased;
        written = writing => written,
        written = read_out => written,
    }
}

/// Reads `range` into `chunks`, and after the file's last byte its end: only then has the source said that it was all.
async fn read(
    job: &Job,
    source: Arc<dyn File>,
    range: Range<u64>,
    chunks: mpsc::Sender<Result<Bytes, Error>>,
) {
    let mut next = range.start;
    let most = job.options.chunk();
    while next < range.end {
        let want = usize::try_from(range.end - next).map_or(most, |left| left.min(most));
        let chunk = match source.read_at(next, want).await {
            Ok(chunk) if chunk.is_empty() => Err(Error::Short {
                expected: job.size,
                got: next,
            }),
            other => other.map_err(Error::source),
        };
        let length = chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        next += length;
        job.options.pace.take(length).await;
        let is_over = chunk.is_err();
        if chunks.send(chunk).await.is_err() || is_over {
            return;
        }
    }
    if range.end < job.size {
        return;
    }
    let error = match source.read_at(next, 1).await {
        Ok(rest) if rest.is_empty() => return,
        Ok(_) => Error::Long { expected: job.size },
        Err(error) => Error::source(error),
    };
    let _ = chunks.send(Err(error)).await;
}
