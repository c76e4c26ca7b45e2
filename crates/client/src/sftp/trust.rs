//! Whether a server's host key is believed: by a pin, by OpenSSH's lists, by our own memory, or as a stranger.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use pasarela_tls::{Known, KnownServers, Pin, Stranger, Trust};
use russh::keys::ssh_key::{Algorithm, HashAlg, PublicKey};

use super::known_hosts::{self, Listed};
use super::site::SftpSite;
use crate::{Failure, FailureKind};

/// Why a host key is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HostKeyError {
    /// The server has not been seen before.
    #[error(
        "{host}:{port} has not been seen before; its host key is {} ({algorithm})",
        key.as_openssh()
    )]
    Stranger {
        /// Its name.
        host: String,
        /// Its port.
        port: u16,
        /// The kind of its key, as `ssh-ed25519`.
        algorithm: String,
        /// SHA-256 of its key.
        key: Pin,
    },
    /// The server shows another key than before.
    #[error(
        "{host}:{port} shows another host key than before, {} ({algorithm}): somebody may be in between",
        key.as_openssh()
    )]
    Changed {
        /// Its name.
        host: String,
        /// Its port.
        port: u16,
        /// The kind of the key of now.
        algorithm: String,
        /// SHA-256 of the key of now.
        key: Pin,
        /// The file with the key of before.
        file: PathBuf,
        /// The line there, where the file is one of OpenSSH's.
        line: Option<usize>,
    },
    /// The key is on a list of keys that are not to be believed any more.
    #[error("{host} shows the host key {}, which has been revoked: somebody may be in between", key.as_openssh())]
    Revoked {
        /// The server's name.
        host: String,
        /// SHA-256 of its key.
        key: Pin,
    },
    /// The key is not the pinned one.
    #[error("the server has the host key {}, which is not the pinned one", key.as_openssh())]
    NotPinned {
        /// SHA-256 of its key.
        key: Pin,
    },
    /// Those who were there before cannot be read, or say nothing about host keys.
    #[error("{0}")]
    Unusable(String),
}

/// Judges the host key of one connection.
#[derive(Debug, Clone)]
pub(super) struct Judge {
    host: String,
    port: u16,
    rule: Rule,
    listed: Arc<Listed>,
    told: Arc<Mutex<Option<Result<Believed, HostKeyError>>>>,
}

#[derive(Debug, Clone)]
enum Rule {
    Pinned(Pin),
    Known {
        memory: Option<(Arc<KnownServers>, Option<Pin>)>,
        stranger: Stranger,
    },
}

/// A key that is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Believed {
    pub(super) key: Pin,
    /// It is to be remembered.
    pub(super) is_new: bool,
}

impl Judge {
    /// Reads what is known of the server.
    pub(super) async fn new(site: &SftpSite) -> Result<Self, Failure> {
        let (host, port) = (site.host.clone(), site.port);
        let unusable = |why: String| distrust(HostKeyError::Unusable(why));
        if let Trust::Roots(_) = site.trust {
            let why = "no authority vouches for host keys of SSH".to_owned();
            return Err(unusable(why).hint("pin the key, or let the server stand in ~/.ssh/known_hosts"));
        }
        let (files, trust) = (site.known_hosts.clone(), site.trust.clone());
        let read = tokio::task::spawn_blocking(move || {
            let listed = known_hosts::look_up(&files, &host, port)?;
            let rule = match trust {
                Trust::Pinned(pin) => Rule::Pinned(pin),
                Trust::FirstUse { servers, stranger } => {
                    let known = servers.look_up(&host, port)?.and_then(|known| known.key);
                    Rule::Known {
                        memory: Some((servers, known)),
                        stranger,
                    }
                }
                Trust::System | Trust::Roots(_) => Rule::Known {
                    memory: None,
                    stranger: Stranger::Refuse,
                },
            };
            std::io::Result::Ok((listed, rule))
        });
        let (listed, rule) = read
            .await
            .map_err(|error| unusable(error.to_string()))?
            .map_err(|error| unusable(format!("who was there before cannot be read: {error}")))?;
        Ok(Self {
            host: site.host.clone(),
            port,
            rule,
            listed: Arc::new(listed),
            told: Arc::default(),
        })
    }

    /// Kinds of keys that the server is known by. It is asked for these first, as otherwise it might show one of its
    /// other keys and look like somebody else.
    pub(super) fn known_kinds(&self) -> impl Iterator<Item = Algorithm> {
        self.listed.keys.iter().map(|(key, ..)| key.algorithm())
    }

    /// Whether this key is believed; keeps why.
    pub(super) fn judge(&self, key: &PublicKey) -> bool {
        let judged = self.verdict(key);
        let is_believed = judged.is_ok();
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = Some(judged);
        is_believed
    }

    /// What was said of the key; `None`: none has been shown.
    pub(super) fn told(&self) -> Option<Result<Believed, HostKeyError>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn verdict(&self, shown: &PublicKey) -> Result<Believed, HostKeyError> {
        let key = pin_of(shown);
        let (host, port) = (self.host.clone(), self.port);
        let algorithm = shown.algorithm().to_string();
        let old = Believed { key, is_new: false };
        let is_same = |other: &PublicKey| other.key_data() == shown.key_data();
        if self.listed.revoked.iter().any(is_same) {
            return Err(HostKeyError::Revoked { host, key });
        }
        let (memory, stranger) = match &self.rule {
            Rule::Pinned(pin) if *pin == key => return Ok(old),
            Rule::Pinned(_) => return Err(HostKeyError::NotPinned { key }),
            Rule::Known { memory, stranger } => (memory.as_ref(), *stranger),
        };
        let remembered = memory.and_then(|(servers, known)| Some((servers, (*known)?)));
        if remembered.is_some_and(|(_, known)| known == key)
            || self.listed.keys.iter().any(|(listed, ..)| is_same(listed))
        {
            return Ok(old);
        }
        let changed = |file: PathBuf, line| HostKeyError::Changed {
            host: host.clone(),
            port,
            algorithm: algorithm.clone(),
            key,
            file,
            line,
        };
        if let Some((_, file, line)) = self.listed.keys.first() {
            return Err(changed(file.clone(), Some(*line)));
        }
        if let Some((servers, _)) = remembered {
            return Err(changed(servers.path().to_owned(), None));
        }
        match stranger {
            Stranger::Accept => Ok(Believed { key, is_new: true }),
            Stranger::Refuse => Err(HostKeyError::Stranger {
                host,
                port,
                algorithm,
                key,
            }),
        }
    }

    /// Keeps a key that was believed for the first time.
    pub(super) async fn remember(&self) -> Result<(), Failure> {
        let (Rule::Known { memory, .. }, Some(Ok(Believed { key, is_new: true }))) =
            (&self.rule, self.told())
        else {
            return Ok(());
        };
        let Some((servers, _)) = memory else {
            return Ok(());
        };
        let (servers, host, port) = (Arc::clone(servers), self.host.clone(), self.port);
        let kept =
            tokio::task::spawn_blocking(move || servers.remember(&host, port, Known { key: Some(key) }));
        let kept = kept.await.map_err(std::io::Error::other).and_then(|kept| kept);
        kept.map_err(|error| {
            let why = format!("the server could not be remembered: {error}");
            distrust(HostKeyError::Unusable(why))
        })
    }
}

/// SHA-256 of a key as it is sent, which is what OpenSSH shows as `SHA256:…`.
fn pin_of(key: &PublicKey) -> Pin {
    let print = key.fingerprint(HashAlg::Sha256);
    Pin(print.sha256().unwrap_or_default())
}

/// The failure of somebody who is not believed, with what to do.
pub(super) fn distrust(error: HostKeyError) -> Failure {
    let hint = match &error {
        HostKeyError::Stranger { .. } => {
            Some("compare the key with what the server's operator tells you".to_owned())
        }
        HostKeyError::Changed {
            host,
            port,
            file,
            line,
            ..
        } => {
            let name = match port {
                22 => host.clone(),
                port => format!("[{host}]:{port}"),
            };
            let file = file.display();
            let old = match line {
                Some(line) => format!("line {line} of {file}; ssh-keygen -R '{name}' forgets it"),
                None => file.to_string(),
            };
            Some(format!(
                "nothing was sent to it; ask the server's operator whether the key was renewed. The old one stands in {old}"
            ))
        }
        HostKeyError::NotPinned { .. } => Some("nothing was sent to it".to_owned()),
        HostKeyError::Revoked { .. } | HostKeyError::Unusable(_) => None,
    };
    let mut failure = Failure::new(FailureKind::Tls, error.to_string());
    failure.hint = hint;
    failure.host_key = Some(Box::new(error));
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILIG2T/B0l0gaqj3puu510tu9N1OkQ4znY3LYuEm5zCF";

    fn key(text: &str) -> PublicKey {
        PublicKey::from_openssh(text).unwrap()
    }

    /// A judge with this list, this memory, and the trust that is made of it.
    async fn judge(list: &str, known: Option<Pin>, trust: impl Fn(Arc<KnownServers>) -> Trust) -> Judge {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("known_hosts");
        std::fs::write(&file, list).unwrap();
        let servers = Arc::new(KnownServers::at(folder.path().join("known_servers")));
        if known.is_some() {
            servers.remember("a.example", 2222, Known { key: known }).unwrap();
        }
        let mut site = SftpSite::of(&"sftp://anna@a.example:2222/".parse().unwrap());
        site.known_hosts = vec![file, folder.path().join("missing")];
        site.trust = trust(servers);
        Judge::new(&site).await.unwrap()
    }

    fn first_use(stranger: Stranger) -> impl Fn(Arc<KnownServers>) -> Trust {
        move |servers| Trust::FirstUse { servers, stranger }
    }

    async fn verdict(list: &str, known: Option<Pin>, stranger: Stranger) -> &'static str {
        match judge(list, known, first_use(stranger)).await.verdict(&key(ONE)) {
            Ok(Believed { is_new: false, .. }) => "known",
            Ok(Believed { is_new: true, .. }) => "new",
            Err(HostKeyError::Stranger { .. }) => "stranger",
            Err(HostKeyError::Changed { line: Some(_), .. }) => "changed in a list",
            Err(HostKeyError::Changed { line: None, .. }) => "changed in the memory",
            Err(HostKeyError::Revoked { .. }) => "revoked",
            Err(_) => "something else",
        }
    }

    #[tokio::test]
    async fn lists_and_memory_say_who_is_known() {
        let (one, other) = (Some(pin_of(&key(ONE))), Some(pin_of(&key(OTHER))));
        let listed = |text: &str| format!("[a.example]:2222 {text}");
        for (list, known, expected) in [
            (String::new(), None, "stranger"),
            (listed(ONE), None, "known"),
            (listed(OTHER), None, "changed in a list"),
            (listed(OTHER), one, "known"),
            (listed(ONE), other, "known"),
            (String::new(), one, "known"),
            (String::new(), other, "changed in the memory"),
            (format!("{}\n@revoked * {ONE}", listed(ONE)), one, "revoked"),
        ] {
            assert_eq!(verdict(&list, known, Stranger::Refuse).await, expected, "{list}");
        }
        assert_eq!(verdict("", None, Stranger::Accept).await, "new");
        assert_eq!(
            verdict(&listed(OTHER), None, Stranger::Accept).await,
            "changed in a list"
        );
    }

    #[tokio::test]
    async fn a_pin_counts_and_nothing_else() {
        let pinned = |text: &str| {
            let pin = pin_of(&key(text));
            move |_| Trust::Pinned(pin)
        };
        let listed = format!("[a.example]:2222 {ONE}");
        assert!(judge("", None, pinned(ONE)).await.judge(&key(ONE)));
        let judge = judge(&listed, None, pinned(OTHER)).await;
        assert!(!judge.judge(&key(ONE)));
        assert!(matches!(judge.told(), Some(Err(HostKeyError::NotPinned { .. }))));
    }

    #[test]
    fn fingerprints_are_those_of_openssh() {
        let pin = pin_of(&key(ONE));
        assert!(pin.as_openssh().starts_with("SHA256:"), "{}", pin.as_openssh());
        assert_eq!(pin.as_openssh().parse::<Pin>(), Ok(pin));
    }
}
