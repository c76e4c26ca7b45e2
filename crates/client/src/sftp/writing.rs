//! A file that is written: many WRITEs on their way at once within a bound in bytes, and none of them forgotten.

use std::collections::VecDeque;

use async_trait::async_trait;
use bytes::Bytes;
use pasarela_sftp_proto::extension::{FSTATVFS, FSYNC};
use pasarela_sftp_proto::{Attributes, Extended, Request, Response, StatVfs};
use pasarela_store::{File, Result};
use tokio::sync::{mpsc, oneshot};

use super::pool::Lease;
use super::session::Answer;
use super::status;
use crate::{Failure, FailureKind};

/// Bytes that have been sent and not been confirmed.
const MOST_UNCONFIRMED: u64 = 4 * 1024 * 1024;

type Outcome<T> = std::result::Result<T, Failure>;
type Reply<T> = oneshot::Sender<Outcome<T>>;

/// The handle; a task keeps the order.
#[derive(Debug)]
pub(super) struct Writing {
    start: u64,
    inbox: mpsc::Sender<Message>,
}

#[derive(Debug)]
enum Message {
    Read {
        offset: u64,
        length: u32,
        reply: Reply<Bytes>,
    },
    Write {
        offset: u64,
        bytes: Bytes,
        reply: Reply<()>,
    },
    Size {
        reply: Reply<u64>,
    },
    Publish {
        reply: Reply<()>,
    },
}

impl Writing {
    /// Writes to the open file `handle` from `start` on, to its end.
    pub(super) fn start(lease: Lease, handle: Bytes, start: u64) -> Self {
        Self::of(lease, handle, start, true)
    }

    /// Writes a range of a file of which others write theirs.
    pub(super) fn range(lease: Lease, handle: Bytes, start: u64) -> Self {
        Self::of(lease, handle, start, false)
    }

    fn of(lease: Lease, handle: Bytes, start: u64, is_whole: bool) -> Self {
        let (inbox, messages) = mpsc::channel(1);
        let task = Task {
            lease,
            handle,
            at: start,
            is_whole,
            unconfirmed: VecDeque::new(),
            unconfirmed_bytes: 0,
            state: State::Open,
        };
        tokio::spawn(task.run(messages));
        Self { start, inbox }
    }

    async fn ask<T>(&self, message: impl FnOnce(Reply<T>) -> Message) -> Result<T> {
        let (reply, replied) = oneshot::channel();
        // A task that has gone answers no more.
        let _ = self.inbox.send(message(reply)).await;
        let gone = |_| Failure::new(FailureKind::Other, "the transfer has ended");
        Ok(replied.await.map_err(gone)??)
    }
}

#[async_trait]
impl File for Writing {
    /// What stands there already, where the file was opened for reading too.
    async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes> {
        let length = u32::try_from(len).unwrap_or(u32::MAX);
        self.ask(|reply| Message::Read {
            offset,
            length,
            reply,
        })
        .await
    }

    async fn write_at(&self, offset: u64, bytes: Bytes) -> Result<()> {
        self.ask(|reply| Message::Write { offset, bytes, reply }).await
    }

    async fn size(&self) -> Result<u64> {
        self.ask(|reply| Message::Size { reply }).await
    }

    fn start(&self) -> u64 {
        self.start
    }

    async fn prepare(&self) -> Result<()> {
        Ok(())
    }

    async fn publish(&self) -> Result<()> {
        self.ask(|reply| Message::Publish { reply }).await
    }
}

struct Task {
    lease: Lease,
    handle: Bytes,
    at: u64,
    /// What is written last is the file's end.
    is_whole: bool,
    unconfirmed: VecDeque<(u64, Answer)>,
    unconfirmed_bytes: u64,
    state: State,
}

enum State {
    Open,
    Published,
    Failed(Failure),
}

impl Task {
    async fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        while let Some(message) = messages.recv().await {
            // Whoever asked may have gone.
            match message {
                Message::Read {
                    offset,
                    length,
                    reply,
                } => {
                    let _ = reply.send(self.read(offset, length).await);
                }
                Message::Write { offset, bytes, reply } => {
                    let _ = reply.send(self.write(offset, bytes).await);
                }
                Message::Size { reply } => {
                    let _ = reply.send(Ok(self.at));
                }
                Message::Publish { reply } => {
                    let _ = reply.send(self.publish().await);
                }
            }
        }
        if !matches!(self.state, State::Published) {
            self.lease.session().release(self.handle);
        }
    }

    fn may_go_on(&self) -> Outcome<()> {
        match &self.state {
            State::Open => Ok(()),
            State::Published => Err(Failure::new(FailureKind::Usage, "the upload has been published")),
            State::Failed(failure) => Err(failure.clone()),
        }
    }

    async fn read(&self, offset: u64, length: u32) -> Outcome<Bytes> {
        let session = self.lease.session();
        let length = length.min(session.read_size);
        let request = Request::Read {
            handle: self.handle.clone(),
            offset,
            length,
        };
        match session.ask(&request).await? {
            Response::Data(bytes) if bytes.len() <= length as usize => Ok(bytes),
            response if status::is_end(&response) => Ok(Bytes::new()),
            other => Err(status::misplaced("send what it has of the file", &other)),
        }
    }

    async fn write(&mut self, offset: u64, bytes: Bytes) -> Outcome<()> {
        self.may_go_on()?;
        if offset != self.at {
            return Err(Failure::new(
                FailureKind::Unsupported,
                "a file is written from front to back only here",
            ));
        }
        match self.send(bytes).await {
            Ok(()) => Ok(()),
            Err(failure) => Err(self.fail(failure).await),
        }
    }

    async fn send(&mut self, mut bytes: Bytes) -> Outcome<()> {
        let most = self.lease.session().write_size as usize;
        while !bytes.is_empty() {
            let data = bytes.split_to(bytes.len().min(most));
            let length = data.len() as u64;
            while self.unconfirmed_bytes + length > MOST_UNCONFIRMED && self.confirm_next().await? {}
            let request = Request::Write {
                handle: self.handle.clone(),
                offset: self.at,
                data,
            };
            let answer = self.lease.session().send(&request).await?;
            self.unconfirmed.push_back((length, answer));
            self.unconfirmed_bytes += length;
            self.at += length;
        }
        Ok(())
    }

    /// Waits for the oldest confirmation; `false` where there is none to wait for.
    async fn confirm_next(&mut self) -> Outcome<bool> {
        let Some((length, answer)) = self.unconfirmed.pop_front() else {
            return Ok(false);
        };
        status::done("take a part of the file", &answer.wait().await?)?;
        self.unconfirmed_bytes -= length;
        Ok(true)
    }

    async fn publish(&mut self) -> Outcome<()> {
        if matches!(self.state, State::Published) {
            return Ok(());
        }
        self.may_go_on()?;
        match self.finish().await {
            Ok(()) => {
                self.state = State::Published;
                Ok(())
            }
            Err(failure) => Err(self.fail(failure).await),
        }
    }

    /// Everything is confirmed, has the right length, is on stable storage where the server can promise that, and the
    /// file is closed: our own server and others put it under its name with that.
    async fn finish(&mut self) -> Outcome<()> {
        while self.confirm_next().await? {}
        let session = self.lease.session();
        let there = size_of(session, &self.handle).await?;
        match there {
            Some(size) if size > self.at && !self.is_whole => {}
            Some(size) if size > self.at => {
                let request = Request::FSetStat {
                    handle: self.handle.clone(),
                    attributes: Attributes {
                        size: Some(self.at),
                        ..Attributes::default()
                    },
                };
                session.order("cut the file to its new length", &request).await?;
            }
            Some(size) if size < self.at => {
                return Err(Failure::new(
                    FailureKind::Verify,
                    format!("{} bytes were sent, and the server has {size}", self.at),
                ));
            }
            _ => {}
        }
        if session.has(FSYNC) {
            let request = Request::Extended(Extended::FSync {
                handle: self.handle.clone(),
            });
            session.order("put the file on stable storage", &request).await?;
        }
        let request = Request::Close {
            handle: self.handle.clone(),
        };
        session.order("close the file", &request).await
    }

    /// A disk that is full is told by the third version of the protocol as "failure" and no more.
    async fn fail(&mut self, mut failure: Failure) -> Failure {
        let session = self.lease.session();
        if failure.kind == FailureKind::Other && session.has(FSTATVFS) {
            let request = Request::Extended(Extended::FStatVfs {
                handle: self.handle.clone(),
            });
            if let Ok(Response::Extended(content)) = session.ask(&request).await
                && StatVfs::decode(content).is_ok_and(|volume| volume.blocks_available == 0)
            {
                failure.kind = FailureKind::Space;
                failure = failure.hint("there is no space left on the server; make room, then resume");
            }
        }
        self.unconfirmed.clear();
        self.state = State::Failed(failure.clone());
        failure
    }
}

/// The length of an open file; `None`: the server does not tell.
pub(super) async fn size_of(session: &super::session::Session, handle: &Bytes) -> Outcome<Option<u64>> {
    let request = Request::FStat {
        handle: handle.clone(),
    };
    match session.ask(&request).await? {
        Response::Attributes(attributes) => Ok(attributes.size),
        other => Err(status::misplaced("tell the length of the file", &other)),
    }
}
