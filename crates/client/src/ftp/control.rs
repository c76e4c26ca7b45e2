//! A control connection: drives a user-PI over a stream. Its owner is whoever has it just now.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use pasarela_ftp_proto::user_pi::{Errand, Fault, Outcome, Output, Patience, Reply, UserPi};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep_until, timeout};

use super::dial::Route;
use super::wire::Wire;
use crate::proxy::Host;
use crate::{Failure, FailureKind};

/// One control connection.
#[derive(Debug)]
pub(super) struct Control {
    /// `None` while a handshake is made.
    wire: Option<Wire>,
    pi: UserPi,
    unsent: BytesMut,
    is_flushed: bool,
    received: BytesMut,
    /// Why nothing more comes.
    failed: Option<Failure>,
    pub(super) route: Route,
    /// The server, or the proxy on the way to it.
    pub(super) peer: SocketAddr,
    pub(super) local: SocketAddr,
    /// What was said, where somebody wants to know.
    transcript: Option<Vec<String>>,
    is_tampered_with: bool,
}

/// The most lines of a transcript; later ones are left out.
const LONGEST_TRANSCRIPT: usize = 500;

/// What happened on a control connection.
#[derive(Debug)]
pub(super) enum Event {
    /// A handshake is to be made: [`Control::take_tcp`], then [`Control::secured`].
    StartTls,
    Began,
    Done(Outcome),
}

impl Control {
    pub(super) fn new(wire: Wire, route: Route, patience: Patience) -> Result<Self, Failure> {
        let gone = |error: io::Error| Failure::new(FailureKind::Lost, error.to_string());
        let mut peer = wire.peer().map_err(gone)?;
        // A socket of IPv6 for an address of IPv4 (`::ffff:…`) would ask for EPSV with the wrong family.
        peer.set_ip(peer.ip().to_canonical());
        let mut local = wire.tcp().local_addr().map_err(gone)?;
        local.set_ip(local.ip().to_canonical());
        Ok(Self {
            route,
            peer,
            local,
            wire: Some(wire),
            pi: UserPi::new(patience),
            unsent: BytesMut::new(),
            is_flushed: true,
            received: BytesMut::with_capacity(4096),
            failed: None,
            transcript: None,
            is_tampered_with: false,
        })
    }

    /// Keeps what is said from now on: `> COMMAND` and `< REPLY`, secrets left out.
    pub(super) fn record(&mut self) {
        self.transcript = Some(Vec::new());
    }

    pub(super) fn transcript(&self) -> &[String] {
        self.transcript.as_deref().unwrap_or_default()
    }

    fn keep(&mut self, line: String) {
        if let Some(transcript) = &mut self.transcript
            && transcript.len() < LONGEST_TRANSCRIPT
        {
            transcript.push(line);
        }
    }

    pub(super) fn is_protected(&self) -> bool {
        self.wire.as_ref().is_some_and(Wire::is_tls)
    }

    /// Whether bytes in clear came behind the reply to AUTH (CVE-2021-22947).
    pub(super) fn is_tampered_with(&self) -> bool {
        self.is_tampered_with
    }

    /// Version and cipher suite, where it is protected.
    pub(super) fn cipher(&self) -> Option<(&'static str, &'static str)> {
        match &self.wire {
            Some(Wire::Tls(tls)) => Some((tls.protocol(), tls.cipher())),
            _ => None,
        }
    }

    /// Whether it can be sent for an errand and the server has not hung up meanwhile, as far as can be seen.
    pub(super) fn is_usable(&self) -> bool {
        // In clear nothing may come unasked but a goodbye. What waits under TLS may be tickets.
        let alive = match self.wire.as_ref().and_then(|wire| peek(wire.tcp())) {
            Some(Ok(0) | Err(_)) => false,
            Some(Ok(_)) => self.is_protected(),
            None => self.wire.is_some(),
        };
        alive && self.failed.is_none() && self.pi.is_idle()
    }

    /// Whether something has come that nobody has read.
    pub(super) fn has_unread(&self) -> bool {
        self.wire.as_ref().is_some_and(|wire| peek(wire.tcp()).is_some())
    }

    /// Whether the server may be one of IPv4, which PASV is for (RFC 959).
    pub(super) fn may_be_ipv4(&self) -> bool {
        match &self.route {
            Route::Direct => self.peer.is_ipv4(),
            Route::Through(_, Host::Address(address)) => address.is_ipv4(),
            Route::Through(_, Host::Name(_)) => true,
        }
    }

    pub(super) fn begin(&mut self, errand: Errand) -> Result<(), Failure> {
        Ok(self.pi.begin(Instant::now(), errand)?)
    }

    /// An errand that is one command, to its end.
    pub(super) async fn run(&mut self, errand: Errand) -> Result<Outcome, Failure> {
        self.begin(errand)?;
        loop {
            if let Event::Done(outcome) = self.next().await? {
                return Ok(outcome);
            }
        }
    }

    /// The reply to one command, whatever it says.
    pub(super) async fn command(&mut self, verb: &str, argument: &[u8]) -> Result<Reply, Failure> {
        let mut line = verb.as_bytes().to_vec();
        if !argument.is_empty() {
            line.push(b' ');
            line.extend_from_slice(argument);
        }
        match self.run(Errand::Command(line)).await? {
            Outcome::Done(reply) | Outcome::Refused(reply) => Ok(reply),
            other => Err(unexpected(&other)),
        }
    }

    /// The replies to two commands, which go out at once.
    pub(super) async fn both(&mut self, first: Vec<u8>, second: Vec<u8>) -> Result<(Reply, Reply), Failure> {
        match self.run(Errand::Pair(first, second)).await? {
            Outcome::Both(first, second) => Ok((first, second)),
            other => Err(unexpected(&other)),
        }
    }

    /// The next thing that happens to the open errand. May be dropped at any time without loss.
    pub(super) async fn next(&mut self) -> Result<Event, Failure> {
        if let Some(failure) = &self.failed {
            return Err(failure.clone());
        }
        loop {
            while let Some(output) = self.pi.poll_output() {
                match output {
                    Output::Send(bytes) => self.unsent.extend_from_slice(&bytes),
                    Output::Said(line) => {
                        tracing::debug!(command = line, "sent");
                        self.keep(format!("> {line}"));
                    }
                    Output::Heard(reply) => {
                        tracing::debug!(%reply, "received");
                        self.keep(format!("< {reply}"));
                    }
                    Output::Met(quirk) => tracing::debug!(?quirk, "the server has a way of its own"),
                    Output::StartTls => return Ok(Event::StartTls),
                    Output::Began(_) => return Ok(Event::Began),
                    Output::Done(outcome) => return Ok(Event::Done(outcome)),
                    Output::Failed(fault) => {
                        self.is_tampered_with |= fault == Fault::BytesBehindAuth;
                        let failure = Failure::from(fault);
                        self.failed = Some(failure.clone());
                        return Err(failure);
                    }
                }
            }
            let Some(wire) = &mut self.wire else {
                return Err(Fault::Closed.into());
            };
            let deadline = self.pi.poll_timeout();
            let alarm = async {
                match deadline {
                    Some(at) => sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            // Writing comes first: it is short, and a reply follows it.
            let (unsent, received, is_flushed) = (&mut self.unsent, &mut self.received, &mut self.is_flushed);
            let moving = async {
                if !unsent.is_empty() {
                    *is_flushed = false;
                    return Ok((wire.write_buf(unsent).await? == 0).then_some(0));
                }
                if !*is_flushed {
                    wire.flush().await?;
                    *is_flushed = true;
                    return Ok(None);
                }
                wire.read_buf(received).await.map(Some)
            };
            let moved: Option<io::Result<Option<usize>>> = tokio::select! {
                moved = moving => Some(moved),
                () = alarm => None,
            };
            match moved {
                None => self.pi.handle_timeout(Instant::now()),
                Some(Ok(None)) => {}
                Some(Ok(Some(0))) => self.pi.handle_end_of_input(Instant::now()),
                Some(Ok(Some(_))) => {
                    self.pi.handle_input(Instant::now(), &self.received);
                    self.received.clear();
                }
                // What the server said last may still be there to be read.
                Some(Err(_)) if !self.unsent.is_empty() || !self.is_flushed => {
                    self.unsent.clear();
                    self.is_flushed = true;
                }
                Some(Err(_)) => self.pi.handle_end_of_input(Instant::now()),
            }
        }
    }

    /// Says NOOP while a transfer runs. It goes out with the next call of [`Control::next`].
    pub(super) fn keep_alive(&mut self) {
        self.pi.keep_alive();
    }

    pub(super) fn data_ended(&mut self) {
        self.pi.handle_data_ended(Instant::now());
    }

    /// The stream beneath, for a handshake; bytes in clear that came behind the reply are fatal.
    pub(super) fn take_tcp(&mut self) -> Result<TcpStream, Failure> {
        match self.wire.take() {
            Some(Wire::Plain(tcp)) if self.received.is_empty() => Ok(tcp),
            _ => {
                self.is_tampered_with = true;
                Err(Fault::BytesBehindAuth.into())
            }
        }
    }

    pub(super) fn secured(&mut self, wire: Wire) {
        self.wire = Some(wire);
        self.pi.handle_secured(Instant::now());
    }

    /// Says goodbye, briefly.
    pub(super) async fn quit(mut self) {
        const PATIENCE: Duration = Duration::from_secs(2);
        let goodbye = async {
            let _ = self.run(Errand::Quit).await;
            if let Some(wire) = &mut self.wire {
                let _ = wire.shutdown().await;
            }
        };
        let _ = timeout(PATIENCE, goodbye).await;
    }
}

pub(super) fn unexpected(outcome: &Outcome) -> Failure {
    Failure::new(
        FailureKind::Other,
        format!("an errand ended as another one: {outcome:?}"),
    )
}

/// Looks whether there is something to read, without waiting; `None`: nothing.
fn peek(tcp: &TcpStream) -> Option<io::Result<usize>> {
    let socket = socket2::SockRef::from(tcp);
    let mut buf = [std::mem::MaybeUninit::uninit()];
    match socket.peek(&mut buf) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        peeked => Some(peeked),
    }
}
