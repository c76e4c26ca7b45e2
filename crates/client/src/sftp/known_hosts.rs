//! OpenSSH's lists of host keys, read and never written (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT").

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use russh::keys::ssh_key::PublicKey;
use sha1::Sha1;

/// More is no list of hosts that a person uses.
const LARGEST: u64 = 16 * 1024 * 1024;

/// What the lists say of one server.
#[derive(Debug, Default)]
pub(super) struct Listed {
    /// Its keys, and the file and line that each stands in.
    pub(super) keys: Vec<(PublicKey, PathBuf, usize)>,
    /// Keys that are not to be believed any more, whoever shows them.
    pub(super) revoked: Vec<PublicKey>,
}

/// What these files say of a server. A file that is missing says nothing; one that cannot be read is an error, as a
/// memory that fails is not an empty one.
pub(super) fn look_up(files: &[PathBuf], host: &str, port: u16) -> io::Result<Listed> {
    let mut listed = Listed::default();
    for file in files {
        if let Some(text) = read(file).map_err(|error| named(file, &error))? {
            take(&mut listed, &text, file, host, port);
        }
    }
    Ok(listed)
}

fn named(file: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", file.display()))
}

fn read(file: &Path) -> io::Result<Option<String>> {
    let opened = match File::open(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut bytes = Vec::new();
    opened.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    // What is not UTF-8 is in comments.
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

fn take(listed: &mut Listed, text: &str, file: &Path, host: &str, port: u16) {
    let host = host.to_ascii_lowercase();
    let name = match port {
        22 => host,
        port => format!("[{host}]:{port}"),
    };
    for (number, line) in text.lines().enumerate() {
        let mut words = line.split_ascii_whitespace();
        let Some(mut hosts) = words.next().filter(|word| !word.starts_with('#')) else {
            continue;
        };
        let mark = hosts.starts_with('@').then_some(hosts);
        if mark.is_some() {
            let Some(behind) = words.next() else { continue };
            hosts = behind;
        }
        let (Some(kind), Some(key)) = (words.next(), words.next()) else {
            continue;
        };
        if !is_meant(hosts, &name) {
            continue;
        }
        // A key of a kind that nobody here knows is shown by no server that we talk to.
        let Ok(key) = PublicKey::from_openssh(&format!("{kind} {key}")) else {
            continue;
        };
        match mark {
            None => listed.keys.push((key, file.to_owned(), number + 1)),
            Some("@revoked") => listed.revoked.push(key),
            // An authority's key is not a host's; certificates of hosts are not asked for.
            Some(_) => {}
        }
    }
}

/// Whether a list of patterns means a host; one with `!` before it excludes it whatever the others say.
fn is_meant(patterns: &str, name: &str) -> bool {
    let mut is_meant = false;
    for pattern in patterns.split(',') {
        if let Some(excluded) = pattern.strip_prefix('!') {
            if matches(excluded, name) {
                return false;
            }
        } else {
            is_meant |= matches(pattern, name);
        }
    }
    is_meant
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_prefix("|1|") {
        Some(hashed) => is_hash_of(hashed, name).unwrap_or(false),
        None => is_like(pattern.to_ascii_lowercase().as_bytes(), name.as_bytes()),
    }
}

/// `SALT|HASH` in base64: HMAC-SHA1 of the name with the salt as its key.
fn is_hash_of(hashed: &str, name: &str) -> Option<bool> {
    let (salt, hash) = hashed.split_once('|')?;
    let (salt, hash) = (BASE64.decode(salt).ok()?, BASE64.decode(hash).ok()?);
    let mut hmac = Hmac::<Sha1>::new_from_slice(&salt).ok()?;
    hmac.update(name.as_bytes());
    Some(hmac.verify_slice(&hash).is_ok())
}

/// `*` stands for any characters and `?` for one. Goes back to the last `*` only, so that no pattern takes long.
fn is_like(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(b'?') => (p, n) = (p + 1, n + 1),
            Some(byte) if *byte == name[n] => (p, n) = (p + 1, n + 1),
            _ => match &mut star {
                Some((at, from)) => {
                    *from += 1;
                    (p, n) = (*at + 1, *from);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

    fn found(line: &str, host: &str, port: u16) -> (usize, usize) {
        let mut listed = Listed::default();
        take(&mut listed, line, Path::new("known_hosts"), host, port);
        (listed.keys.len(), listed.revoked.len())
    }

    #[test]
    fn hosts_are_found_by_name_pattern_and_port() {
        for (hosts, host, port, is_found) in [
            ("a.example", "a.example", 22, true),
            ("a.example", "A.Example", 22, true),
            ("a.example", "a.example", 2222, false),
            ("[a.example]:2222", "a.example", 2222, true),
            ("b,a.example,192.0.2.1", "192.0.2.1", 22, true),
            ("*.example", "a.example", 22, true),
            ("*.example,!a.example", "a.example", 22, false),
            ("a.exampl?", "a.example", 22, true),
            ("*a*b*", "xaxxb", 22, true),
            ("*a*b*c", "xaxxb", 22, false),
            ("", "a", 22, false),
        ] {
            let line = format!("{hosts} {ED25519} a comment");
            assert_eq!(found(&line, host, port).0 == 1, is_found, "{hosts} {host}:{port}");
        }
    }

    #[test]
    fn marks_are_heard_and_nonsense_is_passed_over() {
        assert_eq!(found(&format!("@revoked * {ED25519}"), "a", 22), (0, 1));
        assert_eq!(found(&format!("@cert-authority * {ED25519}"), "a", 22), (0, 0));
        for line in [
            "",
            "#",
            "a",
            "a ssh-ed25519",
            "@revoked",
            "a ssh-ed25519 !!!",
            "|1|x|y k v",
        ] {
            assert_eq!(found(line, "a", 22), (0, 0), "{line}");
        }
    }

    #[test]
    fn hashed_names_are_found() {
        // HMAC-SHA1 of "a.example" under the salt 0123456789abcdefghij.
        let salt = b"0123456789abcdefghij";
        let mut hmac = Hmac::<Sha1>::new_from_slice(salt).unwrap();
        hmac.update(b"[a.example]:2222");
        let hash = BASE64.encode(hmac.finalize().into_bytes());
        let line = format!("|1|{}|{hash} {ED25519}", BASE64.encode(salt));
        assert_eq!(found(&line, "a.example", 2222), (1, 0));
        assert_eq!(found(&line, "b.example", 2222), (0, 0));
    }
}
