//! Deadlines, limits, and what clients send that no client should.

use super::*;

/// More than fits all buffers on the way.
const MANY: u32 = 1000;

#[tokio::test]
async fn a_client_may_ask_for_everything_before_it_reads_anything() {
    let storage = Memory::new();
    let file = storage.open(&at("f"), Open::Replace).await.unwrap();
    let content: Vec<u8> = (0..MANY * 1024).map(|at| (at / 7) as u8).collect();
    file.write_at(0, content.clone().into()).await.unwrap();
    file.publish().await.unwrap();
    // Room for the requests of all, and by far not for the answers.
    let mut client = Client::connect(Arc::new(storage), everything(), 64 * 1024);
    client.hello().await;
    let handle = client.open("f", OpenFlags::READ).await.unwrap();
    for number in 0..MANY {
        let read = Request::Read {
            handle: handle.clone(),
            offset: u64::from(number) * 1024,
            length: 1024,
        };
        client.send(read).await;
    }
    let mut all = Vec::new();
    for _ in 0..MANY {
        match client.receive().await.1 {
            Response::Data(data) => all.extend_from_slice(&data),
            other => panic!("{other:?}"),
        }
    }
    assert!(all == content);
}

#[tokio::test]
async fn reading_ends_at_the_end() {
    let storage = Memory::new();
    stands(&storage, "f", b"0123456789").await;
    let mut client = Client::over(&storage, everything()).await;
    let handle = client.open("f", OpenFlags::READ).await.unwrap();
    assert_eq!(client.read(&handle, 8, u32::MAX).await.unwrap(), "89");
    for offset in [10, 11, u64::MAX] {
        assert_eq!(client.read(&handle, offset, 10).await, Err(StatusCode::Eof));
    }
    let stranger = Bytes::from_static(b"12345678");
    for handle in [stranger, Bytes::new(), Bytes::from_static(b"no handle")] {
        assert_eq!(client.read(&handle, 0, 1).await, Err(StatusCode::Failure));
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_no_answer_is_left() {
    let storage = Memory::new();
    static CONTENT: [u8; 100_000] = [7; 100_000];
    stands(&storage, "f", &CONTENT).await;
    let mut client = Client::connect(Arc::new(storage), everything(), 4096);
    client.hello().await;
    let handle = client.open("f", OpenFlags::READ).await.unwrap();
    let began = tokio::time::Instant::now();
    let read = Request::Read {
        handle,
        offset: 0,
        length: 100_000,
    };
    client.send(read).await;
    let ended = (&mut client.server).await.unwrap();
    assert!(matches!(ended, Err(Error::Stalled)), "{ended:?}");
    assert_eq!(began.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn a_session_without_a_request_is_left_later_when_a_file_is_open() {
    for (opens, after) in [(false, 300), (true, 3600)] {
        let storage = Memory::new();
        stands(&storage, "f", b"content").await;
        let mut client = Client::over(&storage, everything()).await;
        if opens {
            client.open("f", OpenFlags::READ).await.unwrap();
        }
        let began = tokio::time::Instant::now();
        let ended = (&mut client.server).await.unwrap();
        assert!(matches!(ended, Err(Error::Idle)), "{ended:?}");
        assert_eq!(began.elapsed().as_secs(), after);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_says_hello_is_left() {
    let client = Client::connect(Arc::new(Memory::new()), everything(), 4096);
    let ended = client.server.await.unwrap();
    assert!(matches!(ended, Err(Error::Idle)), "{ended:?}");
}

#[tokio::test]
async fn a_server_that_stops_lets_open_files_be_finished_and_begins_nothing() {
    let storage = Memory::new();
    let mut client = Client::over(&storage, everything()).await;
    let handle = client.open("f", CREATE).await.unwrap();
    client.drain.cancel();
    assert_eq!(client.write(&handle, 0, b"all of it").await, StatusCode::Ok);
    assert_eq!(client.open("g", CREATE).await, Err(StatusCode::Failure));
    assert_eq!(client.close(&handle).await, StatusCode::Ok);
    assert_eq!(client.packet().await, None);
    assert!(client.server.await.unwrap().is_ok());
    assert_eq!(content(&storage, "f").await.unwrap(), b"all of it");
}

#[tokio::test]
async fn handles_are_counted() {
    let storage = Memory::new();
    stands(&storage, "f", b"content").await;
    let mut client = Client::over(&storage, everything()).await;
    let mut handles = Vec::new();
    for _ in 0..256 {
        handles.push(client.open("f", OpenFlags::READ).await.unwrap());
    }
    assert_eq!(client.open("f", OpenFlags::READ).await, Err(StatusCode::Failure));
    let directory = Request::OpenDir { path: path("/") };
    assert_eq!(client.code(directory).await, StatusCode::Failure);
    assert_eq!(client.close(&handles[7]).await, StatusCode::Ok);
    let again = client.open("f", OpenFlags::READ).await.unwrap();
    assert!(!handles.contains(&again));
}

#[tokio::test]
async fn a_request_that_is_cut_short_is_answered_and_the_next_one_too() {
    let mut client = Client::over(&Memory::new(), everything()).await;
    // OPEN with nothing but its number.
    client
        .stream
        .write_all(&[0, 0, 0, 5, 3, 0, 0, 0, 9])
        .await
        .unwrap();
    let (id, response) = client.receive().await;
    assert!(matches!(response, Response::Status(status) if status.code == StatusCode::BadMessage));
    assert_eq!(id, 9);
    let unknown = Request::Unknown { kind: 77 };
    assert_eq!(client.code(unknown).await, StatusCode::OpUnsupported);
    let other = Extended::Other {
        name: path("make-coffee"),
        content: Bytes::new(),
    };
    assert_eq!(
        client.code(Request::Extended(other)).await,
        StatusCode::OpUnsupported
    );
    assert_eq!(client.stat("/").await.unwrap().kind(), Some(FileKind::Directory));
}

#[tokio::test]
async fn what_is_no_packet_ends_the_session() {
    for bytes in [
        &b"\0\0\0\0"[..],
        b"\xff\xff\xff\xff",
        b"\0\x04\0\x01",
        b"\0\0\0\x01\x05",
    ] {
        let mut client = Client::over(&Memory::new(), everything()).await;
        client.stream.write_all(bytes).await.unwrap();
        let ended = client.server.await.unwrap();
        assert!(
            matches!(ended, Err(Error::BadFrame(_) | Error::Malformed(_))),
            "{ended:?}"
        );
    }
    // Before the first packet, too.
    let mut client = Client::connect(Arc::new(Memory::new()), everything(), 4096);
    client.stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(matches!(client.server.await.unwrap(), Err(Error::BadFrame(_))));
}

/// xorshift64*: the same bytes in every run.
fn random(state: &mut u64) -> u64 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    state.wrapping_mul(0x2545_f491_4f6c_dd1d)
}

#[tokio::test]
async fn random_requests_break_nothing() {
    let mut state = 0x9e37_79b9_7f4a_7c15;
    for _ in 0..30 {
        let storage = Memory::with_room(1 << 16);
        stands(&storage, "f", b"content").await;
        let client = Client::over(&storage, everything()).await;
        let (mut theirs, mut ours) = split(client.stream);
        let sink = tokio::spawn(async move { tokio::io::copy(&mut theirs, &mut tokio::io::sink()).await });
        for number in 0..300_u32 {
            let mut packet = BytesMut::new();
            let handle = Bytes::copy_from_slice(&(random(&mut state) % 8).to_be_bytes());
            let name = path(["f", "g", "/", "d", ""][(random(&mut state) % 5) as usize]);
            let attributes = Attributes {
                size: Some(random(&mut state) % 100),
                ..Attributes::default()
            };
            let request = match random(&mut state) % 12 {
                0 => Request::Open {
                    path: name,
                    flags: OpenFlags((random(&mut state) % 64) as u32),
                    attributes,
                },
                1 => Request::Close { handle },
                2 | 3 => Request::Read {
                    handle,
                    offset: random(&mut state) % 20,
                    length: random(&mut state) as u32,
                },
                4 | 5 => Request::Write {
                    handle,
                    offset: random(&mut state) % 100,
                    data: path("some data"),
                },
                6 => Request::FSetStat { handle, attributes },
                7 => Request::Remove { path: name },
                8 => Request::OpenDir { path: name },
                9 => Request::ReadDir { handle },
                10 => Request::Rename {
                    from: name,
                    to: path("g"),
                },
                _ => Request::Unknown {
                    kind: (random(&mut state) % 30) as u8 + 3,
                },
            };
            request.encode(number, &mut packet);
            if ours.write_all(&packet).await.is_err() {
                break;
            }
        }
        ours.shutdown().await.unwrap();
        assert!(client.server.await.unwrap().is_ok());
        sink.await.unwrap().unwrap();
    }
}
