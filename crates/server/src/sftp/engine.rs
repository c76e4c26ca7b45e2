//! The loop of a session: bytes in, requests begun in their order, answers out in the same order, and bounds on all.
//!
//! Reads go on side by side, and so do writes to different files; writes to one file are done one after the other,
//! those that follow on each other in one go. Everything else waits until what was asked before is done, and what is
//! asked after it waits for it. So a session is as fast as its client's pipeline is deep, and means what it would mean
//! if each request were done before the next.

use std::collections::HashSet;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::future::FutureExt;
use futures_util::stream::{FuturesOrdered, StreamExt};
use pasarela_session::Session;
use pasarela_sftp_proto::{
    BadFrame, Frames, Hello, MAX_DATA, MAX_PACKET, Malformed, Request, Response, Status, StatusCode,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::extended;
use super::handler::{Handler, data, read_whole};
use super::handles::{Handle, Handles, Reading, number};
use super::status;

/// Bytes of requests that are here and not begun: a packet of the longest kind behind what is written in one go.
const INPUT: usize = GATHERED + MAX_PACKET;

/// Bytes that there is room for, more or less, when the stream is read.
const READ: usize = 64 * 1024;

/// Bytes that writes to one file, one behind the other, are gathered to.
const GATHERED: usize = 1024 * 1024;

/// Requests that are going on at once.
const RUNNING: usize = 64;

/// Bytes that they read or write in all. The last one to begin may exceed it.
const IN_FLIGHT: usize = 4 * 1024 * 1024;

/// Bytes of answers that wait for the stream. The last one may exceed it.
const OUTPUT: usize = 256 * 1024;

/// A session with open files may rest for so many times longer: somebody has them in an editor.
const WITH_FILES: u32 = 12;

/// What a session is held to.
#[derive(Debug, Clone)]
pub struct Terms {
    /// How long it may go without a request; a session that has files open twelve times as long.
    pub idle: Duration,
    /// How long a client may take no byte of an answer.
    pub stall: Duration,
    /// Whether the client's SYMLINK names the link first, as the draft and a few clients do.
    pub link_first: bool,
}

/// Why a session ended before its client ended it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The stream broke.
    #[error(transparent)]
    Broken(#[from] io::Error),
    /// The client sent what is no packet.
    #[error("the client sent {0}")]
    BadFrame(#[from] BadFrame),
    /// The client sent a packet that nobody can answer.
    #[error("from the client, {0}")]
    Malformed(#[from] Malformed),
    /// [`Terms::idle`].
    #[error("no request came for a long time")]
    Idle,
    /// [`Terms::stall`].
    #[error("the client takes no answers")]
    Stalled,
}

/// Serves SFTP on a stream until the client ends it, or until `draining` has returned and no file is open.
///
/// What a client has not closed is not published when it goes: an upload of a new file keeps its part.
///
/// # Errors
/// [`Error`]: the client did not end it, or not at the end of a packet.
pub async fn serve<R, W>(
    reader: R,
    writer: W,
    session: Session,
    terms: Terms,
    draining: impl Future<Output = ()>,
) -> Result<(), Error>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut engine = Engine::new(session, terms, reader, writer);
    let ended = engine.run(pin!(draining)).await;
    if let Some(handler) = &engine.handler {
        for writing in handler.handles.uploads() {
            writing.abandon().await;
        }
    }
    ended
}

/// A request with its number; `None` is one that was not understood.
type Asked = (u32, Option<Request>);

/// What is going on.
type Running = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// What it comes to.
struct Outcome {
    answers: Vec<(u32, Response)>,
    /// What it counted for among [`IN_FLIGHT`].
    weight: usize,
    /// The file that it wrote to.
    wrote: Option<u64>,
    /// Given back by what was done alone.
    handler: Option<Box<Handler>>,
}

impl Outcome {
    fn answer(id: u32, response: Response) -> Self {
        Self {
            answers: vec![(id, response)],
            weight: 0,
            wrote: None,
            handler: None,
        }
    }
}

struct Engine<R, W> {
    reader: R,
    writer: W,
    terms: Terms,
    session: Session,
    frames: Frames,
    /// Taken from the frames and not begun.
    waiting: Option<Asked>,
    /// `None` while something is done alone.
    handler: Option<Box<Handler>>,
    running: FuturesOrdered<Running>,
    weight: usize,
    /// Files that are being written to.
    written: HashSet<u64>,
    out: BytesMut,
    /// The client sends nothing more.
    ended: bool,
    draining: bool,
    /// When the client was heard last, or its last request was done.
    heard: Instant,
    /// When it took the last byte, or when one has been there for it to take.
    taken: Instant,
}

/// Where to read to. Growing the buffer may move what waits in it, so it grows by large steps.
fn room(frames: &mut Frames) -> &mut BytesMut {
    let buffer = frames.buffer();
    if buffer.capacity() - buffer.len() < READ / 4 {
        buffer.reserve(READ * 4);
    }
    buffer
}

/// What woke the loop up.
enum Event {
    Outcome(Outcome),
    Written(io::Result<usize>),
    Read(io::Result<usize>),
    Draining,
    Deadline,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Engine<R, W> {
    fn new(session: Session, terms: Terms, reader: R, writer: W) -> Self {
        let handler = Handler {
            session: session.clone(),
            handles: Handles::default(),
            link_first: terms.link_first,
            draining: false,
        };
        Self {
            reader,
            writer,
            terms,
            session,
            frames: Frames::new(MAX_PACKET),
            waiting: None,
            handler: Some(Box::new(handler)),
            running: FuturesOrdered::new(),
            weight: 0,
            written: HashSet::new(),
            out: BytesMut::new(),
            ended: false,
            draining: false,
            heard: Instant::now(),
            taken: Instant::now(),
        }
    }

    async fn run(&mut self, mut draining: Pin<&mut impl Future<Output = ()>>) -> Result<(), Error> {
        if !self.greet().await? {
            return Ok(());
        }
        loop {
            self.begin()?;
            if self.is_over() {
                return Ok(self.writer.flush().await?);
            }
            let (due, overdue) = self.deadline();
            let wants_input = !self.ended && self.frames.waiting() < INPUT;
            let event = tokio::select! {
                biased;
                Some(outcome) = self.running.next(), if self.out.len() < OUTPUT => Event::Outcome(outcome),
                written = self.writer.write(&self.out), if !self.out.is_empty() => Event::Written(written),
                () = &mut draining, if !self.draining => Event::Draining,
                () = sleep_until(due.unwrap_or(self.heard)), if due.is_some() => Event::Deadline,
                read = self.reader.read_buf(room(&mut self.frames)), if wants_input => Event::Read(read),
            };
            match event {
                Event::Outcome(outcome) => self.take(outcome),
                Event::Written(count) => {
                    let count = count?;
                    if count == 0 {
                        return Err(io::Error::from(io::ErrorKind::WriteZero).into());
                    }
                    self.out.advance(count);
                    self.taken = Instant::now();
                }
                Event::Read(count) => {
                    self.ended = count? == 0;
                    self.heard = Instant::now();
                }
                Event::Draining => self.draining = true,
                Event::Deadline => return Err(overdue),
            }
        }
    }

    /// The first packet of each side (filexfer-02 §4). Answers whether the client sent one.
    async fn greet(&mut self) -> Result<bool, Error> {
        let until = Instant::now().checked_add(self.terms.idle);
        let packet = loop {
            if let Some(packet) = self.frames.next_packet()? {
                break packet;
            }
            let read = self.reader.read_buf(room(&mut self.frames));
            let read = match until {
                Some(until) => timeout_at(until, read).await.map_err(|_| Error::Idle)?,
                None => read.await,
            };
            match read? {
                0 if self.frames.waiting() == 0 => return Ok(false),
                0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                _ => {}
            }
        };
        // Whatever version the client has: this one is the lowest that is still spoken.
        Hello::decode_init(packet)?;
        extended::hello().encode_version(&mut self.out);
        self.heard = Instant::now();
        self.taken = self.heard;
        Ok(true)
    }

    /// Whether nothing is left to do.
    fn is_over(&self) -> bool {
        let rests = self.running.is_empty() && self.out.is_empty() && self.waiting.is_none();
        let has_files = self
            .handler
            .as_ref()
            .is_none_or(|handler| handler.handles.has_files());
        rests && (self.ended || (self.draining && !has_files))
    }

    /// Until when something has to happen, and what it means if nothing has.
    fn deadline(&self) -> (Option<Instant>, Error) {
        if !self.out.is_empty() {
            return (self.taken.checked_add(self.terms.stall), Error::Stalled);
        }
        let idle = match &self.handler {
            Some(handler) if handler.handles.has_files() => self.terms.idle.saturating_mul(WITH_FILES),
            _ => self.terms.idle,
        };
        let rests = self.running.is_empty();
        let due = self.heard.checked_add(idle).filter(|_| rests);
        (due, Error::Idle)
    }

    fn take(&mut self, outcome: Outcome) {
        let mut next = Some(outcome);
        while let Some(outcome) = next {
            if self.out.is_empty() {
                self.taken = Instant::now();
            }
            for (id, response) in outcome.answers {
                response.encode(id, &mut self.out);
            }
            self.weight -= outcome.weight;
            if let Some(file) = outcome.wrote {
                self.written.remove(&file);
            }
            if outcome.handler.is_some() {
                self.handler = outcome.handler;
            }
            next = match self.out.len() < OUTPUT {
                true => self.running.next().now_or_never().flatten(),
                false => None,
            };
        }
        self.heard = Instant::now();
    }

    /// The next request that is all here.
    fn next_asked(&mut self) -> Result<Option<Asked>, Error> {
        if let Some(asked) = self.waiting.take() {
            return Ok(Some(asked));
        }
        let Some(packet) = self.frames.next_packet()? else {
            return Ok(None);
        };
        match Request::decode(packet) {
            Ok((id, request)) => Ok(Some((id, Some(request)))),
            Err(Malformed { id: Some(id), .. }) => Ok(Some((id, None))),
            Err(malformed) => Err(malformed.into()),
        }
    }

    /// Begins what can be begun.
    fn begin(&mut self) -> Result<(), Error> {
        while self.running.len() < RUNNING && self.weight < IN_FLIGHT {
            if self.handler.is_none() {
                return Ok(());
            }
            let Some((id, request)) = self.next_asked()? else {
                return Ok(());
            };
            if let Some(refused) = self.begin_one(id, request)? {
                self.waiting = Some(refused);
                return Ok(());
            }
        }
        Ok(())
    }

    /// Begins a request, or gives back one that has to wait.
    fn begin_one(&mut self, id: u32, request: Option<Request>) -> Result<Option<Asked>, Error> {
        let Some(handler) = &mut self.handler else {
            return Ok(Some((id, request)));
        };
        match request {
            None => {
                let refused = status::of(StatusCode::BadMessage, "the packet was not understood");
                let refused = Outcome::answer(id, Response::Status(refused));
                self.running.push_back(Box::pin(async { refused }));
            }
            Some(Request::Read {
                handle,
                offset,
                length,
            }) if let Ok(Handle::Reading(reading)) = handler.handles.at(&handle) => {
                let reading = Arc::clone(reading);
                self.read(id, reading, offset, length.min(MAX_DATA));
            }
            Some(Request::Write { handle, offset, data })
                if let Ok(Handle::Writing(_)) = handler.handles.at(&handle) =>
            {
                if number(&handle).is_some_and(|file| self.written.contains(&file)) {
                    let request = Request::Write { handle, offset, data };
                    return Ok(Some((id, Some(request))));
                }
                self.write(id, handle, offset, data)?;
            }
            Some(request) if self.running.is_empty() => {
                handler.draining = self.draining;
                let Some(mut handler) = self.handler.take() else {
                    return Ok(None);
                };
                self.running.push_back(Box::pin(async move {
                    let response = handler.answer(request).await;
                    Outcome {
                        handler: Some(handler),
                        ..Outcome::answer(id, response)
                    }
                }));
            }
            request => return Ok(Some((id, request))),
        }
        Ok(None)
    }

    fn read(&mut self, id: u32, reading: Arc<Reading>, offset: u64, length: u32) {
        let weight = length as usize;
        let pace = self.session.pace();
        self.weight += weight;
        self.running.push_back(Box::pin(async move {
            let response = match read_whole(&*reading.file, offset, weight).await.and_then(data) {
                Ok(response) => response,
                Err(refused) => Response::Status(refused),
            };
            if let Response::Data(bytes) = &response {
                reading.log.moved(bytes.len() as u64);
                pace.take(bytes.len() as u64).await;
            }
            Outcome {
                weight,
                ..Outcome::answer(id, response)
            }
        }));
    }

    /// Writes, together with those requests behind it that go on where it ends.
    fn write(&mut self, id: u32, handle: Bytes, offset: u64, data: Bytes) -> Result<(), Error> {
        let (mut ids, mut end) = (vec![id], offset.saturating_add(data.len() as u64));
        let mut bytes = data;
        let mut gathered = BytesMut::new();
        while bytes.len().max(gathered.len()) < GATHERED {
            match self.next_asked()? {
                Some((
                    id,
                    Some(Request::Write {
                        handle: next,
                        offset,
                        data,
                    }),
                )) if next == handle && offset == end => {
                    if gathered.is_empty() {
                        gathered.extend_from_slice(&bytes);
                    }
                    gathered.extend_from_slice(&data);
                    ids.push(id);
                    end = end.saturating_add(data.len() as u64);
                }
                other => {
                    self.waiting = other;
                    break;
                }
            }
        }
        if !gathered.is_empty() {
            bytes = gathered.freeze();
        }
        let handler = self.handler.as_ref();
        let Some(Ok(Handle::Writing(writing))) = handler.map(|handler| handler.handles.at(&handle)) else {
            return Ok(());
        };
        let (writing, wrote) = (Arc::clone(writing), number(&handle));
        let (weight, pace) = (bytes.len(), self.session.pace());
        self.weight += weight;
        self.written.extend(wrote);
        self.running.push_back(Box::pin(async move {
            pace.take(weight as u64).await;
            let status = match writing.write(offset, bytes).await {
                Ok(()) => Status::ok(),
                Err(refused) => refused,
            };
            let answer = |id| (id, Response::Status(status.clone()));
            Outcome {
                answers: ids.into_iter().map(answer).collect(),
                weight,
                wrote,
                handler: None,
            }
        }));
        Ok(())
    }
}
