//! PCP with routers that grant, refuse, lie and are silent.

use super::super::Mapping;
use super::super::tests::{Fake, asked, waiting};
use super::*;

const PUBLIC: &str = "11.9.0.20";

/// The response to a request: the same with the response bit, this code and lifetime, and an outside address.
fn response(request: &[u8], code: u8, lifetime: u32, outside: &str, port: u16) -> Vec<u8> {
    let mut message = request.to_vec();
    message[1] |= RESPONSE;
    message[3] = code;
    message[4..8].copy_from_slice(&lifetime.to_be_bytes());
    message[8..24].fill(0);
    message[42..44].copy_from_slice(&port.to_be_bytes());
    message[44..60].copy_from_slice(&wide(outside.parse().unwrap()));
    message
}

fn lifetime(request: &[u8]) -> u32 {
    u32::from_be_bytes(request[4..8].try_into().unwrap())
}

fn suggested(request: &[u8]) -> u16 {
    u16::from_be_bytes(request[42..44].try_into().unwrap())
}

#[tokio::test]
async fn a_mapping_is_granted_renewed_and_taken_back_with_one_nonce() {
    let router = Fake::answering("127.0.0.1", |request| {
        vec![response(request, 0, lifetime(request), PUBLIC, 40_000)]
    })
    .await;
    let asked = asked("127.0.0.1");
    let granted = map(&asked, router.address, None).await.unwrap();
    let mut mapping = Mapping::new(asked, granted);
    assert_eq!(mapping.outside(), "11.9.0.20:40000".parse().unwrap());
    assert_eq!(mapping.lifetime().unwrap().as_secs(), 7200);
    mapping.renew().await.unwrap();
    mapping.remove().await.unwrap();
    let heard = router.heard();
    let [first, renewal, removal] = &heard[..] else {
        panic!("{heard:?}");
    };
    assert_eq!(&first[..2], [2, 1]);
    assert_eq!(first[8..24], wide("127.0.0.1".parse().unwrap()));
    assert_eq!((first[36], suggested(first)), (6, 2121));
    assert!(first[24..36] == renewal[24..36] && first[24..36] == removal[24..36]);
    assert_ne!(first[24..36], [0; 12]);
    // The renewal asks for what there is, the removal for nothing.
    assert_eq!((lifetime(renewal), suggested(renewal)), (7200, 40_000));
    assert_eq!(renewal[44..60], wide(PUBLIC.parse().unwrap()));
    assert_eq!((lifetime(removal), suggested(removal)), (0, 0));
    assert_eq!(removal[44..60], wide(Ipv4Addr::UNSPECIFIED.into()));
}

#[tokio::test]
async fn behind_an_inner_router_the_outer_one_is_told_the_inner_ones_address() {
    let router = Fake::answering("127.0.0.1", |request| vec![response(request, 0, 60, PUBLIC, 1)]).await;
    let mut asked = asked("127.0.0.1");
    asked.seen_as = Some("192.168.0.2".parse().unwrap());
    map(&asked, router.address, None).await.unwrap();
    assert_eq!(router.heard()[0][8..24], wide("192.168.0.2".parse().unwrap()));
}

#[tokio::test]
async fn refusals_are_what_the_router_says() {
    for (code, refusal) in [
        (1, Refusal::VersionMismatch),
        (2, Refusal::NotAuthorized),
        (3, Refusal::Code(3)),
        (4, Refusal::Unsupported),
        (7, Refusal::NetworkFailure),
        (8, Refusal::NoResources),
        (10, Refusal::UserExceededQuota),
        (11, Refusal::CannotProvideExternal),
        (12, Refusal::AddressMismatch),
        (13, Refusal::Code(13)),
        (255, Refusal::Code(255)),
    ] {
        // Whole, or the header alone.
        for length in [MESSAGE, HEADER] {
            let router = Fake::answering("127.0.0.1", move |request| {
                vec![response(request, code, 30, "0.0.0.0", 0)[..length].to_vec()]
            })
            .await;
            let refused = map(&asked("127.0.0.1"), router.address, None).await;
            assert_eq!(refused, Err(refusal.clone()), "{code} in {length}");
        }
    }
    let nat_pmp = Fake::answering("127.0.0.1", |_| vec![vec![0, 0x81, 0, 1, 0, 0, 0, 9]]).await;
    let refused = map(&asked("127.0.0.1"), nat_pmp.address, None).await;
    assert_eq!(refused, Err(Refusal::VersionMismatch));
}

#[tokio::test(start_paused = true)]
async fn a_silent_router_is_asked_three_times_and_once_for_a_low_port() {
    let router = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for (port, sent) in [(2121, 3), (21, 1)] {
        let mut asked = asked("127.0.0.1");
        asked.inside.set_port(port);
        let start = Instant::now();
        let refused = map(&asked, router.local_addr().unwrap(), None).await;
        assert_eq!(
            (refused, waiting(&router)),
            (Err(Refusal::NoAnswer), sent),
            "port {port}"
        );
        assert!(start.elapsed() <= exchange::PATIENCE, "{:?}", start.elapsed());
    }
}

#[tokio::test]
async fn where_nobody_listens_the_refusal_is_immediate() {
    let nobody = {
        // An address that no other test uses.
        let socket = std::net::UdpSocket::bind("127.0.0.77:0").unwrap();
        socket.local_addr().unwrap()
    };
    let refused = map(&asked("127.0.0.1"), nobody, None).await;
    assert_eq!(refused, Err(Refusal::PortUnreachable));
}

#[tokio::test]
async fn answers_to_somebody_elses_question_are_passed_over() {
    let router = Fake::answering("127.0.0.1", |request| {
        let right = response(request, 0, 7200, PUBLIC, 2);
        let other = response(request, 0, 7200, PUBLIC, 1);
        let mut wrong: Vec<_> = [0, 1, 24, 36, 40].map(|at| (at, other.clone())).into();
        for (at, message) in &mut wrong {
            match at {
                // A request that comes back, and an answer without its end.
                0 => message.truncate(30),
                1 => message[1] = MAP,
                at => message[*at] ^= 1,
            }
        }
        let mut sent: Vec<_> = wrong.into_iter().map(|(_, message)| message).collect();
        sent.extend([vec![], vec![2], right]);
        sent
    })
    .await;
    let granted = map(&asked("127.0.0.1"), router.address, None).await.unwrap();
    assert_eq!(granted.outside, "11.9.0.20:2".parse().unwrap());
}

#[tokio::test]
async fn an_answer_from_another_address_is_not_heard() {
    let stranger = std::net::UdpSocket::bind("127.0.0.2:0").unwrap();
    let router = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = router.local_addr().unwrap();
    let answers = tokio::spawn(async move {
        let mut request = [0; MESSAGE];
        let (_, peer) = router.recv_from(&mut request).await.unwrap();
        stranger
            .send_to(&response(&request, 0, 7200, PUBLIC, 1), peer)
            .unwrap();
        router
            .send_to(&response(&request, 0, 7200, PUBLIC, 2), peer)
            .await
            .unwrap();
    });
    let granted = map(&asked("127.0.0.1"), address, None).await.unwrap();
    answers.await.unwrap();
    assert_eq!(granted.outside.port(), 2);
}

#[tokio::test]
async fn a_mapping_that_leads_nowhere_is_taken_back_and_refused() {
    for (outside, port, lifetime, refusal) in [
        ("0.0.0.0", 2121, 7200, Refusal::CannotProvideExternal),
        (
            PUBLIC,
            0,
            7200,
            Refusal::Malformed("a mapping without a port or a lifetime"),
        ),
        (
            PUBLIC,
            2121,
            0,
            Refusal::Malformed("a mapping without a port or a lifetime"),
        ),
    ] {
        let router = Fake::answering("127.0.0.1", move |request| {
            vec![response(request, 0, lifetime, outside, port)]
        })
        .await;
        let refused = map(&asked("127.0.0.1"), router.address, None).await;
        assert_eq!(refused, Err(refusal));
        assert_eq!(
            router
                .heard()
                .iter()
                .map(|request| super::tests::lifetime(request))
                .collect::<Vec<_>>(),
            [7200, 0]
        );
    }
}

#[tokio::test]
async fn a_pinhole_is_to_our_own_address_and_port() {
    let router = Fake::answering("::1", |request| {
        vec![response(request, 0, lifetime(request), "::1", 2121)]
    })
    .await;
    let mut wish = asked("::1");
    wish.outside = 9999;
    let granted = map(&wish, router.address, None).await.unwrap();
    assert_eq!(granted.outside, wish.inside);
    assert_eq!(suggested(&router.heard()[0]), 2121);
    let translating = Fake::answering("::1", |request| {
        vec![response(request, 0, lifetime(request), "2a11:9::5", 2121)]
    })
    .await;
    let refused = map(&wish, translating.address, None).await;
    assert_eq!(
        refused,
        Err(Refusal::OtherOutside("[2a11:9::5]:2121".parse().unwrap()))
    );
    assert_eq!(lifetime(&translating.heard()[1]), 0);
}

#[tokio::test]
async fn a_pinhole_that_is_not_taken_back_is_shortened() {
    for (shortest, expected) in [(20, Ok(())), (7200, Err(Refusal::NotAuthorized))] {
        let router = Fake::answering("::1", move |request| {
            vec![match lifetime(request) {
                0 => response(request, 2, 0, "::", 0),
                seconds => response(request, 0, seconds.max(shortest), "::1", 2121),
            }]
        })
        .await;
        let asked = asked("::1");
        let granted = map(&asked, router.address, None).await.unwrap();
        assert_eq!(Mapping::new(asked, granted).remove().await, expected);
        let asked_for: Vec<_> = router.heard().iter().map(|request| lifetime(request)).collect();
        assert_eq!(asked_for, [7200, 0, 1]);
    }
}

#[tokio::test]
async fn nothing_is_asked_for_an_address_that_is_not_ours() {
    let asked = asked("192.0.2.1");
    let refused = map(&asked, "127.0.0.1:9".parse().unwrap(), None).await;
    assert_eq!(refused, Err(Refusal::NotOurs("192.0.2.1".parse().unwrap())));
}

proptest::proptest! {
    #[test]
    fn no_datagram_is_too_strange(bytes: Vec<u8>, at in 0..MESSAGE, byte: u8, length in 0..=MESSAGE) {
        let request = request("192.168.1.10:2121".parse().unwrap(), "0.0.0.0:0".parse().unwrap(), Nonce([7; 12]), 1);
        let _ = answer(&bytes, &request);
        // Nearly an answer.
        let mut message = response(&request, 0, 7200, PUBLIC, 2121);
        message[at] = byte;
        let _ = answer(&message[..length], &request);
    }
}
