//! How a request ended, where its answer is no data (filexfer-02 §7).

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

use crate::wire::{Fields, Short, put_string};

/// A STATUS response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// What it means for a program.
    pub code: StatusCode,
    /// What it means for a person, UTF-8; some servers send none.
    pub message: Bytes,
    /// The language of the message (RFC 3066); mostly empty.
    pub language: Bytes,
}

/// What a status means for a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StatusCode {
    /// It was done.
    Ok,
    /// The end of the file, or of the directory.
    Eof,
    /// Nothing stands under that name.
    NoSuchFile,
    /// It is not allowed.
    PermissionDenied,
    /// Everything else.
    Failure,
    /// The packet was not understood.
    BadMessage,
    /// There is no connection; a client says so to itself.
    NoConnection,
    /// The connection was lost; a client says so to itself.
    ConnectionLost,
    /// The server cannot do this at all.
    OpUnsupported,
    /// A code of a later version of the protocol.
    Other(u32),
}

impl StatusCode {
    /// As it is sent.
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            Self::Ok => 0,
            Self::Eof => 1,
            Self::NoSuchFile => 2,
            Self::PermissionDenied => 3,
            Self::Failure => 4,
            Self::BadMessage => 5,
            Self::NoConnection => 6,
            Self::ConnectionLost => 7,
            Self::OpUnsupported => 8,
            Self::Other(number) => number,
        }
    }
}

impl From<u32> for StatusCode {
    fn from(number: u32) -> Self {
        match number {
            0 => Self::Ok,
            1 => Self::Eof,
            2 => Self::NoSuchFile,
            3 => Self::PermissionDenied,
            4 => Self::Failure,
            5 => Self::BadMessage,
            6 => Self::NoConnection,
            7 => Self::ConnectionLost,
            8 => Self::OpUnsupported,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "done",
            Self::Eof => "end of file",
            Self::NoSuchFile => "no such file",
            Self::PermissionDenied => "permission denied",
            Self::Failure => "failure",
            Self::BadMessage => "bad message",
            Self::NoConnection => "no connection",
            Self::ConnectionLost => "connection lost",
            Self::OpUnsupported => "operation unsupported",
            Self::Other(number) => return write!(f, "status {number}"),
        })
    }
}

impl Status {
    /// A status with a message in English.
    #[must_use]
    pub fn new(code: StatusCode, message: impl Into<Bytes>) -> Self {
        Self {
            code,
            message: message.into(),
            language: Bytes::from_static(b"en"),
        }
    }

    /// It was done.
    #[must_use]
    pub fn ok() -> Self {
        Self::new(StatusCode::Ok, "done")
    }

    pub(crate) fn put(&self, out: &mut BytesMut) {
        out.put_u32(self.code.number());
        put_string(out, &self.message);
        put_string(out, &self.language);
    }

    /// Servers of the protocol's second version send the code alone.
    pub(crate) fn read(fields: &mut Fields) -> Result<Self, Short> {
        let code = fields.u32()?.into();
        let mut text = || match fields.is_empty() {
            true => Ok(Bytes::new()),
            false => fields.string(),
        };
        Ok(Self {
            code,
            message: text()?,
            language: text()?,
        })
    }
}
