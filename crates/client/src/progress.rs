//! What goes on in transfers, as events for whoever shows it: a bar, a log, lines of JSON.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::mpsc;

use crate::transfer::Checked;

/// Something that happened. Names are as the places spell them, and are not fit for a terminal without escaping;
/// bytes that are no UTF-8 are replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// What is going to be copied in all.
    Planned {
        /// Number of files.
        files: u64,
        /// Bytes in all of them.
        bytes: u64,
    },
    /// A file's content begins to move.
    Started {
        /// Number of the file, for the events that follow.
        file: u64,
        /// Its path at the source.
        name: String,
        /// Its length in bytes, where it is known.
        #[serde(skip_serializing_if = "Option::is_none")]
        size: Option<u64>,
        /// How many bytes were there already.
        resumed_at: u64,
    },
    /// Bytes have been written. Some of these events are left out when nobody keeps up with them.
    Moved {
        /// Number of the file.
        file: u64,
        /// How many bytes stand at the target now.
        done: u64,
    },
    /// Something failed that may pass; it is tried again.
    Retrying {
        /// Number of the file.
        file: u64,
        /// Milliseconds until then.
        wait_ms: u64,
        /// What failed.
        reason: String,
    },
    /// A file stands at the target, whole.
    Finished {
        /// Number of the file.
        file: u64,
        /// Its length in bytes.
        size: u64,
        /// How many bytes were moved for it.
        moved: u64,
        /// How it was checked.
        checked: Checked,
    },
    /// A file was not copied, or another step was not done.
    Failed {
        /// Number of the file, where it had begun.
        #[serde(skip_serializing_if = "Option::is_none")]
        file: Option<u64>,
        /// Its path.
        name: String,
        /// Why.
        reason: String,
    },
    /// A step other than a copy was done.
    Done {
        /// What: `make_dir`, `delete_file`, `remove_dir`, `set_time`.
        step: &'static str,
        /// Its path at the target.
        name: String,
    },
    /// Something worth knowing that is no failure.
    Note {
        /// The path that it is about.
        name: String,
        /// What.
        text: String,
    },
}

/// Where events are told; cheap to clone. The default tells nobody.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    to: Option<mpsc::Sender<Event>>,
    last_file: Arc<AtomicU64>,
}

impl Progress {
    /// Events that `Receiver` gets. What moves files waits for it once `room` events wait there.
    #[must_use]
    pub fn channel(room: usize) -> (Self, mpsc::Receiver<Event>) {
        let (to, events) = mpsc::channel(room.max(1));
        let to = Some(to);
        (
            Self {
                to,
                last_file: Arc::default(),
            },
            events,
        )
    }

    pub(crate) async fn tell(&self, event: Event) {
        if let Some(to) = &self.to {
            // Nobody listens any more: the work goes on all the same.
            let _ = to.send(event).await;
        }
    }

    fn offer(&self, event: Event) {
        if let Some(to) = &self.to {
            let _ = to.try_send(event);
        }
    }

    /// Begins to tell of one file.
    pub(crate) fn file(&self, name: &[u8]) -> FileProgress {
        FileProgress {
            progress: self.clone(),
            file: self.last_file.fetch_add(1, Ordering::Relaxed) + 1,
            name: String::from_utf8_lossy(name).into_owned(),
            done: AtomicU64::new(0),
        }
    }
}

/// Where the events of one file are told.
#[derive(Debug)]
pub(crate) struct FileProgress {
    progress: Progress,
    file: u64,
    name: String,
    done: AtomicU64,
}

impl FileProgress {
    pub(crate) async fn started(&self, size: Option<u64>, resumed_at: u64) {
        self.done.store(resumed_at, Ordering::Relaxed);
        let (file, name) = (self.file, self.name.clone());
        self.progress
            .tell(Event::Started {
                file,
                name,
                size,
                resumed_at,
            })
            .await;
    }

    /// How many bytes stand at the target.
    pub(crate) fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    pub(crate) fn moved(&self, bytes: u64) {
        let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.progress.offer(Event::Moved {
            file: self.file,
            done,
        });
    }

    pub(crate) async fn retrying(&self, wait: Duration, reason: String) {
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        self.progress
            .tell(Event::Retrying {
                file: self.file,
                wait_ms,
                reason,
            })
            .await;
    }

    pub(crate) async fn note(&self, text: String) {
        self.progress
            .tell(Event::Note {
                name: self.name.clone(),
                text,
            })
            .await;
    }

    pub(crate) async fn finished(&self, size: u64, moved: u64, checked: Checked) {
        self.progress
            .tell(Event::Finished {
                file: self.file,
                size,
                moved,
                checked,
            })
            .await;
    }

    pub(crate) async fn failed(&self, reason: String) {
        let (file, name) = (Some(self.file), self.name.clone());
        self.progress.tell(Event::Failed { file, name, reason }).await;
    }
}
