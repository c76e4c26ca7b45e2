//! Streams are carried as they are: all bytes, early ones too, and the end that they had.

use std::io::ErrorKind;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::client::{HERE, Random, bytes, config, drain, incoming, start};

/// Writes all and says that it was all, while it reads all in small bites.
async fn exchange(stream: TcpStream, out: Vec<u8>, bite: usize) -> Vec<u8> {
    let (mut reads, mut writes) = stream.into_split();
    let writing = tokio::spawn(async move {
        writes.write_all(&out).await.unwrap();
        writes.shutdown().await.unwrap();
        writes
    });
    let mut all = Vec::new();
    let mut buffer = vec![0; bite];
    loop {
        match reads.read(&mut buffer).await.unwrap() {
            0 => break,
            length => all.extend(&buffer[..length]),
        }
        tokio::task::yield_now().await;
    }
    writing.await.unwrap();
    all
}

#[tokio::test]
async fn bytes_go_both_ways_at_once_to_slow_readers() {
    let relay = start(config());
    for (seed, length, bite) in [(1, 64 * 1024, 700), (2, 1 << 20, 1500), (3, 16 << 20, 9000)] {
        let (_control, client, peer) = incoming(&relay).await;
        let (there, back) = (bytes(seed, length), bytes(seed + 100, length + 13));
        let (got_by_client, got_by_peer) = tokio::join!(
            exchange(client, there.clone(), bite),
            exchange(peer, back.clone(), bite)
        );
        assert!(got_by_client == back, "{length}");
        assert!(got_by_peer == there, "{length}");
    }
    relay.until(|metrics| metrics.streams.value(), 0).await;
    assert_eq!(relay.metrics.streams_reset_total.value(), 0);
    assert_eq!(relay.metrics.waiting.value(), 0);
}

#[tokio::test]
async fn what_a_peer_sends_before_the_bind_waits_for_it_even_when_the_peer_has_finished() {
    let relay = start(config());
    let mut control = relay.client("anna").await;
    let relayed = control.allocate(&[]).await.success().relayed();
    control.permit(HERE).await;
    let sent = bytes(7, 100_000);
    let mut peer = TcpStream::connect(relayed).await.unwrap();
    peer.write_all(&sent).await.unwrap();
    peer.shutdown().await.unwrap();
    let attempt = control.attempt().await;
    let mut client = relay.bind("anna", attempt.id()).await;
    let (got, end) = drain(&mut client).await;
    assert!(got == sent && end == Ok(()));
    // The other half is still open.
    client.write_all(b"thanks").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(drain(&mut peer).await, (b"thanks".to_vec(), Ok(())));
    relay.until(|metrics| metrics.streams.value(), 0).await;
    assert_eq!(relay.metrics.streams_reset_total.value(), 0);
}

#[tokio::test]
async fn a_connection_made_by_connect_comes_from_the_relayed_address() {
    let relay = start(config());
    let listener = TcpListener::bind((HERE, 0)).await.unwrap();
    let mut control = relay.client("anna").await;
    let relayed = control.allocate(&[]).await.success().relayed();
    for _ in 0..2 {
        let other = TcpListener::bind((HERE, 0)).await.unwrap();
        control.connect(other.local_addr().unwrap()).await.success();
    }
    let answer = control.connect(listener.local_addr().unwrap()).await.success();
    let (peer, from) = listener.accept().await.unwrap();
    assert_eq!(from, relayed);
    let client = relay.bind("anna", answer.id()).await;
    let (there, back) = (bytes(8, 300_000), bytes(9, 200_000));
    let (got_by_client, got_by_peer) = tokio::join!(
        exchange(client, there.clone(), 5000),
        exchange(peer, back.clone(), 5000)
    );
    assert!(got_by_client == back && got_by_peer == there);
    // The relayed address still listens, for others only by permission.
    control.permit(HERE).await;
    let _peer = TcpStream::connect(relayed).await.unwrap();
    control.attempt().await;
}

/// A client's end with a small window, so that what the relay has passed on is still in the relay's kernel.
async fn slow_client(relay: &crate::client::Running, id: u32) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let stream = socket.connect(relay.address).await.unwrap();
    let mut client = crate::client::Client::new(stream, "anna");
    let wanted = turn_types::attribute::ConnectionId::new(id);
    client
        .request(turn_types::message::CONNECTION_BIND, &[&wanted])
        .await
        .success();
    client.stream
}

#[tokio::test]
async fn a_reset_comes_after_all_bytes_and_never_as_an_end() {
    let relay = start(config());
    let mut control = relay.client("anna").await;
    let relayed = control.allocate(&[]).await.success().relayed();
    control.permit(HERE).await;
    let mut random = Random::new(42);
    let mut carried = 0;
    for round in 0..12 {
        let sent = bytes(round, random.below(150_000));
        let mut peer = TcpStream::connect(relayed).await.unwrap();
        let attempt = control.attempt().await;
        let mut client = slow_client(&relay, attempt.id()).await;
        peer.write_all(&sent).await.unwrap();
        carried += sent.len() as u64;
        // The relay has read it all; only now the reset, which would otherwise destroy it in the peer's own kernel.
        relay
            .until(|metrics| metrics.bytes_to_clients_total.value(), carried)
            .await;
        peer.set_zero_linger().unwrap();
        drop(peer);
        let (got, end) = drain(&mut client).await;
        assert_eq!((got.len(), end), (sent.len(), Err(ErrorKind::ConnectionReset)));
        assert!(got == sent);
    }
    relay.until(|metrics| metrics.streams.value(), 0).await;
    assert_eq!(relay.metrics.streams_reset_total.value(), 12);
}

#[tokio::test]
async fn a_client_that_resets_resets_its_peer_after_all_bytes() {
    let relay = start(config());
    let mut random = Random::new(43);
    let mut carried = 0;
    for round in 0..6 {
        let (_control, mut client, mut peer) = incoming(&relay).await;
        let sent = bytes(round, random.below(150_000));
        client.write_all(&sent).await.unwrap();
        carried += sent.len() as u64;
        relay
            .until(|metrics| metrics.bytes_to_peers_total.value(), carried)
            .await;
        client.set_zero_linger().unwrap();
        drop(client);
        let (got, end) = drain(&mut peer).await;
        assert_eq!((got.len(), end), (sent.len(), Err(ErrorKind::ConnectionReset)));
        assert!(got == sent);
    }
}

#[tokio::test]
async fn a_reset_in_the_middle_of_writing_is_a_reset_on_the_other_side_at_whatever_point() {
    let relay = start(config());
    let mut random = Random::new(44);
    for round in 0..20 {
        let (_control, client, peer) = incoming(&relay).await;
        let (mut sender, mut receiver) = if round % 2 == 0 {
            (client, peer)
        } else {
            (peer, client)
        };
        let whole = bytes(round, 2 << 20);
        let upto = random.below(whole.len());
        let expected = whole.clone();
        let reading = tokio::spawn(async move { drain(&mut receiver).await });
        sender.write_all(&whole[..upto]).await.unwrap();
        sender.set_zero_linger().unwrap();
        drop(sender);
        let (got, end) = reading.await.unwrap();
        assert_eq!(end, Err(ErrorKind::ConnectionReset), "round {round}");
        assert!(got.len() <= upto && got == expected[..got.len()], "round {round}");
    }
}

#[tokio::test]
async fn a_reader_that_goes_away_is_a_reset_for_the_writer() {
    let relay = start(config());
    for round in 0..4 {
        let (_control, client, peer) = incoming(&relay).await;
        let (mut writer, reader) = if round % 2 == 0 {
            (client, peer)
        } else {
            (peer, client)
        };
        // Half of them have said before that they send nothing more.
        let mut reader = reader;
        if round < 2 {
            reader.shutdown().await.unwrap();
            assert_eq!(writer.read(&mut [0; 1]).await.unwrap(), 0);
        }
        reader.set_zero_linger().unwrap();
        drop(reader);
        let chunk = vec![0; 64 * 1024];
        let error = loop {
            if let Err(error) = writer.write_all(&chunk).await {
                break error.kind();
            }
        };
        assert!(matches!(
            error,
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
        ));
    }
    relay.until(|metrics| metrics.streams.value(), 0).await;
}

#[tokio::test]
async fn urgent_bytes_stay_in_their_place() {
    let relay = start(config());
    for early in [false, true] {
        let (_control, client, peer) = incoming(&relay).await;
        let (mut from, mut to) = if early { (peer, client) } else { (client, peer) };
        from.write_all(b"ab").await.unwrap();
        socket2::SockRef::from(&from).send_out_of_band(b"!").unwrap();
        if early {
            from.write_all(b"cd").await.unwrap();
        }
        from.shutdown().await.unwrap();
        let expected: &[u8] = if early { b"ab!cd" } else { b"ab!" };
        assert_eq!(drain(&mut to).await, (expected.to_vec(), Ok(())));
    }
}

#[tokio::test]
async fn a_peer_that_nobody_fetches_is_reset_in_time() {
    let mut config = config();
    config.bind_deadline = Duration::from_millis(100);
    let relay = start(config);
    let mut control = relay.client("anna").await;
    let relayed = control.allocate(&[]).await.success().relayed();
    control.permit(HERE).await;
    let mut peer = TcpStream::connect(relayed).await.unwrap();
    let attempt = control.attempt().await;
    assert_eq!(drain(&mut peer).await.1, Err(ErrorKind::ConnectionReset));
    let wanted = turn_types::attribute::ConnectionId::new(attempt.id());
    let mut late = relay.client("anna").await;
    let answer = late
        .request(turn_types::message::CONNECTION_BIND, &[&wanted])
        .await;
    assert_eq!(answer.code(), 400);
    assert_eq!(relay.metrics.unbound_total.value(), 1);
}

#[tokio::test]
async fn peers_that_find_no_room_to_wait_are_served_when_there_is() {
    let mut config = config();
    config.accounts[0].limits.waiting = 1;
    let relay = start(config);
    let mut control = relay.client("anna").await;
    let relayed = control.allocate(&[]).await.success().relayed();
    control.permit(HERE).await;
    let mut peers = Vec::new();
    for _ in 0..3 {
        let mut peer = TcpStream::connect(relayed).await.unwrap();
        peer.write_all(b"hello").await.unwrap();
        peers.push(peer);
    }
    for peer in &mut peers {
        let attempt = control.attempt().await;
        assert_eq!(relay.metrics.waiting.value(), 1);
        let mut client = relay.bind("anna", attempt.id()).await;
        let mut word = [0; 5];
        client.read_exact(&mut word).await.unwrap();
        client.write_all(b"bye").await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(attempt.peer(), peer.local_addr().unwrap());
        assert_eq!(drain(peer).await, (b"bye".to_vec(), Ok(())));
    }
}

#[tokio::test]
async fn a_stream_outlives_its_control_connection_but_not_the_relay() {
    let relay = start(config());
    let (control, mut client, mut peer) = incoming(&relay).await;
    drop(control);
    relay.until(|metrics| metrics.allocations.value(), 0).await;
    client.write_all(b"still").await.unwrap();
    let mut word = [0; 5];
    peer.read_exact(&mut word).await.unwrap();
    assert_eq!(&word, b"still");
    relay.stop().await;
    assert_eq!(drain(&mut peer).await.1, Err(ErrorKind::ConnectionReset));
    assert_eq!(drain(&mut client).await.1, Err(ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn a_bound_on_bytes_a_second_is_kept() {
    let mut config = config();
    config.accounts[0].limits.bytes_per_second = Some(1 << 20);
    let relay = start(config);
    let (_control, client, peer) = incoming(&relay).await;
    let sent = bytes(1, 1 << 20);
    let begun = std::time::Instant::now();
    let (_, got) = tokio::join!(
        exchange(client, sent.clone(), 9000),
        exchange(peer, Vec::new(), 9000)
    );
    assert!(got == sent);
    // A MiB at a MiB a second, less the burst and what was already under way at the last look.
    assert!(begun.elapsed() > Duration::from_millis(700));
}
