//! The relay's configuration file: read with a place for every problem, and written for whoever begins.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use pasarela_relay::{Account, Config, Credential, RelayAddress};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::raw::nearest;
use crate::config::units;
use crate::failure::{Failure, Kind, Problem};

/// What a file says.
#[derive(Debug)]
pub(crate) struct RelayFile {
    /// All but the certificate.
    pub(crate) relay: Config,
    /// Chain and key for TLS; without them a self-signed one is made in the state folder.
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    /// Where state is kept.
    pub(crate) state_dir: Option<PathBuf>,
    /// Where counters are told: a socket of the file system.
    pub(crate) metrics: Option<PathBuf>,
    pub(crate) log_level: String,
    pub(crate) log_json: bool,
    public: Vec<IpAddr>,
    bind: Vec<IpAddr>,
}

const KEYS: &[&str] = &[
    "listen",
    "listen_tls",
    "listen_names",
    "other_address",
    "realm",
    "public_address",
    "relay_address",
    "ports",
    "certificate",
    "key",
    "state_dir",
    "metrics",
    "log_level",
    "log_format",
    "connections",
    "short_binding_requests",
    "danger_allow_private_peers",
    "account",
];

const ACCOUNT_KEYS: &[&str] = &[
    "name",
    "password",
    "shared_secret",
    "ports",
    "names",
    "any_peer",
    "dial_back",
    "allocations",
    "connections",
    "rate",
];

type Entry<'a> = Spanned<DeValue<'a>>;

/// Reads a configuration file.
///
/// # Errors
/// Everything that is wrong with it, each with its line and column.
pub(crate) fn read(path: &Path) -> Result<RelayFile, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Problem::new(format!("{}: {error}", path.display()))
            .hint(format!(
                "`pasarela relay init --config {}` writes one to begin with",
                path.display()
            ))
            .fails(Kind::Configuration)
    })?;
    parse(&text, path).map_err(|problems| Failure {
        kind: Kind::Configuration,
        problems,
    })
}

fn parse(text: &str, path: &Path) -> Result<RelayFile, Vec<Problem>> {
    let at = |span: std::ops::Range<usize>| {
        let before = text.get(..span.start).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.matches('\n').count() + 1;
        let column = before[line_start..].chars().count() + 1;
        format!("{}:{line}:{column}", path.display())
    };
    let table = DeTable::parse(text)
        .map_err(|error| vec![Problem::new(error.message()).at(&at(error.span().unwrap_or_default()))])?;
    let mut file = RelayFile {
        relay: Config::new("pasarela"),
        certificate: None,
        key: None,
        state_dir: None,
        metrics: None,
        log_level: "info".into(),
        log_json: false,
        public: Vec::new(),
        bind: Vec::new(),
    };
    let mut problems = Vec::new();
    for (name, value) in table.get_ref() {
        if name.get_ref() == "account" {
            let accounts = value.get_ref().as_array().into_iter().flatten();
            let before = problems.len() + file.relay.accounts.len();
            for account in accounts {
                match account.get_ref().as_table() {
                    Some(table) => match read_account(table) {
                        Ok(account) => file.relay.accounts.push(account),
                        Err(wrong) => problems.extend(
                            wrong
                                .into_iter()
                                .map(|(span, wrong)| wrong.at(&at(span.unwrap_or_else(|| account.span())))),
                        ),
                    },
                    None => problems.push(Problem::new("an account is a table").at(&at(account.span()))),
                }
            }
            if problems.len() + file.relay.accounts.len() == before {
                let wrong =
                    Problem::new("`account` is a list of accounts").hint("write [[account]] before each");
                problems.push(wrong.at(&at(name.span())));
            }
        } else if let Err(wrong) = file.take(name.get_ref(), value) {
            problems.push(wrong.at(&at(name.span())));
        }
    }
    if problems.is_empty() {
        file.complete()
            .map_err(|wrong| vec![wrong.at(&path.display().to_string())])?;
        return Ok(file);
    }
    Err(problems)
}

impl RelayFile {
    fn take(&mut self, name: &str, value: &Entry<'_>) -> Result<(), Problem> {
        match name {
            "listen" => {
                self.relay.tcp = list(value, &addresses)?.concat();
                self.relay.udp.clone_from(&self.relay.tcp);
            }
            "listen_tls" => self.relay.tls = list(value, &addresses)?.concat(),
            "listen_names" => self.relay.names = list(value, &addresses)?.concat(),
            "other_address" => self.relay.other = list(value, &socket_address)?,
            "realm" => self.relay.realm = string(value)?.to_owned(),
            "public_address" => self.public = list(value, &ip)?,
            "relay_address" => self.bind = list(value, &ip)?,
            "ports" => self.relay.ports = ports(string(value)?)?,
            "certificate" => self.certificate = Some(string(value)?.into()),
            "key" => self.key = Some(string(value)?.into()),
            "state_dir" => self.state_dir = Some(string(value)?.into()),
            "metrics" => self.metrics = Some(string(value)?.into()),
            "log_level" => self.log_level = word(value, &["error", "warn", "info", "debug", "trace"])?,
            "log_format" => self.log_json = word(value, &["text", "json"])? == "json",
            "connections" => {
                self.relay.connections = number(value)?;
                self.relay.unauthenticated = self.relay.unauthenticated.min(self.relay.connections);
            }
            "short_binding_requests" => self.relay.short_binding_requests = truth(value)?,
            "danger_allow_private_peers" => self.relay.danger_allow_private_peers = truth(value)?,
            other => return Err(unknown(other, KEYS)),
        }
        Ok(())
    }

    /// What several keys say together.
    fn complete(&mut self) -> Result<(), Problem> {
        if self.certificate.is_some() != self.key.is_some() {
            return Err(Problem::new("`certificate` and `key` come together"));
        }
        if self.public.is_empty() {
            return Err(Problem::new("`public_address` is missing").hint(
                "write the address that others know this machine by: public_address = \"203.0.113.7\"",
            ));
        }
        if self.relay.tcp.is_empty() && self.relay.tls.is_empty() {
            return Err(Problem::new("neither `listen` nor `listen_tls` has an address")
                .hint("write listen = \"3478\""));
        }
        if self.relay.accounts.is_empty() {
            return Err(Problem::new("there is no account, so nobody could use the relay")
                .hint("write [[account]] with a name and a password"));
        }
        for public in &self.public {
            let of_family = |bind: &&IpAddr| bind.is_ipv4() == public.is_ipv4();
            let any = if public.is_ipv4() {
                IpAddr::V4(Ipv4Addr::UNSPECIFIED)
            } else {
                IpAddr::V6(Ipv6Addr::UNSPECIFIED)
            };
            self.relay.relay.push(RelayAddress {
                bind: self.bind.iter().find(of_family).copied().unwrap_or(any),
                public: *public,
            });
        }
        // The certificate is loaded later, and only when there is no other problem.
        let mut checked = self.relay.clone();
        checked.tls.clear();
        if checked.tcp.is_empty() {
            checked.tcp.clone_from(&self.relay.tls);
        }
        checked.check().map_err(|bad| Problem::new(bad.to_string()))
    }

    /// The keys that a running relay does not follow and that are others now than in `started_with`.
    pub(crate) fn waiting_for_a_restart(&self, started_with: &Self) -> Vec<&'static str> {
        let (now, then) = (&self.relay, &started_with.relay);
        let changed = [
            ("listen", now.tcp != then.tcp || now.udp != then.udp),
            ("listen_tls", now.tls != then.tls),
            ("listen_names", now.names != then.names),
            ("other_address", now.other != then.other),
            ("realm", now.realm != then.realm),
            ("metrics", self.metrics != started_with.metrics),
            ("log_level", self.log_level != started_with.log_level),
            ("log_format", self.log_json != started_with.log_json),
        ];
        let changed = changed.into_iter().filter(|(_, is_other)| *is_other);
        changed.map(|(key, _)| key).collect()
    }

    /// The names that a self-signed certificate is for.
    pub(crate) fn names(&self) -> Vec<String> {
        self.public.iter().map(IpAddr::to_string).collect()
    }
}

type Place = Option<std::ops::Range<usize>>;

/// One `[[account]]`; a problem without a place is about all of it.
fn read_account(table: &DeTable<'_>) -> Result<Account, Vec<(Place, Problem)>> {
    let secret = |text: &str| pasarela_relay::Secret::new(text.to_owned());
    let mut account = Account::new("", Credential::Password(secret("")));
    let (mut credentials, mut problems) = (Vec::new(), Vec::new());
    for (name, value) in table {
        let mut take = || -> Result<(), Problem> {
            match name.get_ref().as_ref() {
                "name" => account.name = string(value)?.to_owned(),
                "password" => credentials.push(Credential::Password(secret(string(value)?))),
                "shared_secret" => credentials.push(Credential::Shared(secret(string(value)?))),
                "ports" => account.ports = list(value, &ports)?,
                "names" => account.names = list(value, &server_name)?,
                "any_peer" => account.any_peer = truth(value)?,
                "dial_back" => account.dial_back = truth(value)?,
                "allocations" => account.limits.allocations = number(value)?,
                "connections" => account.limits.connections = number(value)?,
                "rate" => account.limits.bytes_per_second = units::rate(string(value)?)?.map(|rate| rate.0),
                other => return Err(unknown(other, ACCOUNT_KEYS)),
            }
            Ok(())
        };
        if let Err(wrong) = take() {
            problems.push((Some(name.span()), wrong));
        }
    }
    match (credentials.pop(), credentials.is_empty()) {
        (Some(credential), true) => account.credential = credential,
        _ => problems.push((
            None,
            Problem::new("an account has either a `password` or a `shared_secret`"),
        )),
    }
    if problems.is_empty() {
        Ok(account)
    } else {
        Err(problems)
    }
}

fn unknown(name: &str, known: &[&str]) -> Problem {
    let wrong = Problem::new(format!("unknown key `{name}`"));
    match nearest(name, known.iter().copied()) {
        Some(near) => wrong.hint(format!("did you mean `{near}`?")),
        None => wrong.hint(format!("known here: {}", known.join(", "))),
    }
}

fn string<'a>(value: &'a Entry<'_>) -> Result<&'a str, Problem> {
    let text = value.get_ref().as_str();
    text.ok_or_else(|| Problem::new("a text is wanted here").hint("write it in quotes"))
}

fn truth(value: &Entry<'_>) -> Result<bool, Problem> {
    let truth = value.get_ref().as_bool();
    truth.ok_or_else(|| Problem::new("`true` or `false` is wanted here"))
}

fn number(value: &Entry<'_>) -> Result<usize, Problem> {
    let number = value.get_ref().as_integer();
    number
        .and_then(|number| usize::from_str_radix(number.as_str(), number.radix()).ok())
        .filter(|number| *number > 0)
        .ok_or_else(|| Problem::new("a whole number above zero is wanted here"))
}

fn word(value: &Entry<'_>, words: &[&str]) -> Result<String, Problem> {
    let text = string(value)?;
    if words.contains(&text) {
        return Ok(text.to_owned());
    }
    Err(Problem::new(format!("`{text}` is none of: {}", words.join(", "))))
}

/// One text or a list of them.
fn list<T>(value: &Entry<'_>, read: &dyn Fn(&str) -> Result<T, Problem>) -> Result<Vec<T>, Problem> {
    match value.get_ref().as_array() {
        Some(items) => items.iter().map(|item| read(string(item)?)).collect(),
        None => Ok(vec![read(string(value)?)?]),
    }
}

/// An address with a port; a port alone is that of all addresses.
fn addresses(text: &str) -> Result<Vec<SocketAddr>, Problem> {
    if let Ok(address) = text.parse() {
        return Ok(vec![address]);
    }
    match text.parse::<u16>() {
        Ok(port) => Ok(vec![
            (Ipv4Addr::UNSPECIFIED, port).into(),
            (Ipv6Addr::UNSPECIFIED, port).into(),
        ]),
        Err(_) => Err(Problem::new(format!("`{text}` is not an address to listen on"))
            .hint("write a port or address:port, as in \"3478\", \"192.0.2.1:3478\" or \"[::1]:3478\"")),
    }
}

fn socket_address(text: &str) -> Result<SocketAddr, Problem> {
    let address = text.parse();
    address.map_err(|_| {
        Problem::new(format!("`{text}` is not an address with a port"))
            .hint("write it as in \"192.0.2.1:3479\" or \"[2001:db8::1]:3479\"")
    })
}

fn ip(text: &str) -> Result<IpAddr, Problem> {
    let address = text.parse();
    address.map_err(|_| Problem::new(format!("`{text}` is not an IP address")))
}

/// A port, or a range from low to high.
fn ports(text: &str) -> Result<RangeInclusive<u16>, Problem> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse::<u16>(), last.parse::<u16>()) {
        (Ok(first), Ok(last)) if 0 < first && first <= last => Ok(first..=last),
        _ => Err(Problem::new(format!("`{text}` names no ports"))
            .hint("write a port or a range from low to high, as in \"21\" or \"50000-50100\"")),
    }
}

fn server_name(text: &str) -> Result<String, Problem> {
    if units::is_host_name(text.strip_prefix("*.").unwrap_or(text)) {
        return Ok(text.to_ascii_lowercase());
    }
    Err(Problem::new(format!("`{text}` is not a host name"))
        .hint("write it as in \"ftp.example.org\" or \"*.example.org\""))
}

/// A configuration for one server, with every key.
pub(crate) fn document(public: IpAddr, name: &str, password: &str) -> String {
    let mut text = String::new();
    let listen = if public.is_ipv4() { "0.0.0.0" } else { "[::]" };
    // Writing to a String does not fail.
    let _ = write!(
        text,
        r#"# The relay: `pasarela relay --config THIS-FILE`. docs/relay.md tells what each key does.

# STUN over UDP and TCP, TURN over TCP.
listen = ["{listen}:3478"]
# The same over TLS, if wanted; without certificate and key a self-signed one is made and kept.
#listen_tls = ["{listen}:5349"]
#certificate = "/etc/pasarela/relay.pem"
#key = "/etc/pasarela/relay.key"
# TLS connections that are told apart by the server name that they ask for.
#listen_names = ["{listen}:990"]

# The address that the others know this machine by, and the one to bind if that is another.
public_address = ["{public}"]
#relay_address = ["{any}"]

# A second address of this machine, with another port than the one above: clients can find out then what kind of NAT
# they are behind (RFC 5780).
#other_address = ["{other}:3479"]

realm = "pasarela"
# Ports for allocations that wish for none.
ports = "49152-65535"
# Connections of clients, all together.
#connections = 4096
# Answer UDP requests that are shorter than the answer.
#short_binding_requests = false
# Counters for Prometheus, on a socket of the file system.
#metrics = "/run/pasarela/relay.sock"
#state_dir = "/var/lib/pasarela"
#log_level = "info"
#log_format = "text"

[[account]]
name = "{name}"
password = "{password}"
# or, for names that expire (TURN REST API): shared_secret = "…"
# Ports that it may be lent. Below 1024 the relay needs CAP_NET_BIND_SERVICE.
ports = ["21", "990", "2121", "50000-50100"]
# Names that it may be lent on `listen_names`.
#names = ["ftp.example.org"]
# Whether strangers may connect to what it is lent; a server wants that.
any_peer = true
#dial_back = true
#allocations = 16
#connections = 512
#rate = "unlimited"
"#,
        any = listen.trim_matches(['[', ']']),
        other = if public.is_ipv4() {
            "203.0.113.8"
        } else {
            "[2001:db8::8]"
        },
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> Vec<String> {
        let problems = parse(text, Path::new("r.toml")).unwrap_err();
        problems.iter().map(|problem| problem.titled("")).collect()
    }

    #[test]
    fn the_document_to_begin_with_is_read_and_so_is_every_key_in_it() {
        for public in ["203.0.113.7", "2001:db8::7"] {
            let text = document(public.parse().unwrap(), "server", "sesame");
            let file = parse(&text, Path::new("r.toml")).unwrap();
            assert_eq!(file.relay.relay.len(), 1);
            assert_eq!(file.relay.relay[0].public.to_string(), public);
            assert_eq!(file.relay.tcp, file.relay.udp);
            assert!(file.relay.accounts[0].any_peer && !file.relay.danger_allow_private_peers);
            assert_eq!(file.relay.accounts[0].ports[3], 50_000..=50_100);

            let all: String = text
                .lines()
                .map(|line| match line.strip_prefix('#') {
                    Some(key) if !key.starts_with(' ') => format!("{key}\n"),
                    _ => format!("{line}\n"),
                })
                .collect();
            let file = parse(&all, Path::new("r.toml")).unwrap();
            assert_eq!(file.relay.names[0].port(), 990);
            assert_eq!(file.relay.other[0].port(), 3479);
            for key in KEYS.iter().chain(ACCOUNT_KEYS) {
                let is_there = all.contains(&format!("{key} = ")) || all.contains(&format!("[[{key}]]"));
                assert!(is_there || key.starts_with("danger_"), "{key}");
            }
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        assert_eq!(
            wrong("listn = \"1\"\n"),
            [": r.toml:1:1: unknown key `listn`\nhint: did you mean `listen`?"]
        );
        let found = wrong("listen = 5\nports = \"9-1\"\n[[account]]\nname = \"a\"\nany_per = true\n");
        assert_eq!(found.len(), 4);
        assert!(
            found
                .iter()
                .any(|text| text.contains("r.toml:5:1: unknown key `any_per`")),
            "{found:?}"
        );
        assert!(
            found.iter().any(|text| text.contains("either a `password`")),
            "{found:?}"
        );
        assert!(wrong("listen = ")[0].contains("r.toml:1:"));
        assert!(wrong("account = 7\n")[0].contains("[[account]]"));
        let no_account = "listen = \"3478\"\npublic_address = \"203.0.113.7\"\n";
        assert!(wrong(no_account)[0].contains("nobody could use"));
    }
}
