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
    seen: Seen,
}

/// What an SSH server is, as far as its first words and the exchange of keys tell.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// What it calls itself: `SSH-2.0-OpenSSH_9.2`. Any bytes but line ends may stand there.
    pub software: String,
    /// How keys are exchanged.
    pub key_exchange: String,
    /// The kind of its host key.
    pub host_key: String,
    /// What encrypts.
    pub cipher: String,
}

/// What the connection asks us.
pub(super) struct Visitor {
    judge: Judge,
    banner: Banner,
    seen: Arc<Mutex<Seen>>,
}

/// What the server says before the login, for people.
#[derive(Debug, Clone, Default)]
pub(super) struct Banner(Arc<Mutex<String>>);

/// A silent server is asked whether it is there, and given up after so many questions.
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVES: usize = 4;
/// Bytes of one session that may be on their way to us.
const WINDOW: u32 = 8 * 1024 * 1024;
/// What a server of FTP begins with.
const FTP_GREETS: &[u8] = b"220";
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
        let Shaken {
            mut handle,
            judge,
            banner,
            seen,
        } = shake_hands(site).await?;
        let logged_in = login::log_in(&mut handle, site, typed).await;
        if let Err(failure) = logged_in {
            let _ = handle.disconnect(Disconnect::ByApplication, "", "").await;
            return Err(banner.added_to(failure));
        }
        judge.remember().await?;
        Ok(Self {
            handle,
            options: site.options.clone(),
            seen,
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

    /// What it is.
    pub(super) fn seen(&self) -> &Seen {
        &self.seen
    }

    pub(super) fn is_closed(&self) -> bool {
        self.handle.is_closed()
    }

    /// Ends it politely.
    pub(super) async fn close(&self) {
        let _ = self.handle.disconnect(Disconnect::ByApplication, "", "").await;
    }
}

/// A connection before the login.
struct Shaken {
    handle: Handle<Visitor>,
    judge: Judge,
    banner: Banner,
    seen: Seen,
}

/// Up to and with the exchange of keys.
async fn shake_hands(site: &SftpSite) -> Result<Shaken, Failure> {
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
    let kept = Arc::new(Mutex::new(Seen::default()));
    let visitor = Visitor {
        judge: judge.clone(),
        banner: banner.clone(),
        seen: Arc::clone(&kept),
    };
    let silent = || {
        let sentence = format!("{} took the connection and says nothing", site.host);
        Failure::new(FailureKind::Timeout, sentence).hint("the server may be overloaded, or is no SSH server")
    };
    let first = timeout(within, first_bytes(&tcp)).await.map_err(|_| silent())?;
    if first.starts_with(FTP_GREETS) {
        return Err(no_ssh(&first));
    }
    let connecting = client::connect_stream(Arc::new(config(&judge)), tcp, visitor);
    let handle = match timeout(within, connecting).await {
        Ok(Ok(handle)) => handle,
        Ok(Err(error)) => {
            return Err(match judge.told() {
                Some(Err(refused)) => distrust(refused),
                _ if is_ssh(&first) => failed(&error),
                _ => no_ssh(&first),
            });
        }
        Err(_) if is_ssh(&first) => return Err(silent()),
        Err(_) => return Err(no_ssh(&first)),
    };
    let mut seen = kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let line = first.split(|byte| matches!(byte, b'\r' | b'\n')).next();
    seen.software = line.unwrap_or_default().escape_ascii().to_string();
    Ok(Shaken {
        handle,
        judge,
        banner,
        seen,
    })
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
    let mut bytes = [0; 255];
    let count = tcp.peek(&mut bytes).await.unwrap_or(0);
    bytes[..count].to_vec()
}

/// Other lines may come before the one that begins so (RFC 4253 §4.2), and hardly ever do.
fn is_ssh(first: &[u8]) -> bool {
    first.starts_with(b"SSH-") || first.is_empty()
}

fn no_ssh(first: &[u8]) -> Failure {
    let said = first.trim_ascii().escape_ascii();
    let sentence = format!("this is no SSH server; it says \"{said}\"");
    let failure = Failure::new(FailureKind::Protocol, sentence);
    match first.starts_with(FTP_GREETS) {
        true => failure.hint("this is an FTP server: try ftp://"),
        false => failure.hint("check the port"),
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

    async fn kex_done(
        &mut self,
        _: Option<&[u8]>,
        names: &russh::Names,
        _: &mut client::Session,
    ) -> Result<(), Self::Error> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.key_exchange = names.kex.as_ref().to_owned();
        seen.host_key = names.key.to_string();
        seen.cipher = names.cipher.as_ref().to_owned();
        Ok(())
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
