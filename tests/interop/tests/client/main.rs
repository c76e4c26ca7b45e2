//! Our client against the servers people already have, and against ours.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "test code: a panic is its report"
)]
#![allow(unreachable_pub, missing_docs, reason = "a test has no public")]

mod proxies;
mod ranges;
mod servers;
mod uploads;

use std::fs;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use pasarela_client::{Algorithm, Failure, FtpRemote, Remote as _, Uploads};
use pasarela_store::{ErrorKind, Kind, Open, Result, Storage as _, VirtualPath};
use pasarela_testkit::{noise, sha256_of};
use servers::{Brand, Server, Wire};

/// More than a few records and windows.
const LARGE: usize = 3 * 1024 * 1024 + 17;

macro_rules! servers {
    ($($name:ident: $brand:ident $wire:ident;)*) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            if !Brand::$brand.runs() {
                return;
            }
            let server = Server::start(Brand::$brand, Wire::$wire);
            let work = exercise(&server, Brand::$brand);
            tokio::time::timeout(Duration::from_secs(120), work).await.expect("it hangs");
        }
    )* };
}

// Not run: pyftpdlib with TLS. 1.5.7 writes to a data connection, and closes that of an empty file, when the transfer
// command comes, whether its handshake is through or not; where the handshake comes before the command, as no client
// has it, it closes the connection too. Pure-FTPd has no implicit TLS.
servers! {
    pasarela_plain: Pasarela Plain;
    pasarela_explicit: Pasarela Explicit;
    pasarela_implicit: Pasarela Implicit;
    vsftpd_plain: Vsftpd Plain;
    vsftpd_explicit: Vsftpd Explicit;
    vsftpd_implicit: Vsftpd Implicit;
    pyftpdlib_plain: Pyftpdlib Plain;
    proftpd_plain: Proftpd Plain;
    proftpd_explicit: Proftpd Explicit;
    proftpd_implicit: Proftpd Implicit;
    pure_ftpd_plain: PureFtpd Plain;
    pure_ftpd_explicit: PureFtpd Explicit;
}

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

async fn read(remote: &FtpRemote, path: &VirtualPath, from: u64) -> Result<Vec<u8>> {
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

async fn write(remote: &FtpRemote, path: &VirtualPath, how: Open, content: &[u8]) -> Result<()> {
    let file = remote.open(path, how).await?;
    let mut at = file.start();
    for block in content.chunks(200_000) {
        file.write_at(at, Bytes::copy_from_slice(block)).await?;
        at += block.len() as u64;
    }
    file.prepare().await?;
    file.publish().await
}

async fn names(remote: &FtpRemote, path: &VirtualPath) -> Vec<Vec<u8>> {
    let mut pages = remote.list(path).await.done();
    let mut names = Vec::new();
    while let Some(page) = pages.next_page().await.done() {
        names.extend(page.into_iter().map(|entry| entry.name));
    }
    names.sort();
    names
}

async fn exercise(server: &Server, brand: Brand) {
    let remote = server.remote();
    let home = remote.resolve(b"").await.done();
    let at = |name: &[u8]| home.resolve(name).unwrap();
    let large = noise(1, LARGE);
    server.put("large", &large);
    server.put("empty", b"");

    // Reading: whole, empty, from the middle, in jumps; many in a row, so that tickets would run out if not renewed.
    assert_eq!(
        sha256_of(&read(&remote, &at(b"large"), 0).await.done()),
        sha256_of(&large)
    );
    assert_eq!(read(&remote, &at(b"empty"), 0).await.done(), b"");
    assert_eq!(
        read(&remote, &at(b"large"), 1_000_000).await.done(),
        &large[1_000_000..]
    );
    let file = remote.open(&at(b"large"), Open::Read).await.done();
    for offset in [2_000_000_usize, 10, 700_000, 2_900_000] {
        let bytes = file.read_at(offset as u64, 1000).await.done();
        assert!(!bytes.is_empty());
        assert_eq!(bytes, large[offset..offset + bytes.len()]);
    }
    drop(file);
    for _ in 0..12 {
        assert_eq!(read(&remote, &at(b"empty"), 0).await.done(), b"");
    }
    assert_eq!(
        read(&remote, &at(b"nothing"), 0).await.unwrap_err().kind,
        ErrorKind::NotFound
    );

    // Writing: new, over it, on from the middle, at the end; names as bytes.
    let odd = "a b (é) -x".as_bytes();
    write(&remote, &at(odd), Open::Replace, &large).await.done();
    assert_eq!(
        sha256_of(&fs::read(server.root().join("a b (é) -x")).unwrap()),
        sha256_of(&large)
    );
    write(&remote, &at(odd), Open::Replace, b"12345").await.done();
    write(&remote, &at(odd), Open::Resume { offset: 5 }, b"678")
        .await
        .done();
    write(&remote, &at(odd), Open::Append, b"9").await.done();
    assert_eq!(fs::read(server.root().join("a b (é) -x")).unwrap(), b"123456789");
    write(&remote, &at(b"none"), Open::Replace, b"").await.done();
    for turn in 0..8 {
        let name = format!("turn{turn}");
        write(&remote, &at(name.as_bytes()), Open::Replace, name.as_bytes())
            .await
            .done();
        remote.remove_file(&at(name.as_bytes())).await.done();
    }
    let again = remote.open(&at(odd), Open::CreateNew).await;
    assert_eq!(again.err().unwrap().kind, ErrorKind::Exists);

    // Looking.
    let found = remote.stat(&at(b"large")).await.done();
    assert_eq!((found.kind, found.size), (Kind::File, LARGE as u64));
    let age = SystemTime::now()
        .duration_since(found.modified)
        .unwrap_or_default();
    assert!(age < Duration::from_secs(600), "{:?}", found.modified);
    assert_eq!(names(&remote, &home).await, [odd, b"empty", b"large", b"none"]);

    // Folders, renames, removals, and what they cannot do.
    remote.make_dir(&at(b"folder")).await.done();
    assert_eq!(
        remote.make_dir(&at(b"folder")).await.unwrap_err().kind,
        ErrorKind::Exists
    );
    assert_eq!(remote.stat(&at(b"folder")).await.done().kind, Kind::Directory);
    remote.rename(&at(odd), &at(b"folder/moved"), false).await.done();
    assert_eq!(names(&remote, &at(b"folder")).await, [b"moved"]);
    let taken = remote.rename(&at(b"none"), &at(b"large"), false).await;
    assert_eq!(taken.unwrap_err().kind, ErrorKind::Exists);
    assert_eq!(
        remote.remove_dir(&at(b"folder")).await.unwrap_err().kind,
        ErrorKind::NotEmpty
    );
    remote.remove_file(&at(b"folder/moved")).await.done();
    remote.remove_dir(&at(b"folder")).await.done();
    assert_eq!(
        remote.remove_file(&at(b"gone")).await.unwrap_err().kind,
        ErrorKind::NotFound
    );

    // What not every server has.
    let abilities = remote.abilities();
    assert!(
        abilities.exact_size && abilities.ranges_up && abilities.ranges_down,
        "{abilities:?}"
    );
    if abilities.set_times {
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000);
        remote.set_modified(&at(b"large"), then).await.done();
        assert_eq!(remote.stat(&at(b"large")).await.done().modified, then);
    }
    assert_eq!(
        abilities.digests.contains(&Algorithm::Sha256),
        brand == Brand::Pasarela
    );
    if brand == Brand::Pasarela {
        for span in [None, Some(10..1_000_000)] {
            let digest = remote
                .digest(&at(b"large"), None, span.clone())
                .await
                .done()
                .unwrap();
            let bytes = span.map_or(&large[..], |span| &large[span.start as usize..span.end as usize]);
            let expected = sha256_of(bytes).to_string();
            let found: String = digest.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!((digest.algorithm, found), (Algorithm::Sha256, expected));
        }
    }

    // Only our server keeps what is not whole apart from files.
    let uploads = remote.uploads(&at(b"folder/x")).await.done();
    let expected = match brand {
        Brand::Pasarela => Uploads::Whole,
        _ => Uploads::Renamable,
    };
    assert_eq!(uploads, expected);

    // Several at once.
    let reads: Vec<_> = (0..6)
        .map(|_| {
            let (remote, path) = (remote.clone(), at(b"large"));
            tokio::spawn(async move { sha256_of(&read(&remote, &path, 0).await.done()) })
        })
        .collect();
    for one in reads {
        assert_eq!(one.await.unwrap(), sha256_of(&large));
    }
    remote.close().await;
}

/// As often as it can be said: NOOP during transfers takes no reply from them, on the servers that are known to answer.
async fn kept_alive(brand: Brand, wire: Wire) {
    let server = Server::start(brand, wire);
    let mut site = server.site();
    site.options.noop_every = Duration::from_millis(1);
    site.options.parallel = 1;
    let remote = FtpRemote::new(site);
    let large = noise(1, LARGE);
    server.put("large", &large);
    let home = remote.resolve(b"").await.done();
    let at = |name: &str| home.resolve(name.as_bytes()).unwrap();
    for turn in 0..8 {
        let found = read(&remote, &at("large"), 0).await.done();
        assert_eq!(sha256_of(&found), sha256_of(&large));
        let name = format!("turn{turn}");
        write(&remote, &at(&name), Open::Replace, &large).await.done();
        assert_eq!(
            sha256_of(&fs::read(server.root().join(&name)).unwrap()),
            sha256_of(&large)
        );
        assert_eq!(remote.stat(&at(&name)).await.done().size, LARGE as u64);
    }
    remote.close().await;
    if let Some(log) = server.log() {
        let logins = log.matches("logged in").count();
        assert_eq!(logins, 1, "{log}");
    }
}

macro_rules! kept_alive {
    ($($name:ident: $brand:ident $wire:ident;)*) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let work = kept_alive(Brand::$brand, Wire::$wire);
            tokio::time::timeout(Duration::from_secs(120), work).await.expect("it hangs");
        }
    )* };
}

kept_alive! {
    noop_pasarela: Pasarela Plain;
    noop_pasarela_tls: Pasarela Explicit;
    noop_proftpd: Proftpd Plain;
    noop_proftpd_tls: Proftpd Explicit;
    noop_pyftpdlib: Pyftpdlib Plain;
    noop_vsftpd: Vsftpd Plain;
}
