//! Both directions over an in-memory connection.

use std::sync::Mutex;
use std::time::Duration;

use pasarela_ftp_proto::command::{Mode, RepresentationType, Structure};
use pasarela_ftp_proto::server_pi::Representation;
use pasarela_store::File;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::*;

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
        receive(&mut &*bytes, &how, &copy, &controls()).await
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
