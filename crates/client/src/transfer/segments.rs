//! One file in several ranges at once.
//!
//! While ranges are written there are holes between them, which nothing could tell from content later. So they are
//! written under a name of their own, which no transfer goes on with, and renamed when all is there.

use std::ops::Range;
use std::sync::Arc;

use store::{File, Open};
use tokio::task::JoinSet;

use super::aside::beside;
use super::pump::pump;
use super::resume::read_exactly;
use super::{Checked, End, Error, Job, Outcome, Pace};
use crate::digest::{self, Digest};
use crate::parallel::finished;
use crate::remote::{Place, paced_digest_of};
use pasarela_store as store;

/// The smallest range that is worth a connection of its own.
const SMALLEST: u64 = 1024 * 1024;
/// Bytes on both sides of where two ranges meet that are read back where the target computes no digest.
const SEAM: u64 = 64 * 1024;

/// In how many ranges this file is copied.
pub(super) fn count(job: &Job) -> usize {
    let is_possible = job.from_can.ranges_down
        && (job.to_can.writes_anywhere || job.to_can.ranges_at_once)
        && job.to_can.atomic_rename;
    if !is_possible || job.to.path.is_root() {
        return 1;
    }
    let most = usize::try_from(job.size / SMALLEST).unwrap_or(usize::MAX);
    let takes = match job.to_can.writes_anywhere {
        true => job.from_can.parallel,
        false => job.from_can.parallel.min(job.to_can.parallel),
    };
    job.options.segments.min(takes).min(most).max(1)
}

/// Copies the file in `count` ranges; `None` where the target, which said that it might take them, does not.
pub(super) async fn copy(job: &Arc<Job>, count: usize) -> Result<Option<Outcome>, Error> {
    let path = beside(&job.to.path, "segments").ok_or_else(|| Error::target(store::ErrorKind::BadName))?;
    let aside = Place {
        remote: Arc::clone(&job.to.remote),
        path,
    };
    let ranges = ranges(job.size, count);
    let finished = if job.to_can.writes_anywhere {
        let file = aside.remote.open(&aside.path, Open::Replace).await;
        let file = file.map_err(Error::target)?;
        job.told.started(Some(job.size), 0).await;
        let files = vec![Arc::clone(&file); ranges.len()];
        match fill(job, &files, &ranges, false).await {
            Ok(()) => put_in_place(job, &aside, &file).await,
            Err(error) => Err(error),
        }
    } else {
        let starts: Vec<u64> = ranges.iter().map(|range| range.start).collect();
        let files = aside.remote.open_ranges(&aside.path, &starts).await;
        let Some(files) = files.map_err(Error::target)? else {
            let _ = aside.remote.remove_file(&aside.path).await;
            let text = "the server takes one upload of a file at a time, so it is sent in one piece";
            job.told.note(text.into()).await;
            return Ok(None);
        };
        job.told.started(Some(job.size), 0).await;
        match fill(job, &files, &ranges, true).await {
            Ok(()) => check_ranges(job, &aside, &ranges).await,
            Err(error) => Err(error),
        }
    };
    let renamed = match finished {
        Ok(checked) => rename(job, &aside).await.map(|()| checked),
        Err(error) => Err(error),
    };
    match renamed {
        Ok(checked) => {
            let time_kept = job.keep_time(&job.to).await;
            Ok(Some(job.outcome(0, checked, time_kept)))
        }
        Err(error) => {
            // The part with its holes, or the file that could not be renamed: of no use to anybody.
            let _ = aside.remote.remove_file(&aside.path).await;
            Err(error)
        }
    }
}

fn ranges(size: u64, count: usize) -> Vec<Range<u64>> {
    let length = size.div_ceil(count as u64).max(1);
    (0..size)
        .step_by(usize::try_from(length).unwrap_or(usize::MAX))
        .map(|start| start..(start + length).min(size))
        .collect()
}

/// Writes each range to the file beside it; `each_ends`: as uploads of their own.
async fn fill(
    job: &Arc<Job>,
    files: &[Arc<dyn File>],
    ranges: &[Range<u64>],
    each_ends: bool,
) -> Result<(), Error> {
    let mut running = JoinSet::new();
    for (file, range) in files.iter().zip(ranges) {
        let (job, file, range) = (Arc::clone(job), Arc::clone(file), range.clone());
        running.spawn(async move {
            pump(&job, &file, range, &mut None).await?;
            match each_ends {
                true => file.publish().await.map_err(Error::target),
                false => Ok(()),
            }
        });
    }
    while let Some(result) = running.join_next().await {
        // The other ranges end with the set.
        finished(result).unwrap_or(Err(Error::Stopped))?;
    }
    Ok(())
}

async fn put_in_place(job: &Job, aside: &Place, file: &Arc<dyn File>) -> Result<Checked, Error> {
    let digest = match job.check.algorithm() {
        Some(algorithm) => Some(
            digest::of_file(file, algorithm, None, &Pace::default())
                .await
                .map_err(Error::target)?,
        ),
        None => None,
    };
    let by_source = job.check_before(file, digest.as_ref()).await?;
    file.publish().await.map_err(Error::target)?;
    job.check_after(aside, false, digest.as_ref(), by_source).await
}

/// What became of ranges that knew nothing of each other: the length is asked for whatever was wished, and where no
/// digest tells, the bytes are read back where two ranges meet.
async fn check_ranges(job: &Job, aside: &Place, ranges: &[Range<u64>]) -> Result<Checked, Error> {
    let there = aside.remote.stat(&aside.path).await.map_err(Error::target)?;
    job.same_size(there.size)?;
    let digest: Option<Digest> = match job.check.algorithm() {
        Some(algorithm) => Some(
            paced_digest_of(&job.from, algorithm, &job.options.pace)
                .await
                .map_err(Error::source)?,
        ),
        None => None,
    };
    if let Some(digest) = &digest
        && job.check.agrees(End::Target, aside, digest).await?
    {
        return Ok(job.check.done(true));
    }
    let source = job.open_source().await?;
    let target = aside.remote.open(&aside.path, Open::Read).await;
    let target = target.map_err(Error::target)?;
    for range in &ranges[1..] {
        let (start, end) = (
            range.start.saturating_sub(SEAM),
            range.end.min(range.start + SEAM),
        );
        let theirs = read_exactly(&source, start, end).await.map_err(Error::source)?;
        let ours = read_exactly(&target, start, end).await.map_err(Error::target)?;
        if theirs != ours {
            return Err(Error::RangesDiffer);
        }
    }
    Ok(job.check.done(false))
}

async fn rename(job: &Job, aside: &Place) -> Result<(), Error> {
    let (remote, path) = (&job.to.remote, &job.to.path);
    if let Ok(old) = remote.stat(path).await
        && job.to_can.writes_anywhere
    {
        // A file that is replaced keeps its mode; where that cannot be, the new one is good all the same.
        let _ = remote.set_mode(&aside.path, old.mode).await;
    } else if let Some(mode) = job.old_mode {
        let _ = remote.set_mode(&aside.path, mode).await;
    }
    let renamed = remote.rename(&aside.path, path, job.options.overwrite).await;
    renamed.map_err(Error::target)
}
