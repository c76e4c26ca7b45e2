//! `ls -l` and its imitations: Unix, NetWare, NetPresenz, Peter's server for Mac OS, Hethmon, HellSoft, WarFTPd.

use super::date::{Dates, epoch};
use super::entry::{Entry, EntryKind};
use super::words::{Words, grouped, number, octal};

pub(super) fn read(line: &[u8], dates: &mut Dates) -> Option<Entry> {
    match *line.first()? {
        b'0'..=b'9' => numerical(line),
        // NetWare: `d [RWCEAFMS] owner …`, HellSoft: `d[RWCEMFA]  1 owner …`.
        kind @ (b'd' | b'-') if rights(line).is_some() => {
            let columns = rights(line)?;
            let mut entry = columns_behind(kind, columns, None, dates)?;
            // NetWare pads before the name.
            entry
                .name
                .drain(..entry.name.iter().take_while(|b| **b == b' ').count());
            (!entry.name.is_empty()).then_some(entry)
        }
        kind => {
            let (mode, columns) = permissions(line)?;
            columns_behind(kind, columns, mode, dates)
        }
    }
}

/// What stands behind NetWare's rights in brackets.
fn rights(line: &[u8]) -> Option<&[u8]> {
    let behind = line.get(1..)?;
    let open = behind.iter().position(|b| *b != b' ').filter(|at| *at <= 2)?;
    let rights = behind.get(open..)?.strip_prefix(b"[")?;
    let close = rights.iter().position(|b| *b == b']').filter(|at| *at <= 12)?;
    let all = rights[..close]
        .iter()
        .all(|b| b.is_ascii_uppercase() || matches!(b, b'-' | b' '));
    all.then_some(&rights[close + 1..])
}

/// `drwxr-x---` with what may stick to it: `+` `.` `@` for an ACL or a label, and even the number of links. The bits
/// are `None` where the letters are not those of Unix.
fn permissions(line: &[u8]) -> Option<(Option<u32>, &[u8])> {
    let (letters, mut behind) = (line.get(1..10)?, line.get(10..)?);
    if !b"-dlbcpsfDnM|=w".contains(line.first()?) || !letters.iter().all(|b| b"-rwxsStTlLXCE?*".contains(b)) {
        return None;
    }
    if line.starts_with(b"-C--E-----FTP ") {
        // HP 3000 (MPE/iX): the letters go on.
        return Some((None, &line[13..]));
    }
    if let [b'+' | b'.' | b'@' | b'*' | b'-', rest @ ..] = behind {
        behind = rest;
    }
    if !behind
        .first()
        .is_some_and(|b| matches!(b, b' ' | b'\t' | b'0'..=b'9'))
    {
        return None;
    }
    Some((bits(letters), behind))
}

fn bits(letters: &[u8]) -> Option<u32> {
    let mut mode = 0;
    for (place, letter) in (0..9).zip(letters) {
        let bit = 0o400 >> place;
        let special = match place {
            2 => 0o4000,
            5 => 0o2000,
            8 => 0o1000,
            _ => 0,
        };
        mode |= match (place % 3, letter) {
            (_, b'-') => 0,
            (0, b'r') | (1, b'w') | (2, b'x') => bit,
            (2, b's' | b't') => bit | special,
            (2, b'S' | b'T' | b'l' | b'L') => special,
            _ => return None,
        };
    }
    Some(mode)
}

/// Links, owner, group, size, date, name. Where they end is known from the date, which has a size before it.
fn columns_behind(kind: u8, columns: &[u8], mode: Option<u32>, dates: &mut Dates) -> Option<Entry> {
    let words = Words::of(columns);
    let (size_at, (modified, date_end)) = (0..words.len()).find_map(|at| {
        length(words.at(at))?;
        dates.words(&words, at + 1).map(|date| (at, date))
    })?;
    let kind = match kind {
        b'd' => EntryKind::Directory,
        b'l' => EntryKind::Link,
        b'-' | b'f' => EntryKind::File,
        _ => EntryKind::Other,
    };
    let mut name = words.behind(date_end)?;
    if modified.precision == super::Precision::Day && !has_year_of_ls(words.at(date_end)) {
        // A date alone is padded to the width of one with a time.
        name = words.rest(date_end)?;
    }
    let (size, exact) = length(words.at(size_at))?;
    let mut target = None;
    if kind == EntryKind::Link {
        (name, target) = link(name, size);
    }
    if name.is_empty() {
        return None;
    }
    let mut entry = Entry::new(name, kind, Some(modified));
    let (owner, group) = owners(&words, size_at);
    entry.owner = owner.map(<[u8]>::to_vec);
    entry.group = group.map(<[u8]>::to_vec);
    entry.mode = mode;
    entry.target = target.map(<[u8]>::to_vec);
    Some(if exact {
        entry.sized(Some(size))
    } else {
        entry.sized_about(Some(size))
    })
}

/// `2001` behind month and day: `ls` pads that before, not behind.
fn has_year_of_ls(word: &[u8]) -> bool {
    word.len() == 4 && number(word).is_some()
}

/// A size, and whether it is exact: `1,234,567`, `33.5k`, or the minor number of a device.
fn length(word: &[u8]) -> Option<(u64, bool)> {
    if let Some(size) = grouped(word) {
        return Some((size, true));
    }
    // Major and minor number in one word; a device has no size.
    if let Some(comma) = word.iter().position(|b| *b == b',')
        && number(&word[..comma]).is_some()
        && number(&word[comma + 1..]).is_some()
    {
        return Some((0, true));
    }
    let (unit, digits) = word.split_last()?;
    let factor: u64 = match unit.to_ascii_lowercase() {
        b'b' => 1,
        b'k' => 1 << 10,
        b'm' => 1 << 20,
        b'g' => 1 << 30,
        b't' => 1 << 40,
        _ => return None,
    };
    let (whole, tenths) = match digits.iter().position(|b| matches!(b, b'.' | b',')) {
        Some(dot) => (&digits[..dot], number(digits.get(dot + 1..dot + 2)?)?),
        None => (digits, 0),
    };
    let size = number(whole)?
        .checked_mul(factor)?
        .checked_add(factor * tenths / 10)?;
    Some((size, false))
}

/// Name and target. A name may itself have ` -> ` in it; the size of a link is the length of its target.
fn link(text: &[u8], size: u64) -> (&[u8], Option<&[u8]>) {
    const ARROW: &[u8] = b" -> ";
    let arrows = || {
        text.windows(ARROW.len())
            .enumerate()
            .filter(|(_, four)| *four == ARROW)
            .map(|(at, _)| at)
    };
    let fits = |at: &usize| (text.len() - at - ARROW.len()) as u64 == size;
    match arrows().find(fits).or_else(|| arrows().next()) {
        Some(at) => (&text[..at], Some(&text[at + ARROW.len()..])),
        None => (text, None),
    }
}

/// Owner and group from between the number of links and the size; there may be any number of words.
fn owners<'a>(words: &Words<'a>, size_at: usize) -> (Option<&'a [u8]>, Option<&'a [u8]>) {
    let value = |at| number(words.at(at));
    // NetPresenz shows both forks of a Macintosh file and their sum, or `folder`.
    if size_at == 2
        && let (Some(resource), Some(data), Some(sum)) = (value(0), value(1), value(2))
        && resource.checked_add(data) == Some(sum)
    {
        return (None, None);
    }
    if size_at == 1 && words.at(0) == b"folder" {
        return (None, None);
    }
    let mut from = usize::from(value(0).is_some() && size_at > 0);
    if from == 1 && size_at > 2 && words.at(1) == b"folder" {
        from = 2;
    }
    let mut end = size_at;
    // `0, 27`: major and minor number.
    if end > from && words.at(end - 1).ends_with(b",") {
        end -= 1;
    }
    match end.saturating_sub(from) {
        0 => (None, None),
        1 => (words.get(from), None),
        _ => (words.get(from), words.span(from + 1, end - 1)),
    }
}

/// Servers that give numbers for everything: `0100644   500  101   12345    123456789       name`.
fn numerical(line: &[u8]) -> Option<Entry> {
    let words = Words::of(line);
    let mode = octal(words.at(0)).filter(|_| words.at(0).len() >= 6)?;
    let kind = match mode & 0o170_000 {
        0o040_000 => EntryKind::Directory,
        0o100_000 => EntryKind::File,
        0o120_000 => EntryKind::Link,
        _ => EntryKind::Other,
    };
    number(words.at(1))?;
    number(words.at(2))?;
    let size = number(words.at(3))?;
    let modified = epoch(number(words.at(4))?)?;
    let mut entry = Entry::new(words.rest(4)?, kind, Some(modified))
        .sized(Some(size))
        .owned(words.get(1));
    entry.group = words.get(2).map(<[u8]>::to_vec);
    entry.mode = Some(mode & 0o7777);
    Some(entry)
}
