//! Every key of the configuration: name, kind, default, flag and help, defined here once.
//!
//! The parser, the flags' help, `pasarela config default`, `pasarela config show` and `pasarela.toml(5)` are
//! all made from [`KEYS`].

use std::fmt::Write as _;

/// One key.
#[derive(Debug)]
pub(crate) struct Key {
    /// Section and name, joined by dots. Keys beneath `user.` come once in each `[[user]]`.
    pub(crate) path: &'static str,
    /// What its value looks like.
    pub(crate) kind: Kind,
    /// Its default.
    pub(crate) default: Initial,
    /// The long flag that says the same; `DIR` is the argument.
    pub(crate) flag: Option<&'static str>,
    /// Whether a reload changes it; the others are read at start.
    pub(crate) live: bool,
    /// What it does, one sentence after another, without line breaks.
    pub(crate) help: &'static str,
}

/// What a value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Duration,
    Forwards,
    Host,
    Listens,
    Number,
    Path,
    Permissions,
    Ports,
    Rate,
    Rungs,
    Switch,
    Text,
    Texts,
    Words(&'static [&'static str]),
}

/// A default, as TOML.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Initial {
    /// What holds when the key is missing.
    Value(&'static str),
    /// The key has no default; this is what it could be.
    Example(&'static str),
}

use Initial::{Example, Value};

const fn key(
    path: &'static str,
    kind: Kind,
    default: Initial,
    flag: Option<&'static str>,
    help: &'static str,
) -> Key {
    Key {
        path,
        kind,
        default,
        flag,
        live: true,
        help,
    }
}

impl Key {
    const fn at_start(self) -> Self {
        Self { live: false, ..self }
    }

    /// The section that it stands in.
    pub(crate) fn section(&self) -> &'static str {
        self.path.rsplit_once('.').map_or("", |(section, _)| section)
    }

    /// Its name within the section.
    pub(crate) fn name(&self) -> &'static str {
        self.path.rsplit_once('.').map_or(self.path, |(_, name)| name)
    }
}

impl Kind {
    /// How the documentation calls it.
    pub(crate) fn describe(self) -> String {
        let text = match self {
            Self::Duration => "a duration such as \"15s\" or \"5min\"",
            Self::Forwards => "a list of { outside = PORT, inside = PORT }",
            Self::Host => "an IP address or a host name",
            Self::Listens => "a list of ports or \"host:port\"",
            Self::Number => "a number, 1 or more",
            Self::Path => "a path; a relative one begins at the folder of the configuration file",
            Self::Permissions => {
                "\"all\" (everything but link), \"read-only\", or a list of \
                 read, write, append, delete, rename, mkdir, list, attributes, link"
            }
            Self::Ports => "\"auto\", \"control\", a port, or a range such as \"50000-50010\"",
            Self::Rate => "a rate such as \"10MiB/s\" or \"100Mbit/s\", or \"unlimited\"",
            Self::Rungs => {
                "\"auto\", \"off\", or some of direct, fixed, mapped, punched, relayed with commas between"
            }
            Self::Switch => "true or false",
            Self::Text => "text",
            Self::Texts => "a list of texts",
            Self::Words(words) => {
                return words
                    .iter()
                    .map(|word| format!("\"{word}\""))
                    .collect::<Vec<_>>()
                    .join(" or ");
            }
        };
        text.to_owned()
    }
}

/// All keys, in the order of the documentation.
#[rustfmt::skip] // a row a key
pub(crate) const KEYS: &[Key] = &[
    key("ftp.listen", Kind::Listens, Value("[\"[::]:2121\"]"), Some("listen"),
        "Where to listen for FTP and explicit FTPS. A bare port means every address, IPv6 and IPv4.").at_start(),
    key("ftp.implicit_listen", Kind::Listens, Value("[]"), Some("implicit-listen"),
        "Where to listen for implicit FTPS, which is TLS from the first byte (commonly port 990).").at_start(),
    key("ftp.protocols", Kind::Texts, Value("[\"ftp\"]"), Some("protocols"),
        "What is spoken at the addresses of ftp.listen: \"ftp\" (and FTPS after AUTH TLS), \"ftps\" (TLS from the first \
         byte), \"sftp\". Of several, the client's first word tells; who keeps silent is greeted as an FTP client after \
         half a second.").at_start(),
    key("ftp.greeting", Kind::Text, Value("\"Pasarela\""), None,
        "The words of the greeting."),
    key("ftp.host_names", Kind::Texts, Value("[]"), None,
        "The names that this server answers to when a client says HOST. None means any."),
    key("ftp.data.ports", Kind::Ports, Value("\"auto\""), Some("data-ports"),
        "Where data connections arrive. \"control\": on the control port, so that one open port is enough. \
         \"auto\": the same, and for unprotected data a second port once the control port would be ambiguous. \
         A port or a range: there, shared by all sessions.").at_start(),
    key("ftp.data.require_resumption", Kind::Words(&["never", "when-offered", "always"]),
        Value("\"when-offered\""), None,
        "Whether a protected data connection must resume the TLS session of its control connection. \
         \"when-offered\": a session that the client offers must be the right one. \"always\": a client that \
         offers none is refused."),
    key("ftp.data.active", Kind::Switch, Value("true"), None,
        "Whether active mode (PORT and EPRT, to the client's own address only) is served."),
    key("sftp.listen", Kind::Listens, Value("[]"), Some("sftp-listen"),
        "Where to listen for SFTP (commonly port 22, or 2022 beside another SSH server). The accounts are the same; \
         there is no shell and no forwarding.").at_start(),
    key("sftp.host_keys", Kind::Texts, Value("[]"), None,
        "Files of private keys that SSH clients know this server by, in OpenSSH's format and without a passphrase; \
         relative ones begin at the folder of the configuration file. None: an Ed25519 and an ECDSA key are made at the \
         first run and kept in the state directory."),
    key("tls.mode", Kind::Words(&["required", "optional", "off"]), Value("\"required\""), Some("tls"),
        "Whether sessions must be protected. \"required\": every account with a password must use TLS for \
         commands and data. \"optional\": the client decides. \"off\": TLS is not offered."),
    key("tls.certificate", Kind::Path, Example("\"/etc/pasarela/certificate.pem\""), Some("cert"),
        "The certificate chain, PEM, leaf first. Without it a self-signed certificate is made at the first run \
         and kept in the state directory. Read again when the file changes."),
    key("tls.key", Kind::Path, Example("\"/etc/pasarela/key.pem\""), Some("key"),
        "The private key of the certificate, PEM."),
    key("limits.per_address", Kind::Number, Value("64"), None,
        "Connections at once from one address (an IPv6 /64 counts as one)."),
    key("limits.per_user", Kind::Number, Value("64"), None,
        "Sessions at once of one user."),
    key("limits.total", Kind::Number, Value("2000"), None,
        "Connections at once in all."),
    key("limits.unauthenticated", Kind::Number, Value("500"), None,
        "Connections at once that are not logged in; one more crowds out the oldest of them."),
    key("limits.login", Kind::Duration, Value("\"60s\""), None,
        "From connecting to being logged in."),
    key("limits.idle", Kind::Duration, Value("\"5min\""), None,
        "How long a session may go without a command outside transfers."),
    key("limits.stall", Kind::Duration, Value("\"60s\""), None,
        "How long a transfer may go without moving a byte."),
    key("limits.tls_handshake", Kind::Duration, Value("\"15s\""), None,
        "How long a TLS handshake may take."),
    key("limits.data_connection", Kind::Duration, Value("\"15s\""), None,
        "How long the server waits for a data connection."),
    key("limits.ban_after", Kind::Number, Value("20"), None,
        "Failed logins of one address within ban_window that lead to a ban."),
    key("limits.ban_window", Kind::Duration, Value("\"10min\""), None,
        "For how long a failed login counts."),
    key("limits.ban_for", Kind::Duration, Value("\"10min\""), None,
        "How long a ban lasts."),
    key("limits.user_rate", Kind::Rate, Value("\"unlimited\""), None,
        "What all sessions of one user share, for accounts that name no rate of their own."),
    key("limits.session_rate", Kind::Rate, Value("\"unlimited\""), None,
        "What one session may take, for accounts that name no session_rate of their own."),
    key("storage.root", Kind::Path, Example("\"/srv/ftp\""), Some("DIR"),
        "The folder to serve: the root of every account that names no root of its own."),
    key("storage.read_only", Kind::Switch, Value("false"), Some("read-only"),
        "No account may change anything, whatever its permissions say."),
    key("storage.durability", Kind::Words(&["safe", "fast"]), Value("\"safe\""), Some("durability"),
        "What the reply to a finished upload promises. \"safe\": file and directory are on stable storage. \
         \"fast\": they are handed to the kernel."),
    key("storage.keep_parts", Kind::Duration, Value("\"7d\""), None,
        "How long the part of an interrupted upload is kept so that the client can resume it."),
    key("reach.public_address", Kind::Host, Example("\"ftp.example.org\""), Some("public-address"),
        "The address that clients beyond the router connect to, announced to them for data connections. \
         A name is resolved again as time goes by."),
    key("reach.forward", Kind::Forwards, Value("[]"), None,
        "Ports whose number differs beyond the router, such as [{ outside = 21, inside = 2121 }]."),
    key("reach.ladder", Kind::Rungs, Value("\"auto\""), Some("reach"),
        "How the server makes itself reachable from outside. \"auto\": every way there is, which may ask this network's \
         router to forward the port (PCP, NAT-PMP, UPnP); nothing is done while it listens on loopback only. \"off\": no \
         packet is sent. Or some of direct, fixed, mapped, punched, relayed, separated by commas.").at_start(),
    key("reach.stun", Kind::Texts, Value("[]"), Some("stun"),
        "STUN servers (host or host:port, TCP) that tell the public address; two of them also tell whether the NAT keeps \
         the port open.").at_start(),
    key("reach.turn", Kind::Texts, Value("[]"), Some("turn"),
        "TURN servers with TCP allocations (RFC 6062) that let anybody connect, as turn:USER:PASSWORD@HOST:PORT or \
         turns:…; the first that answers lends its address, after those of `relay`.").at_start(),
    key("reach.on_change", Kind::Texts, Value("[]"), None,
        "A command and its arguments, run when the public endpoint has changed, with PASARELA_URL, PASARELA_ADDRESS, \
         PASARELA_PORT and PASARELA_VIA in its environment; for dynamic DNS.").at_start(),
    key("reach.relay.server", Kind::Texts, Value("[]"), Some("relay"),
        "Your relay (`pasarela relay`): HOST or HOST:PORT, with turns: before it for TLS; or with its own credentials, \
         turn:NAME:PASSWORD@HOST:PORT. It lends its address and this server's own port number; nothing goes through it \
         while a way without it is verified. Of several, the first that answers.").at_start(),
    key("reach.relay.user", Kind::Text, Value("\"server\""), None,
        "This server's account at the relay.").at_start(),
    key("reach.relay.password", Kind::Text, Example("\"…\""), None,
        "The password of that account; the variable PASARELA_RELAY_PASSWORD overrides it.").at_start(),
    key("reach.relay.password_file", Kind::Path, Example("\"/etc/pasarela/relay-password\""), None,
        "A file whose first line is that password.").at_start(),
    key("anonymous.enabled", Kind::Switch, Value("false"), Some("anonymous"),
        "Serve the user names \"anonymous\" and \"ftp\" with any password, to read and list only."),
    key("anonymous.root", Kind::Path, Example("\"/srv/ftp/pub\""), None,
        "The anonymous account's folder; storage.root when missing."),
    key("log.format", Kind::Words(&["text", "json"]), Value("\"text\""), Some("log-format"),
        "How log lines are written to standard error.").at_start(),
    key("log.level", Kind::Words(&["error", "warn", "info", "debug", "trace"]), Value("\"info\""), None,
        "How much is logged; -v, -vv, -q and the variable PASARELA_LOG (a tracing filter) override it.").at_start(),
    key("state.dir", Kind::Path, Example("\"/var/lib/pasarela\""), Some("state-dir"),
        "What the server keeps between runs: the self-signed certificate. Default: $STATE_DIRECTORY; for root \
         /var/lib/pasarela; else $XDG_STATE_HOME/pasarela or ~/.local/state/pasarela.").at_start(),
    key("user.name", Kind::Text, Example("\"anna\""), None,
        "The name to log in with: letters, digits and . _ @ - (at most 64)."),
    key("user.password", Kind::Text, Example("\"$argon2id$v=19$m=19456,t=2,p=1$…$…\""), None,
        "The hash that `pasarela passwd` prints; an account that has authorized keys can go without."),
    key("user.authorized_keys", Kind::Texts, Example("[\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAID7YOmvZhZ6lENivdkm73HHm5NtNEb7iDCJTmw8uqyAR anna@home\"]"), None,
        "Public keys that log in over SFTP, lines as in OpenSSH's authorized_keys. `cert-authority` before one makes good \
         whatever certificate it signed for this name."),
    key("user.authorized_keys_file", Kind::Path, Example("\"/etc/pasarela/keys/anna\""), None,
        "A file of such lines, read at every login."),
    key("user.root", Kind::Path, Example("\"/srv/ftp/anna\""), None,
        "The account's folder; storage.root when missing."),
    key("user.may", Kind::Permissions, Value("\"all\""), None,
        "What the account may do."),
    key("user.tls", Kind::Words(&["required", "optional"]), Example("\"required\""), None,
        "Whether this account must use TLS; as tls.mode when missing."),
    key("user.rate", Kind::Rate, Example("\"10MiB/s\""), None,
        "What all sessions of this account share."),
    key("user.session_rate", Kind::Rate, Example("\"5MiB/s\""), None,
        "What one session of this account may take."),
    key("user.sessions", Kind::Number, Example("4"), None,
        "Sessions at once of this account; limits.per_user when missing."),
];

/// The key with this path.
///
/// # Panics
/// When there is none: paths are written in this program only, and a test reads every one.
pub(crate) fn named(path: &str) -> &'static Key {
    find(path).unwrap_or_else(|| unreachable!("no key {path}"))
}

/// The key with this path, if there is one.
pub(crate) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// The help of a key, for its flag.
pub(crate) fn help(path: &str) -> &'static str {
    named(path).help
}

/// The words that a key takes; none for a key of another kind.
pub(crate) fn words(path: &str) -> &'static [&'static str] {
    match named(path).kind {
        Kind::Words(words) => words,
        _ => &[],
    }
}

/// What stands beneath a section: names of keys and of further sections. Empty means it is no section.
pub(crate) fn beneath(section: &str) -> Vec<&'static str> {
    let mut names: Vec<_> = KEYS
        .iter()
        .filter_map(|key| match section {
            "" => Some(key.path),
            _ => key.path.strip_prefix(section)?.strip_prefix('.'),
        })
        .filter_map(|rest| rest.split('.').next())
        .collect();
    names.dedup();
    names
}

/// A complete configuration in which every key stands with its default; keys without a default, and the example
/// of an account, are commented out with `#` and no blank after it.
pub(crate) fn default_document() -> String {
    let mut text = String::from("# Pasarela's configuration: every key, with its default.\n");
    let mut section = "";
    for key in KEYS {
        let account = key.section() == "user";
        if key.section() != section {
            section = key.section();
            let _ = write!(
                text,
                "\n{}\n",
                if account {
                    "#[[user]]".into()
                } else {
                    format!("[{section}]")
                }
            );
        }
        let mut about = format!("{} ({}", key.help, key.kind.describe());
        if let Some(flag) = key.flag {
            let _ = write!(about, "; {}", flag_name(flag));
        }
        about.push_str(if key.live || account {
            ")"
        } else {
            "; read at start)"
        });
        for line in wrapped(&about, 100) {
            let _ = writeln!(text, "# {line}");
        }
        let _ = match key.default {
            Value(value) if !account => writeln!(text, "{} = {value}", key.name()),
            Value(value) | Example(value) => writeln!(text, "#{} = {value}", key.name()),
        };
    }
    text
}

/// A flag as it is typed.
pub(crate) fn flag_name(flag: &str) -> String {
    if flag == "DIR" {
        flag.to_owned()
    } else {
        format!("--{flag}")
    }
}

/// `text` in lines of at most `width` bytes where words allow.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
