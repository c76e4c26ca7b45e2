//! NAT-PMP with routers that grant, refuse and lie.

use super::super::Mapping;
use super::super::tests::{Fake, asked, waiting};
use super::*;

/// Answers both questions: this address, this port.
fn granting(request: &[u8], address: [u8; 4], port: u16) -> Vec<u8> {
    let mut message = vec![0, request[1] | RESPONSE, 0, 0, 0, 0, 0, 9];
    if request[1] == EXTERNAL_ADDRESS {
        message.extend(address);
    } else {
        message.extend(&request[4..6]);
        message.extend(port.to_be_bytes());
        message.extend(&request[8..12]);
    }
    message
}

#[tokio::test]
async fn a_mapping_is_granted_renewed_and_taken_back() {
    let router = Fake::answering("127.0.0.1", |request| {
        vec![granting(request, [11, 9, 0, 20], 40_000)]
    })
    .await;
    let asked = asked("127.0.0.1");
    let granted = map(&asked, router.address).await.unwrap();
    let mut mapping = Mapping::new(asked, granted);
    assert_eq!(mapping.outside(), "11.9.0.20:40000".parse().unwrap());
    mapping.renew().await.unwrap();
    mapping.remove().await.unwrap();
    let asks_address = vec![0, 0];
    let maps = |outside, seconds| super::request(2121, outside, seconds).to_vec();
    let expected = [
        asks_address.clone(),
        maps(2121, 7200),
        asks_address,
        maps(40_000, 7200),
        maps(0, 0),
    ];
    assert_eq!(router.heard(), expected);
    assert_eq!(
        expected[1],
        [0, 2, 0, 0, 0x08, 0x49, 0x08, 0x49, 0, 0, 0x1c, 0x20]
    );
}

#[tokio::test]
async fn refusals_are_what_the_router_says() {
    for (code, refusal) in [
        (1, Refusal::VersionMismatch),
        (2, Refusal::NotAuthorized),
        (3, Refusal::NetworkFailure),
        (4, Refusal::NoResources),
        (5, Refusal::Unsupported),
        (77, Refusal::Code(77)),
    ] {
        let router = Fake::answering("127.0.0.1", move |request| {
            vec![vec![0, request[1] | RESPONSE, 0, code, 0, 0, 0, 9]]
        })
        .await;
        assert_eq!(map(&asked("127.0.0.1"), router.address).await, Err(refusal));
    }
    let pcp = Fake::answering("127.0.0.1", |_| vec![vec![2, 0x80, 0, 1]]).await;
    assert_eq!(
        map(&asked("127.0.0.1"), pcp.address).await,
        Err(Refusal::VersionMismatch)
    );
}

#[tokio::test]
async fn a_router_without_an_address_is_not_asked_for_a_mapping() {
    let router = Fake::answering("127.0.0.1", |request| vec![granting(request, [0; 4], 1)]).await;
    let refused = map(&asked("127.0.0.1"), router.address).await;
    assert_eq!((refused, router.heard().len()), (Err(Refusal::NetworkFailure), 1));
}

#[tokio::test]
async fn what_is_no_answer_is_passed_over() {
    let router = Fake::answering("127.0.0.1", |request| {
        let right = granting(request, [11, 9, 0, 20], 7);
        let mut other_port = granting(request, [11, 9, 0, 66], 8);
        // Another inside port, or an answer without its end.
        match request[1] {
            EXTERNAL_ADDRESS => other_port.truncate(10),
            _ => other_port[8] ^= 1,
        }
        vec![
            vec![],
            vec![0],
            vec![0, 0x83, 0, 0],
            request.to_vec(),
            other_port,
            right,
        ]
    })
    .await;
    let granted = map(&asked("127.0.0.1"), router.address).await.unwrap();
    assert_eq!(granted.outside, "11.9.0.20:7".parse().unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_silent_router_is_asked_three_times() {
    let router = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let start = Instant::now();
    let refused = map(&asked("127.0.0.1"), router.local_addr().unwrap()).await;
    assert_eq!((refused, waiting(&router)), (Err(Refusal::NoAnswer), 3));
    assert!(start.elapsed() <= exchange::PATIENCE);
}

#[tokio::test]
async fn there_are_no_mappings_for_ipv6() {
    let refused = map(&asked("::1"), "[::1]:9".parse().unwrap()).await;
    assert_eq!(refused, Err(Refusal::Unsupported));
}

proptest::proptest! {
    #[test]
    fn no_datagram_is_too_strange(bytes: Vec<u8>, at in 0..16_usize, byte: u8, length in 0..=16_usize) {
        let _ = (external_address(&bytes), mapped(&bytes, 2121));
        // Nearly an answer.
        let mut message = granting(&super::request(2121, 1, 2), [11, 9, 0, 20], 7);
        message[at] = byte;
        let _ = (external_address(&message[..length]), mapped(&message[..length], 2121));
    }
}
