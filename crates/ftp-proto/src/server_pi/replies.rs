//! Every number and every word that this server says (RFC 959 §4.2, RFC 2228 §5, RFC 3659, RFC 4217).
//!
//! Codes are named by meaning. What comes from outside stands behind words of ours, never at the start.

use std::net::SocketAddrV4;

use bytes::Bytes;

use super::ask::{Action, Done, FileAnswer, FileOp, HashAlgorithm, HashForm, Opened, Transfer};
use crate::address::{extended_passive_text, passive_text};
use crate::command::BadCommand;
use crate::listing::facts::FactSet;
use crate::reply::{Reply, quoted};
use crate::time::time_val;

/// Why something was not done, in the words of neither the store nor the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// Name or password is wrong.
    WrongCredentials,
    /// The account needs TLS and the control connection has none.
    TlsRequired,
    /// Too many sessions of that user.
    TooManySessions,
    /// Too many logins are being checked at once; this one was not.
    TooManyLogins,
    /// Nothing stands under that name.
    NotFound,
    /// The account may not do this.
    PermissionDenied,
    /// Something stands under that name.
    Exists,
    /// A directory, where a file is needed.
    IsDirectory,
    /// A file, where a directory is needed.
    NotADirectory,
    /// Not a regular file.
    NotAFile,
    /// The directory is not empty.
    NotEmpty,
    /// A name that cannot be one.
    BadName,
    /// An offset past the end of the file.
    PastEnd,
    /// No space left.
    NoSpace,
    /// The quota is used up.
    QuotaExceeded,
    /// In use by somebody else.
    Busy,
    /// Not with this kind of file or storage.
    Unsupported,
    /// SIZE in TYPE A of a file that is too large to be counted through.
    TooLargeForAscii,
    /// No endpoint can be opened just now; the text says why.
    Unreachable(String),
    /// The way that this session came carries protected data alone; the text says why.
    ProtectionNeeded(String),
    /// The data connection did not come, or could not be told from others; the text says why.
    NoDataConnection(String),
    /// The data connection did not prove that it belongs to this session.
    NotResumed,
    /// The TLS handshake of the data connection failed.
    DataTls,
    /// The data connection broke.
    ConnectionBroken,
    /// No byte moved for too long.
    Stalled,
    /// The data connection ended without the sign that everything was sent.
    Truncated,
    /// Fewer bytes came than ALLO had announced.
    Short,
    /// The file became shorter while it was sent.
    Shrunk,
    /// What came does not follow the grammar of MODE Z or STRU R.
    BadEncoding,
    /// An error of this machine.
    Local,
}

/// A reply of fixed words.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fixed(u16, &'static str);

impl From<Fixed> for Reply {
    fn from(fixed: Fixed) -> Self {
        Self::new(fixed.0, fixed.1)
    }
}

pub(super) const TYPE_ASCII: Fixed = Fixed(200, "Type is A.");
pub(super) const TYPE_IMAGE: Fixed = Fixed(200, "Type is I.");
pub(super) const STRU: Fixed = Fixed(200, "Structure is set.");
pub(super) const MODE: Fixed = Fixed(200, "Mode is set.");
pub(super) const NOOP: Fixed = Fixed(200, "Here.");
pub(super) const ACTIVE: Fixed = Fixed(200, "I will connect there.");
pub(super) const EPSV_ALL: Fixed = Fixed(200, "EPSV only from now on.");
pub(super) const PBSZ: Fixed = Fixed(200, "PBSZ=0");
pub(super) const PROT_PRIVATE: Fixed = Fixed(200, "Data connections are protected.");
pub(super) const PROT_CLEAR: Fixed = Fixed(200, "Data connections are in the clear.");
pub(super) const CLNT: Fixed = Fixed(200, "Noted.");
pub(super) const CSID: Fixed = Fixed(200, "Name=Pasarela; CaseSensitive=1; DirSep=/;");
pub(super) const LANG: Fixed = Fixed(200, "English it is.");
pub(super) const OPTS_UTF8: Fixed = Fixed(200, "Names are UTF-8, and any other bytes go through unchanged.");
pub(super) const OPTS_MODE_Z: Fixed = Fixed(200, "Level is set.");
pub(super) const ACCT: Fixed = Fixed(202, "No account is needed.");
pub(super) const LISTING_END: Fixed = Fixed(213, "End.");
pub(super) const SYST: Fixed = Fixed(215, "UNIX Type: L8");
pub(super) const HOST_FOUND: Fixed = Fixed(220, "Host accepted.");
pub(super) const GOODBYE: Fixed = Fixed(221, "Goodbye.");
pub(super) const ABORT_NOTHING: Fixed = Fixed(225, "No transfer to abort.");
pub(super) const ABORT_ENDPOINT: Fixed = Fixed(225, "No transfer to abort; the data endpoint is closed.");
pub(super) const ABORT_DONE: Fixed = Fixed(226, "Abort done.");
pub(super) const LOGGED_IN: Fixed = Fixed(230, "Logged in.");
pub(super) const ALREADY_LOGGED_IN: Fixed = Fixed(230, "Already logged in.");
pub(super) const START_TLS: Fixed = Fixed(234, "Begin the TLS handshake.");
pub(super) const PASSWORD_PLEASE: Fixed = Fixed(331, "Password, please.");
pub(super) const RANGE_RESET: Fixed = Fixed(350, "Range is off.");
pub(super) const IDLE: Fixed = Fixed(421, "Idle for too long; closing.");
pub(super) const LOGIN_TIMEOUT: Fixed = Fixed(421, "Not logged in in time; closing.");
pub(super) const SHUTTING_DOWN: Fixed = Fixed(421, "The server is shutting down.");
pub(super) const BYTES_BEHIND_AUTH: Fixed = Fixed(421, "Bytes stood behind AUTH in the clear; closing.");
pub(super) const NO_ENDPOINT_YET: Fixed = Fixed(425, "Use EPSV or PASV first.");
pub(super) const ABORTED: Fixed = Fixed(426, "Transfer aborted.");
pub(super) const LINE_TOO_LONG: Fixed = Fixed(500, "That line is too long.");
pub(super) const NOT_YOUR_ADDRESS: Fixed = Fixed(501, "Only your own address, and no port below 1024.");
pub(super) const OPTS_VALUE: Fixed = Fixed(501, "No such value for that option.");
pub(super) const OPTS_UNKNOWN: Fixed = Fixed(501, "That command has no options.");
pub(super) const REST_IN_ASCII: Fixed = Fixed(501, "Not in TYPE A; send TYPE I first.");
pub(super) const AUTH_NOT_OFFERED: Fixed = Fixed(502, "TLS is not offered here.");
pub(super) const NO_ACTIVE_MODE: Fixed = Fixed(502, "Active mode is off; use EPSV or PASV.");
pub(super) const NOT_IMPLEMENTED: Fixed = Fixed(502, "Not implemented.");
pub(super) const USER_FIRST: Fixed = Fixed(503, "USER first.");
pub(super) const RNFR_FIRST: Fixed = Fixed(503, "RNFR first.");
pub(super) const PBSZ_FIRST: Fixed = Fixed(503, "PBSZ first.");
pub(super) const HOST_TOO_LATE: Fixed = Fixed(503, "HOST comes before USER.");
pub(super) const PROTECTION_NEEDS_AUTH: Fixed = Fixed(503, "AUTH TLS first.");
pub(super) const ALREADY_PROTECTED: Fixed = Fixed(503, "TLS is on already.");
pub(super) const NO_REST_HERE: Fixed = Fixed(503, "Neither REST nor RANG goes with that command.");
pub(super) const NO_RANGE_HERE: Fixed = Fixed(503, "RANG goes with RETR and HASH only.");
pub(super) const EXTENDED_ONLY: Fixed = Fixed(503, "You said EPSV ALL.");
pub(super) const AUTH_MECHANISM: Fixed = Fixed(504, "AUTH TLS is the one there is.");
pub(super) const HOST_UNKNOWN: Fixed = Fixed(504, "No such host here.");
pub(super) const LANG_UNKNOWN: Fixed = Fixed(504, "Replies are in English only.");
pub(super) const PROT_FIRST: Fixed = Fixed(521, "Data connections must be protected; send PROT P.");
pub(super) const EPSV_ONLY_IPV4: Fixed = Fixed(522, "This is an IPv4 connection, use (1)");
pub(super) const EPSV_ONLY_IPV6: Fixed = Fixed(522, "This is an IPv6 connection, use (2)");
pub(super) const LOG_IN_FIRST: Fixed = Fixed(530, "Log in with USER and PASS.");
pub(super) const AUTH_FIRST: Fixed = Fixed(530, "Protect the connection first: AUTH TLS.");
pub(super) const CCC: Fixed = Fixed(533, "The control connection stays protected.");
pub(super) const PROT_CLEAR_REFUSED: Fixed = Fixed(534, "Data connections must be protected: PROT P.");
pub(super) const PROT_LEVEL: Fixed = Fixed(536, "TLS knows PROT C and PROT P.");

pub(super) fn greeting(text: &str) -> Reply {
    Reply::new(220, text)
}

pub(super) fn bad_command(bad: BadCommand) -> Reply {
    match bad {
        BadCommand::Unknown => Reply::new(500, "What is that?"),
        BadCommand::Foreign => Reply::new(500, "This is FTP; closing."),
        BadCommand::NotImplemented => NOT_IMPLEMENTED.into(),
        BadCommand::Argument => Reply::new(501, "The argument is not right."),
        BadCommand::Parameter => Reply::new(504, "Not with that parameter."),
        BadCommand::Family => Reply::new(522, "Network protocol not supported, use (1,2)"),
    }
}

pub(super) fn login_refused(refusal: &Refusal) -> Reply {
    match refusal {
        Refusal::TlsRequired => AUTH_FIRST.into(),
        Refusal::Local => Reply::new(451, "The login could not be checked."),
        _ => Reply::new(530, "Login incorrect."),
    }
}

pub(super) fn login_ended(refusal: &Refusal) -> Reply {
    match refusal {
        Refusal::TooManySessions => Reply::new(421, "Too many sessions of that user; closing."),
        Refusal::TooManyLogins => Reply::new(421, "Too many logins at once; try again later."),
        _ => Reply::new(421, "Too many failed logins; closing."),
    }
}

pub(super) fn working_directory(path: &[u8]) -> Reply {
    Reply::new(257, [&quoted(path)[..], b" is the working directory."].concat())
}

pub(super) fn passive(address: SocketAddrV4) -> Reply {
    Reply::new(227, passive_text(address))
}

pub(super) fn extended_passive(port: u16) -> Reply {
    Reply::new(229, extended_passive_text(port))
}

/// RFC 959 §5.4 gives PASV no 4yz but 421; 425 is what clients understand as "no data connection now".
pub(super) fn no_endpoint(refusal: &Refusal) -> Reply {
    match refusal {
        Refusal::Unreachable(why) | Refusal::NoDataConnection(why) => {
            Reply::new(425, format!("Cannot open a data endpoint: {why}."))
        }
        // As where the operator demands it.
        Refusal::ProtectionNeeded(why) => Reply::new(
            521,
            format!("Data connections must be protected; send PROT P: {why}."),
        ),
        _ => Reply::new(425, "Cannot open a data endpoint."),
    }
}

pub(super) fn restarting_at(offset: u64) -> Reply {
    Reply::new(350, format!("Restarting at {offset}."))
}

pub(super) fn range(first: u64, last: Option<u64>) -> Reply {
    let last = last.map_or_else(|| "the end".into(), |last| last.to_string());
    Reply::new(350, format!("Restricting to {first} through {last}."))
}

pub(super) fn opening(transfer: &Transfer, opened: &Opened) -> Reply {
    if let Some(name) = &opened.name {
        // RFC 1123 §4.1.2.9: exactly this form.
        return Reply::new(150, [b"FILE: ".as_slice(), name].concat());
    }
    let verb = transfer.action.verb();
    match (&transfer.action, opened.size) {
        (Action::Retrieve { .. }, Some(size)) => {
            Reply::new(150, format!("{verb}: data connection for {size} bytes."))
        }
        _ => Reply::new(150, format!("{verb}: data connection.")),
    }
}

/// A transfer that was refused before its 150.
pub(super) fn transfer_refused(transfer: &Transfer, refusal: &Refusal) -> Reply {
    match (refusal, &transfer.action) {
        // RFC 3659 §7.2.1: not a directory.
        (Refusal::NotADirectory, Action::ListFacts { .. }) => Reply::new(501, "Not a directory."),
        (Refusal::NoDataConnection(_) | Refusal::Unreachable(_), _) => transfer_failed(refusal),
        _ => file_refused(refusal),
    }
}

pub(super) fn transfer_complete(transfer: &Transfer, done: Done) -> Reply {
    let verb = transfer.action.verb();
    Reply::new(226, format!("{verb}: {} bytes, complete.", done.bytes))
}

/// A transfer that ended badly after its 150.
pub(super) fn transfer_failed(refusal: &Refusal) -> Reply {
    match refusal {
        Refusal::NoDataConnection(why) | Refusal::Unreachable(why) => {
            Reply::new(425, format!("No data connection: {why}."))
        }
        Refusal::NotResumed => Reply::new(
            522,
            "The data connection must resume the TLS session of this control connection.",
        ),
        Refusal::DataTls => Reply::new(425, "The TLS handshake of the data connection failed."),
        Refusal::ConnectionBroken => Reply::new(426, "The data connection broke."),
        Refusal::Stalled => Reply::new(426, "Nothing moved for too long."),
        Refusal::Truncated => Reply::new(426, "The data connection ended without close_notify; not stored."),
        Refusal::Short => Reply::new(426, "Fewer bytes came than ALLO announced; not stored."),
        Refusal::Shrunk => Reply::new(451, "The file became shorter while it was sent."),
        Refusal::BadEncoding => Reply::new(451, "The data does not follow its MODE or STRUcture."),
        other => file_refused(other),
    }
}

/// What a file operation was refused for.
pub(super) fn file_refused(refusal: &Refusal) -> Reply {
    let (code, text) = match refusal {
        Refusal::NotFound => (550, "No such file or directory."),
        Refusal::PermissionDenied => (550, "Permission denied."),
        Refusal::Exists => (550, "It exists already."),
        Refusal::IsDirectory => (550, "That is a directory."),
        Refusal::NotADirectory => (550, "That is not a directory."),
        Refusal::NotAFile => (550, "That is not a plain file."),
        Refusal::NotEmpty => (550, "The directory is not empty."),
        Refusal::TooLargeForAscii => (550, "Too large to be counted in TYPE A; send TYPE I."),
        Refusal::BadName => (553, "That name is not allowed."),
        Refusal::PastEnd => (554, "That offset lies past the end of the file."),
        Refusal::NoSpace => (452, "No space left."),
        Refusal::QuotaExceeded => (552, "The quota is used up."),
        Refusal::Busy => (450, "In use; try again."),
        Refusal::Unsupported => (504, "Not with that file."),
        _ => (451, "An error of this machine; it is in the log."),
    };
    Reply::new(code, text)
}

pub(super) fn op_refused(op: &FileOp, refusal: &Refusal) -> Reply {
    match (op, refusal) {
        (FileOp::Allocate(_), Refusal::NoSpace) => Reply::new(452, "There is less space than that."),
        // RFC 959 §5.4: RNTO may answer 532 or 553, never 550.
        (FileOp::Rename { .. }, Refusal::Exists | Refusal::IsDirectory | Refusal::NotEmpty) => {
            Reply::new(553, "Something stands under that name.")
        }
        _ => file_refused(refusal),
    }
}

pub(super) fn op_done(op: &FileOp, answer: FileAnswer) -> Reply {
    match (op, answer) {
        (FileOp::ChangeDirectory(_) | FileOp::ChangeToParent, FileAnswer::At(path)) => {
            Reply::new(250, [b"Now in ".as_slice(), &quoted(&path), b"."].concat())
        }
        (FileOp::MakeDirectory(_), FileAnswer::At(path)) => {
            Reply::new(257, [&quoted(&path)[..], b" made."].concat())
        }
        (FileOp::RenameFrom(_), _) => Reply::new(350, "And the new name?"),
        (FileOp::Size { .. } | FileOp::Space(_), FileAnswer::Number(n)) => Reply::new(213, n.to_string()),
        (FileOp::Modified(_), FileAnswer::Time(time)) => Reply::new(213, time_val(time)),
        (FileOp::SetModified { path, modified }, _) => Reply::new(
            213,
            [format!("Modify={}; ", time_val(*modified)).as_bytes(), path].concat(),
        ),
        (FileOp::SetFacts { path, modified, mode }, _) => {
            let modify = modified
                .map(|time| format!("Modify={};", time_val(time)))
                .unwrap_or_default();
            let mode = mode
                .map(|mode| format!("UNIX.mode={:04o};", mode & 0o777))
                .unwrap_or_default();
            Reply::new(213, [modify.as_bytes(), mode.as_bytes(), b" ", path].concat())
        }
        (FileOp::Facts { .. }, FileAnswer::Facts(line)) => Reply::lines(250, "Facts:", [line], "End."),
        (FileOp::Allocate(_), _) => Reply::new(200, "There is space."),
        (FileOp::Hash { algorithm, form, .. }, FileAnswer::Hash { digest, span, path }) => match form {
            HashForm::Hash => {
                let (first, last) = (span.0, span.1.saturating_sub(1).max(span.0));
                let range = format!("{} {first}-{last} {digest} ", algorithm.name());
                Reply::new(213, [range.as_bytes(), &path].concat())
            }
            HashForm::Md5 => Reply::new(
                251,
                [&quoted(&path)[..], b" ", digest.to_uppercase().as_bytes()].concat(),
            ),
            HashForm::Bare => Reply::new(250, digest.to_uppercase()),
        },
        (FileOp::Delete(_) | FileOp::RemoveDirectory(_), _) => Reply::new(250, "Removed."),
        (FileOp::Rename { .. }, _) => Reply::new(250, "Renamed."),
        _ => Reply::new(200, "Done."),
    }
}

pub(super) fn session_status(lines: Vec<Vec<u8>>) -> Reply {
    Reply::lines(211, "Status of this session:", lines, "End.")
}

pub(super) fn listing_begin() -> Bytes {
    Bytes::from_static(b"213-Listing:\r\n")
}

pub(super) fn listing_broken(refusal: &Refusal) -> Reply {
    let why = if *refusal == Refusal::Local {
        "an error of this machine"
    } else {
        "the directory changed"
    };
    Reply::new(213, format!("Incomplete: {why}."))
}

pub(super) fn features(tls: bool, active: bool, facts: &FactSet, hash: HashAlgorithm) -> Reply {
    let algorithms: Vec<String> = HashAlgorithm::ALL
        .iter()
        .map(|a| format!("{}{}", a.name(), if *a == hash { "*" } else { "" }))
        .collect();
    let mut lines: Vec<String> = Vec::new();
    if tls {
        lines.extend(["ALPN ftp-data".into(), "AUTH TLS".into()]);
    }
    lines.extend(["AVBL".into(), "CLNT".into(), "CSID".into()]);
    if active {
        lines.push("EPRT".into());
    }
    lines.push("EPSV".into());
    lines.push(format!("HASH {}", algorithms.join(";")));
    lines.extend(["HOST", "LANG EN*", "MD5", "MDTM", "MFF modify;UNIX.mode;", "MFMT"].map(String::from));
    lines.push(format!("MLST {}", facts.feature()));
    lines.push("MODE Z".into());
    if tls {
        lines.extend(["PBSZ".into(), "PROT".into()]);
    }
    lines.extend(
        [
            "RANG STREAM",
            "REST STREAM",
            "SITE CHMOD;UTIME;SYMLINK;HELP",
            "SIZE",
            "TVFS",
            "UTF8",
        ]
        .map(String::from),
    );
    lines.extend(["XCRC", "XMD5", "XSHA", "XSHA1", "XSHA256", "XSHA512"].map(String::from));
    Reply::lines(211, "Features:", lines.into_iter().map(String::into_bytes), "End")
}

pub(super) fn opts_mlst(facts: &FactSet) -> Reply {
    Reply::new(200, format!("MLST OPTS {}", facts.chosen()).trim_end())
}

pub(super) fn opts_hash(algorithm: HashAlgorithm) -> Reply {
    Reply::new(200, algorithm.name())
}

/// Verbs with their arguments, as HELP tells them.
const HELP: &[(&str, &str)] = &[
    ("ABOR", ""),
    ("ACCT", "<account>"),
    ("ALLO", "<bytes>"),
    ("APPE", "<path>"),
    ("AUTH", "TLS"),
    ("AVBL", "[<path>]"),
    ("CDUP", ""),
    ("CLNT", "<name>"),
    ("CSID", "<facts>"),
    ("CWD", "<path>"),
    ("DELE", "<path>"),
    ("EPRT", "|<1 or 2>|<address>|<port>|"),
    ("EPSV", "[1|2|ALL]"),
    ("FEAT", ""),
    ("HASH", "<path>"),
    ("HELP", "[<verb>]"),
    ("HOST", "<name>"),
    ("LANG", "[EN]"),
    ("LIST", "[<options>] [<path>]"),
    ("MD5", "<path>"),
    ("MDTM", "<path>"),
    ("MFF", "<facts> <path>"),
    ("MFMT", "<YYYYMMDDhhmmss> <path>"),
    ("MKD", "<path>"),
    ("MLSD", "[<path>]"),
    ("MLST", "[<path>]"),
    ("MODE", "S|Z"),
    ("NLST", "[<options>] [<path>]"),
    ("NOOP", ""),
    ("OPTS", "<verb> [<value>]"),
    ("PASS", "<password>"),
    ("PASV", ""),
    ("PBSZ", "0"),
    ("PORT", "<h1,h2,h3,h4,p1,p2>"),
    ("PROT", "C|P"),
    ("PWD", ""),
    ("QUIT", ""),
    ("RANG", "<first> <last>"),
    ("REIN", ""),
    ("REST", "<bytes>"),
    ("RETR", "<path>"),
    ("RMD", "<path>"),
    ("RNFR", "<path>"),
    ("RNTO", "<path>"),
    ("SITE", "CHMOD|UTIME|SYMLINK|HELP"),
    ("SIZE", "<path>"),
    ("STAT", "[<path>]"),
    ("STOR", "<path>"),
    ("STOU", "[<path>]"),
    ("STRU", "F|R"),
    ("SYST", ""),
    ("TYPE", "A|I|L 8"),
    ("USER", "<name>"),
    ("XCRC", "<path> [<start> [<end>]]"),
    ("XMD5", "<path> [<start> [<end>]]"),
    ("XSHA", "<path> [<start> [<end>]]"),
    ("XSHA1", "<path> [<start> [<end>]]"),
    ("XSHA256", "<path> [<start> [<end>]]"),
    ("XSHA512", "<path> [<start> [<end>]]"),
];

pub(super) fn help(topic: Option<&[u8]>) -> Reply {
    let Some(topic) = topic.map(<[u8]>::trim_ascii) else {
        let rows = HELP
            .chunks(10)
            .map(|row| row.iter().map(|(v, _)| format!("{v:<8}")).collect::<String>());
        return Reply::lines(
            214,
            "These verbs are known:",
            rows.map(|r| r.trim_end().into()),
            "HELP <verb> tells more.",
        );
    };
    match HELP
        .iter()
        .find(|(verb, _)| verb.as_bytes().eq_ignore_ascii_case(topic))
    {
        Some((verb, argument)) => Reply::new(214, format!("Syntax: {verb} {argument}").trim_end()),
        None => Reply::new(502, "No such verb here."),
    }
}

pub(super) fn site_help() -> Reply {
    let lines = [
        "SITE CHMOD <octal mode> <path>",
        "SITE UTIME <YYYYMMDDhhmmss> <path>",
        "SITE SYMLINK <target> <path>",
        "SITE HELP",
    ];
    Reply::lines(
        214,
        "These are known:",
        lines.map(|line| line.as_bytes().to_vec()),
        "End.",
    )
}
