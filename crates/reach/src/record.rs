//! The record of what routers were asked for, which all ports share: one task owns the journal.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tokio::sync::{mpsc, oneshot};

use crate::router::{Journal, Leftover};

/// Entries on their way; who makes one waits for it.
const BACKLOG: usize = 16;

/// The record. Its task begins with the first that needs it.
#[derive(Debug)]
pub(crate) struct Record {
    file: Option<PathBuf>,
    entries: OnceLock<mpsc::Sender<(Entry, oneshot::Sender<()>)>>,
}

#[derive(Debug)]
enum Entry {
    /// Nothing but to be open.
    Open,
    Add(Leftover),
    Strike(Leftover),
}

impl Record {
    /// Without a file nothing is kept.
    pub(crate) fn new(file: Option<PathBuf>) -> Self {
        Self {
            file,
            entries: OnceLock::new(),
        }
    }

    /// Makes sure that what a crash has left over has been taken back; that takes seconds where a router is silent.
    pub(crate) async fn open(&self) {
        self.enter(Entry::Open).await;
    }

    /// Writes a mapping down; it is on the disk when this returns, unless a warning says that it is not.
    pub(crate) async fn add(&self, mapping: &Leftover) {
        self.enter(Entry::Add(mapping.clone())).await;
    }

    /// Strikes it out.
    pub(crate) async fn strike(&self, mapping: &Leftover) {
        self.enter(Entry::Strike(mapping.clone())).await;
    }

    async fn enter(&self, entry: Entry) {
        let Some(file) = &self.file else { return };
        let entries = self.entries.get_or_init(|| {
            let (sender, receiver) = mpsc::channel(BACKLOG);
            tokio::spawn(keep(file.clone(), receiver));
            sender
        });
        let (done, told) = oneshot::channel();
        if entries.send((entry, done)).await.is_ok() {
            // A task that is gone has ended with its runtime.
            let _ = told.await;
        }
    }
}

/// Opens the journal, takes back what an earlier run has left over, and then writes what comes.
async fn keep(file: PathBuf, mut entries: mpsc::Receiver<(Entry, oneshot::Sender<()>)>) {
    let mut journal = opened(&file).await;
    while let Some((entry, done)) = entries.recv().await {
        let written = match entry {
            Entry::Open => Ok(()),
            Entry::Add(mapping) => journal.record(&mapping).await,
            Entry::Strike(mapping) => journal.strike(&mapping).await,
        };
        if let Err(error) = written {
            tracing::warn!(%error, file = %file.display(), "the record of mappings; after a crash nobody takes them back");
        }
        // Who does not wait any more needs no word.
        let _ = done.send(());
    }
}

async fn opened(file: &Path) -> Journal {
    if let Some(folder) = file.parent() {
        // Where that fails, so will the writing, which is reported.
        let _ = tokio::fs::create_dir_all(folder).await;
    }
    let mut journal = Journal::open(file.to_owned()).await;
    match journal.sweep().await {
        Ok(swept) => {
            for (mapping, _) in swept.iter().filter(|(_, removed)| removed.is_ok()) {
                tracing::info!(outside = %mapping.outside, "a mapping of an earlier run is taken back");
            }
        }
        Err(error) => tracing::warn!(%error, file = %file.display(), "the record of mappings"),
    }
    journal
}
