//! Servers that give less, other things, or nothing, played over a stream in memory.

mod passwords;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use pasarela_sftp_proto::{
    Attributes, FileKind, Frames, Hello, MAX_PACKET, Name, Request, Response, Status, StatusCode, VERSION,
};
use pasarela_store::memory::Memory;
use pasarela_store::{Error, ErrorKind, Open, Storage, VirtualPath};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, duplex};
use tokio_util::sync::CancellationToken;

use super::{SftpOptions, SftpRemote};
use crate::progress::Progress;
use crate::testing::{options, path};
use crate::transfer::{self, copy};
use crate::{Failure, FailureKind, Local, Place};

/// What the server does next: bytes to send, or `None`: it hangs up.
type Act = Option<BytesMut>;

const HANDLE: Bytes = Bytes::from_static(b"h");

fn send(id: u32, response: &Response) -> Act {
    let mut out = BytesMut::new();
    response.encode(id, &mut out);
    Some(out)
}

fn status(id: u32, code: StatusCode) -> Act {
    send(id, &Response::Status(Status::new(code, "as told")))
}

fn attributes(kind: FileKind, size: u64) -> Response {
    Response::Attributes(Attributes {
        size: Some(size),
        permissions: Some(kind.bits() | 0o644),
        times: Some((1_000_000_000, 1_000_000_000)),
        ..Attributes::default()
    })
}

/// Plays a server: `script` is given each request.
async fn play(mut stream: impl AsyncRead + AsyncWrite + Unpin, mut script: impl FnMut(u32, Request) -> Act) {
    let mut frames = Frames::new(MAX_PACKET);
    let mut out = BytesMut::new();
    let hello = Hello {
        version: VERSION,
        extensions: Vec::new(),
    };
    hello.encode_version(&mut out);
    let mut is_greeted = false;
    loop {
        while let Some(packet) = frames.next_packet().unwrap() {
            if is_greeted {
                let (id, request) = Request::decode(packet).unwrap();
                match script(id, request) {
                    Some(bytes) => out.extend_from_slice(&bytes),
                    None => return,
                }
            }
            is_greeted = true;
        }
        if is_greeted && !out.is_empty() && stream.write_all_buf(&mut out).await.is_err() {
            return;
        }
        match stream.read_buf(frames.buffer()).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

async fn remote(script: impl FnMut(u32, Request) -> Act + Send + 'static) -> SftpRemote {
    let (ours, theirs) = duplex(64 * 1024);
    tokio::spawn(play(theirs, script));
    let (from, to) = tokio::io::split(ours);
    SftpRemote::over(from, to, &SftpOptions::default()).await.unwrap()
}

fn kind(error: &Error) -> FailureKind {
    Failure::of(error).map_or(FailureKind::Other, |failure| failure.kind)
}

/// The answers of a good server about one file of this content.
fn good(content: &[u8], id: u32, request: &Request) -> Act {
    match request {
        Request::Stat { .. } | Request::LStat { .. } | Request::FStat { .. } => {
            send(id, &attributes(FileKind::File, content.len() as u64))
        }
        Request::Open { .. } | Request::OpenDir { .. } => send(id, &Response::Handle(HANDLE)),
        Request::Read { offset, length, .. } => {
            let at = usize::try_from(*offset).unwrap().min(content.len());
            let end = (at + *length as usize).min(content.len());
            match at == end {
                true => status(id, StatusCode::Eof),
                false => send(id, &Response::Data(Bytes::copy_from_slice(&content[at..end]))),
            }
        }
        _ => status(id, StatusCode::Ok),
    }
}

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 31 % 251) as u8).collect()
}

/// A copy of the server's file `/f` into memory, and what stands there then.
async fn fetched(from: SftpRemote) -> (Result<transfer::Outcome, transfer::Error>, Option<Vec<u8>>) {
    let memory = Memory::new();
    let to = Local::over(Arc::new(memory.clone()));
    let place = |remote| Place {
        remote,
        path: path("/f"),
    };
    let (from, to) = (place(Arc::new(from) as _), place(Arc::new(to) as _));
    let progress = Progress::default();
    let copied = copy(&from, &to, &options(), &progress, &CancellationToken::new()).await;
    let file = memory.open(&path("/f"), Open::Read).await.ok();
    let there = match file {
        Some(file) => Some(file.read_at(0, 16 * 1024 * 1024).await.unwrap().to_vec()),
        None => None,
    };
    (copied, there)
}

async fn names(remote: &SftpRemote) -> Result<Vec<Vec<u8>>, Error> {
    let mut pages = remote.list(&path("/d")).await?;
    let mut names = Vec::new();
    while let Some(page) = pages.next_page().await? {
        names.extend(page.into_iter().map(|entry| entry.name));
    }
    Ok(names)
}

#[tokio::test]
async fn a_file_is_whole_when_the_server_gives_little_at_a_time_and_in_another_order() {
    let whole = content(1_000_003);
    let served = whole.clone();
    let mut kept: Option<BytesMut> = None;
    let from = remote(move |id, request| {
        let Request::Read {
            handle,
            offset,
            length,
        } = request
        else {
            return good(&served, id, &request);
        };
        let length = length.min(7_000);
        let request = Request::Read {
            handle,
            offset,
            length,
        };
        let answer = good(&served, id, &request)?;
        // Each second answer comes before the first, but the last of all is not kept.
        match kept.take() {
            Some(first) => Some([&answer[..], &first[..]].concat()[..].into()),
            None if offset + 200_000 < served.len() as u64 => {
                kept = Some(answer);
                Some(BytesMut::new())
            }
            None => Some(answer),
        }
    })
    .await;
    let (copied, there) = fetched(from).await;
    assert_eq!(copied.unwrap().size, whole.len() as u64);
    assert!(there.unwrap() == whole);
}

#[tokio::test]
async fn an_end_before_the_end_is_no_success() {
    let served = content(300_000);
    let from = remote(move |id, request| match request {
        Request::Read { offset, .. } if offset >= 100_000 => status(id, StatusCode::Eof),
        request => good(&served, id, &request),
    })
    .await;
    let (copied, there) = fetched(from).await;
    assert!(
        matches!(
            copied,
            Err(transfer::Error::Short {
                expected: 300_000,
                ..
            })
        ),
        "{copied:?}"
    );
    assert_eq!(there, None);
}

#[tokio::test]
async fn a_file_that_is_longer_than_was_told_is_no_success() {
    let served = content(300_000);
    let from = remote(move |id, request| match request {
        Request::Stat { .. } => send(id, &attributes(FileKind::File, 200_000)),
        request => good(&served, id, &request),
    })
    .await;
    let (copied, there) = fetched(from).await;
    assert!(copied.is_err());
    assert_eq!(there, None);
}

#[tokio::test]
async fn more_bytes_than_were_asked_for_are_no_file() {
    let from = remote(|id, request| match request {
        Request::Read { length, .. } => {
            let data = vec![0; length as usize + 1];
            send(id, &Response::Data(data.into()))
        }
        request => good(&[0; 1000], id, &request),
    })
    .await;
    let file = from.open(&path("/f"), Open::Read).await.unwrap();
    assert_eq!(
        kind(&file.read_at(0, 100).await.unwrap_err()),
        FailureKind::Protocol
    );
}

#[tokio::test]
async fn a_server_that_hangs_up_within_a_file_is_told_of() {
    let served = content(300_000);
    let from = remote(move |id, request| match request {
        Request::Read { offset, .. } if offset >= 100_000 => None,
        request => good(&served, id, &request),
    })
    .await;
    let (copied, there) = fetched(from).await;
    assert!(copied.is_err());
    assert_eq!(there, None);
}

#[tokio::test]
async fn what_is_no_answer_ends_the_session() {
    type Nonsense = fn(u32) -> Act;
    let nonsense: [(&str, Nonsense); 5] = [
        ("another number", |id| status(id + 1, StatusCode::Ok)),
        ("no number", |_| Some([0, 0, 0, 1, 101][..].into())),
        ("too long", |_| Some([0x7f, 0xff, 0xff, 0xff, 101][..].into())),
        ("empty", |_| Some([0, 0, 0, 0][..].into())),
        ("an unknown kind", |id| {
            Some([&[0, 0, 0, 5, 222][..], &id.to_be_bytes()].concat()[..].into())
        }),
    ];
    for (what, answer) in nonsense {
        let from = remote(move |id, request| match request {
            Request::MakeDir { .. } => answer(id),
            request => good(&[], id, &request),
        })
        .await;
        let error = from.make_dir(&path("/d")).await.unwrap_err();
        assert_eq!(kind(&error), FailureKind::Protocol, "{what}");
        assert!(from.stat(&path("/d")).await.is_err(), "{what}");
    }
}

#[tokio::test]
async fn an_answer_to_something_else_is_no_success() {
    for answer in [
        Response::Data(HANDLE),
        Response::Names(Vec::new()),
        Response::Status(Status::new(StatusCode::Eof, "")),
        Response::Handle(HANDLE),
    ] {
        let given = answer.clone();
        let from = remote(move |id, _| send(id, &given)).await;
        let (f, g) = (path("/f"), path("/g"));
        assert!(from.remove_file(&f).await.is_err(), "{answer:?}");
        assert!(from.rename(&f, &g, true).await.is_err(), "{answer:?}");
        assert!(from.stat(&f).await.is_err(), "{answer:?}");
        assert!(from.open(&f, Open::Read).await.is_err(), "{answer:?}");
    }
}

#[tokio::test]
async fn a_name_that_is_no_name_is_left_out() {
    let bad: [&[u8]; 8] = [
        b"..",
        b".",
        b"",
        b"../up",
        b"/etc/passwd",
        b"a/b",
        b"nul\0",
        b"line\nend",
    ];
    let mut is_first = true;
    let from = remote(move |id, request| match request {
        Request::ReadDir { .. } if is_first => {
            is_first = false;
            let all = bad
                .iter()
                .copied()
                .chain([&b"good"[..], "né".as_bytes(), b"\xff"]);
            let named = |name: &[u8]| Name::path(name.to_vec());
            send(id, &Response::Names(all.map(named).collect()))
        }
        Request::ReadDir { .. } => status(id, StatusCode::Eof),
        request => good(&[], id, &request),
    })
    .await;
    let expected: [&[u8]; 3] = [b"good", "né".as_bytes(), b"\xff"];
    assert_eq!(names(&from).await.unwrap(), expected.map(<[u8]>::to_vec));
}

#[tokio::test]
async fn a_listing_without_an_end_is_given_up() {
    for count in [0, 3000] {
        let from = remote(move |id, request| match request {
            Request::ReadDir { .. } => {
                let names = (0..count).map(|n: u32| Name::path(n.to_string())).collect();
                send(id, &Response::Names(names))
            }
            request => good(&[], id, &request),
        })
        .await;
        assert_eq!(
            kind(&names(&from).await.unwrap_err()),
            FailureKind::Protocol,
            "{count}"
        );
    }
}

/// An upload of some bytes to a server, to its end.
async fn put(to: &SftpRemote, bytes: &[u8]) -> Result<(), Error> {
    let file = to.open(&path("/f"), Open::Replace).await?;
    let mut at = 0;
    for piece in bytes.chunks(50_000) {
        file.write_at(at, Bytes::copy_from_slice(piece)).await?;
        at += piece.len() as u64;
    }
    file.prepare().await?;
    file.publish().await
}

#[tokio::test]
async fn an_upload_arrives_in_its_order_and_is_confirmed_to_the_last_byte() {
    let whole = content(6_000_000);
    let written = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&written);
    let to = remote(move |id, request| {
        let mut kept = kept.lock().unwrap();
        match request {
            Request::Write { offset, data, .. } => {
                assert_eq!(offset, kept.len() as u64);
                kept.extend_from_slice(&data);
                status(id, StatusCode::Ok)
            }
            Request::FStat { .. } => send(id, &attributes(FileKind::File, kept.len() as u64)),
            request => good(&[], id, &request),
        }
    })
    .await;
    put(&to, &whole).await.unwrap();
    assert!(*written.lock().unwrap() == whole);
}

#[tokio::test]
async fn an_upload_that_lacks_something_is_no_success() {
    type Spoil = fn(u32, &Request) -> Option<Act>;
    let spoils: [(&str, Spoil); 4] = [
        ("a refused write", |id, request| match request {
            Request::Write { offset, .. } if *offset >= 64_000 => Some(status(id, StatusCode::Failure)),
            _ => None,
        }),
        ("too short a file", |id, request| match request {
            Request::FStat { .. } => Some(send(id, &attributes(FileKind::File, 99_999))),
            _ => None,
        }),
        ("a refused close", |id, request| match request {
            Request::Close { .. } => Some(status(id, StatusCode::Failure)),
            _ => None,
        }),
        ("no answer to the close", |_, request| match request {
            Request::Close { .. } => Some(None),
            _ => None,
        }),
    ];
    for (what, spoil) in spoils {
        let to = remote(move |id, request| match spoil(id, &request) {
            Some(act) => act,
            None => good(&[0; 100_000], id, &request),
        })
        .await;
        assert!(put(&to, &content(100_000)).await.is_err(), "{what}");
    }
}

#[tokio::test]
async fn what_was_longer_before_is_cut() {
    let cut = Arc::new(AtomicUsize::new(0));
    let told = Arc::clone(&cut);
    let to = remote(move |id, request| {
        if let Request::FSetStat { attributes, .. } = &request {
            let size = usize::try_from(attributes.size.unwrap()).unwrap();
            told.store(size, Ordering::Relaxed);
        }
        good(&[0; 100_000], id, &request)
    })
    .await;
    let file = to.open(&path("/f"), Open::Resume { offset: 10 }).await.unwrap();
    assert_eq!(file.start(), 10);
    file.write_at(10, Bytes::from_static(b"end")).await.unwrap();
    file.publish().await.unwrap();
    assert_eq!(cut.load(Ordering::Relaxed), 13);
    let past = to.open(&path("/f"), Open::Resume { offset: 100_001 }).await;
    assert_eq!(past.err().unwrap().kind, ErrorKind::PastEnd);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_falls_silent_is_given_up() {
    let from = remote(|id, request| match request {
        Request::MakeDir { .. } => Some(BytesMut::new()),
        request => good(&[], id, &request),
    })
    .await;
    let begun = tokio::time::Instant::now();
    let error = from.make_dir(&path("/d")).await.unwrap_err();
    assert_eq!(kind(&error), FailureKind::Timeout);
    assert!(
        begun.elapsed() < Duration::from_secs(121),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn a_handle_that_nobody_waits_for_any_more_is_given_back() {
    let (closed, mut is_closed) = tokio::sync::mpsc::unbounded_channel();
    let (opened, mut is_opened) = tokio::sync::mpsc::unbounded_channel();
    let mut held = None;
    let from = remote(move |id, request| match request {
        Request::Open { .. } => {
            held = Some(id);
            opened.send(()).unwrap();
            Some(BytesMut::new())
        }
        Request::MakeDir { .. } => {
            let opened = send(held.take()?, &Response::Handle(HANDLE))?;
            Some([&opened[..], &status(id, StatusCode::Ok)?].concat()[..].into())
        }
        Request::Close { handle } => {
            closed.send(handle).unwrap();
            status(id, StatusCode::Ok)
        }
        request => good(&[], id, &request),
    })
    .await;
    let place: VirtualPath = path("/f");
    tokio::select! {
        _ = from.open(&place, Open::Replace) => panic!("it was opened without an answer"),
        _ = is_opened.recv() => {}
    }
    from.make_dir(&path("/d")).await.unwrap();
    let handle = tokio::time::timeout(Duration::from_secs(30), is_closed.recv()).await;
    assert_eq!(handle.unwrap(), Some(HANDLE));
}

#[tokio::test]
async fn a_shell_that_talks_is_found_out() {
    let (ours, mut theirs) = duplex(1024);
    theirs.write_all(b"Welcome to this machine!\n").await.unwrap();
    let (from, to) = tokio::io::split(ours);
    let error = SftpRemote::over(from, to, &SftpOptions::default())
        .await
        .unwrap_err();
    let failure = Failure::of(&error).unwrap().to_string();
    assert!(
        failure.contains("Welcome to") && failure.contains("hint: "),
        "{failure}"
    );
}
