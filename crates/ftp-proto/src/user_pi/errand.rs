//! Errands: what a user-PI can be sent for, and the steps that each takes.

use std::fmt;

use super::features::Features;
use super::passive::{self, Endpoint};
use super::quirks::Quirk;
use super::reply::Reply;

/// What a user-PI is to do. One at a time.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Errand {
    /// Wait for the greeting.
    Greeting,
    /// AUTH TLS; after the handshake PBSZ 0 and PROT P (RFC 4217).
    Protect,
    /// PBSZ 0 and PROT P alone, where the control connection is protected from its first byte.
    ProtectData,
    /// USER, and what the server asks for then: PASS, ACCT (RFC 959 §5.4).
    Login(Credentials),
    /// FEAT, and what it leads to: CSID or CLNT, OPTS UTF8, OPTS MLST, SYST; then TYPE I and PWD.
    Survey,
    /// PASV or EPSV.
    Passive(Form),
    /// One command with one final reply.
    Command(Vec<u8>),
    /// Two commands in one breath, for servers that read on while they answer.
    Pair(Vec<u8>, Vec<u8>),
    /// A transfer command, behind REST where `restart` says so.
    Transfer {
        /// The marker for REST, in bytes.
        restart: Option<u64>,
        /// The command.
        command: Vec<u8>,
    },
    /// ABOR, while a transfer runs or after it has ended unheard.
    Abort,
    /// QUIT.
    Quit,
}

/// How a passive endpoint is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// PASV (RFC 959); for IPv4 alone.
    Plain,
    /// EPSV (RFC 2428).
    Extended,
}

/// Who logs in.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// USER.
    pub user: Vec<u8>,
    /// PASS; sent when it is asked for.
    pub password: Vec<u8>,
    /// ACCT; sent when it is asked for.
    pub account: Vec<u8>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Credentials({} ***)", self.user.escape_ascii())
    }
}

/// How an errand ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// As it should, with the reply that said so.
    Done(Reply),
    /// AUTH was refused; the control connection is as it was.
    Unprotected(Reply),
    /// What the server can do, and where one is.
    Surveyed(Box<Features>),
    /// The replies to a pair of commands.
    Both(Reply, Reply),
    /// Where the server waits.
    Passive(Endpoint),
    /// The server said no. Of a transfer that has begun: how it ended.
    Refused(Reply),
}

/// A [`Errand::Command`] ends in [`Outcome::Done`] for 2yz and 3yz.
#[derive(Debug)]
pub(super) enum Step {
    Send(Line),
    /// Go on waiting.
    Wait,
    StartTls,
    /// The transfer has begun.
    Began(Reply),
    Done(Outcome),
}

/// A line to send, and whether a log may show its argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) text: Vec<u8>,
    pub(super) is_secret: bool,
}

impl Line {
    pub(super) fn open(text: impl Into<Vec<u8>>) -> Self {
        Self {
            text: text.into(),
            is_secret: false,
        }
    }

    fn secret(verb: &str, argument: &[u8]) -> Self {
        Self {
            text: [verb.as_bytes(), b" ", argument].concat(),
            is_secret: true,
        }
    }
}

/// An errand on its way.
#[derive(Debug)]
pub(super) enum Progress {
    Greeting,
    Auth,
    BufferSize,
    Protection,
    User(Credentials),
    Password(Credentials),
    Account,
    Features,
    Name(Box<Features>),
    Utf8(Box<Features>),
    Facts(Box<Features>),
    System(Box<Features>),
    Type(Box<Features>),
    Directory(Box<Features>),
    Passive(Form),
    Command,
    PairFirst,
    PairSecond(Reply),
    Restart(Vec<u8>),
    Transfer { began: bool },
    Abort { heard_transfer: bool },
    Quit,
}

/// The facts that we can use, as OPTS MLST takes them.
const FACTS: &str = "type;size;modify;perm;unique;UNIX.mode;UNIX.uid;UNIX.gid;";

impl Progress {
    /// The first step; the lines of every errand that can hold a foreign text are here and in [`Errand::lines`].
    pub(super) fn begin(errand: Errand) -> (Self, Option<Line>) {
        match errand {
            Errand::Greeting => (Self::Greeting, None),
            Errand::Protect => (Self::Auth, Some(Line::open("AUTH TLS"))),
            Errand::ProtectData => (Self::BufferSize, Some(Line::open("PBSZ 0"))),
            Errand::Login(who) => {
                let line = Line::open([b"USER ", &who.user[..]].concat());
                (Self::User(who), Some(line))
            }
            Errand::Survey => (Self::Features, Some(Line::open("FEAT"))),
            Errand::Passive(form) => {
                let verb = if form == Form::Plain { "PASV" } else { "EPSV" };
                (Self::Passive(form), Some(Line::open(verb)))
            }
            Errand::Command(line) => (Self::Command, Some(Line::open(line))),
            Errand::Pair(first, second) => {
                let both = [&first[..], b"\r\n", &second[..]].concat();
                (Self::PairFirst, Some(Line::open(both)))
            }
            Errand::Transfer {
                restart: Some(marker),
                command,
            } => (Self::Restart(command), Some(Line::open(format!("REST {marker}")))),
            Errand::Transfer {
                restart: None,
                command,
            } => (Self::Transfer { began: false }, Some(Line::open(command))),
            Errand::Abort => (
                Self::Abort {
                    heard_transfer: false,
                },
                Some(Line::open("ABOR")),
            ),
            Errand::Quit => (Self::Quit, Some(Line::open("QUIT"))),
        }
    }

    /// After the handshake.
    pub(super) fn secured() -> (Self, Line) {
        (Self::BufferSize, Line::open("PBSZ 0"))
    }

    /// Whether a stray 226 can be told from an answer.
    pub(super) fn expects_no_226(&self) -> bool {
        !matches!(self, Self::Transfer { .. } | Self::Abort { .. })
    }

    /// What a reply other than a preliminary one leads to, and how the errand goes on.
    pub(super) fn heard(self, reply: Reply, quirks: &mut Vec<Quirk>) -> (Self, Step) {
        let class = reply.class();
        match self {
            Self::Greeting | Self::Protection if class == 2 => done(reply),
            Self::Greeting | Self::Protection => refused(reply),
            Self::Auth if class == 2 => (self, Step::StartTls),
            Self::Auth => (Self::Command, Step::Done(Outcome::Unprotected(reply))),
            // Some servers know PROT alone; what PBSZ says decides nothing.
            Self::BufferSize => (Self::Protection, Step::Send(Line::open("PROT P"))),
            Self::User(who) => match (class, reply.code) {
                (2, _) => done(reply),
                (3, 332) => {
                    let line = Line::secret("ACCT", &who.account);
                    (Self::Account, Step::Send(line))
                }
                (3, _) => {
                    let line = Line::secret("PASS", &who.password);
                    (Self::Password(who), Step::Send(line))
                }
                _ => refused(reply),
            },
            Self::Password(who) if class == 3 && !who.account.is_empty() => {
                let line = Line::secret("ACCT", &who.account);
                (Self::Account, Step::Send(line))
            }
            Self::Password(_) | Self::Account if class == 2 => done(reply),
            Self::Password(_) | Self::Account => refused(reply),
            Self::Features => Self::name(Features::read(&reply, quirks)),
            Self::Name(mut features) => {
                features.software = software(reply.text()).filter(|_| class == 2);
                Self::utf8(features)
            }
            Self::Utf8(mut features) => {
                features.utf8 |= class == 2;
                Self::facts(features)
            }
            Self::Facts(features) => Self::system(features),
            Self::System(mut features) => {
                features.system = (class == 2).then(|| reply.text().to_vec());
                Self::image(features)
            }
            Self::Type(features) => (Self::Directory(features), Step::Send(Line::open("PWD"))),
            Self::Directory(mut features) => {
                features.home = quoted(reply.text()).filter(|_| class == 2);
                (Self::Command, Step::Done(Outcome::Surveyed(features)))
            }
            Self::Passive(form) => match passive(form, &reply, quirks) {
                Some(endpoint) => (Self::Command, Step::Done(Outcome::Passive(endpoint))),
                None => refused(reply),
            },
            Self::Command | Self::Quit if class <= 3 => done(reply),
            Self::Command | Self::Quit => refused(reply),
            Self::PairFirst => (Self::PairSecond(reply), Step::Wait),
            Self::PairSecond(first) => (Self::Command, Step::Done(Outcome::Both(first, reply))),
            Self::Restart(command) if class <= 3 => {
                if class == 2 {
                    quirks.push(Quirk::RestartDone);
                }
                (Self::Transfer { began: false }, Step::Send(Line::open(command)))
            }
            Self::Restart(_) => refused(reply),
            Self::Transfer { began: false } if class == 2 && !matches!(reply.code, 226 | 250) => {
                quirks.push(Quirk::DoneInsteadOfPreliminary);
                (Self::Transfer { began: true }, Step::Began(reply))
            }
            Self::Transfer { .. } if class == 2 => done(reply),
            Self::Transfer { .. } => refused(reply),
            // 426 (or 226) for the transfer, then 226 for ABOR; or 225/226 alone when there was none; or 5yz.
            Self::Abort {
                heard_transfer: false,
            } if matches!(reply.code, 426 | 451 | 551 | 552) => {
                (Self::Abort { heard_transfer: true }, Step::Wait)
            }
            Self::Abort { .. } => done(reply),
        }
    }

    /// What a preliminary reply leads to.
    pub(super) fn heard_preliminary(self, reply: Reply) -> (Self, Step) {
        match self {
            Self::Transfer { began: false } => (Self::Transfer { began: true }, Step::Began(reply)),
            other => (other, Step::Wait),
        }
    }

    fn name(features: Features) -> (Self, Step) {
        let features = Box::new(features);
        // The same as CLNT, and the server says who it is too (draft-peterson-streamlined-ftp-command-extensions §4).
        if features.has("CSID") {
            return (
                Self::Name(features),
                Step::Send(Line::open("CSID Name=Pasarela;")),
            );
        }
        if features.has("CLNT") {
            // Some servers give UTF-8 to those only that have said who they are.
            return (Self::Name(features), Step::Send(Line::open("CLNT Pasarela")));
        }
        Self::utf8(features)
    }

    fn utf8(features: Box<Features>) -> (Self, Step) {
        if features.has("UTF8") {
            return (Self::Utf8(features), Step::Send(Line::open("OPTS UTF8 ON")));
        }
        Self::facts(features)
    }

    fn facts(features: Box<Features>) -> (Self, Step) {
        if features.lacks_a_fact() {
            let line = Line::open(format!("OPTS MLST {FACTS}"));
            return (Self::Facts(features), Step::Send(line));
        }
        Self::system(features)
    }

    fn system(features: Box<Features>) -> (Self, Step) {
        if features.has("MLST") {
            return Self::image(features);
        }
        (Self::System(features), Step::Send(Line::open("SYST")))
    }

    fn image(features: Box<Features>) -> (Self, Step) {
        (Self::Type(features), Step::Send(Line::open("TYPE I")))
    }
}

impl Errand {
    /// The texts of this errand that come from outside.
    pub(super) fn texts(&self) -> Vec<&[u8]> {
        match self {
            Self::Login(who) => vec![&who.user, &who.password, &who.account],
            Self::Command(line) | Self::Transfer { command: line, .. } => vec![line],
            Self::Pair(first, second) => vec![first, second],
            _ => Vec::new(),
        }
    }
}

fn done(reply: Reply) -> (Progress, Step) {
    (Progress::Command, Step::Done(Outcome::Done(reply)))
}

fn refused(reply: Reply) -> (Progress, Step) {
    (Progress::Command, Step::Done(Outcome::Refused(reply)))
}

fn passive(form: Form, reply: &Reply, quirks: &mut Vec<Quirk>) -> Option<Endpoint> {
    let (endpoint, quirk) = match (reply.code, form) {
        (229, _) => passive::extended(reply.text())?,
        (227, form) => {
            if form == Form::Extended {
                quirks.push(Quirk::PassiveForExtendedPassive);
            }
            passive::plain(reply.text())?
        }
        _ => return None,
    };
    quirks.extend(quirk);
    Some(endpoint)
}

/// The server's name in the reply to CSID: `200 Name=NAME; Version=…;`.
fn software(text: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(text);
    let name = text
        .split(';')
        .find_map(|fact| fact.trim().strip_prefix("Name="))?;
    Some(name.trim().to_owned())
}

/// The pathname of a 257, doubled quotes undone (RFC 959 appendix II).
#[must_use]
pub fn quoted(text: &[u8]) -> Option<Vec<u8>> {
    let start = text.iter().position(|byte| *byte == b'"')? + 1;
    let mut name = Vec::new();
    let mut rest = text[start..].iter();
    while let Some(byte) = rest.next() {
        if *byte == b'"' && rest.as_slice().first() != Some(&b'"') {
            return Some(name);
        }
        if *byte == b'"' {
            rest.next();
        }
        name.push(*byte);
    }
    None
}
