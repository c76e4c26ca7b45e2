//! A folder's entries, while they arrive.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::BytesMut;
use pasarela_ftp_proto::listing::read::{self, EntryKind, Reader, one_component};
use pasarela_store::{Entry, Kind, Metadata, Pages, Result};

use super::data::Transfer;
use super::pool::{Lease, Pool};
use crate::{Failure, FailureKind};

/// The most entries of one folder; one that has more is a server that never ends.
const MOST_ENTRIES: u64 = 1_000_000;
/// Bytes that are read at once, and entries a page.
const READ_SIZE: usize = 64 * 1024;
const PAGE: usize = 256;

/// A listing on its way.
pub(super) struct Listing {
    running: Option<Running>,
    reader: Reader,
    ready: VecDeque<Entry>,
    count: u64,
}

struct Running {
    lease: Lease,
    transfer: Transfer,
}

impl Listing {
    /// Gives the command, `MLSD …` or `LIST …`.
    pub(super) async fn start(
        pool: &Arc<Pool>,
        mut lease: Lease,
        command: Vec<u8>,
        kind: read::Kind,
    ) -> std::result::Result<Self, Failure> {
        let begun = lease
            .connection()?
            .transfer(pool, None, command, "list the folder")
            .await;
        if begun.as_ref().is_err_and(|failure| failure.reply.is_none()) {
            lease.discard();
        }
        let transfer = begun?;
        Ok(Self {
            running: Some(Running { lease, transfer }),
            reader: Reader::new(kind, SystemTime::now()),
            ready: VecDeque::new(),
            count: 0,
        })
    }

    async fn fill(&mut self) -> std::result::Result<(), Failure> {
        let mut buf = BytesMut::with_capacity(READ_SIZE);
        while self.ready.len() < PAGE {
            let Some(mut running) = self.running.take() else {
                break;
            };
            buf.clear();
            let control = &mut running.lease.connection()?.control;
            match running.transfer.read(control, &mut buf).await {
                Ok(0) => {
                    running.transfer.finish(control, "send the whole listing").await?;
                    self.reader.handle_end();
                    self.take_entries()?;
                    let summary = self.reader.summary();
                    if let Some(line) = &summary.first_skipped {
                        let first = line.text.escape_ascii();
                        tracing::warn!(skipped = summary.skipped, %first, "lines of a listing were not understood");
                    }
                }
                Ok(_) => {
                    self.reader.handle_input(&buf);
                    if let Err(failure) = self.take_entries() {
                        running.lease.discard();
                        return Err(failure);
                    }
                    self.running = Some(running);
                }
                Err(failure) => {
                    running.lease.discard();
                    return Err(failure);
                }
            }
        }
        Ok(())
    }

    fn take_entries(&mut self) -> std::result::Result<(), Failure> {
        while let Some(found) = self.reader.poll_entry() {
            self.count += 1;
            if self.count > MOST_ENTRIES {
                return Err(Failure::new(FailureKind::Protocol, "the listing has no end"));
            }
            // A name that is a path would lead whoever writes it to disk somewhere else (CVE-2018-10916).
            if one_component(&found.name, false).is_err() {
                tracing::warn!(name = %found.name.escape_ascii(), "an entry with a name that is none was left out");
                continue;
            }
            self.ready.push_back(entry(found));
        }
        Ok(())
    }
}

#[async_trait]
impl Pages for Listing {
    async fn next_page(&mut self) -> Result<Option<Vec<Entry>>> {
        self.fill().await?;
        let page: Vec<_> = self.ready.drain(..self.ready.len().min(PAGE)).collect();
        Ok((!page.is_empty()).then_some(page))
    }
}

/// What a store's entry is made of; what the server does not say is what a stranger would assume.
pub(super) fn entry(found: read::Entry) -> Entry {
    let kind = match found.kind {
        EntryKind::File => Kind::File,
        EntryKind::Directory => Kind::Directory,
        EntryKind::Link => Kind::Link,
        EntryKind::Other | EntryKind::Unknown => Kind::Other,
    };
    let number = |name: &Option<Vec<u8>>| {
        let text = std::str::from_utf8(name.as_deref()?).ok()?;
        text.parse().ok()
    };
    Entry {
        name: found.name,
        metadata: Metadata {
            kind,
            size: found.size.unwrap_or(0),
            modified: found
                .modified
                .map_or(SystemTime::UNIX_EPOCH, |modified| modified.value),
            mode: found.mode.unwrap_or(default_mode(kind)),
            uid: number(&found.owner).unwrap_or(0),
            gid: number(&found.group).unwrap_or(0),
            links: 1,
            unique: (0, 0),
        },
        link_target: found.target,
    }
}

pub(super) fn default_mode(kind: Kind) -> u32 {
    match kind {
        Kind::Directory => 0o755,
        Kind::Link => 0o777,
        Kind::File | Kind::Other => 0o644,
    }
}

impl Drop for Listing {
    fn drop(&mut self) {
        let Some(Running { mut lease, transfer }) = self.running.take() else {
            return;
        };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return lease.discard();
        };
        runtime.spawn(async move {
            if let Ok(connection) = lease.connection()
                && !transfer.abandon(&mut connection.control).await
            {
                lease.discard();
            }
        });
    }
}
