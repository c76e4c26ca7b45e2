//! Uploads that are cut: what stood there stays, and what has come is gone on with.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use pasarela_client::transfer::{self, Aside, Bucket, Error, Options, Outcome, Pace};
use pasarela_client::{Event, Local, Place, Progress};
use pasarela_testkit::noise;
use tokio_util::sync::CancellationToken;

use super::Explained as _;
use super::servers::{Brand, Server, Wire};

const SIZE: usize = 4 * 1024 * 1024 + 5;
/// How much of it has gone out when it is cut.
const CUT: u64 = 1024 * 1024;

/// Sends a file until it is whole or, where it is to be cut, until some of it has gone out.
async fn send(server: &Server, source: &Place, options: Options, is_cut: bool) -> Result<Outcome, Error> {
    let remote = server.remote();
    let path = remote.resolve(b"file").await.done();
    let to = Place {
        remote: Arc::new(remote),
        path,
    };
    let stop = CancellationToken::new();
    let (progress, mut events) = Progress::channel(64);
    let stopper = stop.clone();
    let watching = tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            if is_cut && matches!(event, Event::Moved { done, .. } if done >= CUT) {
                stopper.cancel();
            }
        }
    });
    let sent = transfer::copy(source, &to, &options, &progress, &stop).await;
    drop(progress);
    watching.await.unwrap();
    to.remote.close().await;
    sent
}

/// What stands in the server's folder, in order of name.
fn standing(server: &Server) -> Vec<PathBuf> {
    let mut names: Vec<_> = fs::read_dir(server.root())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    names.sort();
    names
}

/// So slow that a cut comes before the end.
fn slow() -> Options {
    Options {
        pace: Pace::new(vec![Bucket::new(2 * 1024 * 1024)]),
        ..Options::default()
    }
}

async fn a_cut_upload_leaves_the_old_file(brand: Brand, wire: Wire) {
    let server = Server::start(brand, wire);
    let here = tempfile::tempdir().unwrap();
    let content = noise(7, SIZE);
    fs::write(here.path().join("new"), &content).unwrap();
    let source = Local::at(&here.path().join("new")).unwrap();
    server.put("file", b"the old one");

    let cut = send(&server, &source, slow(), true).await;
    assert!(matches!(cut, Err(Error::Stopped)), "{cut:?}");
    assert_eq!(fs::read(server.root().join("file")).unwrap(), b"the old one");

    let resumed = Options {
        resume: true,
        ..Options::default()
    };
    let outcome = send(&server, &source, resumed, false).await.unwrap();
    assert!(fs::read(server.root().join("file")).unwrap() == content);
    assert_eq!(standing(&server), [server.root().join("file")]);
    // Our server keeps nothing of a replacement that was cut, as its old file could not be told from it.
    assert!(
        brand == Brand::Pasarela || outcome.moved < SIZE as u64,
        "{outcome:?}"
    );
}

macro_rules! brands {
    ($($name:ident: $brand:ident $wire:ident;)*) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            if !Brand::$brand.runs() {
                return;
            }
            let work = a_cut_upload_leaves_the_old_file(Brand::$brand, Wire::$wire);
            tokio::time::timeout(std::time::Duration::from_secs(120), work).await.expect("it hangs");
        }
    )* };
}

brands! {
    cut_pasarela: Pasarela Explicit;
    cut_vsftpd: Vsftpd Plain;
    cut_vsftpd_tls: Vsftpd Explicit;
    cut_proftpd: Proftpd Plain;
    cut_pure_ftpd: PureFtpd Plain;
    cut_pure_ftpd_tls: PureFtpd Explicit;
    cut_pyftpdlib: Pyftpdlib Plain;
}

/// FTP has no verb to compare what our server keeps of a new file, so it is sent again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_file_that_was_cut_at_our_server_becomes_whole() {
    let server = Server::start(Brand::Pasarela, Wire::Explicit);
    let here = tempfile::tempdir().unwrap();
    let content = noise(7, SIZE);
    fs::write(here.path().join("new"), &content).unwrap();
    let source = Local::at(&here.path().join("new")).unwrap();

    let cut = send(&server, &source, slow(), true).await;
    assert!(matches!(cut, Err(Error::Stopped)), "{cut:?}");
    assert!(!server.root().join("file").exists());

    let resumed = Options {
        resume: true,
        ..Options::default()
    };
    send(&server, &source, resumed, false).await.unwrap();
    assert!(fs::read(server.root().join("file")).unwrap() == content);
    assert_eq!(standing(&server), [server.root().join("file")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn into_the_file_itself_a_cut_upload_is_seen() {
    let server = Server::start(Brand::Vsftpd, Wire::Plain);
    let here = tempfile::tempdir().unwrap();
    fs::write(here.path().join("new"), noise(7, SIZE)).unwrap();
    let source = Local::at(&here.path().join("new")).unwrap();
    server.put("file", b"the old one");
    let direct = Options {
        aside: Aside::Never,
        ..slow()
    };
    let cut = send(&server, &source, direct, true).await;
    assert!(matches!(cut, Err(Error::Stopped)), "{cut:?}");
    assert_eq!(standing(&server), [server.root().join("file")]);
    assert_ne!(fs::read(server.root().join("file")).unwrap(), b"the old one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nobody_may_rename_nothing_is_left_under_another_name() {
    // A folder to drop files into: uploads of new files, and nothing else.
    let server = Server::start_with(Brand::Vsftpd, Wire::Plain, "anon_other_write_enable=NO\n");
    let here = tempfile::tempdir().unwrap();
    fs::write(here.path().join("new"), b"dropped").unwrap();
    fs::create_dir(server.root().join("incoming")).unwrap();
    let source = Local::at(&here.path().join("new")).unwrap();
    let remote = server.remote();
    let to = Place {
        path: remote.resolve(b"incoming/x").await.done(),
        remote: Arc::new(remote),
    };
    let stop = CancellationToken::new();
    let copied = transfer::copy(&source, &to, &Options::default(), &Progress::default(), &stop).await;
    copied.unwrap();
    let names: Vec<_> = fs::read_dir(server.root().join("incoming"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["x"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_renames_over_nothing_is_worked_around() {
    let server = Server::start_with(
        Brand::Proftpd,
        Wire::Plain,
        "AllowOverwrite off\nAllowStoreRestart on\n",
    );
    let here = tempfile::tempdir().unwrap();
    fs::write(here.path().join("new"), b"the new one").unwrap();
    let source = Local::at(&here.path().join("new")).unwrap();
    server.put("file", b"the old one");
    send(&server, &source, Options::default(), false).await.unwrap();
    assert_eq!(fs::read(server.root().join("file")).unwrap(), b"the new one");
    assert_eq!(standing(&server), [server.root().join("file")]);
}
