//! A file that is read: one RETR for as long as reads follow each other, another one after a jump.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use pasarela_store::{File, Result};
use tokio::sync::{mpsc, oneshot};

use super::data::Transfer;
use super::pool::{Lease, Pool};
use super::remote::size_of;
use crate::{Failure, FailureKind};

/// The handle; the file itself is a task, because it owns a connection.
#[derive(Debug)]
pub(super) struct Reading {
    size: Option<u64>,
    inbox: mpsc::Sender<Read>,
}

#[derive(Debug)]
struct Read {
    offset: u64,
    len: usize,
    answer: oneshot::Sender<std::result::Result<Bytes, Failure>>,
}

/// The most that one read gives.
const LARGEST_READ: usize = 1024 * 1024;
/// A jump forward by less is read over: another RETR would cost more.
const READ_OVER: u64 = 512 * 1024;

impl Reading {
    /// `size` is what the server says it is now.
    pub(super) fn start(pool: Arc<Pool>, path: Vec<u8>, size: Option<u64>) -> Self {
        let (inbox, reads) = mpsc::channel(1);
        let task = Task {
            pool,
            path,
            size,
            running: None,
            whole_at: None,
        };
        tokio::spawn(task.run(reads));
        Self { size, inbox }
    }
}

#[async_trait]
impl File for Reading {
    async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes> {
        let (answer, answered) = oneshot::channel();
        // A task that has gone answers no more.
        let _ = self.inbox.send(Read { offset, len, answer }).await;
        let gone = |_| Failure::new(FailureKind::Other, "the transfer has ended");
        Ok(answered.await.map_err(gone)??)
    }

    async fn write_at(&self, _: u64, _: Bytes) -> Result<()> {
        Err(Failure::new(FailureKind::Usage, "this file was opened for reading").into())
    }

    async fn size(&self) -> Result<u64> {
        let unknown = || Failure::new(FailureKind::Unsupported, "the server does not tell sizes");
        Ok(self.size.ok_or_else(unknown)?)
    }

    fn start(&self) -> u64 {
        0
    }

    async fn prepare(&self) -> Result<()> {
        Ok(())
    }

    async fn publish(&self) -> Result<()> {
        Ok(())
    }
}

struct Task {
    pool: Arc<Pool>,
    path: Vec<u8>,
    size: Option<u64>,
    running: Option<Running>,
    /// Where the file ended, cleanly and in its whole length.
    whole_at: Option<u64>,
}

struct Running {
    lease: Lease,
    transfer: Transfer,
    at: u64,
}

impl Task {
    async fn run(mut self, mut reads: mpsc::Receiver<Read>) {
        while let Some(read) = reads.recv().await {
            let mut done = self.read(read.offset, read.len.min(LARGEST_READ)).await;
            if done.is_err() {
                // The connection is of no use any more in the middle of a transfer that failed.
                if let Some(mut running) = self.running.take() {
                    running.lease.discard();
                }
            }
            if let Ok(bytes) = &mut done
                && bytes.is_empty()
            {
                self.whole_at = Some(read.offset);
            }
            let _ = read.answer.send(done);
        }
        if let Some(running) = self.running.take() {
            running.abandon().await;
        }
    }

    async fn read(&mut self, offset: u64, len: usize) -> std::result::Result<Bytes, Failure> {
        if len == 0 || self.whole_at.is_some_and(|end| offset >= end) {
            return Ok(Bytes::new());
        }
        let mut running = match self.running.take() {
            Some(running) if offset >= running.at && offset - running.at <= READ_OVER => running,
            elsewhere => {
                if let Some(running) = elsewhere {
                    tokio::spawn(running.abandon());
                }
                if self.size.is_some_and(|size| offset > 0 && offset >= size) {
                    return Ok(Bytes::new());
                }
                self.begin(offset).await?
            }
        };
        let mut buf = BytesMut::with_capacity(len);
        loop {
            let connection = running.lease.connection()?;
            let read = running.transfer.read(&mut connection.control, &mut buf).await;
            let count = match read {
                Ok(count) => count,
                Err(failure) if self.is_forgivable(&failure, &running) => 0,
                Err(failure) => {
                    running.lease.discard();
                    return Err(failure);
                }
            };
            if count == 0 {
                self.end(running).await?;
                return Ok(Bytes::new());
            }
            let from = running.at;
            running.at += count as u64;
            if let Some(size) = self.size.filter(|size| running.at > *size) {
                running.lease.discard();
                return Err(Failure::new(
                    FailureKind::Verify,
                    format!("the server sends more than the {size} bytes that it said the file has"),
                ));
            }
            if running.at > offset {
                let over = usize::try_from(offset.saturating_sub(from)).unwrap_or(usize::MAX);
                let mut bytes = buf.freeze();
                let _read_over = bytes.split_to(over.min(bytes.len()));
                self.running = Some(running);
                return Ok(bytes);
            }
            buf.clear();
        }
    }

    async fn begin(&self, offset: u64) -> std::result::Result<Running, Failure> {
        let command = [b"RETR ", &self.path[..]].concat();
        let restart = (offset > 0).then_some(offset);
        let begun = self.pool.transfer(None, restart, &command, "send the file").await;
        let (lease, transfer) = match begun {
            // The file was found before; servers have 550 for a right that is missing too.
            Err(failure) if failure.kind == FailureKind::NotFound && failure.reply.is_some() => {
                let still = size_of(&self.pool, &self.path).await;
                return Err(match still {
                    Ok(Some(_)) => failure.meant(FailureKind::Permission),
                    _ => failure,
                });
            }
            begun => begun?,
        };
        Ok(Running {
            lease,
            transfer,
            at: offset,
        })
    }

    /// The data has ended cleanly: it is the file if the server says so and the length is the known one.
    async fn end(&self, running: Running) -> std::result::Result<(), Failure> {
        let Running {
            mut lease,
            transfer,
            at,
        } = running;
        let finished = transfer
            .finish(&mut lease.connection()?.control, "send the whole file")
            .await;
        if let Some(size) = self.size.filter(|size| *size != at) {
            lease.discard();
            let told = finished.err().filter(|failure| failure.reply.is_some());
            return Err(told.unwrap_or_else(|| {
                Failure::new(
                    FailureKind::Verify,
                    format!("the server sent {at} bytes of a file that has {size}"),
                )
            }));
        }
        match finished {
            // Routers forget a control connection that was silent during a long transfer. What it would have said can
            // be found out by another one.
            Err(failure)
                if failure.kind.is_lost() && failure.reply.as_ref().is_none_or(|r| r.code == 421) =>
            {
                lease.discard();
                drop(lease);
                match size_of(&self.pool, &self.path).await {
                    Ok(Some(size)) if size == at => {
                        tracing::warn!(%failure, "the end of the transfer was not confirmed; its length is right");
                        Ok(())
                    }
                    _ => Err(failure),
                }
            }
            finished => finished,
        }
    }

    /// See `Options::lenient_close`.
    fn is_forgivable(&self, failure: &Failure, running: &Running) -> bool {
        self.pool.site.options.lenient_close
            && failure.kind == FailureKind::Lost
            && !running.transfer.is_refused()
            && self.size == Some(running.at)
    }
}

impl Running {
    async fn abandon(self) {
        let Self {
            mut lease, transfer, ..
        } = self;
        let Ok(connection) = lease.connection() else {
            return;
        };
        if !transfer.abandon(&mut connection.control).await {
            lease.discard();
        }
    }
}
