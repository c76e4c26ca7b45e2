//! What only a disk can show: parts and links as files, modes, pipes, odd names, a full disk.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::time::Duration;

use rustix::fs::{FlockOperation, Mode, flock, mkfifoat};

use super::super::part::canonical_name;
use super::*;
use crate::Kind;

const WAYS: [Way; 2] = [Way::Kernel, Way::Walk];

fn part_of(name: &str) -> String {
    String::from_utf8(canonical_name(name.as_bytes())).unwrap()
}

fn mode_of(file: &std::path::Path) -> u32 {
    std::fs::metadata(file).unwrap().mode() & 0o7777
}

#[tokio::test]
async fn a_part_lies_beside_its_target_and_is_nobody_elses_to_read() {
    let disk = Disk::new(Way::Kernel);
    let file = disk.store.open(&path("f"), Open::Replace).await.unwrap();
    write(&file, b"x").await;
    assert_eq!(disk.names(""), [part_of("f")]);
    assert_eq!(mode_of(&disk.at(&part_of("f"))), 0o600);
    file.prepare().await.unwrap();
    drop(file);
    assert_eq!(
        mode_of(&disk.at(&part_of("f"))),
        0o600,
        "kept, it is hidden again"
    );
    put(&disk.store, "f", b"x").await;
    assert_eq!(disk.names(""), ["f"]);
    assert_eq!(mode_of(&disk.at("f")), 0o666 & !umask());
}

#[tokio::test]
async fn a_part_answers_to_no_name() {
    let disk = Disk::new(Way::Kernel);
    let store = &disk.store;
    cut(store, "f", Open::Replace, b"x").await;
    put(store, "g", b"x").await;
    let part = part_of("f");
    let found = [
        part.clone(),
        format!("/{part}/.."),
        format!("{part}/x"),
        part.to_uppercase(),
    ];
    for name in [&found[0], &found[2], &found[3]] {
        let name = path(name);
        assert_eq!(kind_of(store.stat(&name).await), ErrorKind::NotFound);
        assert_eq!(kind_of(store.stat_entry(&name).await), ErrorKind::NotFound);
        assert_eq!(kind_of(store.list(&name).await), ErrorKind::NotFound);
        assert_eq!(kind_of(store.open(&name, Open::Read).await), ErrorKind::NotFound);
        assert_eq!(kind_of(store.part(&name).await), ErrorKind::NotFound);
        assert_eq!(kind_of(store.remove_file(&name).await), ErrorKind::NotFound);
        assert_eq!(kind_of(store.remove_dir(&name).await), ErrorKind::NotFound);
        assert_eq!(
            kind_of(store.rename(&name, &path("h"), true).await),
            ErrorKind::NotFound
        );
        assert_eq!(kind_of(store.set_mode(&name, 0o644).await), ErrorKind::NotFound);
        assert_eq!(
            kind_of(store.set_modified(&name, SystemTime::now()).await),
            ErrorKind::NotFound
        );
        assert_eq!(kind_of(store.space(&name).await), ErrorKind::NotFound);
        for how in [
            Open::Replace,
            Open::CreateNew,
            Open::Append,
            Open::Resume { offset: 0 },
        ] {
            assert_eq!(kind_of(store.open(&name, how).await), ErrorKind::BadName);
        }
        assert_eq!(kind_of(store.make_dir(&name).await), ErrorKind::BadName);
        assert_eq!(
            kind_of(store.rename(&path("g"), &name, true).await),
            ErrorKind::BadName
        );
        assert_eq!(kind_of(store.make_link(b"g", &name).await), ErrorKind::BadName);
    }
    assert_eq!(
        kind_of(store.make_link(format!("./{part}/").as_bytes(), &path("h")).await),
        ErrorKind::BadName
    );
    assert_eq!(list(store, "/").await.len(), 1);
    assert!(path(&found[1]).is_root());
}

#[tokio::test]
async fn an_upload_to_a_link_replaces_the_file_behind_it() {
    for way in WAYS {
        let disk = Disk::new(way);
        std::fs::create_dir(disk.at("d")).unwrap();
        std::fs::write(disk.at("d/f"), "old").unwrap();
        symlink("/d/f", disk.at("absolute")).unwrap();
        symlink("d/../d/./f", disk.at("relative")).unwrap();
        symlink("relative", disk.at("nested")).unwrap();
        symlink("d/new", disk.at("dangling")).unwrap();
        for name in ["absolute", "relative", "nested"] {
            put(&disk.store, name, b"through a link").await;
            assert_eq!(std::fs::read(disk.at("d/f")).unwrap(), b"through a link");
            std::fs::write(disk.at("d/f"), "old").unwrap();
        }
        cut(&disk.store, "dangling", Open::Replace, b"half").await;
        assert_eq!(disk.names("d"), [part_of("new"), "f".into()]);
        assert_eq!(disk.store.part(&path("dangling")).await.unwrap(), Some(4));
        assert_eq!(
            kind_of(disk.store.open(&path("dangling"), Open::CreateNew).await),
            ErrorKind::Exists
        );
        put(&disk.store, "dangling", b"new").await;
        assert_eq!(disk.names("d"), ["f", "new"]);
        assert!(
            std::fs::symlink_metadata(disk.at("dangling"))
                .unwrap()
                .is_symlink()
        );
    }
}

#[tokio::test]
async fn links_are_told_moved_and_removed_as_links() {
    for way in WAYS {
        let disk = Disk::new(way);
        put(&disk.store, "f", b"12345").await;
        disk.store.make_link(b"/f", &path("l")).await.unwrap();
        let entry = disk.store.stat_entry(&path("l")).await.unwrap();
        assert_eq!(
            (entry.metadata.kind, entry.link_target.as_deref()),
            (Kind::Link, Some(&b"/f"[..]))
        );
        assert_eq!(disk.store.stat(&path("l")).await.unwrap().size, 5);
        disk.store.set_mode(&path("l"), 0o604).await.unwrap();
        assert_eq!(mode_of(&disk.at("f")), 0o604);
        disk.store.rename(&path("l"), &path("m"), false).await.unwrap();
        assert!(
            list(&disk.store, "/")
                .await
                .iter()
                .any(|entry| entry.link_target.is_some())
        );
        disk.store.remove_file(&path("m")).await.unwrap();
        assert_eq!(disk.names(""), ["f"]);
        assert_eq!(
            kind_of(disk.store.make_link(b"x", &path("f")).await),
            ErrorKind::Exists
        );
    }
}

#[tokio::test]
async fn a_pipe_blocks_nobody_and_is_no_file() {
    let disk = Disk::new(Way::Kernel);
    let root = std::fs::File::open(disk.at("")).unwrap();
    mkfifoat(&root, "pipe", Mode::RWXU).unwrap();
    let name = path("pipe");
    for how in [
        Open::Read,
        Open::Replace,
        Open::Append,
        Open::Resume { offset: 0 },
    ] {
        assert_eq!(kind_of(disk.store.open(&name, how).await), ErrorKind::NotAFile);
    }
    assert_eq!(
        kind_of(disk.store.set_mode(&name, 0o600).await),
        ErrorKind::NotAFile
    );
    assert_eq!(disk.store.stat(&name).await.unwrap().kind, Kind::Other);
    // Nor does one that stands where a part should.
    mkfifoat(&root, part_of("f"), Mode::RWXU).unwrap();
    put(&disk.store, "f", b"x").await;
    assert_eq!(content(&disk.store, "f").await, b"x");
}

#[tokio::test]
async fn what_somebody_planted_as_a_part_is_not_written_to() {
    let disk = Disk::new(Way::Kernel);
    std::fs::write(disk.dir.path().join("outside"), "precious").unwrap();
    symlink("../outside", disk.at(&part_of("a"))).unwrap();
    std::fs::hard_link(disk.dir.path().join("outside"), disk.at(&part_of("b"))).unwrap();
    std::fs::create_dir(disk.at(&part_of("c"))).unwrap();
    for name in ["a", "b", "c"] {
        put(&disk.store, name, b"upload").await;
        assert_eq!(content(&disk.store, name).await, b"upload");
        disk.store.remove_file(&path(name)).await.unwrap();
        cut(&disk.store, name, Open::Replace, b"upload").await;
    }
    assert_eq!(
        std::fs::read(disk.dir.path().join("outside")).unwrap(),
        b"precious"
    );
}

#[tokio::test]
async fn set_user_id_is_not_inherited_by_new_content() {
    let disk = Disk::new(Way::Kernel);
    std::fs::write(disk.at("f"), "old").unwrap();
    std::fs::set_permissions(disk.at("f"), std::fs::Permissions::from_mode(0o6755)).unwrap();
    put(&disk.store, "f", b"new").await;
    assert_eq!(mode_of(&disk.at("f")), 0o755);
    disk.store.set_mode(&path("f"), 0o7711).await.unwrap();
    assert_eq!(mode_of(&disk.at("f")), 0o711);
}

#[tokio::test]
async fn names_are_bytes_and_may_be_as_long_as_the_file_system_takes() {
    let disk = Disk::new(Way::Kernel);
    for name in [&b"\xff\xfe raw"[..], &[b'n'; 255], "ñ".repeat(127).as_bytes()] {
        let name = VirtualPath::root().resolve(name).unwrap();
        drop(disk.store.open(&name, Open::Replace).await.unwrap());
        let file = disk.store.open(&name, Open::CreateNew).await.unwrap();
        write(&file, b"x").await;
        drop(file);
        assert_eq!(disk.store.part(&name).await.unwrap(), Some(1));
        let file = disk.store.open(&name, Open::Append).await.unwrap();
        write(&file, b"y").await;
        file.publish().await.unwrap();
        let on_disk = disk
            .at("")
            .join(std::ffi::OsStr::from_bytes(name.name().unwrap()));
        assert_eq!(std::fs::read(on_disk).unwrap(), b"xy");
    }
    assert_eq!(list(&disk.store, "/").await.len(), 3);
}

#[tokio::test]
async fn ten_thousand_entries_come_in_pages_while_some_vanish() {
    let disk = Disk::new(Way::Kernel);
    for number in 0..10_000 {
        std::fs::File::create(disk.at(&number.to_string())).unwrap();
    }
    assert_eq!(list(&disk.store, "/").await.len(), 10_000);
    let mut pages = disk.store.list(&VirtualPath::root()).await.unwrap();
    pages.next_page().await.unwrap().unwrap();
    for number in 0..10_000 {
        std::fs::remove_file(disk.at(&number.to_string())).unwrap();
    }
    // Names that the system had handed out already are not told any more.
    assert!(pages.next_page().await.unwrap().is_none());
}

#[tokio::test]
async fn parts_that_nobody_came_back_for_are_swept_unless_they_are_held() {
    let disk = Disk::new(Way::Kernel);
    let old = SystemTime::now() - Duration::from_secs(25 * 3600);
    let plant = |name: &str, time: SystemTime| {
        let file = std::fs::File::create(disk.at(&part_of(name))).unwrap();
        std::io::Write::write_all(&mut &file, b"01").unwrap();
        file.set_modified(time).unwrap();
        file
    };
    let held = plant("held", old);
    flock(&held, FlockOperation::LockExclusive).unwrap();
    plant("old", old);
    plant("recent", old + Duration::from_secs(2 * 3600));
    plant("f", old);
    let file = disk.store.open(&path("f"), Open::Append).await.unwrap();
    assert_eq!(
        file.start(),
        2,
        "the one that this upload goes on with is not swept before its eyes"
    );
    drop(file);
    let mut left = [part_of("held"), part_of("recent"), part_of("f")];
    left.sort();
    assert_eq!(disk.names(""), left);
}

#[tokio::test]
async fn a_part_that_was_taken_away_is_not_published() {
    let disk = Disk::new(Way::Kernel);
    put(&disk.store, "f", b"old").await;
    let file = disk.store.open(&path("f"), Open::Replace).await.unwrap();
    write(&file, b"new").await;
    std::fs::rename(disk.at(&part_of("f")), disk.at("elsewhere")).unwrap();
    std::fs::write(disk.at(&part_of("f")), "forged").unwrap();
    assert_eq!(kind_of(file.publish().await), ErrorKind::Io);
    drop(file);
    assert_eq!(content(&disk.store, "f").await, b"old");
}

#[tokio::test]
async fn a_part_moves_with_its_directory() {
    let disk = Disk::new(Way::Kernel);
    disk.store.make_dir(&path("d")).await.unwrap();
    let file = disk.store.open(&path("d/f"), Open::Replace).await.unwrap();
    write(&file, b"x").await;
    disk.store.rename(&path("d"), &path("e"), false).await.unwrap();
    file.publish().await.unwrap();
    assert_eq!(content(&disk.store, "e/f").await, b"x");
}

#[tokio::test]
async fn a_file_larger_than_the_page_cache_answer_is_read_whole() {
    let disk = Disk::new(Way::Kernel);
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
    std::fs::write(disk.at("f"), &bytes).unwrap();
    let file = disk.store.open(&path("f"), Open::Read).await.unwrap();
    assert!(content(&disk.store, "f").await == bytes);
    assert!(file.read_at(3_000_000, 10).await.unwrap().is_empty());
    assert!(file.read_at(u64::MAX, 10).await.unwrap().is_empty());
    assert_eq!(file.as_os_file().unwrap().metadata().unwrap().len(), 3_000_000);
    // A file that shrinks under our hands ends earlier, without an error.
    std::fs::write(disk.at("f"), b"short").unwrap();
    assert!(file.read_at(10, 10).await.unwrap().is_empty());
}

/// With `TMPDIR` on a tmpfs of a few MiB: `cargo test -p pasarela-store -- --ignored`.
#[tokio::test]
#[ignore = "needs TMPDIR on a file system with less than 64 MiB free"]
async fn a_full_disk_keeps_the_old_file_and_has_its_space_back() {
    let disk = Disk::with(Way::Kernel, Durability::Safe);
    let root = VirtualPath::root();
    put(&disk.store, "old", b"the old one").await;
    let before = disk.store.space(&root).await.unwrap().unwrap();
    assert!(before < 64 << 20);
    for name in ["old", "new"] {
        let file = disk.store.open(&path(name), Open::Replace).await.unwrap();
        let mut at = 0;
        let failed = loop {
            match file.write_at(at, Bytes::from(vec![1; 1 << 18])).await {
                Ok(()) => at += 1 << 18,
                Err(error) => break error,
            }
        };
        assert_eq!(failed.kind, ErrorKind::NoSpace);
        assert_eq!(kind_of(file.publish().await), ErrorKind::NoSpace);
        drop(file);
        assert_eq!(disk.store.space(&root).await.unwrap().unwrap(), before);
        assert_eq!(content(&disk.store, "old").await, b"the old one");
    }
    assert_eq!(disk.names(""), ["old"]);
}
