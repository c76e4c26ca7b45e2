//! A server that is reached by SSH, who logs in there with what, and which host keys are believed.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pasarela_tls::Trust;

use crate::{Family, Proxy, Secret, Url};

/// A server and a login there.
#[derive(Clone)]
pub struct SftpSite {
    /// A DNS name or an address.
    pub host: String,
    /// The port of SSH.
    pub port: u16,
    /// Who logs in.
    pub user: Vec<u8>,
    /// With which password, where one is known.
    pub password: Option<Secret>,
    /// Files with private keys. They are tried and no other keys, where there are any.
    pub identities: Vec<PathBuf>,
    /// Files with private keys that are tried where no [`Self::identities`] are given; they may be missing.
    pub usual_identities: Vec<PathBuf>,
    /// The socket of the agent that has keys.
    pub agent: Option<PathBuf>,
    /// Files as OpenSSH has them with the host keys of servers; they may be missing.
    pub known_hosts: Vec<PathBuf>,
    /// Which servers are trusted that stand in none of those files. Authorities vouch for no host key.
    pub trust: Trust,
    /// Who can be asked for what is missing.
    pub asks: Option<Arc<dyn Asks>>,
    /// Everything else.
    pub options: SftpOptions,
}

/// Conditions of an [`SftpSite`].
#[derive(Debug, Clone)]
pub struct SftpOptions {
    /// Which of the server's addresses are connected to.
    pub family: Family,
    /// What is connected through.
    pub proxy: Option<Arc<Proxy>>,
    /// Sessions at once, at most; a server that takes fewer is heard.
    pub parallel: usize,
    /// For one attempt to connect, keys included.
    pub connect_timeout: Duration,
    /// Nothing comes and nothing goes.
    pub stall_timeout: Duration,
}

/// Somebody who can be asked for secrets while a login waits.
#[async_trait]
pub trait Asks: Send + Sync {
    /// The answer, or `None` where there will be none.
    async fn secret(&self, question: &Question) -> Option<Secret>;
}

/// What is asked for during a login.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Question {
    /// The password of the user.
    Password {
        /// It was tried, and the server did not take it.
        again: bool,
    },
    /// The passphrase of a key file.
    Passphrase {
        /// The file.
        file: PathBuf,
        /// It was tried, and did not open the file.
        again: bool,
    },
    /// What the server asks for in its own words, which are to be shown as nothing but words.
    Prompt {
        /// Its words.
        words: String,
        /// Whether the answer may be seen while it is typed.
        echo: bool,
    },
}

impl Default for SftpOptions {
    fn default() -> Self {
        Self {
            family: Family::Any,
            proxy: None,
            parallel: 4,
            connect_timeout: Duration::from_secs(20),
            stall_timeout: Duration::from_secs(60),
        }
    }
}

impl SftpSite {
    /// The server and login of a URL, with the keys, the agent and the known hosts that OpenSSH's client would take.
    #[must_use]
    pub fn of(url: &Url) -> Self {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let ssh = variable("HOME").map(|home| PathBuf::from(home).join(".ssh"));
        let own = |names: &[&str]| -> Vec<PathBuf> {
            let ssh = ssh.iter();
            ssh.flat_map(|ssh| names.iter().map(|name| ssh.join(name)))
                .collect()
        };
        let mut known_hosts = own(&["known_hosts", "known_hosts2"]);
        known_hosts.push("/etc/ssh/ssh_known_hosts".into());
        let user = url.user.clone().or_else(|| {
            let user = variable("USER").or_else(|| variable("LOGNAME"))?;
            Some(std::os::unix::ffi::OsStringExt::into_vec(user))
        });
        Self {
            host: url.host.clone(),
            port: url.port,
            user: user.unwrap_or_default(),
            password: url.password.clone(),
            identities: Vec::new(),
            usual_identities: own(&["id_ed25519", "id_ecdsa", "id_rsa"]),
            agent: variable("SSH_AUTH_SOCK").map(PathBuf::from),
            known_hosts,
            trust: Trust::System,
            asks: None,
            options: SftpOptions::default(),
        }
    }
}

impl fmt::Debug for SftpSite {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("SftpSite")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("user", &self.user.escape_ascii().to_string())
            .field("identities", &self.identities)
            .field("agent", &self.agent)
            .field("trust", &self.trust)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
