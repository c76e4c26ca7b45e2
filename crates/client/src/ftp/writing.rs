//! A file that is written: one STOR or APPE, front to back.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use pasarela_store::{ErrorKind, File, Result};
use tokio::sync::{mpsc, oneshot};

use super::data::Transfer;
use super::pool::{Lease, Pool};
use super::remote::size_of;
use crate::{Failure, FailureKind};

/// The handle; the upload itself is a task, because it owns a connection.
#[derive(Debug)]
pub(super) struct Writing {
    start: u64,
    inbox: mpsc::Sender<Message>,
}

type Answer<T> = oneshot::Sender<std::result::Result<T, Failure>>;

#[derive(Debug)]
enum Message {
    Write {
        offset: u64,
        bytes: Bytes,
        answer: Answer<()>,
    },
    Size {
        answer: Answer<u64>,
    },
    Publish {
        answer: Answer<()>,
    },
}

impl Writing {
    /// Begins the upload: with `verb`, at `start`, behind REST where `restart`.
    pub(super) async fn start(
        pool: &Arc<Pool>,
        path: Vec<u8>,
        verb: &str,
        start: u64,
        restart: bool,
    ) -> std::result::Result<Self, Failure> {
        let restart = restart.then_some(start);
        Self::open(pool, path, verb, start, restart, false).await
    }

    /// Begins an upload of the bytes behind `start`, beside others of the same file.
    pub(super) async fn range(
        pool: &Arc<Pool>,
        path: Vec<u8>,
        start: u64,
    ) -> std::result::Result<Self, Failure> {
        let restart = (start > 0).then_some(start);
        Self::open(pool, path, "STOR", start, restart, true).await
    }

    async fn open(
        pool: &Arc<Pool>,
        path: Vec<u8>,
        verb: &str,
        start: u64,
        restart: Option<u64>,
        is_range: bool,
    ) -> std::result::Result<Self, Failure> {
        let command = [verb.as_bytes(), b" ", &path[..]].concat();
        let open = pool.transfer(None, restart, &command, "take the file").await?;
        let (inbox, messages) = mpsc::channel(1);
        let task = Task {
            pool: Arc::clone(pool),
            path,
            at: start,
            is_range,
            state: State::Open(Box::new(open)),
        };
        tokio::spawn(task.run(messages));
        Ok(Self { start, inbox })
    }

    async fn ask<T>(&self, message: impl FnOnce(Answer<T>) -> Message) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        // A task that has gone answers no more.
        let _ = self.inbox.send(message(answer)).await;
        let gone = |_| Failure::new(FailureKind::Other, "the transfer has ended");
        Ok(answered.await.map_err(gone)??)
    }
}

#[async_trait]
impl File for Writing {
    async fn read_at(&self, _: u64, _: usize) -> Result<Bytes> {
        // FTP has no verb for what is not published yet.
        Err(ErrorKind::Unsupported.into())
    }

    async fn write_at(&self, offset: u64, bytes: Bytes) -> Result<()> {
        self.ask(|answer| Message::Write {
            offset,
            bytes,
            answer,
        })
        .await
    }

    async fn size(&self) -> Result<u64> {
        self.ask(|answer| Message::Size { answer }).await
    }

    fn start(&self) -> u64 {
        self.start
    }

    async fn prepare(&self) -> Result<()> {
        Ok(())
    }

    async fn publish(&self) -> Result<()> {
        self.ask(|answer| Message::Publish { answer }).await
    }
}

struct Task {
    pool: Arc<Pool>,
    path: Vec<u8>,
    at: u64,
    /// Others write to the same file, so its length says nothing of this upload.
    is_range: bool,
    state: State,
}

enum State {
    Open(Box<(Lease, Transfer)>),
    Published,
    Failed(Failure),
}

impl Task {
    async fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        while let Some(message) = messages.recv().await {
            match message {
                Message::Write {
                    offset,
                    bytes,
                    answer,
                } => {
                    let _ = answer.send(self.write(offset, bytes).await);
                }
                Message::Size { answer } => {
                    let _ = answer.send(Ok(self.at));
                }
                Message::Publish { answer } => {
                    let _ = answer.send(self.publish().await);
                }
            }
        }
        // Nobody wants it any more.
        self.fail(Failure::new(FailureKind::Other, "the upload was dropped"))
            .await;
    }

    async fn write(&mut self, offset: u64, bytes: Bytes) -> std::result::Result<(), Failure> {
        if offset != self.at {
            return Err(Failure::new(
                FailureKind::Unsupported,
                "FTP writes a file from front to back only",
            ));
        }
        let (lease, transfer) = match &mut self.state {
            State::Open(open) => (&mut open.0, &mut open.1),
            State::Published => {
                return Err(Failure::new(FailureKind::Usage, "the upload has been published"));
            }
            State::Failed(failure) => return Err(failure.clone()),
        };
        let length = bytes.len() as u64;
        match transfer.write(&mut lease.connection()?.control, bytes).await {
            Ok(()) => {
                self.at += length;
                Ok(())
            }
            Err(failure) => Err(self.fail(failure).await),
        }
    }

    async fn publish(&mut self) -> std::result::Result<(), Failure> {
        let placeholder = Failure::new(FailureKind::Other, "the upload is being published");
        let (mut lease, mut transfer) = match std::mem::replace(&mut self.state, State::Failed(placeholder)) {
            State::Open(open) => *open,
            State::Published => {
                self.state = State::Published;
                return Ok(());
            }
            State::Failed(failure) => {
                self.state = State::Failed(failure.clone());
                return Err(failure);
            }
        };
        let control = &mut lease.connection()?.control;
        let ended = match transfer.shut_down(control).await {
            Ok(()) => transfer.finish(control, "take the whole file").await,
            Err(failure) => Err(failure),
        };
        let known_end = match ended {
            Ok(()) => Ok(()),
            // All of it went out cleanly; whether it arrived can be found out by another connection.
            Err(failure)
                if failure.kind.is_lost() && failure.reply.as_ref().is_none_or(|r| r.code == 421) =>
            {
                lease.discard();
                Err(failure)
            }
            Err(failure) => {
                lease.discard();
                self.state = State::Failed(failure.clone());
                return Err(failure);
            }
        };
        drop(lease);
        let checked = match self.is_range {
            true => known_end,
            false => self.check(known_end).await,
        };
        self.state = match &checked {
            Ok(()) => State::Published,
            Err(failure) => State::Failed(failure.clone()),
        };
        checked
    }

    /// Whether as much arrived as was sent.
    async fn check(&self, ended: std::result::Result<(), Failure>) -> std::result::Result<(), Failure> {
        let confirmed = ended.is_ok();
        match size_of(&self.pool, &self.path).await {
            Ok(Some(size)) if size == self.at => {
                if let Err(failure) = ended {
                    tracing::warn!(%failure, "the end of the upload was not confirmed; its length is right");
                }
                Ok(())
            }
            Ok(Some(size)) => ended.and_then(|()| {
                Err(Failure::new(
                    FailureKind::Verify,
                    format!("{} bytes were sent, and the server has {size}", self.at),
                ))
            }),
            // A server that cannot tell sizes has said that it has all of it.
            Ok(None) => ended,
            Err(failure) if confirmed && failure.kind == FailureKind::Unsupported => Ok(()),
            Err(failure) => ended.and(Err(failure)),
        }
    }

    /// Gives up; the server is told so, or finds out.
    async fn fail(&mut self, failure: Failure) -> Failure {
        if let State::Open(open) = std::mem::replace(&mut self.state, State::Failed(failure.clone())) {
            let (mut lease, transfer) = *open;
            if let Ok(connection) = lease.connection() {
                transfer.abort(&mut connection.control).await;
            }
            // What a server answers to ABOR, and how often, is nothing to count on.
            lease.discard();
        }
        failure
    }
}
