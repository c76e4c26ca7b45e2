//! The servers that were there before: a file with a line each, for trust at first use and against downgrades.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::trust::Pin;
use crate::Tag;

/// The file `known_servers`. Each line: `HOST PORT tls` for one that an authority vouched for, `HOST PORT
/// sha256//BASE64` for one that was believed; `#` begins a comment. A line of either kind says that the server
/// had TLS, so that no password goes to it in clear again.
#[derive(Debug)]
pub struct KnownServers {
    path: PathBuf,
    writing: Mutex<()>,
}

/// What is known of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// The key that was believed; `None`: an authority vouched for it.
    pub key: Option<Pin>,
}

/// More is no list of servers that a person uses.
const LARGEST: u64 = 4 * 1024 * 1024;

impl KnownServers {
    /// The file need not exist.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            writing: Mutex::default(),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is known of this server; `None`: it has not had TLS yet. Reads the file.
    ///
    /// # Errors
    /// When it is there and cannot be read: a memory that fails is not an empty one.
    pub fn look_up(&self, host: &str, port: u16) -> io::Result<Option<Known>> {
        let text = self.read()?;
        // The last line counts, so that a line added by hand wins.
        Ok(text
            .lines()
            .rev()
            .filter_map(parse)
            .find(|(known, at, _)| known.eq_ignore_ascii_case(host) && *at == port)
            .map(|(_, _, known)| known))
    }

    /// Everybody who is known: host, port, and what is known of them. Reads the file.
    ///
    /// # Errors
    /// As [`Self::look_up`].
    pub fn all(&self) -> io::Result<Vec<(String, u16, Known)>> {
        let text = self.read()?;
        let mut all: Vec<(String, u16, Known)> = Vec::new();
        for (host, port, known) in text.lines().filter_map(parse) {
            let host = host.to_ascii_lowercase();
            all.retain(|(other, at, _)| (other, *at) != (&host, port));
            all.push((host, port, known));
        }
        all.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
        Ok(all)
    }

    /// Keeps that this server has TLS, and which key was believed; what was known of it is replaced.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn remember(&self, host: &str, port: u16, known: Known) -> io::Result<()> {
        self.rewrite(host, port, Some(known))
    }

    /// Forgets a server; what it shows next time counts as the first.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn forget(&self, host: &str, port: u16) -> io::Result<()> {
        self.rewrite(host, port, None)
    }

    fn rewrite(&self, host: &str, port: u16, known: Option<Known>) -> io::Result<()> {
        if host.is_empty()
            || host.starts_with('#')
            || host.contains(|c: char| c.is_whitespace() || c.is_control())
        {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(directory) = self.path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        // Other processes write it too. The lock is a file of its own because the list is replaced as a whole.
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(self.path.with_extension("lock"))?;
        lock.lock()?;

        let mut text = String::new();
        for line in self.read()?.lines() {
            let same = parse(line).is_some_and(|(name, at, _)| name.eq_ignore_ascii_case(host) && at == port);
            if !same {
                text.push_str(line);
                text.push('\n');
            }
        }
        if let Some(Known { key }) = known {
            let key = key.map_or_else(|| "tls".to_owned(), |key| key.to_string());
            text.push_str(&format!("{host} {port} {key}\n"));
        }
        let draft = self
            .path
            .with_extension(format!("{}.tmp", hex::encode(Tag::fresh()?.0)));
        let written = (|| {
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&draft)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&draft, &self.path)
        })();
        if written.is_err() {
            // It may not exist; the error that matters is the first one.
            let _ = fs::remove_file(&draft);
        }
        written
    }

    fn read(&self) -> io::Result<String> {
        use io::Read as _;
        let file = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
            opened => opened?,
        };
        let mut text = String::new();
        file.take(LARGEST + 1).read_to_string(&mut text)?;
        if text.len() as u64 > LARGEST {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(text)
    }
}

fn parse(line: &str) -> Option<(&str, u16, Known)> {
    let mut words = line.split_whitespace();
    let host = words.next().filter(|host| !host.starts_with('#'))?;
    let port = words.next()?.parse().ok()?;
    let key = match words.next()? {
        "tls" => None,
        pin => Some(pin.parse().ok()?),
    };
    Some((host, port, Known { key }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_remembered_is_known_until_it_is_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let servers = KnownServers::at(directory.path().join("deep/known_servers"));
        assert_eq!(servers.look_up("a.example", 21).unwrap(), None);
        let believed = Known {
            key: Some(Pin([7; 32])),
        };
        servers.remember("a.example", 21, believed).unwrap();
        servers.remember("b.example", 990, Known { key: None }).unwrap();
        assert_eq!(servers.look_up("A.example", 21).unwrap(), Some(believed));
        let all = servers.all().unwrap();
        let expected = [
            ("a.example", 21, believed),
            ("b.example", 990, Known { key: None }),
        ];
        assert_eq!(
            all,
            expected.map(|(host, port, known)| (host.to_owned(), port, known))
        );
        assert_eq!(servers.look_up("a.example", 22).unwrap(), None);
        assert_eq!(
            servers.look_up("b.example", 990).unwrap(),
            Some(Known { key: None })
        );

        let renewed = Known {
            key: Some(Pin([8; 32])),
        };
        servers.remember("a.example", 21, renewed).unwrap();
        assert_eq!(servers.look_up("a.example", 21).unwrap(), Some(renewed));
        servers.forget("a.example", 21).unwrap();
        assert_eq!(servers.look_up("a.example", 21).unwrap(), None);
        assert!(servers.look_up("b.example", 990).unwrap().is_some());
    }

    #[test]
    fn comments_and_lines_that_say_nothing_stay_and_are_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("known_servers");
        fs::write(&path, "# mine\nnonsense\na 21 md5//x\n").unwrap();
        let servers = KnownServers::at(&path);
        assert_eq!(servers.look_up("a", 21).unwrap(), None);
        servers.remember("b", 21, Known { key: None }).unwrap();
        assert!(
            fs::read_to_string(&path)
                .unwrap()
                .starts_with("# mine\nnonsense\n")
        );
    }

    #[test]
    fn a_memory_that_cannot_be_read_is_not_an_empty_one() {
        let directory = tempfile::tempdir().unwrap();
        assert!(KnownServers::at(directory.path()).look_up("a", 21).is_err());
    }

    #[test]
    fn a_host_that_would_break_the_line_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let servers = KnownServers::at(directory.path().join("known_servers"));
        for host in ["a 21 tls\nb", "", "#a"] {
            assert!(
                servers.remember(host, 21, Known { key: None }).is_err(),
                "{host:?}"
            );
        }
    }
}
