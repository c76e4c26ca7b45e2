//! Why a transfer failed, and at which end.

use std::fmt;

use pasarela_store as store;
use store::ErrorKind;

use super::may_pass;
use crate::digest::Algorithm;
use crate::{Failure, FailureKind};

/// One end of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Where files come from.
    Source,
    /// Where they go.
    Target,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source => "source",
            Self::Target => "target",
        })
    }
}

/// Why a file was not transferred.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A place failed.
    #[error("{end}: {}", sentence(error))]
    Place {
        /// Which.
        end: End,
        /// How.
        #[source]
        error: store::Error,
    },
    /// The source's length is not known, so nothing could tell whether all has come.
    #[error("the source does not tell how long the file is\nhint: only a server with SIZE or MLST tells it")]
    SizeUnknown,
    /// The file at the source became another one meanwhile.
    #[error(
        "the file changed at the source while it was copied\nhint: copy it again when nobody writes to it"
    )]
    Changed,
    /// The source ended before its length.
    #[error("the source ended after {got} of {expected} bytes\nhint: copy it again when nobody writes to it")]
    Short {
        /// The length that it told.
        expected: u64,
        /// What came.
        got: u64,
    },
    /// The source has more than its length.
    #[error(
        "the source sent more than the {expected} bytes that it had told\nhint: copy it again when nobody writes to it"
    )]
    Long {
        /// The length that it told.
        expected: u64,
    },
    /// What stands at the target has another length.
    #[error(
        "the target has {found} bytes, and {expected} were written\nhint: copy it again; where that fails too, the target changes or refuses what it is given"
    )]
    SizeDiffers {
        /// What was written.
        expected: u64,
        /// What stands there.
        found: u64,
    },
    /// The digest of what was transferred is not that which an end computed.
    #[error(
        "the {algorithm} of what was transferred differs from that of the file at the {end}\nhint: copy it again; where that fails too, something changes it on the way"
    )]
    DigestDiffers {
        /// The end that was asked.
        end: End,
        /// What was computed.
        algorithm: Algorithm,
    },
    /// Ranges that were uploaded at once did not become the file.
    #[error("what the target made of the ranges is not the file\nhint: send it in one piece")]
    RangesDiffer,
    /// A check by digest was demanded, and an end cannot compute any that we know.
    #[error(
        "no digest can be had of both ends, so the file cannot be verified by one\nhint: verify it by its size"
    )]
    Unverifiable,
    /// It was told to stop.
    #[error("stopped")]
    Stopped,
}

impl Error {
    /// A failure of the source.
    pub(crate) fn source(error: impl Into<store::Error>) -> Self {
        let (end, error) = (End::Source, error.into());
        Self::Place { end, error }
    }

    /// A failure of the target.
    pub(crate) fn target(error: impl Into<store::Error>) -> Self {
        let (end, error) = (End::Target, error.into());
        Self::Place { end, error }
    }

    /// Whether it may go better another time.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Place { error, .. } if may_pass(error))
    }

    /// Whether it may come from what was known of the source and is so no more.
    pub(crate) fn may_be_stale(&self) -> bool {
        let is_other = |failure: &Failure| failure.kind == FailureKind::Verify;
        match self {
            Self::Place { error, .. } => {
                Failure::of(error).is_some_and(is_other) || error.kind == ErrorKind::PastEnd
            }
            Self::Changed => true,
            other => other.is_verification(),
        }
    }

    /// Whether what was transferred is not what it should be.
    #[must_use]
    pub fn is_verification(&self) -> bool {
        matches!(
            self,
            Self::Short { .. }
                | Self::Long { .. }
                | Self::SizeDiffers { .. }
                | Self::DigestDiffers { .. }
                | Self::RangesDiffer
                | Self::Unverifiable
        )
    }
}

/// A place's failure in words: its own where it has some, otherwise what its kind means.
#[must_use]
pub fn sentence(error: &store::Error) -> String {
    if let Some(source) = error.source.as_ref()
        && source.get_ref().is_some()
    {
        return source.to_string();
    }
    let words = match error.kind {
        ErrorKind::NotFound => "there is no such file or folder",
        ErrorKind::PermissionDenied => "permission denied",
        ErrorKind::Exists => "something stands under that name already",
        ErrorKind::IsDirectory => "it is a folder",
        ErrorKind::NotADirectory => "it is no folder",
        ErrorKind::NotAFile => "it is no regular file",
        ErrorKind::NotEmpty => "the folder is not empty",
        ErrorKind::BadName => "the name cannot be used here",
        ErrorKind::PastEnd => "the file is shorter than that",
        ErrorKind::NoSpace => "no space left\nhint: make room, then go on with what has arrived",
        ErrorKind::QuotaExceeded => "the quota is used up\nhint: make room, then go on with what has arrived",
        ErrorKind::Busy => "it is in use just now",
        ErrorKind::Unsupported => "this cannot be done there",
        _ => {
            return error
                .source
                .as_ref()
                .map_or_else(|| "an input/output error".into(), ToString::to_string);
        }
    };
    words.into()
}
