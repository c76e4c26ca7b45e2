//! A file that is read: more and more is asked for ahead of whoever reads on, within a bound in bytes.

use std::collections::VecDeque;

use async_trait::async_trait;
use bytes::Bytes;
use pasarela_sftp_proto::{Request, Response};
use pasarela_store::{File, Result};
use tokio::sync::{mpsc, oneshot};

use super::pool::Lease;
use super::session::Answer;
use super::status;
use crate::{Failure, FailureKind};

/// Bytes that are asked for ahead at first, and at most. What lies between grows with each read that goes on where the
/// last one ended, so that a look into a file stays a look.
const FIRST_AHEAD: u64 = 256 * 1024;
const MOST_AHEAD: u64 = 4 * 1024 * 1024;
/// A server that gives fewer bytes than this at once is asked for more all the same.
const SMALLEST_PIECE: u32 = 4096;

type Outcome<T> = std::result::Result<T, Failure>;

/// The handle; a task asks ahead.
#[derive(Debug)]
pub(super) struct Reading {
    size: u64,
    inbox: mpsc::Sender<Read>,
}

#[derive(Debug)]
struct Read {
    offset: u64,
    len: usize,
    answer: oneshot::Sender<Outcome<Bytes>>,
}

impl Reading {
    /// Reads the open file `handle` of `size` bytes.
    pub(super) fn start(lease: Lease, handle: Bytes, size: u64) -> Self {
        let (inbox, reads) = mpsc::channel(1);
        let task = Task {
            piece: lease.session().read_size,
            lease,
            handle,
            size,
            ahead: FIRST_AHEAD,
            at: 0,
            ready: Bytes::new(),
            asked: VecDeque::new(),
            asked_to: 0,
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
        Ok(self.size)
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
    lease: Lease,
    handle: Bytes,
    size: u64,
    /// Bytes that one READ asks for; fewer where the server gives fewer.
    piece: u32,
    ahead: u64,
    /// Where whoever reads is, what is here from there on, and what has been asked for behind that.
    at: u64,
    ready: Bytes,
    asked: VecDeque<Piece>,
    asked_to: u64,
}

struct Piece {
    offset: u64,
    length: u32,
    answer: Answer,
}

impl Task {
    async fn run(mut self, mut reads: mpsc::Receiver<Read>) {
        while let Some(read) = reads.recv().await {
            let done = self.read(read.offset, read.len).await;
            if done.is_err() {
                self.go_to(read.offset);
            }
            // Whoever asked may have gone.
            let _ = read.answer.send(done);
        }
        self.lease.session().release(self.handle);
    }

    async fn read(&mut self, offset: u64, len: usize) -> Outcome<Bytes> {
        if len == 0 {
            return Ok(Bytes::new());
        }
        if offset == self.at {
            self.ahead = (self.ahead * 2).min(MOST_AHEAD);
        } else {
            self.go_to(offset);
            self.ahead = FIRST_AHEAD;
        }
        if self.ready.is_empty() {
            self.ask_ahead(len).await?;
            self.ready = self.next_bytes().await?;
        }
        let bytes = self.ready.split_to(len.min(self.ready.len()));
        self.at += bytes.len() as u64;
        Ok(bytes)
    }

    /// Forgets what was asked for. The answers come and are thrown away.
    fn go_to(&mut self, offset: u64) {
        self.asked.clear();
        self.ready = Bytes::new();
        self.at = offset;
        self.asked_to = offset;
    }

    /// As much as is wanted now, and ahead as far as the file goes.
    async fn ask_ahead(&mut self, len: usize) -> Outcome<()> {
        let wanted = self.at.saturating_add(len as u64);
        let ahead = self.at.saturating_add(self.ahead).min(self.size);
        // Behind the end that was told nothing is expected; one READ finds out whether it is true.
        let until = if self.at >= self.size {
            self.at.saturating_add(1)
        } else {
            ahead.max(wanted.min(self.size))
        };
        while self.asked_to < until {
            let left = until - self.asked_to;
            // Near the end a whole piece too: a file that is longer than was told shows it.
            let length = match left < u64::from(self.piece) && self.at < self.size {
                true => u32::try_from(left).unwrap_or(self.piece),
                false => self.piece,
            };
            let answer = self.ask(self.asked_to, length).await?;
            self.asked.push_back(Piece {
                offset: self.asked_to,
                length,
                answer,
            });
            self.asked_to += u64::from(length);
        }
        Ok(())
    }

    /// Asks for what a piece lacks, before everything else that is awaited.
    async fn ask_again(&mut self, from: u64, length: u32) -> Outcome<()> {
        let mut pieces = VecDeque::new();
        let mut done = 0;
        while done < length {
            let (offset, length) = (from + u64::from(done), self.piece.min(length - done));
            let answer = self.ask(offset, length).await?;
            pieces.push_back(Piece {
                offset,
                length,
                answer,
            });
            done += length;
        }
        pieces.append(&mut self.asked);
        self.asked = pieces;
        Ok(())
    }

    async fn ask(&self, offset: u64, length: u32) -> Outcome<Answer> {
        let request = Request::Read {
            handle: self.handle.clone(),
            offset,
            length,
        };
        self.lease.session().send(&request).await
    }

    /// The next bytes that were asked for; empty at the end of the file.
    async fn next_bytes(&mut self) -> Outcome<Bytes> {
        let Some(Piece {
            offset,
            length,
            answer,
        }) = self.asked.pop_front()
        else {
            return Ok(Bytes::new());
        };
        let bytes = match answer.wait().await? {
            Response::Data(bytes) => bytes,
            response if status::is_end(&response) => Bytes::new(),
            other => return Err(status::misplaced("send a part of the file", &other)),
        };
        let got = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        if got > length {
            return Err(Failure::new(
                FailureKind::Protocol,
                "the server sent more of the file than it was asked for",
            ));
        }
        if got == 0 {
            // The end. What was asked for behind it is of no use.
            let at = self.at;
            self.go_to(at);
        } else if got < length {
            // Some servers give fewer bytes than asked for, and always as few; the rest is asked for again.
            let rest = offset + u64::from(got);
            if rest < self.size {
                self.piece = self.piece.min(got.max(SMALLEST_PIECE));
                self.ask_again(rest, length - got).await?;
            } else {
                self.asked.clear();
                self.asked_to = rest;
            }
        }
        Ok(bytes)
    }
}
