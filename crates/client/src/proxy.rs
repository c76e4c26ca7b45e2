//! Proxies: a TCP connection to a server through SOCKS 5 (RFC 1928, RFC 1929) or HTTP CONNECT (RFC 9110 §9.3.6).

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::Secret;
use crate::url::{Authority, BadUrl};

/// A proxy: `SCHEME://[USER:PASSWORD@]HOST[:PORT]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// What it speaks.
    pub kind: ProxyKind,
    /// A DNS name or an address.
    pub host: String,
    /// The port; 1080 for SOCKS and 8080 for HTTP where none was given.
    pub port: u16,
    /// Who logs in at the proxy.
    pub login: Option<(Vec<u8>, Secret)>,
}

/// What a proxy speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyKind {
    /// `socks5://`: SOCKS 5; names are resolved here.
    Socks5,
    /// `socks5h://`: SOCKS 5; names are resolved by the proxy.
    Socks5h,
    /// `http://`: CONNECT; names are resolved by the proxy.
    Http,
}

/// What is no proxy. Displays with a `hint:` line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadProxy {
    /// Another scheme, or none.
    #[error(
        "{0:?} is no proxy\nhint: socks5://HOST:PORT, socks5h://HOST:PORT (names go to the proxy) or http://HOST:PORT"
    )]
    Scheme(String),
    /// What follows the scheme.
    #[error("proxy: {0}")]
    Url(#[from] BadUrl),
    /// RFC 1929 §2 has one byte for each length; RFC 7617 §2 forbids a colon in a user's name.
    #[error(
        "proxy: the login cannot be sent\nhint: at most 255 bytes each, no colon in the user name, no control characters"
    )]
    Login,
}

/// What a proxy is asked to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    Name(String),
    Address(IpAddr),
}

/// Why a proxy did not connect.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("{0}")]
    Io(#[from] io::Error),
    /// What answers speaks something else.
    #[error("what answers there is no {0} proxy")]
    Foreign(&'static str),
    /// It wants a login, or another one.
    #[error("it refuses the login")]
    Login,
    /// It would not, or could not.
    #[error("it says: {0}")]
    Said(String),
    /// The name is too long for the protocol.
    #[error("the host's name is too long")]
    Name,
}

/// The longest head of an answer to CONNECT.
const MOST_HEAD: usize = 8 * 1024;

impl FromStr for Proxy {
    type Err = BadProxy;

    fn from_str(text: &str) -> Result<Self, BadProxy> {
        let strange = || {
            // What stands before the host may be a password.
            let shown = text.rsplit('@').next().unwrap_or_default();
            BadProxy::Scheme(shown.to_owned())
        };
        let (scheme, rest) = text.split_once("://").ok_or_else(strange)?;
        let (kind, usual) = match scheme.to_ascii_lowercase().as_str() {
            "socks5" => (ProxyKind::Socks5, 1080),
            "socks5h" => (ProxyKind::Socks5h, 1080),
            "http" => (ProxyKind::Http, 8080),
            _ => return Err(strange()),
        };
        let authority: Authority = rest.strip_suffix('/').unwrap_or(rest).parse()?;
        let login = authority
            .user
            .map(|user| (user, authority.password.unwrap_or_default()));
        if let Some((user, password)) = &login {
            let is_short = |text: &[u8]| (1..=255).contains(&text.len());
            let is_good = match kind {
                ProxyKind::Socks5 | ProxyKind::Socks5h => is_short(user) && is_short(password.reveal()),
                ProxyKind::Http => !user.contains(&b':'),
            };
            let is_text = |text: &[u8]| !text.iter().any(u8::is_ascii_control);
            if !(is_good && is_text(user) && is_text(password.reveal())) {
                return Err(BadProxy::Login);
            }
        }
        Ok(Self {
            kind,
            host: authority.host,
            port: authority.port.unwrap_or(usual),
            login,
        })
    }
}

/// The login is not shown.
impl fmt::Display for Proxy {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.kind {
            ProxyKind::Socks5 => "socks5",
            ProxyKind::Socks5h => "socks5h",
            ProxyKind::Http => "http",
        };
        match self.host.contains(':') {
            true => write!(out, "{scheme}://[{}]:{}", self.host, self.port),
            false => write!(out, "{scheme}://{}:{}", self.host, self.port),
        }
    }
}

impl Proxy {
    /// Whether names go to the proxy as they are.
    pub(crate) fn resolves(&self) -> bool {
        !matches!(self.kind, ProxyKind::Socks5)
    }

    /// Has the proxy, which `stream` is connected to, connect to `host`. From then on the stream is that connection;
    /// nothing of what comes through it has been read.
    pub(crate) async fn connect<S>(&self, stream: &mut S, host: &Host, port: u16) -> Result<(), Refused>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        match self.kind {
            ProxyKind::Socks5 | ProxyKind::Socks5h => self.socks(stream, host, port).await,
            ProxyKind::Http => self.http(stream, host, port).await,
        }
    }

    async fn socks<S>(&self, stream: &mut S, host: &Host, port: u16) -> Result<(), Refused>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        const FOREIGN: Refused = Refused::Foreign("SOCKS 5");
        // RFC 1928 §3: no login, and where we have one, RFC 1929.
        let methods: &[u8] = match self.login {
            Some(_) => &[5, 2, 0, 2],
            None => &[5, 1, 0],
        };
        stream.write_all(methods).await?;
        let mut chosen = [0; 2];
        stream.read_exact(&mut chosen).await?;
        match (chosen, &self.login) {
            ([5, 0], _) => {}
            ([5, 2], Some((user, password))) => {
                let mut login = vec![1];
                for text in [&user[..], password.reveal()] {
                    login.push(u8::try_from(text.len()).map_err(|_| Refused::Login)?);
                    login.extend_from_slice(text);
                }
                let login = zeroize::Zeroizing::new(login);
                stream.write_all(&login).await?;
                let mut status = [0; 2];
                stream.read_exact(&mut status).await?;
                if status[1] != 0 {
                    return Err(Refused::Login);
                }
            }
            ([5, 0xff], _) => return Err(Refused::Login),
            _ => return Err(FOREIGN),
        }
        // RFC 1928 §4: version, CONNECT, reserved, address type.
        let mut request = vec![5, 1, 0];
        match host {
            Host::Address(IpAddr::V4(address)) => {
                request.push(1);
                request.extend_from_slice(&address.octets());
            }
            Host::Address(IpAddr::V6(address)) => {
                request.push(4);
                request.extend_from_slice(&address.octets());
            }
            Host::Name(name) => {
                let length = u8::try_from(name.len()).map_err(|_| Refused::Name)?;
                request.extend_from_slice(&[3, length]);
                request.extend_from_slice(name.as_bytes());
            }
        }
        request.extend_from_slice(&port.to_be_bytes());
        stream.write_all(&request).await?;
        // RFC 1928 §6; the address in it is the proxy's own and of no use.
        let mut reply = [0; 4];
        stream.read_exact(&mut reply).await?;
        let [5, code, _, kind] = reply else {
            return Err(FOREIGN);
        };
        if code != 0 {
            return Err(Refused::Said(socks_words(code)));
        }
        let length = match kind {
            1 => 4,
            4 => 16,
            3 => usize::from(stream.read_u8().await?),
            _ => return Err(FOREIGN),
        };
        let mut bound = [0; 257];
        stream.read_exact(&mut bound[..length + 2]).await?;
        Ok(())
    }

    async fn http<S>(&self, stream: &mut S, host: &Host, port: u16) -> Result<(), Refused>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let target = match host {
            Host::Name(name) => format!("{name}:{port}"),
            Host::Address(IpAddr::V4(address)) => format!("{address}:{port}"),
            Host::Address(IpAddr::V6(address)) => format!("[{address}]:{port}"),
        };
        let mut request = zeroize::Zeroizing::new(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n"));
        if let Some((user, password)) = &self.login {
            let login = zeroize::Zeroizing::new([user, &b":"[..], password.reveal()].concat());
            // RFC 7617 §2.
            let encoded = zeroize::Zeroizing::new(BASE64_STANDARD.encode(&login));
            request.push_str("Proxy-Authorization: Basic ");
            request.push_str(&encoded);
            request.push_str("\r\n");
        }
        request.push_str("\r\n");
        stream.write_all(request.as_bytes()).await?;
        // Byte by byte: what stands behind the head is the server's.
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") && !head.ends_with(b"\n\n") {
            if head.len() == MOST_HEAD {
                return Err(Refused::Foreign("HTTP"));
            }
            head.push(stream.read_u8().await?);
        }
        let line = head
            .split(|byte| matches!(byte, b'\r' | b'\n'))
            .next()
            .unwrap_or_default();
        let status = line
            .strip_prefix(b"HTTP/1.")
            .and_then(|rest| rest.get(2..5))
            .filter(|digits| digits.iter().all(u8::is_ascii_digit))
            .ok_or(Refused::Foreign("HTTP"))?;
        match status {
            [b'2', _, _] => Ok(()),
            // 407 (RFC 9110 §15.5.8); tinyproxy says 401 of a wrong password.
            b"407" | b"401" => Err(Refused::Login),
            _ => Err(Refused::Said(line[9..].escape_ascii().to_string())),
        }
    }
}

/// RFC 1928 §6.
fn socks_words(code: u8) -> String {
    match code {
        1 => "general failure".to_owned(),
        2 => "not allowed by its rules".to_owned(),
        3 => "network unreachable".to_owned(),
        4 => "host unreachable".to_owned(),
        5 => "connection refused".to_owned(),
        6 => "it took too long on the way".to_owned(),
        7 => "it does not connect for anybody".to_owned(),
        8 => "it does not know this kind of address".to_owned(),
        other => format!("failure {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(text: &str) -> Proxy {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn a_proxy_is_a_url_and_shows_no_login() {
        let full = proxy("socks5h://an%3Ana:s%40fe@[2001:db8::1]:99/");
        assert_eq!(
            (full.kind, full.host.as_str(), full.port),
            (ProxyKind::Socks5h, "2001:db8::1", 99)
        );
        let (user, password) = full.login.as_ref().unwrap();
        assert_eq!((&user[..], password.reveal()), (&b"an:na"[..], &b"s@fe"[..]));
        assert_eq!(full.to_string(), "socks5h://[2001:db8::1]:99");
        assert!(!format!("{full:?}").contains("fe\""), "{full:?}");
        assert_eq!(proxy("socks5://h").port, 1080);
        assert_eq!(proxy("HTTP://h").port, 8080);
        for bad in [
            "h:1080",
            "https://h",
            "socks4://h",
            "socks5://",
            "http://a:b@h:x",
            "http://a%3Ab:c@h",
            "socks5://a@h",
        ] {
            let error = bad.parse::<Proxy>().unwrap_err().to_string();
            assert!(error.contains("hint:"), "{bad}: {error}");
        }
        let error = "ftp://anna:sesame@h".parse::<Proxy>().unwrap_err().to_string();
        assert!(!error.contains("sesame"), "{error}");
    }

    /// What a proxy that sends `says` at once is told, and what comes of it; what stands behind is left unread.
    async fn ask(proxy: &str, host: Host, says: &[u8]) -> (Vec<u8>, Result<(), Refused>, Vec<u8>) {
        let (mut ours, mut theirs) = tokio::io::duplex(64 * 1024);
        theirs.write_all(says).await.unwrap();
        let done = self::proxy(proxy).connect(&mut ours, &host, 21).await;
        theirs.shutdown().await.unwrap();
        let mut rest = Vec::new();
        ours.read_to_end(&mut rest).await.unwrap();
        drop(ours);
        let mut told = Vec::new();
        theirs.read_to_end(&mut told).await.unwrap();
        (told, done, rest)
    }

    #[tokio::test]
    async fn socks_is_asked_for_names_and_addresses_and_reads_no_byte_too_much() {
        let name = Host::Name("h.example".to_owned());
        let (told, done, rest) = ask(
            "socks5h://p",
            name.clone(),
            b"\x05\x00\x05\x00\x00\x01\x7f\0\0\x01\x12\x34220 ",
        )
        .await;
        done.unwrap();
        assert_eq!(told, b"\x05\x01\x00\x05\x01\x00\x03\x09h.example\x00\x15");
        assert_eq!(rest, b"220 ");
        let (told, done, rest) = ask(
            "socks5://u:pw@p",
            Host::Address([192, 0, 2, 1].into()),
            b"\x05\x02\x01\x00\x05\x00\x00\x03\x02hi\x12\x34x",
        )
        .await;
        done.unwrap();
        assert_eq!(
            told,
            b"\x05\x02\x00\x02\x01\x01u\x02pw\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x15"
        );
        assert_eq!(rest, b"x");
    }

    #[tokio::test]
    async fn socks_that_refuses_says_why() {
        let name = || Host::Name("h".to_owned());
        for (says, expected) in [
            (&b"\x05\xff"[..], "it refuses the login"),
            (b"\x05\x02\x01\x01", "it refuses the login"),
            (b"\x05\x00\x05\x05\x00\x01", "it says: connection refused"),
            (b"HTTP/1.1 400 ", "what answers there is no SOCKS 5 proxy"),
            (
                b"\x05\x00\x05\x00\x00\x09",
                "what answers there is no SOCKS 5 proxy",
            ),
        ] {
            let (_, done, _) = ask("socks5h://u:p@p", name(), says).await;
            assert_eq!(done.unwrap_err().to_string(), expected);
        }
        let (_, done, _) = ask("socks5h://p", Host::Name("x".repeat(256)), b"\x05\x00").await;
        assert!(matches!(done, Err(Refused::Name)), "{done:?}");
    }

    #[tokio::test]
    async fn connect_is_asked_for_and_reads_no_byte_too_much() {
        let (told, done, rest) = ask(
            "http://u:p@p",
            Host::Address("2001:db8::1".parse().unwrap()),
            b"HTTP/1.0 200 Fine\r\nVia: x\r\n\r\n220 ",
        )
        .await;
        done.unwrap();
        let told = String::from_utf8(told).unwrap();
        assert_eq!(
            told,
            "CONNECT [2001:db8::1]:21 HTTP/1.1\r\nHost: [2001:db8::1]:21\r\nProxy-Authorization: Basic dTpw\r\n\r\n"
        );
        assert_eq!(rest, b"220 ");
        let endless = [&b"HTTP/1.1 200 x\r\n"[..], &b"x: y\r\n".repeat(10_000)].concat();
        for (says, expected) in [
            (&b"HTTP/1.1 407 Who?\r\n\r\n"[..], "it refuses the login"),
            (b"HTTP/1.1 403 No \x1b\n\n", "it says: 403 No \\x1b"),
            (b"SSH-2.0-x\r\n\r\n", "what answers there is no HTTP proxy"),
            (&endless, "what answers there is no HTTP proxy"),
        ] {
            let (_, done, _) = ask("http://p", Host::Name("h".to_owned()), says).await;
            assert_eq!(done.unwrap_err().to_string(), expected);
        }
    }
}
