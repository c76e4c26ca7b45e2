//! What holds for every decoder: nothing from the network makes it panic or grow; and a moment for virtual time.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use crate::frame::{Frames, MAX_MESSAGE};
use crate::stun::behaviour::Discovery;
use crate::stun::{Binding, ChangeRequest};
use crate::transaction::{Schedule, TransactionId};
use crate::turn;

pub(crate) fn start() -> Instant {
    #[allow(clippy::disallowed_methods, reason = "a test needs some moment to begin at")]
    Instant::now()
}

/// Ids that a test can foresee: 1, 2, 3, …
pub(crate) fn counted() -> Box<dyn crate::transaction::TransactionIds> {
    let mut last = 0_u128;
    Box::new(move || {
        last += 1;
        TransactionId::from(last)
    })
}

/// A message with the right cookie, an id that is waited for, and anything behind that.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let kinds = prop_oneof![
        Just(0x0101_u16),
        Just(0x0111),
        Just(0x0103),
        Just(0x0113),
        Just(0x001c),
        Just(0x010b)
    ];
    let attribute = (
        prop_oneof![0_u16..0x30, 0x8000_u16..0x8030],
        prop::collection::vec(any::<u8>(), 0..40),
    );
    (
        kinds,
        1_u8..4,
        prop::collection::vec((attribute, -2_i32..3), 0..6),
    )
        .prop_map(|(kind, id, attributes)| {
            let mut body = Vec::new();
            for ((kind, value), lie) in attributes {
                body.extend(kind.to_be_bytes());
                let length = i32::try_from(value.len()).unwrap_or(0) + if lie.abs() == 2 { lie } else { 0 };
                body.extend(u16::try_from(length.max(0)).unwrap_or(0).to_be_bytes());
                body.extend(&value);
                body.resize(body.len().next_multiple_of(4), 0);
            }
            let mut message = Vec::new();
            message.extend(kind.to_be_bytes());
            message.extend(u16::try_from(body.len()).unwrap_or(0).to_be_bytes());
            message.extend([0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, id]);
            message.extend(body);
            message
        })
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        prop::collection::vec(message(), 1..5).prop_map(|messages| messages.concat()),
    ]
}

proptest! {
    #[test]
    fn a_stream_of_anything_is_decoded_within_bounds(stream in stream(), cut in 1_usize..64) {
        let mut frames = Frames::default();
        'all: for mut chunk in stream.chunks(cut) {
            loop {
                match frames.decode(&mut chunk) {
                    Ok(Some(message)) => prop_assert!(message.len() <= MAX_MESSAGE),
                    Ok(None) => break,
                    Err(_) => break 'all,
                }
            }
            prop_assert!(chunk.is_empty());
            prop_assert!(frames.wanted().is_ok_and(|wanted| wanted > 0 && wanted <= MAX_MESSAGE));
        }
    }

    #[test]
    fn a_binding_survives_anything(datagram in stream()) {
        let now = start();
        let mut binding = Binding::new(now, 1.into(), &Schedule::default(), ChangeRequest::default());
        binding.handle_message(&datagram);
        let server = "192.0.2.1:3478".parse().unwrap();
        let mut discovery = Discovery::new(now, server, Schedule::default(), counted());
        discovery.handle_datagram(now, server, &datagram);
    }

    #[test]
    fn a_turn_client_survives_anything(stream in stream()) {
        let now = start();
        let profile = turn::Profile {
            credentials: crate::Credentials { username: "anna".into(), password: "secret".into() },
            patience: Duration::from_secs(5),
            lifetime: Duration::from_secs(600),
            extra: Vec::new(),
        };
        let mut client = turn::Client::new(now, profile, counted());
        client.handle_input(now, &stream);
        while client.poll_transmit().is_some() {}
        while client.poll_event().is_some() {}
        let mut bind = client.bind(now, 9, counted());
        bind.handle_input(now, &mut &stream[..]);
    }
}
