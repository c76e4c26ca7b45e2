//! One session: requests go out in the order that they are made, answers find who waits for them by number.
//!
//! Knows no SSH. A task reads and never waits for anybody, so that a slow caller holds up nobody else; what it can
//! hold is bounded by what was asked for, as an answer that nobody asked for ends the session. Another task writes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use pasarela_sftp_proto::extension::{self, LIMITS};
use pasarela_sftp_proto::{
    Extended, Frames, Hello, Limits, MAX_DATA, MAX_PACKET, Request, Response, SAFE_DATA, VERSION,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::status;
use super::wire::{Incoming, Outgoing};
use crate::{Failure, FailureKind};

/// A session with a server, after both have said hello. Ends when it is dropped.
#[derive(Debug)]
pub(super) struct Session {
    shared: Arc<Shared>,
    hello: Hello,
    /// The most bytes that a READ asks for and a WRITE carries.
    pub(super) read_size: u32,
    pub(super) write_size: u32,
    /// Who uses it just now.
    users: AtomicUsize,
    patience: Duration,
}

#[derive(Debug)]
struct Shared {
    outbox: mpsc::Sender<Bytes>,
    waiting: Mutex<Waiting>,
    next: AtomicU32,
    /// When something last came or went.
    moved: Mutex<Instant>,
    ended: CancellationToken,
}

#[derive(Debug)]
enum Waiting {
    Open(HashMap<u32, oneshot::Sender<Response>>),
    Closed(Failure),
}

/// The answer to a request that has been sent.
#[derive(Debug)]
#[must_use]
pub(super) struct Answer {
    answer: oneshot::Receiver<Response>,
    shared: Arc<Shared>,
    patience: Duration,
}

/// Packets that wait to be sent; each file has a bound of its own in bytes.
const OUTBOX: usize = 16;
/// Packets are sent together up to so many bytes.
const BATCH: usize = 256 * 1024;

impl Session {
    /// Says hello and asks for limits.
    pub(super) async fn start(
        incoming: impl Incoming + 'static,
        outgoing: impl Outgoing + 'static,
        patience: Duration,
    ) -> Result<Self, Failure> {
        let mut incoming = Box::new(incoming) as Box<dyn Incoming>;
        let mut outgoing = Box::new(outgoing) as Box<dyn Outgoing>;
        let mut frames = Frames::new(MAX_PACKET);
        let greeted = timeout(patience, greet(incoming.as_mut(), outgoing.as_mut(), &mut frames));
        let hello = greeted.await.unwrap_or_else(|_| Err(silent()))?;

        let (outbox, packets) = mpsc::channel(OUTBOX);
        let shared = Arc::new(Shared {
            outbox,
            waiting: Mutex::new(Waiting::Open(HashMap::new())),
            next: AtomicU32::new(1),
            moved: Mutex::new(Instant::now()),
            ended: CancellationToken::new(),
        });
        tokio::spawn(receive(incoming, frames, Arc::clone(&shared)));
        tokio::spawn(send(outgoing, packets, Arc::clone(&shared)));
        let mut session = Self {
            shared,
            hello,
            read_size: SAFE_DATA,
            write_size: SAFE_DATA,
            users: AtomicUsize::new(0),
            patience,
        };
        if session.hello.extension(LIMITS).is_some() {
            session.learn_limits().await?;
        }
        Ok(session)
    }

    async fn learn_limits(&mut self) -> Result<(), Failure> {
        let Response::Extended(content) = self.ask(&Request::Extended(Extended::Limits)).await? else {
            return Ok(());
        };
        let Ok(limits) = Limits::decode(content) else {
            return Ok(());
        };
        let size = |told: u64| match u32::try_from(told) {
            Ok(0) => SAFE_DATA,
            Ok(told) => told.clamp(1024, MAX_DATA),
            Err(_) => MAX_DATA,
        };
        self.read_size = size(limits.read);
        self.write_size = size(limits.write);
        Ok(())
    }

    /// Whether the server has an extension in the version that we know.
    pub(super) fn has(&self, name: &str) -> bool {
        let version = match name {
            extension::STATVFS | extension::FSTATVFS => "2",
            _ => "1",
        };
        self.hello.has(name, version)
    }

    /// What the server says of itself.
    pub(super) fn hello(&self) -> &Hello {
        &self.hello
    }

    /// Sends a request; its answer is waited for later.
    pub(super) async fn send(&self, request: &Request) -> Result<Answer, Failure> {
        let (answer, packet) = self.shared.register(request, self.patience)?;
        // A place in the outbox is free as soon as the server takes something.
        let sending = self.shared.outbox.send(packet);
        match self.shared.while_moving(self.patience, sending).await? {
            Ok(()) => Ok(answer),
            Err(_) => Err(self.shared.why_closed()),
        }
    }

    /// Sends a request and waits for its answer.
    pub(super) async fn ask(&self, request: &Request) -> Result<Response, Failure> {
        self.send(request).await?.wait().await
    }

    /// Sends a request that is done or not.
    pub(super) async fn order(&self, doing: &str, request: &Request) -> Result<(), Failure> {
        status::done(doing, &self.ask(request).await?)
    }

    /// Gives a handle back without waiting; where that cannot be, the end of the session does it.
    pub(super) fn release(&self, handle: Bytes) {
        self.shared.release(handle);
    }

    /// Whether it has ended.
    pub(super) fn is_closed(&self) -> bool {
        matches!(*self.shared.waiting(), Waiting::Closed(_))
    }

    /// Who uses it.
    pub(super) fn users(&self) -> &AtomicUsize {
        &self.users
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.shared
            .close(Failure::new(FailureKind::Other, "the session has been closed"));
    }
}

impl Answer {
    /// Waits for it, as long as the session moves at all.
    pub(super) async fn wait(self) -> Result<Response, Failure> {
        let Self {
            answer,
            shared,
            patience,
        } = self;
        match shared.while_moving(patience, answer).await? {
            Ok(response) => Ok(response),
            Err(_) => Err(shared.why_closed()),
        }
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing in here panics half-way through a change.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Numbers a request.
    fn register(self: &Arc<Self>, request: &Request, patience: Duration) -> Result<(Answer, Bytes), Failure> {
        let (sender, answer) = oneshot::channel();
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        match &mut *self.waiting() {
            Waiting::Open(waiting) => waiting.insert(id, sender),
            Waiting::Closed(failure) => return Err(failure.clone()),
        };
        let mut packet = BytesMut::new();
        request.encode(id, &mut packet);
        let answer = Answer {
            answer,
            shared: Arc::clone(self),
            patience,
        };
        Ok((answer, packet.freeze()))
    }

    /// What `work` comes to, unless nothing moves for so long.
    async fn while_moving<T>(&self, patience: Duration, work: impl Future<Output = T>) -> Result<T, Failure> {
        let mut work = std::pin::pin!(work);
        let mut since = Instant::now();
        loop {
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                () = self.ended.cancelled() => return Err(self.why_closed()),
                () = tokio::time::sleep_until(since + patience) => {}
            }
            let moved = *self.moved();
            if moved <= since {
                let failure = silent();
                self.close(failure.clone());
                return Err(failure);
            }
            since = moved;
        }
    }

    fn moved(&self) -> MutexGuard<'_, Instant> {
        self.moved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn release(self: &Arc<Self>, handle: Bytes) {
        let Ok((_, packet)) = self.register(&Request::Close { handle }, Duration::MAX) else {
            return;
        };
        if let Err(mpsc::error::TrySendError::Full(packet)) = self.outbox.try_send(packet)
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let outbox = self.outbox.clone();
            runtime.spawn(async move {
                let _ = outbox.send(packet).await;
            });
        }
    }

    /// An answer has come.
    fn deliver(self: &Arc<Self>, id: u32, response: Response) -> Result<(), Failure> {
        let sender = match &mut *self.waiting() {
            Waiting::Open(waiting) => waiting.remove(&id),
            Waiting::Closed(_) => return Ok(()),
        };
        let Some(sender) = sender else {
            return Err(Failure::new(
                FailureKind::Protocol,
                "the server answered a request that nobody made",
            ));
        };
        // Who asked for a handle and went away does not give it back.
        if let Err(Response::Handle(handle)) = sender.send(response) {
            self.release(handle);
        }
        Ok(())
    }

    /// Ends the session: everybody who waits is told.
    fn close(&self, failure: Failure) {
        let mut waiting = self.waiting();
        if matches!(*waiting, Waiting::Open(_)) {
            *waiting = Waiting::Closed(failure);
        }
        self.ended.cancel();
    }

    fn why_closed(&self) -> Failure {
        match &*self.waiting() {
            Waiting::Closed(failure) => failure.clone(),
            Waiting::Open(_) => lost(),
        }
    }
}

fn silent() -> Failure {
    Failure::new(FailureKind::Timeout, "the server does not answer any more")
}

fn lost() -> Failure {
    Failure::new(FailureKind::Lost, "the server closed the connection")
}

fn broken(error: &std::io::Error) -> Failure {
    Failure::new(FailureKind::Lost, format!("the connection broke: {error}"))
}

/// INIT and VERSION (filexfer-02 §4).
async fn greet(
    incoming: &mut dyn Incoming,
    outgoing: &mut dyn Outgoing,
    frames: &mut Frames,
) -> Result<Hello, Failure> {
    let ours = Hello {
        version: VERSION,
        extensions: Vec::new(),
    };
    let mut packet = BytesMut::new();
    ours.encode_init(&mut packet);
    outgoing.write(packet.freeze()).await.map_err(|_| lost())?;
    loop {
        let begins: Vec<u8> = frames.buffer().iter().take(60).copied().collect();
        match frames.next_packet() {
            Ok(Some(packet)) => {
                let hello = Hello::decode_version(packet).map_err(|_| no_sftp(&begins))?;
                if hello.version != VERSION {
                    return Err(Failure::new(
                        FailureKind::Unsupported,
                        format!("the server speaks version {} of SFTP, and not 3", hello.version),
                    ));
                }
                return Ok(hello);
            }
            Ok(None) => {}
            Err(_) => return Err(no_sftp(&begins)),
        }
        match incoming.read(frames.buffer()).await {
            Ok(0) | Err(_) => return Err(lost().hint("the account may have no right to use SFTP")),
            Ok(_) => {}
        }
    }
}

/// A shell's start-up files that print something are the common cause.
fn no_sftp(begins: &[u8]) -> Failure {
    let said = begins.escape_ascii();
    Failure::new(
        FailureKind::Protocol,
        format!("what the server sends is not SFTP; it begins with \"{said}\""),
    )
    .hint("start-up files of the account's shell must print nothing when nobody sits at a terminal")
}

async fn receive(mut incoming: Box<dyn Incoming>, mut frames: Frames, shared: Arc<Shared>) {
    loop {
        // What came along with the hello is here already.
        if let Err(failure) = take(&mut frames, &shared) {
            return shared.close(failure);
        }
        let read = tokio::select! {
            biased;
            () = shared.ended.cancelled() => return,
            read = incoming.read(frames.buffer()) => read,
        };
        match read {
            Ok(0) => return shared.close(lost()),
            Ok(_) => *shared.moved() = Instant::now(),
            Err(error) => return shared.close(broken(&error)),
        }
    }
}

fn take(frames: &mut Frames, shared: &Arc<Shared>) -> Result<(), Failure> {
    let nonsense = |error: &dyn std::fmt::Display| {
        Failure::new(
            FailureKind::Protocol,
            format!("the server sent nonsense: {error}"),
        )
    };
    while let Some(packet) = frames.next_packet().map_err(|error| nonsense(&error))? {
        let (id, response) = Response::decode(packet).map_err(|error| nonsense(&error))?;
        shared.deliver(id, response)?;
    }
    Ok(())
}

async fn send(mut outgoing: Box<dyn Outgoing>, mut packets: mpsc::Receiver<Bytes>, shared: Arc<Shared>) {
    loop {
        let sent = async {
            let Some(first) = packets.recv().await else {
                return Ok(());
            };
            outgoing.write(batch(first, &mut packets)).await
        };
        let sent = tokio::select! {
            biased;
            () = shared.ended.cancelled() => break,
            sent = sent => sent,
        };
        match sent {
            Ok(()) => *shared.moved() = Instant::now(),
            Err(error) => return shared.close(broken(&error)),
        }
    }
    outgoing.end().await;
}

/// What waits already goes along, unless the first is large by itself.
fn batch(first: Bytes, packets: &mut mpsc::Receiver<Bytes>) -> Bytes {
    let Ok(second) = packets.try_recv() else {
        return first;
    };
    let mut bytes = BytesMut::from(&first[..]);
    bytes.extend_from_slice(&second);
    while bytes.len() < BATCH {
        match packets.try_recv() {
            Ok(next) => bytes.extend_from_slice(&next),
            Err(_) => break,
        }
    }
    bytes.freeze()
}
