//! Binding dialogues, and NATs of every kind in virtual time.

use std::collections::HashMap;
use std::net::IpAddr;

use stun_types::attribute::ErrorCode;
use stun_types::message::MessageWriteVec;

use super::behaviour::{Behaviour, BehaviourError, Dependence, Discovery};
use super::*;
use crate::tests::{counted, start};

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn binding(now: Instant) -> (Binding, Bytes) {
    let mut binding = Binding::new(now, 42.into(), &Schedule::default(), ChangeRequest::default());
    let request = binding.poll_transmit().unwrap();
    (binding, request)
}

#[test]
fn the_answer_with_our_id_tells_our_address() {
    for mapped in ["203.0.113.9:40000", "[2001:db8::9]:40000"].map(address) {
        let (mut binding, request) = binding(start());
        let message = Message::from_bytes(&request).unwrap();
        assert_eq!(message.transaction_id(), 42.into());
        let mut answer = Message::builder_success(&message, MessageWriteVec::new());
        answer
            .add_attribute(&MappedAddress(address("10.0.0.1:1")))
            .unwrap();
        answer
            .add_attribute(&XorMappedAddress::new(mapped, 42.into()))
            .unwrap();
        answer
            .add_attribute(&OtherAddress(address("192.0.2.2:3479")))
            .unwrap();
        binding.handle_message(&answer.finish());
        let outcome = binding.poll_outcome().unwrap().unwrap();
        assert_eq!(
            outcome,
            Answer {
                mapped,
                origin: None,
                other: Some(address("192.0.2.2:3479"))
            }
        );
        assert_eq!((binding.poll_timeout(), binding.poll_transmit()), (None, None));
    }
}

#[test]
fn an_old_server_tells_it_without_xor() {
    let (mut binding, request) = binding(start());
    let mut answer =
        Message::builder_success(&Message::from_bytes(&request).unwrap(), MessageWriteVec::new());
    answer
        .add_attribute(&MappedAddress(address("203.0.113.9:40000")))
        .unwrap();
    binding.handle_message(&answer.finish());
    assert_eq!(
        binding.poll_outcome().unwrap().unwrap().mapped,
        address("203.0.113.9:40000")
    );
}

#[test]
fn an_answer_with_another_id_is_none() {
    let (mut binding, request) = binding(start());
    let message = Message::from_bytes(&request).unwrap();
    let mut answer = Message::builder_success(&message, MessageWriteVec::new());
    answer
        .add_attribute(&XorMappedAddress::new(address("203.0.113.9:1"), 42.into()))
        .unwrap();
    let mut forged = answer.finish();
    forged[19] = 43;
    binding.handle_message(&forged);
    binding.handle_message(&request);
    binding.handle_message(b"noise");
    assert_eq!(binding.poll_outcome(), None);
}

#[test]
fn a_refusal_says_its_code_and_an_answer_without_address_is_malformed() {
    let (mut first, request) = binding(start());
    let message = Message::from_bytes(&request).unwrap();
    let mut answer = Message::builder_error(&message, MessageWriteVec::new());
    answer
        .add_attribute(&ErrorCode::new(420, "what?\n").unwrap())
        .unwrap();
    first.handle_message(&answer.finish());
    let Some(Err(BindingError::Refused(refusal))) = first.poll_outcome() else {
        panic!("no refusal")
    };
    assert_eq!(
        (refusal.code, refusal.to_string().as_str()),
        (420, "420 what?\\n")
    );

    let (mut second, _) = binding(start());
    second.handle_message(&Message::builder_success(&message, MessageWriteVec::new()).finish());
    assert_eq!(second.poll_outcome(), Some(Err(BindingError::Malformed)));
}

#[test]
fn nobody_answers() {
    let now = start();
    let (mut binding, _) = binding(now);
    let mut sent = 1;
    while let Some(due) = binding.poll_timeout() {
        binding.handle_timeout(due);
        sent += usize::from(binding.poll_transmit().is_some());
    }
    assert_eq!(
        (sent, binding.poll_outcome()),
        (3, Some(Err(BindingError::Silent)))
    );
}

/// A NAT in front of us and a server with two addresses and two ports behind it.
struct Lab {
    mapping: Dependence,
    filtering: Dependence,
    /// The outside port for each endpoint that makes a difference to the NAT.
    ports: HashMap<(Option<IpAddr>, Option<u16>), u16>,
    sent_to: Vec<SocketAddr>,
    /// Answers CHANGE-REQUEST from where it was asked, as a server does that does not know it.
    ignores_change: bool,
    other: Option<SocketAddr>,
    is_other_silent: bool,
}

impl Lab {
    fn new(mapping: Dependence, filtering: Dependence) -> Self {
        Self {
            mapping,
            filtering,
            ports: HashMap::new(),
            sent_to: Vec::new(),
            ignores_change: false,
            other: Some(address("192.0.2.2:3479")),
            is_other_silent: false,
        }
    }

    fn key(dependence: Dependence, to: SocketAddr) -> (Option<IpAddr>, Option<u16>) {
        match dependence {
            Dependence::EndpointIndependent => (None, None),
            Dependence::AddressDependent => (Some(to.ip()), None),
            Dependence::AddressAndPortDependent => (Some(to.ip()), Some(to.port())),
        }
    }

    /// What comes back for a datagram, and from where.
    fn carry(&mut self, to: SocketAddr, datagram: &[u8]) -> Option<(SocketAddr, Vec<u8>)> {
        self.sent_to.push(to);
        let next = 40000 + self.ports.len() as u16;
        let port = *self.ports.entry(Self::key(self.mapping, to)).or_insert(next);
        let request = Message::from_bytes(datagram).unwrap();
        let change = request.attribute::<ChangeRequest>().unwrap_or_default();
        if self.is_other_silent && (to.ip() != address("192.0.2.1:1").ip() || change.address || change.port) {
            return None;
        }
        let mut from = to;
        if let (Some(other), false) = (self.other, self.ignores_change) {
            from = SocketAddr::new(
                if change.address { other.ip() } else { to.ip() },
                if change.port { other.port() } else { to.port() },
            );
        }
        let opened = |sent: &SocketAddr| Self::key(self.filtering, *sent) == Self::key(self.filtering, from);
        if !self.sent_to.iter().any(opened) {
            return None;
        }
        let mut answer = Message::builder_success(&request, MessageWriteVec::new());
        let mapped = SocketAddr::new(address("203.0.113.9:1").ip(), port);
        answer
            .add_attribute(&XorMappedAddress::new(mapped, request.transaction_id()))
            .unwrap();
        if let Some(other) = self.other {
            answer.add_attribute(&OtherAddress(other)).unwrap();
        }
        Some((from, answer.finish()))
    }

    fn discover(&mut self) -> Result<Behaviour, BehaviourError> {
        let mut now = start();
        let mut discovery = Discovery::new(now, address("192.0.2.1:3478"), Schedule::default(), counted());
        loop {
            while let Some((to, datagram)) = discovery.poll_transmit() {
                if let Some((from, answer)) = self.carry(to, &datagram) {
                    discovery.handle_datagram(now, from, &answer);
                }
            }
            if let Some(outcome) = discovery.poll_outcome() {
                return outcome;
            }
            now = discovery.poll_timeout().unwrap();
            discovery.handle_timeout(now);
        }
    }
}

const ALL: [Dependence; 3] = [
    Dependence::EndpointIndependent,
    Dependence::AddressDependent,
    Dependence::AddressAndPortDependent,
];

#[test]
fn every_kind_of_nat_is_told_apart() {
    for mapping in ALL {
        for filtering in ALL {
            let behaviour = Lab::new(mapping, filtering).discover().unwrap();
            assert_eq!((behaviour.mapping, behaviour.filtering), (mapping, filtering));
            assert_eq!(behaviour.mapped, address("203.0.113.9:40000"));
        }
    }
}

#[test]
fn a_server_that_ignores_change_request_does_not_make_a_nat_look_open() {
    let mut lab = Lab::new(
        Dependence::EndpointIndependent,
        Dependence::AddressAndPortDependent,
    );
    lab.ignores_change = true;
    assert_eq!(
        lab.discover().unwrap().filtering,
        Dependence::AddressAndPortDependent
    );
}

#[test]
fn without_a_second_address_nothing_can_be_compared() {
    for other in [
        None,
        Some("192.0.2.1:3479"),
        Some("192.0.2.2:3478"),
        Some("127.0.0.1:53"),
        Some("[2001:db8::1]:9"),
    ] {
        let mut lab = Lab::new(Dependence::EndpointIndependent, Dependence::EndpointIndependent);
        lab.other = other.map(address);
        assert_eq!(lab.discover(), Err(BehaviourError::NoOtherAddress), "{other:?}");
    }
}

#[test]
fn a_dead_second_address_is_no_filter() {
    let mut lab = Lab::new(Dependence::EndpointIndependent, Dependence::EndpointIndependent);
    lab.is_other_silent = true;
    assert_eq!(lab.discover(), Err(BehaviourError::OtherSilent));
}
