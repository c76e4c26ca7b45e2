//! A file from or to a stream that has no name and no length: standard input and output.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use pasarela_store as store;
use store::{Kind, Open};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use super::{Aside, Check, Checked, End, Error, Options, Outcome, Verify, again, aside, unless_stopped};
use crate::digest::{Algorithm, Hasher};
use crate::progress::{FileProgress, Progress};
use crate::remote::{Abilities, Place};

/// Makes a file of what a stream gives until its end. Nothing is tried again once bytes have moved: they cannot be
/// had twice.
///
/// # Errors
/// [`Error`]; nothing stands under the target's name that did not before.
pub async fn send(
    mut from: impl AsyncRead + Send + Unpin,
    to: &Place,
    options: &Options,
    progress: &Progress,
    stop: &CancellationToken,
) -> Result<Outcome, Error> {
    let told = progress.file(b"-");
    let sent = unless_stopped(stop, async {
        let can = to.remote.abilities();
        let check = Check::choose(options.verify, &here(), &can)?;
        let aside = again(options.retries, || aside::place(to, options.aside)).await;
        let mut at = aside.map_err(Error::target)?.unwrap_or_else(|| to.clone());
        let mut file = again(options.retries, || async {
            at.remote.open(&at.path, how(options, &at, to)).await
        })
        .await;
        if let Err(error) = &file
            && options.aside == Aside::Auto
            && at.path != to.path
            && aside::is_refusal(error)
        {
            at = to.clone();
            file = again(options.retries, || async {
                at.remote.open(&at.path, how(options, &at, to)).await
            })
            .await;
        }
        let file = file.map_err(Error::target)?;
        told.started(None, 0).await;
        let mut hasher = check.algorithm().map(Hasher::new);
        let mut size = 0;
        loop {
            let chunk = fill(&mut from, options.chunk()).await;
            let chunk = chunk.map_err(Error::source)?;
            if chunk.is_empty() {
                break;
            }
            let length = chunk.len() as u64;
            options.pace.take(length).await;
            if let Some(old) = hasher.take() {
                hasher = Some(old.with(chunk.clone()).await);
            }
            file.write_at(size, chunk).await.map_err(Error::target)?;
            size += length;
            told.moved(length);
        }
        file.publish().await.map_err(Error::target)?;
        drop(file);
        if check.size && can.exact_size {
            let found = at.remote.stat(&at.path).await.map_err(Error::target)?.size;
            if found != size {
                return Err(Error::SizeDiffers {
                    expected: size,
                    found,
                });
            }
        }
        let by_digest = match hasher.map(Hasher::finish) {
            Some(digest) => check.agrees(End::Target, &at, &digest).await?,
            None => false,
        };
        if at.path != to.path {
            let renamed = to.remote.rename(&at.path, &to.path, options.overwrite).await;
            if let Err(error) = renamed {
                let stands = at.path.to_bytes();
                told.note(format!("all of it is there as {}", stands.escape_ascii()))
                    .await;
                return Err(Error::target(error));
            }
        }
        Ok(outcome(size, check.done(by_digest)))
    });
    report(&told, sent.await).await
}

/// Writes a file, or a range of it, to a stream. What a stream has been given cannot be taken back, so a failure
/// may come after bytes.
///
/// # Errors
/// [`Error`]; [`store::ErrorKind::PastEnd`] where the range begins after the end of the file.
pub async fn receive(
    from: &Place,
    range: Option<Range<u64>>,
    mut to: impl AsyncWrite + Send + Unpin,
    options: &Options,
    progress: &Progress,
    stop: &CancellationToken,
) -> Result<Outcome, Error> {
    let told = progress.file(&from.path.to_bytes());
    let received = unless_stopped(stop, async {
        let there = again(options.retries, || async { from.remote.stat(&from.path).await }).await;
        let there = there.map_err(Error::source)?;
        if there.kind == Kind::Directory {
            return Err(Error::source(store::ErrorKind::IsDirectory));
        }
        let file = again(options.retries, || async {
            from.remote.open(&from.path, Open::Read).await
        })
        .await;
        let file = file.map_err(Error::source)?;
        let can = from.remote.abilities();
        let size = match can.exact_size {
            true => there.size,
            false => file.size().await.map_err(Error::source)?,
        };
        let check = match range {
            None => Check::choose(options.verify, &can, &here())?,
            Some(_) => Check::choose(Verify::Off, &can, &here())?,
        };
        let mut hasher = check.algorithm().map(Hasher::new);
        let range = range.unwrap_or(0..size);
        let end = range.end.min(size);
        if range.start > size {
            return Err(Error::source(store::ErrorKind::PastEnd));
        }
        told.started(Some(end.saturating_sub(range.start)), 0).await;
        let mut at = range.start;
        let most = options.chunk();
        while at < end {
            let want = usize::try_from(end - at).map_or(most, |left| left.min(most));
            let chunk = file.read_at(at, want).await.map_err(Error::source)?;
            if chunk.is_empty() {
                return Err(Error::Short {
                    expected: size,
                    got: at,
                });
            }
            let length = chunk.len() as u64;
            options.pace.take(length).await;
            if let Some(old) = hasher.take() {
                hasher = Some(old.with(chunk.clone()).await);
            }
            to.write_all(&chunk).await.map_err(Error::target)?;
            at += length;
            told.moved(length);
        }
        if end == size && !file.read_at(end, 1).await.map_err(Error::source)?.is_empty() {
            return Err(Error::Long { expected: size });
        }
        to.flush().await.map_err(Error::target)?;
        let checked = match hasher.map(Hasher::finish) {
            Some(digest) if check.agrees(End::Source, from, &digest).await? => check.done(true),
            _ => Checked::Unchecked,
        };
        Ok(outcome(end.saturating_sub(range.start), checked))
    });
    report(&told, received.await).await
}

/// What is written under another name replaces what was left there; the name itself comes last.
fn how(options: &Options, at: &Place, to: &Place) -> Open {
    match options.overwrite || at.path != to.path {
        true => Open::Replace,
        false => Open::CreateNew,
    }
}

/// This end: its bytes are known by having passed here.
fn here() -> Abilities {
    Abilities {
        is_local: true,
        digests: Algorithm::ALL.to_vec(),
        ..Abilities::default()
    }
}

fn outcome(size: u64, checked: Checked) -> Outcome {
    Outcome {
        size,
        moved: size,
        checked,
        time_kept: false,
    }
}

async fn report(told: &FileProgress, result: Result<Outcome, Error>) -> Result<Outcome, Error> {
    match &result {
        Ok(outcome) => told.finished(outcome.size, outcome.moved, outcome.checked).await,
        Err(error) => told.failed(error.to_string()).await,
    }
    result
}

/// A whole chunk, or what is left before the end.
async fn fill(from: &mut (impl AsyncRead + Unpin), most: usize) -> std::io::Result<Bytes> {
    let mut chunk = BytesMut::with_capacity(most);
    while chunk.len() < most {
        let room = most - chunk.len();
        if from.take(room as u64).read_buf(&mut chunk).await? == 0 {
            break;
        }
    }
    Ok(chunk.freeze())
}
