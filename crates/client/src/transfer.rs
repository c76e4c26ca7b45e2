//! One file from one place to another: read ahead of the writing, tried again, resumed, checked, and only then a success.
//!
//! A success means that the source's length was known, that as many bytes stand under the target's name, that both
//! sides said that they were done, and that the digests agree where they were asked for.

mod aside;
mod check;
mod failure;
mod finish;
mod pump;
mod resume;
mod retry;
mod segments;
mod stream;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

pub use pasarela_dtp::{Bucket, Pace};
use pasarela_store as store;
use store::{Kind, Open};
use tokio_util::sync::CancellationToken;

use crate::digest::Hasher;
use crate::progress::{FileProgress, Progress};
use crate::remote::{Abilities, Place};
pub use aside::Aside;
pub(crate) use aside::beside;
use check::Check;
pub use check::{Checked, Verify};
pub use failure::{End, Error, sentence};
use resume::Begun;
pub(crate) use retry::again;
use retry::{Waits, may_pass};
pub use stream::{receive, send};

/// Bytes that are read at once while something bounds the pace.
pub(crate) const PACED_CHUNK: usize = 16 * 1024;

/// How a file is transferred.
#[derive(Debug, Clone)]
pub struct Options {
    /// Goes on with what an earlier transfer left, once it has been compared.
    pub resume: bool,
    /// How many ranges of a file are read at once, where both places can do that.
    pub segments: usize,
    /// How the result is checked.
    pub verify: Verify,
    /// Whether a file that stands at the target is replaced.
    pub overwrite: bool,
    /// Whether an upload is written under a name of its own until it is whole.
    pub aside: Aside,
    /// Gives the target the source's modification time.
    pub keep_times: bool,
    /// How often and after which time what failed is tried again.
    pub retries: Retries,
    /// How fast the bytes of files move, also those that are read from elsewhere only to be compared. Transfers whose paces have a bucket in common share its rate.
    pub pace: Pace,
}

/// When something that failed and may pass is tried again: after `first_wait`, then after twice as long each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retries {
    /// How often in a row without any progress.
    pub times: u32,
    /// The first wait.
    pub first_wait: Duration,
    /// The longest wait.
    pub longest_wait: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            resume: false,
            segments: 1,
            verify: Verify::Auto,
            overwrite: true,
            aside: Aside::Auto,
            keep_times: true,
            retries: Retries::default(),
            pace: Pace::default(),
        }
    }
}

impl Options {
    /// How many bytes are read at once: fewer while something bounds the pace, so that the flow is even.
    fn chunk(&self) -> usize {
        if self.pace.is_unbounded() {
            pump::CHUNK
        } else {
            PACED_CHUNK
        }
    }
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            times: 5,
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(60),
        }
    }
}

/// What a finished transfer came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The file's length in bytes.
    pub size: u64,
    /// How many bytes were moved; fewer than `size` where an earlier transfer's were kept.
    pub moved: u64,
    /// How it was checked.
    pub checked: Checked,
    /// Whether the target has the source's modification time.
    pub time_kept: bool,
}

/// Copies one file. What stands under the target's name is whole before and after, whatever fails; what an
/// interrupted copy of a new file leaves can be gone on with.
///
/// # Errors
/// [`Error`], after whatever may pass has been tried again. A stop is [`Error::Stopped`].
pub async fn copy(
    from: &Place,
    to: &Place,
    options: &Options,
    progress: &Progress,
    stop: &CancellationToken,
) -> Result<Outcome, Error> {
    copy_known(from, to, Known::default(), options, progress, stop).await
}

/// What a listing of just now has told, so that it need not be asked for again.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Known {
    /// The source is a file of this length and time.
    pub(crate) source: Option<(u64, SystemTime)>,
    /// Nothing stands at the target.
    pub(crate) is_new: bool,
}

/// As [`copy`]. What was known is asked for after all where the file turns out to be another one.
pub(crate) async fn copy_known(
    from: &Place,
    to: &Place,
    known: Known,
    options: &Options,
    progress: &Progress,
    stop: &CancellationToken,
) -> Result<Outcome, Error> {
    let told = progress.file(&from.path.to_bytes());
    let mut copied = Job::copy(from, to, known, options, Arc::new(told), stop).await;
    if let (told, Err(error)) = &copied
        && known.source.is_some()
        && error.may_be_stale()
    {
        copied = Job::copy(from, to, Known::default(), options, Arc::clone(told), stop).await;
    }
    match copied {
        (told, Ok(outcome)) => {
            told.finished(outcome.size, outcome.moved, outcome.checked).await;
            Ok(outcome)
        }
        (told, Err(error)) => {
            told.failed(error.to_string()).await;
            Err(error)
        }
    }
}

/// What a new file has, and what places say that do not know.
const USUAL_MODE: u32 = 0o644;

/// All that the steps of one copy need to know.
#[derive(Debug)]
struct Job {
    from: Place,
    to: Place,
    options: Options,
    told: Arc<FileProgress>,
    from_can: Abilities,
    to_can: Abilities,
    size: u64,
    modified: SystemTime,
    /// And not a link to one, whose length is not that.
    is_file: bool,
    /// Nothing stood at the target when the copy began, so whatever does later is this copy's.
    is_new: bool,
    /// The mode of the file that is replaced, where it is not the usual one.
    old_mode: Option<u32>,
    /// Where it is written until it is whole, when not under its name.
    aside: Option<Place>,
    is_aside_given_up: AtomicBool,
    /// What stands there was written by this copy.
    is_aside_ours: AtomicBool,
    /// Some range was tried as often as is allowed, so the whole is not tried again either.
    is_exhausted: AtomicBool,
    check: Check,
}

impl Job {
    async fn copy(
        from: &Place,
        to: &Place,
        known: Known,
        options: &Options,
        told: Arc<FileProgress>,
        stop: &CancellationToken,
    ) -> (Arc<FileProgress>, Result<Outcome, Error>) {
        let job = Self::new(from, to, known, options, &told);
        let job = match unless_stopped(stop, job).await {
            Ok(job) => Arc::new(job),
            Err(error) => return (told, Err(error)),
        };
        let copied = unless_stopped(stop, job.persist()).await;
        (told, copied)
    }

    /// Looks at both ends.
    async fn new(
        from: &Place,
        to: &Place,
        known: Known,
        options: &Options,
        told: &Arc<FileProgress>,
    ) -> Result<Self, Error> {
        let (from_can, to_can) = (from.remote.abilities(), to.remote.abilities());
        let check = Check::choose(options.verify, &from_can, &to_can)?;
        let looked_at = again(options.retries, || async {
            if let Some((size, modified)) = known.source {
                return Ok((Kind::File, size, modified));
            }
            let looked_at = from.remote.stat(&from.path).await?;
            Ok((looked_at.kind, looked_at.size, looked_at.modified))
        });
        let there = again(options.retries, || async {
            if known.is_new && options.overwrite {
                return Ok(None);
            }
            match to.remote.stat(&to.path).await {
                Ok(there) => Ok(Some(there)),
                Err(error) if error.kind == store::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            }
        });
        let (looked_at, there) = tokio::join!(looked_at, there);
        let (kind, size, modified) = looked_at.map_err(Error::source)?;
        let there = there.map_err(Error::target)?;
        match kind {
            Kind::Directory => return Err(Error::source(store::ErrorKind::IsDirectory)),
            Kind::Other => return Err(Error::source(store::ErrorKind::NotAFile)),
            Kind::File | Kind::Link => {}
        }
        match there.as_ref().map(|there| there.kind) {
            Some(Kind::Directory) => return Err(Error::target(store::ErrorKind::IsDirectory)),
            Some(_) if !options.overwrite => return Err(Error::target(store::ErrorKind::Exists)),
            _ => {}
        }
        let aside = again(options.retries, || aside::place(to, options.aside)).await;
        let mut job = Self {
            aside: aside.map_err(Error::target)?,
            is_aside_given_up: AtomicBool::new(false),
            is_aside_ours: AtomicBool::new(false),
            old_mode: there
                .as_ref()
                .filter(|there| there.kind == Kind::File && there.mode != USUAL_MODE)
                .map(|there| there.mode),
            from: from.clone(),
            to: to.clone(),
            options: options.clone(),
            told: Arc::clone(told),
            size,
            modified,
            is_file: kind == Kind::File,
            is_new: there.is_none(),
            is_exhausted: AtomicBool::new(false),
            check,
            from_can,
            to_can,
        };
        if !job.from_can.exact_size {
            let file = job.open_source().await?;
            job.size = file.size().await.map_err(|error| match error.kind {
                store::ErrorKind::Unsupported => Error::SizeUnknown,
                _ => Error::source(error),
            })?;
        }
        Ok(job)
    }

    /// Tries until it is done or will not be.
    async fn persist(self: &Arc<Self>) -> Result<Outcome, Error> {
        let mut waits = Waits::new(self.options.retries);
        let mut furthest = 0;
        loop {
            let error = match self.attempt(!waits.is_fresh()).await {
                Ok(outcome) => return Ok(outcome),
                Err(error) => error,
            };
            if self.told.done() > furthest {
                furthest = self.told.done();
                waits.progressed();
            }
            self.wait_to_retry(&mut waits, error).await?;
        }
    }

    /// Waits before what failed is tried again; gives the error back where that is of no use.
    async fn wait_to_retry(&self, waits: &mut Waits, error: Error) -> Result<(), Error> {
        if !error.may_pass() || self.is_exhausted.load(Ordering::Relaxed) {
            return Err(error);
        }
        let Some(wait) = waits.next() else {
            self.is_exhausted.store(true, Ordering::Relaxed);
            return Err(error);
        };
        self.told.retrying(wait, error.to_string()).await;
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// One try; into the file itself where the place refuses another name in the middle of it. `is_retry`: what stands
    /// at the target may be what an earlier try left.
    async fn attempt(self: &Arc<Self>, is_retry: bool) -> Result<Outcome, Error> {
        let was_aside = self.aside().is_some();
        match self.attempt_once(is_retry).await {
            Err(_) if was_aside && self.aside().is_none() => {
                let text = "the server refuses to write it under another name first, so it goes into the file itself";
                self.told.note(text.into()).await;
                self.attempt_once(is_retry).await
            }
            done => done,
        }
    }

    async fn attempt_once(self: &Arc<Self>, is_retry: bool) -> Result<Outcome, Error> {
        if is_retry {
            self.same_source().await?;
        }
        let begun = if is_retry || self.options.resume {
            self.find_begun().await?
        } else {
            Begun::Nothing
        };
        match begun {
            Begun::Whole(checked) => {
                self.told.started(Some(self.size), self.size).await;
                let time_kept = self.keep_time(&self.to).await;
                Ok(self.outcome(self.size, checked, time_kept))
            }
            Begun::Written(at, checked) => {
                self.told.started(Some(self.size), self.size).await;
                let time_kept = self.keep_time(&at).await;
                self.put_in_place(&at).await?;
                Ok(self.outcome(self.size, checked, time_kept))
            }
            Begun::Part(at, file, start) => {
                self.told.started(Some(self.size), start).await;
                let hasher = self.hash_prefix(&file, start).await?;
                self.fill(&at, file, start, hasher).await
            }
            Begun::Nothing => {
                let count = segments::count(self);
                if count > 1
                    && let Some(outcome) = segments::copy(self, count).await?
                {
                    return Ok(outcome);
                }
                self.write_anew().await
            }
        }
    }

    /// The whole file, from its beginning.
    async fn write_anew(&self) -> Result<Outcome, Error> {
        let at = self.aside().unwrap_or(&self.to).clone();
        let is_aside = at.path != self.to.path;
        let how = match self.options.overwrite || is_aside {
            true => Open::Replace,
            false => Open::CreateNew,
        };
        let file = at.remote.open(&at.path, how).await.map_err(|error| {
            self.doubt_aside(&error);
            Error::target(error)
        })?;
        self.is_aside_ours.store(is_aside, Ordering::Relaxed);
        self.told.started(Some(self.size), 0).await;
        self.fill(&at, file, 0, self.check.algorithm().map(Hasher::new))
            .await
    }

    /// Everything from `start` on, one byte after the other.
    async fn fill(
        &self,
        at: &Place,
        file: Arc<dyn store::File>,
        start: u64,
        mut hasher: Option<Hasher>,
    ) -> Result<Outcome, Error> {
        pump::pump(self, &file, start..self.size, &mut hasher).await?;
        self.finish(at, file, start, hasher).await
    }

    fn outcome(&self, start: u64, checked: Checked, time_kept: bool) -> Outcome {
        Outcome {
            size: self.size,
            moved: self.size - start,
            checked,
            time_kept,
        }
    }

    async fn open_source(&self) -> Result<Arc<dyn store::File>, Error> {
        let (remote, path) = (&self.from.remote, &self.from.path);
        let file = match self.is_file && self.from_can.exact_size {
            true => remote.open_known(path, self.size).await,
            false => remote.open(path, Open::Read).await,
        };
        file.map_err(Error::source)
    }

    /// Whether the source is still what it was when the copy began.
    async fn same_source(&self) -> Result<(), Error> {
        let now = self.from.remote.stat(&self.from.path).await;
        let now = now.map_err(Error::source)?;
        let same_size = now.size == self.size || !self.from_can.exact_size;
        match same_size && now.modified == self.modified {
            true => Ok(()),
            false => Err(Error::Changed),
        }
    }
}

/// What `work` comes to, unless it is stopped before.
async fn unless_stopped<T>(
    stop: &CancellationToken,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::select! {
        biased;
        () = stop.cancelled() => Err(Error::Stopped),
        done = work => done,
    }
}

#[cfg(test)]
mod tests;
