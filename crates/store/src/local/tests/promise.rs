//! The publish promise and the words of the contract, for every backend alike.

use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::Kind;
use crate::memory::Memory;

/// Runs each test on the disk in both ways of resolution, with and without syncing, and in memory.
macro_rules! for_every_backend {
    ($($name:ident)*) => {
        mod disk_by_kernel { $(#[tokio::test] async fn $name() {
            super::$name(&super::Disk::with(super::Way::Kernel, super::Durability::Safe).store).await;
        })* }
        mod disk_by_walk { $(#[tokio::test] async fn $name() {
            super::$name(&super::Disk::new(super::Way::Walk).store).await;
        })* }
        mod memory { $(#[tokio::test] async fn $name() {
            super::$name(&super::Memory::new()).await;
        })* }
    };
}

for_every_backend! {
    the_old_file_is_whole_until_publish
    a_new_file_stands_nowhere_until_publish
    dropped_over_an_old_file_leaves_no_part
    dropped_under_a_new_name_leaves_its_part
    an_empty_part_is_not_kept
    two_uploads_to_one_name_are_each_whole_and_the_last_wins
    a_second_upload_that_is_dropped_leaves_the_first_ones_part_alone
    a_second_uploads_part_is_kept_when_the_first_is_done
    create_new_never_replaces
    resume_begins_with_the_files_own_bytes
    resume_past_the_end_is_refused
    resume_goes_on_with_the_part
    a_resume_that_brings_no_byte_loses_none
    a_resume_that_is_published_at_once_ends_at_its_offset
    replacing_a_new_name_forgets_the_earlier_part
    a_part_that_is_being_written_is_not_resumed
    append_keeps_the_old_file_whole_and_ends_with_the_new_bytes
    append_to_nothing_is_new_and_to_a_part_goes_on
    publishing_twice_is_publishing_once
    nothing_is_written_after_publish
    bytes_after_prepare_are_published_too
    removing_where_only_a_part_stands_removes_the_part
    a_directory_with_nothing_but_parts_is_empty
    a_directory_that_is_written_to_is_not_empty
    the_old_mode_outlives_the_old_content
    rename_replaces_files_only_and_only_when_told
    a_directory_does_not_move_into_itself
    the_root_stays
    errors_say_what_stands_in_the_way
    a_directory_is_listed_in_pages
    times_and_modes_are_set
    an_upload_is_cut_and_filled_up
    what_was_cut_is_not_a_published_file
}

async fn the_old_file_is_whole_until_publish(store: &dyn Storage) {
    put(store, "f", b"the old one").await;
    let file = store.open(&path("f"), Open::Replace).await.unwrap();
    write(&file, b"new").await;
    file.prepare().await.unwrap();
    assert_eq!(content(store, "f").await, b"the old one");
    assert_eq!(store.part(&path("f")).await.unwrap(), None);
    file.publish().await.unwrap();
    assert_eq!(content(store, "f").await, b"new");
}

async fn a_new_file_stands_nowhere_until_publish(store: &dyn Storage) {
    let file = store.open(&path("f"), Open::Replace).await.unwrap();
    write(&file, b"new").await;
    assert_eq!(kind_of(store.stat(&path("f")).await), ErrorKind::NotFound);
    assert!(list(store, "/").await.is_empty());
    assert_eq!(file.size().await.unwrap(), 3);
    file.publish().await.unwrap();
    assert_eq!(store.stat(&path("f")).await.unwrap().size, 3);
    assert_eq!(list(store, "/").await.len(), 1);
}

async fn dropped_over_an_old_file_leaves_no_part(store: &dyn Storage) {
    put(store, "f", b"old").await;
    for how in [Open::Replace, Open::Append, Open::Resume { offset: 2 }] {
        cut(store, "f", how, b"lost").await;
        assert_eq!(content(store, "f").await, b"old");
        store.remove_file(&path("f")).await.unwrap();
        assert_eq!(store.part(&path("f")).await.unwrap(), None);
        put(store, "f", b"old").await;
    }
}

async fn dropped_under_a_new_name_leaves_its_part(store: &dyn Storage) {
    for how in [
        Open::Replace,
        Open::CreateNew,
        Open::Append,
        Open::Resume { offset: 0 },
    ] {
        cut(store, "f", how, b"12345").await;
        assert_eq!(store.part(&path("f")).await.unwrap(), Some(5));
        assert_eq!(
            kind_of(store.open(&path("f"), Open::Read).await),
            ErrorKind::NotFound
        );
        assert!(list(store, "/").await.is_empty());
        store.remove_file(&path("f")).await.unwrap();
    }
}

async fn an_empty_part_is_not_kept(store: &dyn Storage) {
    drop(store.open(&path("f"), Open::Replace).await.unwrap());
    assert_eq!(store.part(&path("f")).await.unwrap(), None);
}

async fn two_uploads_to_one_name_are_each_whole_and_the_last_wins(store: &dyn Storage) {
    let one = store.open(&path("f"), Open::Replace).await.unwrap();
    let two = store.open(&path("f"), Open::Replace).await.unwrap();
    write(&one, b"one one one").await;
    write(&two, b"two").await;
    two.publish().await.unwrap();
    assert_eq!(content(store, "f").await, b"two");
    one.publish().await.unwrap();
    assert_eq!(content(store, "f").await, b"one one one");
    drop((one, two));
    store.remove_file(&path("f")).await.unwrap();
    assert_eq!(store.part(&path("f")).await.unwrap(), None);
}

async fn a_second_upload_that_is_dropped_leaves_the_first_ones_part_alone(store: &dyn Storage) {
    let one = store.open(&path("f"), Open::Replace).await.unwrap();
    write(&one, b"one").await;
    cut(store, "f", Open::Replace, b"the second").await;
    drop(one);
    assert_eq!(store.part(&path("f")).await.unwrap(), Some(3));
}

async fn a_second_uploads_part_is_kept_when_the_first_is_done(store: &dyn Storage) {
    let one = store.open(&path("f"), Open::Replace).await.unwrap();
    let two = store.open(&path("f"), Open::Replace).await.unwrap();
    write(&one, b"one").await;
    write(&two, b"the second").await;
    drop(one);
    drop(two);
    assert_eq!(store.part(&path("f")).await.unwrap(), Some(10));
}

async fn create_new_never_replaces(store: &dyn Storage) {
    let file = store.open(&path("f"), Open::CreateNew).await.unwrap();
    write(&file, b"mine").await;
    put(store, "f", b"theirs").await;
    assert_eq!(kind_of(file.publish().await), ErrorKind::Exists);
    drop(file);
    assert_eq!(content(store, "f").await, b"theirs");
    assert_eq!(
        kind_of(store.open(&path("f"), Open::CreateNew).await),
        ErrorKind::Exists
    );
    store.make_dir(&path("d")).await.unwrap();
    assert_eq!(
        kind_of(store.open(&path("d"), Open::CreateNew).await),
        ErrorKind::Exists
    );
}

async fn resume_begins_with_the_files_own_bytes(store: &dyn Storage) {
    put(store, "f", b"0123456789").await;
    let file = store.open(&path("f"), Open::Resume { offset: 4 }).await.unwrap();
    assert_eq!(file.start(), 4);
    write(&file, b"abc").await;
    assert_eq!(content(store, "f").await, b"0123456789");
    file.publish().await.unwrap();
    assert_eq!(content(store, "f").await, b"0123abc");
}

async fn resume_past_the_end_is_refused(store: &dyn Storage) {
    put(store, "f", b"0123").await;
    assert_eq!(
        kind_of(store.open(&path("f"), Open::Resume { offset: 5 }).await),
        ErrorKind::PastEnd
    );
    assert_eq!(
        kind_of(store.open(&path("new"), Open::Resume { offset: 1 }).await),
        ErrorKind::PastEnd
    );
    cut(store, "new", Open::Replace, b"01").await;
    assert_eq!(
        kind_of(store.open(&path("new"), Open::Resume { offset: 3 }).await),
        ErrorKind::PastEnd
    );
    assert_eq!(store.part(&path("new")).await.unwrap(), Some(2));
}

async fn resume_goes_on_with_the_part(store: &dyn Storage) {
    cut(store, "f", Open::Replace, b"012345").await;
    let file = store.open(&path("f"), Open::Resume { offset: 4 }).await.unwrap();
    assert_eq!((file.start(), file.size().await.unwrap()), (4, 4));
    assert_eq!(file.read_at(2, 10).await.unwrap(), &b"23"[..]);
    write(&file, b"x").await;
    assert_eq!(file.size().await.unwrap(), 5);
    file.publish().await.unwrap();
    assert_eq!(content(store, "f").await, b"0123x");
}

async fn a_resume_that_brings_no_byte_loses_none(store: &dyn Storage) {
    cut(store, "f", Open::Replace, b"012345").await;
    for how in [Open::Resume { offset: 2 }, Open::Replace, Open::Append] {
        drop(store.open(&path("f"), how).await.unwrap());
        assert_eq!(store.part(&path("f")).await.unwrap(), Some(6));
    }
}

async fn a_resume_that_is_published_at_once_ends_at_its_offset(store: &dyn Storage) {
    cut(store, "f", Open::Replace, b"012345").await;
    store
        .open(&path("f"), Open::Resume { offset: 2 })
        .await
        .unwrap()
        .publish()
        .await
        .unwrap();
    assert_eq!(content(store, "f").await, b"01");
}

async fn replacing_a_new_name_forgets_the_earlier_part(store: &dyn Storage) {
    cut(store, "f", Open::Replace, b"012345").await;
    cut(store, "f", Open::Replace, b"x").await;
    assert_eq!(store.part(&path("f")).await.unwrap(), Some(1));
}

async fn a_part_that_is_being_written_is_not_resumed(store: &dyn Storage) {
    let file = store.open(&path("f"), Open::Replace).await.unwrap();
    write(&file, b"01").await;
    assert_eq!(
        kind_of(store.open(&path("f"), Open::Resume { offset: 1 }).await),
        ErrorKind::Busy
    );
    assert_eq!(
        kind_of(store.open(&path("f"), Open::Append).await),
        ErrorKind::Busy
    );
    assert_eq!(kind_of(store.remove_file(&path("f")).await), ErrorKind::Busy);
    assert_eq!(store.part(&path("f")).await.unwrap(), Some(2));
}

async fn append_keeps_the_old_file_whole_and_ends_with_the_new_bytes(store: &dyn Storage) {
    put(store, "f", b"old").await;
    let file = store.open(&path("f"), Open::Append).await.unwrap();
    assert_eq!(file.start(), 3);
    write(&file, b" and new").await;
    assert_eq!(content(store, "f").await, b"old");
    file.publish().await.unwrap();
    assert_eq!(content(store, "f").await, b"old and new");
}

async fn append_to_nothing_is_new_and_to_a_part_goes_on(store: &dyn Storage) {
    cut(store, "f", Open::Append, b"one").await;
    let file = store.open(&path("f"), Open::Append).await.unwrap();
    assert_eq!(file.start(), 3);
    write(&file, b" two").await;
    file.publish().await.unwrap();
    assert_eq!(content(store, "f").await, b"one two");
}

async fn publishing_twice_is_publishing_once(store: &dyn Storage) {
    let file = store.open(&path("f"), Open::Replace).await.unwrap();
    file.publish().await.unwrap();
    put(store, "f", b"later").await;
    file.publish().await.unwrap();
    drop(file);
    assert_eq!(content(store, "f").await, b"later");
}

async fn nothing_is_written_after_publish(store: &dyn Storage) {
    let file = store.open(&path("f"), Open::Replace).await.unwrap();
    write(&file, b"whole").await;
    file.publish().await.unwrap();
    assert_eq!(
        kind_of(file.write_at(0, Bytes::from_static(b"x")).await),
        ErrorKind::Io
    );
    assert_eq!(content(store, "f").await, b"whole");
}

async fn bytes_after_prepare_are_published_too(store: &dyn Storage) {
    let file = store.open(&path("f"), Open::Replace).await.unwrap();
    write(&file, b"one").await;
    file.prepare().await.unwrap();
    file.write_at(3, Bytes::from_static(b" two")).await.unwrap();
    file.publish().await.unwrap();
    assert_eq!(content(store, "f").await, b"one two");
}

async fn removing_where_only_a_part_stands_removes_the_part(store: &dyn Storage) {
    cut(store, "f", Open::Replace, b"x").await;
    store.remove_file(&path("f")).await.unwrap();
    assert_eq!(store.part(&path("f")).await.unwrap(), None);
    assert_eq!(kind_of(store.remove_file(&path("f")).await), ErrorKind::NotFound);
}

async fn a_directory_with_nothing_but_parts_is_empty(store: &dyn Storage) {
    store.make_dir(&path("d")).await.unwrap();
    cut(store, "d/a", Open::Replace, b"x").await;
    cut(store, "d/b", Open::Replace, b"x").await;
    put(store, "d/c", b"x").await;
    assert_eq!(kind_of(store.remove_dir(&path("d")).await), ErrorKind::NotEmpty);
    assert_eq!(
        store.part(&path("d/a")).await.unwrap(),
        Some(1),
        "nothing goes before all may go"
    );
    store.remove_file(&path("d/c")).await.unwrap();
    store.remove_dir(&path("d")).await.unwrap();
    assert_eq!(kind_of(store.stat(&path("d")).await), ErrorKind::NotFound);
}

async fn a_directory_that_is_written_to_is_not_empty(store: &dyn Storage) {
    store.make_dir(&path("d")).await.unwrap();
    let file = store.open(&path("d/a"), Open::Replace).await.unwrap();
    write(&file, b"x").await;
    assert_eq!(kind_of(store.remove_dir(&path("d")).await), ErrorKind::NotEmpty);
    file.publish().await.unwrap();
    assert_eq!(content(store, "d/a").await, b"x");
}

async fn the_old_mode_outlives_the_old_content(store: &dyn Storage) {
    put(store, "f", b"old").await;
    store.set_mode(&path("f"), 0o640).await.unwrap();
    put(store, "f", b"new").await;
    assert_eq!(store.stat(&path("f")).await.unwrap().mode, 0o640);
}

async fn rename_replaces_files_only_and_only_when_told(store: &dyn Storage) {
    put(store, "a", b"a").await;
    put(store, "b", b"b").await;
    store.make_dir(&path("d")).await.unwrap();
    store.make_dir(&path("e")).await.unwrap();
    put(store, "d/x", b"x").await;
    let rename = async |from, to, replace| store.rename(&path(from), &path(to), replace).await;

    assert_eq!(kind_of(rename("a", "b", false).await), ErrorKind::Exists);
    assert_eq!(kind_of(rename("a", "d", false).await), ErrorKind::Exists);
    assert_eq!(kind_of(rename("a", "d", true).await), ErrorKind::IsDirectory);
    assert_eq!(kind_of(rename("d", "e", true).await), ErrorKind::Exists);
    assert_eq!(kind_of(rename("d", "a", true).await), ErrorKind::Exists);
    assert_eq!(kind_of(rename("none", "x", true).await), ErrorKind::NotFound);
    assert_eq!(kind_of(rename("a", "none/x", true).await), ErrorKind::NotFound);
    assert_eq!(content(store, "b").await, b"b");

    rename("a", "b", true).await.unwrap();
    assert_eq!(content(store, "b").await, b"a");
    rename("b", "e/b", false).await.unwrap();
    rename("d", "e/d", false).await.unwrap();
    assert_eq!(content(store, "e/b").await, b"a");
    assert_eq!(content(store, "e/d/x").await, b"x");
    assert_eq!(list(store, "/").await.len(), 1);
}

async fn a_directory_does_not_move_into_itself(store: &dyn Storage) {
    store.make_dir(&path("d")).await.unwrap();
    for replace in [false, true] {
        assert_eq!(
            kind_of(store.rename(&path("d"), &path("d/e"), replace).await),
            ErrorKind::BadName
        );
    }
}

async fn the_root_stays(store: &dyn Storage) {
    let root = VirtualPath::root();
    put(store, "f", b"x").await;
    assert_eq!(
        kind_of(store.remove_dir(&root).await),
        ErrorKind::PermissionDenied
    );
    assert_eq!(
        kind_of(store.remove_file(&root).await),
        ErrorKind::PermissionDenied
    );
    assert_eq!(
        kind_of(store.rename(&root, &path("x"), true).await),
        ErrorKind::PermissionDenied
    );
    assert_eq!(
        kind_of(store.rename(&path("f"), &root, true).await),
        ErrorKind::PermissionDenied
    );
    assert_eq!(kind_of(store.make_dir(&root).await), ErrorKind::Exists);
    assert_eq!(
        kind_of(store.open(&root, Open::Replace).await),
        ErrorKind::IsDirectory
    );
    assert_eq!(
        kind_of(store.open(&root, Open::Read).await),
        ErrorKind::IsDirectory
    );
    assert_eq!(
        store.stat_entry(&root).await.unwrap().metadata.kind,
        Kind::Directory
    );
}

async fn errors_say_what_stands_in_the_way(store: &dyn Storage) {
    put(store, "f", b"x").await;
    store.make_dir(&path("d")).await.unwrap();
    assert_eq!(
        kind_of(store.open(&path("d"), Open::Read).await),
        ErrorKind::IsDirectory
    );
    assert_eq!(
        kind_of(store.open(&path("d"), Open::Append).await),
        ErrorKind::IsDirectory
    );
    assert_eq!(
        kind_of(store.remove_file(&path("d")).await),
        ErrorKind::IsDirectory
    );
    assert_eq!(
        kind_of(store.remove_dir(&path("f")).await),
        ErrorKind::NotADirectory
    );
    assert_eq!(
        kind_of(store.remove_dir(&path("none")).await),
        ErrorKind::NotFound
    );
    assert_eq!(kind_of(store.list(&path("f")).await), ErrorKind::NotADirectory);
    assert_eq!(kind_of(store.list(&path("none")).await), ErrorKind::NotFound);
    assert_eq!(kind_of(store.stat(&path("f/x")).await), ErrorKind::NotADirectory);
    assert_eq!(
        kind_of(store.open(&path("none/x"), Open::Replace).await),
        ErrorKind::NotFound
    );
    assert_eq!(kind_of(store.make_dir(&path("d")).await), ErrorKind::Exists);
    assert_eq!(
        kind_of(store.make_dir(&path("none/x")).await),
        ErrorKind::NotFound
    );
    assert_eq!(
        kind_of(store.set_mode(&path("none"), 0o600).await),
        ErrorKind::NotFound
    );
    assert_eq!(store.part(&path("none/x")).await.unwrap(), None);
    let read = store.open(&path("f"), Open::Read).await.unwrap();
    assert_eq!(
        kind_of(read.write_at(0, Bytes::from_static(b"y")).await),
        ErrorKind::PermissionDenied
    );
}

async fn a_directory_is_listed_in_pages(store: &dyn Storage) {
    store.make_dir(&path("d")).await.unwrap();
    for number in 0..600 {
        store.make_dir(&path(&format!("d/{number}"))).await.unwrap();
    }
    store.make_dir(&path("d/0/beneath")).await.unwrap();
    let mut names: Vec<Vec<u8>> = list(store, "d")
        .await
        .into_iter()
        .map(|entry| entry.name)
        .collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 600);
}

async fn times_and_modes_are_set(store: &dyn Storage) {
    put(store, "f", b"x").await;
    for time in [
        UNIX_EPOCH + Duration::new(1_700_000_000, 500),
        UNIX_EPOCH - Duration::new(3, 250_000_000),
    ] {
        store.set_modified(&path("f"), time).await.unwrap();
        assert_eq!(store.stat(&path("f")).await.unwrap().modified, time);
    }
    store.make_dir(&path("d")).await.unwrap();
    for name in ["f", "d"] {
        store.set_mode(&path(name), 0o7750).await.unwrap();
        assert_eq!(store.stat(&path(name)).await.unwrap().mode, 0o750, "{name}");
    }
    assert!(
        store
            .space(&path("d"))
            .await
            .unwrap()
            .is_some_and(|space| space > 0)
    );
}

#[tokio::test]
async fn a_full_memory_keeps_the_old_file_and_has_its_room_back() {
    let store = Memory::with_room(100);
    put(&store, "old", b"0123456789").await;
    for name in ["old", "new"] {
        let file = store.open(&path(name), Open::Replace).await.unwrap();
        file.write_at(0, Bytes::from_static(&[0; 60])).await.unwrap();
        assert_eq!(
            kind_of(file.write_at(60, Bytes::from_static(&[0; 60])).await),
            ErrorKind::NoSpace
        );
        assert_eq!(kind_of(file.publish().await), ErrorKind::NoSpace);
        drop(file);
        assert_eq!(store.space(&VirtualPath::root()).await.unwrap(), Some(90));
        assert_eq!(content(&store, "old").await, b"0123456789");
    }
}

async fn an_upload_is_cut_and_filled_up(store: &dyn Storage) {
    put(store, "f", b"0123456789").await;
    let file = store.open(&path("f"), Open::Append).await.unwrap();
    file.set_size(4).await.unwrap();
    assert_eq!(file.size().await.unwrap(), 4);
    file.write_at(4, Bytes::from_static(b"x")).await.unwrap();
    file.set_size(7).await.unwrap();
    assert_eq!(content(store, "f").await, b"0123456789");
    file.publish().await.unwrap();
    assert_eq!(content(store, "f").await, b"0123x\0\0");
    assert_eq!(kind_of(file.set_size(1).await), ErrorKind::Io);
    let reading = store.open(&path("f"), Open::Read).await.unwrap();
    assert_eq!(kind_of(reading.set_size(1).await), ErrorKind::Unsupported);
}

async fn what_was_cut_is_not_a_published_file(store: &dyn Storage) {
    let file = store.open(&path("new"), Open::Replace).await.unwrap();
    write(&file, b"0123456789").await;
    file.prepare().await.unwrap();
    file.set_size(3).await.unwrap();
    drop(file);
    assert_eq!(store.part(&path("new")).await.unwrap(), Some(3));
}
