//! One visitor: who, what they may do to which file, how much, and who is told.
//!
//! Every protocol goes through [`Session`]: one permission check for each operation, whatever the verb was.

pub mod account;
pub mod auth;
pub mod limits;

use std::sync::Arc;
use std::time::SystemTime;

use pasarela_dtp::Pace;
use pasarela_store::{Entry, File, Metadata, Open, Pages, VirtualPath};

pub use account::{Account, May, Permission};

/// What one visitor may do; cheap to clone, so that a transfer can run beside the connection.
#[derive(Clone)]
pub struct Session {
    account: Arc<Account>,
    pace: Pace,
}

/// Why an operation was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The account lacks this permission; the store was not asked.
    #[error("the account may not {0:?}")]
    Denied(Permission),
    /// The store could not.
    #[error(transparent)]
    Store(#[from] pasarela_store::Error),
}

/// What every operation of a session returns.
pub type Result<T> = std::result::Result<T, Error>;

impl Session {
    /// A session of this account; its transfers are held to the account's rate and to `pace` besides.
    #[must_use]
    pub fn new(account: Arc<Account>, pace: Pace) -> Self {
        Self { account, pace }
    }

    /// Whose session it is.
    #[must_use]
    pub fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// What bounds the speed of its transfers.
    #[must_use]
    pub fn pace(&self) -> Pace {
        self.pace.clone()
    }

    /// Describes a file, links followed. Needs `list` or `read`.
    pub async fn stat(&self, _path: &VirtualPath) -> Result<Metadata> {
        Err(Error::Denied(Permission::List))
    }
    /// Describes an entry, links as links. Needs `list` or `read`.
    pub async fn stat_entry(&self, _path: &VirtualPath) -> Result<Entry> {
        Err(Error::Denied(Permission::List))
    }
    /// Lists a directory. Needs `list`.
    pub async fn list(&self, _dir: &VirtualPath) -> Result<Box<dyn Pages>> {
        Err(Error::Denied(Permission::List))
    }
    /// Opens for reading (needs `read`), replacing or creating (`write`), or appending and resuming
    /// (`append`, and where nothing stands yet or an own part is resumed, `write` does as well).
    pub async fn open(&self, _path: &VirtualPath, _how: Open) -> Result<Arc<dyn File>> {
        Err(Error::Denied(Permission::Read))
    }
    /// The length of an unpublished part. Needs `write` or `append`.
    pub async fn part(&self, _path: &VirtualPath) -> Result<Option<u64>> {
        Err(Error::Denied(Permission::Write))
    }
    /// Needs `mkdir`.
    pub async fn make_dir(&self, _path: &VirtualPath) -> Result<()> {
        Err(Error::Denied(Permission::Mkdir))
    }
    /// Needs `delete`.
    pub async fn remove_file(&self, _path: &VirtualPath) -> Result<()> {
        Err(Error::Denied(Permission::Delete))
    }
    /// Needs `delete`.
    pub async fn remove_dir(&self, _path: &VirtualPath) -> Result<()> {
        Err(Error::Denied(Permission::Delete))
    }
    /// Needs `rename`; replacing a file that stands under `to` needs `delete` as well.
    pub async fn rename(&self, _from: &VirtualPath, _to: &VirtualPath) -> Result<()> {
        Err(Error::Denied(Permission::Rename))
    }
    /// Needs `attributes`.
    pub async fn set_modified(&self, _path: &VirtualPath, _to: SystemTime) -> Result<()> {
        Err(Error::Denied(Permission::Attributes))
    }
    /// Needs `attributes`.
    pub async fn set_mode(&self, _path: &VirtualPath, _mode: u32) -> Result<()> {
        Err(Error::Denied(Permission::Attributes))
    }
    /// Needs `link`, which no account has unless it says so.
    pub async fn make_link(&self, _target: &[u8], _link: &VirtualPath) -> Result<()> {
        Err(Error::Denied(Permission::Link))
    }
    /// Bytes left for uploads. Needs `write`.
    pub async fn space(&self, _dir: &VirtualPath) -> Result<Option<u64>> {
        Err(Error::Denied(Permission::Write))
    }
}
