//! Both directions over an in-memory connection, and by the kernel's help over TCP.

use std::sync::Mutex;
use std::time::Duration;

use pasarela_ftp_proto::command::{Mode, RepresentationType, Structure};
use pasarela_ftp_proto::server_pi::Representation;
use pasarela_store::{File, Open, Storage as _, VirtualPath, local};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, Join, Sink, duplex, join, sink};

use super::*;

impl Connection for DuplexStream {}
impl Connection for Join<&[u8], Sink> {}

#[derive(Default)]
struct Kept(Mutex<Vec<u8>>);

#[async_trait]
impl File for Kept {
    async fn read_at(&self, offset: u64, len: usize) -> pasarela_store::Result<Bytes> {
        let kept = self.0.lock().unwrap();
        let from = usize::try_from(offset).unwrap().min(kept.len());
        Ok(Bytes::copy_from_slice(&kept[from..(from + len).min(kept.len())]))
    }
    async fn write_at(&self, offset: u64, bytes: Bytes) -> pasarela_store::Result<()> {
        let mut kept = self.0.lock().unwrap();
        let from = usize::try_from(offset).unwrap();
        assert!(from <= kept.len(), "a hole");
        kept.truncate(from);
        kept.extend_from_slice(&bytes);
        Ok(())
    }
    async fn size(&self) -> pasarela_store::Result<u64> {
        Ok(self.0.lock().unwrap().len() as u64)
    }
    fn start(&self) -> u64 {
        0
    }
    async fn prepare(&self) -> pasarela_store::Result<()> {
        Ok(())
    }
    async fn publish(&self) -> pasarela_store::Result<()> {
        Ok(())
    }
}

fn controls() -> Controls {
    Controls {
        pace: Pace::default(),
        stall: Duration::from_secs(5),
    }
}

fn every_representation() -> impl Iterator<Item = Representation> {
    [RepresentationType::Ascii, RepresentationType::Image]
        .into_iter()
        .flat_map(|kind| {
            [Structure::File, Structure::Record]
                .into_iter()
                .flat_map(move |structure| {
                    [Mode::Stream, Mode::Deflate]
                        .into_iter()
                        .map(move |mode| Representation {
                            kind,
                            structure,
                            mode,
                            level: 6,
                        })
                })
        })
}

/// What is left of a text when its lines end in LF.
fn without_cr_before_lf(text: &[u8]) -> Vec<u8> {
    let behind = text.iter().skip(1).chain(b" ");
    text.iter()
        .zip(behind)
        .filter(|(byte, next)| (**byte, **next) != (b'\r', b'\n'))
        .map(|(byte, _)| *byte)
        .collect()
}

fn image() -> Representation {
    Representation {
        kind: RepresentationType::Image,
        structure: Structure::File,
        mode: Mode::Stream,
        level: 6,
    }
}

#[tokio::test]
async fn what_is_sent_is_what_is_received_in_every_representation() {
    let mut content: Vec<u8> = (0..700_000_u32)
        .flat_map(|n| (n.wrapping_mul(2_654_435_761) >> 7).to_le_bytes())
        .collect();
    content.extend_from_slice(b"\nlast line, no end");
    for content in [content, Vec::new(), b"a\r\nb\n".to_vec()] {
        for how in every_representation() {
            let original = Kept(Mutex::new(content.clone()));
            let copy = Kept::default();
            let (mut near, mut far) = duplex(10_000);
            let sending = async {
                let mut source = FileSource::new(&original, 0..content.len() as u64);
                let sent = send(&mut source, &how, &mut near, &controls()).await.unwrap();
                near.shutdown().await.unwrap();
                sent
            };
            let (sent, received) = tokio::join!(sending, async {
                receive(&mut far, &how, &copy, &controls()).await.unwrap()
            });
            let is_text = how.kind == RepresentationType::Ascii && how.structure == Structure::File;
            let expected = if is_text {
                without_cr_before_lf(&content)
            } else {
                content.clone()
            };
            assert_eq!(
                (sent, received),
                (content.len() as u64, expected.len() as u64),
                "{how:?}"
            );
            assert!(*copy.0.lock().unwrap() == expected, "{how:?}");
        }
    }
}

#[tokio::test]
async fn a_file_that_shrinks_is_told() {
    let file = Kept(Mutex::new(vec![1; 100]));
    let (mut near, mut far) = duplex(1000);
    let result = send(
        &mut FileSource::new(&file, 0..200),
        &image(),
        &mut near,
        &controls(),
    )
    .await;
    assert!(matches!(result, Err(Error::Shrunk)));
    let mut got = vec![0; 100];
    far.read_exact(&mut got).await.unwrap();
}

#[tokio::test]
async fn deflated_data_that_is_cut_or_foreign_is_no_success() {
    let how = Representation {
        mode: Mode::Deflate,
        ..image()
    };
    let original = Kept(Mutex::new(vec![7; 100_000]));
    let (mut near, mut far) = duplex(1 << 20);
    send(
        &mut FileSource::new(&original, 0..100_000),
        &how,
        &mut near,
        &controls(),
    )
    .await
    .unwrap();
    drop(near);
    let mut wire = Vec::new();
    far.read_to_end(&mut wire).await.unwrap();
    let receive_bytes = async |bytes: &[u8]| {
        let copy = Kept::default();
        receive(&mut join(bytes, sink()), &how, &copy, &controls()).await
    };
    assert!(matches!(
        receive_bytes(&wire[..wire.len() - 1]).await,
        Err(Error::Truncated)
    ));
    assert!(matches!(
        receive_bytes(&[&wire[..], b"x"].concat()).await,
        Err(Error::BadEncoding)
    ));
    assert!(matches!(
        receive_bytes(b"this is not zlib").await,
        Err(Error::BadEncoding)
    ));
    assert_eq!(receive_bytes(&wire).await.unwrap(), 100_000);
}

#[tokio::test(start_paused = true)]
async fn a_connection_on_which_nothing_moves_is_given_up() {
    let (mut near, _far) = duplex(10);
    let file = Kept(Mutex::new(vec![1; 100]));
    let result = send(
        &mut FileSource::new(&file, 0..100),
        &image(),
        &mut near,
        &controls(),
    )
    .await;
    assert!(matches!(result, Err(Error::Stalled)));
    let (mut near, _far) = duplex(10);
    let result = receive(&mut near, &image(), &Kept::default(), &controls()).await;
    assert!(matches!(result, Err(Error::Stalled)));
}

#[tokio::test(start_paused = true)]
async fn a_pace_is_kept() {
    let bucket = Bucket::new(100_000);
    let controls = Controls {
        pace: Pace::new(vec![bucket]),
        ..controls()
    };
    let file = Kept(Mutex::new(vec![1; 1_000_000]));
    let (mut near, mut far) = duplex(1 << 20);
    let began = tokio::time::Instant::now();
    send(
        &mut FileSource::new(&file, 0..1_000_000),
        &image(),
        &mut near,
        &controls,
    )
    .await
    .unwrap();
    let took = began.elapsed();
    assert!(
        (Duration::from_millis(9_800)..Duration::from_millis(10_200)).contains(&took),
        "{took:?}"
    );
    drop(near);
    far.read_to_end(&mut Vec::new()).await.unwrap();
}

/// Both ends of a TCP connection.
async fn connected() -> (TcpStream, TcpStream) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap());
    let (near, far) = tokio::join!(near, listener.accept());
    (near.unwrap(), far.unwrap().0)
}

/// Folders on a disk and, where there is such a place, in memory.
fn folders() -> Vec<tempfile::TempDir> {
    let disk = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    std::iter::once(disk)
        .chain(tempfile::tempdir_in("/dev/shm"))
        .collect()
}

fn content(len: usize) -> Vec<u8> {
    (0_u32..)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .take(len)
        .collect()
}

fn path(name: &str) -> VirtualPath {
    VirtualPath::root().resolve(name.as_bytes()).unwrap()
}

const FAST: local::Options = local::Options {
    durability: local::Durability::Fast,
    keep_parts: Duration::from_secs(60),
};

#[tokio::test]
async fn the_kernel_moves_what_the_portable_way_moves() {
    const SIZES: [usize; 6] = [0, 1, BLOCK, BLOCK + 1, 3 * BLOCK - 7, 5_000_001];
    for folder in folders() {
        let store = local::Local::open(folder.path(), FAST).unwrap();
        for (size, from) in SIZES.into_iter().flat_map(|size| [(size, 0), (size, size / 3)]) {
            let whole = content(size);
            std::fs::write(folder.path().join("there"), &whole).unwrap();
            let original = store.open(&path("there"), Open::Read).await.unwrap();
            let copy = store.open(&path("copy"), Open::Replace).await.unwrap();
            let (mut near, mut far) = connected().await;
            let (how, controls) = (image(), controls());
            let sending = async {
                let span = from as u64..size as u64;
                let sent = send_file(&*original, span, &how, &mut near, &controls)
                    .await
                    .unwrap();
                near.shutdown().await.unwrap();
                sent
            };
            let (sent, received) = tokio::join!(sending, receive(&mut far, &how, &*copy, &controls));
            assert_eq!(
                (sent, received.unwrap()),
                ((size - from) as u64, (size - from) as u64)
            );
            copy.publish().await.unwrap();
            assert!(std::fs::read(folder.path().join("copy")).unwrap() == whole[from..]);
        }
    }
}

#[tokio::test]
async fn a_file_that_shrinks_while_the_kernel_sends_it_is_told() {
    for folder in folders() {
        let store = local::Local::open(folder.path(), FAST).unwrap();
        std::fs::write(folder.path().join("x"), content(1_000_000)).unwrap();
        let file = store.open(&path("x"), Open::Read).await.unwrap();
        let (mut near, mut far) = connected().await;
        let draining = tokio::spawn(async move { far.read_to_end(&mut Vec::new()).await });
        let sent = send_file(&*file, 0..1_000_001, &image(), &mut near, &controls()).await;
        assert!(matches!(sent, Err(Error::Shrunk)), "{sent:?}");
        drop(near);
        assert_eq!(draining.await.unwrap().unwrap(), 1_000_000);
    }
}

#[tokio::test]
async fn an_upload_by_the_kernel_takes_urgent_bytes_and_pauses_for_what_they_are() {
    for folder in folders() {
        let store = local::Local::open(folder.path(), FAST).unwrap();
        let file = store.open(&path("x"), Open::Replace).await.unwrap();
        let (mut near, mut far) = connected().await;
        rustix::net::sockopt::set_socket_oobinline(&far, true).unwrap();
        let whole = content(2_000_000);
        let sending = async {
            for (number, piece) in whole.chunks(300_000).enumerate() {
                let (last, before) = piece.split_last().unwrap();
                near.write_all(before).await.unwrap();
                let flags = match number % 2 {
                    0 => rustix::net::SendFlags::OOB,
                    _ => rustix::net::SendFlags::empty(),
                };
                near.writable().await.unwrap();
                assert_eq!(rustix::net::send(&near, &[*last], flags).unwrap(), 1);
                tokio::task::yield_now().await;
            }
            near.shutdown().await.unwrap();
        };
        let (how, controls) = (image(), controls());
        let ((), received) = tokio::join!(sending, receive(&mut far, &how, &*file, &controls));
        assert_eq!(received.unwrap(), 2_000_000);
        file.publish().await.unwrap();
        assert!(std::fs::read(folder.path().join("x")).unwrap() == whole);
    }
}

#[tokio::test]
async fn a_reset_in_the_middle_is_no_end() {
    for folder in folders() {
        let store = local::Local::open(folder.path(), FAST).unwrap();
        let file = store.open(&path("x"), Open::Replace).await.unwrap();
        let (mut near, mut far) = connected().await;
        let sending = async {
            near.write_all(&content(1_500_000)).await.unwrap();
            near.set_zero_linger().unwrap();
            drop(near);
        };
        let (how, controls) = (image(), controls());
        let ((), received) = tokio::join!(sending, receive(&mut far, &how, &*file, &controls));
        assert!(matches!(received, Err(Error::Broken(_))), "{received:?}");
    }
}

#[tokio::test]
async fn who_does_not_read_what_the_kernel_sends_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let store = local::Local::open(folder.path(), FAST).unwrap();
    std::fs::File::create(folder.path().join("x"))
        .unwrap()
        .set_len(1 << 30)
        .unwrap();
    let file = store.open(&path("x"), Open::Read).await.unwrap();
    let (mut near, _far) = connected().await;
    let controls = Controls {
        stall: Duration::from_millis(200),
        ..controls()
    };
    let sent = send_file(&*file, 0..1 << 30, &image(), &mut near, &controls).await;
    assert!(matches!(sent, Err(Error::Stalled)), "{sent:?}");
}
