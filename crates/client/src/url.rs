//! URLs of places: `ftp://`, `ftps://` (TLS from the first byte), `ftpes://` (AUTH TLS), `sftp://`; RFC 1738 §3.2,
//! RFC 3986.

use std::fmt;
use std::str::FromStr;

use zeroize::Zeroizing;

/// Where something is. The path is in bytes, relative to the directory after login unless it begins with `/`: in a URL
/// of FTP that is written `%2F` or as a second slash (RFC 1738 §3.2.2). In one of SFTP paths are absolute as they
/// stand, `/~/` is the directory after login, and no path at all means that too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// How it is reached.
    pub scheme: Scheme,
    /// Who logs in; `None`: nobody was named.
    pub user: Option<Vec<u8>>,
    /// With which password.
    pub password: Option<Secret>,
    /// A DNS name or an address, without brackets.
    pub host: String,
    /// The port; the scheme's own where none was given.
    pub port: u16,
    /// The path.
    pub path: Vec<u8>,
}

/// How a place is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `ftp://`: protected where the server offers it; no password in clear.
    Ftp,
    /// `ftps://`: TLS from the first byte.
    Ftps,
    /// `ftpes://`: AUTH TLS, or not at all.
    Ftpes,
    /// `sftp://`: SFTP over SSH.
    Sftp,
}

/// Bytes that are never printed by accident and are overwritten when dropped.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(Zeroizing<Vec<u8>>);

/// What is no URL. Displays with a `hint:` line where there is something to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadUrl {
    /// No scheme at all.
    #[error(
        "{0:?} is no URL\nhint: ftp://HOST/PATH, ftps://… (TLS from the first byte), ftpes://… (AUTH TLS) or sftp://…"
    )]
    NoScheme(String),
    /// A scheme of somebody else.
    #[error("{0}:// is not known here\nhint: ftp, ftps, ftpes and sftp are")]
    Scheme(String),
    /// The host is missing or no host.
    #[error("no host\nhint: an IPv6 address stands in brackets: ftp://[2001:db8::1]/")]
    Host,
    /// The port is no port.
    #[error("{0:?} is no port\nhint: a number from 1 to 65535")]
    Port(String),
    /// A `%` without two hexadecimal digits behind it.
    #[error("a % without two hexadecimal digits\nhint: write %25 for a % itself")]
    Escape,
    /// A line end or NUL, which would be another command to the server.
    #[error("a line end or NUL, perhaps as %0D, %0A or %00")]
    ControlByte,
}

impl Secret {
    /// Keeps it.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// The bytes themselves.
    #[must_use]
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("***")
    }
}

impl Scheme {
    /// The port where none is given.
    #[must_use]
    pub fn port(self) -> u16 {
        match self {
            Self::Ftp | Self::Ftpes => 21,
            Self::Ftps => 990,
            Self::Sftp => 22,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Ftp => "ftp",
            Self::Ftps => "ftps",
            Self::Ftpes => "ftpes",
            Self::Sftp => "sftp",
        })
    }
}

impl FromStr for Url {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| BadUrl::NoScheme(text.to_owned()))?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "ftp" => Scheme::Ftp,
            "ftps" => Scheme::Ftps,
            "ftpes" => Scheme::Ftpes,
            "sftp" => Scheme::Sftp,
            _ => return Err(BadUrl::Scheme(scheme.escape_default().to_string())),
        };
        let (authority, path) = match (scheme, rest.find('/')) {
            (_, None) => (rest, ""),
            (Scheme::Sftp, Some(at)) => (&rest[..at], below_home(&rest[at..])),
            (_, Some(at)) => (&rest[..at], &rest[at + 1..]),
        };
        let Authority {
            user,
            password,
            host,
            port,
        } = authority.parse()?;
        // `;type=i` (RFC 1738 §3.2.2) says what we do anyway.
        let path = [";type=i", ";type=d"]
            .iter()
            .filter(|_| scheme != Scheme::Sftp)
            .find_map(|kind| path.strip_suffix(kind))
            .unwrap_or(path);
        Ok(Self {
            scheme,
            user,
            password,
            host,
            port: port.unwrap_or(scheme.port()),
            path: decode(path)?,
        })
    }
}

/// What stands between `//` and the path: `[USER[:PASSWORD]@]HOST[:PORT]` (RFC 3986 §3.2).
pub(crate) struct Authority {
    pub(crate) user: Option<Vec<u8>>,
    pub(crate) password: Option<Secret>,
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
}

impl FromStr for Authority {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        // Passwords with an `@` that nobody escaped are common; hosts have none.
        let (login, host) = match text.rsplit_once('@') {
            Some((login, host)) => (Some(login), host),
            None => (None, text),
        };
        let (user, password) = match login.map(|login| login.split_once(':').ok_or(login)) {
            None => (None, None),
            Some(Err(user)) => (Some(decode(user)?), None),
            Some(Ok((user, password))) => (Some(decode(user)?), Some(Secret::new(decode(password)?))),
        };
        let (host, port) = match host.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']').ok_or(BadUrl::Host)?;
                address
                    .split('%')
                    .next()
                    .and_then(|address| address.parse::<std::net::Ipv6Addr>().ok())
                    .ok_or(BadUrl::Host)?;
                let port = match port.strip_prefix(':') {
                    Some(port) => port,
                    None if port.is_empty() => "",
                    None => return Err(BadUrl::Host),
                };
                (address, port)
            }
            None => host.split_once(':').unwrap_or((host, "")),
        };
        let is_bad = |c: char| c.is_whitespace() || c.is_control() || "@[]\\?#".contains(c);
        if host.is_empty() || host.contains(is_bad) {
            return Err(BadUrl::Host);
        }
        let port = match port {
            "" => None,
            text => match text.parse() {
                Ok(number) if number != 0 && text.bytes().all(|b| b.is_ascii_digit()) => Some(number),
                _ => return Err(BadUrl::Port(text.to_owned())),
            },
        };
        Ok(Self {
            user,
            password,
            host: host.to_owned(),
            port,
        })
    }
}

/// The password is not shown.
impl fmt::Display for Url {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}://", self.scheme)?;
        if let Some(user) = &self.user {
            encode(out, user, b"")?;
            write!(out, "@")?;
        }
        if self.host.contains(':') {
            write!(out, "[{}]", self.host)?;
        } else {
            write!(out, "{}", self.host)?;
        }
        if self.port != self.scheme.port() {
            write!(out, ":{}", self.port)?;
        }
        match self.path.split_first() {
            None if self.scheme == Scheme::Sftp => return Ok(()),
            Some((b'/', _)) if self.scheme == Scheme::Sftp => return encode(out, &self.path, b"/"),
            _ if self.scheme == Scheme::Sftp => {
                write!(out, "/~/")?;
                return encode(out, &self.path, b"/");
            }
            _ => write!(out, "/")?,
        }
        match self.path.split_first() {
            Some((b'/', rest)) => {
                write!(out, "%2F")?;
                encode(out, rest, b"/")
            }
            _ => encode(out, &self.path, b"/"),
        }
    }
}

/// `/~/x` means `x` in the directory after login, as curl has it.
fn below_home(path: &str) -> &str {
    match path.strip_prefix("/~") {
        Some("") => "",
        Some(rest) => rest.strip_prefix('/').unwrap_or(path),
        None => path,
    }
}

fn encode(out: &mut fmt::Formatter<'_>, bytes: &[u8], also: &[u8]) -> fmt::Result {
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) || also.contains(byte) {
            write!(out, "{}", char::from(*byte))?;
        } else {
            write!(out, "%{byte:02X}")?;
        }
    }
    Ok(())
}

fn decode(text: &str) -> Result<Vec<u8>, BadUrl> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        let byte = if *byte == b'%' {
            let (digits, behind) = rest.split_first_chunk::<2>().ok_or(BadUrl::Escape)?;
            rest = behind;
            let mut decoded = [0];
            hex::decode_to_slice(digits, &mut decoded).map_err(|_| BadUrl::Escape)?;
            decoded[0]
        } else {
            *byte
        };
        if matches!(byte, b'\r' | b'\n' | 0) {
            return Err(BadUrl::ControlByte);
        }
        bytes.push(byte);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn every_part_has_its_place() {
        let url = url("ftpes://maria:s%40fe@files.example:2121/a%20b/%C3%A9");
        assert_eq!(url.scheme, Scheme::Ftpes);
        assert_eq!(url.user.as_deref(), Some(&b"maria"[..]));
        assert_eq!(url.password.as_ref().map(Secret::reveal), Some(&b"s@fe"[..]));
        assert_eq!((url.host.as_str(), url.port), ("files.example", 2121));
        assert_eq!(url.path, "a b/é".as_bytes());
        assert_eq!(url.to_string(), "ftpes://maria@files.example:2121/a%20b/%C3%A9");
        assert!(!format!("{url:?}").contains("s@fe"));
    }

    #[test]
    fn ports_are_the_schemes_own() {
        assert_eq!(url("ftp://h").port, 21);
        assert_eq!(url("FTPS://h/").port, 990);
        assert_eq!(url("ftpes://h/").port, 21);
    }

    #[test]
    fn ipv6_stands_in_brackets() {
        let url = url("ftp://[2001:db8::1]:2121/x");
        assert_eq!((url.host.as_str(), url.port), ("2001:db8::1", 2121));
        assert_eq!(url.to_string(), "ftp://[2001:db8::1]:2121/x");
        for bad in ["ftp://[::1", "ftp://[x]/", "ftp://[::1]x/", "ftp://2001:db8::1/"] {
            assert!(bad.parse::<Url>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_path_is_relative_unless_it_says_otherwise() {
        assert_eq!(url("ftp://h/etc").path, b"etc");
        assert_eq!(url("ftp://h/%2Fetc").path, b"/etc");
        assert_eq!(url("ftp://h//etc").path, b"/etc");
        assert_eq!(url("ftp://h/%2Fetc").to_string(), "ftp://h/%2Fetc");
        assert_eq!(url("ftp://h/a;type=i").path, b"a");
    }

    #[test]
    fn a_path_of_sftp_is_absolute_unless_it_begins_with_a_tilde() {
        for (text, path, shown) in [
            ("sftp://h", "", "sftp://h"),
            ("sftp://h/", "/", "sftp://h/"),
            (
                "sftp://h/a%20b;type=i",
                "/a b;type=i",
                "sftp://h/a%20b%3Btype%3Di",
            ),
            ("sftp://h/~", "", "sftp://h"),
            ("sftp://h/~/", "", "sftp://h"),
            ("sftp://h/~/x/y", "x/y", "sftp://h/~/x/y"),
            ("sftp://h/~anna/x", "/~anna/x", "sftp://h/~anna/x"),
        ] {
            let url = url(text);
            assert_eq!(url.path, path.as_bytes(), "{text}");
            assert_eq!(url.to_string(), shown, "{text}");
        }
        assert_eq!(url("sftp://anna@h:22/x").to_string(), "sftp://anna@h/x");
        assert_eq!(url("sftp://h").port, 22);
    }

    #[test]
    fn a_second_command_never_comes_out_of_a_url() {
        for bad in [
            "ftp://h/a%0d%0aDELE%20x",
            "ftp://h/a%00",
            "ftp://a%0Ab@h/",
            "ftp://a:b%0D@h/",
            "ftp://h/a\nb",
        ] {
            assert_eq!(bad.parse::<Url>(), Err(BadUrl::ControlByte), "{bad}");
        }
        assert_eq!("ftp://a\r\nb/".parse::<Url>(), Err(BadUrl::Host));
    }

    #[test]
    fn what_is_no_url_says_what_one_looks_like() {
        assert!(
            "/srv/files"
                .parse::<Url>()
                .unwrap_err()
                .to_string()
                .contains("hint: ftp://")
        );
        assert_eq!("http://h/".parse::<Url>(), Err(BadUrl::Scheme("http".to_owned())));
        assert_eq!("ftp:///x".parse::<Url>(), Err(BadUrl::Host));
        assert_eq!("ftp://h:0/".parse::<Url>(), Err(BadUrl::Port("0".to_owned())));
        assert_eq!(
            "ftp://h:70000/".parse::<Url>(),
            Err(BadUrl::Port("70000".to_owned()))
        );
        assert_eq!("ftp://h/%4".parse::<Url>(), Err(BadUrl::Escape));
        assert_eq!("ftp://h/%zz".parse::<Url>(), Err(BadUrl::Escape));
    }
}
