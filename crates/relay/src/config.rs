//! What a relay is told: addresses, accounts and their limits, and what it never connects to.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use pasarela_tls::ServerTls;

/// Everything that [`crate::Relay::bind`] needs. Addresses with port 0 get a free port each.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where STUN Binding is answered over UDP.
    pub udp: Vec<SocketAddr>,
    /// A second address, one a family, whose port is another one too: with it, clients can find out what kind of NAT
    /// they are behind (RFC 5780). The first address is that of `udp`; one that stands for all of the family becomes
    /// that of `relay`.
    pub other: Vec<SocketAddr>,
    /// Where STUN and TURN are served over TCP.
    pub tcp: Vec<SocketAddr>,
    /// Where they are served over TLS, with `certificate`.
    pub tls: Vec<SocketAddr>,
    /// The certificate for `tls`; build it with [`crate::ALPN`].
    pub certificate: Option<ServerTls>,
    /// Where TLS connections for lent names come in. They are told apart by the name that they ask for (SNI) and
    /// are not decrypted. The first address of a family is the one that is announced.
    pub names: Vec<SocketAddr>,
    /// The realm (RFC 8489 section 9.2); any text that is not empty.
    pub realm: String,
    /// Who may use it.
    pub accounts: Vec<Account>,
    /// Where ports are lent: one address a family.
    pub relay: Vec<RelayAddress>,
    /// The ports of allocations that wish for none.
    pub ports: RangeInclusive<u16>,
    /// The most connections to `tcp` and `tls` at a time.
    pub connections: usize,
    /// The most of them that have not authenticated themselves.
    pub unauthenticated: usize,
    /// The most of those from one address (IPv6: one /64).
    pub unauthenticated_per_address: usize,
    /// How long a connection may take to authenticate itself.
    pub authentication_deadline: Duration,
    /// How long a nonce is good (RFC 8656 section 5 wants an hour at most).
    pub nonce_lifetime: Duration,
    /// How long a peer waits for ConnectionBind: 30 s (RFC 6062 section 5.3).
    pub bind_deadline: Duration,
    /// How long Connect tries: 30 s (RFC 6062 section 5.2).
    pub connect_deadline: Duration,
    /// How long a dial-back tries.
    pub dial_back_deadline: Duration,
    /// How long the sending side may need to be acknowledged before a reset is passed on all the same.
    pub drain_deadline: Duration,
    /// Answer Binding over UDP although the answer is longer than the request. Off, a request must be padded, and
    /// the relay is of no use to whoever forges source addresses.
    pub short_binding_requests: bool,
    /// Connect to private, loopback, link-local and all other special addresses too. For tests and labs: whoever
    /// has an account reaches then what the relay's machine reaches.
    pub danger_allow_private_peers: bool,
}

/// An address at which ports are lent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelayAddress {
    /// An address of this machine; unspecified for all of the family.
    pub bind: IpAddr,
    /// The address under which the others know it, of the same family.
    pub public: IpAddr,
}

/// An account.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// What proves that somebody is it.
    pub credential: Credential,
    /// What it may have at a time.
    pub limits: Limits,
    /// Ports that it may wish for.
    pub ports: Vec<RangeInclusive<u16>>,
    /// Server names that it may wish for; `*.example.org` stands for all names one label longer.
    pub names: Vec<String>,
    /// Whether peers without permission may be let in.
    pub any_peer: bool,
    /// Whether it may have itself called back.
    pub dial_back: bool,
}

/// What proves that somebody is an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// The name and this password.
    Password(Secret),
    /// Names `EXPIRY:NAME`, where EXPIRY is a moment in seconds since 1970 and the password is
    /// `base64(hmac-sha1(secret, EXPIRY:NAME))`, as the TURN REST API (draft-uberti-behave-turn-rest) has it.
    Shared(Secret),
}

/// What an account may have at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Allocations.
    pub allocations: usize,
    /// Carried connections, with those that wait for their ConnectionBind.
    pub connections: usize,
    /// Those that wait, for one allocation. More of them stay in the kernel's queue.
    pub waiting: usize,
    /// Permissions of one allocation.
    pub permissions: usize,
    /// Bytes a second, both directions of all connections together; `None` for no bound.
    pub bytes_per_second: Option<u64>,
    /// Dial-backs a minute.
    pub dial_backs_per_minute: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            allocations: 16,
            connections: 512,
            waiting: 64,
            permissions: 1024,
            bytes_per_second: None,
            dial_backs_per_minute: 30,
        }
    }
}

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text`.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("***")
    }
}

impl Config {
    /// A relay that listens nowhere yet, with the defaults.
    #[must_use]
    pub fn new(realm: &str) -> Self {
        Self {
            udp: Vec::new(),
            other: Vec::new(),
            tcp: Vec::new(),
            tls: Vec::new(),
            certificate: None,
            names: Vec::new(),
            realm: realm.to_owned(),
            accounts: Vec::new(),
            relay: Vec::new(),
            ports: 49152..=65535,
            connections: 4096,
            unauthenticated: 512,
            unauthenticated_per_address: 32,
            authentication_deadline: Duration::from_secs(10),
            nonce_lifetime: Duration::from_secs(3600),
            bind_deadline: Duration::from_secs(30),
            connect_deadline: Duration::from_secs(30),
            dial_back_deadline: Duration::from_secs(3),
            drain_deadline: Duration::from_secs(60),
            short_binding_requests: false,
            danger_allow_private_peers: false,
        }
    }

    /// Where UDP is answered that has `other` as its second address, and how others know that.
    pub(crate) fn first_of(&self, other: SocketAddr) -> Option<(SocketAddr, SocketAddr)> {
        let of_family = |address: &&SocketAddr| address.is_ipv4() == other.is_ipv4();
        let first = *self.udp.iter().find(of_family)?;
        let relay = self
            .relay
            .iter()
            .find(|relay| relay.bind.is_ipv4() == other.is_ipv4());
        let ip = match relay {
            Some(relay) if first.ip().is_unspecified() && relay.bind.is_unspecified() => relay.public,
            Some(relay) if first.ip().is_unspecified() => relay.bind,
            _ => first.ip(),
        };
        let public = relay
            .filter(|relay| relay.bind == ip)
            .map_or(ip, |relay| relay.public);
        let at = |ip| SocketAddr::new(ip, first.port());
        Some((at(ip), at(public)))
    }

    fn check_other(&self) -> Result<(), BadConfig> {
        let bad = |what: String| Err(BadConfig(what));
        for (index, other) in self.other.iter().enumerate() {
            let Some((first, public)) = self.first_of(*other) else {
                return bad(format!(
                    "the other address {other} has no first one of its family"
                ));
            };
            if self.other[..index]
                .iter()
                .any(|another| another.is_ipv4() == other.is_ipv4())
            {
                return bad("two other addresses of one family".into());
            }
            if first.ip().is_unspecified() || other.ip().is_unspecified() {
                return bad(format!(
                    "the other address {other} and the first one, {first}, must be addresses of this machine"
                ));
            }
            let is_same_port = first.port() == other.port() && other.port() != 0;
            if [first.ip(), public.ip()].contains(&other.ip()) || is_same_port {
                return bad(format!(
                    "the other address {other} must differ from the first one, {first}, in address and port"
                ));
            }
        }
        Ok(())
    }

    /// What is wrong with it, in words for whoever wrote it.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), BadConfig> {
        let bad = |what: String| Err(BadConfig(what));
        if self.realm.is_empty() || self.realm.len() > 127 {
            return bad("the realm is empty or longer than 127 octets".into());
        }
        if self.tcp.is_empty() && self.tls.is_empty() && self.udp.is_empty() {
            return bad("no address to listen on".into());
        }
        if !self.tls.is_empty() && self.certificate.is_none() {
            return bad("an address for TLS, but no certificate".into());
        }
        if self.ports.is_empty() || *self.ports.start() == 0 {
            return bad("the range of ports is empty or begins at 0".into());
        }
        for (index, relay) in self.relay.iter().enumerate() {
            if relay.bind.is_ipv4() != relay.public.is_ipv4() {
                return bad(format!("{} and {} are of two families", relay.bind, relay.public));
            }
            if self.relay[..index]
                .iter()
                .any(|other| other.bind.is_ipv4() == relay.bind.is_ipv4())
            {
                return bad("two relay addresses of one family".into());
            }
        }
        self.check_other()?;
        for (index, account) in self.accounts.iter().enumerate() {
            let name = &account.name;
            if name.is_empty() || name.contains(':') || name.len() > 256 {
                return bad(format!(
                    "account {name:?}: its name is empty, long or has a colon"
                ));
            }
            if account.credential.secret().reveal().is_empty() {
                return bad(format!("account {name:?}: its secret is empty"));
            }
            if self.accounts[..index].iter().any(|other| other.name == *name) {
                return bad(format!("account {name:?} comes twice"));
            }
            if account
                .ports
                .iter()
                .any(|ports| *ports.start() == 0 || ports.is_empty())
            {
                return bad(format!(
                    "account {name:?}: a range of ports is empty or begins at 0"
                ));
            }
        }
        Ok(())
    }
}

impl Credential {
    fn secret(&self) -> &Secret {
        match self {
            Self::Password(secret) | Self::Shared(secret) => secret,
        }
    }
}

impl Account {
    /// Nothing but allocations on ports that the relay picks, with permissions.
    #[must_use]
    pub fn new(name: &str, credential: Credential) -> Self {
        Self {
            name: name.to_owned(),
            credential,
            limits: Limits::default(),
            ports: Vec::new(),
            names: Vec::new(),
            any_peer: false,
            dial_back: true,
        }
    }

    pub(crate) fn may_lend_port(&self, port: u16) -> bool {
        self.ports.iter().any(|ports| ports.contains(&port))
    }

    pub(crate) fn may_lend_name(&self, name: &str) -> bool {
        self.names.iter().any(|pattern| {
            pattern.eq_ignore_ascii_case(name)
                || match (pattern.strip_prefix("*."), name.split_once('.')) {
                    (Some(domain), Some((_, rest))) => domain.eq_ignore_ascii_case(rest),
                    _ => false,
                }
        })
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadConfig(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_stands_for_exactly_one_label() {
        let mut account = Account::new("a", Credential::Password(Secret::new("x".into())));
        account.names = vec!["ftp.example.org".into(), "*.Example.net".into()];
        for name in ["ftp.example.org", "a.example.net"] {
            assert!(account.may_lend_name(name), "{name}");
        }
        for name in [
            "example.net",
            "a.b.example.net",
            "b.example.org",
            "net",
            "xexample.net",
        ] {
            assert!(!account.may_lend_name(name), "{name}");
        }
    }

    #[test]
    fn a_secret_is_not_printed() {
        let credential = Credential::Shared(Secret::new("sesame".into()));
        assert_eq!(format!("{credential:?}"), "Shared(***)");
    }

    #[test]
    fn two_accounts_of_one_name_are_refused() {
        let mut config = Config::new("realm");
        config.tcp = vec![(IpAddr::from([127, 0, 0, 1]), 0).into()];
        let account = Account::new("a", Credential::Password(Secret::new("x".into())));
        config.accounts = vec![account.clone()];
        assert_eq!(config.check(), Ok(()));
        config.accounts.push(account);
        assert!(config.check().is_err());
    }
}
