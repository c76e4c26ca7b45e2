//! Raw values made into what the server works with, once; everything that is wrong is found in one pass.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use pasarela_reach::{Forward, Plan, PublicHost, TurnServer, Via};
use pasarela_server::sftp::check_authorized_keys;
use pasarela_server::{DataPorts, Protocol, Protocols, RequireResumption, TlsMode};
use pasarela_session::account::{AuthorizedKeys, TlsNeed};
use pasarela_session::limits::Limits;
use pasarela_session::{May, Permission};
use pasarela_store::local::Durability;

use super::keys;
use super::raw::{Found, Origin, Raw, Value, nearest};
use super::units::{self, ListenAddress, Rate};
use crate::failure::Problem;
use crate::secret::Secret;
use crate::surroundings;

/// The configuration.
#[derive(Debug)]
pub(crate) struct Typed {
    pub(crate) listen: Vec<ListenAddress>,
    pub(crate) protocols: Protocols,
    pub(crate) implicit_listen: Vec<ListenAddress>,
    pub(crate) sftp_listen: Vec<ListenAddress>,
    pub(crate) host_keys: Vec<PathBuf>,
    pub(crate) greeting: String,
    pub(crate) host_names: Vec<String>,
    pub(crate) data_ports: DataPorts,
    pub(crate) require_resumption: RequireResumption,
    pub(crate) active: bool,
    pub(crate) tls_mode: TlsMode,
    /// Certificate chain and key.
    pub(crate) certificate: Option<(PathBuf, PathBuf)>,
    pub(crate) limits: Limits,
    pub(crate) durability: Durability,
    pub(crate) keep_parts: Duration,
    pub(crate) public_address: Option<PublicHost>,
    pub(crate) forwards: Vec<Forward>,
    pub(crate) rungs: BTreeSet<Via>,
    pub(crate) stun: Vec<String>,
    pub(crate) turn: Vec<TurnServer>,
    pub(crate) on_change: Vec<String>,
    pub(crate) log_json: bool,
    pub(crate) log_level: String,
    pub(crate) state_dir: Option<PathBuf>,
    pub(crate) accounts: Vec<Account>,
}

/// An account to be made.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) proof: Proof,
    pub(crate) root: PathBuf,
    pub(crate) may: May,
    pub(crate) tls: TlsNeed,
    pub(crate) rate: Option<Rate>,
    pub(crate) session_rate: Option<Rate>,
    pub(crate) sessions: Option<u32>,
    pub(crate) authorized_keys: AuthorizedKeys,
}

/// How an account proves itself.
#[derive(Debug, Clone)]
pub(crate) enum Proof {
    /// By a public key alone.
    Keys,
    /// By the password of this argon2id hash.
    Hash(Secret),
    /// By this password.
    Plain(Secret),
    /// By any password.
    Anonymous,
}

/// The name that the anonymous account is configured under.
const ANONYMOUS: &str = "anonymous";

impl Typed {
    /// What `raw` means; accounts from flags come with their passwords in `from_flags` and replace accounts of
    /// the same name.
    ///
    /// # Errors
    /// Everything that is wrong, in the order of the file.
    pub(crate) fn new(raw: &Raw, from_flags: &[(String, Secret)]) -> Result<Self, Vec<Problem>> {
        let mut reader = Reader {
            raw,
            problems: Vec::new(),
        };
        let typed = reader.everything(from_flags);
        let mut problems = reader.problems;
        problems.sort_by(|(a, _), (b, _)| a.cmp(b));
        if problems.is_empty() {
            Ok(typed)
        } else {
            Err(problems.into_iter().map(|(_, problem)| problem).collect())
        }
    }
}

impl Typed {
    /// What the ladder may do.
    pub(crate) fn plan(&self) -> Plan {
        Plan {
            rungs: self.rungs.clone(),
            public: self.public_address.clone(),
            forwards: self.forwards.clone(),
            stun: self.stun.clone(),
            turn: self.turn.clone(),
            journal: surroundings::state_dir_in_use(self.state_dir.as_deref())
                .map(|dir| dir.join("mappings.toml")),
        }
    }
}

/// Reads values and keeps what is wrong with them; a wrong value reads as its type's empty one, which nobody
/// sees.
struct Reader<'a> {
    raw: &'a Raw,
    problems: Vec<(Origin, Problem)>,
}

impl Reader<'_> {
    fn everything(&mut self, from_flags: &[(String, Secret)]) -> Typed {
        let tls_mode = self.need("tls.mode", |found| {
            Ok(match word(found, keys::words("tls.mode"))?.as_str() {
                "optional" => TlsMode::Optional,
                "off" => TlsMode::Off,
                _ => TlsMode::Required,
            })
        });
        let typed = Typed {
            listen: self.need("ftp.listen", listens),
            protocols: self.protocols(),
            implicit_listen: self.need("ftp.implicit_listen", listens),
            sftp_listen: self.need("sftp.listen", listens),
            host_keys: self.host_keys(),
            greeting: self.need("ftp.greeting", one_line),
            host_names: self.need("ftp.host_names", |found| list(found, host_name)),
            data_ports: self.need("ftp.data.ports", |found| {
                units::data_ports(&text_or_number(found)?)
            }),
            require_resumption: self.need("ftp.data.require_resumption", |found| {
                Ok(
                    match word(found, keys::words("ftp.data.require_resumption"))?.as_str() {
                        "never" => RequireResumption::Never,
                        "always" => RequireResumption::Always,
                        _ => RequireResumption::WhenOffered,
                    },
                )
            }),
            active: self.need("ftp.data.active", truth),
            tls_mode,
            certificate: self.certificate(),
            limits: self.limits(),
            durability: self.need("storage.durability", |found| {
                Ok(match word(found, keys::words("storage.durability"))?.as_str() {
                    "fast" => Durability::Fast,
                    _ => Durability::Safe,
                })
            }),
            keep_parts: self.need("storage.keep_parts", duration),
            public_address: self.may("reach.public_address", |found| units::public_host(&text(found)?)),
            forwards: self.need("reach.forward", |found| list(found, forward)),
            rungs: self.need("reach.ladder", |found| units::rungs(&text(found)?)),
            stun: self.need("reach.stun", |found| {
                list(found, |item| units::stun_server(&text(item)?))
            }),
            turn: self.relays(),
            on_change: self.need("reach.on_change", |found| list(found, filled)),
            log_json: self.need("log.format", |found| word(found, keys::words("log.format"))) == "json",
            log_level: self.need("log.level", |found| word(found, keys::words("log.level"))),
            state_dir: self.path("state.dir"),
            accounts: self.accounts(tls_mode, from_flags),
        };
        self.sockets(&typed);
        typed
    }

    /// Relays of ours first, then those of others.
    fn relays(&mut self) -> Vec<TurnServer> {
        let mut relays = self.need("reach.relay.server", |found| {
            list(found, |item| units::relay_server(&text(item)?))
        });
        let user = self.need("reach.relay.user", filled);
        let written = self.may("reach.relay.password", filled);
        let file = self.path("reach.relay.password_file");
        if relays.iter().any(|relay| relay.username.is_empty()) {
            let password = self.relay_password(written, file);
            for relay in relays.iter_mut().filter(|relay| relay.username.is_empty()) {
                relay.username.clone_from(&user);
                relay.password.clone_from(&password);
            }
        }
        relays.extend(self.need("reach.turn", |found| {
            list(found, |item| units::turn_server(&text(item)?))
        }));
        relays
    }

    /// The password of those relays that bring none of their own; it is written down in one place only.
    fn relay_password(&mut self, written: Option<String>, file: Option<PathBuf>) -> String {
        let (key, result) = match (written, file) {
            (Some(_), Some(_)) => (
                "reach.relay.password_file",
                Err(Problem::new("the relay's password is there twice")
                    .hint("keep password or password_file")),
            ),
            (Some(password), None) => return password,
            (None, Some(file)) => ("reach.relay.password_file", first_line(&file)),
            (None, None) => (
                "reach.relay.server",
                Err(
                    Problem::new("the relay wants a password, and none is there").hint(
                        "set password under [reach.relay], or the variable PASARELA_RELAY_PASSWORD; \
                     `pasarela relay init` prints it",
                    ),
                ),
            ),
        };
        self.keep(&self.origin(key), result)
    }

    fn limits(&mut self) -> Limits {
        Limits {
            per_address: self.need("limits.per_address", number),
            per_user: self.need("limits.per_user", number),
            total: self.need("limits.total", number),
            unauthenticated: self.need("limits.unauthenticated", number),
            login: self.need("limits.login", duration),
            idle: self.need("limits.idle", duration),
            stall: self.need("limits.stall", duration),
            tls_handshake: self.need("limits.tls_handshake", duration),
            data_connection: self.need("limits.data_connection", duration),
            ban_after: self.need("limits.ban_after", number),
            ban_window: self.need("limits.ban_window", duration),
            ban_for: self.need("limits.ban_for", duration),
        }
    }

    fn certificate(&mut self) -> Option<(PathBuf, PathBuf)> {
        match (self.path("tls.certificate"), self.path("tls.key")) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (given, _) => {
                let (given, missing) = match given {
                    Some(_) => ("tls.certificate", "tls.key"),
                    None => ("tls.key", "tls.certificate"),
                };
                let flag = keys::named(missing).flag.map(keys::flag_name).unwrap_or_default();
                let problem = Problem::new(format!("`{given}` without `{missing}`")).hint(format!(
                    "certificate and key come as a pair: add `{missing}` or {flag} FILE"
                ));
                self.wrong(&self.origin(given), problem);
                None
            }
        }
    }

    fn protocols(&mut self) -> Protocols {
        let named = |item: &Found| {
            Ok(match word(item, &["ftp", "ftps", "sftp"])?.as_str() {
                "ftps" => Protocol::Ftps,
                "sftp" => Protocol::Sftp,
                _ => Protocol::Ftp,
            })
        };
        self.need("ftp.protocols", |found| match list(found, named)? {
            named if named.is_empty() => Err(Problem::new("no protocol is left to speak")
                .hint("name some of \"ftp\", \"ftps\" and \"sftp\"")),
            named => Ok(named.into_iter().collect()),
        })
    }

    fn host_keys(&mut self) -> Vec<PathBuf> {
        let Some(found) = self.raw.values.get("sftp.host_keys") else {
            return Vec::new();
        };
        let Value::List(items) = &found.value else {
            // Says what is wrong with it.
            return self.need("sftp.host_keys", |found| list(found, |_| Ok(PathBuf::new())));
        };
        items.iter().filter_map(|item| self.as_path(item)).collect()
    }

    /// What listeners and TLS ask of each other.
    fn sockets(&mut self, typed: &Typed) {
        if typed.listen.is_empty() && typed.implicit_listen.is_empty() && typed.sftp_listen.is_empty() {
            let problem = Problem::new("there is no address to listen on")
                .hint("name one in `ftp.listen`, `ftp.implicit_listen` or `sftp.listen`");
            self.wrong(&self.origin("ftp.listen"), problem);
        }
        if typed.tls_mode == TlsMode::Off && typed.protocols.ftps && !typed.listen.is_empty() {
            let problem = Problem::new("implicit FTPS is TLS, which `tls.mode` turns off")
                .hint("use `tls.mode = \"optional\"` (--tls optional), or leave \"ftps\" out");
            self.wrong(&self.origin("ftp.protocols"), problem);
        }
        if typed.tls_mode == TlsMode::Off && !typed.implicit_listen.is_empty() {
            let problem = Problem::new("implicit FTPS is TLS, which `tls.mode` turns off")
                .hint("use `tls.mode = \"optional\"` (--tls optional), or listen for plain FTP only");
            self.wrong(&self.origin("ftp.implicit_listen"), problem);
        }
    }

    fn accounts(&mut self, mode: TlsMode, from_flags: &[(String, Secret)]) -> Vec<Account> {
        let shared = Shared {
            root: self.path("storage.root"),
            read_only: self.need("storage.read_only", truth),
            tls: if mode == TlsMode::Required {
                TlsNeed::Required
            } else {
                TlsNeed::Optional
            },
            mode,
            rate: self.need("limits.user_rate", rate),
            session_rate: self.need("limits.session_rate", rate),
        };
        let mut accounts = Vec::new();
        for (name, password) in from_flags {
            let name = self.keep(&Origin::Flag("--user".into()), account_name(name));
            let root = self.root(&Origin::Default, &name, None, &shared);
            accounts.push(shared.account(name, Proof::Plain(password.clone()), root));
        }
        let mut names = BTreeSet::new();
        for user in &self.raw.users.clone() {
            if let Some(account) = self.user(&user.origin, &user.values, &shared) {
                if !names.insert(account.name.clone()) {
                    let problem = Problem::new(format!("the account `{}` comes twice", account.name));
                    self.wrong(&user.origin, problem);
                }
                if from_flags.iter().all(|(name, _)| *name != account.name) {
                    accounts.push(account);
                }
            }
        }
        let root = self.path("anonymous.root");
        if self.need("anonymous.enabled", truth) {
            let root = self.root(&self.origin("anonymous.enabled"), ANONYMOUS, root, &shared);
            let account = shared.account(ANONYMOUS.into(), Proof::Anonymous, root);
            accounts.push(Account {
                may: May::read_only(),
                tls: TlsNeed::Optional,
                ..account
            });
        }
        accounts
    }

    /// One `[[user]]`.
    fn user(
        &mut self,
        origin: &Origin,
        values: &BTreeMap<&'static str, Found>,
        shared: &Shared,
    ) -> Option<Account> {
        let authorized_keys = self.authorized_keys(values);
        let password = values.get("user.password");
        let proves = password.is_some() || !authorized_keys.is_empty();
        let (Some(name), true) = (values.get("user.name"), proves) else {
            let missing = if values.contains_key("user.name") {
                "password"
            } else {
                "name"
            };
            self.wrong(
                origin,
                Problem::new(format!("[[user]] without `{missing}`"))
                    .hint("`pasarela passwd --user NAME` prints a complete [[user]]"),
            );
            return None;
        };
        let name_text = self.keep(&name.origin, text(name).and_then(|name| account_name(&name)));
        let proof = password.map_or(Proof::Keys, |password| {
            let hash = text(password).and_then(|text| password_hash(&text));
            Proof::Hash(Secret::new(self.keep(&password.origin, hash)))
        });
        let root = values.get("user.root").and_then(|found| self.as_path(found));
        let root = self.root(origin, &name_text, root, shared);
        let mut account = shared.account(name_text, proof, root);
        account.authorized_keys = authorized_keys;
        for (path, found) in values {
            let result = match *path {
                "user.may" => permissions(found).map(|may| account.may = shared.allowed(may)),
                "user.tls" => word(found, keys::words(path)).and_then(|need| {
                    account.tls = if need == "required" {
                        TlsNeed::Required
                    } else {
                        TlsNeed::Optional
                    };
                    if need == "required" && shared.mode == TlsMode::Off {
                        return Err(Problem::new(
                            "this account requires TLS, which `tls.mode` turns off",
                        ));
                    }
                    Ok(())
                }),
                "user.rate" => rate(found).map(|rate| account.rate = rate),
                "user.session_rate" => rate(found).map(|rate| account.session_rate = rate),
                "user.sessions" => number(found).map(|sessions| account.sessions = Some(sessions)),
                _ => Ok(()),
            };
            self.keep(&found.origin, result);
        }
        Some(account)
    }

    /// The public keys of one `[[user]]`; lines that would be good for nobody are told.
    fn authorized_keys(&mut self, values: &BTreeMap<&'static str, Found>) -> AuthorizedKeys {
        let lines = values.get("user.authorized_keys").map(|found| {
            let line = |item: &Found| {
                let line = filled(item)?;
                check_authorized_keys(&line).map_err(Problem::new)?;
                Ok(line)
            };
            self.keep(&found.origin, list(found, line))
        });
        AuthorizedKeys {
            lines: lines.unwrap_or_default(),
            file: values
                .get("user.authorized_keys_file")
                .and_then(|found| self.as_path(found)),
        }
    }

    /// An account's root: its own or that of all.
    fn root(&mut self, origin: &Origin, name: &str, own: Option<PathBuf>, shared: &Shared) -> PathBuf {
        own.or_else(|| shared.root.clone()).unwrap_or_else(|| {
            self.wrong(
                origin,
                Problem::new(format!("there is no folder to serve to `{name}`"))
                    .hint("name it: `pasarela serve DIR`, or `root` under [storage]"),
            );
            PathBuf::new()
        })
    }

    /// The value of a key that has a default.
    fn need<T: Default>(&mut self, path: &str, parse: impl FnOnce(&Found) -> Result<T, Problem>) -> T {
        self.may(path, parse).unwrap_or_default()
    }

    /// The value of a key, if there is one.
    fn may<T>(&mut self, path: &str, parse: impl FnOnce(&Found) -> Result<T, Problem>) -> Option<T> {
        let found = self.raw.values.get(path)?;
        self.keep(&found.origin, parse(found).map(Some))
    }

    fn path(&mut self, path: &str) -> Option<PathBuf> {
        let found = self.raw.values.get(path)?;
        self.as_path(found)
    }

    /// A path: from the file, relative to the file's folder; from a flag, to the working directory.
    fn as_path(&mut self, found: &Found) -> Option<PathBuf> {
        let path = PathBuf::from(self.keep(&found.origin, filled(found)));
        let base = match (&found.origin, &self.raw.file) {
            (Origin::File(..), Some(file)) => file.parent().map(PathBuf::from).unwrap_or_default(),
            _ => PathBuf::new(),
        };
        Some(base.join(path))
    }

    fn keep<T: Default>(&mut self, origin: &Origin, result: Result<T, Problem>) -> T {
        result.unwrap_or_else(|problem| {
            self.wrong(origin, problem);
            T::default()
        })
    }

    fn wrong(&mut self, origin: &Origin, problem: Problem) {
        let problem = match origin {
            Origin::Default => problem,
            _ => problem.at(&self.raw.place(origin)),
        };
        self.problems.push((origin.clone(), problem));
    }

    /// Where the value of a key came from.
    fn origin(&self, path: &str) -> Origin {
        self.raw
            .values
            .get(path)
            .map_or(Origin::Default, |found| found.origin.clone())
    }
}

/// What accounts have unless they say otherwise.
struct Shared {
    root: Option<PathBuf>,
    read_only: bool,
    tls: TlsNeed,
    mode: TlsMode,
    rate: Option<Rate>,
    session_rate: Option<Rate>,
}

impl Shared {
    fn account(&self, name: String, proof: Proof, root: PathBuf) -> Account {
        Account {
            name,
            proof,
            root,
            may: self.allowed(May::everything()),
            tls: self.tls,
            rate: self.rate,
            session_rate: self.session_rate,
            sessions: None,
            authorized_keys: AuthorizedKeys::default(),
        }
    }

    /// What is left of `may` on a server that may be read-only.
    fn allowed(&self, may: May) -> May {
        if !self.read_only {
            return may;
        }
        let left = |permission: &Permission| may.allows(*permission) && May::read_only().allows(*permission);
        Permission::ALL.into_iter().filter(left).collect()
    }
}

fn text(found: &Found) -> Result<String, Problem> {
    match &found.value {
        Value::Text(text) => Ok(text.clone()),
        other => {
            Err(Problem::new(format!("`{other}` is not text"))
                .hint(format!("write it in quotes: \"{other}\"")))
        }
    }
}

/// Text that is not empty.
fn filled(found: &Found) -> Result<String, Problem> {
    text(found).and_then(|text| {
        if text.is_empty() {
            Err(Problem::new("this is empty"))
        } else {
            Ok(text)
        }
    })
}

/// The first line of a file that keeps a password.
fn first_line(file: &Path) -> Result<String, Problem> {
    let wrong = |what: String| Problem::new(format!("{}: {what}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    match text.lines().next() {
        None | Some("") => Err(wrong("its first line is empty".to_owned())),
        Some(line) => Ok(line.to_owned()),
    }
}

fn text_or_number(found: &Found) -> Result<String, Problem> {
    match found.value {
        Value::Number(number) => Ok(number.to_string()),
        _ => text(found),
    }
}

fn one_line(found: &Found) -> Result<String, Problem> {
    let text = filled(found)?;
    if text.chars().any(char::is_control) {
        return Err(Problem::new("a greeting is one line without control characters"));
    }
    Ok(text)
}

fn host_name(found: &Found) -> Result<String, Problem> {
    let text = text(found)?;
    if units::is_host_name(&text) {
        Ok(text)
    } else {
        Err(Problem::new(format!("`{text}` is not a host name")))
    }
}

fn truth(found: &Found) -> Result<bool, Problem> {
    match &found.value {
        Value::Truth(truth) => Ok(*truth),
        other => Err(Problem::new(format!("`{other}` is neither true nor false"))),
    }
}

fn number(found: &Found) -> Result<u32, Problem> {
    match &found.value {
        Value::Number(number) if *number > 0 => u32::try_from(*number).ok(),
        _ => None,
    }
    .ok_or_else(|| {
        Problem::new(format!(
            "`{}` is not a number from 1 to {}",
            found.value,
            u32::MAX
        ))
    })
}

fn duration(found: &Found) -> Result<Duration, Problem> {
    units::duration(&text_or_number(found)?)
}

fn rate(found: &Found) -> Result<Option<Rate>, Problem> {
    units::rate(&text_or_number(found)?)
}

fn list<T>(found: &Found, item: impl Fn(&Found) -> Result<T, Problem>) -> Result<Vec<T>, Problem> {
    match &found.value {
        Value::List(items) => items.iter().map(item).collect(),
        other => Err(Problem::new(format!("`{other}` is not a list")).hint(format!("write [{other}]"))),
    }
}

fn listens(found: &Found) -> Result<Vec<ListenAddress>, Problem> {
    list(found, |item| units::listen_address(&text_or_number(item)?))
}

fn word(found: &Found, words: &[&str]) -> Result<String, Problem> {
    let text = text(found)?;
    if words.contains(&text.as_str()) {
        return Ok(text);
    }
    let problem = Problem::new(format!("`{text}` is none of {}", words.join(", ")));
    Err(match nearest(&text, words.iter().copied()) {
        Some(near) => problem.hint(format!("did you mean \"{near}\"?")),
        None => problem,
    })
}

fn forward(found: &Found) -> Result<Forward, Problem> {
    let wrong = || {
        Problem::new(format!("`{}` is not a forwarded port", found.value))
            .hint("write { outside = PORT, inside = PORT }")
    };
    let Value::Table(entries) = &found.value else {
        return Err(wrong());
    };
    let port = |name: &str| match entries.get(name).map(|entry| &entry.value) {
        Some(Value::Number(port)) => u16::try_from(*port)
            .ok()
            .filter(|port| *port > 0)
            .ok_or_else(wrong),
        _ => Err(wrong()),
    };
    if entries.len() > 2 {
        return Err(wrong());
    }
    Ok(Forward {
        outside: port("outside")?,
        inside: port("inside")?,
    })
}

/// The names that [`pasarela_session`] takes.
fn account_name(name: &str) -> Result<String, Problem> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"._@-".contains(&b);
    if (1..=64).contains(&name.len()) && name.bytes().all(fits) {
        return Ok(name.to_owned());
    }
    Err(
        Problem::new(format!("`{}` is not an account name", name.escape_debug()))
            .hint("a name has 1 to 64 letters, digits and . _ @ -"),
    )
}

fn password_hash(text: &str) -> Result<String, Problem> {
    if text.starts_with("$argon2id$") {
        return Ok(text.to_owned());
    }
    // The text may be a password: it is not repeated.
    Err(Problem::new("this password is not an argon2id hash")
        .hint("passwords are not kept in the clear: run `pasarela passwd` and put in what it prints"))
}

fn permissions(found: &Found) -> Result<May, Problem> {
    match &found.value {
        Value::List(_) => list(found, permission).map(May::from_iter),
        Value::Text(text) if text == "all" => Ok(May::everything()),
        Value::Text(text) if text == "read-only" => Ok(May::read_only()),
        other => Err(Problem::new(format!("`{other}` names no permissions"))
            .hint("write \"all\", \"read-only\", or a list such as [\"read\", \"list\"]")),
    }
}

fn permission(found: &Found) -> Result<Permission, Problem> {
    let name = |permission: Permission| format!("{permission:?}").to_lowercase();
    let names = Permission::ALL.map(name);
    let chosen = word(found, &names.each_ref().map(String::as_str))?;
    Ok(Permission::ALL
        .into_iter()
        .zip(names)
        .find(|(_, name)| *name == chosen)
        .map_or(Permission::List, |(p, _)| p))
}
