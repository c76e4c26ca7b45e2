//! Somebody with a home of their own, who starts the binary.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use pasarela_testkit::{PASSWORD, Pasarela, USER, pasarela_binary};
use tempfile::TempDir;

/// A home without anything in it.
pub struct User {
    home: TempDir,
}

impl User {
    pub fn new() -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
        }
    }

    /// A path in the home.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.home.path().join(name)
    }

    /// A file of the home.
    pub fn read(&self, name: impl AsRef<Path>) -> String {
        let path = self.path(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    pub fn mode(&self, name: impl AsRef<Path>) -> u32 {
        fs::metadata(self.path(name)).unwrap().permissions().mode() & 0o777
    }

    /// The binary, which finds nothing but this home; without a keyring.
    pub fn pasarela<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(pasarela_binary());
        command
            .args(arguments)
            .current_dir(self.home.path())
            .env("HOME", self.home.path())
            .env("XDG_CONFIG_HOME", self.path("config"))
            .env("STATE_DIRECTORY", self.path("state"));
        for name in [
            "NETRC",
            "PASARELA_PASSWORD",
            "DBUS_SESSION_BUS_ADDRESS",
            "XDG_RUNTIME_DIR",
        ] {
            command.env_remove(name);
        }
        command
    }

    /// Runs it with nobody at a terminal.
    pub fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Run {
        Run::of(self.pasarela(arguments))
    }
}

/// What a command came to.
#[derive(Debug)]
pub struct Run {
    pub code: Option<i32>,
    pub out: String,
    pub said: String,
}

impl Run {
    pub fn of(mut command: Command) -> Self {
        let Output {
            status,
            stdout,
            stderr,
        } = command.stdin(Stdio::null()).output().unwrap();
        Self {
            code: status.code(),
            out: String::from_utf8(stdout).unwrap(),
            said: String::from_utf8(stderr).unwrap(),
        }
    }

    /// What it wrote to standard output, if it ended with this code.
    #[track_caller]
    pub fn ends(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{self:?}");
        self.out
    }
}

/// The URL of a server with the user that it has.
pub fn url(server: &Pasarela, path: &str) -> String {
    format!("ftpes://{USER}@{}/{path}", server.control())
}

/// The key that a server shows, as it prints it.
pub fn pin(server: &Pasarela) -> String {
    let found = server.wait_for_log(Duration::from_secs(60), |line| {
        let at = line.find("sha256//")?;
        line[at..].split(char::is_whitespace).next().map(str::to_owned)
    });
    found.expect("it prints its pin")
}

/// A password file.
pub fn password_file(user: &User) -> PathBuf {
    let file = user.path("password");
    fs::write(&file, format!("{PASSWORD}\n")).unwrap();
    file
}
