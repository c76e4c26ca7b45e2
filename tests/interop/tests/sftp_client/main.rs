//! Our SFTP client against OpenSSH's server and ours.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "test code: a panic is its report"
)]
#![allow(unreachable_pub, missing_docs, reason = "a test has no public")]

mod commands;
mod logins;
mod sshd;

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use pasarela_client::{Algorithm, Failure, Place, Progress, Remote as _, SftpOptions, SftpRemote, transfer};
use pasarela_store::{ErrorKind, Kind, Open, Result, Storage as _, VirtualPath};
use pasarela_testkit::{noise, pasarela_binary, sha256_of};
use sshd::Sshd;
use tokio_util::sync::CancellationToken;

/// More than is on its way at once.
const LARGE: usize = 9 * 1024 * 1024 + 17;

trait Explained<T> {
    /// The value, or what the server said.
    fn done(self) -> T;
}

impl<T> Explained<T> for Result<T> {
    #[track_caller]
    fn done(self) -> T {
        match self {
            Ok(value) => value,
            Err(error) => panic!("{error:?}: {:?}", Failure::of(&error).map(ToString::to_string)),
        }
    }
}

async fn read(remote: &SftpRemote, path: &VirtualPath, from: u64) -> Result<Vec<u8>> {
    let file = remote.open(path, Open::Read).await?;
    let mut all = Vec::new();
    loop {
        let bytes = file.read_at(from + all.len() as u64, 256 * 1024).await?;
        if bytes.is_empty() {
            return Ok(all);
        }
        all.extend_from_slice(&bytes);
    }
}

async fn write(remote: &SftpRemote, path: &VirtualPath, how: Open, content: &[u8]) -> Result<()> {
    let file = remote.open(path, how).await?;
    let mut at = file.start();
    for block in content.chunks(200_000) {
        file.write_at(at, Bytes::copy_from_slice(block)).await?;
        at += block.len() as u64;
    }
    file.prepare().await?;
    file.publish().await
}

async fn names(remote: &SftpRemote, path: &VirtualPath) -> Vec<Vec<u8>> {
    let mut pages = remote.list(path).await.done();
    let mut names = Vec::new();
    while let Some(page) = pages.next_page().await.done() {
        names.extend(page.into_iter().map(|entry| entry.name));
    }
    names.sort();
    names
}

/// Ends what hangs.
async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(120), work)
        .await
        .expect("it hangs")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openssh() {
    let server = Sshd::start();
    let home = VirtualPath::root()
        .resolve(server.root().as_os_str().as_encoded_bytes())
        .unwrap();
    in_time(exercise(server.remote(), &home, &server.root())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openssh_with_one_session_on_a_connection() {
    let server = Sshd::start_with("MaxSessions 1\nSubsystem sftp internal-sftp\n");
    let home = VirtualPath::root()
        .resolve(server.root().as_os_str().as_encoded_bytes())
        .unwrap();
    let remote = server.remote();
    in_time(exercise(remote.clone(), &home, &server.root())).await;
    assert_eq!(remote.abilities().parallel, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_of_openssh_without_ssh() {
    let scratch = tempfile::tempdir().unwrap();
    let home = VirtualPath::root()
        .resolve(scratch.path().as_os_str().as_encoded_bytes())
        .unwrap();
    let mut program = tokio::process::Command::new("/usr/lib/openssh/sftp-server");
    in_time(over(&mut program, &home, scratch.path())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_program_without_ssh() {
    let scratch = tempfile::tempdir().unwrap();
    let mut program = tokio::process::Command::new(pasarela_binary());
    program.arg("sftp-server").arg(scratch.path());
    in_time(over(&mut program, &VirtualPath::root(), scratch.path())).await;
}

/// What was cut is kept, stands nowhere, and is gone on with.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_program_keeps_the_part_of_an_upload_that_was_cut() {
    let (scratch, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let whole = noise(3, 2_000_000);
    fs::write(here.path().join("file"), &whole).unwrap();
    let connect = async || {
        let mut child = tokio::process::Command::new(pasarela_binary())
            .arg("sftp-server")
            .arg(scratch.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (to, from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let remote = SftpRemote::over(from, to, &SftpOptions::default()).await.done();
        (child, remote)
    };
    let path = VirtualPath::root().resolve(b"file").unwrap();
    in_time(async {
        let (mut child, remote) = connect().await;
        let file = remote.open(&path, Open::Replace).await.done();
        file.write_at(0, Bytes::copy_from_slice(&whole[..600_000]))
            .await
            .done();
        // Confirmed, as it is read back.
        remote.stat(&path).await.done();
        child.kill().await.unwrap();
        drop(file);

        let (_child, remote) = connect().await;
        assert_eq!(remote.stat(&path).await.unwrap_err().kind, ErrorKind::NotFound);
        let there = remote.part(&path).await.done().unwrap();
        assert!((1..=600_000).contains(&there), "{there}");
        let from = pasarela_client::Local::at(&here.path().join("file")).unwrap();
        let to = Place {
            remote: Arc::new(remote),
            path: path.clone(),
        };
        let options = transfer::Options {
            resume: true,
            ..transfer::Options::default()
        };
        let (progress, stop) = (Progress::default(), CancellationToken::new());
        let outcome = transfer::copy(&from, &to, &options, &progress, &stop)
            .await
            .unwrap();
        assert_eq!(outcome.moved, 2_000_000 - there);
        assert!(fs::read(scratch.path().join("file")).unwrap() == whole);
    })
    .await;
}

async fn over(program: &mut tokio::process::Command, home: &VirtualPath, root: &Path) {
    let mut child = program
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{error}\nhint: run cargo xtask test, which installs it"));
    let (to, from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let remote = SftpRemote::over(from, to, &SftpOptions::default()).await.done();
    exercise(remote, home, root).await;
    assert!(child.wait().await.unwrap().success());
}

async fn exercise(remote: SftpRemote, home: &VirtualPath, root: &Path) {
    remote.connect().await.done();
    let at = |name: &[u8]| home.resolve(name).unwrap();
    let large = noise(1, LARGE);
    fs::write(root.join("large"), &large).unwrap();
    fs::write(root.join("empty"), b"").unwrap();

    // Reading: whole, empty, from the middle, in jumps.
    let whole = read(&remote, &at(b"large"), 0).await.done();
    assert_eq!(sha256_of(&whole), sha256_of(&large));
    assert_eq!(read(&remote, &at(b"empty"), 0).await.done(), b"");
    let rest = read(&remote, &at(b"large"), 1_000_000).await.done();
    assert_eq!(sha256_of(&rest), sha256_of(&large[1_000_000..]));
    let file = remote.open(&at(b"large"), Open::Read).await.done();
    for offset in [2_000_000_usize, 10, 700_000, 8_900_000] {
        let bytes = file.read_at(offset as u64, 1000).await.done();
        assert!(!bytes.is_empty());
        assert_eq!(bytes, large[offset..offset + bytes.len()]);
    }
    drop(file);
    let nothing = read(&remote, &at(b"nothing"), 0).await;
    assert_eq!(nothing.unwrap_err().kind, ErrorKind::NotFound);
    let folder = remote.open(home, Open::Read).await;
    assert_eq!(folder.err().unwrap().kind, ErrorKind::IsDirectory);

    // Writing: new, over it, on from the middle, at the end; names as bytes.
    let odd = "a b (é) -x".as_bytes();
    write(&remote, &at(odd), Open::Replace, &large).await.done();
    let written = fs::read(root.join("a b (é) -x")).unwrap();
    assert_eq!(sha256_of(&written), sha256_of(&large));
    write(&remote, &at(odd), Open::Replace, b"12345").await.done();
    write(&remote, &at(odd), Open::Resume { offset: 5 }, b"678")
        .await
        .done();
    write(&remote, &at(odd), Open::Append, b"9").await.done();
    assert_eq!(fs::read(root.join("a b (é) -x")).unwrap(), b"123456789");
    write(&remote, &at(odd), Open::Resume { offset: 3 }, b"x")
        .await
        .done();
    assert_eq!(fs::read(root.join("a b (é) -x")).unwrap(), b"123x");
    let past = remote.open(&at(odd), Open::Resume { offset: 5 }).await;
    assert_eq!(past.err().unwrap().kind, ErrorKind::PastEnd);
    write(&remote, &at(b"none"), Open::Replace, b"").await.done();
    let again = remote.open(&at(odd), Open::CreateNew).await;
    assert_eq!(again.err().unwrap().kind, ErrorKind::Exists);
    let nowhere = write(&remote, &at(b"no/where"), Open::Replace, b"x").await;
    assert_eq!(nowhere.unwrap_err().kind, ErrorKind::NotFound);

    // Looking.
    let found = remote.stat(&at(b"large")).await.done();
    assert_eq!((found.kind, found.size), (Kind::File, LARGE as u64));
    assert_eq!(names(&remote, home).await, [odd, b"empty", b"large", b"none"]);
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000);
    remote.set_modified(&at(b"large"), then).await.done();
    assert_eq!(remote.stat(&at(b"large")).await.done().modified, then);
    remote.set_mode(&at(b"large"), 0o640).await.done();
    assert_eq!(remote.stat(&at(b"large")).await.done().mode & 0o777, 0o640);
    assert!(remote.space(home).await.done().is_some_and(|room| room > 0));

    // Links are themselves where an entry is meant, and what they lead to otherwise.
    remote.make_link(b"large", &at(b"link")).await.done();
    let link = remote.stat_entry(&at(b"link")).await.done();
    assert_eq!(
        (link.metadata.kind, link.link_target.as_deref()),
        (Kind::Link, Some(&b"large"[..]))
    );
    assert_eq!(remote.stat(&at(b"link")).await.done().size, LARGE as u64);
    let mut pages = remote.list(home).await.done();
    let page = pages.next_page().await.done().unwrap();
    let listed = page.iter().find(|entry| entry.name == b"link").unwrap();
    assert_eq!(listed.link_target.as_deref(), Some(&b"large"[..]));
    drop(pages);
    remote.remove_file(&at(b"link")).await.done();

    // Folders, renames, removals, and what they cannot do.
    remote.make_dir(&at(b"folder")).await.done();
    let again = remote.make_dir(&at(b"folder")).await.unwrap_err();
    assert_eq!(again.kind, ErrorKind::Exists);
    remote.rename(&at(odd), &at(b"folder/moved"), false).await.done();
    assert_eq!(names(&remote, &at(b"folder")).await, [b"moved"]);
    let taken = remote.rename(&at(b"none"), &at(b"large"), false).await;
    assert_eq!(taken.unwrap_err().kind, ErrorKind::Exists);
    remote
        .rename(&at(b"none"), &at(b"folder/moved"), true)
        .await
        .done();
    assert_eq!(fs::read(root.join("folder/moved")).unwrap(), b"");
    let full = remote.remove_dir(&at(b"folder")).await.unwrap_err();
    assert_eq!(full.kind, ErrorKind::NotEmpty);
    let no_file = remote.remove_file(&at(b"folder")).await.unwrap_err();
    assert_eq!(no_file.kind, ErrorKind::IsDirectory);
    let no_folder = remote.list(&at(b"large")).await.err().unwrap();
    assert_eq!(no_folder.kind, ErrorKind::NotADirectory);
    remote.remove_file(&at(b"folder/moved")).await.done();
    remote.remove_dir(&at(b"folder")).await.done();
    let gone = remote.remove_file(&at(b"gone")).await.unwrap_err();
    assert_eq!(gone.kind, ErrorKind::NotFound);

    // Many at once, over as many sessions as there may be.
    let reads: Vec<_> = (0..6)
        .map(|_| {
            let (remote, path) = (remote.clone(), at(b"large"));
            tokio::spawn(async move { sha256_of(&read(&remote, &path, 0).await.done()) })
        })
        .collect();
    for one in reads {
        assert_eq!(one.await.unwrap(), sha256_of(&large));
    }

    // What not every server has.
    let abilities = remote.abilities();
    assert!(
        abilities.exact_size && abilities.ranges_up && abilities.atomic_rename,
        "{abilities:?}"
    );
    if abilities.digests.contains(&Algorithm::Sha256) {
        for span in [None, Some(10..1_000_000)] {
            let digest = remote.digest(&at(b"large"), None, span.clone()).await.done();
            let bytes = span.map_or(&large[..], |span| &large[span.start as usize..span.end as usize]);
            assert_eq!(digest.unwrap().to_string(), sha256_of(bytes).to_string());
        }
    } else {
        assert_eq!(remote.digest(&at(b"large"), None, None).await.done(), None);
    }
    remote.close().await;
}
