//! Dialogues in virtual time with a server that is written out here on stun-types.

use std::time::{Duration, Instant};

use stun_types::attribute::{
    AttributeType, ErrorCode, Nonce, PasswordAlgorithm, PasswordAlgorithmValue, PasswordAlgorithms,
    RawAttribute, Realm, Username, XorMappedAddress,
};
use stun_types::message::{
    BINDING, IntegrityAlgorithm, LongTermKeyCredentials, Message, MessageIntegrityCredentials, MessageType,
    MessageWrite, MessageWriteExt as _, TransactionId,
};
use stun_types::prelude::AttributeWrite;
use turn_types::attribute::RequestedTransport;
use turn_types::message::{ALLOCATE, CONNECT, CONNECTION_BIND, CREATE_PERMISSION, REFRESH};

use super::*;
use crate::tests::{counted, start};

const PATIENCE: Duration = Duration::from_secs(5);

fn profile() -> Profile {
    Profile {
        credentials: Credentials {
            username: "anna".into(),
            password: "secret".into(),
        },
        patience: PATIENCE,
        lifetime: Duration::from_secs(600),
        extra: vec![(0xc001, b"wish".to_vec())],
    }
}

fn relayed() -> SocketAddr {
    "198.51.100.7:50000".parse().unwrap()
}

fn mapped() -> SocketAddr {
    "203.0.113.9:40000".parse().unwrap()
}

fn peer() -> SocketAddr {
    "192.0.2.33:51234".parse().unwrap()
}

/// The server: what it signs with, and what it says.
struct Server {
    nonce: &'static str,
    password: &'static str,
    sha256: bool,
}

impl Server {
    fn new() -> Self {
        Self {
            nonce: "nonce-1",
            password: "secret",
            sha256: false,
        }
    }

    fn credentials(&self) -> MessageIntegrityCredentials {
        LongTermKeyCredentials::new("anna".into(), self.password.into(), "lab".into()).into()
    }

    fn algorithm(&self) -> IntegrityAlgorithm {
        if self.sha256 {
            IntegrityAlgorithm::Sha256
        } else {
            IntegrityAlgorithm::Sha1
        }
    }

    fn refuse(&self, request: &[u8], code: u16) -> Vec<u8> {
        let request = Message::from_bytes(request).unwrap();
        let mut answer = Message::builder_error(&request, MessageWriteVec::new());
        answer
            .add_attribute(&ErrorCode::new(code, "because").unwrap())
            .unwrap();
        if code == 401 || code == 438 {
            answer.add_attribute(&Realm::new("lab").unwrap()).unwrap();
            answer.add_attribute(&Nonce::new(self.nonce).unwrap()).unwrap();
            if self.sha256 {
                let all = [PasswordAlgorithmValue::SHA256, PasswordAlgorithmValue::MD5];
                answer.add_attribute(&PasswordAlgorithms::new(&all)).unwrap();
            }
        }
        answer.finish()
    }

    /// Insists on a good signature and the newest nonce.
    fn heard(&self, request: &[u8], method: stun_types::message::Method) -> TransactionId {
        let request = Message::from_bytes(request).unwrap();
        assert_eq!(
            request.get_type(),
            MessageType::from_class_method(MessageClass::Request, method)
        );
        assert_eq!(
            request.validate_integrity(&self.credentials()).unwrap(),
            self.algorithm()
        );
        assert_eq!(request.attribute::<Username>().unwrap().username(), "anna");
        assert_eq!(request.attribute::<Nonce>().unwrap().nonce(), self.nonce);
        request.transaction_id()
    }

    fn accept(&self, request: &[u8], attributes: &[&dyn AttributeWrite]) -> Vec<u8> {
        let request = Message::from_bytes(request).unwrap();
        let mut answer = Message::builder_success(&request, MessageWriteVec::new());
        for attribute in attributes {
            answer.add_attribute(*attribute).unwrap();
        }
        answer
            .add_message_integrity(&self.credentials(), self.algorithm())
            .unwrap();
        answer.finish()
    }

    fn allocate(&self, request: &[u8], seconds: u32) -> Vec<u8> {
        let id = self.heard(request, ALLOCATE);
        self.accept(
            request,
            &[
                &XorRelayedAddress::new(relayed(), id),
                &XorMappedAddress::new(mapped(), id),
                &Lifetime::new(seconds),
                &RawAttribute::new(AttributeType::new(0xc002), b"given"),
            ],
        )
    }
}

/// The one message that is to be sent.
fn sent(client: &mut Client) -> Bytes {
    let bytes = client.poll_transmit().expect("a request");
    assert_eq!(client.poll_transmit(), None);
    bytes
}

fn allocated(now: Instant, server: &Server, seconds: u32) -> Client {
    let mut client = Client::new(now, profile(), counted());
    let first = sent(&mut client);
    client.handle_input(now, &server.refuse(&first, 401));
    let second = sent(&mut client);
    client.handle_input(now, &server.allocate(&second, seconds));
    assert!(matches!(client.poll_event(), Some(Event::Allocated { .. })));
    client
}

fn refused(code: u16) -> Error {
    Error::Refused(Refusal {
        code,
        reason: "because".into(),
        alternate: None,
    })
}

#[test]
fn an_allocation_is_asked_for_without_and_then_with_credentials() {
    let (now, server) = (start(), Server::new());
    let mut client = Client::new(now, profile(), counted());
    let first = sent(&mut client);
    let message = Message::from_bytes(&first).unwrap();
    assert_eq!(message.attribute::<RequestedTransport>().unwrap().protocol(), 6);
    assert_eq!(
        &*message.raw_attribute(AttributeType::new(0xc001)).unwrap().value,
        b"wish"
    );
    assert!(message.attribute::<Username>().is_err());

    client.handle_input(now, &server.refuse(&first, 401));
    let second = sent(&mut client);
    let answer = server.allocate(&second, 600);
    for byte in &answer {
        assert_eq!(client.poll_event(), None);
        client.handle_input(now, &[*byte]);
    }
    assert_eq!(
        client.poll_event(),
        Some(Event::Allocated {
            relayed: relayed(),
            mapped: mapped(),
            lifetime: Duration::from_secs(600),
            extra: vec![(0xc002, b"given".to_vec())],
        })
    );
    assert_eq!(client.poll_timeout(), Some(now + Duration::from_secs(300)));
}

#[test]
fn a_wrong_password_fails_at_once() {
    let (now, server) = (start(), Server::new());
    let mut client = Client::new(now, profile(), counted());
    let first = sent(&mut client);
    client.handle_input(now, &server.refuse(&first, 401));
    let second = sent(&mut client);
    client.handle_input(now, &server.refuse(&second, 401));
    assert_eq!(client.poll_event(), Some(Event::Failed(refused(401))));
    assert_eq!((client.poll_transmit(), client.poll_timeout()), (None, None));
}

#[test]
fn a_yes_that_is_not_signed_with_our_password_is_none() {
    let (now, server) = (start(), Server::new());
    let mut client = Client::new(now, profile(), counted());
    let first = sent(&mut client);
    client.handle_input(now, &server.refuse(&first, 401));
    let second = sent(&mut client);
    let forger = Server {
        password: "guess",
        ..Server::new()
    };
    client.handle_input(now, &forger.accept(&second, &[&Lifetime::new(600)]));
    assert_eq!(client.poll_event(), Some(Event::Failed(Error::BadIntegrity)));
}

#[test]
fn an_answer_to_another_request_is_passed_over() {
    let (now, server) = (start(), Server::new());
    let mut client = Client::new(now, profile(), counted());
    let first = sent(&mut client);
    let mut other = first.to_vec();
    other[19] ^= 0x80;
    client.handle_input(now, &server.refuse(&other, 500));
    assert_eq!(client.poll_event(), None);
    client.handle_input(now, &server.refuse(&first, 442));
    assert_eq!(client.poll_event(), Some(Event::Failed(refused(442))));
}

#[test]
fn a_silent_server_fails_when_patience_is_over() {
    let now = start();
    let mut client = Client::new(now, profile(), counted());
    sent(&mut client);
    assert_eq!(client.poll_timeout(), Some(now + PATIENCE));
    client.handle_timeout(now + PATIENCE - Duration::from_millis(1));
    assert_eq!(client.poll_event(), None);
    client.handle_timeout(now + PATIENCE);
    assert_eq!(client.poll_event(), Some(Event::Failed(Error::Silent)));
}

#[test]
fn the_allocation_is_renewed_at_half_of_its_life_also_with_a_stale_nonce() {
    let (now, mut server) = (start(), Server::new());
    let mut client = allocated(now, &server, 100);
    let later = now + Duration::from_secs(50);
    assert_eq!(client.poll_timeout(), Some(later));
    client.handle_timeout(later);
    let stale = sent(&mut client);
    server.heard(&stale, REFRESH);
    server.nonce = "nonce-2";
    client.handle_input(later, &server.refuse(&stale, 438));
    let fresh = sent(&mut client);
    server.heard(&fresh, REFRESH);
    client.handle_input(later, &server.accept(&fresh, &[&Lifetime::new(80)]));
    assert_eq!(client.poll_event(), None);
    assert_eq!(client.poll_timeout(), Some(later + Duration::from_secs(40)));
}

#[test]
fn a_server_that_is_never_content_with_the_nonce_is_left() {
    let (now, server) = (start(), Server::new());
    let mut client = Client::new(now, profile(), counted());
    let mut asked = 0;
    let failed = loop {
        let request = sent(&mut client);
        asked += 1;
        client.handle_input(now, &server.refuse(&request, if asked == 1 { 401 } else { 438 }));
        if let Some(event) = client.poll_event() {
            break event;
        }
    };
    assert_eq!((failed, asked), (Event::Failed(refused(438)), 4));
}

#[test]
fn an_allocation_that_the_server_forgot_is_told() {
    let (now, server) = (start(), Server::new());
    let mut client = allocated(now, &server, 100);
    let later = now + Duration::from_secs(50);
    client.handle_timeout(later);
    let request = sent(&mut client);
    client.handle_input(later, &server.refuse(&request, 437));
    assert_eq!(client.poll_event(), Some(Event::Failed(refused(437))));
}

#[test]
fn any_answer_is_a_sign_of_life_and_none_ends_the_allocation() {
    let (now, mut server) = (start(), Server::new());
    let mut client = allocated(now, &server, 600);
    client.ask_presence(now);
    let request = sent(&mut client);
    server.heard(&request, BINDING);
    client.ask_presence(now);
    assert_eq!(client.poll_transmit(), None, "asked once at a time");
    // Challenged, it is asked again; what it says then does not matter.
    server.nonce = "nonce-2";
    client.handle_input(now, &server.refuse(&request, 438));
    let request = sent(&mut client);
    client.handle_input(now, &server.refuse(&request, 400));
    assert_eq!(client.poll_event(), None);
    assert_eq!(client.poll_timeout(), Some(now + Duration::from_secs(300)));

    client.ask_presence(now);
    sent(&mut client);
    assert_eq!(client.poll_timeout(), Some(now + PRESENCE));
    client.handle_timeout(now + PRESENCE);
    assert_eq!(client.poll_event(), Some(Event::Failed(Error::Silent)));
}

#[test]
fn a_permission_is_renewed_until_it_is_not_wanted() {
    let (now, server) = (start(), Server::new());
    let mut client = allocated(now, &server, 3600);
    client.permit(now, peer().ip()).unwrap();
    let request = sent(&mut client);
    let id = server.heard(&request, CREATE_PERMISSION);
    let asked = Message::from_bytes(&request).unwrap();
    assert_eq!(
        asked.attribute::<XorPeerAddress>().unwrap().addr(id).ip(),
        peer().ip()
    );
    client.handle_input(now, &server.accept(&request, &[]));
    assert_eq!(client.poll_event(), Some(Event::Permitted(peer().ip())));

    let later = now + Duration::from_secs(240);
    assert_eq!(client.poll_timeout(), Some(later));
    client.handle_timeout(later);
    let request = sent(&mut client);
    server.heard(&request, CREATE_PERMISSION);
    client.handle_input(later, &server.accept(&request, &[]));
    assert_eq!(client.poll_event(), None);
    assert_eq!(client.poll_timeout(), Some(later + Duration::from_secs(240)));

    client.forbid(peer().ip());
    assert_eq!(client.poll_timeout(), Some(now + Duration::from_secs(1800)));
}

#[test]
fn a_refused_permission_leaves_the_allocation() {
    let (now, server) = (start(), Server::new());
    let mut client = allocated(now, &server, 600);
    client.permit(now, peer().ip()).unwrap();
    // The same wish twice is one question.
    client.permit(now, peer().ip()).unwrap();
    let request = sent(&mut client);
    client.handle_input(now, &server.refuse(&request, 403));
    assert_eq!(
        client.poll_event(),
        Some(Event::NotPermitted(peer().ip(), refused(403)))
    );
    assert_eq!(client.poll_event(), None);
    client.permit(now, peer().ip()).unwrap();
    assert!(client.poll_transmit().is_some());
}

#[test]
fn permissions_are_bounded() {
    let (now, server) = (start(), Server::new());
    let mut client = allocated(now, &server, 600);
    for last in 0..MAX_PERMISSIONS as u32 {
        client
            .permit(now, IpAddr::V4((0x0a00_0000 + last).into()))
            .unwrap();
    }
    assert_eq!(client.permit(now, peer().ip()), Err(Error::TooMany));
    assert_eq!(client.permit(now, IpAddr::V4(0x0a00_0000.into())), Ok(()));
}

fn attempt(class: MessageClass) -> Vec<u8> {
    let id = TransactionId::from(0xabc);
    let kind = MessageType::from_class_method(class, CONNECTION_ATTEMPT);
    let mut message = Message::builder(kind, id, MessageWriteVec::new());
    message.add_attribute(&ConnectionId::new(77)).unwrap();
    message.add_attribute(&XorPeerAddress::new(peer(), id)).unwrap();
    message
        .add_attribute(&RawAttribute::new(AttributeType::new(0xc003), b"more"))
        .unwrap();
    message.finish()
}

fn told() -> Event {
    Event::Attempt(Attempt {
        connection_id: 77,
        peer: peer(),
        extra: vec![(0xc003, b"more".to_vec())],
    })
}

#[test]
fn an_attempt_comes_as_an_indication() {
    let (now, server) = (start(), Server::new());
    let mut client = allocated(now, &server, 600);
    let indication = attempt(MessageClass::Indication);
    assert_eq!(indication[..2], [0x00, 0x1c]);
    client.handle_input(now, &indication);
    assert_eq!(client.poll_event(), Some(told()));
    assert_eq!(client.poll_transmit(), None);
}

#[test]
fn an_attempt_that_comes_as_a_request_is_answered() {
    let (now, server) = (start(), Server::new());
    let mut client = allocated(now, &server, 600);
    client.handle_input(now, &attempt(MessageClass::Request));
    assert_eq!(client.poll_event(), Some(told()));
    let answer = sent(&mut client);
    let answer = Message::from_bytes(&answer).unwrap();
    assert_eq!(
        answer.get_type(),
        MessageType::from_class_method(MessageClass::Success, CONNECTION_ATTEMPT)
    );
    assert_eq!(answer.transaction_id(), 0xabc.into());
}

#[test]
fn an_attempt_before_the_allocation_is_nothing() {
    let now = start();
    let mut client = Client::new(now, profile(), counted());
    client.handle_input(now, &attempt(MessageClass::Indication));
    assert_eq!(client.poll_event(), None);
}

#[test]
fn a_bind_ends_with_its_answer_and_leaves_the_peers_bytes() {
    let (now, server) = (start(), Server::new());
    let client = allocated(now, &server, 600);
    let mut bind = client.bind(now, 77, counted());
    let request = bind.poll_transmit().unwrap();
    server.heard(&request, CONNECTION_BIND);
    assert_eq!(
        Message::from_bytes(&request)
            .unwrap()
            .attribute::<ConnectionId>()
            .unwrap()
            .id(),
        77
    );
    assert_eq!(bind.wanted(), 20);
    let stream = [&server.accept(&request, &[])[..], b"USER anna\r\n"].concat();
    let mut input = &stream[..];
    bind.handle_input(now, &mut input);
    assert_eq!(bind.poll_outcome(), Some(Ok(())));
    assert_eq!(input, b"USER anna\r\n");
    assert_eq!((bind.wanted(), bind.poll_timeout()), (0, None));
}

#[test]
fn a_bind_takes_the_nonce_of_its_own_connection() {
    let (now, server) = (start(), Server::new());
    let client = allocated(now, &server, 600);
    let mut bind = client.bind(now, 77, counted());
    let request = bind.poll_transmit().unwrap();
    let second = Server {
        nonce: "nonce-of-the-second",
        ..Server::new()
    };
    bind.handle_input(now, &mut &second.refuse(&request, 438)[..]);
    let request = bind.poll_transmit().unwrap();
    second.heard(&request, CONNECTION_BIND);
    bind.handle_input(now, &mut &second.accept(&request, &[])[..]);
    assert_eq!(bind.poll_outcome(), Some(Ok(())));
}

#[test]
fn a_bind_can_be_refused_or_stay_unanswered() {
    let (now, server) = (start(), Server::new());
    let client = allocated(now, &server, 600);
    let mut bind = client.bind(now, 77, counted());
    let request = bind.poll_transmit().unwrap();
    bind.handle_input(now, &mut &server.refuse(&request, 447)[..]);
    assert_eq!(bind.poll_outcome(), Some(Err(refused(447))));
    let mut bind = client.bind(now, 78, counted());
    bind.handle_timeout(now + PATIENCE);
    assert_eq!(bind.poll_outcome(), Some(Err(Error::Silent)));
}

#[test]
fn connect_gives_what_is_to_be_bound() {
    let (now, server) = (start(), Server::new());
    let mut client = allocated(now, &server, 600);
    client.connect(now, peer()).unwrap();
    let request = sent(&mut client);
    server.heard(&request, CONNECT);
    client.handle_input(now, &server.accept(&request, &[&ConnectionId::new(5)]));
    assert_eq!(
        client.poll_event(),
        Some(Event::Connected {
            peer: peer(),
            connection_id: 5
        })
    );
    client.connect(now, peer()).unwrap();
    let request = sent(&mut client);
    client.handle_input(now, &server.refuse(&request, 447));
    assert_eq!(
        client.poll_event(),
        Some(Event::NotConnected(peer(), refused(447)))
    );
}

#[test]
fn closing_gives_the_allocation_back() {
    let (now, server) = (start(), Server::new());
    let mut client = allocated(now, &server, 600);
    client.close(now);
    let request = sent(&mut client);
    server.heard(&request, REFRESH);
    assert_eq!(
        Message::from_bytes(&request)
            .unwrap()
            .attribute::<Lifetime>()
            .unwrap()
            .seconds(),
        0
    );
    assert_eq!(client.permit(now, peer().ip()), Err(Error::NoAllocation));
    client.handle_input(now, &server.accept(&request, &[&Lifetime::new(0)]));
    assert_eq!(client.poll_event(), Some(Event::Closed));
    assert_eq!(client.poll_timeout(), None);
}

#[test]
fn sha256_is_used_where_it_is_offered() {
    let (now, server) = (
        start(),
        Server {
            nonce: "obMatJos2gAAAnonce",
            sha256: true,
            ..Server::new()
        },
    );
    let mut client = Client::new(now, profile(), counted());
    let first = sent(&mut client);
    client.handle_input(now, &server.refuse(&first, 401));
    let second = sent(&mut client);
    let chosen = Message::from_bytes(&second)
        .unwrap()
        .attribute::<PasswordAlgorithm>()
        .unwrap()
        .algorithm();
    assert_eq!(chosen, PasswordAlgorithmValue::SHA256);
    client.handle_input(now, &server.allocate(&second, 600));
    assert!(matches!(client.poll_event(), Some(Event::Allocated { .. })));
}

#[test]
fn an_offer_that_somebody_took_out_is_noticed() {
    let (now, server) = (
        start(),
        Server {
            nonce: "obMatJos2gAAAnonce",
            ..Server::new()
        },
    );
    let mut client = Client::new(now, profile(), counted());
    let first = sent(&mut client);
    client.handle_input(now, &server.refuse(&first, 401));
    assert_eq!(client.poll_event(), Some(Event::Failed(Error::Malformed)));
}

#[test]
fn an_extra_attribute_may_not_be_one_of_ours() {
    for kind in [0x0006, 0x0008, 0x001c, 0x8028] {
        let extra = vec![(kind, vec![0; 4])];
        let mut client = Client::new(start(), Profile { extra, ..profile() }, counted());
        assert_eq!(
            client.poll_event(),
            Some(Event::Failed(Error::Unwritable)),
            "{kind:#x}"
        );
    }
    let extra = vec![(0xc001, vec![0; MAX_EXTRA])];
    let mut client = Client::new(start(), Profile { extra, ..profile() }, counted());
    assert_eq!(client.poll_event(), Some(Event::Failed(Error::Unwritable)));
}

#[test]
fn another_protocol_fails_the_client() {
    let now = start();
    let mut client = Client::new(now, profile(), counted());
    client.handle_input(now, b"220 ready\r\n");
    assert!(matches!(
        client.poll_event(),
        Some(Event::Failed(Error::Frame(FrameError::NotStun)))
    ));
    assert_eq!(client.poll_transmit(), None);
}

/// A client that has asked for a dial-back to port 2121, and what it sent.
fn asked_back(now: Instant, server: &Server) -> (Client, Bytes) {
    let mut client = allocated(now, server, 600);
    client.dial_back(now, 2121).unwrap();
    let request = sent(&mut client);
    (client, request)
}

fn back(port: u16, result: Dialled) -> DialBack {
    DialBack { port, result }
}

#[test]
fn a_dial_back_is_a_signed_binding_and_its_result_is_told() {
    let (now, server) = (start(), Server::new());
    for result in [
        Dialled::Connected,
        Dialled::Refused,
        Dialled::TimedOut,
        Dialled::Unreachable,
    ] {
        let (mut client, request) = asked_back(now, &server);
        server.heard(&request, BINDING);
        let asked: DialBack = Message::from_bytes(&request).unwrap().attribute().unwrap();
        assert_eq!(asked, back(2121, Dialled::NotYet));
        client.handle_input(now, &server.accept(&request, &[&back(2121, result)]));
        assert_eq!(
            client.poll_event(),
            Some(Event::DialledBack {
                port: 2121,
                dialled: Some(result)
            })
        );
    }
}

#[test]
fn a_server_that_leaves_dial_back_out_does_not_know_it() {
    let (now, server) = (start(), Server::new());
    let (_, request) = asked_back(now, &server);
    let id = server.heard(&request, BINDING);
    let signed = server.accept(&request, &[&XorMappedAddress::new(mapped(), id)]);
    let asked = Message::from_bytes(&request).unwrap();
    let mut unsigned = Message::builder_success(&asked, MessageWriteVec::new());
    unsigned
        .add_attribute(&XorMappedAddress::new(mapped(), id))
        .unwrap();
    for answer in [signed, unsigned.finish()] {
        // The same ids come again: the same request.
        let (mut client, again) = asked_back(now, &server);
        assert_eq!(again, request);
        client.handle_input(now, &answer);
        assert_eq!(
            client.poll_event(),
            Some(Event::DialledBack {
                port: 2121,
                dialled: None
            })
        );
    }
}

#[test]
fn a_dial_back_that_says_nothing_about_the_port_is_none() {
    let (now, server) = (start(), Server::new());
    for answered in [back(2122, Dialled::Connected), back(2121, Dialled::NotYet)] {
        let (mut client, request) = asked_back(now, &server);
        client.handle_input(now, &server.accept(&request, &[&answered]));
        assert_eq!(
            client.poll_event(),
            Some(Event::NotDialledBack(2121, Error::Malformed))
        );
    }
    let (mut client, request) = asked_back(now, &server);
    let forger = Server {
        password: "guess",
        ..Server::new()
    };
    client.handle_input(now, &forger.accept(&request, &[&back(2121, Dialled::Connected)]));
    assert_eq!(
        client.poll_event(),
        Some(Event::NotDialledBack(2121, Error::BadIntegrity))
    );
}

#[test]
fn a_dial_back_that_is_refused_or_passed_over_leaves_the_allocation() {
    let (now, server) = (start(), Server::new());
    let (mut client, request) = asked_back(now, &server);
    client.handle_input(now, &server.refuse(&request, 403));
    assert_eq!(
        client.poll_event(),
        Some(Event::NotDialledBack(2121, refused(403)))
    );

    client.dial_back(now, 2121).unwrap();
    sent(&mut client);
    let later = now + DIAL_BACK;
    assert_eq!(client.poll_timeout(), Some(later));
    client.handle_timeout(later);
    assert_eq!(
        client.poll_event(),
        Some(Event::NotDialledBack(2121, Error::Silent))
    );
    assert_eq!(client.poll_event(), None);
    assert_eq!(client.permit(later, peer().ip()), Ok(()));
}

#[test]
fn a_dial_back_is_asked_again_with_a_fresh_nonce() {
    let (now, mut server) = (start(), Server::new());
    let (mut client, stale) = asked_back(now, &server);
    server.nonce = "nonce-2";
    client.handle_input(now, &server.refuse(&stale, 438));
    let fresh = sent(&mut client);
    server.heard(&fresh, BINDING);
    client.handle_input(now, &server.accept(&fresh, &[&back(2121, Dialled::Refused)]));
    assert!(matches!(
        client.poll_event(),
        Some(Event::DialledBack {
            dialled: Some(Dialled::Refused),
            ..
        })
    ));
}

#[test]
fn dial_backs_are_bounded_and_need_an_allocation_and_a_port() {
    let (now, server) = (start(), Server::new());
    let mut client = Client::new(now, profile(), counted());
    assert_eq!(client.dial_back(now, 21), Err(Error::NoAllocation));
    let mut client = allocated(now, &server, 600);
    assert_eq!(client.dial_back(now, 0), Err(Error::Unwritable));
    for _ in 0..MAX_DIAL_BACKS {
        client.dial_back(now, 21).unwrap();
    }
    assert_eq!(client.dial_back(now, 21), Err(Error::TooMany));
}
