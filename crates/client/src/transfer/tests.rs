//! Copies between places that fail.

use pasarela_store::{ErrorKind, Storage};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::digest::Algorithm;
use crate::progress::Event;
use crate::remote::Local;
use crate::testing::{Faulty, content, options, path, time};

const MIB: usize = 1024 * 1024;

async fn copy_with(from: &Place, to: &Place, options: &Options) -> Result<Outcome, Error> {
    copy(from, to, options, &Progress::default(), &CancellationToken::new()).await
}

/// A source with a file of so many bytes, and a target with nothing.
async fn pair(length: usize) -> (Faulty, Faulty, Vec<u8>) {
    let (source, target) = (Faulty::default(), Faulty::default());
    let bytes = content(length, 1);
    source.put("/a", &bytes, time(0)).await;
    (source, target, bytes)
}

#[tokio::test]
async fn a_copy_has_the_content_and_the_time_and_is_checked_by_the_best_digest() {
    for length in [0, 1, pump::CHUNK, pump::CHUNK * 7 + 3] {
        let (source, target, bytes) = pair(length).await;
        let outcome = copy_with(&source.far("/a"), &target.place("/b"), &options())
            .await
            .unwrap();
        assert_eq!(target.content("/b").await.unwrap(), bytes);
        let size = length as u64;
        let checked = Checked::Digest(Algorithm::Sha256);
        assert_eq!(
            outcome,
            Outcome {
                size,
                moved: size,
                checked,
                time_kept: true
            }
        );
        assert_eq!(
            Storage::stat(&target, &path("/b")).await.unwrap().modified,
            time(0)
        );
    }
}

#[tokio::test]
async fn what_was_known_is_not_asked_for_unless_it_turns_out_to_be_wrong() {
    let size = MIB as u64;
    for (known, expected) in [(size, time(5)), (size - 1, time(0)), (size + 1, time(0))] {
        let (source, target, bytes) = pair(MIB).await;
        let known = Known {
            source: Some((known, time(5))),
            is_new: true,
        };
        let (from, to) = (source.far("/a"), target.place("/b"));
        let stop = CancellationToken::new();
        let copied = copy_known(&from, &to, known, &options(), &Progress::default(), &stop).await;
        assert_eq!(copied.unwrap().size, size);
        assert_eq!(target.content("/b").await.unwrap(), bytes);
        let there = Storage::stat(&target, &path("/b")).await.unwrap();
        assert_eq!(there.modified, expected);
    }
}

#[tokio::test]
async fn a_source_that_breaks_is_gone_on_with_where_it_broke() {
    let (source, target, bytes) = pair(3 * MIB).await;
    source
        .faults()
        .reads_break_at
        .extend([MIB as u64 + 5, 2 * MIB as u64]);
    let (progress, mut events) = Progress::channel(1000);
    let (from, to) = (source.place("/a"), target.place("/b"));
    let outcome = copy(&from, &to, &options(), &progress, &CancellationToken::new()).await;
    assert_eq!(outcome.unwrap().size, bytes.len() as u64);
    assert_eq!(target.content("/b").await.unwrap(), bytes);
    assert_eq!(source.faults().readings, [0, MIB as u64 + 5, 2 * MIB as u64]);
    assert_eq!(target.faults().writings, 1);
    drop(progress);
    let mut retries = 0;
    while let Some(event) = events.recv().await {
        retries += usize::from(matches!(event, Event::Retrying { .. }));
    }
    assert_eq!(retries, 2);
}

#[tokio::test]
async fn a_target_that_breaks_is_gone_on_with_from_what_it_kept() {
    let (source, target, bytes) = pair(3 * MIB).await;
    target.faults().writes_break_at.push_back(2 * MIB as u64);
    let outcome = copy_with(&source.place("/a"), &target.far("/b"), &options())
        .await
        .unwrap();
    assert_eq!(target.content("/b").await.unwrap(), bytes);
    assert_eq!(outcome.moved, MIB as u64);
}

#[tokio::test]
async fn what_breaks_at_the_same_place_each_time_is_given_up() {
    let (source, target, _) = pair(MIB).await;
    source.faults().reads_break_at.extend([0; 100]);
    let options = Options {
        retries: Retries {
            times: 3,
            ..options().retries
        },
        ..options()
    };
    let error = copy_with(&source.place("/a"), &target.place("/b"), &options)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Place { end: End::Source, .. }), "{error}");
    assert!(target.all().await.is_empty());
    assert_eq!(100 - source.faults().reads_break_at.len(), 4);
}

/// Leaves the first MiB of `/a` at the target.
async fn interrupted(source: &Faulty, target: &Faulty) {
    source.faults().reads_break_at.push_back(MIB as u64);
    let options = Options {
        retries: Retries {
            times: 0,
            ..Retries::default()
        },
        ..options()
    };
    copy_with(&source.place("/a"), &target.place("/b"), &options)
        .await
        .unwrap_err();
    assert_eq!(target.part(&path("/b")).await.unwrap(), Some(MIB as u64));
    source.faults().readings.clear();
}

fn resuming() -> Options {
    Options {
        resume: true,
        ..options()
    }
}

#[tokio::test]
async fn a_resumed_copy_moves_only_what_is_missing() {
    for has_digests in [true, false] {
        let (source, target, bytes) = pair(3 * MIB).await;
        interrupted(&source, &target).await;
        let from = source.place_with("/a", |can| {
            can.is_local = false;
            if !has_digests {
                can.digests.clear();
            }
        });
        let outcome = copy_with(&from, &target.place("/b"), &resuming()).await.unwrap();
        assert_eq!(outcome.moved, 2 * MIB as u64);
        assert_eq!(target.content("/b").await.unwrap(), bytes);
        let again = copy_with(&from, &target.place("/b"), &resuming()).await.unwrap();
        assert_eq!((again.moved, again.size), (0, bytes.len() as u64));
    }
}

#[tokio::test]
async fn what_is_there_of_another_file_is_not_gone_on_with() {
    for has_digests in [true, false] {
        let (source, target, _) = pair(3 * MIB).await;
        interrupted(&source, &target).await;
        let mut other = content(3 * MIB, 1);
        other[MIB - 1] ^= 1;
        source.put("/a", &other, time(1)).await;
        let from = source.place_with("/a", |can| {
            if !has_digests {
                can.digests.clear();
            }
        });
        let outcome = copy_with(&from, &target.place("/b"), &resuming()).await.unwrap();
        assert_eq!(outcome.moved, 3 * MIB as u64);
        assert_eq!(target.content("/b").await.unwrap(), other);
    }
}

#[tokio::test]
async fn a_shorter_file_that_stands_at_the_target_is_gone_on_with_when_asked() {
    let (source, target, bytes) = pair(2 * MIB).await;
    target.put("/b", &bytes[..MIB], time(9)).await;
    let outcome = copy_with(&source.place("/a"), &target.place("/b"), &resuming())
        .await
        .unwrap();
    assert_eq!(outcome.moved, MIB as u64);
    assert_eq!(target.content("/b").await.unwrap(), bytes);
    // Longer than the source, it is none of it.
    target.put("/b", &content(3 * MIB, 1), time(9)).await;
    let outcome = copy_with(&source.place("/a"), &target.place("/b"), &resuming())
        .await
        .unwrap();
    assert_eq!(outcome.moved, 2 * MIB as u64);
    assert_eq!(target.content("/b").await.unwrap(), bytes);
}

#[tokio::test]
async fn an_old_file_that_ends_alike_is_not_taken_for_the_result_of_the_first_try() {
    let (source, target, bytes) = pair(MIB).await;
    let mut old = bytes.clone();
    old[0] ^= 1;
    target.put("/b", &old, time(9)).await;
    target.faults().writes_break_at.push_back(0);
    let to = target.place_with("/b", |can| can.digests.clear());
    let outcome = copy_with(&source.place("/a"), &to, &options()).await.unwrap();
    assert_eq!(outcome.moved, MIB as u64);
    assert_eq!(target.content("/b").await.unwrap(), bytes);
}

#[tokio::test]
async fn a_final_reply_that_is_lost_is_found_out_about_and_nothing_is_moved_twice() {
    for has_digests in [true, false] {
        let (source, target, bytes) = pair(MIB).await;
        target.faults().publishes_lost = 1;
        let to = target.place_with("/b", |can| {
            can.is_local = false;
            if !has_digests {
                can.digests.clear();
            }
        });
        copy_with(&source.place("/a"), &to, &options()).await.unwrap();
        assert_eq!(target.content("/b").await.unwrap(), bytes);
        assert_eq!(target.faults().writings, 1);
    }
}

#[tokio::test]
async fn a_source_that_is_not_as_long_as_it_tells_is_no_success() {
    for (told, is_short) in [(MIB as u64 + 1, true), (MIB as u64 - 1, false)] {
        let (source, target, _) = pair(MIB).await;
        target.put("/b", b"old", time(9)).await;
        source.faults().told_size = Some(told);
        let error = copy_with(&source.place("/a"), &target.place("/b"), &options())
            .await
            .unwrap_err();
        assert!(error.is_verification(), "{error}");
        assert_eq!(matches!(error, Error::Short { .. }), is_short);
        assert_eq!(target.content("/b").await.unwrap(), b"old");
    }
}

#[tokio::test]
async fn a_target_that_has_another_length_than_was_written_is_no_success() {
    let (source, target, _) = pair(MIB).await;
    target.faults().told_size = Some(5);
    let error = copy_with(&source.place("/a"), &target.place("/b"), &options())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::SizeDiffers { found: 5, .. }), "{error}");
}

#[tokio::test]
async fn bytes_that_are_not_those_of_the_source_never_stand_under_the_name() {
    for segments in [1, 3] {
        let (source, target, _) = pair(3 * MIB).await;
        target.put("/b", b"old", time(9)).await;
        let options = Options {
            segments,
            ..options()
        };
        // Of several segments only the first reads the byte that is wrong; the digest is read after all of them.
        source.faults().corrupt_reads = segments;
        let error = copy_with(&source.far("/a"), &target.place("/b"), &options)
            .await
            .unwrap_err();
        assert!(
            matches!(error, Error::DigestDiffers { end: End::Source, .. }),
            "{error}"
        );
        assert_eq!(target.content("/b").await.unwrap(), b"old");
        assert_eq!(target.all().await, ["/b"]);
    }
}

#[tokio::test]
async fn a_target_with_other_bytes_than_were_sent_is_found_out() {
    let (source, target, _) = pair(MIB).await;
    target.faults().corrupt_reads = 1;
    let error = copy_with(&source.place("/a"), &target.far("/b"), &options())
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::DigestDiffers { end: End::Target, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_demand_for_digests_fails_where_a_place_has_none() {
    let (source, target, _) = pair(1).await;
    let to = target.place_with("/b", |can| can.digests.clear());
    let demanding = Options {
        verify: Verify::Hash,
        ..options()
    };
    let error = copy_with(&source.place("/a"), &to, &demanding).await.unwrap_err();
    assert!(matches!(error, Error::Unverifiable), "{error}");
    assert!(target.all().await.is_empty());
    let outcome = copy_with(&source.place("/a"), &to, &options()).await.unwrap();
    assert_eq!(outcome.checked, Checked::Size);
    let outcome = copy_with(&source.place("/a"), &target.place("/c"), &demanding)
        .await
        .unwrap();
    assert_eq!(outcome.checked, Checked::Digest(Algorithm::Sha256));
}

#[tokio::test]
async fn segments_are_read_each_from_its_own_start_and_leave_one_whole_file() {
    let (source, target, bytes) = pair(5 * MIB + 17).await;
    target.put("/b", b"old", time(9)).await;
    target.set_mode(&path("/b"), 0o600).await.unwrap();
    // The first two that are opened break in the middle.
    source.faults().reads_break_at.extend([700_000, 2 * MIB as u64]);
    let options = Options {
        segments: 4,
        ..options()
    };
    copy_with(&source.place("/a"), &target.place("/b"), &options)
        .await
        .unwrap();
    assert_eq!(target.content("/b").await.unwrap(), bytes);
    assert_eq!(target.all().await, ["/b"]);
    assert_eq!(Storage::stat(&target, &path("/b")).await.unwrap().mode, 0o600);
    let length = (5 * MIB as u64 + 17).div_ceil(4);
    let readings = source.faults().readings.clone();
    for start in [0, length, 2 * length, 3 * length] {
        assert!(readings.contains(&start), "{readings:?}");
    }
}

#[tokio::test]
async fn segments_that_fail_leave_nothing() {
    let (source, target, _) = pair(4 * MIB).await;
    source.faults().reads_break_at.extend([0; 200]);
    let options = Options {
        segments: 4,
        ..options()
    };
    copy_with(&source.place("/a"), &target.place("/b"), &options)
        .await
        .unwrap_err();
    assert!(target.all().await.is_empty());
    assert_eq!(target.space(&path("/")).await.unwrap(), Some(1 << 30));
}

#[tokio::test]
async fn a_stop_ends_it_and_the_old_file_is_whole() {
    let (source, target, _) = pair(4 * MIB).await;
    target.put("/b", b"old", time(9)).await;
    source.faults().reads_break_at.push_back(MIB as u64);
    let waiting = Options {
        retries: Retries {
            first_wait: Duration::from_secs(3600),
            longest_wait: Duration::from_secs(3600),
            times: 1,
        },
        ..options()
    };
    let (progress, mut events) = Progress::channel(1000);
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    let listener = tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            if matches!(event, Event::Retrying { .. }) {
                stopping.cancel();
            }
        }
    });
    let error = copy(
        &source.place("/a"),
        &target.place("/b"),
        &waiting,
        &progress,
        &stop,
    )
    .await;
    assert!(matches!(error.unwrap_err(), Error::Stopped));
    assert_eq!(target.content("/b").await.unwrap(), b"old");
    drop(progress);
    listener.await.unwrap();
}

#[tokio::test]
async fn what_stands_at_the_target_is_not_replaced_unless_that_is_wanted() {
    let (source, target, _) = pair(1).await;
    target.put("/b", b"old", time(9)).await;
    let careful = Options {
        overwrite: false,
        ..options()
    };
    let error = copy_with(&source.place("/a"), &target.place("/b"), &careful)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Place { error, .. } if error.kind == ErrorKind::Exists));
    assert_eq!(target.content("/b").await.unwrap(), b"old");
}

#[tokio::test]
async fn a_full_target_is_not_tried_again() {
    let target: Arc<dyn Storage> = Arc::new(pasarela_store::memory::Memory::with_room(MIB as u64));
    let (source, _, _) = pair(2 * MIB).await;
    let to = Place {
        remote: Arc::new(Local::over(target)),
        path: path("/b"),
    };
    let error = copy_with(&source.place("/a"), &to, &options()).await.unwrap_err();
    assert!(matches!(error, Error::Place { end: End::Target, error } if error.kind == ErrorKind::NoSpace));
    assert_eq!(source.faults().readings.len(), 1);
}

#[tokio::test]
async fn streams_become_files_and_files_streams() {
    let (target, bytes) = (Faulty::default(), content(MIB + 3, 1));
    let (progress, stop) = (Progress::default(), CancellationToken::new());
    let outcome = send(&bytes[..], &target.far("/b"), &options(), &progress, &stop)
        .await
        .unwrap();
    assert_eq!(outcome.checked, Checked::Digest(Algorithm::Sha256));
    assert_eq!(target.content("/b").await.unwrap(), bytes);

    let mut all = Vec::new();
    let outcome = receive(&target.far("/b"), None, &mut all, &options(), &progress, &stop)
        .await
        .unwrap();
    assert_eq!(
        (outcome.checked, all == bytes),
        (Checked::Digest(Algorithm::Sha256), true)
    );
    let mut some = Vec::new();
    receive(
        &target.far("/b"),
        Some(5..9),
        &mut some,
        &options(),
        &progress,
        &stop,
    )
    .await
    .unwrap();
    assert_eq!(some, bytes[5..9]);

    target.faults().told_size = Some(5);
    let error = receive(
        &target.far("/b"),
        None,
        &mut Vec::new(),
        &options(),
        &progress,
        &stop,
    )
    .await;
    assert!(matches!(error.unwrap_err(), Error::Long { expected: 5 }));
}

#[tokio::test(start_paused = true)]
async fn transfers_that_share_a_bucket_share_its_rate() {
    let (source, target, bytes) = pair(2 * MIB).await;
    let options = Options {
        pace: Pace::new(vec![Bucket::new(MIB as u64)]),
        segments: 2,
        ..options()
    };
    let (progress, stop) = (Progress::default(), CancellationToken::new());
    let (from, copied, sent) = (source.place("/a"), target.place("/b"), target.place("/c"));
    let mut received = Vec::new();
    let began = tokio::time::Instant::now();
    let (copied, sent, read) = tokio::join!(
        copy(&from, &copied, &options, &progress, &stop),
        send(&bytes[..], &sent, &options, &progress, &stop),
        receive(&from, None, &mut received, &options, &progress, &stop),
    );
    let took = began.elapsed().as_millis();
    for outcome in [copied, sent, read] {
        assert_eq!(outcome.unwrap().moved, 2 * MIB as u64);
    }
    // Three times 2 MiB at 1 MiB/s, by the runtime's own clock, which stands still while there is work.
    assert!((5900..6500).contains(&took), "{took} ms");
    assert_eq!(received, bytes);
    assert_eq!(target.content("/b").await.unwrap(), bytes);
    assert_eq!(target.content("/c").await.unwrap(), bytes);
}
