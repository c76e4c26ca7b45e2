//! One SSH connection: dialled, its host key believed, logged in, and sessions opened on it.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::client::{self, Handle};
use russh::keys::PublicKeyOrCertificate;
use russh::keys::ssh_key::Algorithm;
use russh::{ChannelMsg, Disconnect, Preferred, SshId, cipher, compression};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::channel::{FromServer, ToServer};
use super::login::{self, Typed};
use super::session::Session;
use super::site::SftpSite;
use super::trust::{Judge, distrust};
use crate::ftp::dial;
use crate::{Failure, FailureKind};

/// A connection that is logged in. Ends when it is dropped.
pub(super) struct Connection {
    handle: Handle<Visitor>,
    options: super::site::SftpOptions,
}

/// What the connection asks us.
pub(super) struct Visitor {
    judge: Judge,
    banner: Banner,
}

/// What the server says before the login, for people.
#[derive(Debug, Clone, Default)]
pub(super) struct Banner(Arc<Mutex<String>>);

/// A silent server is asked whether it is there, and given up after so many questions.
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVES: usize = 4;
/// Bytes of one session that may be on their way to us.
const WINDOW: u32 = 8 * 1024 * 1024;
/// How much of a banner is kept.
const LONGEST_BANNER: usize = 2048;
/// Ciphers that authenticate by themselves come first, those that processors have instructions for before the others.
const CIPHERS: &[cipher::Name] = &[
    cipher::AES_256_GCM,
    cipher::AES_128_GCM,
    cipher::CHACHA20_POLY1305,
    cipher::AES_256_CTR,
    cipher::AES_192_CTR,
    cipher::AES_128_CTR,
];

/// Why a session could not be opened on a connection that works.
pub(super) enum NoSession {
    /// The server takes no more of them on one connection.
    Full(Failure),
    /// Something else.
    Failed(Failure),
}

impl Connection {
    /// Connects and logs in. What somebody typed on the way is kept in `typed`.
    pub(super) async fn open(site: &SftpSite, typed: &Typed) -> Result<Self, Failure> {
        let (mut handle, judge, banner) = shake_hands(site).await?;
        let logged_in = login::log_in(&mut handle, site, typed).await;
        if let Err(failure) = logged_in {
            let _ = handle.disconnect(Disconnect::ByApplication, "", "").await;
            return Err(banner.added_to(failure));
        }
        judge.remember().await?;
        Ok(Self {
            handle,
            options: site.options.clone(),
        })
    }

    /// Opens a session (RFC 4254 §6.1 and §6.5).
    pub(super) async fn session(&self) -> Result<Session, NoSession> {
        let patience = self.options.stall_timeout;
        let failed = |error: &russh::Error| NoSession::Failed(failed(error));
        let silent = |_| {
            let failure = Failure::new(FailureKind::Timeout, "the server does not answer any more");
            Err(NoSession::Failed(failure))
        };
        let opening = async {
            let channel = self.handle.channel_open_session().await;
            let channel = channel.map_err(|error| match error {
                russh::Error::ChannelOpenFailure(why) => {
                    let sentence = format!("the server opens no session: {why:?}");
                    NoSession::Full(Failure::new(FailureKind::Busy, sentence))
                }
                error => failed(&error),
            })?;
            let (mut incoming, outgoing) = channel.split();
            let asked = outgoing.request_subsystem(true, "sftp").await;
            asked.map_err(|error| failed(&error))?;
            loop {
                match incoming.wait().await {
                    Some(ChannelMsg::Success) => return Ok((incoming, outgoing)),
                    Some(ChannelMsg::Failure | ChannelMsg::Close | ChannelMsg::Eof) | None => {
                        let failure = Failure::new(FailureKind::Unsupported, "the server offers no SFTP")
                            .hint("its sshd needs a line `Subsystem sftp …`, and the account the right to use it");
                        return Err(NoSession::Failed(failure));
                    }
                    Some(_) => {}
                }
            }
        };
        let (incoming, outgoing) = timeout(patience, opening).await.unwrap_or_else(silent)?;
        Session::start(FromServer(incoming), ToServer(outgoing), patience)
            .await
            .map_err(NoSession::Failed)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.handle.is_closed()
    }

    /// Ends it politely.
    pub(super) async fn close(&self) {
        let _ = self.handle.disconnect(Disconnect::ByApplication, "", "").await;
    }
}

/// Up to and with the exchange of keys.
async fn shake_hands(site: &SftpSite) -> Result<(Handle<Visitor>, Judge, Banner), Failure> {
    let judge = Judge::new(site).await?;
    let within = site.options.connect_timeout;
    let conditions = crate::Options {
        family: site.options.family,
        proxy: site.options.proxy.clone(),
        connect_timeout: within,
        ..crate::Options::default()
    };
    let (tcp, _) = dial(&site.host, site.port, &conditions).await?;
    let banner = Banner::default();
    let visitor = Visitor {
        judge: judge.clone(),
        banner: banner.clone(),
    };
    let connecting = async {
        let first = first_bytes(&tcp).await;
        let shaken = client::connect_stream(Arc::new(config(&judge)), tcp, visitor).await;
        shaken.map_err(|error| match judge.told() {
            Some(Err(refused)) => distrust(refused),
            _ => no_ssh(&error, &first),
        })
    };
    let silent = |_| {
        let sentence = format!("{} took the connection and says nothing", site.host);
        Err(Failure::new(FailureKind::Timeout, sentence)
            .hint("the server may be overloaded, or is no SSH server"))
    };
    let handle = timeout(within, connecting).await.unwrap_or_else(silent)?;
    Ok((handle, judge, banner))
}

fn config(judge: &Judge) -> client::Config {
    client::Config {
        client_id: SshId::Standard(Cow::Borrowed("SSH-2.0-Pasarela")),
        window_size: WINDOW,
        preferred: Preferred {
            key: Cow::Owned(host_key_kinds(judge)),
            cipher: Cow::Borrowed(CIPHERS),
            compression: Cow::Borrowed(&[compression::NONE]),
            ..Preferred::DEFAULT
        },
        keepalive_interval: Some(KEEPALIVE),
        keepalive_max: KEEPALIVES,
        ..client::Config::default()
    }
}

/// Those that the server is known by come first. Signatures with SHA-1 are not taken.
fn host_key_kinds(judge: &Judge) -> Vec<Algorithm> {
    let known: HashSet<Algorithm> = judge.known_kinds().collect();
    let is_known = |kind: &Algorithm| match kind {
        Algorithm::Rsa { .. } => known.iter().any(|kind| kind.clone().is_rsa()),
        kind => known.contains(kind),
    };
    let all = Preferred::DEFAULT.key.iter();
    let mut kinds: Vec<Algorithm> = all
        .filter(|kind| **kind != Algorithm::Rsa { hash: None })
        .cloned()
        .collect();
    kinds.sort_by_key(|kind| !is_known(kind));
    kinds
}

/// What the server says first, left where it is; it tells who it is where it is no SSH server.
async fn first_bytes(tcp: &TcpStream) -> Vec<u8> {
    let mut bytes = [0; 64];
    let count = tcp.peek(&mut bytes).await.unwrap_or(0);
    bytes[..count].to_vec()
}

fn no_ssh(error: &russh::Error, first: &[u8]) -> Failure {
    if first.starts_with(b"SSH-") || first.is_empty() {
        return failed(error);
    }
    let said = first.escape_ascii();
    let failure = Failure::new(
        FailureKind::Protocol,
        format!("this is no SSH server; it says \"{said}\""),
    );
    match first.starts_with(b"220") {
        true => failure.hint("this is an FTP server: try ftp://"),
        false => failure,
    }
}

/// What went wrong with a connection.
pub(super) fn failed(error: &russh::Error) -> Failure {
    use russh::Error as E;
    let (kind, sentence) = match error {
        E::NoCommonAlgo { kind, theirs, .. } => {
            let theirs = theirs.join(", ").escape_debug().to_string();
            let sentence = format!("the server takes no {kind:?} algorithm that is safe; it has {theirs}");
            return Failure::new(FailureKind::Tls, sentence)
                .hint("the server's SSH is too old: it needs an update");
        }
        E::Disconnect | E::HUP | E::SendError | E::RecvError | E::Join(_) => {
            (FailureKind::Lost, "the server closed the connection".to_owned())
        }
        E::IO(error) => (FailureKind::Lost, format!("the connection broke: {error}")),
        E::KeepaliveTimeout | E::InactivityTimeout | E::ConnectionTimeout | E::Elapsed(_) => (
            FailureKind::Timeout,
            "the server does not answer any more".to_owned(),
        ),
        E::WrongServerSig | E::UnknownKey | E::PacketAuth | E::DecryptionError | E::Kex => {
            (FailureKind::Tls, format!("the connection is not safe: {error}"))
        }
        _ => (
            FailureKind::Protocol,
            format!(
                "the server does not keep to SSH: {}",
                error.to_string().escape_debug()
            ),
        ),
    };
    Failure::new(kind, sentence)
}

impl client::Handler for Visitor {
    type Error = russh::Error;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => self.judge.judge(key),
            // None was asked for.
            PublicKeyOrCertificate::Certificate(_) => false,
        })
    }

    async fn auth_banner(&mut self, banner: &str, _: &mut client::Session) -> Result<(), Self::Error> {
        let mut kept = self.banner.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = LONGEST_BANNER.saturating_sub(kept.len());
        kept.extend(banner.chars().take(room));
        Ok(())
    }
}

impl Banner {
    /// A server that lets nobody in may say why in its banner.
    fn added_to(&self, mut failure: Failure) -> Failure {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lines: Vec<String> = kept
            .lines()
            .map(|line| line.trim().escape_debug().to_string())
            .filter(|line| !line.is_empty())
            .collect();
        if failure.kind == FailureKind::Login && !lines.is_empty() {
            failure.sentence = format!("{}; it says: {}", failure.sentence, lines.join(" "));
        }
        failure
    }
}
