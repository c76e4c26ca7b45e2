//! Every packet survives the way there and back, and nothing that a peer sends breaks a reader.

use bytes::{Bytes, BytesMut};

use crate::extension::{self, Extended};
use crate::{
    Attributes, BadFrame, Check, Checked, FileKind, Frames, Hello, Limits, MAX_PACKET, Malformed, Name,
    OpenFlags, Request, Response, StatVfs, Status, StatusCode,
};

fn text(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn attributes() -> Attributes {
    Attributes {
        size: Some(1 << 40),
        owner: Some((1000, 100)),
        permissions: Some(0o100_644),
        times: Some((1_700_000_000, 1_700_000_001)),
        extended: vec![(text("acl@example.org"), Bytes::from_static(b"\0\xff"))],
    }
}

fn check() -> Check {
    Check {
        algorithms: text("sha256,md5"),
        offset: 7,
        length: 0,
        block: 1024,
    }
}

fn extended() -> Vec<Extended> {
    let (path, handle) = (
        Bytes::from_static(b"/na\xefve"),
        Bytes::from_static(b"\0\0\0\x01"),
    );
    vec![
        Extended::PosixRename {
            from: path.clone(),
            to: text("b"),
        },
        Extended::StatVfs { path: path.clone() },
        Extended::FStatVfs {
            handle: handle.clone(),
        },
        Extended::HardLink {
            target: path.clone(),
            link: text("b"),
        },
        Extended::FSync {
            handle: handle.clone(),
        },
        Extended::LSetStat {
            path: path.clone(),
            attributes: attributes(),
        },
        Extended::Limits,
        Extended::ExpandPath { path: text("~/x") },
        Extended::CopyData {
            from: handle.clone(),
            from_offset: 1,
            length: u64::MAX,
            to: handle.clone(),
            to_offset: 2,
        },
        Extended::HomeDirectory { user: Bytes::new() },
        Extended::CheckFileName { path, check: check() },
        Extended::CheckFileHandle {
            handle,
            check: check(),
        },
        Extended::Other {
            name: text("text-seek"),
            content: text("\0\0"),
        },
    ]
}

fn requests() -> Vec<Request> {
    let (path, handle) = (
        Bytes::from_static(b"/na\xefve"),
        Bytes::from_static(b"\0\0\0\x01"),
    );
    let mut requests = vec![
        Request::Open {
            path: path.clone(),
            flags: OpenFlags::WRITE | OpenFlags::CREATE,
            attributes: attributes(),
        },
        Request::Close {
            handle: handle.clone(),
        },
        Request::Read {
            handle: handle.clone(),
            offset: u64::MAX,
            length: u32::MAX,
        },
        Request::Write {
            handle: handle.clone(),
            offset: 1 << 33,
            data: Bytes::from(vec![7; 40_000]),
        },
        Request::LStat { path: path.clone() },
        Request::FStat {
            handle: handle.clone(),
        },
        Request::SetStat {
            path: path.clone(),
            attributes: Attributes::default(),
        },
        Request::FSetStat {
            handle: handle.clone(),
            attributes: attributes(),
        },
        Request::OpenDir { path: path.clone() },
        Request::ReadDir { handle },
        Request::Remove { path: path.clone() },
        Request::MakeDir {
            path: path.clone(),
            attributes: attributes(),
        },
        Request::RemoveDir { path: path.clone() },
        Request::RealPath { path: Bytes::new() },
        Request::Stat { path: path.clone() },
        Request::Rename {
            from: path.clone(),
            to: text("b"),
        },
        Request::ReadLink { path: path.clone() },
        Request::SymLink {
            target: text("../x"),
            link: path,
        },
    ];
    requests.extend(extended().into_iter().map(Request::Extended));
    requests
}

fn responses() -> Vec<Response> {
    vec![
        Response::Status(Status::ok()),
        Response::Status(Status::new(StatusCode::Other(11), "exists already")),
        Response::Handle(text("h")),
        Response::Data(Bytes::from(vec![9; 70_000])),
        Response::Names(vec![
            Name::path("/a"),
            Name {
                name: Bytes::from_static(b"\xff"),
                long_name: text("-rw-r--r--"),
                attributes: attributes(),
            },
        ]),
        Response::Names(Vec::new()),
        Response::Attributes(attributes()),
        Response::Extended(Bytes::from_static(&[1, 2, 3])),
    ]
}

/// The packet alone, without its length.
fn packet(encode: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut frames = Frames::new(MAX_PACKET);
    encode(frames.buffer());
    let packet = frames.next_packet().unwrap().unwrap();
    assert_eq!(frames.waiting(), 0);
    packet
}

#[test]
fn requests_survive_the_way() {
    for request in requests() {
        let packet = packet(|out| request.encode(0xfedc_ba98, out));
        assert_eq!(Request::decode(packet), Ok((0xfedc_ba98, request)));
    }
}

#[test]
fn responses_survive_the_way() {
    for response in responses() {
        let packet = packet(|out| response.encode(5, out));
        assert_eq!(Response::decode(packet), Ok((5, response)));
    }
}

#[test]
fn hellos_survive_the_way_and_are_not_taken_for_one_another() {
    let hello = Hello {
        version: 3,
        extensions: vec![
            (text(extension::STATVFS), text("2")),
            (text(extension::STATVFS), text("1")),
        ],
    };
    let (init, version) = (
        packet(|out| hello.encode_init(out)),
        packet(|out| hello.encode_version(out)),
    );
    assert_eq!(Hello::decode_init(init.clone()), Ok(hello.clone()));
    assert_eq!(Hello::decode_version(version.clone()), Ok(hello.clone()));
    assert!(Hello::decode_version(init).is_err() && Hello::decode_init(version).is_err());
    assert_eq!(hello.extension(extension::STATVFS), Some(&text("2")));
    assert!(hello.has(extension::STATVFS, "1") && !hello.has(extension::FSYNC, "1"));
}

#[test]
fn answers_that_go_by_name_survive_the_way() {
    let limits = Limits {
        packet: 1,
        read: 2,
        write: 3,
        handles: 4,
    };
    assert_eq!(Limits::decode(limits.encode()), Ok(limits));
    let space = StatVfs {
        block_size: 1,
        fragment_size: 2,
        blocks: 3,
        blocks_free: 4,
        blocks_available: 5,
        files: 6,
        files_free: 7,
        files_available: 8,
        id: 9,
        flags: 10,
        name_max: 11,
    };
    assert_eq!(StatVfs::decode(space.encode()), Ok(space));
    let checked = Checked {
        algorithm: text("md5"),
        digests: Bytes::from(vec![1; 16]),
    };
    assert_eq!(Checked::decode(checked.encode()), Ok(checked.clone()));
    // Without the name before it, as some servers have it.
    let short = checked.encode().slice(4 + "check-file".len()..);
    assert_eq!(Checked::decode(short), Ok(checked));
    assert!(Limits::decode(text("1234567")).is_err());
}

/// Bytes as OpenSSH 9.2 sent them.
#[test]
fn packets_are_those_of_the_draft() {
    let init = packet(|out| out.extend_from_slice(b"\0\0\0\x05\x01\0\0\0\x03"));
    let hello = Hello {
        version: 3,
        extensions: Vec::new(),
    };
    assert_eq!(Hello::decode_init(init), Ok(hello));

    let real_path = packet(|out| out.extend_from_slice(b"\0\0\0\x0a\x10\0\0\0\x02\0\0\0\x01."));
    assert_eq!(
        Request::decode(real_path),
        Ok((2, Request::RealPath { path: text(".") }))
    );

    let mut out = BytesMut::new();
    Response::Status(Status {
        code: StatusCode::Eof,
        message: text("end"),
        language: Bytes::new(),
    })
    .encode(9, &mut out);
    assert_eq!(
        out[..],
        *b"\0\0\0\x14\x65\0\0\0\x09\0\0\0\x01\0\0\0\x03end\0\0\0\0"
    );

    let mut out = BytesMut::new();
    let attributes = Attributes {
        permissions: Some(0o755),
        ..Attributes::default()
    };
    Request::MakeDir {
        path: text("d"),
        attributes,
    }
    .encode(1, &mut out);
    assert_eq!(
        out[..],
        *b"\0\0\0\x12\x0e\0\0\0\x01\0\0\0\x01d\0\0\0\x04\0\0\x01\xed"
    );
}

#[test]
fn a_status_without_words_is_a_status() {
    let bare = Bytes::from_static(&[101, 0, 0, 0, 1, 0, 0, 0, 2]);
    let (_, response) = Response::decode(bare).unwrap();
    assert!(matches!(response, Response::Status(status)
        if status.code == StatusCode::NoSuchFile && status.message.is_empty()));
}

#[test]
fn a_request_for_the_digests_of_a_handle_goes_by_two_names() {
    let request = Request::Extended(Extended::CheckFileHandle {
        handle: text("h"),
        check: check(),
    });
    let sent = packet(|out| request.encode(1, out));
    let long = extension::CHECK_FILE_HANDLE;
    let renamed = [
        &sent[..5],
        &[0, 0, 0, 10],
        b"check-file",
        &sent[5 + 4 + long.len()..],
    ]
    .concat();
    assert_eq!(Request::decode(renamed.into()), Ok((1, request)));
}

#[test]
fn types_are_in_the_mode() {
    for kind in [
        FileKind::File,
        FileKind::Directory,
        FileKind::Link,
        FileKind::Other,
    ] {
        let attributes = Attributes {
            permissions: Some(kind.bits() | 0o644),
            ..Attributes::default()
        };
        assert_eq!(attributes.kind(), Some(kind));
    }
    assert_eq!(attributes().kind(), Some(FileKind::File));
    assert_eq!(Attributes::default().kind(), None);
    assert!(Attributes::default().is_empty() && !attributes().is_empty());
}

#[test]
fn a_packet_of_an_unknown_type_keeps_its_number() {
    let packet = Bytes::from_static(&[99, 0, 0, 0, 7, 1, 2]);
    assert_eq!(
        Request::decode(packet.clone()),
        Ok((7, Request::Unknown { kind: 99 }))
    );
    assert!(matches!(
        Response::decode(packet),
        Err(Malformed { id: Some(7), .. })
    ));
}

#[test]
fn a_stream_comes_apart_at_every_byte() {
    let mut stream = BytesMut::new();
    for (id, request) in requests().iter().enumerate() {
        request.encode(u32::try_from(id).unwrap(), &mut stream);
    }
    for step in [1, 3, 4, 1000, stream.len()] {
        let (mut frames, mut read) = (Frames::new(MAX_PACKET), Vec::new());
        for piece in stream.chunks(step) {
            frames.buffer().extend_from_slice(piece);
            while let Some(packet) = frames.next_packet().unwrap() {
                read.push(Request::decode(packet).unwrap().1);
            }
        }
        assert_eq!(read, requests());
    }
}

#[test]
fn a_packet_that_is_too_long_is_refused_before_it_comes() {
    let mut frames = Frames::new(100);
    frames.buffer().extend_from_slice(&101_u32.to_be_bytes());
    assert_eq!(frames.next_packet(), Err(BadFrame::TooLong(101)));
    assert!(frames.buffer().capacity() < 4096);

    let mut frames = Frames::new(100);
    frames.buffer().extend_from_slice(&u32::MAX.to_be_bytes());
    assert_eq!(frames.next_packet(), Err(BadFrame::TooLong(u32::MAX)));

    let mut frames = Frames::new(100);
    frames.buffer().extend_from_slice(&0_u32.to_be_bytes());
    assert_eq!(frames.next_packet(), Err(BadFrame::Empty));
}

#[test]
fn a_packet_cut_short_anywhere_is_malformed_or_says_less() {
    for request in requests() {
        let whole = packet(|out| request.encode(3, out));
        for length in 0..whole.len().min(400) {
            match Request::decode(whole.slice(..length)) {
                Err(malformed) => assert_eq!(malformed.id.is_some(), length >= 5),
                // Only what runs to the end of its packet by nature can be cut unseen.
                Ok((3, Request::Extended(Extended::Other { .. }))) => {}
                Ok(other) => panic!("{request:?} cut at {length} is {other:?}"),
            }
        }
    }
}

#[test]
fn a_count_beyond_the_packet_allocates_nothing() {
    let names = [&[104, 0, 0, 0, 1][..], &u32::MAX.to_be_bytes()].concat();
    assert!(Response::decode(names.into()).is_err());
    let extended = [
        &[105, 0, 0, 0, 1][..],
        &0x8000_0000_u32.to_be_bytes(),
        &u32::MAX.to_be_bytes(),
    ]
    .concat();
    assert!(Response::decode(extended.into()).is_err());
    let string = [&[102, 0, 0, 0, 1][..], &u32::MAX.to_be_bytes(), b"short"].concat();
    assert!(Response::decode(string.into()).is_err());
}

/// xorshift64*: the same bytes in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }
}

/// Whatever is understood can be said again and is understood the same.
fn holds(packet: &Bytes) {
    if let Ok((id, request)) = Request::decode(packet.clone())
        && !matches!(request, Request::Unknown { .. })
    {
        let again = self::packet(|out| request.encode(id, out));
        assert_eq!(Request::decode(again), Ok((id, request)));
    }
    if let Ok((id, response)) = Response::decode(packet.clone()) {
        let again = self::packet(|out| response.encode(id, out));
        assert_eq!(Response::decode(again), Ok((id, response)));
    }
    for decode in [Hello::decode_init, Hello::decode_version] {
        let _ = decode(packet.clone());
    }
    let _ = (
        Limits::decode(packet.clone()),
        StatVfs::decode(packet.clone()),
        Checked::decode(packet.clone()),
    );
}

#[test]
fn random_bytes_break_nothing() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..50_000 {
        let length = random.below(80);
        let mut bytes: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
        if let Some(kind) = bytes.first_mut() {
            *kind = [random.below(25) as u8, 100 + random.below(6) as u8, 200, 201][random.below(4)];
        }
        holds(&bytes.into());
    }
}

#[test]
fn good_packets_with_bad_bytes_break_nothing() {
    let mut random = Random(42);
    let mut packets: Vec<_> = requests()
        .iter()
        .map(|request| packet(|out| request.encode(1, out)))
        .collect();
    packets.extend(
        responses()
            .iter()
            .map(|response| packet(|out| response.encode(1, out))),
    );
    for packet in packets.iter().filter(|packet| packet.len() < 1000) {
        for _ in 0..1000 {
            let mut bytes = packet.to_vec();
            for _ in 0..=random.below(3) {
                let at = random.below(bytes.len());
                bytes[at] = random.next() as u8;
            }
            holds(&bytes.into());
        }
    }
}

#[test]
fn random_streams_break_nothing() {
    let mut random = Random(7);
    for _ in 0..2000 {
        let mut frames = Frames::new(64);
        for _ in 0..20 {
            let bytes: Vec<u8> = (0..random.below(40))
                .map(|_| [0, 0, 0, random.next() as u8][random.below(4)])
                .collect();
            frames.buffer().extend_from_slice(&bytes);
            match frames.next_packet() {
                Ok(Some(packet)) => assert!((1..=64).contains(&packet.len())),
                Ok(None) => {}
                Err(_) => break,
            }
        }
    }
}
