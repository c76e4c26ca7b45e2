//! One line to one command: verbs and the shape of their arguments, nothing of their order or meaning.

use std::net::SocketAddr;
use std::time::SystemTime;

use crate::address::{BadAddress, decimal, parse_eprt, parse_port};
use crate::time::parse_time_val;

/// A pathname as it was typed.
pub type Pathname = Vec<u8>;

/// A secret argument; its `Debug` tells nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub Vec<u8>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// A command, well formed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variants are the verbs of the RFCs")]
pub enum Command {
    // RFC 959 §4.1.1, access control
    User(Vec<u8>),
    Pass(Secret),
    Acct,
    Rein,
    Quit,
    Cwd(Pathname),
    Cdup,
    // RFC 959 §4.1.2, transfer parameters
    Port(SocketAddr),
    Pasv,
    Type(RepresentationType),
    Stru(Structure),
    Mode(Mode),
    // RFC 959 §4.1.3, service
    Retr(Pathname),
    Stor(Pathname),
    Stou(Option<Pathname>),
    Appe(Pathname),
    Allo(u64),
    Rest(u64),
    Rnfr(Pathname),
    Rnto(Pathname),
    Abor,
    Dele(Pathname),
    Rmd(Pathname),
    Mkd(Pathname),
    Pwd,
    List(Vec<u8>),
    Nlst(Vec<u8>),
    Site(Site),
    Syst,
    Stat(Option<Vec<u8>>),
    Help(Option<Vec<u8>>),
    Noop,
    // RFC 2389, 2428, 2640, 3659, 4217, 7151
    Feat,
    Opts {
        verb: Vec<u8>,
        argument: Vec<u8>,
    },
    Eprt(SocketAddr),
    Epsv(ExtendedPassive),
    Lang(Option<Vec<u8>>),
    Size(Pathname),
    Mdtm(Pathname),
    Mlst(Option<Pathname>),
    Mlsd(Option<Pathname>),
    Auth(Vec<u8>),
    Pbsz(u32),
    Prot(Protection),
    Ccc,
    Host(Vec<u8>),
    // Drafts and customs
    Clnt,
    Csid,
    Avbl(Option<Pathname>),
    Mfmt {
        modified: SystemTime,
        path: Pathname,
    },
    Mff {
        modified: Option<SystemTime>,
        mode: Option<u32>,
        path: Pathname,
    },
    Rang {
        first: u64,
        last: Option<u64>,
    },
    RangReset,
    Hash(Pathname),
    Digest {
        verb: DigestVerb,
        path: Pathname,
        part: Option<DigestPart>,
    },
}

/// `TYPE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepresentationType {
    /// `A`, `A N` and `A T`: lines end in CRLF.
    Ascii,
    /// `I` and `L 8`: bytes as they are.
    Image,
}

/// `STRU`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Structure {
    /// `F`.
    File,
    /// `R`.
    Record,
}

/// `MODE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `S`.
    Stream,
    /// `Z`: the stream, deflated (draft-preston-ftpext-deflate).
    Deflate,
}

/// The argument of `EPSV`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExtendedPassive {
    /// None: the family of the control connection.
    Any,
    /// `1`.
    Ipv4,
    /// `2`.
    Ipv6,
    /// `ALL`: no other way of opening a data connection will be asked for (RFC 2428 §4).
    All,
}

/// The argument of `PROT` (RFC 2228 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// `C`.
    Clear,
    /// `P`.
    Private,
    /// `S` and `E`, which TLS does not know (RFC 4217 §9).
    Unsupported,
}

/// A `SITE` command.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variants are the verbs")]
pub enum Site {
    Chmod { mode: u32, path: Pathname },
    Utime { modified: SystemTime, path: Pathname },
    Symlink { target: Vec<u8>, link: Pathname },
    Help,
}

/// A checksum verb with a fixed algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variants are the verbs")]
pub enum DigestVerb {
    Md5,
    Xcrc,
    Xmd5,
    Xsha,
    Xsha1,
    Xsha256,
    Xsha512,
}

/// A part of a file: from `start` on, up to but without `end`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigestPart {
    /// The name when the numbers behind it belong to the range; the whole argument may also be a name.
    pub path: Pathname,
    /// In bytes.
    pub start: u64,
    /// In bytes; `None` is the end of the file.
    pub end: Option<u64>,
}

/// Why a line is no command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadCommand {
    /// No verb that anybody knows.
    Unknown,
    /// A verb of some RFC that this server does not have.
    NotImplemented,
    /// The argument does not follow the grammar.
    Argument,
    /// The argument follows the grammar, but that choice is not offered.
    Parameter,
    /// EPRT or EPSV with an unknown protocol family.
    Family,
    /// A verb of HTTP or the like: the peer is no FTP client (RFC 4217 has no words for it; ALPACA does).
    Foreign,
}

/// The verb of a line in capitals, for logs and quirks.
#[must_use]
pub fn verb(line: &[u8]) -> Vec<u8> {
    line.split(|b| *b == b' ')
        .next()
        .unwrap_or_default()
        .iter()
        .take(16)
        .map(u8::to_ascii_uppercase)
        .collect()
}

/// A line as a log may show it: PASS and ACCT without their arguments, other bytes escaped.
#[must_use]
pub fn loggable(line: &[u8]) -> String {
    let verb = verb(line);
    let shown = if matches!(&verb[..], b"PASS" | b"ACCT") {
        &line[..verb.len().min(line.len())]
    } else {
        line
    };
    shown[..shown.len().min(200)].escape_ascii().to_string()
}

/// Reads one line.
///
/// # Errors
/// [`BadCommand`].
pub fn parse(line: &[u8]) -> Result<Command, BadCommand> {
    use Command as C;
    // A TLS record where a command is expected: the peer took this connection for another one.
    if line.first() == Some(&22) {
        return Err(BadCommand::Foreign);
    }
    let verb = verb(line);
    let argument = line.get(verb.len()..).unwrap_or_default();
    let argument = match argument.split_first() {
        None => None,
        Some((b' ', rest)) => (!rest.is_empty()).then_some(rest),
        Some(_) => return Err(BadCommand::Unknown),
    };
    let needed = || argument.map(<[u8]>::to_vec).ok_or(BadCommand::Argument);
    let optional = || argument.map(<[u8]>::to_vec);
    let word = || {
        argument
            .map(<[u8]>::trim_ascii)
            .filter(|w| !w.is_empty())
            .ok_or(BadCommand::Argument)
    };
    let digest = |verb| {
        let (path, part) = digest_argument(argument.ok_or(BadCommand::Argument)?);
        Ok(C::Digest { verb, path, part })
    };
    Ok(match &verb[..] {
        b"USER" => C::User(needed()?),
        b"PASS" => C::Pass(Secret(optional().unwrap_or_default())),
        b"ACCT" => needed().map(|_| C::Acct)?,
        b"REIN" => C::Rein,
        b"QUIT" => C::Quit,
        b"CWD" | b"XCWD" => C::Cwd(needed()?),
        b"CDUP" | b"XCUP" => C::Cdup,
        b"PORT" => C::Port(parse_port(word()?).map_err(bad_address)?.into()),
        b"PASV" => C::Pasv,
        b"TYPE" => C::Type(representation(word()?)?),
        b"STRU" => C::Stru(match &word()?.to_ascii_uppercase()[..] {
            b"F" => Structure::File,
            b"R" => Structure::Record,
            b"P" => return Err(BadCommand::Parameter),
            _ => return Err(BadCommand::Argument),
        }),
        b"MODE" => C::Mode(match &word()?.to_ascii_uppercase()[..] {
            b"S" => Mode::Stream,
            b"Z" => Mode::Deflate,
            b"B" | b"C" => return Err(BadCommand::Parameter),
            _ => return Err(BadCommand::Argument),
        }),
        b"RETR" => C::Retr(needed()?),
        b"STOR" => C::Stor(needed()?),
        b"STOU" => C::Stou(optional()),
        b"APPE" => C::Appe(needed()?),
        b"ALLO" => C::Allo(allocation(word()?)?),
        b"REST" => C::Rest(decimal(word()?).ok_or(BadCommand::Argument)?),
        b"RNFR" => C::Rnfr(needed()?),
        b"RNTO" => C::Rnto(needed()?),
        b"ABOR" => C::Abor,
        b"DELE" => C::Dele(needed()?),
        b"RMD" | b"XRMD" => C::Rmd(needed()?),
        b"MKD" | b"XMKD" => C::Mkd(needed()?),
        b"PWD" | b"XPWD" => C::Pwd,
        b"LIST" => C::List(optional().unwrap_or_default()),
        b"NLST" => C::Nlst(optional().unwrap_or_default()),
        b"SITE" => C::Site(site(argument.ok_or(BadCommand::Argument)?)?),
        b"SYST" => C::Syst,
        b"STAT" => C::Stat(optional()),
        b"HELP" => C::Help(optional()),
        b"NOOP" => C::Noop,
        b"FEAT" => C::Feat,
        b"OPTS" => {
            let (verb, argument) = split_word(word()?);
            C::Opts {
                verb: verb.to_ascii_uppercase(),
                argument: argument.to_vec(),
            }
        }
        b"EPRT" => C::Eprt(parse_eprt(word()?).map_err(bad_address)?),
        b"EPSV" => C::Epsv(match argument.map(<[u8]>::trim_ascii) {
            None | Some(b"") => ExtendedPassive::Any,
            Some(b"1") => ExtendedPassive::Ipv4,
            Some(b"2") => ExtendedPassive::Ipv6,
            Some(all) if all.eq_ignore_ascii_case(b"ALL") => ExtendedPassive::All,
            Some(other) if decimal(other).is_some() => return Err(BadCommand::Family),
            Some(_) => return Err(BadCommand::Argument),
        }),
        b"LANG" => C::Lang(optional()),
        b"SIZE" => C::Size(needed()?),
        b"MDTM" => {
            let path = needed()?;
            // Some clients set the time this way; it is MFMT by another name.
            match time_and_path(&path) {
                Some((modified, path)) => C::Mfmt { modified, path },
                None => C::Mdtm(path),
            }
        }
        b"MLST" => C::Mlst(optional()),
        b"MLSD" => C::Mlsd(optional()),
        b"AUTH" => C::Auth(word()?.to_ascii_uppercase()),
        // RFC 2228 §3: a 32-bit number.
        b"PBSZ" => C::Pbsz(
            decimal(word()?)
                .and_then(|n| u32::try_from(n).ok())
                .ok_or(BadCommand::Argument)?,
        ),
        b"PROT" => C::Prot(match &word()?.to_ascii_uppercase()[..] {
            b"C" => Protection::Clear,
            b"P" => Protection::Private,
            b"S" | b"E" => Protection::Unsupported,
            _ => return Err(BadCommand::Parameter),
        }),
        b"CCC" => C::Ccc,
        b"HOST" => C::Host(host(word()?).ok_or(BadCommand::Argument)?),
        b"CLNT" => needed().map(|_| C::Clnt)?,
        b"CSID" => needed().map(|_| C::Csid)?,
        b"AVBL" => C::Avbl(optional()),
        b"MFMT" => {
            let (modified, path) = time_and_path(&needed()?).ok_or(BadCommand::Argument)?;
            C::Mfmt { modified, path }
        }
        b"MFF" => modify_facts(&needed()?)?,
        b"RANG" => range(word()?)?,
        b"HASH" => C::Hash(needed()?),
        b"MD5" => digest(DigestVerb::Md5)?,
        b"XCRC" => digest(DigestVerb::Xcrc)?,
        b"XMD5" => digest(DigestVerb::Xmd5)?,
        b"XSHA" => digest(DigestVerb::Xsha)?,
        b"XSHA1" => digest(DigestVerb::Xsha1)?,
        b"XSHA256" => digest(DigestVerb::Xsha256)?,
        b"XSHA512" => digest(DigestVerb::Xsha512)?,
        b"SMNT" | b"ADAT" | b"MIC" | b"CONF" | b"ENC" | b"LPRT" | b"LPSV" | b"COMB" | b"THMB" | b"MDTMX"
        | b"XRSQ" | b"XSEM" | b"XSEN" | b"MAIL" | b"MLFL" | b"MSND" | b"MSOM" | b"MSAM" | b"MRSQ"
        | b"MRCP" => {
            return Err(BadCommand::NotImplemented);
        }
        b"GET" | b"POST" | b"PUT" | b"HEAD" | b"DELETE" | b"CONNECT" | b"PATCH" | b"TRACE" | b"EHLO"
        | b"HELO" => {
            return Err(BadCommand::Foreign);
        }
        // RFC 9112 and RFC 5321 both begin like this; no verb of FTP is followed by a path and a version.
        b"OPTIONS" => return Err(BadCommand::Foreign),
        _ => return Err(BadCommand::Unknown),
    })
}

fn bad_address(bad: BadAddress) -> BadCommand {
    match bad {
        BadAddress::Syntax => BadCommand::Argument,
        BadAddress::Family => BadCommand::Family,
    }
}

/// RFC 7151 §3.1: a name or an IPv4 address, or an IPv6 address in brackets; no port.
fn host(argument: &[u8]) -> Option<Vec<u8>> {
    let is_plain = |text: &[u8]| {
        text.iter()
            .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(b) || *b >= 0x80)
    };
    let bracketed = argument
        .strip_prefix(b"[")
        .and_then(|rest| rest.strip_suffix(b"]"));
    let valid = match bracketed {
        Some(inner) => {
            std::str::from_utf8(inner).is_ok_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok())
        }
        None => !argument.is_empty() && is_plain(argument),
    };
    valid.then(|| argument.to_vec())
}

fn split_word(text: &[u8]) -> (&[u8], &[u8]) {
    match text.iter().position(|b| *b == b' ') {
        Some(space) => (&text[..space], &text[space + 1..]),
        None => (text, b""),
    }
}

fn representation(argument: &[u8]) -> Result<RepresentationType, BadCommand> {
    let argument = argument.to_ascii_uppercase();
    match &argument[..] {
        b"A" | b"A N" | b"A T" | b"AN" => Ok(RepresentationType::Ascii),
        b"I" | b"L 8" | b"L8" => Ok(RepresentationType::Image),
        b"L7" | b"L 7" | b"L" | b"A C" | b"E" | b"E N" | b"E T" | b"E C" => Err(BadCommand::Parameter),
        other if other.starts_with(b"L ") => Err(BadCommand::Parameter),
        _ => Err(BadCommand::Argument),
    }
}

/// `ALLO 1024` and `ALLO 1024 R 128`.
fn allocation(argument: &[u8]) -> Result<u64, BadCommand> {
    let (size, rest) = split_word(argument);
    let size = decimal(size).ok_or(BadCommand::Argument)?;
    let record_fits = rest.is_empty() || {
        let (letter, record) = split_word(rest);
        letter.eq_ignore_ascii_case(b"R") && decimal(record).is_some()
    };
    if record_fits {
        Ok(size)
    } else {
        Err(BadCommand::Argument)
    }
}

/// `20020717210715 some file`.
fn time_and_path(argument: &[u8]) -> Option<(SystemTime, Pathname)> {
    let (time, path) = split_word(argument);
    (time.len() >= 14 && !path.is_empty()).then_some(())?;
    Some((parse_time_val(time)?, path.to_vec()))
}

/// `Modify=20020717210715;UNIX.mode=0644; some file` (draft-somers-ftp-mfxx).
fn modify_facts(argument: &[u8]) -> Result<Command, BadCommand> {
    let (facts, path) = split_word(argument);
    let facts = facts.strip_suffix(b";").ok_or(BadCommand::Argument)?;
    if path.is_empty() {
        return Err(BadCommand::Argument);
    }
    let (mut modified, mut mode) = (None, None);
    for fact in facts.split(|b| *b == b';') {
        let equals = fact.iter().position(|b| *b == b'=').ok_or(BadCommand::Argument)?;
        let (name, value) = (fact[..equals].to_ascii_lowercase(), &fact[equals + 1..]);
        match &name[..] {
            b"modify" => modified = Some(parse_time_val(value).ok_or(BadCommand::Argument)?),
            b"unix.mode" => mode = Some(octal(value).ok_or(BadCommand::Argument)?),
            _ => return Err(BadCommand::Parameter),
        }
    }
    Ok(Command::Mff {
        modified,
        mode,
        path: path.to_vec(),
    })
}

fn octal(text: &[u8]) -> Option<u32> {
    if text.is_empty() || text.len() > 5 || !text.iter().all(|b| (b'0'..=b'7').contains(b)) {
        return None;
    }
    Some(text.iter().fold(0, |n, digit| n * 8 + u32::from(digit - b'0'))).filter(|mode| *mode <= 0o7777)
}

/// `RANG first last` (draft-bryan-ftp-range): both inclusive; `RANG 1 0` takes a range back.
fn range(argument: &[u8]) -> Result<Command, BadCommand> {
    let (first, last) = split_word(argument);
    let first = decimal(first).ok_or(BadCommand::Argument)?;
    let last = decimal(last).ok_or(BadCommand::Argument)?;
    match (first, last) {
        (1, 0) => Ok(Command::RangReset),
        _ if last < first => Err(BadCommand::Argument),
        _ => Ok(Command::Rang {
            first,
            last: Some(last),
        }),
    }
}

fn site(argument: &[u8]) -> Result<Site, BadCommand> {
    let (verb, rest) = split_word(argument);
    match &verb.to_ascii_uppercase()[..] {
        b"CHMOD" => {
            let (mode, path) = split_word(rest);
            let mode = octal(mode).ok_or(BadCommand::Argument)?;
            if path.is_empty() {
                Err(BadCommand::Argument)
            } else {
                Ok(Site::Chmod {
                    mode,
                    path: path.to_vec(),
                })
            }
        }
        b"UTIME" => utime(rest).ok_or(BadCommand::Argument),
        b"SYMLINK" => {
            let (target, link) = split_word(rest);
            if target.is_empty() || link.is_empty() {
                return Err(BadCommand::Argument);
            }
            Ok(Site::Symlink {
                target: target.to_vec(),
                link: link.to_vec(),
            })
        }
        b"HELP" => Ok(Site::Help),
        b"" => Err(BadCommand::Argument),
        _ => Err(BadCommand::Parameter),
    }
}

/// Two customs: `UTIME 20020717210715 name` and `UTIME name ATIME MTIME CTIME UTC`.
fn utime(rest: &[u8]) -> Option<Site> {
    let (time, path) = split_word(rest);
    if let (Some(modified), false) = (parse_time_val(time), path.is_empty()) {
        return Some(Site::Utime {
            modified,
            path: path.to_vec(),
        });
    }
    let words: Vec<&[u8]> = rest.split(|b| *b == b' ').collect();
    let [name @ .., accessed, modified, created, zone] = &words[..] else {
        return None;
    };
    if name.is_empty() || !zone.eq_ignore_ascii_case(b"UTC") {
        return None;
    }
    parse_time_val(accessed).and(parse_time_val(created))?;
    Some(Site::Utime {
        modified: parse_time_val(modified)?,
        path: name.join(&b' '),
    })
}

/// `name`, `"a name" 0 100`, `name 0 100`: without quotes, numbers at the end may belong to the name or be a
/// part; both readings are kept.
fn digest_argument(argument: &[u8]) -> (Pathname, Option<DigestPart>) {
    if let Some(inner) = argument.strip_prefix(b"\"")
        && let Some(close) = inner.iter().rposition(|b| *b == b'"')
    {
        let path = inner[..close].to_vec();
        let numbers: Option<Vec<u64>> = inner[close + 1..]
            .split(|b| *b == b' ')
            .filter(|w| !w.is_empty())
            .map(decimal)
            .collect();
        return match numbers.as_deref() {
            Some([start]) => (
                argument.to_vec(),
                Some(DigestPart {
                    path,
                    start: *start,
                    end: None,
                }),
            ),
            Some([start, end]) => (
                argument.to_vec(),
                Some(DigestPart {
                    path,
                    start: *start,
                    end: Some(*end),
                }),
            ),
            _ => (path, None),
        };
    }
    let words: Vec<&[u8]> = argument.split(|b| *b == b' ').collect();
    let part = match &words[..] {
        [name @ .., start, end] if !name.is_empty() && decimal(start).is_some() && decimal(end).is_some() => {
            Some((name, decimal(start), decimal(end)))
        }
        [name @ .., start] if !name.is_empty() && decimal(start).is_some() => {
            Some((name, decimal(start), None))
        }
        _ => None,
    };
    let part = part.map(|(name, start, end)| DigestPart {
        path: name.join(&b' '),
        start: start.unwrap_or(0),
        end,
    });
    (argument.to_vec(), part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pathname_keeps_every_byte_behind_the_first_space() {
        assert_eq!(parse(b"retr  a b "), Ok(Command::Retr(b" a b ".to_vec())));
        assert_eq!(parse(b"STOR \xe9\xff"), Ok(Command::Stor(b"\xe9\xff".to_vec())));
        assert_eq!(parse(b"RETR"), Err(BadCommand::Argument));
        assert_eq!(parse(b"RETR "), Err(BadCommand::Argument));
    }

    #[test]
    fn a_log_shows_no_password() {
        assert_eq!(loggable(b"pass hunter2"), "pass");
        assert_eq!(loggable(b"RETR a\x1bb"), "RETR a\\x1bb");
    }

    #[test]
    fn verbs_are_known_unknown_or_not_implemented() {
        assert_eq!(parse(b"xpwd"), Ok(Command::Pwd));
        assert_eq!(parse(b"FOO bar"), Err(BadCommand::Unknown));
        assert_eq!(parse(b"NOOPX"), Err(BadCommand::Unknown));
        assert_eq!(parse(b"\x16\x03\x01"), Err(BadCommand::Foreign));
        assert_eq!(parse(b"SMNT /"), Err(BadCommand::NotImplemented));
        assert_eq!(parse(b"POST / HTTP/1.1"), Err(BadCommand::Foreign));
        assert_eq!(parse(b""), Err(BadCommand::Unknown));
    }

    #[test]
    fn a_marker_is_digits_alone() {
        assert_eq!(
            parse(b"REST 9223372036854775807"),
            Ok(Command::Rest(i64::MAX as u64))
        );
        for bad in [
            "REST",
            "REST -1",
            "REST 1e3",
            "REST 9223372036854775808",
            "REST 0x10",
            "REST 1 2",
        ] {
            assert_eq!(parse(bad.as_bytes()), Err(BadCommand::Argument), "{bad}");
        }
    }

    #[test]
    fn both_customs_of_utime_are_read() {
        let time = parse_time_val(b"20020717210715").unwrap();
        let expected = Command::Site(Site::Utime {
            modified: time,
            path: b"a b".to_vec(),
        });
        assert_eq!(parse(b"SITE UTIME 20020717210715 a b").as_ref(), Ok(&expected));
        assert_eq!(
            parse(b"SITE UTIME a b 20010101000000 20020717210715 20010101000000 UTC").as_ref(),
            Ok(&expected)
        );
    }

    #[test]
    fn a_digest_takes_a_quoted_name_and_a_part() {
        assert_eq!(digest_argument(b"\"a b\""), (b"a b".to_vec(), None));
        let part = DigestPart {
            path: b"a b".to_vec(),
            start: 5,
            end: Some(9),
        };
        assert_eq!(digest_argument(b"\"a b\" 5 9").1, Some(part.clone()));
        assert_eq!(digest_argument(b"a b 5 9"), (b"a b 5 9".to_vec(), Some(part)));
        assert_eq!(
            digest_argument(b"report 2026"),
            (
                b"report 2026".to_vec(),
                Some(DigestPart {
                    path: b"report".to_vec(),
                    start: 2026,
                    end: None
                })
            )
        );
    }

    #[test]
    fn facts_are_modified_one_or_both() {
        let modified = parse_time_val(b"20020717210715");
        assert_eq!(
            parse(b"MFF Modify=20020717210715;UNIX.mode=0640; a b"),
            Ok(Command::Mff {
                modified,
                mode: Some(0o640),
                path: b"a b".to_vec()
            })
        );
        assert_eq!(parse(b"MFF create=20020717210715; a"), Err(BadCommand::Parameter));
        assert_eq!(parse(b"MFF modify=20020717210715 a"), Err(BadCommand::Argument));
    }
}
