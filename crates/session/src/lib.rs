//! One visitor: who, what they may do to which file, how much, and who is told.
//!
//! Every protocol goes through [`Session`]: one permission check for each operation, whatever the verb was.

pub mod account;
pub mod auth;
pub mod limits;

use std::sync::Arc;
use std::time::SystemTime;

use pasarela_dtp::Pace;
use pasarela_store::{Entry, ErrorKind, File, Metadata, Open, Pages, Storage, VirtualPath, Volume};

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
    /// The account lacks this permission; the store was not asked to do it.
    #[error("the account lacks the permission `{0}`")]
    Denied(Permission),
    /// The store could not.
    #[error(transparent)]
    Store(#[from] pasarela_store::Error),
}

/// What every operation of a session returns.
pub type Result<T> = std::result::Result<T, Error>;

impl Session {
    /// A session of this account, its transfers held to `pace`; where that is unbounded, to the account's own
    /// rates. To bound it by both, pass what [`Account::pace`] makes of the other buckets.
    #[must_use]
    pub fn new(account: Arc<Account>, pace: Pace) -> Self {
        let pace = if pace.is_unbounded() {
            account.pace([])
        } else {
            pace
        };
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
    pub async fn stat(&self, path: &VirtualPath) -> Result<Metadata> {
        Ok(self
            .with_either(Permission::List, Permission::Read)?
            .stat(path)
            .await?)
    }

    /// Describes an entry, links as links. Needs `list` or `read`.
    pub async fn stat_entry(&self, path: &VirtualPath) -> Result<Entry> {
        Ok(self
            .with_either(Permission::List, Permission::Read)?
            .stat_entry(path)
            .await?)
    }

    /// Lists a directory. Needs `list`.
    pub async fn list(&self, dir: &VirtualPath) -> Result<Box<dyn Pages>> {
        Ok(self.with(Permission::List)?.list(dir).await?)
    }

    /// Opens a file.
    ///
    /// Reading needs `read`; replacing and creating need `write`. Where a file stands, appending needs `append`,
    /// and so does resuming at its end; resuming before its end changes bytes that stand and needs `write`.
    /// Where none stands, either of the two will do: what is resumed then is an own part.
    pub async fn open(&self, path: &VirtualPath, how: Open) -> Result<Arc<dyn File>> {
        let storage = match how {
            Open::Read => self.with(Permission::Read)?,
            Open::Replace | Open::CreateNew => self.with(Permission::Write)?,
            Open::Append => self.with_for_extending(path, u64::MAX).await?,
            Open::Resume { offset } => self.with_for_extending(path, offset).await?,
        };
        Ok(storage.open(path, how).await?)
    }

    /// The length of an unpublished part. Needs `write` or `append`.
    pub async fn part(&self, path: &VirtualPath) -> Result<Option<u64>> {
        Ok(self
            .with_either(Permission::Write, Permission::Append)?
            .part(path)
            .await?)
    }

    /// Makes one directory. Needs `mkdir`.
    pub async fn make_dir(&self, path: &VirtualPath) -> Result<()> {
        Ok(self.with(Permission::Mkdir)?.make_dir(path).await?)
    }

    /// Removes a file or a link. Needs `delete`.
    pub async fn remove_file(&self, path: &VirtualPath) -> Result<()> {
        Ok(self.with(Permission::Delete)?.remove_file(path).await?)
    }

    /// Removes an empty directory. Needs `delete`.
    pub async fn remove_dir(&self, path: &VirtualPath) -> Result<()> {
        Ok(self.with(Permission::Delete)?.remove_dir(path).await?)
    }

    /// Renames. Needs `rename`; a file that stands under `to` is replaced only with `delete` as well, else it is
    /// [`ErrorKind::Exists`].
    pub async fn rename(&self, from: &VirtualPath, to: &VirtualPath) -> Result<()> {
        let replace = self.account.may.allows(Permission::Delete);
        Ok(self.with(Permission::Rename)?.rename(from, to, replace).await?)
    }

    /// Renames where nothing stands under `to`; else it is [`ErrorKind::Exists`]. Needs `rename`.
    pub async fn rename_new(&self, from: &VirtualPath, to: &VirtualPath) -> Result<()> {
        Ok(self.with(Permission::Rename)?.rename(from, to, false).await?)
    }

    /// Sets the modification time. Needs `attributes`.
    pub async fn set_modified(&self, path: &VirtualPath, to: SystemTime) -> Result<()> {
        Ok(self.with(Permission::Attributes)?.set_modified(path, to).await?)
    }

    /// Sets the permission bits. Needs `attributes`.
    pub async fn set_mode(&self, path: &VirtualPath, mode: u32) -> Result<()> {
        Ok(self.with(Permission::Attributes)?.set_mode(path, mode).await?)
    }

    /// Makes a symbolic link. Needs `link`, which no account has unless it says so.
    pub async fn make_link(&self, target: &[u8], link: &VirtualPath) -> Result<()> {
        Ok(self.with(Permission::Link)?.make_link(target, link).await?)
    }

    /// Bytes left for uploads. Needs `write`.
    pub async fn space(&self, dir: &VirtualPath) -> Result<Option<u64>> {
        Ok(self.with(Permission::Write)?.space(dir).await?)
    }

    /// The file system that holds a path. Needs `write`.
    pub async fn volume(&self, path: &VirtualPath) -> Result<Volume> {
        Ok(self.with(Permission::Write)?.volume(path).await?)
    }

    /// Whether the account has a permission that something done through an open file needs: `read` to read back
    /// what an upload goes on with, `write` to change bytes that stood before it, `attributes` to set its own.
    pub fn check(&self, permission: Permission) -> Result<()> {
        self.with(permission).map(|_| ())
    }

    /// The store, for an operation that needs `permission`: there is no other way to it.
    fn with(&self, permission: Permission) -> Result<&dyn Storage> {
        if self.account.may.allows(permission) {
            Ok(&*self.account.storage)
        } else {
            Err(Error::Denied(permission))
        }
    }

    /// The store, for an operation that needs one of two permissions.
    fn with_either(&self, one: Permission, other: Permission) -> Result<&dyn Storage> {
        self.with(one)
            .or_else(|denied| self.with(other).map_err(|_| denied))
    }

    /// The store, for an upload to `path` that keeps its first `kept` bytes; see [`Self::open`].
    async fn with_for_extending(&self, path: &VirtualPath, kept: u64) -> Result<&dyn Storage> {
        let storage = self.with_either(Permission::Append, Permission::Write)?;
        match storage.stat(path).await {
            Ok(standing) if kept < standing.size => self.with(Permission::Write),
            Ok(_) => self.with(Permission::Append),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(storage),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests;
