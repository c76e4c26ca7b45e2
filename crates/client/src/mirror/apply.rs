//! A plan carried out: what may go side by side does, and what fails is collected while the rest goes on.

use std::mem::discriminant;
use std::sync::Arc;

use pasarela_store as store;
use store::{ErrorKind, VirtualPath};
use tokio_util::sync::CancellationToken;

use super::{NoteKind, Plan, Settings, Step};
use crate::parallel::at_most;
use crate::progress::{Event, Progress};
use crate::remote::Place;
use crate::transfer::{self, Error, Known, Outcome, again};

/// What carrying out a plan came to.
#[derive(Debug, Default)]
pub struct Summary {
    /// Files copied.
    pub copied: u64,
    /// Bytes moved for them.
    pub bytes: u64,
    /// Folders made.
    pub made: u64,
    /// Files, links and folders removed.
    pub removed: u64,
    /// Times set.
    pub times: u64,
    /// What did not succeed, with the notes of the plan that are failures.
    pub failed: Vec<Failed>,
    /// Whether it was stopped before the end.
    pub is_stopped: bool,
}

/// Something that was not done.
#[derive(Debug)]
pub struct Failed {
    /// The path in the trees.
    pub path: VirtualPath,
    /// Why, in words.
    pub reason: String,
    /// Why, typed; `None` for what the plan could not plan.
    pub error: Option<Error>,
}

/// What a step came to.
enum Done {
    Copied(Outcome),
    Made,
    Removed,
    Kept,
    TimeSet,
}

/// Everything that a step needs.
struct Work {
    from: Place,
    to: Place,
    settings: Settings,
    progress: Progress,
    stop: CancellationToken,
}

/// Carries out a plan.
pub async fn apply(
    plan: &Plan,
    from: &Place,
    to: &Place,
    settings: &Settings,
    progress: &Progress,
    stop: &CancellationToken,
) -> Summary {
    let (files, bytes) = plan.totals();
    progress.tell(Event::Planned { files, bytes }).await;
    let mut summary = Summary::default();
    for note in &plan.notes {
        let name = String::from_utf8_lossy(&note.path.to_bytes()).into_owned();
        let text = note.text.clone();
        match note.kind {
            NoteKind::LeftOut => progress.tell(Event::Note { name, text }).await,
            NoteKind::Failed => {
                let (file, reason) = (None, text.clone());
                progress.tell(Event::Failed { file, name, reason }).await;
                summary.failed.push(Failed {
                    path: note.path.clone(),
                    reason: text,
                    error: None,
                });
            }
        }
    }
    let (from_can, to_can) = (from.remote.abilities(), to.remote.abilities());
    let work = Arc::new(Work {
        from: from.clone(),
        to: to.clone(),
        settings: settings.clone(),
        progress: progress.clone(),
        stop: stop.clone(),
    });
    for steps in plan.steps.chunk_by(|a, b| discriminant(a) == discriminant(b)) {
        let limit = match steps.first() {
            // A folder is made before, and removed after, what it holds.
            Some(Step::MakeDir { .. } | Step::RemoveDir { .. }) => 1,
            Some(Step::Copy { .. }) => settings.jobs.min(from_can.parallel).min(to_can.parallel),
            _ => settings.jobs.min(to_can.parallel),
        };
        let carry_out = |step: &Step| {
            let (work, step) = (Arc::clone(&work), step.clone());
            async move {
                let done = work.carry_out(&step).await;
                (step, done)
            }
        };
        at_most(limit, steps, carry_out, |(step, done): (Step, _)| {
            summary.count(&step, done);
            !summary.is_stopped
        })
        .await;
        if summary.is_stopped {
            break;
        }
    }
    summary
}

impl Summary {
    fn count(&mut self, step: &Step, done: Result<Done, Error>) {
        match done {
            Ok(Done::Copied(outcome)) => {
                self.copied += 1;
                self.bytes += outcome.moved;
            }
            Ok(Done::Made) => self.made += 1,
            Ok(Done::Removed) => self.removed += 1,
            Ok(Done::TimeSet) => self.times += 1,
            Ok(Done::Kept) => {}
            Err(Error::Stopped) => self.is_stopped = true,
            Err(error) => self.failed.push(Failed {
                path: step.path().clone(),
                reason: error.to_string(),
                error: Some(error),
            }),
        }
    }
}

impl Work {
    async fn carry_out(&self, step: &Step) -> Result<Done, Error> {
        if self.stop.is_cancelled() {
            return Err(Error::Stopped);
        }
        let to = self.to.join(step.path());
        let to = to.map_err(|_| Error::target(ErrorKind::BadName))?;
        if let Step::Copy {
            path,
            size,
            replaces,
            modified,
        } = step
        {
            let known = Known {
                source: modified.map(|modified| (*size, modified)),
                is_new: !replaces,
            };
            let from = self.from.join(path);
            let from = from.map_err(|_| Error::source(ErrorKind::BadName))?;
            // It tells its own progress.
            let (options, progress) = (&self.settings.transfer, &self.progress);
            let copied = transfer::copy_known(&from, &to, known, options, progress, &self.stop);
            return copied.await.map(Done::Copied);
        }
        let done = tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(Error::Stopped),
            done = self.change(step, &to) => done.map_err(Error::target),
        };
        let name = String::from_utf8_lossy(&to.path.to_bytes()).into_owned();
        let event = match &done {
            Ok(Done::Kept) => Event::Note {
                name,
                text: "it is not removed, because it holds something that was left out".into(),
            },
            Ok(_) => Event::Done {
                step: word(step),
                name,
            },
            Err(error) => Event::Failed {
                file: None,
                name,
                reason: error.to_string(),
            },
        };
        self.progress.tell(event).await;
        done
    }

    /// A step that moves no content. What was done already, by an earlier try above all, is done.
    async fn change(&self, step: &Step, to: &Place) -> store::Result<Done> {
        let (remote, path) = (&to.remote, &to.path);
        let retries = self.settings.transfer.retries;
        again(retries, || async {
            match step {
                Step::Copy { .. } => Err(ErrorKind::Unsupported.into()),
                Step::MakeDir { .. } => make_dirs(to).await.map(|()| Done::Made),
                Step::DeleteFile { .. } => {
                    unless_gone(remote.remove_file(path).await).map(|()| Done::Removed)
                }
                Step::RemoveDir { .. } => match unless_gone(remote.remove_dir(path).await) {
                    Err(error) if error.kind == ErrorKind::NotEmpty => Ok(Done::Kept),
                    other => other.map(|()| Done::Removed),
                },
                Step::SetTime { to, .. } => remote.set_modified(path, *to).await.map(|()| Done::TimeSet),
            }
        })
        .await
    }
}

/// Makes a folder, and those that hold it where they are not there yet. The outermost that exists is found from
/// within, for those further out may be nobody's to look at.
///
/// # Errors
/// When one cannot be made, or something else stands under its name.
pub async fn make_dirs(to: &Place) -> store::Result<()> {
    let mut missing = vec![to.path.clone()];
    while let Some(path) = missing.last() {
        match to.remote.make_dir(path).await {
            Ok(()) => {
                missing.pop();
            }
            Err(error) => match (error.kind, path.parent()) {
                (ErrorKind::NotFound, Some(parent)) if missing.len() <= to.path.components().len() => {
                    missing.push(parent);
                }
                // Servers have one answer for many things.
                _ if is_dir(to, path).await => {
                    missing.pop();
                }
                _ => return Err(error),
            },
        }
    }
    Ok(())
}

async fn is_dir(to: &Place, path: &VirtualPath) -> bool {
    let there = to.remote.stat(path).await;
    there.is_ok_and(|there| there.kind == store::Kind::Directory)
}

fn unless_gone(result: store::Result<()>) -> store::Result<()> {
    match result {
        Err(error) if error.kind == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn word(step: &Step) -> &'static str {
    match step {
        Step::MakeDir { .. } => "make_dir",
        Step::Copy { .. } => "copy",
        Step::DeleteFile { .. } => "delete_file",
        Step::RemoveDir { .. } => "remove_dir",
        Step::SetTime { .. } => "set_time",
    }
}
