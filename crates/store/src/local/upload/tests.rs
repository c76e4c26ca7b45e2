//! Failures that a test cannot ask a disk for, told to the upload as if the disk had had them.

use std::path::Path;

use super::super::confine::{Root, Way};
use super::*;
use crate::VirtualPath;

const TERMS: Terms = Terms {
    safe: true,
    mode: 0o644,
};

fn open(dir: &Path, name: &str, how: Open) -> Upload {
    let root = Root::open(dir, Way::Kernel).unwrap();
    let place = root
        .target(&VirtualPath::root().resolve(name.as_bytes()).unwrap())
        .unwrap();
    Upload::open(place, how, TERMS).unwrap()
}

fn names(dir: &Path) -> usize {
    std::fs::read_dir(dir).unwrap().count()
}

#[test]
fn an_upload_that_failed_once_is_never_published() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("f"), "old").unwrap();
    let upload = open(dir.path(), "f", Open::Replace);
    upload.0.write(0, b"new").unwrap();
    upload.0.failed(ErrorKind::Io.into());
    upload.0.write(3, b" and more").unwrap();
    assert_eq!(upload.publish_now().unwrap_err().kind, ErrorKind::Io);
    drop(upload);
    assert_eq!(std::fs::read(dir.path().join("f")).unwrap(), b"old");
    assert_eq!(names(dir.path()), 1);
}

#[test]
fn a_part_that_filled_the_disk_goes_and_one_that_was_cut_stays() {
    let dir = tempfile::tempdir().unwrap();
    for (failure, left) in [
        (ErrorKind::NoSpace, 0),
        (ErrorKind::QuotaExceeded, 0),
        (ErrorKind::Io, 1),
    ] {
        let upload = open(dir.path(), "f", Open::Replace);
        upload.0.write(0, b"some").unwrap();
        upload.0.failed(failure.into());
        drop(upload);
        assert_eq!(names(dir.path()), left, "{failure:?}");
    }
}

#[test]
fn a_write_that_the_system_refuses_stops_the_publishing() {
    let dir = tempfile::tempdir().unwrap();
    let upload = open(dir.path(), "f", Open::CreateNew);
    upload.0.write(0, b"some").unwrap();
    assert!(upload.0.write(u64::MAX - 1, b"far").is_err());
    assert!(upload.publish_now().is_err());
    assert!(!dir.path().join("f").exists());
}

#[test]
fn an_existing_files_copy_begins_as_an_empty_part_even_where_an_old_one_lies() {
    let dir = tempfile::tempdir().unwrap();
    let cut = open(dir.path(), "f", Open::Replace);
    cut.0.write(0, b"a long part of an earlier upload").unwrap();
    drop(cut);
    std::fs::write(dir.path().join("f"), "abc").unwrap();
    let upload = open(dir.path(), "f", Open::Append);
    upload.0.write(3, b"d").unwrap();
    upload.publish_now().unwrap();
    assert_eq!(std::fs::read(dir.path().join("f")).unwrap(), b"abcd");
    assert_eq!(names(dir.path()), 1);
}

#[test]
fn the_old_content_is_not_taken_from_behind_a_link_that_was_put_there_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("f"), "old").unwrap();
    let root = Root::open(dir.path(), Way::Kernel).unwrap();
    let place = root.target(&VirtualPath::root().resolve(b"f").unwrap()).unwrap();
    std::fs::remove_file(dir.path().join("f")).unwrap();
    std::os::unix::fs::symlink("/proc/version", dir.path().join("f")).unwrap();
    assert!(open_old(&place).is_err());
    assert_eq!(
        Upload::open(place, Open::Append, TERMS).err().unwrap().kind,
        ErrorKind::NotAFile
    );
}
