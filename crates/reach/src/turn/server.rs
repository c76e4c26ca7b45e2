//! A TURN server as the operator names it: its URI, who we are to it, and whose certificate it may show.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};

/// Where the URI names no port (RFC 7065).
const TURN_PORT: u16 = 3478;
const TURNS_PORT: u16 = 5349;

/// A TURN server and our credentials there.
///
/// Parsed from a URI of RFC 7065, `turn:host:port?transport=tcp` or `turns:host:port`, always over TCP. RFC 7065 has
/// no place for credentials; ours is `turn:user:password@host:port` (also with `//` behind the scheme), with whatever would mislead (`@ : % ?`) as
/// percent and two hexadecimal digits.
#[derive(Clone)]
pub struct TurnServer {
    /// A name or an address, IPv6 without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// With TLS (`turns:`), and whom it trusts. The parser takes the system's roots, which reads files.
    pub tls: Option<Arc<ClientConfig>>,
    /// Who we are there.
    pub username: String,
    /// Never shown.
    pub password: String,
}

impl fmt::Debug for TurnServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TurnServer")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("tls", &self.tls.is_some())
            .field("username", &self.username)
            .field("password", &"***")
            .finish()
    }
}

/// The URI without what is secret.
impl fmt::Display for TurnServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls.is_some() { "turns" } else { "turn" };
        if self.host.contains(':') {
            write!(f, "{scheme}:[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}:{}:{}", self.host, self.port)
        }
    }
}

/// Why a text names no TURN server. None of these shows the text, which has a password in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadTurnServer {
    /// Another scheme, or none.
    #[error("a TURN server begins with turn: or turns:")]
    Scheme,
    /// No host, or no possible one.
    #[error("no host")]
    Host,
    /// No number from 1 to 65535.
    #[error("the port is not a number from 1 to 65535")]
    Port,
    /// Data connections arrive over TCP, and UDP to the server can carry none (RFC 6062 section 4.1).
    #[error("the only transport is tcp")]
    Transport,
    /// A user without a password, or a percent sign without two digits.
    #[error("credentials are user:password@, and a percent sign in them is %25")]
    Credentials,
    /// The system has no roots to trust.
    #[error("this system has no root certificates to check the server with")]
    NoRoots,
}

impl FromStr for TurnServer {
    type Err = BadTurnServer;

    fn from_str(text: &str) -> Result<Self, BadTurnServer> {
        let (scheme, rest) = text.split_once(':').ok_or(BadTurnServer::Scheme)?;
        let is_tls = match scheme.to_ascii_lowercase().as_str() {
            "turn" => false,
            "turns" => true,
            _ => return Err(BadTurnServer::Scheme),
        };
        // Many write it as they write other URLs.
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        let (rest, query) = rest
            .split_once('?')
            .map_or((rest, None), |(rest, query)| (rest, Some(query)));
        if query.is_some_and(|query| !query.eq_ignore_ascii_case("transport=tcp")) {
            return Err(BadTurnServer::Transport);
        }
        // The last one: a host has none.
        let (username, password, place) = match rest.rsplit_once('@') {
            Some((credentials, place)) => {
                let (username, password) = credentials.split_once(':').ok_or(BadTurnServer::Credentials)?;
                (decoded(username)?, decoded(password)?, place)
            }
            None => (String::new(), String::new(), rest),
        };
        let (host, port) = place_of(place)?;
        let port = match port {
            Some(port) => port
                .parse()
                .ok()
                .filter(|port| *port != 0)
                .ok_or(BadTurnServer::Port)?,
            None if is_tls => TURNS_PORT,
            None => TURN_PORT,
        };
        let tls = if is_tls { Some(system_trust()?) } else { None };
        Ok(Self {
            host: host.to_owned(),
            port,
            tls,
            username,
            password,
        })
    }
}

/// Host and port of `host:port`, `host`, `[v6]:port` or `[v6]`.
fn place_of(place: &str) -> Result<(&str, Option<&str>), BadTurnServer> {
    if let Some(rest) = place.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or(BadTurnServer::Host)?;
        host.parse::<Ipv6Addr>().map_err(|_| BadTurnServer::Host)?;
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(BadTurnServer::Host),
        };
    }
    let (host, port) = place
        .split_once(':')
        .map_or((place, None), |(host, port)| (host, Some(port)));
    let is_possible = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if host.is_empty() || !host.bytes().all(is_possible) {
        return Err(BadTurnServer::Host);
    }
    Ok((host, port))
}

/// Percent-decoding (RFC 3986 section 2.1).
fn decoded(text: &str) -> Result<String, BadTurnServer> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(if byte == b'%' {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            let (high, low) = digit().zip(digit()).ok_or(BadTurnServer::Credentials)?;
            u8::try_from(high * 16 + low).map_err(|_| BadTurnServer::Credentials)?
        } else {
            byte
        });
    }
    String::from_utf8(decoded).map_err(|_| BadTurnServer::Credentials)
}

/// Trusts whom the system trusts.
fn system_trust() -> Result<Arc<ClientConfig>, BadTurnServer> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(BadTurnServer::NoRoots);
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|_| BadTurnServer::NoRoots)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (String, u16, String, String) {
        let server: TurnServer = text.parse().unwrap();
        (server.host, server.port, server.username, server.password)
    }

    #[test]
    fn uris_of_rfc_7065_are_read() {
        let named = |host: &str, port| (host.to_owned(), port, String::new(), String::new());
        assert_eq!(parts("turn:relay.example"), named("relay.example", 3478));
        assert_eq!(parts("TURN:192.0.2.1:443?transport=tcp"), named("192.0.2.1", 443));
        // As many write other URLs.
        assert_eq!(parts("turn://relay.example"), named("relay.example", 3478));
        assert_eq!(parts("turn:[2001:db8::1]"), named("2001:db8::1", 3478));
        assert_eq!(parts("turn:[2001:db8::1]:99"), named("2001:db8::1", 99));
    }

    #[test]
    fn credentials_stand_before_the_host() {
        let (_, port, username, password) = parts("turn:1700000000%3Aanna:p@ss:w%25rd%3f@relay.example:99");
        assert_eq!(
            (port, username.as_str(), password.as_str()),
            (99, "1700000000:anna", "p@ss:w%rd?")
        );
        assert_eq!(
            parts("turn://anna:secret@relay.example:99?transport=tcp"),
            parts("turn:anna:secret@relay.example:99")
        );
    }

    #[test]
    fn what_names_no_server_says_why() {
        for (text, error) in [
            ("relay.example", BadTurnServer::Scheme),
            ("stun:relay.example", BadTurnServer::Scheme),
            ("turn:", BadTurnServer::Host),
            ("turn:///relay.example", BadTurnServer::Host),
            ("turn:[relay]", BadTurnServer::Host),
            ("turn:[::1]x", BadTurnServer::Host),
            ("turn:relay.example:0", BadTurnServer::Port),
            ("turn:relay.example:65536", BadTurnServer::Port),
            ("turn:relay.example?transport=udp", BadTurnServer::Transport),
            ("turn:anna@relay.example", BadTurnServer::Credentials),
            ("turn:anna:5%@relay.example", BadTurnServer::Credentials),
            ("turn:anna:%ff@relay.example", BadTurnServer::Credentials),
        ] {
            assert_eq!(text.parse::<TurnServer>().map(|_| ()), Err(error), "{text}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let server: TurnServer = "turn:anna:swordfish@[::1]:99".parse().unwrap();
        assert!(!format!("{server:?}").contains("swordfish"));
        assert_eq!(server.to_string(), "turn:[::1]:99");
    }
}
