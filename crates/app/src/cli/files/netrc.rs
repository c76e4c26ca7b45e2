//! Logins out of a netrc file, as ftp(1) and curl keep them: `machine`, `default`, `login`, `password`, `account`.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use pasarela_client::Secret;

use crate::failure::Problem;

/// No file of logins is longer.
const LONGEST: u64 = 1024 * 1024;
/// What may follow the name of a machine.
const WORDS: &str = "machine, default, login, password, account and macdef";

/// Where the logins are looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// Nowhere.
    None,
    /// In a file that somebody named: it has to be there.
    Named(PathBuf),
    /// In the file of a home, if it is there.
    Home(PathBuf),
}

/// What a file says, in its order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Netrc(Vec<Entry>);

/// One login.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    /// The host; `None`: any that has no entry of its own.
    machine: Option<Vec<u8>>,
    pub(super) login: Option<Vec<u8>>,
    pub(super) password: Option<Secret>,
    pub(super) account: Option<Vec<u8>>,
}

impl Source {
    /// The file of the flag, of `$NETRC` (empty: none), or `~/.netrc`.
    pub(super) fn choose(flag: Option<&Path>, variable: impl Fn(&str) -> Option<PathBuf>) -> Self {
        let is_empty = |path: &PathBuf| path.as_os_str().is_empty();
        match (flag, variable("NETRC")) {
            (Some(file), _) => Self::Named(file.to_owned()),
            (None, Some(file)) if is_empty(&file) => Self::None,
            (None, Some(file)) => Self::Named(file),
            (None, None) => match variable("HOME").filter(|home| !is_empty(home)) {
                Some(home) => Self::Home(home.join(".netrc")),
                None => Self::None,
            },
        }
    }

    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read, is no netrc file, or has passwords and is open to others.
    pub(super) fn read(&self) -> Result<Netrc, Problem> {
        let path = match self {
            Self::None => return Ok(Netrc::default()),
            Self::Named(path) | Self::Home(path) => path,
        };
        let place = path.display().to_string();
        let (text, mode) = match read(path) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::NotFound && matches!(self, Self::Home(_)) => {
                return Ok(Netrc::default());
            }
            Err(error) => return Err(Problem::new(error.to_string()).at(&place)),
        };
        let netrc = Netrc::parse(text.reveal()).map_err(|problem| problem.at(&place))?;
        if mode & 0o077 != 0 && netrc.has_secrets() {
            return Err(Problem::new("has passwords, and is open to others")
                .at(&place)
                .hint(format!("chmod 600 {place}")));
        }
        Ok(netrc)
    }
}

fn read(path: &Path) -> io::Result<(Secret, u32)> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    // Room for all of it at once: a buffer that grows leaves copies behind.
    let room = usize::try_from(metadata.len().min(LONGEST)).unwrap_or(0);
    let mut text = Vec::with_capacity(room + 32);
    file.take(LONGEST + 1).read_to_end(&mut text)?;
    let text = Secret::new(text);
    if text.reveal().len() as u64 > LONGEST {
        return Err(io::Error::other("longer than 1 MiB"));
    }
    Ok((text, metadata.permissions().mode()))
}

impl Netrc {
    /// The first entry that fits a host and, where one is wanted, a user; `default` only where no machine does.
    pub(super) fn find(&self, host: &str, user: Option<&[u8]>) -> Option<&Entry> {
        let fits = |entry: &&Entry| match (user, &entry.login) {
            (Some(user), Some(login)) => user == login,
            (Some(_), None) => true,
            (None, login) => login.is_some(),
        };
        let is_host = |entry: &&Entry| {
            let machine = entry.machine.as_deref();
            machine.is_some_and(|machine| machine.eq_ignore_ascii_case(host.as_bytes()))
        };
        let named = self.0.iter().filter(is_host).find(fits);
        named.or_else(|| self.0.iter().filter(|entry| entry.machine.is_none()).find(fits))
    }

    /// Whether there are passwords; that of an anonymous login is none.
    fn has_secrets(&self) -> bool {
        self.0.iter().any(|entry| {
            let login = entry.login.as_deref().unwrap_or_default();
            entry.password.is_some() && !super::open::is_anonymous(login)
        })
    }

    fn parse(text: &[u8]) -> Result<Self, Problem> {
        let mut words = Words { rest: text, line: 1 };
        let mut entries: Vec<Entry> = Vec::new();
        while let Some(word) = words.keyword()? {
            let line = words.line;
            let at = |problem: Problem| problem.at(&format!("line {line}"));
            let mut value = || {
                words
                    .next()?
                    .ok_or_else(|| at(Problem::new("a value is missing")))
            };
            match (word.reveal(), entries.last_mut()) {
                (b"machine", _) => entries.push(Entry {
                    machine: Some(value()?.reveal().to_vec()),
                    ..Entry::default()
                }),
                (b"default", _) => entries.push(Entry::default()),
                (b"macdef", _) => {
                    value()?;
                    words.skip_macro();
                }
                (b"login", Some(entry)) => entry.login = Some(value()?.reveal().to_vec()),
                (b"password", Some(entry)) => entry.password = Some(value()?),
                (b"account", Some(entry)) => entry.account = Some(value()?.reveal().to_vec()),
                (b"login" | b"password" | b"account", None) => {
                    return Err(at(Problem::new("stands before any machine")));
                }
                // Perhaps the rest of a password: it is not shown.
                _ => {
                    return Err(at(Problem::new(format!("has a word that is none of {WORDS}"))
                        .hint("a password with a space in it stands in quotes: \"…\"")));
                }
            }
        }
        Ok(Self(entries))
    }
}

/// The words of a file.
struct Words<'a> {
    rest: &'a [u8],
    line: usize,
}

impl Words<'_> {
    /// The next word where a comment may stand instead: from `#` to the end of its line.
    fn keyword(&mut self) -> Result<Option<Secret>, Problem> {
        loop {
            self.skip_space();
            if self.rest.first() != Some(&b'#') {
                return self.next();
            }
            self.skip_line();
        }
    }

    /// The next word: up to white space, or in quotes, where a `\` says that the next byte is meant itself, and `\t`,
    /// `\r` and `\n` are control characters.
    fn next(&mut self) -> Result<Option<Secret>, Problem> {
        self.skip_space();
        let line = self.line;
        let bad = |text: &str| Err(Problem::new(text).at(&format!("line {line}")));
        let Some(first) = self.rest.first() else {
            return Ok(None);
        };
        // As long as it can become, for the reason that `read` has.
        let end =
            |is_end: fn(&u8) -> bool, bytes: &[u8]| bytes.iter().position(is_end).unwrap_or(bytes.len());
        let mut word = Vec::new();
        if *first == b'"' {
            let length = end(|byte| *byte == b'\n', self.rest);
            word.reserve(length);
            let mut bytes = self.rest[1..length].iter();
            let is_closed = loop {
                match bytes.next() {
                    None => break false,
                    Some(b'"') => break true,
                    Some(b'\\') => match bytes.next() {
                        None => break false,
                        Some(b'n') => word.push(b'\n'),
                        Some(b'r') => word.push(b'\r'),
                        Some(b't') => word.push(b'\t'),
                        Some(byte) => word.push(*byte),
                    },
                    Some(byte) => word.push(*byte),
                }
            };
            let read = length - bytes.len();
            self.rest = &self.rest[read..];
            if !is_closed {
                return bad("a quote is not closed");
            }
        } else {
            let length = end(u8::is_ascii_whitespace, self.rest);
            word.extend_from_slice(&self.rest[..length]);
            self.rest = &self.rest[length..];
        }
        let word = Secret::new(word);
        // It would be another command to the server.
        if word.reveal().iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            return bad("a line end or NUL in a value");
        }
        Ok(Some(word))
    }

    fn skip_space(&mut self) {
        while let Some((byte, rest)) = self.rest.split_first()
            && byte.is_ascii_whitespace()
        {
            self.line += usize::from(*byte == b'\n');
            self.rest = rest;
        }
    }

    /// To the next line; its content.
    fn skip_line(&mut self) -> &[u8] {
        let end = self.rest.iter().position(|byte| *byte == b'\n');
        let (line, rest) = match end {
            Some(end) => (&self.rest[..end], &self.rest[end + 1..]),
            None => (self.rest, &self.rest[self.rest.len()..]),
        };
        self.line += usize::from(end.is_some());
        self.rest = rest;
        line
    }

    /// A macro's commands end with an empty line.
    fn skip_macro(&mut self) {
        self.skip_line();
        while !self.rest.is_empty() && !self.skip_line().trim_ascii().is_empty() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Netrc {
        Netrc::parse(text.as_bytes()).unwrap_or_else(|problem| panic!("{text:?}: {problem:?}"))
    }

    /// Login and password for a host and perhaps a user.
    fn found(netrc: &Netrc, host: &str, user: Option<&str>) -> Option<(String, String)> {
        let entry = netrc.find(host, user.map(str::as_bytes))?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Some((
            text(entry.login.as_deref().unwrap_or_default()),
            text(entry.password.as_ref().map(Secret::reveal).unwrap_or_default()),
        ))
    }

    fn pair(login: &str, password: &str) -> Option<(String, String)> {
        Some((login.into(), password.into()))
    }

    #[test]
    fn the_entry_of_the_host_and_the_user_is_found() {
        let netrc = parsed(
            "default login guest password g\n\
             machine One.example login anna password a account lab\n\
             machine one.example\n\tlogin bob\n\tpassword b\r\n\
             machine two.example password shared",
        );
        assert_eq!(found(&netrc, "ONE.example", None), pair("anna", "a"));
        assert_eq!(found(&netrc, "one.example", Some("bob")), pair("bob", "b"));
        assert_eq!(found(&netrc, "one.example", Some("carl")), None);
        assert_eq!(found(&netrc, "two.example", Some("carl")), pair("", "shared"));
        assert_eq!(found(&netrc, "three.example", None), pair("guest", "g"));
        assert_eq!(found(&netrc, "three.example", Some("anna")), None);
        // A password whose user nobody names is nobody's.
        assert_eq!(found(&netrc, "two.example", None), pair("guest", "g"));
        let anna = netrc.find("one.example", None).unwrap();
        assert_eq!(anna.account.as_deref(), Some(&b"lab"[..]));
    }

    #[test]
    fn comments_macros_and_quotes_are_understood() {
        let netrc = parsed(
            "# machine a login x password y\n\
             machine a # of the lab\n login \"anna maria\" password \"s \\\"q\\\\ #1\"\n\
             macdef init\n machine b login z password z\n cd /pub\n\n\
             machine c login carl password #1\n machine d login \"\" password \"\"\n\
             macdef last\n machine e login z",
        );
        assert_eq!(found(&netrc, "a", None), pair("anna maria", "s \"q\\ #1"));
        assert_eq!(found(&netrc, "b", None), None);
        assert_eq!(found(&netrc, "c", None), pair("carl", "#1"));
        assert_eq!(found(&netrc, "d", None), pair("", ""));
        assert_eq!(found(&netrc, "e", None), None);
        assert_eq!(parsed(""), Netrc::default());
    }

    #[test]
    fn what_is_no_netrc_is_told_with_its_line_and_without_its_words() {
        for (text, line, expected) in [
            ("machine a login anna\npassword half secret", 2, "none of"),
            ("\nlogin anna", 2, "before any machine"),
            ("machine a password", 1, "missing"),
            ("machine", 1, "missing"),
            ("machine a password \"secret\nlogin x", 1, "not closed"),
            ("machine a password \"secret\\", 1, "not closed"),
            ("machine a password \"secret\\r\\nDELE x\"", 1, "line end"),
            ("machine a password secret\0", 1, "line end"),
        ] {
            let problem = Netrc::parse(text.as_bytes()).unwrap_err();
            assert!(
                problem.message.starts_with(&format!("line {line}: ")),
                "{problem:?}"
            );
            assert!(problem.message.contains(expected), "{problem:?}");
            assert!(!format!("{problem:?}").contains("secret"), "{problem:?}");
        }
    }

    #[test]
    fn a_password_is_not_printed() {
        let shown = format!("{:?}", parsed("machine a login anna password sesame"));
        assert!(shown.contains("***") && !shown.contains("sesame"), "{shown}");
    }

    #[test]
    fn the_flag_goes_before_the_variable_and_that_before_the_home() {
        let choose = |flag: Option<&str>, netrc: Option<&str>, home: Option<&str>| {
            Source::choose(flag.map(Path::new), |name| {
                let value = if name == "NETRC" { netrc } else { home };
                value.map(PathBuf::from)
            })
        };
        let (home, named) = (Some("/home/anna"), Source::Named);
        assert_eq!(choose(Some("f"), Some("v"), home), named("f".into()));
        assert_eq!(choose(None, Some("v"), home), named("v".into()));
        assert_eq!(choose(None, Some(""), home), Source::None);
        assert_eq!(choose(None, None, home), Source::Home("/home/anna/.netrc".into()));
        assert_eq!(choose(None, None, None), Source::None);
    }

    #[test]
    fn a_file_with_passwords_is_refused_where_others_can_open_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("netrc");
        let source = Source::Home(path.clone());
        assert_eq!(source.read(), Ok(Netrc::default()));
        assert!(Source::Named(path.clone()).read().is_err());
        for (text, mode, is_taken) in [
            ("machine a login anna password x", 0o600, true),
            ("machine a login anna password x", 0o640, false),
            ("machine a login anna password x", 0o602, false),
            ("machine a login anna", 0o644, true),
            ("default login anonymous password me@", 0o644, true),
        ] {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let read = source.read();
            assert_eq!(read.is_ok(), is_taken, "{text} {mode:o}");
            if let Err(problem) = read {
                assert_eq!(problem.hint, Some(format!("chmod 600 {}", path.display())));
            }
        }
    }
}
