//! One file in several ranges at once.
//!
//! While ranges are written there are holes between them, which nothing could tell from content later. So they are
//! written under a name of their own, which no transfer goes on with, and renamed when all is there.

use std::sync::Arc;

use pasarela_store as store;
use store::{File, Open, VirtualPath};
use tokio::task::JoinSet;

use super::pump::pump;
use super::{Error, Job, Outcome, Pace};
use crate::digest;
use crate::parallel::finished;
use crate::remote::Place;

/// The smallest range that is worth a connection of its own.
const SMALLEST: u64 = 1024 * 1024;
/// How many bytes of the target's name the other name begins with.
const KEPT_NAME: usize = 100;

/// In how many ranges this file is copied.
pub(super) fn count(job: &Job) -> usize {
    let is_possible = job.from_can.ranges_down && job.to_can.writes_anywhere && job.to_can.atomic_rename;
    if !is_possible || job.to.path.is_root() {
        return 1;
    }
    let most = usize::try_from(job.size / SMALLEST).unwrap_or(usize::MAX);
    job.options.segments.min(job.from_can.parallel).min(most).max(1)
}

/// Copies the file in `count` ranges.
pub(super) async fn copy(job: &Arc<Job>, count: usize) -> Result<Outcome, Error> {
    let aside = Place {
        remote: Arc::clone(&job.to.remote),
        path: aside(&job.to.path)?,
    };
    let file = aside.remote.open(&aside.path, Open::Replace).await;
    let file = file.map_err(Error::target)?;
    let copied = fill(job, &file, count).await;
    let finished = match copied {
        Ok(()) => put_in_place(job, &aside, &file).await,
        Err(error) => Err(error),
    };
    drop(file);
    if finished.is_err() {
        // The part with its holes, or the file that could not be renamed: of no use to anybody.
        let _ = aside.remote.remove_file(&aside.path).await;
    }
    finished
}

async fn fill(job: &Arc<Job>, file: &Arc<dyn File>, count: usize) -> Result<(), Error> {
    let length = job.size.div_ceil(count as u64).max(1);
    let mut running = JoinSet::new();
    for start in (0..job.size).step_by(usize::try_from(length).unwrap_or(usize::MAX)) {
        let (job, file) = (Arc::clone(job), Arc::clone(file));
        running.spawn(async move {
            let range = start..(start + length).min(job.size);
            pump(&job, &file, range, &mut None).await
        });
    }
    while let Some(result) = running.join_next().await {
        // The other ranges end with the set.
        finished(result).unwrap_or(Err(Error::Stopped))?;
    }
    Ok(())
}

async fn put_in_place(job: &Job, aside: &Place, file: &Arc<dyn File>) -> Result<Outcome, Error> {
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
    let (remote, path) = (&job.to.remote, &job.to.path);
    if let Ok(old) = remote.stat(path).await {
        // A file that is replaced keeps its mode; where that cannot be, the new one is good all the same.
        let _ = remote.set_mode(&aside.path, old.mode).await;
    }
    let renamed = remote.rename(&aside.path, path, job.options.overwrite).await;
    renamed.map_err(Error::target)?;
    job.check_after(0, digest.as_ref(), by_source).await
}

/// The name beside the target's under which it is written.
fn aside(path: &VirtualPath) -> Result<VirtualPath, Error> {
    let name = path.name().unwrap_or_default();
    let mut kept = name.len().min(KEPT_NAME);
    if let Ok(text) = std::str::from_utf8(name) {
        while !text.is_char_boundary(kept) {
            kept -= 1;
        }
    }
    let number = format!(".{:08x}.segments", crc32fast::hash(name));
    let name = [b".", &name[..kept], number.as_bytes()].concat();
    let dir = path.parent().unwrap_or_else(VirtualPath::root);
    dir.resolve(&name)
        .map_err(|_| Error::target(store::ErrorKind::BadName))
}
