//! What can go wrong with a file, told by kind so that callers can branch on it.

use std::io;

/// A failed operation of a backend.
#[derive(Debug, thiserror::Error)]
#[error("{kind:?}")]
pub struct Error {
    /// What it means for the caller.
    pub kind: ErrorKind,
    /// What the operating system said, where it was asked.
    #[source]
    pub source: Option<io::Error>,
}

/// What a failure means for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Nothing stands under that name.
    NotFound,
    /// The system (not the account's permissions) forbids it.
    PermissionDenied,
    /// Something stands under that name already.
    Exists,
    /// A directory, where a file is needed.
    IsDirectory,
    /// A file, where a directory is needed.
    NotADirectory,
    /// A device, pipe or socket, where a regular file is needed.
    NotAFile,
    /// The directory is not empty.
    NotEmpty,
    /// The name is too long, or one that the backend keeps for itself.
    BadName,
    /// The offset lies past the end of what is there.
    PastEnd,
    /// No space left on the device.
    NoSpace,
    /// The owner's quota is used up.
    QuotaExceeded,
    /// It is in use by somebody else just now.
    Busy,
    /// The backend cannot do this at all.
    Unsupported,
    /// Everything else, an I/O error above all.
    Io,
}

impl Error {
    /// A failure without a cause from the system.
    #[must_use]
    pub fn new(kind: ErrorKind) -> Self {
        Self { kind, source: None }
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self::new(kind)
    }
}

impl From<io::Error> for Error {
    /// Classifies by the system's error number.
    fn from(source: io::Error) -> Self {
        use ErrorKind as K;
        let kind = match source.raw_os_error() {
            Some(libc::ENOENT) => K::NotFound,
            Some(libc::EACCES | libc::EPERM | libc::EROFS) => K::PermissionDenied,
            Some(libc::EEXIST) => K::Exists,
            Some(libc::EISDIR) => K::IsDirectory,
            Some(libc::ENOTDIR) => K::NotADirectory,
            Some(libc::ENOTEMPTY) => K::NotEmpty,
            Some(libc::ENAMETOOLONG | libc::ELOOP | libc::EILSEQ) => K::BadName,
            Some(libc::ENOSPC) => K::NoSpace,
            Some(libc::EDQUOT | libc::EFBIG) => K::QuotaExceeded,
            Some(libc::EBUSY | libc::ETXTBSY) => K::Busy,
            Some(libc::EOPNOTSUPP | libc::ENOSYS) => K::Unsupported,
            _ => K::Io,
        };
        Self {
            kind,
            source: Some(source),
        }
    }
}
