//! The user-PI: what a client says, given what a server answers.
//!
//! Its owner sends it for one [`Errand`] at a time ([`UserPi::begin`]), feeds bytes ([`UserPi::handle_input`]) and time
//! ([`UserPi::handle_timeout`]), and after each of these drains [`UserPi::poll_output`] to `None`. An errand ends in
//! [`Output::Done`]; [`Output::Failed`] means that the control connection is of no use any more.
//!
//! A transfer's data connection is the owner's. [`Output::Began`] comes with the preliminary reply; from then on the
//! errand has no deadline until the owner says that the data has ended ([`UserPi::handle_data_ended`]).

mod errand;
mod features;
mod passive;
pub mod quirks;
mod reply;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

pub use errand::{Credentials, Errand, Form, Outcome, quoted};
pub use features::Features;
pub use passive::Endpoint;
pub use reply::Reply;

use errand::{Line, Progress, Step};
use quirks::Quirk;
use reply::ReplyReader;

/// How long a server may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For the greeting, and for a reply to a command; preliminary replies do not extend it.
    pub reply: Duration,
    /// For the last reply of a transfer, from the end of its data.
    pub end_of_transfer: Duration,
}

/// What the user-PI wants done, in this order.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Send these bytes.
    Send(Bytes),
    /// A command as it may be shown in a log, secrets left out.
    Said(String),
    /// A reply, for a log.
    Heard(Reply),
    /// Something that the ledger has, for a log.
    Met(Quirk),
    /// Make the handshake, then call [`UserPi::handle_secured`].
    StartTls,
    /// The preliminary reply of a transfer.
    Began(Reply),
    /// The errand is done.
    Done(Outcome),
    /// The control connection is of no use any more.
    Failed(Fault),
}

/// Why a control connection is of no use any more. It is always the server's fault, or the network's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// A line over 8 KiB, a reply over 64 KiB or 64 lines.
    #[error("the server's reply is longer than any reply may be")]
    ReplyTooLong,
    /// What came is no reply; its first bytes.
    #[error("what answers is not an FTP server: it says \"{}\"", .0.escape_ascii())]
    NotFtp(Vec<u8>),
    /// One preliminary reply after the other.
    #[error("the server puts us off without end")]
    PutOff,
    /// A reply that nobody asked for.
    #[error("the server sent a reply that nobody asked for: {0}")]
    Unasked(Reply),
    /// Bytes behind the reply to AUTH, in clear: somebody between us and the server put them there
    /// (CVE-2021-22947).
    #[error("unprotected bytes came behind the reply to AUTH TLS: somebody tampers with this connection")]
    BytesBehindAuth,
    /// No reply in time.
    #[error("the server did not answer in time")]
    Silent,
    /// The server has closed the control connection.
    #[error("the server closed the control connection")]
    Closed,
    /// The server says goodbye: 421.
    #[error("the server ended the session: {0}")]
    Goodbye(Reply),
}

/// A text that would be more than one line: it holds CR, LF or NUL. Nothing was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("CR, LF or NUL in what is to be sent")]
pub struct BadText;

/// Preliminary replies to one command, and replies that nobody asked for, that are put up with.
const MOST_PRELIMINARY: u8 = 8;
const MOST_STRAYS: u8 = 2;
/// After a line that may be the end of a reply, how long to wait for more of it.
const SETTLE: Duration = Duration::from_secs(1);

/// After a transfer's last reply, how long the answer to a NOOP is waited for.
const LATE_NOOP: Duration = Duration::from_secs(2);

/// The client's side of one control connection.
#[derive(Debug)]
pub struct UserPi {
    patience: Patience,
    reader: ReplyReader,
    out: VecDeque<Output>,
    work: Option<Progress>,
    preliminary: u8,
    strays: u8,
    is_starting_tls: bool,
    has_failed: bool,
    /// A NOOP that was sent during a transfer is unanswered.
    noop_is_due: bool,
    /// How the transfer ended, while that is so.
    held: Option<Outcome>,
    deadline: Option<Instant>,
    settle_at: Option<Instant>,
}

impl UserPi {
    /// A control connection that has just been made.
    #[must_use]
    pub fn new(patience: Patience) -> Self {
        Self {
            patience,
            reader: ReplyReader::default(),
            out: VecDeque::new(),
            work: None,
            preliminary: 0,
            strays: 0,
            is_starting_tls: false,
            has_failed: false,
            noop_is_due: false,
            held: None,
            deadline: None,
            settle_at: None,
        }
    }

    /// Sends it for an errand. While a transfer runs, [`Errand::Abort`] may take its place.
    ///
    /// # Errors
    /// [`BadText`]; then nothing has changed.
    pub fn begin(&mut self, now: Instant, errand: Errand) -> Result<(), BadText> {
        let breaks_the_line = |text: &&[u8]| text.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0));
        if errand.texts().iter().any(breaks_the_line) {
            return Err(BadText);
        }
        if self.has_failed {
            self.out.push_back(Output::Failed(Fault::Closed));
            return Ok(());
        }
        let (progress, line) = Progress::begin(errand);
        self.work = Some(progress);
        self.preliminary = 0;
        self.held = None;
        self.deadline = Some(now + self.patience.reply);
        if let Some(line) = line {
            self.send(line);
        }
        Ok(())
    }

    /// Takes bytes from the control connection.
    pub fn handle_input(&mut self, now: Instant, mut bytes: &[u8]) {
        if self.is_starting_tls && !bytes.is_empty() {
            self.fail(Fault::BytesBehindAuth);
        }
        while !self.has_failed && !bytes.is_empty() {
            match self.reader.read(&mut bytes) {
                Ok(Some(reply)) => self.hear(now, reply, !bytes.is_empty()),
                Ok(None) => {}
                Err(fault) => self.fail(fault),
            }
        }
        self.settle_at = self.reader.may_have_ended().then(|| now + SETTLE);
    }

    /// The server has closed its side.
    pub fn handle_end_of_input(&mut self, now: Instant) {
        if let Some((reply, quirk)) = self.reader.settle() {
            self.out.push_back(Output::Met(quirk));
            self.hear(now, reply, false);
        }
        self.fail(Fault::Closed);
    }

    /// The handshake that [`Output::StartTls`] asked for is made.
    pub fn handle_secured(&mut self, now: Instant) {
        if !std::mem::take(&mut self.is_starting_tls) || self.has_failed {
            return;
        }
        let (progress, line) = Progress::secured();
        self.work = Some(progress);
        self.deadline = Some(now + self.patience.reply);
        self.send(line);
    }

    /// Says NOOP while a transfer runs, so that the control connection is not silent; not while an earlier one is
    /// unanswered. Only for servers that answer it with 200: another reply could not be told from the transfer's own.
    /// One that comes late, behind the transfer's last reply, is waited for before that is told.
    pub fn keep_alive(&mut self) {
        let is_running = matches!(self.work, Some(Progress::Transfer { began: true }));
        if is_running && !self.has_failed && !self.noop_is_due {
            self.noop_is_due = true;
            self.send(Line::open("NOOP"));
        }
    }

    /// The data of the running transfer has ended, whichever way: its last reply is due.
    pub fn handle_data_ended(&mut self, now: Instant) {
        if self.work.is_some() && self.held.is_none() {
            self.deadline = Some(now + self.patience.end_of_transfer);
        }
    }

    /// To be called when [`UserPi::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.settle_at.is_some_and(|at| at <= now) {
            self.settle_at = None;
            if let Some((reply, quirk)) = self.reader.settle() {
                self.out.push_back(Output::Met(quirk));
                self.hear(now, reply, false);
            }
        }
        if self.deadline.is_some_and(|at| at <= now) {
            self.fail(Fault::Silent);
        }
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When [`UserPi::handle_timeout`] is to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.deadline, self.settle_at].into_iter().flatten().min()
    }

    /// Whether it can be sent for an errand: none is open, nothing half-heard is left, nothing has failed.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.work.is_none() && !self.has_failed && !self.reader.is_within_reply()
    }

    fn send(&mut self, Line { mut text, is_secret }: Line) {
        let shown = if is_secret {
            let verb = text.split(|byte| *byte == b' ').next().unwrap_or_default();
            format!("{} ***", verb.escape_ascii())
        } else {
            text.escape_ascii().to_string()
        };
        self.out.push_back(Output::Said(shown));
        // On a Telnet connection a byte 255 is sent twice (RFC 854); servers that take names as bytes expect it once
        // only where they leave Telnet out altogether, and those take the pair for what it is: most do not. Names in
        // UTF-8 never hold it.
        text.extend_from_slice(b"\r\n");
        self.out.push_back(Output::Send(text.into()));
    }

    fn hear(&mut self, now: Instant, reply: Reply, more_follows: bool) {
        self.out.push_back(Output::Heard(reply.clone()));
        if self.noop_is_due && reply.code == 200 {
            self.noop_is_due = false;
            self.release();
            return;
        }
        if self.held.is_some() {
            return self.stray(reply);
        }
        let Some(progress) = self.work.take() else {
            return self.stray(reply);
        };
        if reply.code == 226 && progress.expects_no_226() {
            self.work = Some(progress);
            return self.stray(reply);
        }
        let mut quirks = Vec::new();
        let (progress, step) = if reply.class() == 1 {
            self.preliminary += 1;
            if self.preliminary > MOST_PRELIMINARY {
                return self.fail(Fault::PutOff);
            }
            progress.heard_preliminary(reply)
        } else if reply.code == 421 {
            return self.fail(Fault::Goodbye(reply));
        } else {
            progress.heard(reply, &mut quirks)
        };
        self.out.extend(quirks.into_iter().map(Output::Met));
        match step {
            Step::Done(outcome) if self.noop_is_due => {
                self.held = Some(outcome);
                self.deadline = Some(now + LATE_NOOP);
            }
            Step::Done(outcome) => {
                self.deadline = None;
                self.out.push_back(Output::Done(outcome));
                return;
            }
            Step::StartTls if more_follows || self.reader.is_within_reply() => {
                return self.fail(Fault::BytesBehindAuth);
            }
            Step::StartTls => {
                // The owner's handshake has the owner's deadline.
                self.deadline = None;
                self.is_starting_tls = true;
                self.out.push_back(Output::StartTls);
            }
            Step::Send(line) => {
                self.preliminary = 0;
                self.deadline = Some(now + self.patience.reply);
                self.send(line);
            }
            Step::Began(reply) => {
                self.deadline = None;
                self.out.push_back(Output::Began(reply));
            }
            Step::Wait => {}
        }
        self.work = Some(progress);
    }

    /// Tells how the transfer ended that was held back.
    fn release(&mut self) {
        if let Some(outcome) = self.held.take() {
            self.work = None;
            self.deadline = None;
            self.out.push_back(Output::Done(outcome));
        }
    }

    /// A reply that is no answer.
    fn stray(&mut self, reply: Reply) {
        if reply.code == 421 {
            return self.fail(Fault::Goodbye(reply));
        }
        self.strays += 1;
        if reply.code != 226 || self.strays > MOST_STRAYS {
            return self.fail(Fault::Unasked(reply));
        }
        self.out.push_back(Output::Met(Quirk::SecondEndOfTransfer));
    }

    fn fail(&mut self, fault: Fault) {
        if !self.has_failed {
            self.release();
            self.has_failed = true;
            self.work = None;
            self.deadline = None;
            self.settle_at = None;
            self.out.push_back(Output::Failed(fault));
        }
    }
}
