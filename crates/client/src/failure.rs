//! Why something could not be done on the other side, in a plain sentence, with what to do about it.

use std::fmt;
use std::io;

use pasarela_ftp_proto::user_pi::{BadText, Fault, Reply};
use pasarela_store::{Error, ErrorKind};
use pasarela_tls::TrustError;

use crate::HostKeyError;

/// A failed operation of a remote place. Displays as a sentence and, where there is something to do, a `hint:` line.
#[derive(Debug, Clone)]
pub struct Failure {
    /// What it means for the caller.
    pub kind: FailureKind,
    /// What happened.
    pub sentence: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// What a server of FTP said.
    pub reply: Option<Reply>,
    /// The status by which a server of SFTP refused.
    pub status: Option<u32>,
    /// Why the server was not believed to be the one that it says it is.
    pub distrust: Option<Box<TrustError>>,
    /// Why the server's host key was not believed.
    pub host_key: Option<Box<HostKeyError>>,
    /// Another try would end in the same way.
    pub is_lasting: bool,
}

/// What a failure means for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureKind {
    /// What was asked for cannot be asked.
    Usage,
    /// No connection.
    Connect,
    /// The connection broke.
    Lost,
    /// The login was refused.
    Login,
    /// No protection, or no trust.
    Tls,
    /// No data connection.
    Data,
    /// Nothing stands under that name.
    NotFound,
    /// The server forbids it.
    Permission,
    /// No space, or the quota is used up.
    Space,
    /// What arrived is not what was sent.
    Verify,
    /// It took too long.
    Timeout,
    /// Something stands under that name already.
    Exists,
    /// A directory, where a file is needed.
    IsDirectory,
    /// A file, where a directory is needed.
    NotADirectory,
    /// The directory is not empty.
    NotEmpty,
    /// The server does not take that name.
    BadName,
    /// The offset lies past the end.
    PastEnd,
    /// Not now, perhaps later.
    Busy,
    /// The server cannot do this.
    Unsupported,
    /// The server does not keep to the protocol.
    Protocol,
    /// Everything else.
    Other,
}

impl FailureKind {
    /// The exit code of a program that ends because of it.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Usage => 2,
            Self::Connect | Self::Lost => 3,
            Self::Login => 4,
            Self::Tls => 5,
            Self::Data => 6,
            Self::NotFound => 7,
            Self::Permission => 8,
            Self::Space => 9,
            Self::Verify => 10,
            Self::Timeout => 12,
            _ => 1,
        }
    }

    /// Whether the control connection is gone, so that nothing more can be learned from it.
    pub(crate) fn is_lost(self) -> bool {
        matches!(self, Self::Lost | Self::Timeout)
    }
}

impl Failure {
    /// A failure of this kind, as a plain sentence; without a hint, and not the words of a server.
    pub fn new(kind: FailureKind, sentence: impl Into<String>) -> Self {
        Self {
            kind,
            sentence: sentence.into(),
            hint: advice(kind).map(str::to_owned),
            reply: None,
            status: None,
            distrust: None,
            host_key: None,
            is_lasting: false,
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same, as another kind; its hint is of no use then.
    pub(crate) fn meant(self, kind: FailureKind) -> Self {
        let hint = match kind == self.kind {
            true => self.hint,
            false => advice(kind).map(str::to_owned),
        };
        Self { kind, hint, ..self }
    }

    /// The failure inside of an error of a remote's operation.
    #[must_use]
    pub fn of(error: &Error) -> Option<&Self> {
        error.source.as_ref()?.get_ref()?.downcast_ref()
    }

    /// What a refusal means; `doing` completes "the server refused to …".
    pub(crate) fn refused(doing: &str, reply: Reply) -> Self {
        let kind = kind_of(&reply);
        Self {
            sentence: format!("the server refused to {doing}: {reply}"),
            kind,
            hint: hint_of(kind, &reply),
            reply: Some(reply),
            status: None,
            distrust: None,
            host_key: None,
            is_lasting: false,
        }
    }
}

/// Servers say most of it with 550 (RFC 959 has no other), so its words have to tell. Wherever it matters the caller
/// looks for itself instead.
fn kind_of(reply: &Reply) -> FailureKind {
    use FailureKind as K;
    let text = String::from_utf8_lossy(reply.text()).to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    match reply.code {
        425 => K::Data,
        421 | 426 => K::Lost,
        450 if says(&["quota", "no space", "disk full"]) => K::Space,
        450 => K::Busy,
        452 | 552 => K::Space,
        500 | 502 | 504 => K::Unsupported,
        501 | 503 => K::Usage,
        522 => K::Tls,
        530 | 532 => K::Login,
        521 | 533 | 534 | 536 => K::Tls,
        550 | 553 | 451 | 551 => match () {
            () if says(&[
                "no such",
                "not found",
                "doesn't exist",
                "does not exist",
                "cannot find",
            ]) =>
            {
                K::NotFound
            }
            () if says(&[
                "permission",
                "denied",
                "not allowed",
                "forbidden",
                "read-only",
                "prohibited",
                "could not create",
                "privileges",
            ]) =>
            {
                K::Permission
            }
            () if says(&["not empty"]) => K::NotEmpty,
            () if says(&["exists"]) => K::Exists,
            () if says(&["not a directory"]) => K::NotADirectory,
            () if says(&["is a directory", "not a plain file", "not a regular file"]) => K::IsDirectory,
            () if says(&["no space", "quota", "disk full"]) => K::Space,
            () if reply.code == 553 => K::BadName,
            () if reply.code == 550 => K::NotFound,
            () => K::Other,
        },
        _ => K::Other,
    }
}

fn hint_of(kind: FailureKind, reply: &Reply) -> Option<String> {
    let text = String::from_utf8_lossy(reply.text()).to_ascii_lowercase();
    let hint = match kind {
        FailureKind::Tls | FailureKind::Data if text.contains("reuse") || text.contains("resum") => {
            "the server wants the TLS session of the control connection on data connections; it gave no usable ticket"
        }
        FailureKind::Data => "the server could not open the data connection; its firewall may be in the way",
        FailureKind::Login => "check the user name and the password",
        kind => return advice(kind).map(str::to_owned),
    };
    Some(hint.to_owned())
}

/// What to do about a failure of a kind, whatever the server said.
fn advice(kind: FailureKind) -> Option<&'static str> {
    Some(match kind {
        FailureKind::NotFound => {
            "look what there is in the folder; a path begins at the folder after login, with %2F or // at the top"
        }
        FailureKind::Permission => {
            "this login may not do it: log in as somebody who may, or ask the operator"
        }
        FailureKind::Space => "make room on the server, then resume the transfer",
        FailureKind::Lost => "try again later; what has arrived can be gone on with",
        FailureKind::Timeout => "the server or the network stalls; try again later, or wait longer",
        FailureKind::Verify => "transfer it again; where that fails too, something changes it on the way",
        FailureKind::Busy => "somebody else uses it just now: try again later",
        FailureKind::IsDirectory => "name a file in it, or copy it with all that it holds",
        FailureKind::NotEmpty => "remove what it holds first",
        FailureKind::BadName => "the server does not take this name: choose another one",
        _ => return None,
    })
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.sentence)?;
        match &self.hint {
            Some(hint) => write!(out, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}

impl From<BadText> for Failure {
    fn from(_: BadText) -> Self {
        Self::new(
            FailureKind::Usage,
            "a name or password holds a line end or a NUL, which FTP cannot send",
        )
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        let sentence = fault.to_string();
        let kind = match &fault {
            Fault::Silent => FailureKind::Timeout,
            Fault::Closed | Fault::Goodbye(_) => FailureKind::Lost,
            Fault::BytesBehindAuth => FailureKind::Tls,
            _ => FailureKind::Protocol,
        };
        let mut failure = Self::new(kind, sentence);
        match fault {
            Fault::Goodbye(reply) => failure.reply = Some(reply),
            Fault::NotFtp(said) if said.starts_with(b"SSH-") => {
                failure.hint = Some("this is an SSH server: try sftp://".to_owned());
            }
            Fault::NotFtp(said) if said.first() == Some(&0x15) || said.first() == Some(&0x16) => {
                failure.hint = Some("this port speaks TLS from the first byte: try ftps://".to_owned());
            }
            _ => {}
        }
        failure
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        use FailureKind as F;
        let kind = match failure.kind {
            F::NotFound => ErrorKind::NotFound,
            F::Permission | F::Login => ErrorKind::PermissionDenied,
            F::Exists => ErrorKind::Exists,
            F::IsDirectory => ErrorKind::IsDirectory,
            F::NotADirectory => ErrorKind::NotADirectory,
            F::NotEmpty => ErrorKind::NotEmpty,
            F::BadName => ErrorKind::BadName,
            F::PastEnd => ErrorKind::PastEnd,
            F::Space => ErrorKind::NoSpace,
            F::Busy => ErrorKind::Busy,
            F::Unsupported => ErrorKind::Unsupported,
            _ => ErrorKind::Io,
        };
        Self {
            kind,
            source: Some(io::Error::other(failure)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_survives_the_way_through_the_store() {
        let reply = Reply {
            code: 550,
            lines: vec![b"/a: No such file".to_vec()],
        };
        let error = Error::from(Failure::refused("open it", reply));
        assert_eq!(error.kind, ErrorKind::NotFound);
        let failure = Failure::of(&error).unwrap();
        assert_eq!(failure.kind.exit_code(), 7);
        assert!(Failure::of(&ErrorKind::Io.into()).is_none());
    }

    #[test]
    fn what_answers_instead_of_ftp_gets_its_hint() {
        let failure = Failure::from(Fault::NotFtp(b"SSH-2.0-x".to_vec()));
        assert!(failure.to_string().contains("\nhint: "), "{failure}");
    }
}
