//! Trees made alike, on disk and in memory.

use std::path::Path;
use std::time::SystemTime;

use pasarela_store::{Entry, Kind, Metadata, Storage};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::progress::Progress;
use crate::remote::{Local, Place};
use crate::testing::{Faulty, content, options, path, time};

fn settings() -> Settings {
    Settings {
        transfer: options(),
        ..Settings::default()
    }
}

async fn drawn(from: &Place, to: &Place, settings: &Settings) -> Plan {
    plan(from, to, settings, &CancellationToken::new()).await.unwrap()
}

async fn applied(plan: &Plan, from: &Place, to: &Place, settings: &Settings) -> Summary {
    apply(
        plan,
        from,
        to,
        settings,
        &Progress::default(),
        &CancellationToken::new(),
    )
    .await
}

async fn synced(from: &Place, to: &Place, settings: &Settings) -> Summary {
    let plan = drawn(from, to, settings).await;
    applied(&plan, from, to, settings).await
}

fn disk(dir: &Path) -> Place {
    Local::at(dir).unwrap()
}

async fn tree(files: &[(&str, &str, u64)]) -> Faulty {
    let tree = Faulty::default();
    for (path, content, seconds) in files {
        tree.put(path, content.as_bytes(), time(*seconds)).await;
    }
    tree
}

fn steps(plan: &Plan) -> Vec<String> {
    let text = |step: &Step| {
        let word = match step {
            Step::MakeDir { .. } => "mkdir",
            Step::Copy { replaces: true, .. } => "replace",
            Step::Copy { .. } => "copy",
            Step::DeleteFile { .. } => "rm",
            Step::RemoveDir { .. } => "rmdir",
            Step::SetTime { .. } => "time",
        };
        format!("{word} {}", String::from_utf8(step.path().to_bytes()).unwrap())
    };
    plan.steps.iter().map(text).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_files_are_copied_once() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    for folder in 0..20 {
        let folder = source.join(format!("f{folder}/inner"));
        std::fs::create_dir_all(&folder).unwrap();
        for file in 0..100 {
            let bytes = content(file * 7, file as u32);
            std::fs::write(folder.join(format!("{file}.bin")), bytes).unwrap();
        }
    }
    let settings = Settings {
        jobs: 8,
        ..settings()
    };
    let (from, to) = (disk(&source), disk(&dir.path().join("a/b/target")));
    let first = synced(&from, &to, &settings).await;
    assert_eq!((first.copied, first.made), (2000, 41));
    assert!(first.failed.is_empty(), "{:?}", first.failed);
    let to = disk(&dir.path().join("a/b/target"));
    for folder in 0..20 {
        for file in [0, 37, 99] {
            let name = format!("f{folder}/inner/{file}.bin");
            let copied = std::fs::read(dir.path().join("a/b/target").join(name)).unwrap();
            assert_eq!(copied, content(file * 7, file as u32));
        }
    }
    // And back into memory and out again: nothing differs.
    assert_eq!(drawn(&from, &to, &settings).await.steps, []);
    let memory = Faulty::default();
    assert_eq!(synced(&to, &memory.place("/x/y"), &settings).await.copied, 2000);
    assert_eq!(drawn(&memory.place("/x/y"), &from, &settings).await.steps, []);
}

#[tokio::test]
async fn what_differs_is_replaced_and_what_is_too_much_goes_only_when_asked() {
    let source = tree(&[
        ("/same", "abc", 0),
        ("/size", "abcd", 0),
        ("/time", "abc", 5),
        ("/d/new", "x", 0),
    ])
    .await;
    let target = tree(&[
        ("/same", "abc", 0),
        ("/size", "abc", 0),
        ("/time", "xyz", 0),
        ("/old/e/f", "x", 0),
    ])
    .await;
    let (from, to) = (source.place("/"), target.place("/"));
    let plan = drawn(&from, &to, &settings()).await;
    assert_eq!(
        steps(&plan),
        ["mkdir /d", "copy /d/new", "replace /size", "replace /time"]
    );
    let deleting = Settings {
        delete: true,
        ..settings()
    };
    let plan = drawn(&from, &to, &deleting).await;
    assert_eq!(steps(&plan)[4..], ["rm /old/e/f", "rmdir /old/e", "rmdir /old"]);
    // A plan changes nothing.
    assert_eq!(
        target.all().await,
        ["/old", "/old/e", "/old/e/f", "/same", "/size", "/time"]
    );
    let summary = applied(&plan, &from, &to, &deleting).await;
    assert_eq!((summary.copied, summary.made, summary.removed), (3, 1, 3));
    assert_eq!(target.all().await, source.all().await);
    assert_eq!(target.content("/time").await.unwrap(), b"abc");
    assert_eq!(drawn(&from, &to, &deleting).await.steps, []);
}

#[tokio::test]
async fn a_file_that_became_a_folder_and_a_folder_that_became_a_file_are_changed() {
    let source = tree(&[("/a/x", "1", 0), ("/b", "2", 0)]).await;
    let target = tree(&[("/a", "1", 0), ("/b/y/z", "2", 0)]).await;
    let (from, to) = (source.place("/"), target.place("/"));
    let summary = synced(&from, &to, &settings()).await;
    // A folder with what it holds is not removed unasked.
    assert_eq!((summary.copied, summary.failed.len()), (1, 1));
    assert_eq!(target.content("/b/y/z").await.unwrap(), b"2");
    let deleting = Settings {
        delete: true,
        ..settings()
    };
    let plan = drawn(&from, &to, &deleting).await;
    assert_eq!(steps(&plan), ["rm /b/y/z", "rmdir /b/y", "rmdir /b", "copy /b"]);
    assert!(applied(&plan, &from, &to, &deleting).await.failed.is_empty());
    assert_eq!(target.all().await, ["/a", "/a/x", "/b"]);
}

#[tokio::test]
async fn what_the_filter_hides_is_neither_copied_nor_removed() {
    let source = tree(&[("/a.c", "1", 0), ("/a.o", "1", 0), ("/cache/x", "1", 0)]).await;
    let target = tree(&[("/b.o", "1", 0), ("/b.c", "1", 0), ("/gone/k.o", "1", 0)]).await;
    let mut deleting = Settings {
        delete: true,
        ..settings()
    };
    deleting.filter.exclude("*.o");
    deleting.filter.exclude("cache/");
    let summary = synced(&source.place("/"), &target.place("/"), &deleting).await;
    assert!(summary.failed.is_empty(), "{:?}", summary.failed);
    assert_eq!(target.all().await, ["/a.c", "/b.o", "/gone", "/gone/k.o"]);
}

#[tokio::test]
async fn with_patterns_to_include_folders_are_made_for_what_they_hold() {
    let source = tree(&[("/a/b/x.jpg", "1", 0), ("/c/x.png", "1", 0)]).await;
    let target = Faulty::default();
    let mut settings = settings();
    settings.filter.include("*.jpg");
    synced(&source.place("/"), &target.place("/"), &settings).await;
    assert_eq!(target.all().await, ["/a", "/a/b", "/a/b/x.jpg"]);
}

#[tokio::test]
async fn nothing_is_removed_when_the_source_could_not_be_listed_in_full() {
    let source = tree(&[("/a", "1", 0), ("/hidden/b", "1", 0)]).await;
    source.faults().unlistable.insert(path("/hidden"));
    let target = tree(&[("/hidden/b", "1", 0), ("/other", "1", 0)]).await;
    let deleting = Settings {
        delete: true,
        ..settings()
    };
    let summary = synced(&source.place("/"), &target.place("/"), &deleting).await;
    assert_eq!((summary.copied, summary.removed, summary.failed.len()), (1, 0, 1));
    assert_eq!(target.all().await, ["/a", "/hidden", "/hidden/b", "/other"]);
}

#[tokio::test]
async fn a_file_that_fails_does_not_keep_the_others() {
    let source = tree(&[("/a", "1", 0), ("/b", "1", 0), ("/c", "1", 0)]).await;
    source.faults().unreadable.insert(path("/b"));
    let target = Faulty::default();
    let summary = synced(&source.place("/"), &target.place("/"), &settings()).await;
    assert_eq!(summary.copied, 2);
    assert_eq!(summary.failed[0].path, path("/b"));
    assert!(matches!(
        summary.failed[0].error,
        Some(transfer::Error::Place { .. })
    ));
    assert_eq!(target.all().await, ["/a", "/c"]);
}

#[tokio::test]
async fn content_decides_when_asked_and_then_only_the_time_is_set() {
    for has_digests in [true, false] {
        let source = tree(&[("/same", "abc", 5), ("/other", "abc", 0)]).await;
        let target = tree(&[("/same", "abc", 0), ("/other", "xyz", 0)]).await;
        let by_content = Settings {
            compare: Compare::Content,
            ..settings()
        };
        let from = source.place_with("/", |can| {
            if !has_digests {
                can.digests.clear();
            }
        });
        let to = target.place("/");
        let plan = drawn(&from, &to, &by_content).await;
        assert_eq!(steps(&plan), ["replace /other", "time /same"]);
        applied(&plan, &from, &to, &by_content).await;
        assert_eq!(target.content("/other").await.unwrap(), b"abc");
        assert_eq!(
            Storage::stat(&target, &path("/same")).await.unwrap().modified,
            time(5)
        );
        assert_eq!(drawn(&from, &to, &by_content).await.steps, []);
    }
}

#[tokio::test]
async fn what_is_newer_at_the_target_stays_with_update_and_times_can_be_left_out() {
    let source = tree(&[("/newer", "abcd", 5), ("/older", "abcd", 0)]).await;
    let target = tree(&[("/newer", "abc", 0), ("/older", "xyz", 5)]).await;
    let (from, to) = (source.place("/"), target.place("/"));
    let update = Settings {
        update: true,
        ..settings()
    };
    assert_eq!(steps(&drawn(&from, &to, &update).await), ["replace /newer"]);
    let target = tree(&[("/newer", "xyzu", 0), ("/older", "xyz", 5)]).await;
    let by_size = Settings {
        compare: Compare::Size,
        ..settings()
    };
    assert_eq!(
        steps(&drawn(&from, &target.place("/"), &by_size).await),
        ["replace /older"]
    );
}

#[tokio::test]
async fn a_target_that_cannot_be_given_times_is_left_alone_the_second_time() {
    let source = tree(&[("/a", "abc", 0)]).await;
    let target = Faulty::default();
    let to = target.place_with("/", |can| can.set_times = false);
    let from = source.place("/");
    assert_eq!(synced(&from, &to, &settings()).await.copied, 1);
    assert_eq!(drawn(&from, &to, &settings()).await.steps, []);
    let later = SystemTime::now() + std::time::Duration::from_secs(100);
    source.put("/a", b"xyz", later).await;
    assert_eq!(drawn(&from, &to, &settings()).await.steps.len(), 1);
}

fn entry(name: &[u8], kind: Kind) -> Entry {
    Entry {
        name: name.to_vec(),
        metadata: Metadata {
            kind,
            size: 1,
            modified: time(0),
            mode: 0o644,
            uid: 0,
            gid: 0,
            links: 1,
            unique: (0, 0),
        },
        link_target: Some(b"/etc".to_vec()),
    }
}

#[tokio::test]
async fn no_name_that_a_server_lists_leads_out_of_the_target_and_no_link_is_made() {
    let source = tree(&[("/good", "1", 0)]).await;
    let mut evil = Vec::new();
    for start in [
        "../", "/", "a/../../", "./", "a/", "\0", "\r\n", "\x1b]0;", "..", ".",
    ] {
        for number in 0..25 {
            let name = if start.ends_with('.') {
                start.into()
            } else {
                format!("{start}evil{number}")
            };
            evil.push(entry(name.as_bytes(), Kind::File));
            evil.push(entry(name.as_bytes(), Kind::Directory));
        }
    }
    evil.push(entry(b"ln", Kind::Link));
    assert!(evil.len() > 500);
    source.faults().listed.insert(path("/"), evil);
    let dir = tempfile::tempdir().unwrap();
    let inside = dir.path().join("inside");
    std::fs::create_dir(&inside).unwrap();
    let summary = synced(&source.place("/"), &disk(&inside), &settings()).await;
    assert_eq!((summary.copied, summary.failed.len()), (1, 500));
    let names = |dir: &Path| -> Vec<_> {
        let entries = std::fs::read_dir(dir).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect()
    };
    assert_eq!(
        (names(dir.path()), names(&inside)),
        (vec!["inside".into()], vec!["good".into()])
    );
}

#[tokio::test]
async fn links_on_disk_are_left_out_or_followed_within_and_never_written_through() {
    let dir = tempfile::tempdir().unwrap();
    let (source, target) = (dir.path().join("source"), dir.path().join("target"));
    for folder in ["real", "../target"] {
        std::fs::create_dir_all(source.join(folder)).unwrap();
    }
    std::fs::write(dir.path().join("outside"), "secret").unwrap();
    std::fs::write(source.join("real/f"), "abc").unwrap();
    std::fs::write(source.join("w"), "new").unwrap();
    for (to, link) in [
        ("real", "folder"),
        ("real/f", "file"),
        ("../outside", "out"),
        ("..", "real/loop"),
    ] {
        std::os::unix::fs::symlink(to, source.join(link)).unwrap();
    }
    std::fs::write(target.join("kept"), "kept").unwrap();
    std::os::unix::fs::symlink("kept", target.join("w")).unwrap();
    let deleting = Settings {
        delete: true,
        ..settings()
    };
    // What a link at the source hides is not removed.
    std::fs::write(target.join("out"), "mine").unwrap();
    let mut summary = synced(&disk(&source), &disk(&target), &settings()).await;
    assert!(summary.failed.is_empty(), "{:?}", summary.failed);
    assert!(!target.join("folder").exists() && !target.join("file").exists());
    assert_eq!(std::fs::read(target.join("kept")).unwrap(), b"kept");
    assert!(target.join("w").symlink_metadata().unwrap().is_file());

    let following = Settings {
        links: Links::Follow,
        ..deleting
    };
    summary = synced(&disk(&source), &disk(&target), &following).await;
    assert!(summary.failed.is_empty(), "{:?}", summary.failed);
    assert_eq!(std::fs::read(target.join("folder/f")).unwrap(), b"abc");
    assert_eq!(std::fs::read(target.join("file")).unwrap(), b"abc");
    assert_eq!(std::fs::read(target.join("out")).unwrap(), b"mine");
    assert!(!target.join("real/loop").exists() && !target.join("kept").exists());
}

#[tokio::test]
async fn names_that_are_one_at_the_target_are_not_both_written() {
    let source = tree(&[
        ("/README", "1", 0),
        ("/readme", "2", 0),
        ("/Ñ/x", "1", 0),
        ("/n\u{303}/y", "2", 0),
    ])
    .await;
    let target = Faulty::default();
    let to = target.place_with("/", |can| can.folds_names = true);
    let summary = synced(&source.place("/"), &to, &settings()).await;
    assert_eq!((summary.copied, summary.failed.len()), (2, 2));
    assert_eq!(target.content("/README").await.unwrap(), b"1");
    let target = Faulty::default();
    assert_eq!(
        synced(&source.place("/"), &target.place("/"), &settings())
            .await
            .copied,
        4
    );
}

#[tokio::test]
async fn a_saved_plan_is_carried_out_later_unless_something_changed() {
    use std::os::unix::ffi::OsStrExt;
    let dir = tempfile::tempdir().unwrap();
    let (source, target) = (dir.path().join("source"), dir.path().join("target"));
    std::fs::create_dir_all(&target).unwrap();
    std::fs::create_dir_all(&source).unwrap();
    std::fs::write(source.join(std::ffi::OsStr::from_bytes(b"odd\xff")), "1").unwrap();
    std::fs::write(source.join("plain"), "2").unwrap();
    let (from, to, stop) = (disk(&source), disk(&target), CancellationToken::new());
    let mut drawn = drawn(&from, &to, &settings()).await;
    drawn.source = "here".into();
    let text = drawn.to_json().unwrap();
    assert!(text.contains("\"/plain\"") && text.contains("\"hex\""), "{text}");
    let read = Plan::from_json(&text).unwrap();
    assert_eq!(read, drawn);
    assert!(matches!(
        Plan::from_json(&text.replace("\"plan\": 1", "\"plan\": 2")),
        Err(BadPlan::Version(2))
    ));
    assert!(matches!(Plan::from_json("{}"), Err(BadPlan::Form(_))));

    check_fresh(&read, &from, &to, &settings(), &stop).await.unwrap();
    std::fs::write(target.join("new"), "3").unwrap();
    let stale = check_fresh(&read, &from, &to, &settings(), &stop)
        .await
        .unwrap_err();
    assert!(matches!(stale, Error::Stale(transfer::End::Target)), "{stale}");
    std::fs::remove_file(target.join("new")).unwrap();
    std::fs::write(source.join("plain"), "longer").unwrap();
    let stale = check_fresh(&read, &from, &to, &settings(), &stop)
        .await
        .unwrap_err();
    assert!(matches!(stale, Error::Stale(transfer::End::Source)), "{stale}");
}

#[tokio::test]
async fn a_plan_with_a_path_that_climbs_stays_beneath_the_target() {
    let source = tree(&[("/x", "1", 0)]).await;
    let target = Faulty::default();
    target.put("/in/keep", b"1", time(0)).await;
    let plan = drawn(&source.place("/"), &target.place("/in"), &settings()).await;
    let text = plan.to_json().unwrap().replace("\"/x\"", "\"/../../x\"");
    let plan = Plan::from_json(&text).unwrap();
    applied(&plan, &source.place("/"), &target.place("/in"), &settings()).await;
    assert_eq!(target.all().await, ["/in", "/in/keep", "/in/x"]);
}

#[tokio::test]
async fn a_stop_ends_a_listing_and_a_plan() {
    let source = tree(&[("/a", "1", 0), ("/b", "1", 0)]).await;
    let target = Faulty::default();
    let (from, to, stop) = (source.place("/"), target.place("/"), CancellationToken::new());
    let drawn = drawn(&from, &to, &settings()).await;
    stop.cancel();
    let error = plan(&from, &to, &settings(), &stop).await.unwrap_err();
    assert!(matches!(error, Error::Stopped));
    let summary = apply(&drawn, &from, &to, &settings(), &Progress::default(), &stop).await;
    assert!(summary.is_stopped && summary.copied == 0);
    assert!(target.all().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_pace_holds_for_what_is_read_only_to_be_compared() {
    const MIB: u64 = 1024 * 1024;
    let (source, target) = (Faulty::default(), Faulty::default());
    let bytes = content(MIB as usize, 1);
    source.put("/a", &bytes, time(0)).await;
    target.put("/a", &bytes, time(0)).await;
    let far = source.place_with("/", |can| {
        can.is_local = false;
        can.digests.clear();
    });
    let paced = Settings {
        compare: Compare::Content,
        transfer: transfer::Options {
            pace: transfer::Pace::new(vec![transfer::Bucket::new(MIB)]),
            ..options()
        },
        ..settings()
    };
    let began = tokio::time::Instant::now();
    assert_eq!(drawn(&far, &target.place("/"), &paced).await.steps, []);
    let took = began.elapsed().as_millis();
    assert!((900..1500).contains(&took), "{took} ms");
}
