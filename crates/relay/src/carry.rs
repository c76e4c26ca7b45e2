//! Two connections as one: every byte, a FIN as FIN, a reset as reset, and neither before the bytes that it follows.
//!
//! A reset that overtakes bytes destroys them, and a reset that becomes a FIN makes a cut file look whole. So the
//! side that survives is reset only when its kernel has acknowledged everything that it was sent.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pasarela_dtp::Pace;
use rustix::fd::AsFd as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, Interest};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::leg::Leg;
use crate::metrics::Count;
use crate::{sockets, splice};

/// How carrying ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Both sides said that they had nothing more to send.
    Finished,
    ClientReset,
    PeerReset,
    /// There was nothing to carry with (descriptors, memory).
    Failed,
}

impl End {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::ClientReset => "client_reset",
            Self::PeerReset => "peer_reset",
            Self::Failed => "failed",
        }
    }
}

/// Which end of a direction failed.
#[derive(Debug)]
pub(crate) enum Broken {
    /// It cannot be read.
    Source,
    /// It cannot be written to.
    Sink,
}

/// One direction: whose bytes, how fast, and how many there were.
#[derive(Debug)]
pub(crate) struct Direction<'a> {
    pub(crate) pace: &'a Pace,
    pub(crate) total: &'a Count,
    pub(crate) bytes: &'a Count,
    /// The source has failed when it was written to, so that its end is no end of what it had to say: the error
    /// is told once, and the next read sees an end.
    pub(crate) source_failed: &'a AtomicBool,
    /// The same for the sink.
    pub(crate) sink_failed: &'a AtomicBool,
}

impl Direction<'_> {
    pub(crate) async fn count(&self, bytes: u64) {
        self.bytes.add(bytes);
        self.total.add(bytes);
        if !self.pace.is_unbounded() {
            self.pace.take(bytes).await;
        }
    }

    pub(crate) fn sink_failed(&self) -> Broken {
        self.sink_failed.store(true, Ordering::Relaxed);
        Broken::Sink
    }

    /// Whether an end that was read is the peer's own.
    pub(crate) fn end_is_real(&self) -> Result<(), Broken> {
        if self.source_failed.load(Ordering::Relaxed) {
            return Err(Broken::Source);
        }
        Ok(())
    }
}

/// A client's and a peer's connection. Dropped before both have finished, they are reset.
#[derive(Debug)]
pub(crate) struct Pair {
    client: Leg,
    peer: TcpStream,
    finished: bool,
}

/// Bytes a system call where the kernel does not carry.
const CHUNK: usize = 64 * 1024;

impl Pair {
    pub(crate) fn new(client: Leg, peer: TcpStream) -> Self {
        Self {
            client,
            peer,
            finished: false,
        }
    }

    /// Carries until both directions have ended or one side is gone. `sent` counts bytes to the peer, `received`
    /// those to the client, beside the totals.
    pub(crate) async fn carry(
        mut self,
        pace: &Pace,
        totals: (&Count, &Count),
        (sent, received): (&Count, &Count),
        drain: Duration,
    ) -> End {
        let (client_failed, peer_failed) = (AtomicBool::new(false), AtomicBool::new(false));
        let up = Direction {
            pace,
            total: totals.0,
            bytes: sent,
            source_failed: &client_failed,
            sink_failed: &peer_failed,
        };
        let down = Direction {
            pace,
            total: totals.1,
            bytes: received,
            source_failed: &peer_failed,
            sink_failed: &client_failed,
        };
        let end = match &mut self.client {
            Leg::Tcp(client) => {
                let (client, peer) = (&*client, &self.peer);
                let up = splice::carry(client, peer, &up);
                let down = splice::carry(peer, client, &down);
                conduct(up, down, client, peer).await
            }
            Leg::Tls(client) => {
                let Ok(beneath) = second_handle(client.tcp()) else {
                    return End::Failed;
                };
                let (mut client_reads, mut client_writes) = tokio::io::split(client.as_mut());
                let peer = &self.peer;
                let (mut peer_reads, mut peer_writes) = (Plain(peer), Plain(peer));
                let up = copy(&mut client_reads, &mut peer_writes, &up);
                let down = copy(&mut peer_reads, &mut client_writes, &down);
                conduct(up, down, &beneath, peer).await
            }
        };
        match end {
            End::Finished => self.finished = true,
            End::ClientReset => acknowledged(&self.peer, drain).await,
            End::PeerReset => {
                let _ = tokio::time::timeout(drain, self.client.flush()).await;
                acknowledged(self.client.tcp(), drain).await;
            }
            End::Failed => {}
        }
        end
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        if !self.finished {
            sockets::reset_at_close(self.client.tcp());
            sockets::reset_at_close(&self.peer);
        }
    }
}

/// Runs both directions. A side that fails when it is written to may still have something to be read.
async fn conduct(
    up: impl Future<Output = Result<(), Broken>>,
    down: impl Future<Output = Result<(), Broken>>,
    client: &TcpStream,
    peer: &TcpStream,
) -> End {
    let (mut up, mut down) = (pin!(up), pin!(down));
    let (mut up_ended, mut down_ended) = (None, None);
    loop {
        match (&up_ended, &down_ended) {
            (Some(true), Some(true)) => return End::Finished,
            // The peer could not be written to, and all that it said has been passed on.
            (Some(false), Some(_)) => return End::PeerReset,
            (_, Some(false)) if up_ended.is_some() => return End::ClientReset,
            _ => {}
        }
        tokio::select! {
            biased;
            ended = &mut up, if up_ended.is_none() => match ended {
                Ok(()) => up_ended = Some(true),
                Err(Broken::Source) => return End::ClientReset,
                Err(Broken::Sink) => up_ended = Some(false),
            },
            ended = &mut down, if down_ended.is_none() => match ended {
                Ok(()) => down_ended = Some(true),
                Err(Broken::Source) => return End::PeerReset,
                Err(Broken::Sink) => down_ended = Some(false),
            },
            // Nobody reads from a side that has finished, so nobody would notice that it is gone.
            _ = client.ready(Interest::ERROR), if up_ended == Some(true) => return End::ClientReset,
            _ = peer.ready(Interest::ERROR), if down_ended == Some(true) => return End::PeerReset,
        }
    }
}

/// One direction by reading and writing, where TLS is at one end.
async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    direction: &Direction<'_>,
) -> Result<(), Broken> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = from.read(&mut buffer).await.map_err(|_| Broken::Source)?;
        if read == 0 {
            direction.end_is_real()?;
            return to.shutdown().await.map_err(|_| direction.sink_failed());
        }
        let written = async {
            to.write_all(&buffer[..read]).await?;
            to.flush().await
        };
        written.await.map_err(|_| direction.sink_failed())?;
        direction.count(read as u64).await;
    }
}

/// TCP read and written through a shared reference.
struct Plain<'a>(&'a TcpStream);

impl AsyncRead for Plain<'_> {
    fn poll_read(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        loop {
            std::task::ready!(self.0.poll_read_ready(cx))?;
            match self.0.try_read(buf.initialize_unfilled()) {
                Ok(read) => {
                    buf.advance(read);
                    return std::task::Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return std::task::Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Plain<'_> {
    fn poll_write(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &[u8],
    ) -> std::task::Poll<io::Result<usize>> {
        loop {
            std::task::ready!(self.0.poll_write_ready(cx))?;
            match self.0.try_write(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return std::task::Poll::Ready(done),
            }
        }
    }

    fn poll_flush(
        self: std::pin::Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn poll_shutdown(
        self: std::pin::Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::task::Poll::Ready(finish_sending(self.0))
    }
}

/// Sends FIN, after all that was written.
pub(crate) fn finish_sending(stream: &TcpStream) -> io::Result<()> {
    Ok(rustix::net::shutdown(stream, rustix::net::Shutdown::Write)?)
}

fn second_handle(stream: &TcpStream) -> io::Result<TcpStream> {
    let handle = stream.as_fd().try_clone_to_owned()?;
    TcpStream::from_std(std::net::TcpStream::from(handle))
}

/// How often to look; nothing tells when a send queue is empty.
const SHORTEST_LOOK: Duration = Duration::from_millis(1);
const LONGEST_LOOK: Duration = Duration::from_millis(100);
/// However slowly somebody reads, nobody waits for it longer than this many deadlines.
const DEADLINES: u32 = 10;

/// Waits until all that was sent is acknowledged, as long as there is progress within `deadline`.
async fn acknowledged(stream: &TcpStream, deadline: Duration) {
    let begun = Instant::now();
    let (mut progressed, mut look) = (begun, SHORTEST_LOOK);
    let mut before = i32::MAX;
    loop {
        let now = Instant::now();
        let left = sockets::unacknowledged(stream.as_fd());
        if left < before {
            (before, progressed) = (left, now);
        }
        if left <= 0
            || sockets::is_dead(stream.as_fd())
            || now.duration_since(progressed) > deadline
            || now.duration_since(begun) > deadline * DEADLINES
        {
            return;
        }
        sleep(look).await;
        look = (look * 2).min(LONGEST_LOOK);
    }
}
