//! What a person reads when the server has started: where it listens, how to connect, what to trust.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use pasarela_reach::{Plan, PublicHost, Via};
use pasarela_server::sftp::Fingerprint;
use pasarela_server::{Protocol, TlsMode};

use crate::secret::Secret;
use crate::surroundings;

/// What the block is made of.
#[derive(Debug)]
pub(crate) struct Facts {
    /// The bound sockets, and what is spoken on each.
    pub(crate) sockets: Vec<(SocketAddr, Protocol)>,
    /// The folders that are served, each with the account it belongs to.
    pub(crate) roots: Vec<(String, PathBuf)>,
    /// An account to show connecting with.
    pub(crate) user: String,
    /// Its password, when it was made for this run.
    pub(crate) password: Option<Secret>,
    pub(crate) anonymous: bool,
    pub(crate) tls: TlsMode,
    /// Of the certificate, as text.
    pub(crate) fingerprint: Option<String>,
    /// Of its public key, as `curl --pinnedpubkey` takes it.
    pub(crate) pin: Option<String>,
    /// What SSH clients know the server by.
    pub(crate) host_keys: Vec<Fingerprint>,
    /// A self-signed certificate that clients can be told to trust.
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) public: Option<PublicHost>,
    /// What the ladder may do to become reachable from outside.
    pub(crate) plan: Plan,
}

impl Facts {
    /// The block, ending in a line break.
    pub(crate) fn block(&self) -> String {
        let mut text = format!("Pasarela {}\n", env!("CARGO_PKG_VERSION"));
        for (name, root) in &self.roots {
            let _ = writeln!(text, "serving {} to {name}", root.display());
        }
        for spoken in self.sockets.chunk_by(|(one, _), (other, _)| one == other) {
            let protocols: Vec<_> = spoken.iter().map(|(_, spoken)| self.protocol(*spoken)).collect();
            let _ = writeln!(text, "listening on {} ({})", spoken[0].0, protocols.join("; "));
        }
        text.push('\n');
        row(&mut text, "URL", &self.urls());
        row(&mut text, "user", std::slice::from_ref(&self.user));
        if let Some(password) = &self.password {
            row(
                &mut text,
                "password",
                &[format!("{}  (made for this run)", password.reveal())],
            );
        }
        let is_tls = |(_, protocol): &(SocketAddr, Protocol)| *protocol != Protocol::Sftp;
        if let Some(fingerprint) = self
            .fingerprint
            .as_ref()
            .filter(|_| self.sockets.iter().any(is_tls))
        {
            let file = self
                .certificate
                .as_ref()
                .map(|path| format!("{}  (self-signed)", path.display()));
            let lines: Vec<_> = std::iter::once(format!("SHA-256 {fingerprint}"))
                .chain(file)
                .collect();
            row(&mut text, "certificate", &lines);
        }
        let keys: Vec<_> = self
            .host_keys
            .iter()
            .map(|key| format!("{} ({})", key.sha256, key.kind))
            .collect();
        row(&mut text, "host keys", &keys);
        row(&mut text, "from outside", &self.outside());
        text.push('\n');
        if let Some(url) = self.urls().iter().find(|url| url.starts_with("ftp")) {
            row(&mut text, "curl", &[self.curl(url)]);
            let elsewhere = self
                .certificate
                .as_ref()
                .map(|_| "(on another machine: copy the certificate there first)");
            let lines: Vec<_> = std::iter::once(self.lftp(url))
                .chain(elsewhere.map(String::from))
                .collect();
            row(&mut text, "lftp", &lines);
            row(&mut text, "FileZilla", &[self.filezilla()]);
        }
        row(&mut text, "sftp", &self.sftp().into_iter().collect::<Vec<_>>());
        text.push('\n');
        text
    }

    /// Who is asked for a way in; nobody where it listens on loopback only.
    fn outside(&self) -> Vec<String> {
        let is_local = |(address, _): &(SocketAddr, Protocol)| address.ip().to_canonical().is_loopback();
        if self.sockets.iter().all(is_local) {
            return Vec::new();
        }
        let may = |via: Via| self.plan.rungs.contains(&via);
        let mut asked = Vec::new();
        if may(Via::Mapped) {
            asked.push(
                "this network's router is asked to forward the port (not wanted: --reach off)".to_owned(),
            );
        }
        if !self.plan.stun.is_empty() {
            asked.push(format!(
                "STUN servers are asked for the public address: {}",
                self.plan.stun.join(", ")
            ));
        }
        if may(Via::Relayed) && !self.plan.turn.is_empty() {
            let servers: Vec<String> = self.plan.turn.iter().map(ToString::to_string).collect();
            asked.push(format!("a relay is asked for an address: {}", servers.join(", ")));
        }
        if !asked.is_empty() {
            asked.push("the log says what came of it, and `pasarela reach` shows it".to_owned());
        }
        asked
    }

    fn protocol(&self, protocol: Protocol) -> &'static str {
        match (protocol, self.tls) {
            (Protocol::Sftp, _) => "SFTP",
            (Protocol::Ftps, _) => "FTPS, implicit TLS",
            (Protocol::Ftp, TlsMode::Required) => "FTP, explicit TLS required",
            (Protocol::Ftp, TlsMode::Optional) => "FTP, explicit TLS offered",
            (Protocol::Ftp, TlsMode::Off) => "FTP, no TLS",
        }
    }

    /// A URL for each host and socket that go together, the best first.
    pub(crate) fn urls(&self) -> Vec<String> {
        let mut urls = Vec::new();
        for (address, protocol) in &self.sockets {
            for host in hosts(*address, self.public.as_ref(), &surroundings::addresses()) {
                let (scheme, standard) = match protocol {
                    Protocol::Ftp => ("ftp", 21),
                    Protocol::Ftps => ("ftps", 990),
                    Protocol::Sftp => ("sftp", 22),
                };
                let port = if address.port() == standard {
                    String::new()
                } else {
                    format!(":{}", address.port())
                };
                urls.push(format!("{scheme}://{host}{port}/"));
            }
        }
        urls
    }

    /// The account, with its password where it is known.
    fn login(&self, separator: char) -> String {
        match &self.password {
            Some(password) => format!("{}{separator}{}", self.user, password.reveal()),
            None => self.user.clone(),
        }
    }

    fn curl(&self, url: &str) -> String {
        let mut line = String::from("curl");
        if self.tls != TlsMode::Off {
            line.push_str(" --ssl-reqd");
        }
        // A certificate that nobody signed is verified by its key: curl checks the pin in spite of --insecure.
        if let (Some(_), Some(pin)) = (&self.certificate, &self.pin) {
            let _ = write!(line, " --insecure --pinnedpubkey {pin}");
        }
        if !(self.anonymous && self.password.is_none() && self.user == "anonymous") {
            let _ = write!(line, " --user {}", self.login(':'));
        }
        format!("{line} {url}")
    }

    fn lftp(&self, url: &str) -> String {
        let mut settings = match self.tls {
            TlsMode::Off => "set ftp:ssl-allow false".to_owned(),
            _ => "set ftp:ssl-force true; set ftp:ssl-protect-data true".to_owned(),
        };
        if let Some(certificate) = &self.certificate {
            let _ = write!(settings, "; set ssl:ca-file \"{}\"", certificate.display());
        }
        format!(
            "lftp -u {} -e {} {url}",
            self.login(','),
            quoted(Path::new(&settings)),
            url = url.trim_end_matches('/'),
        )
    }

    /// How OpenSSH's client connects.
    fn sftp(&self) -> Option<String> {
        let mut speaking = self
            .sockets
            .iter()
            .filter(|(_, protocol)| *protocol == Protocol::Sftp);
        let (address, _) = speaking.next()?;
        let hosts = hosts(*address, self.public.as_ref(), &surroundings::addresses());
        let port = match address.port() {
            22 => String::new(),
            port => format!(" -P {port}"),
        };
        Some(format!("sftp{port} {}@{}", self.user, hosts.first()?))
    }

    fn filezilla(&self) -> String {
        let mut speaking = self
            .sockets
            .iter()
            .filter(|(_, protocol)| *protocol != Protocol::Sftp);
        let Some((address, protocol)) = speaking.next() else {
            return String::new();
        };
        let encryption = match (protocol, self.tls) {
            (Protocol::Ftps, _) => "Require implicit FTP over TLS",
            (_, TlsMode::Off) => "Only use plain FTP (insecure)",
            (_, _) => "Require explicit FTP over TLS",
        };
        let host = hosts(*address, self.public.as_ref(), &surroundings::addresses());
        let host = host.first().map_or("", String::as_str);
        format!(
            "protocol FTP, host {host}, port {}, encryption \"{encryption}\", user {}",
            address.port(),
            self.user
        )
    }
}

/// The hosts under which a socket can be reached, as URLs write them.
fn hosts(socket: SocketAddr, public: Option<&PublicHost>, addresses: &[IpAddr]) -> Vec<String> {
    let written = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    if !socket.ip().is_unspecified() {
        return vec![written(socket.ip())];
    }
    let public = public.map(|host| match host {
        PublicHost::Address(address) => written(*address),
        PublicHost::Name(name) => name.clone(),
    });
    let loopback: IpAddr = match socket.ip() {
        // Where the IPv6 wildcard has IPv4 as well, the shorter one is shown.
        IpAddr::V6(_) if addresses.iter().all(IpAddr::is_ipv6) && !addresses.is_empty() => {
            Ipv6Addr::LOCALHOST.into()
        }
        _ => Ipv4Addr::LOCALHOST.into(),
    };
    let usable = addresses
        .iter()
        .filter(|address| socket.is_ipv6() || address.is_ipv4());
    let mut hosts: Vec<_> = public.into_iter().chain(usable.map(|ip| written(*ip))).collect();
    hosts.push(written(loopback));
    hosts.dedup();
    hosts
}

fn row(text: &mut String, title: &str, lines: &[String]) {
    for (index, line) in lines.iter().enumerate() {
        let _ = writeln!(text, "  {:<12} {line}", if index == 0 { title } else { "" });
    }
}

/// A word for a shell: in quotes where it needs them.
pub(crate) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,@%:=".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            sockets: vec![
                ("127.0.0.1:2121".parse().unwrap(), Protocol::Ftp),
                ("127.0.0.1:990".parse().unwrap(), Protocol::Ftps),
            ],
            roots: vec![("share".into(), "/srv/share".into())],
            user: "share".into(),
            password: Some(Secret::new("sesame".into())),
            anonymous: false,
            tls: TlsMode::Required,
            fingerprint: Some("AB:CD".into()),
            pin: Some("sha256//QUI=".into()),
            host_keys: Vec::new(),
            certificate: Some("/var/lib/my state/certificate.pem".into()),
            public: None,
            plan: Plan {
                rungs: Via::ALL.into(),
                ..Plan::default()
            },
        }
    }

    #[test]
    fn the_block_says_where_how_and_what_to_trust() {
        let expected = "\
serving /srv/share to share
listening on 127.0.0.1:2121 (FTP, explicit TLS required)
listening on 127.0.0.1:990 (FTPS, implicit TLS)

  URL          ftp://127.0.0.1:2121/
               ftps://127.0.0.1/
  user         share
  password     sesame  (made for this run)
  certificate  SHA-256 AB:CD
               /var/lib/my state/certificate.pem  (self-signed)

  curl         curl --ssl-reqd --insecure --pinnedpubkey sha256//QUI= --user share:sesame ftp://127.0.0.1:2121/
  lftp         lftp -u share,sesame -e 'set ftp:ssl-force true; set ftp:ssl-protect-data true; set ssl:ca-file \"/var/lib/my state/certificate.pem\"' ftp://127.0.0.1:2121
               (on another machine: copy the certificate there first)
  FileZilla    protocol FTP, host 127.0.0.1, port 2121, encryption \"Require explicit FTP over TLS\", user share

";
        assert_eq!(facts().block().split_once('\n').unwrap().1, expected);
    }

    #[test]
    fn sftp_is_shown_with_the_keys_that_a_client_will_ask_about() {
        let block = Facts {
            sockets: vec![("127.0.0.1:2022".parse().unwrap(), Protocol::Sftp)],
            host_keys: vec![Fingerprint {
                kind: "ED25519".into(),
                sha256: "SHA256:abc".into(),
            }],
            ..facts()
        };
        let expected = "\
serving /srv/share to share
listening on 127.0.0.1:2022 (SFTP)

  URL          sftp://127.0.0.1:2022/
  user         share
  password     sesame  (made for this run)
  host keys    SHA256:abc (ED25519)

  sftp         sftp -P 2022 share@127.0.0.1

";
        assert_eq!(block.block().split_once('\n').unwrap().1, expected);
    }

    #[test]
    fn a_configured_account_shows_no_password_and_a_bought_certificate_no_file() {
        let block = Facts {
            password: None,
            certificate: None,
            ..facts()
        }
        .block();
        assert!(block.contains("curl --ssl-reqd --user share ftp://"), "{block}");
        assert!(
            !block.contains("--insecure") && !block.contains("password  "),
            "{block}"
        );
    }

    #[test]
    fn whoever_is_asked_for_a_way_in_is_named() {
        let block = Facts {
            sockets: vec![("[::]:2121".parse().unwrap(), Protocol::Ftp)],
            plan: Plan {
                stun: vec!["stun.example.org:3478".into()],
                ..facts().plan
            },
            ..facts()
        }
        .block();
        assert!(block.contains("router is asked to forward the port"), "{block}");
        assert!(block.contains("stun.example.org:3478"), "{block}");
        let off = Facts {
            sockets: vec![("[::]:2121".parse().unwrap(), Protocol::Ftp)],
            plan: Plan::default(),
            ..facts()
        };
        assert!(!off.block().contains("from outside"), "{}", off.block());
    }

    #[test]
    fn a_wildcard_is_shown_as_addresses_that_can_be_connected_to() {
        let addresses: [IpAddr; 2] = ["192.0.2.7".parse().unwrap(), "2001:db8::7".parse().unwrap()];
        let of = |socket: &str| hosts(socket.parse().unwrap(), None, &addresses);
        assert_eq!(of("[::]:21"), ["192.0.2.7", "[2001:db8::7]", "127.0.0.1"]);
        assert_eq!(of("0.0.0.0:21"), ["192.0.2.7", "127.0.0.1"]);
        assert_eq!(of("[::1]:21"), ["[::1]"]);
        let name = PublicHost::Name("ftp.example.org".into());
        assert_eq!(
            hosts("0.0.0.0:21".parse().unwrap(), Some(&name), &[]),
            ["ftp.example.org", "127.0.0.1"]
        );
    }

    #[test]
    fn paths_are_quoted_for_the_shell() {
        assert_eq!(quoted(Path::new("/srv/ftp")), "/srv/ftp");
        assert_eq!(quoted(Path::new("/it's here")), "'/it'\\''s here'");
    }
}
