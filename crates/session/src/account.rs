//! An account: a name, its root, what it may do, how fast.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use pasarela_dtp::{Bucket, Pace};
use pasarela_store::Storage;

/// Whether an account's password and data may cross the network in the clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsNeed {
    /// Control and data connection must be protected.
    #[default]
    Required,
    /// The client decides.
    Optional,
}

/// One account, shared by all its sessions.
pub struct Account {
    /// Its name, `[A-Za-z0-9._@-]{1,64}`.
    pub name: String,
    /// Its files.
    pub storage: Arc<dyn Storage>,
    /// What it may do.
    pub may: May,
    /// Whether it needs TLS.
    pub tls: TlsNeed,
    /// What all its sessions share of bandwidth; `None` is unbounded.
    pub rate: Option<Arc<Bucket>>,
    /// What each of its sessions may take, bytes per second; `None` is unbounded.
    pub session_rate: Option<u64>,
    /// Sessions at once; `None` is the server's default.
    pub sessions: Option<u32>,
    /// Public keys that prove it, beside its password or instead of one.
    pub authorized_keys: AuthorizedKeys,
}

/// Where an account's public keys are, each a line as in OpenSSH's `authorized_keys`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuthorizedKeys {
    /// Lines that stand in the configuration.
    pub lines: Vec<String>,
    /// A file of lines, read at every login.
    pub file: Option<PathBuf>,
}

impl AuthorizedKeys {
    /// Whether no key can be there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.file.is_none()
    }
}

impl Account {
    /// What bounds a new session of this account: the account's shared rate, the session's own, and `besides`.
    #[must_use]
    pub fn pace(&self, besides: impl IntoIterator<Item = Arc<Bucket>>) -> Pace {
        let own = self.session_rate.map(Bucket::new);
        Pace::new(self.rate.iter().cloned().chain(own).chain(besides).collect())
    }
}

/// One thing an account may be allowed to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Permission {
    /// Read files.
    Read,
    /// Make new files and replace the content of files.
    Write,
    /// Add to files that stand.
    Append,
    /// Remove files and directories, also by renaming over them.
    Delete,
    /// Rename.
    Rename,
    /// Make directories.
    Mkdir,
    /// List directories.
    List,
    /// Set times and permission bits.
    Attributes,
    /// Make symbolic links.
    Link,
}

/// A set of permissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct May(u16);

impl Permission {
    /// Every permission, in the order in which they are documented.
    pub const ALL: [Self; 9] = [
        Self::Read,
        Self::Write,
        Self::Append,
        Self::Delete,
        Self::Rename,
        Self::Mkdir,
        Self::List,
        Self::Attributes,
        Self::Link,
    ];

    /// Its word in the configuration.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Append => "append",
            Self::Delete => "delete",
            Self::Rename => "rename",
            Self::Mkdir => "mkdir",
            Self::List => "list",
            Self::Attributes => "attributes",
            Self::Link => "link",
        }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A word that names no permission.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{word:?} is no permission; they are {}", Permission::ALL.map(Permission::word).join(", "))]
pub struct UnknownPermission {
    /// What was written instead.
    pub word: String,
}

impl FromStr for Permission {
    type Err = UnknownPermission;

    fn from_str(word: &str) -> Result<Self, UnknownPermission> {
        Self::ALL
            .into_iter()
            .find(|p| p.word() == word)
            .ok_or_else(|| UnknownPermission {
                word: word.to_owned(),
            })
    }
}

impl May {
    /// Nothing at all.
    pub const NOTHING: Self = Self(0);

    /// Everything but making links.
    #[must_use]
    pub fn everything() -> Self {
        Permission::ALL
            .into_iter()
            .filter(|p| *p != Permission::Link)
            .collect()
    }

    /// Read and list.
    #[must_use]
    pub fn read_only() -> Self {
        [Permission::Read, Permission::List].into_iter().collect()
    }

    /// Whether `permission` is in the set.
    #[must_use]
    pub fn allows(self, permission: Permission) -> bool {
        self.0 & (1 << permission as u16) != 0
    }
}

impl FromIterator<Permission> for May {
    fn from_iter<I: IntoIterator<Item = Permission>>(permissions: I) -> Self {
        Self(permissions.into_iter().fold(0, |bits, p| bits | 1 << p as u16))
    }
}

#[cfg(test)]
mod tests;
