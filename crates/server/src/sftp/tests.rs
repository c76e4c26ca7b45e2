//! Sessions over a stream in memory, from the first packet to the last.

mod bounds;
mod permissions;
mod promise;

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use pasarela_dtp::Pace;
use pasarela_session::account::{AuthorizedKeys, TlsNeed};
use pasarela_session::{Account, May, Permission, Session};
use pasarela_sftp_proto::extension::Extended;
use pasarela_sftp_proto::{
    Attributes, Check, Checked, FileKind, Frames, Hello, Limits, MAX_PACKET, OpenFlags, Request, Response,
    StatusCode,
};
use pasarela_store::memory::Memory;
use pasarela_store::{Open, Storage, VirtualPath};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, split};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Error, Terms, serve};

const CREATE: OpenFlags = OpenFlags(OpenFlags::WRITE.0 | OpenFlags::CREATE.0 | OpenFlags::TRUNCATE.0);

/// A client that says what it likes and reads when it likes.
struct Client {
    stream: DuplexStream,
    frames: Frames,
    last: u32,
    server: JoinHandle<Result<(), Error>>,
    drain: CancellationToken,
}

fn everything() -> May {
    Permission::ALL.into_iter().collect()
}

fn account(storage: Arc<dyn Storage>, may: May) -> Account {
    Account {
        name: "anna".into(),
        storage,
        may,
        tls: TlsNeed::Optional,
        rate: None,
        session_rate: None,
        sessions: None,
        authorized_keys: AuthorizedKeys::default(),
    }
}

impl Client {
    /// Connects, with so many bytes of room on the way.
    fn connect(storage: Arc<dyn Storage>, may: May, room: usize) -> Self {
        let session = Session::new(Arc::new(account(storage, may)), Pace::default());
        let (stream, theirs) = tokio::io::duplex(room);
        let (reader, writer) = split(theirs);
        let terms = Terms {
            idle: Duration::from_secs(300),
            stall: Duration::from_secs(60),
            link_first: false,
        };
        let drain = CancellationToken::new();
        let draining = drain.clone().cancelled_owned();
        Self {
            stream,
            frames: Frames::new(MAX_PACKET),
            last: 0,
            server: tokio::spawn(serve(reader, writer, session, terms, draining)),
            drain,
        }
    }

    /// Connects and says hello.
    async fn over(storage: &Memory, may: May) -> Self {
        let mut client = Self::connect(Arc::new(storage.clone()), may, 256 * 1024);
        let hello = client.hello().await;
        assert_eq!(hello.version, 3);
        client
    }

    async fn hello(&mut self) -> Hello {
        let mut out = BytesMut::new();
        let hello = Hello {
            version: 3,
            extensions: Vec::new(),
        };
        hello.encode_init(&mut out);
        self.stream.write_all(&out).await.unwrap();
        Hello::decode_version(self.packet().await.unwrap()).unwrap()
    }

    async fn send(&mut self, request: Request) -> u32 {
        self.last += 1;
        let mut out = BytesMut::new();
        request.encode(self.last, &mut out);
        self.stream.write_all(&out).await.unwrap();
        self.last
    }

    async fn packet(&mut self) -> Option<Bytes> {
        loop {
            if let Some(packet) = self.frames.next_packet().unwrap() {
                return Some(packet);
            }
            if self.stream.read_buf(self.frames.buffer()).await.unwrap() == 0 {
                return None;
            }
        }
    }

    async fn receive(&mut self) -> (u32, Response) {
        Response::decode(self.packet().await.unwrap()).unwrap()
    }

    async fn ask(&mut self, request: Request) -> Response {
        let id = self.send(request).await;
        let (answered, response) = self.receive().await;
        assert_eq!(answered, id);
        response
    }

    /// Asks for what is answered with a status alone.
    async fn code(&mut self, request: Request) -> StatusCode {
        match self.ask(request).await {
            Response::Status(status) => status.code,
            other => panic!("{other:?}"),
        }
    }

    async fn open(&mut self, name: &str, flags: OpenFlags) -> Result<Bytes, StatusCode> {
        let request = Request::Open {
            path: path(name),
            flags,
            attributes: Attributes::default(),
        };
        match self.ask(request).await {
            Response::Handle(handle) => Ok(handle),
            Response::Status(status) => Err(status.code),
            other => panic!("{other:?}"),
        }
    }

    async fn write(&mut self, handle: &Bytes, offset: u64, data: &'static [u8]) -> StatusCode {
        let handle = handle.clone();
        self.code(Request::Write {
            handle,
            offset,
            data: Bytes::from_static(data),
        })
        .await
    }

    async fn read(&mut self, handle: &Bytes, offset: u64, length: u32) -> Result<Bytes, StatusCode> {
        let handle = handle.clone();
        match self
            .ask(Request::Read {
                handle,
                offset,
                length,
            })
            .await
        {
            Response::Data(data) => Ok(data),
            Response::Status(status) => Err(status.code),
            other => panic!("{other:?}"),
        }
    }

    async fn close(&mut self, handle: &Bytes) -> StatusCode {
        let handle = handle.clone();
        self.code(Request::Close { handle }).await
    }

    async fn put(&mut self, name: &str, data: &'static [u8]) {
        let handle = self.open(name, CREATE).await.unwrap();
        assert_eq!(self.write(&handle, 0, data).await, StatusCode::Ok);
        assert_eq!(self.close(&handle).await, StatusCode::Ok);
    }

    async fn stat(&mut self, name: &str) -> Result<Attributes, StatusCode> {
        match self.ask(Request::Stat { path: path(name) }).await {
            Response::Attributes(attributes) => Ok(attributes),
            Response::Status(status) => Err(status.code),
            other => panic!("{other:?}"),
        }
    }

    /// Hangs up without another word and waits for the server's end of it.
    async fn hang_up(self) -> Result<(), Error> {
        drop(self.stream);
        self.server.await.unwrap()
    }
}

fn path(name: &str) -> Bytes {
    Bytes::copy_from_slice(name.as_bytes())
}

fn at(name: &str) -> VirtualPath {
    VirtualPath::root().resolve(name.as_bytes()).unwrap()
}

/// What stands under a name, asked of the store itself.
async fn content(storage: &Memory, name: &str) -> Option<Vec<u8>> {
    let file = storage.open(&at(name), Open::Read).await.ok()?;
    Some(file.read_at(0, 1 << 24).await.unwrap().to_vec())
}

/// Puts a file there behind the session's back.
async fn stands(storage: &Memory, name: &str, bytes: &'static [u8]) {
    let file = storage.open(&at(name), Open::Replace).await.unwrap();
    file.write_at(0, Bytes::from_static(bytes)).await.unwrap();
    file.publish().await.unwrap();
}

#[tokio::test]
async fn a_session_says_what_it_can_do() {
    let mut client = Client::connect(Arc::new(Memory::new()), everything(), 1 << 16);
    let hello = client.hello().await;
    for (name, version) in [
        ("posix-rename@openssh.com", "1"),
        ("statvfs@openssh.com", "2"),
        ("fsync@openssh.com", "1"),
        ("limits@openssh.com", "1"),
        ("copy-data", "1"),
        ("check-file", "sha256,sha512,sha1,md5,crc32"),
    ] {
        assert!(hello.has(name, version), "{name}");
    }
    assert_eq!(hello.extension("hardlink@openssh.com"), None);
    let Response::Extended(limits) = client.ask(Request::Extended(Extended::Limits)).await else {
        panic!("no limits");
    };
    let limits = Limits::decode(limits).unwrap();
    assert_eq!(
        (limits.packet, limits.read, limits.write),
        (256 * 1024, 255 * 1024, 255 * 1024)
    );
    assert!(client.hang_up().await.is_ok());
}

#[tokio::test]
async fn paths_begin_at_the_root_and_stay_there() {
    let mut client = Client::over(&Memory::new(), everything()).await;
    for (typed, means) in [("", "/"), (".", "/"), ("/a/../../b//c/.", "/b/c"), ("x", "/x")] {
        let Response::Names(names) = client.ask(Request::RealPath { path: path(typed) }).await else {
            panic!("{typed}");
        };
        assert_eq!(names[0].name, means);
    }
    for (typed, means) in [("~", "/"), ("~/x", "/x"), ("~anna/x", "/x"), ("y", "/y")] {
        let expand = Extended::ExpandPath { path: path(typed) };
        let Response::Names(names) = client.ask(Request::Extended(expand)).await else {
            panic!("{typed}");
        };
        assert_eq!(names[0].name, means);
    }
    let other = Extended::ExpandPath { path: path("~root") };
    assert_eq!(client.code(Request::Extended(other)).await, StatusCode::Failure);
    let control = Request::Stat { path: path("a\nb") };
    assert_eq!(client.code(control).await, StatusCode::NoSuchFile);
}

#[tokio::test]
async fn directories_are_made_listed_and_removed() {
    let storage = Memory::new();
    let mut client = Client::over(&storage, everything()).await;
    let make = Request::MakeDir {
        path: path("d"),
        attributes: Attributes::default(),
    };
    assert_eq!(client.code(make.clone()).await, StatusCode::Ok);
    assert_eq!(client.code(make).await, StatusCode::Failure);
    for number in 0..250 {
        let name = format!("/d/{number:03}");
        let file = storage.open(&at(&name), Open::Replace).await.unwrap();
        file.publish().await.unwrap();
    }
    let Response::Handle(handle) = client.ask(Request::OpenDir { path: path("/d") }).await else {
        panic!("no handle");
    };
    let mut names = Vec::new();
    loop {
        match client
            .ask(Request::ReadDir {
                handle: handle.clone(),
            })
            .await
        {
            Response::Names(more) => {
                assert!(more.len() <= 100);
                names.extend(more);
            }
            Response::Status(status) if status.code == StatusCode::Eof => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(client.close(&handle).await, StatusCode::Ok);
    assert_eq!(client.close(&handle).await, StatusCode::Failure);
    let found: Vec<_> = names.iter().map(|name| name.name.clone()).collect();
    let expected: Vec<_> = (0..250).map(|number| format!("{number:03}")).collect();
    assert_eq!(found, expected);
    assert_eq!(names[0].attributes.kind(), Some(FileKind::File));
    assert!(names[0].long_name.starts_with(b"-rw-r--r--") && names[0].long_name.ends_with(b" 000"));

    let file = Request::OpenDir { path: path("/d/000") };
    assert_eq!(client.code(file).await, StatusCode::NoSuchFile);
    let remove = Request::RemoveDir { path: path("/d") };
    assert_eq!(client.code(remove.clone()).await, StatusCode::Failure);
    for name in expected {
        let path = path(&format!("/d/{name}"));
        assert_eq!(client.code(Request::Remove { path }).await, StatusCode::Ok);
    }
    assert_eq!(client.code(remove).await, StatusCode::Ok);
    assert_eq!(client.stat("/d").await, Err(StatusCode::NoSuchFile));
}

#[tokio::test]
async fn a_plain_rename_replaces_nothing_and_the_other_one_does() {
    let storage = Memory::new();
    stands(&storage, "a", b"a").await;
    stands(&storage, "b", b"b").await;
    let mut client = Client::over(&storage, everything()).await;
    let (from, to) = (path("a"), path("b"));
    let plain = Request::Rename {
        from: from.clone(),
        to: to.clone(),
    };
    assert_eq!(client.code(plain).await, StatusCode::Failure);
    assert_eq!(content(&storage, "b").await.unwrap(), b"b");
    let over = Request::Extended(Extended::PosixRename { from, to });
    assert_eq!(client.code(over).await, StatusCode::Ok);
    assert_eq!(content(&storage, "b").await.unwrap(), b"a");
    assert_eq!(content(&storage, "a").await, None);
}

#[tokio::test]
async fn attributes_are_set_by_name_and_by_handle() {
    let storage = Memory::new();
    let mut client = Client::over(&storage, everything()).await;
    client.put("f", b"0123456789").await;
    let wanted = |size, permissions, times| Attributes {
        size,
        permissions,
        times,
        ..Attributes::default()
    };
    let attributes = wanted(Some(4), Some(0o100_600), Some((7, 7)));
    let set = Request::SetStat {
        path: path("f"),
        attributes,
    };
    assert_eq!(client.code(set).await, StatusCode::Ok);
    let found = client.stat("f").await.unwrap();
    assert_eq!(
        (found.size, found.permissions, found.times),
        (Some(4), Some(0o100_600), Some((7, 7)))
    );
    assert_eq!(content(&storage, "f").await.unwrap(), b"0123");

    let handle = client.open("f", OpenFlags::WRITE).await.unwrap();
    assert_eq!(client.write(&handle, 4, b"xyz").await, StatusCode::Ok);
    let set = Request::FSetStat {
        handle: handle.clone(),
        attributes: wanted(Some(6), Some(0o640), Some((9, 8))),
    };
    assert_eq!(client.code(set).await, StatusCode::Ok);
    assert_eq!(content(&storage, "f").await.unwrap(), b"0123");
    assert_eq!(client.close(&handle).await, StatusCode::Ok);
    let found = client.stat("f").await.unwrap();
    assert_eq!(
        (found.size, found.permissions, found.times),
        (Some(6), Some(0o100_640), Some((8, 8)))
    );
    assert_eq!(content(&storage, "f").await.unwrap(), b"0123xy");

    // Owners stay; whoever asks for the one that is there has it.
    for (owner, code) in [((0, 0), StatusCode::Ok), ((5, 0), StatusCode::PermissionDenied)] {
        let attributes = Attributes {
            owner: Some(owner),
            size: Some(1),
            ..Attributes::default()
        };
        let before = content(&storage, "f").await;
        let set = Request::SetStat {
            path: path("f"),
            attributes,
        };
        assert_eq!(client.code(set).await, code);
        assert_eq!(content(&storage, "f").await != before, code == StatusCode::Ok);
    }
    let missing = Request::SetStat {
        path: path("g"),
        attributes: wanted(Some(1), None, None),
    };
    assert_eq!(client.code(missing).await, StatusCode::NoSuchFile);
}

#[tokio::test]
async fn a_file_is_copied_and_digested_without_moving_it() {
    let storage = Memory::new();
    stands(&storage, "from", b"hello, digest and copy").await;
    let mut client = Client::over(&storage, everything()).await;
    let from = client.open("from", OpenFlags::READ).await.unwrap();
    let to = client.open("to", CREATE).await.unwrap();
    let copy = |length| {
        Request::Extended(Extended::CopyData {
            from: from.clone(),
            from_offset: 7,
            length,
            to: to.clone(),
            to_offset: 0,
        })
    };
    assert_eq!(client.code(copy(1000)).await, StatusCode::Failure);
    assert_eq!(client.code(copy(0)).await, StatusCode::Ok);
    assert_eq!(client.close(&to).await, StatusCode::Ok);
    assert_eq!(content(&storage, "to").await.unwrap(), b"digest and copy");

    let check = |algorithms: &'static str, block| Check {
        algorithms: path(algorithms),
        offset: 0,
        length: 5,
        block,
    };
    let by_name = Extended::CheckFileName {
        path: path("from"),
        check: check("rot13,md5,sha1", 0),
    };
    let Response::Extended(answer) = client.ask(Request::Extended(by_name)).await else {
        panic!("no digest");
    };
    let checked = Checked::decode(answer).unwrap();
    assert_eq!(checked.algorithm, "md5");
    assert_eq!(hex::encode(&checked.digests), "5d41402abc4b2a76b9719d911017c592");
    let by_handle = |algorithms, block| {
        Request::Extended(Extended::CheckFileHandle {
            handle: from.clone(),
            check: check(algorithms, block),
        })
    };
    let Response::Extended(answer) = client.ask(by_handle("sha1", 256)).await else {
        panic!("no digest");
    };
    let digests = Checked::decode(answer).unwrap().digests;
    assert_eq!(hex::encode(&digests), "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d");
    assert_eq!(client.code(by_handle("rot13", 0)).await, StatusCode::Failure);
    assert_eq!(client.code(by_handle("md5", 1)).await, StatusCode::Failure);
}
