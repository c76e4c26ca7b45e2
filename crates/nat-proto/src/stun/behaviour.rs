//! What kind of NAT this is, over UDP: RFC 5780 section 4.3 (mapping) and section 4.4 (filtering).
//!
//! All is asked from one socket, and filtering comes first: a request to the server's other address would itself
//! open the filter that is to be examined.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;

use super::{Answer, Binding, BindingError, ChangeRequest};
use crate::transaction::{Schedule, TransactionIds};

/// On what of the other side a NAT's mapping or filter depends (RFC 4787 section 4.1, section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dependence {
    /// On nothing: one mapping for all, or open for all.
    EndpointIndependent,
    /// On its address.
    AddressDependent,
    /// On its address and port.
    AddressAndPortDependent,
}

/// The NAT as it shows itself over UDP. Says nothing about TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Behaviour {
    /// Our address as the server sees it.
    pub mapped: SocketAddr,
    /// Who sees the same address.
    pub mapping: Dependence,
    /// Who may send to it.
    pub filtering: Dependence,
}

/// Why the kind of NAT cannot be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BehaviourError {
    /// The server gave no answer at all, or a useless one.
    #[error(transparent)]
    Binding(#[from] BindingError),
    /// The server has no other address that differs in both address and port, so nothing can be compared.
    #[error("the server has no other address to compare with")]
    NoOtherAddress,
    /// The server's other address does not answer; what it did not send says nothing about filters then.
    #[error("the server's other address does not answer")]
    OtherSilent,
}

/// Asks until the behaviour is known: five requests at most, the two about filtering unanswered as a rule.
pub struct Discovery {
    server: SocketAddr,
    schedule: Schedule,
    ids: Box<dyn TransactionIds>,
    step: Step,
    /// Where the request goes, and from where its answer has to come.
    to: SocketAddr,
    from: SocketAddr,
    binding: Binding,
    outcome: Option<Result<Behaviour, BehaviourError>>,
}

impl std::fmt::Debug for Discovery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Discovery")
            .field("server", &self.server)
            .field("step", &self.step)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    First,
    FilterOtherAddress(Known),
    FilterOtherPort(Known),
    MapOtherAddress(Known, Dependence),
    MapOtherPort(Known, Dependence, SocketAddr),
    Done,
}

/// What the first answer said.
#[derive(Debug, Clone, Copy)]
struct Known {
    mapped: SocketAddr,
    other: SocketAddr,
}

impl Discovery {
    /// Begins to ask `server`. Each request follows `schedule`.
    #[must_use]
    pub fn new(
        now: Instant,
        server: SocketAddr,
        schedule: Schedule,
        mut ids: Box<dyn TransactionIds>,
    ) -> Self {
        let binding = Binding::new(now, ids.next_id(), &schedule, ChangeRequest::default());
        Self {
            server,
            schedule,
            ids,
            step: Step::First,
            to: server,
            from: server,
            binding,
            outcome: None,
        }
    }

    /// A datagram came.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        // A server that does not know CHANGE-REQUEST answers from where it was asked: that is no answer to this.
        if from == self.from {
            self.binding.handle_message(datagram);
            self.go_on(now);
        }
    }

    /// Time has come this far.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.binding.handle_timeout(now);
        self.go_on(now);
    }

    /// A datagram to be sent, and where to.
    pub fn poll_transmit(&mut self) -> Option<(SocketAddr, Bytes)> {
        Some((self.to, self.binding.poll_transmit()?))
    }

    /// How it ended, told once.
    pub fn poll_outcome(&mut self) -> Option<Result<Behaviour, BehaviourError>> {
        self.outcome.take()
    }

    /// When [`Discovery::handle_timeout`] has to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.binding.poll_timeout()
    }

    fn go_on(&mut self, now: Instant) {
        use Dependence::{AddressAndPortDependent, AddressDependent, EndpointIndependent};
        let Some(outcome) = self.binding.poll_outcome() else {
            return;
        };
        let primary = self.server;
        match (self.step, outcome) {
            (Step::First, Ok(Answer { mapped, other, .. })) => {
                match other.filter(|other| is_other(primary, *other)) {
                    Some(other) => {
                        let change = ChangeRequest {
                            address: true,
                            port: true,
                        };
                        let step = Step::FilterOtherAddress(Known { mapped, other });
                        self.ask(now, step, primary, other, change);
                    }
                    None => self.finish(Err(BehaviourError::NoOtherAddress)),
                }
            }
            (Step::First, Err(error)) => self.finish(Err(error.into())),
            (Step::FilterOtherAddress(known), Ok(_)) => self.map(now, known, EndpointIndependent),
            (Step::FilterOtherAddress(known), Err(BindingError::Silent)) => {
                let from = SocketAddr::new(primary.ip(), known.other.port());
                let change = ChangeRequest {
                    address: false,
                    port: true,
                };
                self.ask(now, Step::FilterOtherPort(known), primary, from, change);
            }
            (Step::FilterOtherPort(known), Ok(_)) => self.map(now, known, AddressDependent),
            (Step::FilterOtherPort(known), Err(BindingError::Silent)) => {
                self.map(now, known, AddressAndPortDependent);
            }
            (Step::MapOtherAddress(known, filtering), Ok(answer)) if answer.mapped == known.mapped => {
                self.finish(Ok(Behaviour {
                    mapped: known.mapped,
                    mapping: EndpointIndependent,
                    filtering,
                }));
            }
            (Step::MapOtherAddress(known, filtering), Ok(answer)) => {
                let step = Step::MapOtherPort(known, filtering, answer.mapped);
                self.ask(now, step, known.other, known.other, ChangeRequest::default());
            }
            (Step::MapOtherPort(known, filtering, second), Ok(answer)) => {
                let mapping = if answer.mapped == second {
                    AddressDependent
                } else {
                    AddressAndPortDependent
                };
                self.finish(Ok(Behaviour {
                    mapped: known.mapped,
                    mapping,
                    filtering,
                }));
            }
            (Step::MapOtherAddress(..) | Step::MapOtherPort(..), Err(BindingError::Silent)) => {
                self.finish(Err(BehaviourError::OtherSilent));
            }
            (_, Err(error)) => self.finish(Err(error.into())),
            (Step::Done, Ok(_)) => {}
        }
    }

    fn map(&mut self, now: Instant, known: Known, filtering: Dependence) {
        let to = SocketAddr::new(known.other.ip(), self.server.port());
        self.ask(
            now,
            Step::MapOtherAddress(known, filtering),
            to,
            to,
            ChangeRequest::default(),
        );
    }

    fn ask(&mut self, now: Instant, step: Step, to: SocketAddr, from: SocketAddr, change: ChangeRequest) {
        self.binding = Binding::new(now, self.ids.next_id(), &self.schedule, change);
        (self.step, self.to, self.from) = (step, to, from);
    }

    fn finish(&mut self, outcome: Result<Behaviour, BehaviourError>) {
        self.step = Step::Done;
        self.outcome = Some(outcome);
    }
}

/// Whether this is another address of such a server, and not one to which it merely wants us to send.
fn is_other(primary: SocketAddr, other: SocketAddr) -> bool {
    let ip = other.ip();
    primary.is_ipv4() == other.is_ipv4()
        && ip != primary.ip()
        && other.port() != primary.port()
        && other.port() != 0
        && !ip.is_unspecified()
        && !ip.is_multicast()
        && ip.is_loopback() == primary.ip().is_loopback()
        && ip != std::net::IpAddr::V4(std::net::Ipv4Addr::BROADCAST)
}
