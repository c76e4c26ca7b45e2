//! Lines of MLSD and MLST (RFC 3659 §7), also where they are not quite what it says.

use super::date::{date, local, small, time};
use super::entry::{Entry, EntryKind, Modified, Precision};
use super::family::Reading;
use super::words::{number, octal};
use crate::time::parse_time_val;

/// How sure it is that a line is one of facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strictness {
    /// MLSD was asked for: a line without facts is a name.
    Asked,
    /// It may be something else: a fact of RFC 3659 has to be there.
    Guessed,
}

/// A line without its end. The directory itself and the one above are no entries of it.
pub(super) fn read(line: &[u8], strictness: Strictness) -> Reading {
    let Some((facts, name)) = split(line, strictness) else {
        return if line.is_empty() {
            Reading::Nothing
        } else {
            Reading::Unreadable
        };
    };
    let (entry, own) = entry(facts, name);
    if own {
        return Reading::Heading;
    }
    Reading::Entry(Box::new(entry))
}

/// The entry of a line with type=cdir or type=pdir.
pub(super) fn this_directory(line: &[u8]) -> Option<Entry> {
    let (facts, name) = split(line, Strictness::Asked)?;
    Some(entry(facts, name).0)
}

/// Facts and name, which a space separates (RFC 3659 §7.2).
fn split(line: &[u8], strictness: Strictness) -> Option<(&[u8], &[u8])> {
    let mut space = line.iter().position(|b| *b == b' ')?;
    // A value should have no spaces, but owners have: `UNIX.ownername=Domain Users; name`.
    if space > 0 && line[space - 1] != b';' && line[..space].contains(&b'=') {
        space = line
            .windows(2)
            .position(|two| two == b"; ")
            .map_or(space, |at| at + 1);
    }
    let (facts, name) = (&line[..space], &line[space + 1..]);
    if name.is_empty() {
        return None;
    }
    let all = || facts.split(|b| *b == b';').filter(|fact| !fact.is_empty());
    let well_formed = all().all(|fact| fact.iter().position(|b| *b == b'=').is_some_and(|at| at > 0));
    let known = match strictness {
        Strictness::Asked => true,
        Strictness::Guessed => {
            facts.last() == Some(&b';')
                && all().any(|fact| {
                    let (name, _) = pair(fact);
                    ["type", "size", "modify", "perm", "unique"]
                        .iter()
                        .any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
                })
        }
    };
    (well_formed && known).then_some((facts, name))
}

fn pair(fact: &[u8]) -> (&[u8], &[u8]) {
    match fact.iter().position(|b| *b == b'=') {
        Some(at) => (&fact[..at], &fact[at + 1..]),
        None => (fact, b""),
    }
}

/// The entry, and whether it is the directory itself or one above it.
fn entry(facts: &[u8], name: &[u8]) -> (Entry, bool) {
    let mut entry = Entry::named(name);
    let mut size = None;
    let mut own = false;
    for fact in facts.split(|b| *b == b';') {
        let (fact, value) = pair(fact);
        let is = |known: &str| fact.eq_ignore_ascii_case(known.as_bytes());
        let some = || (!value.is_empty()).then(|| value.to_vec());
        if is("type") {
            own = value.eq_ignore_ascii_case(b"cdir") || value.eq_ignore_ascii_case(b"pdir");
            (entry.kind, entry.target) = kind(value);
        } else if is("size") {
            size = number(value);
        } else if is("modify") {
            entry.modified = modified(value);
        } else if is("UNIX.mode") {
            entry.mode = octal(value).map(|mode| mode & 0o7777);
        } else if is("UNIX.ownername") {
            entry.owner = some();
        } else if is("UNIX.groupname") {
            entry.group = some();
        } else if is("UNIX.owner") || is("UNIX.uid") {
            // A name, where there is one, says more than the number.
            entry.owner = entry.owner.take().or_else(some);
        } else if is("UNIX.group") || is("UNIX.gid") {
            entry.group = entry.group.take().or_else(some);
        }
    }
    (entry.sized(size), own)
}

/// The type fact (RFC 3659 §7.5.1); its values are not case sensitive, a link's target is.
fn kind(value: &[u8]) -> (EntryKind, Option<Vec<u8>>) {
    let is = |known: &str| value.eq_ignore_ascii_case(known.as_bytes());
    if value.is_empty() {
        return (EntryKind::Unknown, None);
    }
    if is("file") {
        return (EntryKind::File, None);
    }
    if is("dir") || is("cdir") || is("pdir") {
        return (EntryKind::Directory, None);
    }
    for link in ["OS.unix=slink", "OS.unix=symlink", "OS.unix=link"] {
        let Some(head) = value.get(..link.len()) else {
            continue;
        };
        if head.eq_ignore_ascii_case(link.as_bytes()) {
            let target = value[link.len()..]
                .strip_prefix(b":")
                .filter(|target| !target.is_empty())
                .map(<[u8]>::to_vec);
            return (EntryKind::Link, target);
        }
    }
    (EntryKind::Other, None)
}

/// A time-val (RFC 3659 §2.3) in UTC; also with a Z behind it, without seconds, as a date alone, and with the year
/// 19100 that some servers had after 1999.
fn modified(value: &[u8]) -> Option<Modified> {
    let value = value.strip_suffix(b"Z").unwrap_or(value);
    let digits = value.iter().position(|b| *b == b'.').unwrap_or(value.len());
    let precision = match digits {
        8 => return utc(local(day(value)?, None)?),
        12 => Precision::Minute,
        14 if value.len() > 14 => Precision::Subsecond,
        14 => Precision::Second,
        15 if value.starts_with(b"191") => {
            let hundred = i16::try_from(number(&value[2..5])?).ok()?;
            let day = date(1900 + hundred, small(&value[5..7])?, small(&value[7..9])?)?;
            let clock = [&value[9..11], b":", &value[11..13], b":", &value[13..15]].concat();
            return utc(local(day, time(&clock))?);
        }
        _ => return None,
    };
    Some(Modified {
        value: parse_time_val(value)?,
        precision,
        zone_known: true,
    })
}

fn day(value: &[u8]) -> Option<jiff::civil::Date> {
    let year = i16::try_from(number(value.get(..4)?)?).ok()?;
    date(year, small(value.get(4..6)?)?, small(value.get(6..8)?)?)
}

fn utc(modified: Modified) -> Option<Modified> {
    Some(Modified {
        zone_known: true,
        ..modified
    })
}
