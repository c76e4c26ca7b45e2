//! What SSH asks of a server: who the visitor is, and what becomes of the channels that it opens.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use pasarela_session::auth::Password;
use pasarela_session::limits::Admission;
use pasarela_session::{Account, Session};
use russh::keys::Certificate;
use russh::server::{
    Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Session as Ssh, VerifiedPublicKey,
};
use russh::{Channel, ChannelId, ChannelOpenFailure, MethodKind, MethodSet};
use tokio::sync::watch;
use tracing::{Instrument, Span, debug, info};

use super::authorized::Authorized;
use super::channel;
use super::engine::{self, Terms};
use crate::config::Settings;
use crate::login;
use crate::service::Service;

/// SFTP sessions that a connection may have at once.
const MOST_CHANNELS: usize = 8;

/// Wrong passwords after which a connection is asked for none any more.
const MOST_WRONG: u32 = 3;

/// What the connection's task is told.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Progress {
    /// The visitor has proved who it is.
    pub(super) logged_in: bool,
    /// Channels that serve SFTP.
    pub(super) serving: usize,
}

/// The visitor of one connection.
pub(super) struct Visitor {
    pub(super) service: Arc<Service>,
    pub(super) settings: Arc<Settings>,
    pub(super) admission: Arc<Mutex<Admission>>,
    pub(super) peer: SocketAddr,
    pub(super) progress: Arc<watch::Sender<Progress>>,
    pub(super) session: Option<Session>,
    /// Opened, and not asked for anything yet.
    pub(super) channels: HashMap<ChannelId, Channel<Msg>>,
    pub(super) wrong: u32,
    /// Its connection's, for what is logged of it.
    pub(super) span: Span,
}

impl Visitor {
    /// Clients try again as long as a method is named.
    fn rejected(&self) -> Auth {
        let mut methods = MethodSet::empty();
        methods.push(MethodKind::PublicKey);
        if self.wrong < MOST_WRONG {
            methods.push(MethodKind::Password);
        }
        Auth::Reject {
            proceed_with_methods: Some(methods),
            partial_success: false,
        }
    }

    /// The visitor has proved to be `account`.
    fn enter(&mut self, user: &str, account: Arc<Account>, by: &'static str) -> Auth {
        let span = self.span.clone();
        let _entered = span.enter();
        if login::enter(&self.settings, &self.admission, user.as_bytes(), &account).is_err() {
            return self.rejected();
        }
        info!(user = login::escaped(user.as_bytes()), by, "logged in");
        self.session = Some(Session::new(account, Default::default()));
        self.progress.send_modify(|progress| progress.logged_in = true);
        Auth::Accept
    }

    /// The keys that prove `user`; none while its address is banned.
    async fn keys(&self, user: &str) -> Option<(Arc<Account>, Authorized)> {
        let banned = {
            let admission = self.admission.lock();
            admission.is_ok_and(|admission| admission.is_banned())
        };
        let account = self.settings.users.named(user.as_bytes()).filter(|_| !banned)?;
        let keys = Authorized::of(&account).await;
        Some((account, keys))
    }

    /// Serves SFTP on a channel, in a task of its own.
    fn serve(&self, channel: Channel<Msg>, link_first: bool) {
        let Some(session) = self.session.clone() else {
            return;
        };
        let limits = &self.settings.limits;
        let terms = Terms {
            idle: limits.idle,
            stall: limits.stall,
            link_first,
        };
        let (service, progress) = (Arc::clone(&self.service), Arc::clone(&self.progress));
        progress.send_modify(|progress| progress.serving += 1);
        let serving = Serving(progress);
        let serve = async move {
            let _serving = serving;
            let (receiving, sending) = channel.split();
            let (reader, writer) = channel::streams(receiving, &sending);
            let ended = engine::serve(reader, writer, session, terms, service.draining()).await;
            let status = match &ended {
                Ok(()) => 0,
                Err(error) => {
                    debug!(%error, "SFTP ended");
                    1
                }
            };
            // A client that is gone already misses nothing.
            let _ = sending.exit_status(status).await;
            let _ = sending.eof().await;
            let _ = sending.close().await;
        };
        self.service.spawn(serve.instrument(self.span.clone()));
    }
}

/// Counts a channel that serves SFTP; dropped, it serves no more.
struct Serving(Arc<watch::Sender<Progress>>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.send_modify(|progress| progress.serving -= 1);
    }
}

impl Handler for Visitor {
    type Error = russh::Error;

    /// Clients ask for this first, to hear what else there is. The anonymous account needs no more.
    async fn auth_none(&mut self, user: &str) -> Result<Auth, Self::Error> {
        match self.settings.users.is_anonymous(user.as_bytes()) {
            true => self.auth_password(user, "").await,
            false => Ok(self.rejected()),
        }
    }

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, Self::Error> {
        if self.wrong >= MOST_WRONG {
            return Ok(self.rejected());
        }
        let password = Password::new(password.as_bytes().to_vec());
        let account = login::by_password(&self.settings, &self.admission, user.as_bytes(), password);
        match account.instrument(self.span.clone()).await {
            Ok(account) => Ok(self.enter(user, account, "password")),
            Err(refused) => {
                if refused == login::Refused::Wrong {
                    self.wrong += 1;
                }
                Ok(self.rejected())
            }
        }
    }

    /// A key that a client has and would prove. With a certificate this is the key beneath it.
    async fn auth_publickey_offered(
        &mut self,
        user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, Self::Error> {
        let is_good = match self.keys(user).await {
            Some((_, keys)) => keys.has(offer.public_key) || keys.has_authorities(),
            None => false,
        };
        Ok(if is_good { Auth::Accept } else { self.rejected() })
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        match self.keys(user).await {
            Some((account, keys)) if keys.has(key.public_key) => Ok(self.enter(user, account, "public key")),
            _ => Ok(self.rejected()),
        }
    }

    async fn auth_openssh_certificate(
        &mut self,
        user: &str,
        certificate: &Certificate,
    ) -> Result<Auth, Self::Error> {
        match self.keys(user).await {
            Some((account, keys)) if keys.has_signed(certificate, user) => {
                Ok(self.enter(user, account, "certificate"))
            }
            _ => Ok(self.rejected()),
        }
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Ssh,
    ) -> Result<(), Self::Error> {
        if self.channels.len() + self.progress.borrow().serving >= MOST_CHANNELS {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        }
        self.channels.insert(channel.id(), channel);
        reply.accept().await;
        Ok(())
    }

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        name: &str,
        ssh: &mut Ssh,
    ) -> Result<(), Self::Error> {
        match self.channels.remove(&id) {
            Some(channel) if name == "sftp" => {
                ssh.channel_success(id)?;
                self.serve(channel, names_link_first(ssh.remote_sshid()));
            }
            channel => {
                self.channels.extend(channel.map(|channel| (id, channel)));
                ssh.channel_failure(id)?;
            }
        }
        Ok(())
    }

    async fn channel_close(&mut self, id: ChannelId, _: &mut Ssh) -> Result<(), Self::Error> {
        self.channels.remove(&id);
        Ok(())
    }

    async fn shell_request(&mut self, id: ChannelId, ssh: &mut Ssh) -> Result<(), Self::Error> {
        debug!(peer = %self.peer, "asked for a shell");
        ssh.channel_failure(id)
    }

    async fn exec_request(&mut self, id: ChannelId, _: &[u8], ssh: &mut Ssh) -> Result<(), Self::Error> {
        debug!(peer = %self.peer, "asked for a command");
        ssh.channel_failure(id)
    }
}

/// Clients that send the two paths of SYMLINK in the order of the draft to servers that do not call themselves
/// OpenSSH; all others send them as OpenSSH does.
fn names_link_first(identification: &[u8]) -> bool {
    let software = identification.strip_prefix(b"SSH-2.0-").unwrap_or(identification);
    [&b"AsyncSSH"[..], b"libssh_", b"WinSCP"]
        .iter()
        .any(|name| software.starts_with(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_follows_the_draft_in_links_says_so_by_its_name() {
        assert!(names_link_first(b"SSH-2.0-AsyncSSH_2.10.1"));
        assert!(names_link_first(b"SSH-2.0-libssh_0.10.6"));
        assert!(!names_link_first(b"SSH-2.0-OpenSSH_9.2p1 Debian-2"));
        assert!(!names_link_first(b"SSH-2.0-libssh2_1.10.0"));
        assert!(!names_link_first(b"SSH-2.0-paramiko_2.12.0"));
    }
}
