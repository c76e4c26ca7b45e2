//! The local disk beneath one directory.

use std::path::Path;
use std::time::Duration;

use crate::Result;

/// Files of the local file system beneath a root directory that no name leads out of.
#[derive(Debug)]
pub struct Local {}

/// What a 226 promises about power loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// File and directory are on stable storage before the upload is published.
    #[default]
    Safe,
    /// They are handed to the kernel, no more.
    Fast,
}

/// Settings of [`Local`].
#[derive(Debug, Clone)]
pub struct Options {
    /// See [`Durability`].
    pub durability: Durability,
    /// Unfinished parts older than this are swept when their directory is written to.
    pub keep_parts: Duration,
}

impl Local {
    /// Opens the root.
    ///
    /// # Errors
    /// When it is not a directory or cannot be opened.
    pub fn open(_root: &Path, _options: Options) -> Result<Self> {
        Err(crate::ErrorKind::Unsupported.into())
    }
}
