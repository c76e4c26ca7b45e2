//! ConnectionBind: what is said on a second connection until it is the peer's (RFC 6062 section 4.3, section 5.4).

use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;
use stun_types::message::Message;

use super::Error;
use super::request::{BindRequest, Exchange, Reply};
use crate::authentication::Authentication;
use crate::frame::Frames;
use crate::transaction::TransactionIds;

/// The dialogue on a second connection. Once it ended well, every further byte of that connection is the peer's,
/// and [`Bind::handle_input`] touches none of them.
pub struct Bind {
    connection_id: u32,
    authentication: Authentication,
    patience: Duration,
    ids: Box<dyn TransactionIds>,
    frames: Frames,
    exchange: Option<Exchange<BindRequest>>,
    outcome: Option<Result<(), Error>>,
}

impl fmt::Debug for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bind")
            .field("connection_id", &self.connection_id)
            .finish_non_exhaustive()
    }
}

impl Bind {
    pub(super) fn new(
        now: Instant,
        connection_id: u32,
        authentication: Authentication,
        patience: Duration,
        ids: Box<dyn TransactionIds>,
    ) -> Self {
        let frames = Frames::default();
        let mut bind = Self {
            connection_id,
            authentication,
            patience,
            ids,
            frames,
            exchange: None,
            outcome: None,
        };
        bind.begin(now, 0);
        bind
    }

    /// Takes bytes from the front of `input`, up to the end of the answer and none behind it.
    pub fn handle_input(&mut self, now: Instant, input: &mut &[u8]) {
        while self.exchange.is_some() {
            match self.frames.decode(input) {
                Ok(Some(message)) => self.handle_message(now, &message),
                Ok(None) => return,
                Err(error) => self.finish(Err(error.into())),
            }
        }
    }

    /// How many bytes may be read without reading one of the peer's; 0 once it ended.
    #[must_use]
    pub fn wanted(&self) -> usize {
        if self.exchange.is_some() {
            self.frames.wanted().unwrap_or(0)
        } else {
            0
        }
    }

    /// Time has come this far.
    pub fn handle_timeout(&mut self, now: Instant) {
        let Some(exchange) = &mut self.exchange else {
            return;
        };
        exchange.transaction.handle_timeout(now);
        if exchange.transaction.has_expired() {
            self.finish(Err(Error::Silent));
        }
    }

    /// Bytes to be sent.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        self.exchange.as_mut()?.transaction.poll_transmit()
    }

    /// How it ended, told once.
    pub fn poll_outcome(&mut self) -> Option<Result<(), Error>> {
        self.outcome.take()
    }

    /// When [`Bind::handle_timeout`] has to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.exchange.as_ref()?.transaction.poll_timeout()
    }

    fn handle_message(&mut self, now: Instant, bytes: &[u8]) {
        let Ok(message) = Message::from_bytes(bytes) else {
            return;
        };
        let Some(exchange) = self
            .exchange
            .take_if(|exchange| exchange.is_answered_by(&message))
        else {
            return;
        };
        match exchange.judge(&mut self.authentication, &message) {
            Reply::Again => self.begin(now, exchange.challenges + 1),
            Reply::No(error) => self.finish(Err(error)),
            Reply::Yes => self.finish(Ok(())),
        }
    }

    fn begin(&mut self, now: Instant, challenges: u8) {
        let (id, request) = (self.ids.next_id(), BindRequest(self.connection_id));
        match request.write(id, &self.authentication) {
            Ok(bytes) => {
                let was_signed = self.authentication.is_challenged();
                let exchange = Exchange::new(now, request, id, bytes, self.patience, was_signed, challenges);
                self.exchange = Some(exchange);
            }
            Err(_) => self.finish(Err(Error::Unwritable)),
        }
    }

    fn finish(&mut self, outcome: Result<(), Error>) {
        self.exchange = None;
        self.outcome = Some(outcome);
    }
}
