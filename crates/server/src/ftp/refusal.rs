//! From what a room below could not do to what the server-PI says about it.

use pasarela_ftp_proto::server_pi::Refusal;
use pasarela_session::Error as SessionError;
use pasarela_store::{BadPath, Error as StoreError, ErrorKind};
use tracing::{debug, warn};

use crate::hash::Failed;

pub(crate) fn of_session(error: &SessionError) -> Refusal {
    match error {
        SessionError::Denied(_) => Refusal::PermissionDenied,
        SessionError::Store(error) => of_store(error),
    }
}

pub(crate) fn of_store(error: &StoreError) -> Refusal {
    match error.kind {
        ErrorKind::NotFound => Refusal::NotFound,
        ErrorKind::PermissionDenied => Refusal::PermissionDenied,
        ErrorKind::Exists => Refusal::Exists,
        ErrorKind::IsDirectory => Refusal::IsDirectory,
        ErrorKind::NotADirectory => Refusal::NotADirectory,
        ErrorKind::NotAFile => Refusal::NotAFile,
        ErrorKind::NotEmpty => Refusal::NotEmpty,
        ErrorKind::BadName => Refusal::BadName,
        ErrorKind::PastEnd => Refusal::PastEnd,
        ErrorKind::NoSpace => Refusal::NoSpace,
        ErrorKind::QuotaExceeded => Refusal::QuotaExceeded,
        ErrorKind::Busy => Refusal::Busy,
        ErrorKind::Unsupported => Refusal::Unsupported,
        _ => {
            warn!(
                error = error.source.as_ref().map(tracing::field::display),
                "the store failed"
            );
            Refusal::Local
        }
    }
}

pub(crate) fn of_path(bad: BadPath) -> Refusal {
    match bad {
        BadPath::ControlByte | BadPath::TooLong => Refusal::BadName,
    }
}

pub(crate) fn of_digest(failed: Failed) -> Refusal {
    match failed {
        Failed::Store(error) => of_store(&error),
        Failed::Shrunk => Refusal::Shrunk,
        Failed::Stopping => Refusal::Local,
    }
}

pub(crate) fn of_transfer(error: &pasarela_dtp::Error) -> Refusal {
    use pasarela_dtp::Error as E;
    match error {
        E::Stalled => Refusal::Stalled,
        E::Broken(source) => {
            debug!(error = %source, "the data connection broke");
            Refusal::ConnectionBroken
        }
        E::Truncated => Refusal::Truncated,
        E::Shrunk => Refusal::Shrunk,
        E::BadEncoding => Refusal::BadEncoding,
        E::Store(error) => of_store(error),
        E::Source(error) => error.downcast_ref().map_or(Refusal::Local, of_session),
    }
}
