//! The server-PI: what a server says and asks for, given what a client sends.
//!
//! Its owner feeds bytes ([`ServerPi::handle_input`]), answers ([`ServerPi::handle_answer`]) and time
//! ([`ServerPi::handle_timeout`]), and after each of these drains [`ServerPi::poll_output`] to `None`.
//!
//! Commands are carried out strictly one after the other. While a transfer runs, further lines are read so that
//! ABOR, STAT and NOOP are heard; the others wait their turn, [`MAX_QUEUED`] at most, and past that the bytes stay
//! unread with the owner (see [`ServerPi::wants_input`]).

mod ask;
mod files;
mod login;
mod replies;
mod tls;
mod transfer;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;

pub use ask::{
    Action, Answered, Ask, Credentials, Done, FileAnswer, FileOp, Form, HashAlgorithm, HashForm, LoggedIn,
    Opened, Pending, Representation, Span, StatusPage, Transfer,
};
pub use replies::Refusal;

use crate::codec::{Decoded, LineDecoder};
use crate::command::{self, BadCommand, Command};
use crate::listing::facts::FactSet;
use crate::reply::Reply;
use ask::{Body, Slips};

/// Commands that wait behind a running transfer.
pub const MAX_QUEUED: usize = 16;
/// Bounds of a line in bytes, before and after login.
const LINE_BEFORE_LOGIN: usize = 1024;
const LINE_AFTER_LOGIN: usize = 4096;
/// Bytes held undecoded before [`ServerPi::wants_input`] says no.
const MAX_INPUT: usize = 16 * 1024;
/// Unknown commands in a row, before login, that show that the peer speaks something else.
const MAX_UNKNOWN: u8 = 5;

/// What the server-PI is told about its place.
#[derive(Debug, Clone)]
pub struct Profile {
    /// The text of the greeting, one line.
    pub greeting: String,
    /// The peer of the control connection, IPv4-mapped addresses as IPv4.
    pub peer: IpAddr,
    /// Whether AUTH is offered and needed.
    pub tls: TlsPolicy,
    /// The control connection is protected from its first byte (implicit FTPS).
    pub implicit: bool,
    /// Whether PORT and EPRT are served.
    pub active: bool,
    /// From the start to being logged in; traffic does not reset it.
    pub login_deadline: Duration,
    /// Without a command, once logged in and outside transfers.
    pub idle_timeout: Duration,
    /// The names that HOST may give; empty means any.
    pub host_names: Vec<String>,
    /// The names that may log in without TLS, whatever [`TlsPolicy`] says.
    pub open_names: Vec<String>,
    /// Whether each command is put out as [`Output::Heard`], for a log.
    pub tells_commands: bool,
}

/// Whether a session must be protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsPolicy {
    /// AUTH is not offered.
    Off,
    /// The client decides.
    Optional,
    /// No USER before AUTH.
    Required,
}

/// What the server-PI wants done, in this order.
#[derive(Debug)]
pub enum Output {
    /// Send these bytes. Each is one reply; it never is split or joined with the next by the owner.
    Send(Bytes),
    /// A command as it was heard, secrets left out, control bytes escaped; for a log.
    Heard(String),
    /// Do this and answer with the slip. At most one is open at a time.
    Ask(Ask),
    /// Drop the work on the open [`Ask`]; its answer is not wanted any more.
    Abort,
    /// The data endpoint will not be used: close it.
    Release,
    /// The visitor is logged out (REIN, AUTH or USER after login).
    Logout,
    /// Send everything, then close the control connection.
    Close,
}

/// The state of one control connection.
pub struct ServerPi {
    profile: Profile,
    decoder: LineDecoder,
    input: VecDeque<u8>,
    input_ended: bool,
    queue: VecDeque<Result<Command, BadLine>>,
    out: VecDeque<Output>,
    slips: Slips,
    waiting: Option<Waiting>,
    login: login::Login,
    security: tls::Security,
    parameters: transfer::Parameters,
    rename_from: Option<Vec<u8>>,
    hash: HashAlgorithm,
    facts: FactSet,
    cwd: Vec<u8>,
    unknown: u8,
    quit_queued: bool,
    draining: bool,
    is_publishing: bool,
    closed: bool,
    login_by: Instant,
    active_at: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BadLine {
    Command(BadCommand),
    TooLong,
}

/// What the open slip is about, and so what its answer means.
#[derive(Debug)]
enum Waiting {
    Login,
    StartTls { private: bool },
    Passive(Form),
    Active(SocketAddr),
    Open(Transfer),
    Run { transfer: Transfer, began: Instant },
    File(FileOp),
    Status { begun: bool },
}

impl ServerPi {
    /// A control connection that has just been accepted; the first output is the greeting.
    #[must_use]
    pub fn new(now: Instant, profile: Profile) -> Self {
        let mut pi = Self {
            decoder: LineDecoder::default(),
            input: VecDeque::new(),
            input_ended: false,
            queue: VecDeque::new(),
            out: VecDeque::new(),
            slips: Slips::default(),
            waiting: None,
            login: login::Login::default(),
            security: tls::Security::new(profile.implicit),
            parameters: transfer::Parameters::default(),
            rename_from: None,
            hash: HashAlgorithm::Sha256,
            facts: FactSet::default(),
            cwd: b"/".to_vec(),
            unknown: 0,
            quit_queued: false,
            draining: false,
            is_publishing: false,
            closed: false,
            login_by: now + profile.login_deadline,
            active_at: now,
            profile,
        };
        pi.reply(replies::greeting(&pi.profile.greeting));
        pi
    }

    /// Takes bytes from the control connection.
    pub fn handle_input(&mut self, now: Instant, bytes: &[u8]) {
        if !self.closed {
            self.input.extend(bytes);
            self.advance(now);
        }
    }

    /// The client has closed its side of the control connection. A running transfer is dropped unless QUIT
    /// stands behind it; commands that came before the end are still carried out.
    pub fn handle_end_of_input(&mut self, now: Instant) {
        self.input_ended = true;
        let is_long =
            self.is_transferring() || matches!(self.waiting, Some(Waiting::File(FileOp::Hash { .. })));
        if is_long && !self.quit_queued {
            self.out.push_back(Output::Abort);
            self.close();
        }
        self.advance(now);
    }

    /// Takes an answer. One that comes after [`Output::Abort`] is dropped.
    pub fn handle_answer(&mut self, now: Instant, answered: Answered) {
        let Some(body) = self.slips.redeem(answered) else {
            return;
        };
        let Some(waiting) = self.waiting.take() else {
            return;
        };
        self.active_at = now;
        self.is_publishing = false;
        match (waiting, body) {
            (Waiting::Login, Body::Login(answer)) => self.login_answered(now, answer),
            (Waiting::StartTls { private }, Body::Plain(answer)) => self.tls_answered(private, answer),
            (Waiting::Passive(form), Body::Passive(answer)) => self.passive_answered(form, answer),
            (Waiting::Active(address), Body::Plain(answer)) => self.active_answered(address, answer),
            (Waiting::Open(transfer), Body::Opened(answer)) => self.opened(now, transfer, answer),
            (Waiting::Run { transfer, .. }, Body::Done(answer)) => self.done(&transfer, answer),
            (Waiting::File(op), Body::File(answer)) => self.file_answered(op, answer),
            (Waiting::Status { begun }, Body::Status(answer)) => self.status_answered(begun, answer),
            // A slip carries the type of its question, so no other pair can meet.
            (waiting, _) => self.waiting = Some(waiting),
        }
        self.advance(now);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.closed || self.poll_timeout().is_none_or(|due| now < due) {
            return;
        }
        if self.login.account().is_none() && now >= self.login_by && self.waiting.is_some() {
            self.out.push_back(Output::Abort);
        }
        self.reply(if self.login.account().is_some() {
            replies::IDLE
        } else {
            replies::LOGIN_TIMEOUT
        });
        self.close();
    }

    /// When [`ServerPi::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.closed {
            None
        } else if self.login.account().is_none() {
            Some(self.login_by)
        } else if self.waiting.is_none() {
            Some(self.active_at + self.profile.idle_timeout)
        } else {
            None
        }
    }

    /// The next thing to do; `None` when everything is done.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// Whether there is room for more bytes. Read the control connection only while this holds.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        !self.closed && !self.input_ended && self.input.len() < MAX_INPUT
    }

    /// The server is shutting down: says so and closes, at once or when the running transfer has ended.
    pub fn shut_down(&mut self, now: Instant) {
        self.draining = true;
        self.queue.clear();
        self.advance(now);
    }

    /// The running transfer is being published and cannot be dropped any more: ABOR waits for its reply.
    pub fn publishing(&mut self) {
        self.is_publishing = true;
    }

    /// Whether a transfer command has been accepted and not yet been replied to.
    #[must_use]
    pub fn is_transferring(&self) -> bool {
        matches!(self.waiting, Some(Waiting::Open(_) | Waiting::Run { .. }))
    }

    /// Whether QUIT has been read, so that the end of the control connection is no surprise.
    #[must_use]
    pub fn is_quitting(&self) -> bool {
        self.quit_queued
    }

    fn advance(&mut self, now: Instant) {
        while !self.closed {
            if self.waiting.is_some() {
                if !self.is_transferring() || self.queue.len() >= MAX_QUEUED {
                    return;
                }
                let Some(line) = self.next_line() else { return };
                self.hear_during_transfer(now, line);
            } else if self.draining {
                self.reply(replies::SHUTTING_DOWN);
                self.close();
            } else if let Some(line) = self.queue.pop_front().or_else(|| self.next_line()) {
                self.active_at = now;
                self.execute(now, line);
            } else {
                if self.input_ended {
                    self.close();
                }
                return;
            }
        }
    }

    fn next_line(&mut self) -> Option<Result<Command, BadLine>> {
        let limit = if self.login.account().is_some() {
            LINE_AFTER_LOGIN
        } else {
            LINE_BEFORE_LOGIN
        };
        let bytes = self.input.make_contiguous();
        let before = bytes.len();
        let mut rest = &*bytes;
        let decoded = self.decoder.decode(&mut rest, limit);
        let taken = before - rest.len();
        self.input.drain(..taken);
        Some(match decoded? {
            Decoded::Line(line) => {
                if self.profile.tells_commands {
                    self.out.push_back(Output::Heard(command::loggable(&line)));
                }
                command::parse(&line).map_err(BadLine::Command)
            }
            Decoded::TooLong => Err(BadLine::TooLong),
        })
    }

    /// RFC 959 §4.1.3: ABOR and STAT act on the transfer itself; NOOP keeps the connection alive. They are
    /// answered at once (NOOP only when nothing stands before it); the others wait for the transfer's end.
    fn hear_during_transfer(&mut self, now: Instant, line: Result<Command, BadLine>) {
        match line {
            Ok(Command::Abor) if !self.is_publishing => self.abort(),
            Ok(Command::Stat(None)) => self.status_of_session(now),
            Ok(Command::Noop) if self.queue.is_empty() => self.reply(replies::NOOP),
            line => {
                self.quit_queued |= line == Ok(Command::Quit);
                self.queue.push_back(line);
            }
        }
    }

    fn execute(&mut self, now: Instant, line: Result<Command, BadLine>) {
        let command = match line {
            Ok(command) => command,
            Err(bad) => return self.bad_line(bad),
        };
        self.unknown = 0;
        if self.login.account().is_none() && !login::is_open_to_all(&command) {
            return self.reply(replies::LOG_IN_FIRST);
        }
        let rename_from = self.rename_from.take();
        match command {
            Command::User(name) => self.user(name),
            Command::Pass(secret) => self.pass(secret),
            Command::Acct => self.reply(replies::ACCT),
            Command::Rein => self.reinitialize(),
            Command::Host(name) => self.host(&name),
            Command::Auth(mechanism) => self.auth(&mechanism),
            Command::Pbsz(_) => self.protection_buffer_size(),
            Command::Prot(level) => self.protection(level),
            Command::Ccc => self.reply(replies::CCC),
            Command::Quit => {
                self.quit_queued = true;
                self.reply(replies::GOODBYE);
                self.close();
            }
            Command::Type(kind) => self.set_type(kind),
            Command::Stru(structure) => self.set_structure(structure),
            Command::Mode(mode) => self.set_mode(mode),
            Command::Pasv => self.passive(Form::Pasv),
            Command::Epsv(argument) => self.extended_passive(argument),
            Command::Port(address) | Command::Eprt(address) => self.active(address),
            Command::Rest(offset) => self.restart(offset),
            Command::Rang { first, last } => self.range(first, last),
            Command::RangReset => self.range_reset(),
            Command::Allo(size) => self.allocate(size),
            Command::Abor => self.abort_idle(),
            Command::Retr(path) => self.retrieve(path),
            Command::Stor(path) => self.store(path),
            Command::Stou(path) => self.store_unique(path),
            Command::Appe(path) => self.append(path),
            Command::List(argument) => self.list(&argument, true),
            Command::Nlst(argument) => self.list(&argument, false),
            Command::Mlsd(path) => self.list_facts(path),
            Command::Rnfr(path) => self.file(FileOp::RenameFrom(path)),
            Command::Rnto(to) => match rename_from {
                Some(from) => self.file(FileOp::Rename { from, to }),
                None => self.reply(replies::RNFR_FIRST),
            },
            Command::Noop => self.reply(replies::NOOP),
            Command::Syst => self.reply(replies::SYST),
            Command::Help(topic) => self.reply(replies::help(topic.as_deref())),
            Command::Feat => self.features(),
            Command::Opts { verb, argument } => self.options(&verb, &argument),
            Command::Clnt => self.reply(replies::CLNT),
            Command::Csid => self.reply(replies::CSID),
            Command::Lang(tag) => self.language(tag.as_deref()),
            Command::Stat(None) => self.status_of_session(now),
            Command::Pwd => self.reply(replies::working_directory(&self.cwd)),
            other => self.file_command(other),
        }
    }

    fn bad_line(&mut self, bad: BadLine) {
        let logged_in = self.login.account().is_some();
        match bad {
            BadLine::Command(bad) => {
                self.reply(replies::bad_command(bad));
                self.unknown = if bad == BadCommand::Unknown {
                    self.unknown.saturating_add(1)
                } else {
                    0
                };
                if bad == BadCommand::Foreign || (!logged_in && self.unknown >= MAX_UNKNOWN) {
                    self.close();
                }
            }
            BadLine::TooLong => {
                self.reply(replies::LINE_TOO_LONG);
                if !logged_in {
                    self.close();
                }
            }
        }
    }

    fn reply(&mut self, reply: impl Into<Reply>) {
        self.out.push_back(Output::Send(reply.into().encode()));
    }

    fn ask(&mut self, waiting: Waiting, ask: Ask) {
        self.waiting = Some(waiting);
        self.out.push_back(Output::Ask(ask));
    }

    fn close(&mut self) {
        if !std::mem::replace(&mut self.closed, true) {
            self.waiting = None;
            self.queue.clear();
            self.input.clear();
            self.out.push_back(Output::Close);
        }
    }
}
