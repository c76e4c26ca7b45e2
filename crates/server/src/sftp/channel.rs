//! An SSH channel as a stream of bytes that can always be read from the network's side.
//!
//! A connection's loop hands what comes to a channel to a short queue, and stops reading from the network while that
//! is full; then it does not see either that the client makes room for our answers. So a pump empties that queue at
//! once. What it takes waits in a buffer that is short while the client takes answers, and long while it takes none:
//! clients exist that ask for a whole file before they read the first byte of it.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, BytesMut};
use russh::server::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

/// Bytes that wait while the client takes answers.
const SHORT: usize = 1024 * 1024;

/// Bytes that wait while it takes none: more than half a million requests, which ask for 16 GiB.
const LONG: usize = 16 * 1024 * 1024;

/// What is smaller than this is put together, so that requests of some thirty bytes cost no more than that.
const PIECE: usize = 32 * 1024;

/// What has come and was not read yet.
#[derive(Default)]
struct Waiting {
    pieces: VecDeque<BytesMut>,
    bytes: usize,
    /// Nothing more comes.
    ended: bool,
    /// The client takes no answers just now.
    blocked: bool,
    reader: Option<Waker>,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// Told when there may be room again.
    room: Notify,
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, data: &[u8]) {
        let mut waiting = self.waiting();
        waiting.bytes += data.len();
        match waiting.pieces.back_mut() {
            Some(last) if last.len() + data.len() <= PIECE => last.extend_from_slice(data),
            _ => {
                let mut piece = BytesMut::with_capacity(PIECE.max(data.len()));
                piece.extend_from_slice(data);
                waiting.pieces.push_back(piece);
            }
        }
        if let Some(reader) = waiting.reader.take() {
            reader.wake();
        }
    }

    fn end(&self) {
        let mut waiting = self.waiting();
        waiting.ended = true;
        if let Some(reader) = waiting.reader.take() {
            reader.wake();
        }
    }

    fn has_room(&self) -> bool {
        let waiting = self.waiting();
        waiting.bytes < if waiting.blocked { LONG } else { SHORT }
    }

    fn blocked(&self, blocked: bool) {
        let was_blocked = std::mem::replace(&mut self.waiting().blocked, blocked);
        if blocked && !was_blocked {
            self.room.notify_one();
        }
    }

    fn poll_read(&self, context: &Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut waiting = self.waiting();
        let Some(piece) = waiting.pieces.front_mut() else {
            if waiting.ended {
                return Poll::Ready(Ok(()));
            }
            waiting.reader = Some(context.waker().clone());
            return Poll::Pending;
        };
        let count = piece.len().min(buffer.remaining());
        buffer.put_slice(&piece[..count]);
        piece.advance(count);
        let is_empty = piece.is_empty();
        if is_empty {
            waiting.pieces.pop_front();
        }
        waiting.bytes -= count;
        drop(waiting);
        self.room.notify_one();
        Poll::Ready(Ok(()))
    }
}

/// The two directions of a channel; the task that pumps lives as long as the reader.
pub(super) fn streams(
    receiving: ChannelReadHalf,
    sending: &ChannelWriteHalf<Msg>,
) -> (impl AsyncRead + Unpin + Send, impl AsyncWrite + Unpin + Send) {
    let shared = Arc::new(Shared::default());
    let pump = tokio::spawn(pump(receiving, Arc::clone(&shared)));
    let writer = Writer {
        inner: Box::pin(sending.make_writer()),
        shared: Arc::clone(&shared),
    };
    (Reader { shared, pump }, writer)
}

async fn pump(mut receiving: ChannelReadHalf, shared: Arc<Shared>) {
    loop {
        while !shared.has_room() {
            shared.room.notified().await;
        }
        match receiving.wait().await {
            Some(ChannelMsg::Data { data }) => shared.push(&data),
            Some(ChannelMsg::Eof | ChannelMsg::Close) | None => break,
            Some(_) => {}
        }
    }
    shared.end();
    // The queue is emptied to the end of the channel, whatever else comes.
    while receiving.wait().await.is_some() {}
}

struct Reader {
    shared: Arc<Shared>,
    pump: tokio::task::JoinHandle<()>,
}

impl AsyncRead for Reader {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.shared.poll_read(context, buffer)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

struct Writer {
    inner: Pin<Box<dyn AsyncWrite + Send>>,
    shared: Arc<Shared>,
}

impl AsyncWrite for Writer {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = self.inner.as_mut().poll_write(context, bytes);
        self.shared.blocked(written.is_pending());
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.as_mut().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.as_mut().poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(shared: &Shared, room: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; room];
        let mut buffer = ReadBuf::new(&mut bytes);
        match shared.poll_read(&Context::from_waker(Waker::noop()), &mut buffer) {
            Poll::Ready(Ok(())) => Some(buffer.filled().to_vec()),
            _ => None,
        }
    }

    #[test]
    fn bytes_come_out_as_they_went_in() {
        let shared = Shared::default();
        assert_eq!(read(&shared, 10), None);
        shared.push(b"one ");
        shared.push(b"two ");
        shared.push(&[b'x'; PIECE]);
        shared.end();
        assert_eq!(read(&shared, 6).unwrap(), b"one tw");
        let mut rest = Vec::new();
        while let Some(bytes) = read(&shared, 1000).filter(|bytes| !bytes.is_empty()) {
            rest.extend(bytes);
        }
        assert_eq!(rest, [&b"o "[..], &[b'x'; PIECE]].concat());
        assert_eq!(shared.waiting().bytes, 0);
    }

    #[test]
    fn small_requests_take_no_more_room_than_they_have_bytes() {
        let shared = Shared::default();
        for _ in 0..10_000 {
            shared.push(&[0; 33]);
        }
        let room: usize = shared.waiting().pieces.iter().map(BytesMut::capacity).sum();
        assert!(room <= 10_000 * 33 + PIECE * 2, "{room}");
    }

    #[test]
    fn the_buffer_is_longer_while_the_client_takes_nothing() {
        let shared = Shared::default();
        shared.push(&vec![0; SHORT]);
        assert!(!shared.has_room());
        shared.blocked(true);
        assert!(shared.has_room());
        shared.push(&vec![0; LONG - SHORT]);
        assert!(!shared.has_room());
        shared.blocked(false);
        while shared.waiting().bytes >= SHORT {
            assert!(!shared.has_room());
            read(&shared, PIECE).unwrap();
        }
        assert!(shared.has_room());
    }
}
