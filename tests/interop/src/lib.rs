//! The clients people already have, run against the built server: what each of them is to do, and how to see that it did.
//!
//! A driver says how one client is told to do one [`Errand`]; [`exercise`] gives it all errands over one [`Wire`] with one
//! [`Mode`] and looks at the files. `tests/` has one file a client, and one table a file.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "test code: a panic is its report"
)]

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pasarela_testkit::{Ended, PASSWORD, Pasarela, PortWatch, USER, make_file, noise, run, sha256};
use tempfile::TempDir;

/// How the control connection is protected; data connections are protected with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// RFC 959.
    Plain,
    /// AUTH TLS (RFC 4217), TLS 1.2.
    Explicit12,
    /// AUTH TLS, TLS 1.3.
    Explicit13,
    /// TLS from the first byte, on a port of its own; TLS 1.2.
    Implicit12,
    /// TLS from the first byte; TLS 1.3.
    Implicit13,
}

impl Wire {
    /// Whether TLS runs at all.
    #[must_use]
    pub fn is_tls(self) -> bool {
        self != Self::Plain
    }

    /// Whether TLS comes before the greeting.
    #[must_use]
    pub fn is_implicit(self) -> bool {
        matches!(self, Self::Implicit12 | Self::Implicit13)
    }

    /// Whether it is TLS 1.2 and no other.
    #[must_use]
    pub fn is_tls12(self) -> bool {
        matches!(self, Self::Explicit12 | Self::Implicit12)
    }
}

/// Which command opens data connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// EPSV (RFC 2428 §3).
    Epsv,
    /// PASV (RFC 959 §4.1.2).
    Pasv,
    /// EPRT: the server connects (RFC 2428 §2).
    Eprt,
    /// PORT: the server connects (RFC 959 §4.1.2).
    Port,
}

/// What a client is to do. Names are in the server's root; local files have the same names.
#[derive(Debug, Clone)]
pub enum Errand<'a> {
    /// Print a listing of the root.
    List,
    /// Fetch files, in one session when the client can.
    Get {
        /// Their names.
        names: &'a [OsString],
        /// The folder to put them into.
        into: &'a Path,
    },
    /// Complete a file of which the first half is there.
    ResumeGet {
        /// Its name.
        name: &'a str,
        /// The folder with the first half.
        into: &'a Path,
    },
    /// Send files, in one session when the client can.
    Put {
        /// Their names.
        names: &'a [OsString],
        /// The folder they are in.
        from: &'a Path,
    },
    /// Complete a file of which the server has the first half.
    ResumePut {
        /// Its name.
        name: &'a str,
        /// The folder with the whole file.
        from: &'a Path,
    },
    /// Rename.
    Rename {
        /// The old name.
        from: &'a str,
        /// The new one.
        to: &'a str,
    },
    /// Delete a file.
    Delete(&'a str),
    /// Make a folder.
    MakeDir(&'a str),
    /// Remove an empty folder.
    RemoveDir(&'a str),
}

/// One client.
#[derive(Debug, Clone, Copy)]
pub struct Driver {
    /// The command that does an errand; `None` for what the client cannot do at all.
    pub command: fn(&Site, &Errand<'_>) -> Option<Command>,
    /// File names it can carry beside plain ASCII.
    pub names: &'static [&'static [u8]],
    /// Whether it keeps to one session at a time. The server never needs a second port for such a client.
    pub one_session: bool,
}

/// Two words.
pub const SPACES: &[u8] = b"two words.bin";
/// UTF-8 from several scripts.
pub const UTF8: &[u8] = "canción Ω 漢字.bin".as_bytes();
/// ISO 8859-1, which is no UTF-8.
pub const LATIN1: &[u8] = b"canci\xf3n.bin";

/// A Python program that does one errand with ftplib; its first lines say how it is called.
pub const FTPLIB_CLIENT: &str = include_str!("ftplib_client.py");

/// A Python program that does many errands over several ftplib sessions at once; called as its first lines say.
pub const FTPLIB_PARALLEL: &str = include_str!("ftplib_parallel.py");

/// A server for one test, and a home for its client.
#[derive(Debug)]
pub struct Site {
    /// The server.
    pub server: Pasarela,
    /// How to talk to it.
    pub wire: Wire,
    /// How to open data connections.
    pub mode: Mode,
    home: TempDir,
}

impl Site {
    /// Starts a server with its ports chosen by itself (`--data-ports auto`).
    #[must_use]
    #[track_caller]
    pub fn start(wire: Wire, mode: Mode) -> Self {
        Self::start_with(wire, mode, &["--data-ports", "auto"])
    }

    /// Starts a server with more arguments.
    #[must_use]
    #[track_caller]
    pub fn start_with(wire: Wire, mode: Mode, arguments: &[&str]) -> Self {
        let mut setup = Pasarela::setup()
            .arguments(["--tls", "optional"])
            .arguments(arguments);
        if wire.is_implicit() {
            setup = setup.implicit();
        }
        Self {
            server: setup.start(),
            wire,
            mode,
            home: tempfile::tempdir().unwrap(),
        }
    }

    /// Where this wire's clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        if self.wire.is_implicit() {
            self.server.implicit()
        } else {
            self.server.control()
        }
    }

    /// A new folder in the client's home.
    ///
    /// # Panics
    /// When there is one of that name.
    #[must_use]
    pub fn folder(&self, name: &str) -> PathBuf {
        let path = self.home.path().join(name);
        fs::create_dir(&path).unwrap();
        path
    }

    /// `scheme://host:port/name`, percent-encoded; without credentials.
    #[must_use]
    pub fn url(&self, scheme: &str, name: &OsStr) -> String {
        let mut url = format!("{scheme}://{}/", self.address());
        for byte in name.as_bytes() {
            if byte.is_ascii_alphanumeric() || b".-_/".contains(byte) {
                url.push(char::from(*byte));
            } else {
                url.push_str(&format!("%{byte:02X}"));
            }
        }
        url
    }

    /// A client with an empty home and nothing of ours in its environment.
    #[must_use]
    pub fn client(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("HOME", self.home.path())
            .env("LC_ALL", "C.UTF-8");
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.current_dir(self.home.path()).stdin(Stdio::null());
        command
    }

    /// A file in the client's home with these bytes, as standard input.
    ///
    /// # Panics
    /// When it cannot be written.
    #[must_use]
    pub fn script(&self, bytes: &[u8]) -> Stdio {
        let path = self.home.path().join("script");
        fs::write(&path, bytes).unwrap();
        fs::File::open(path).unwrap().into()
    }
}

/// A table of tests: each line is one test that exercises a driver over one wire with one mode.
#[macro_export]
macro_rules! interop {
    ($driver:expr; $($name:ident: $wire:ident $mode:ident;)+) => {
        $(#[test]
        fn $name() {
            $crate::exercise(&$driver, $crate::Wire::$wire, $crate::Mode::$mode);
        })+
    };
}

/// All errands that a client can do, small files first. Nothing but the announced ports may be open meanwhile: TLS tells
/// whose a data connection is, and so does a single session.
#[track_caller]
pub fn exercise(driver: &Driver, wire: Wire, mode: Mode) {
    let site = Site::start(wire, mode);
    let watch = PortWatch::start(site.server.process());
    both_ways(
        driver,
        &site,
        "sizes",
        &names(&["0", "1", "4K", "1M"]),
        |name| match name.to_str() {
            Some("0") => 0,
            Some("1") => 1,
            Some("4K") => 4096,
            _ => 1 << 20,
        },
    );
    let unusual: Vec<_> = driver
        .names
        .iter()
        .map(|name| OsString::from_vec(name.to_vec()))
        .collect();
    both_ways(driver, &site, "names", &unusual, |_| 1000);
    both_ways(driver, &site, "large", &names(&["64M"]), |_| 64 << 20);
    resumes(driver, &site);
    list_shows_every_file(driver, &site);
    changes_names(driver, &site);
    let (announced, seen) = (BTreeSet::from_iter(site.server.ports()), watch.seen());
    assert!(
        seen.is_superset(&announced),
        "listened on {seen:?}, announced {announced:?}"
    );
    if driver.one_session || wire.is_tls() {
        assert_eq!(
            seen, announced,
            "the server listens on its announced ports and on no other"
        );
    }
}

/// Does an errand; the client must say that it worked. False: it cannot.
#[track_caller]
fn does(driver: &Driver, site: &Site, errand: &Errand<'_>) -> Option<Ended> {
    let mut command = (driver.command)(site, errand)?;
    Some(run(&mut command).expect_success())
}

/// Sends files when the client can (else they are just put there), then fetches them; both times they must be whole.
#[track_caller]
fn both_ways(driver: &Driver, site: &Site, what: &str, names: &[OsString], size: fn(&OsStr) -> usize) {
    let (from, into) = (
        site.folder(&format!("{what} from")),
        site.folder(&format!("{what} into")),
    );
    for (seed, name) in names.iter().enumerate() {
        make_file(&from.join(name), seed as u64, size(name));
    }
    if does(driver, site, &Errand::Put { names, from: &from }).is_none() {
        for name in names {
            fs::copy(from.join(name), site.server.file(name)).unwrap();
        }
    }
    for name in names {
        assert_eq!(
            sha256(&site.server.file(name)),
            sha256(&from.join(name)),
            "sent: {name:?}"
        );
    }
    if does(driver, site, &Errand::Get { names, into: &into }).is_some() {
        for name in names {
            assert_eq!(
                sha256(&into.join(name)),
                sha256(&from.join(name)),
                "fetched: {name:?}"
            );
        }
    }
}

/// The half that is there already has other bytes, so that a whole transfer in place of the second half is seen.
#[track_caller]
fn resumes(driver: &Driver, site: &Site) {
    const SIZE: usize = 20 * 16 * 1024; // aria2 resumes at a multiple of 16 KiB
    let (whole, half) = (noise(1, SIZE), noise(2, SIZE / 2));
    let expected = [&half, &whole[SIZE / 2..]].concat();
    let local = site.folder("resume");

    fs::write(site.server.file("resumed-get"), &whole).unwrap();
    fs::write(local.join("resumed-get"), &half).unwrap();
    if does(
        driver,
        site,
        &Errand::ResumeGet {
            name: "resumed-get",
            into: &local,
        },
    )
    .is_some()
    {
        assert!(
            fs::read(local.join("resumed-get")).unwrap() == expected,
            "fetching was not resumed"
        );
    }

    fs::write(local.join("resumed-put"), &whole).unwrap();
    fs::write(site.server.file("resumed-put"), &half).unwrap();
    if does(
        driver,
        site,
        &Errand::ResumePut {
            name: "resumed-put",
            from: &local,
        },
    )
    .is_some()
    {
        assert!(
            fs::read(site.server.file("resumed-put")).unwrap() == expected,
            "sending was not resumed"
        );
    }
}

#[track_caller]
fn list_shows_every_file(driver: &Driver, site: &Site) {
    let Some(ended) = does(driver, site, &Errand::List) else {
        return;
    };
    let shown = String::from_utf8_lossy(&ended.stdout);
    for name in ["4K", "1M", "64M", "resumed-get"] {
        assert!(shown.contains(name), "{name} is not in the listing\n{ended}");
    }
}

#[track_caller]
fn changes_names(driver: &Driver, site: &Site) {
    let at = |name: &str| site.server.file(name).exists();
    fs::write(site.server.file("before"), b"renamed").unwrap();
    fs::write(site.server.file("unwanted"), b"deleted").unwrap();
    fs::create_dir(site.server.file("emptied")).unwrap();
    if does(
        driver,
        site,
        &Errand::Rename {
            from: "before",
            to: "after",
        },
    )
    .is_some()
    {
        assert!(!at("before") && fs::read(site.server.file("after")).unwrap() == b"renamed");
    }
    if does(driver, site, &Errand::Delete("unwanted")).is_some() {
        assert!(!at("unwanted"));
    }
    if does(driver, site, &Errand::MakeDir("made")).is_some() {
        assert!(site.server.file("made").is_dir());
    }
    if does(driver, site, &Errand::RemoveDir("emptied")).is_some() {
        assert!(!at("emptied"));
    }
}

/// `user:password`.
#[must_use]
pub fn credentials(separator: char) -> String {
    format!("{USER}{separator}{PASSWORD}")
}

fn names(ascii: &[&str]) -> Vec<OsString> {
    ascii.iter().map(OsString::from).collect()
}
