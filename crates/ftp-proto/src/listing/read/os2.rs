//! Listings with the size first: OS/2, and VShell.

use super::date::{Dates, Order, date, local, small, time};
use super::entry::{Entry, EntryKind};
use super::month::month;
use super::words::{Words, number};

/// The letters of attributes: archive, directory, hidden, read-only, system.
const ATTRIBUTES: &[u8] = b"ADHRS-";

pub(super) fn read(line: &[u8], dates: &mut Dates) -> Option<Entry> {
    let words = Words::of(line);
    let size = number(words.at(0))?;
    vshell(&words, size).or_else(|| os2(&words, size, dates))
}

/// `149473      A          11-17-98   16:07  POPUPLOG.OS2`, `0           DIR   02-11-103  16:15  name`
fn os2(words: &Words<'_>, size: u64, dates: &mut Dates) -> Option<Entry> {
    let at = (1..=3).find(|at| words.at(*at).contains(&b'-') && words.at(*at).len() > 5)?;
    let mut directory = false;
    for mark in (1..at).map(|at| words.at(at)) {
        if mark == b"DIR" {
            directory = true;
        } else if !mark.iter().all(|b| ATTRIBUTES.contains(b)) {
            return None;
        }
    }
    let clock = time(words.at(at + 1))?;
    let date = dates.numeric(words.at(at), [Order::Month, Order::Day, Order::Year])?;
    let modified = local(date, Some(clock));
    let kind = if directory {
        EntryKind::Directory
    } else {
        EntryKind::File
    };
    Some(Entry::new(words.rest(at + 1)?, kind, modified).sized(Some(size)))
}

/// `206876  Apr 04, 2000 21:06 name`, a directory with a slash behind it.
fn vshell(words: &Words<'_>, size: u64) -> Option<Entry> {
    let month = month(words.get(1)?)?;
    let day = small(words.get(2)?.strip_suffix(b",")?)?;
    let year = i16::try_from(number(words.get(3)?)?).ok()?;
    let clock = time(words.get(4)?)?;
    let modified = local(date(year, month, day)?, Some(clock));
    let name = words.rest(4)?;
    match name.strip_suffix(b"/") {
        Some(b"") => None,
        Some(name) => Some(Entry::new(name, EntryKind::Directory, modified)),
        None => Some(Entry::new(name, EntryKind::File, modified).sized(Some(size))),
    }
}
