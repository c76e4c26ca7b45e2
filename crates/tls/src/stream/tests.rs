//! Streams: tickets held back, ends told apart.

use std::net::{Shutdown, TcpListener};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::task::spawn_blocking;

use super::*;
use crate::visitor::{As, Host, Visit, Visitor, Way, material, read_to_end};

const VERSIONS: [Way; 2] = [Way::Tickets12, Way::Tickets13];

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index % 251) as u8).collect()
}

async fn pair(way: Way, role: As) -> (Stream, Visit) {
    let material = material();
    let host = Host::with(material.clone()).await;
    let (accepted, visit) = host.meet(&Visitor::new(way, &[&material]), role).await;
    (accepted.stream, visit)
}

#[tokio::test]
async fn an_upload_by_a_client_that_never_reads_arrives_whole() {
    let upload = pattern(1 << 20);
    for way in VERSIONS {
        for role in [As::Data, As::Either] {
            let material = material();
            let host = Host::with(material.clone()).await;
            let visitor = Visitor::new(way, &[&material]);
            for round in 0..100 {
                let (mut accepted, mut visit) = host.meet(&visitor, role).await;
                let sent = upload.clone();
                let client = spawn_blocking(move || {
                    visit.write(&sent).unwrap();
                    visit.close();
                });
                let got = read_to_end(&mut accepted.stream).await;
                assert!(got.unwrap() == upload, "{way:?} {role:?} {round}");
                assert!(accepted.stream.read_closed());
                // It is gone; our goodbye may fall on deaf ears.
                client.await.unwrap();
                accepted.stream.shutdown().await.unwrap();
                assert_eq!(read_to_end(&mut accepted.stream).await.unwrap(), b"");
            }
        }
    }
}

#[tokio::test]
async fn tickets_are_held_back_until_the_goodbye() {
    for (role, tickets) in [(As::Data, 1), (As::Either, 4)] {
        let (mut stream, mut visit) = pair(Way::Tickets13, role).await;
        stream.flush().await.unwrap();
        let visit = spawn_blocking(move || {
            // A key update asks for an answer, which must not drag the tickets along.
            visit.write(b"first").unwrap();
            visit.tls.refresh_traffic_keys().unwrap();
            visit.write(b"second").unwrap();
            visit
        });
        let mut visit = visit.await.unwrap();
        let mut got = [0; 11];
        stream.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"firstsecond");
        visit.tcp.set_nonblocking(true).unwrap();
        assert_eq!(
            visit.tcp.peek(&mut [0]).unwrap_err().kind(),
            io::ErrorKind::WouldBlock,
            "{role:?}"
        );
        visit.tcp.set_nonblocking(false).unwrap();

        visit.close();
        assert_eq!(stream.read(&mut got).await.unwrap(), 0);
        stream.shutdown().await.unwrap();
        let received = spawn_blocking(move || {
            visit.read_to_end().unwrap();
            visit.tls.tls13_tickets_received()
        });
        assert_eq!(received.await.unwrap(), tickets, "{role:?}");
    }
}

#[tokio::test]
async fn tickets_go_out_with_the_first_write() {
    let (mut stream, mut visit) = pair(Way::Tickets13, As::Data).await;
    stream.write_all(b"220 hello").await.unwrap();
    let received = spawn_blocking(move || {
        visit.read(&mut [0; 9]).unwrap();
        visit.tls.tls13_tickets_received()
    });
    assert_eq!(received.await.unwrap(), 1);
}

#[tokio::test]
async fn tickets_can_be_released_without_a_write() {
    let (mut stream, mut visit) = pair(Way::Tickets13, As::Data).await;
    stream.release_tickets();
    let received = spawn_blocking(move || {
        visit.tls.read_tls(&mut visit.tcp).unwrap();
        visit.tls.process_new_packets().unwrap();
        visit.tls.tls13_tickets_received()
    });
    assert_eq!(received.await.unwrap(), 1);
}

#[tokio::test]
async fn a_control_connection_gets_its_tickets_at_once() {
    let (stream, mut visit) = pair(Way::Tickets13, As::Control).await;
    let received = spawn_blocking(move || {
        while visit.tls.tls13_tickets_received() < 4 {
            visit.tls.read_tls(&mut visit.tcp).unwrap();
            visit.tls.process_new_packets().unwrap();
        }
    });
    received.await.unwrap();
    drop(stream);
}

#[tokio::test]
async fn a_download_arrives_whole() {
    let download = pattern(8 << 20);
    for way in VERSIONS {
        let (mut stream, mut visit) = pair(way, As::Data).await;
        let client = spawn_blocking(move || visit.read_to_end().unwrap());
        stream.write_all(&download).await.unwrap();
        stream.shutdown().await.unwrap();
        assert!(client.await.unwrap() == download, "{way:?}");
        let after = stream.write_all(b"more").await.unwrap_err();
        assert_eq!(after.kind(), io::ErrorKind::BrokenPipe);
    }
}

#[tokio::test]
async fn vectored_writes_arrive_in_order() {
    let (mut stream, mut visit) = pair(Way::Tickets13, As::Data).await;
    let client = spawn_blocking(move || visit.read_to_end().unwrap());
    let parts = [IoSlice::new(b"one "), IoSlice::new(b""), IoSlice::new(b"two")];
    assert_eq!(stream.write_vectored(&parts).await.unwrap(), 7);
    stream.shutdown().await.unwrap();
    assert_eq!(client.await.unwrap(), b"one two");
}

#[tokio::test]
async fn both_directions_run_at_once() {
    let data = pattern(4 << 20);
    for way in VERSIONS {
        let (stream, mut visit) = pair(way, As::Data).await;
        let (mut reading, mut writing) = tokio::io::split(stream);
        let sent = data.clone();
        let upload = tokio::spawn(async move {
            let mut got = Vec::new();
            reading.read_to_end(&mut got).await.unwrap();
            got
        });
        let download = tokio::spawn(async move {
            writing.write_all(&sent).await.unwrap();
            writing.shutdown().await.unwrap();
        });
        let sent = data.clone();
        let client = spawn_blocking(move || {
            let mut got = Vec::new();
            for part in sent.chunks(100_000) {
                visit.write(part).unwrap();
                let mut some = vec![0; 100_000];
                let length = visit.read(&mut some).unwrap();
                got.extend_from_slice(&some[..length]);
            }
            visit.close();
            got.extend(visit.read_to_end().unwrap());
            got
        });
        download.await.unwrap();
        assert!(upload.await.unwrap() == data, "{way:?}");
        assert!(client.await.unwrap() == data, "{way:?}");
    }
}

#[tokio::test]
async fn an_end_without_close_notify_is_not_an_end() {
    for way in VERSIONS {
        for length in [0, 1, 100_000] {
            let (mut stream, mut visit) = pair(way, As::Data).await;
            let sent = pattern(length);
            let client = spawn_blocking(move || {
                visit.write(&sent).unwrap();
                visit.tcp.shutdown(Shutdown::Both).unwrap();
            });
            let mut got = Vec::new();
            let error = stream.read_to_end(&mut got).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{way:?} {length}");
            assert!(got == pattern(length), "{way:?} {length}");
            assert!(!stream.read_closed());
            let again = stream.read(&mut [0]).await.unwrap_err();
            assert_eq!(again.kind(), io::ErrorKind::UnexpectedEof);
            client.await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_reset_is_not_an_end() {
    for way in VERSIONS {
        let (mut stream, visit) = pair(way, As::Data).await;
        stream.write_all(b"unread").await.unwrap();
        let client = spawn_blocking(move || {
            // Closed with bytes that it has got and not read: TCP sends RST.
            visit.tcp.peek(&mut [0]).unwrap();
        });
        client.await.unwrap();
        let error = read_to_end(&mut stream).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{way:?}");
        let again = stream.read(&mut [0]).await.unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::UnexpectedEof, "{way:?}");
        stream.shutdown().await.unwrap_err();
    }
}

#[tokio::test]
async fn a_record_cut_in_two_is_not_an_end() {
    for way in VERSIONS {
        let (mut stream, mut visit) = pair(way, As::Data).await;
        let client = spawn_blocking(move || {
            let mut records = Vec::new();
            visit.tls.writer().write_all(&pattern(10_000)).unwrap();
            visit.tls.send_close_notify();
            while visit.tls.wants_write() {
                visit.tls.write_tls(&mut records).unwrap();
            }
            // All but the last byte of close_notify.
            visit.tcp.write_all(&records[..records.len() - 1]).unwrap();
        });
        let mut got = Vec::new();
        let error = stream.read_to_end(&mut got).await.unwrap_err();
        assert_eq!(
            (error.kind(), got.len()),
            (io::ErrorKind::UnexpectedEof, 10_000),
            "{way:?}"
        );
        client.await.unwrap();
    }
}

#[tokio::test]
async fn what_follows_close_notify_is_ignored() {
    for way in VERSIONS {
        let (mut stream, mut visit) = pair(way, As::Data).await;
        let client = spawn_blocking(move || {
            visit.write(b"all").unwrap();
            visit.close();
            visit.tcp.write_all(&[0x17; 100_000]).unwrap();
            visit.tcp.shutdown(Shutdown::Write).unwrap();
        });
        assert_eq!(read_to_end(&mut stream).await.unwrap(), b"all", "{way:?}");
        assert_eq!(read_to_end(&mut stream).await.unwrap(), b"", "{way:?}");
        client.await.unwrap();
    }
}

#[tokio::test]
async fn a_forged_record_is_an_error_with_an_alert() {
    for way in VERSIONS {
        let (mut stream, mut visit) = pair(way, As::Data).await;
        let client = spawn_blocking(move || {
            visit.tcp.write_all(&[0x17, 3, 3, 0, 32]).unwrap();
            visit.tcp.write_all(&[0; 32]).unwrap();
            visit.read(&mut [0]).unwrap_err()
        });
        assert_eq!(
            stream.read(&mut [0]).await.unwrap_err().kind(),
            io::ErrorKind::InvalidData,
            "{way:?}"
        );
        let alert = client.await.unwrap().into_inner().unwrap();
        assert_eq!(
            alert.downcast_ref::<rustls::Error>(),
            Some(&rustls::Error::AlertReceived(
                rustls::AlertDescription::BadRecordMac
            )),
            "{way:?}"
        );
    }
}

#[tokio::test]
async fn plain_text_is_no_handshake() {
    let host = Host::with(material()).await;
    let address = host.listener.local_addr().unwrap();
    let client = spawn_blocking(move || {
        let mut tcp = std::net::TcpStream::connect(address).unwrap();
        tcp.write_all(b"USER anonymous\r\n").unwrap();
        let mut answer = Vec::new();
        io::Read::read_to_end(&mut tcp, &mut answer).unwrap();
        answer
    });
    let error = host.accept(As::Control).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    // A fatal alert (RFC 8446 section 6).
    let answer = client.await.unwrap();
    assert_eq!((answer[0], answer[5]), (21, 2), "{answer:?}");
}

#[tokio::test]
async fn a_client_that_leaves_in_the_handshake_is_an_early_end() {
    let host = Host::with(material()).await;
    let client = std::net::TcpStream::connect(host.listener.local_addr().unwrap()).unwrap();
    drop(client);
    assert_eq!(
        host.accept(As::Data).await.unwrap_err().kind(),
        io::ErrorKind::UnexpectedEof
    );
}

#[tokio::test]
async fn a_handshake_that_is_dropped_closes_the_connection() {
    let host = Host::with(material()).await;
    let mut client = std::net::TcpStream::connect(host.listener.local_addr().unwrap()).unwrap();
    let (tcp, _) = host.listener.accept().await.unwrap();
    let never = tokio::time::timeout(Duration::ZERO, host.tls.accept_data(tcp)).await;
    assert!(never.is_err());
    assert_eq!(io::Read::read(&mut client, &mut [0]).unwrap(), 0);
}

/// The bytes of both sides, one at a time: no boundary may matter.
#[tokio::test]
async fn bytes_may_come_one_by_one() {
    for way in VERSIONS {
        let material = material();
        let host = Host::with(material.clone()).await;
        let address = host.listener.local_addr().unwrap();
        let middle = TcpListener::bind("127.0.0.1:0").unwrap();
        let middle_address = middle.local_addr().unwrap();
        let relay = spawn_blocking(move || {
            let (client, _) = middle.accept().unwrap();
            let server = std::net::TcpStream::connect(address).unwrap();
            let back = std::thread::spawn({
                let (from, to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                move || dribble(from, to)
            });
            dribble(client, server);
            back.join().unwrap();
        });
        let visitor = Visitor::new(way, &[&material]);
        let client = spawn_blocking(move || {
            let mut visit = visitor
                .connect(std::net::TcpStream::connect(middle_address).unwrap())
                .unwrap();
            visit.write(&pattern(2000)).unwrap();
            visit.close();
            visit.read_to_end().unwrap()
        });
        let mut accepted = host.accept(As::Data).await.unwrap();
        assert!(
            read_to_end(&mut accepted.stream).await.unwrap() == pattern(2000),
            "{way:?}"
        );
        accepted.stream.write_all(b"226").await.unwrap();
        accepted.stream.shutdown().await.unwrap();
        assert_eq!(client.await.unwrap(), b"226", "{way:?}");
        drop(accepted);
        relay.await.unwrap();
    }
}

fn dribble(mut from: std::net::TcpStream, mut to: std::net::TcpStream) {
    to.set_nodelay(true).unwrap();
    let mut byte = [0];
    while let Ok(1) = io::Read::read(&mut from, &mut byte) {
        if to.write_all(&byte).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

#[tokio::test]
async fn the_log_can_name_version_and_suite() {
    let (stream, _visit) = pair(Way::Tickets13, As::Data).await;
    assert_eq!(stream.protocol(), "TLSv1.3");
    assert!(stream.cipher().starts_with("TLS13_"), "{}", stream.cipher());
    let (stream, _visit) = pair(Way::Tickets12, As::Data).await;
    assert_eq!(stream.protocol(), "TLSv1.2");
    assert!(stream.cipher().starts_with("TLS_ECDHE_"), "{}", stream.cipher());
}
