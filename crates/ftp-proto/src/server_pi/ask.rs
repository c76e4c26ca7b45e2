//! What the server-PI asks of its owner, and the slips on which the answers come back.

use std::marker::PhantomData;
use std::net::{SocketAddr, SocketAddrV4};
use std::time::SystemTime;

use bytes::Bytes;

use super::Refusal;
use crate::command::{DigestPart, Mode, Pathname, RepresentationType, Secret, Structure};
use crate::listing::facts::FactSet;
use crate::listing::options::Options;

/// A question. Each carries the slip on which its answer comes back.
#[derive(Debug)]
pub enum Ask {
    /// Who is this?
    Login(Pending<Result<LoggedIn, Refusal>>, Credentials),
    /// Send what was put out so far, then become the server of a TLS handshake on the control connection.
    /// The answer is whether it went well.
    StartTls(Pending<Result<(), Refusal>>),
    /// Open an endpoint for a data connection of the peer's, which will be protected or not.
    Passive(Pending<Result<SocketAddr, Refusal>>, Form, bool),
    /// Remember that the next data connection goes out to this address, which is the control peer's own.
    Active(Pending<Result<(), Refusal>>, SocketAddr),
    /// Check permission and open the file or directory; no byte moves before [`Ask::Run`].
    Open(Pending<Result<Opened, Refusal>>, Transfer),
    /// Make the data connection and move the bytes of what was opened.
    Run(Pending<Result<Done, Refusal>>),
    /// Everything else that touches files.
    File(Pending<Result<FileAnswer, Refusal>>, FileOp),
    /// The next lines of a listing that goes over the control connection; `Some` begins one.
    Status(Pending<Result<StatusPage, Refusal>>, Option<(Options, Pathname)>),
}

/// A slip: answered exactly once, with the type of its question.
#[must_use]
#[derive(Debug)]
pub struct Pending<A> {
    number: u64,
    _answer: PhantomData<fn(A)>,
}

impl<A> Pending<A>
where
    Body: From<A>,
{
    /// Fills the slip in.
    pub fn answer(self, answer: A) -> Answered {
        Answered {
            number: self.number,
            body: answer.into(),
        }
    }
}

/// A slip that has been filled in.
#[must_use]
#[derive(Debug)]
pub struct Answered {
    number: u64,
    body: Body,
}

/// The answers by type of question.
#[derive(Debug)]
#[doc(hidden)]
pub enum Body {
    Login(Result<LoggedIn, Refusal>),
    Plain(Result<(), Refusal>),
    Passive(Result<SocketAddr, Refusal>),
    Opened(Result<Opened, Refusal>),
    Done(Result<Done, Refusal>),
    File(Result<FileAnswer, Refusal>),
    Status(Result<StatusPage, Refusal>),
}

macro_rules! bodies {
    ($($variant:ident: $answer:ty),*) => {
        $(impl From<Result<$answer, Refusal>> for Body {
            fn from(answer: Result<$answer, Refusal>) -> Self {
                Self::$variant(answer)
            }
        })*
    };
}
bodies!(
    Login: LoggedIn, Plain: (), Passive: SocketAddr, Opened: Opened, Done: Done, File: FileAnswer,
    Status: StatusPage
);

/// Gives slips out and takes them back.
#[derive(Debug, Default)]
pub(super) struct Slips {
    open: u64,
    active: bool,
}

impl Slips {
    /// A new slip; all older ones are void.
    pub(super) fn issue<A>(&mut self) -> Pending<A> {
        self.open += 1;
        self.active = true;
        Pending {
            number: self.open,
            _answer: PhantomData,
        }
    }

    /// Nobody waits for the open slip any more.
    pub(super) fn void(&mut self) {
        self.active = false;
    }

    /// What the slip says, if it is the one that is waited for.
    pub(super) fn redeem(&mut self, answered: Answered) -> Option<Body> {
        let valid = self.active && answered.number == self.open;
        self.active &= !valid;
        valid.then_some(answered.body)
    }
}

/// What a visitor claims to be.
#[derive(Debug)]
pub struct Credentials {
    /// USER's argument.
    pub user: Vec<u8>,
    /// PASS's argument.
    pub password: Secret,
    /// Whether the control connection is protected.
    pub protected: bool,
}

/// A successful login.
#[derive(Debug)]
pub struct LoggedIn {
    /// Data connections must be protected.
    pub protect_data: bool,
}

/// How a passive endpoint is told to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// 227 with an IPv4 address.
    Pasv,
    /// 229 with a port.
    Epsv,
}

/// One transfer, from the command to its final reply.
#[derive(Debug, Clone)]
pub struct Transfer {
    /// What moves where.
    pub action: Action,
    /// How the bytes look on the wire.
    pub representation: Representation,
    /// The data connection is protected (PROT P).
    pub protected: bool,
}

/// What a transfer does.
#[derive(Debug, Clone)]
pub enum Action {
    /// RETR.
    Retrieve {
        /// Which file.
        path: Pathname,
        /// Which bytes of it.
        span: Span,
    },
    /// STOR. `offset` 0 is the whole file.
    Store {
        /// Which file.
        path: Pathname,
        /// REST's argument.
        offset: u64,
        /// ALLO's argument.
        announced: Option<u64>,
    },
    /// STOU.
    StoreUnique {
        /// A name to begin with.
        path: Option<Pathname>,
        /// ALLO's argument.
        announced: Option<u64>,
    },
    /// APPE.
    Append {
        /// Which file.
        path: Pathname,
        /// ALLO's argument.
        announced: Option<u64>,
    },
    /// LIST, or NLST when `names`.
    List {
        /// What `ls` was told.
        options: Options,
        /// Names alone.
        names: bool,
        /// Pathname or pattern; empty is the working directory.
        path: Pathname,
    },
    /// MLSD.
    ListFacts {
        /// Which directory; empty is the working directory.
        path: Pathname,
        /// What to tell.
        facts: FactSet,
    },
}

impl Action {
    /// Whether the client sends the bytes.
    #[must_use]
    pub fn is_upload(&self) -> bool {
        matches!(
            self,
            Self::Store { .. } | Self::StoreUnique { .. } | Self::Append { .. }
        )
    }

    /// The verb, for replies and logs.
    #[must_use]
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Retrieve { .. } => "RETR",
            Self::Store { .. } => "STOR",
            Self::StoreUnique { .. } => "STOU",
            Self::Append { .. } => "APPE",
            Self::List { names: false, .. } => "LIST",
            Self::List { names: true, .. } => "NLST",
            Self::ListFacts { .. } => "MLSD",
        }
    }
}

/// A span of a file in bytes: from `first`, up to but without `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// Where it begins.
    pub first: u64,
    /// Where it ends; `None` is the end of the file.
    pub end: Option<u64>,
}

/// How bytes look on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Representation {
    /// TYPE.
    pub kind: RepresentationType,
    /// STRU.
    pub structure: Structure,
    /// MODE.
    pub mode: Mode,
    /// The level of MODE Z, 0 to 9.
    pub level: u8,
}

/// What opening found.
#[derive(Debug, Default)]
pub struct Opened {
    /// Bytes that will move, if known; told in the 150 reply.
    pub size: Option<u64>,
    /// The name that STOU chose (RFC 1123 §4.1.2.9 puts it into the 150 reply).
    pub name: Option<Vec<u8>>,
}

/// A transfer that ended well.
#[derive(Debug, Clone, Copy)]
pub struct Done {
    /// Bytes of the file that moved.
    pub bytes: u64,
}

/// Everything that touches files but is no transfer.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "each is one verb, named by what it does")]
pub enum FileOp {
    ChangeDirectory(Pathname),
    ChangeToParent,
    MakeDirectory(Pathname),
    RemoveDirectory(Pathname),
    Delete(Pathname),
    RenameFrom(Pathname),
    Rename {
        from: Pathname,
        to: Pathname,
    },
    Size {
        path: Pathname,
        ascii: bool,
    },
    Modified(Pathname),
    SetModified {
        path: Pathname,
        modified: SystemTime,
    },
    SetFacts {
        path: Pathname,
        modified: Option<SystemTime>,
        mode: Option<u32>,
    },
    SetMode {
        path: Pathname,
        mode: u32,
    },
    MakeLink {
        target: Vec<u8>,
        link: Pathname,
    },
    Facts {
        path: Option<Pathname>,
        facts: FactSet,
    },
    Space(Option<Pathname>),
    Allocate(u64),
    /// A checksum of `span`, or of `part` when that reading of the argument is the one that names a file.
    Hash {
        path: Pathname,
        algorithm: HashAlgorithm,
        span: Span,
        part: Option<DigestPart>,
        form: HashForm,
    },
}

/// Which verb a checksum answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashForm {
    /// HASH: 213 with algorithm, range, digest and name.
    Hash,
    /// MD5 (draft-twine-ftpmd5): 251 with name and digest.
    Md5,
    /// XCRC and its kin: 250 with the digest.
    Bare,
}

/// An algorithm of HASH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum HashAlgorithm {
    Sha256,
    Sha512,
    Sha1,
    Md5,
    Crc32,
}

impl HashAlgorithm {
    /// All, in the order of FEAT.
    pub const ALL: [Self; 5] = [Self::Sha256, Self::Sha512, Self::Sha1, Self::Md5, Self::Crc32];

    /// Its name in HASH (IANA's registry of FTP hash algorithms).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SHA-256",
            Self::Sha512 => "SHA-512",
            Self::Sha1 => "SHA-1",
            Self::Md5 => "MD5",
            Self::Crc32 => "CRC32",
        }
    }
}

/// What a [`FileOp`] found; which variant belongs to which is said there.
#[derive(Debug)]
pub enum FileAnswer {
    /// It is done.
    Done,
    /// It is done, and this is the absolute pathname it was done to (CWD, CDUP, MKD).
    At(Vec<u8>),
    /// A number (SIZE, AVBL).
    Number(u64),
    /// A time (MDTM).
    Time(SystemTime),
    /// Facts and pathname, as they stand in the line (MLST).
    Facts(Vec<u8>),
    /// A checksum in lower-case hexadecimal, over `span` of the file (HASH and its kin).
    Hash {
        /// The digest.
        digest: String,
        /// What it covers, the end known by now.
        span: (u64, u64),
        /// The name as it was typed.
        path: Vec<u8>,
    },
}

/// Some lines of a listing over the control connection.
#[derive(Debug)]
pub struct StatusPage {
    /// Whole lines with their ends, safe to stand in a reply.
    pub lines: Bytes,
    /// Whether there are more.
    pub more: bool,
}

/// Only IPv4 can stand in a 227.
pub(super) fn ipv4(address: SocketAddr) -> Option<SocketAddrV4> {
    match address.ip().to_canonical() {
        std::net::IpAddr::V4(ip) => Some(SocketAddrV4::new(ip, address.port())),
        std::net::IpAddr::V6(_) => None,
    }
}
