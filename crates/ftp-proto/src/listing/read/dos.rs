//! `dir` of MS-DOS and Windows: IIS, Windows CE, Surge, and `cmd`'s links.

use super::date::{Dates, Order, local, time};
use super::entry::{Entry, EntryKind};
use super::words::{Words, grouped};

pub(super) fn read(line: &[u8], dates: &mut Dates) -> Option<Entry> {
    let words = Words::of(line);
    let first = words.get(0)?;
    let preference = if first.contains(&b'.') {
        [Order::Day, Order::Month, Order::Year]
    } else {
        [Order::Month, Order::Day, Order::Year]
    };
    if first.len() < 6 {
        return None;
    }
    // `10:02AM`, `10:02`, `10:02:00`, `10:02 AM`
    let mut at = 2;
    let clock = match words.at(2) {
        half @ (b"AM" | b"PM" | b"am" | b"pm" | b"a.m." | b"p.m.") => {
            at = 3;
            let letter = if matches!(half.first(), Some(b'P' | b'p')) {
                b"PM"
            } else {
                b"AM"
            };
            time(&[words.at(1), letter].concat())?
        }
        _ => time(words.at(1))?,
    };
    let mark = words.get(at)?;
    let size = grouped(mark);
    if size.is_none() && !(mark.starts_with(b"<") && mark.ends_with(b">")) {
        return None;
    }
    let date = dates.numeric(first, preference)?;
    let modified = local(date, Some(clock))?;
    if let Some(size) = size {
        let name = words.behind(at).filter(|name| !name.is_empty())?;
        return Some(Entry::new(name, EntryKind::File, Some(modified)).sized(Some(size)));
    }
    let name = words.rest(at)?;
    let is = |known: &str| mark.eq_ignore_ascii_case(known.as_bytes());
    // `<REP>`, `<CARTELLA>` and so on: what stands in the column of the size and is none of these is a directory.
    if !(is("<JUNCTION>") || is("<SYMLINKD>") || is("<SYMLINK>")) {
        return Some(Entry::new(name, EntryKind::Directory, Some(modified)));
    }
    let (name, target) = target(name);
    let mut entry = Entry::new(name, EntryKind::Link, Some(modified));
    entry.target = target.map(<[u8]>::to_vec);
    Some(entry)
}

/// `name -> target`, or `name [target]` as `cmd` writes it.
fn target(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    const ARROW: &[u8] = b" -> ";
    if let Some(at) = text.windows(ARROW.len()).position(|four| four == ARROW) {
        return (&text[..at], Some(&text[at + ARROW.len()..]));
    }
    if let Some(inner) = text.strip_suffix(b"]")
        && let Some(at) = inner.windows(2).rposition(|two| two == b" [")
    {
        return (&inner[..at], Some(&inner[at + 2..]));
    }
    (text, None)
}
