//! From what a room below could not do to the status that a client gets.

use pasarela_session::Error as SessionError;
use pasarela_sftp_proto::{Status, StatusCode};
use pasarela_store::{BadPath, Error as StoreError, ErrorKind};
use tracing::warn;

use crate::hash;

/// A status with words that are always the same.
pub(super) fn of(code: StatusCode, words: &'static str) -> Status {
    Status::new(code, words)
}

pub(super) fn failure(words: &'static str) -> Status {
    of(StatusCode::Failure, words)
}

pub(super) fn unsupported() -> Status {
    of(StatusCode::OpUnsupported, "this server cannot do that")
}

pub(super) fn no_such_handle() -> Status {
    failure("no such handle is open")
}

pub(super) fn of_session(error: SessionError) -> Status {
    match error {
        SessionError::Denied(permission) => Status::new(
            StatusCode::PermissionDenied,
            format!("the account lacks the permission `{permission}`"),
        ),
        SessionError::Store(error) => of_store(&error),
    }
}

/// The codes are those that OpenSSH gives for the same errors: clients branch on them.
pub(super) fn of_store(error: &StoreError) -> Status {
    let (code, words) = match error.kind {
        ErrorKind::NotFound => (StatusCode::NoSuchFile, "no such file"),
        ErrorKind::NotADirectory => (StatusCode::NoSuchFile, "not a directory"),
        ErrorKind::PermissionDenied => (StatusCode::PermissionDenied, "the system does not allow it"),
        ErrorKind::Exists => (StatusCode::Failure, "it exists already"),
        ErrorKind::IsDirectory => (StatusCode::Failure, "it is a directory"),
        ErrorKind::NotAFile => (StatusCode::Failure, "it is no regular file"),
        ErrorKind::NotEmpty => (StatusCode::Failure, "the directory is not empty"),
        ErrorKind::BadName => (StatusCode::Failure, "such a name cannot be"),
        ErrorKind::PastEnd => (StatusCode::Failure, "that is past the end of the file"),
        ErrorKind::NoSpace => (StatusCode::Failure, "no space is left"),
        ErrorKind::QuotaExceeded => (StatusCode::Failure, "the quota is used up"),
        ErrorKind::Busy => (StatusCode::Failure, "it is being written just now"),
        ErrorKind::Unsupported => return unsupported(),
        _ => {
            warn!(
                error = error.source.as_ref().map(tracing::field::display),
                "the store failed"
            );
            (StatusCode::Failure, "the server failed")
        }
    };
    of(code, words)
}

/// Nothing can stand under such a name.
pub(super) fn of_path(bad: BadPath) -> Status {
    match bad {
        BadPath::ControlByte => of(StatusCode::NoSuchFile, "a control byte in a name"),
        BadPath::TooLong => of(StatusCode::NoSuchFile, "the name is too long"),
    }
}

pub(super) fn of_digest(failed: hash::Failed) -> Status {
    match failed {
        hash::Failed::Store(error) => of_store(&error),
        hash::Failed::Shrunk => failure("the file became shorter meanwhile"),
        hash::Failed::Stopping => failure("the server is stopping"),
    }
}
