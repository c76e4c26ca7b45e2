//! Uploads in ranges: the file is right on every server, in ranges where it is known to take them.

use std::fs;
use std::sync::Arc;

use pasarela_client::transfer::{self, Options};
use pasarela_client::{Event, Local, Place, Progress};
use pasarela_testkit::{noise, sha256_of};
use tokio_util::sync::CancellationToken;

use super::Explained as _;
use super::servers::{Brand, Server, Wire};

/// Sends a file in four ranges; whether the server took them, by what was told.
async fn in_ranges(brand: Brand, lines: &str) -> (bool, bool) {
    const SIZE: usize = 9 * 1024 * 1024 + 5;
    let server = Server::start_with(brand, Wire::Plain, lines);
    let here = tempfile::tempdir().unwrap();
    let content = noise(3, SIZE);
    fs::write(here.path().join("new"), &content).unwrap();
    let source = Local::at(&here.path().join("new")).unwrap();
    let remote = server.remote();
    let to = Place {
        path: remote.resolve(b"file").await.done(),
        remote: Arc::new(remote),
    };
    let may = to.remote.abilities().ranges_at_once;
    let (progress, mut events) = Progress::channel(64);
    let watching = tokio::spawn(async move {
        let mut refused = false;
        while let Some(event) = events.recv().await {
            refused |=
                matches!(event, Event::Note { text, .. } if text.contains("one upload of a file at a time"));
        }
        refused
    });
    let options = Options {
        segments: 4,
        ..Options::default()
    };
    let sent = transfer::copy(&source, &to, &options, &progress, &CancellationToken::new()).await;
    assert_eq!(sent.unwrap().moved, SIZE as u64);
    drop(progress);
    to.remote.close().await;
    let found = fs::read(server.root().join("file")).unwrap();
    assert_eq!(sha256_of(&found), sha256_of(&content));
    assert_eq!(fs::read_dir(server.root()).unwrap().count(), 1);
    (may, watching.await.unwrap())
}

macro_rules! brands {
    ($($name:ident: $brand:ident, $lines:expr => $expected:expr;)*) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            if !Brand::$brand.runs() {
                return;
            }
            let work = in_ranges(Brand::$brand, $lines);
            let work = tokio::time::timeout(std::time::Duration::from_secs(120), work);
            // Whether it is tried, and whether it was refused.
            assert_eq!(work.await.expect("it hangs"), $expected);
        }
    )* };
}

brands! {
    ranges_vsftpd_without_locks: Vsftpd, "lock_upload_files=NO\n" => (true, false);
    ranges_vsftpd: Vsftpd, "" => (true, true);
    ranges_proftpd: Proftpd, "" => (false, false);
    ranges_pure_ftpd: PureFtpd, "" => (false, false);
    ranges_pyftpdlib: Pyftpdlib, "" => (false, false);
    ranges_pasarela: Pasarela, "" => (false, false);
}
