//! A server that a command is connected to, whatever leads to it.

use std::sync::Arc;

use pasarela_client::{FtpRemote, Remote, SftpRemote};
use pasarela_store::{Result, VirtualPath};

/// A server, connected and logged in. A clone is the same one.
#[derive(Clone)]
pub(super) enum Server {
    /// By FTP or FTPS.
    Ftp(FtpRemote),
    /// By SFTP.
    Sftp(SftpRemote),
}

impl Server {
    /// Its files.
    pub(super) fn remote(&self) -> Arc<dyn Remote> {
        match self {
            Self::Ftp(remote) => Arc::new(remote.clone()),
            Self::Sftp(remote) => Arc::new(remote.clone()),
        }
    }

    /// The path that `typed` means from the directory after login.
    pub(super) async fn resolve(&self, typed: &[u8]) -> Result<VirtualPath> {
        match self {
            Self::Ftp(remote) => remote.resolve(typed).await,
            Self::Sftp(remote) => remote.resolve(typed).await,
        }
    }
}
