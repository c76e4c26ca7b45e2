//! VxWorks: size, date with the month's name, time, name, and `<DIR>` behind it.

use super::date::{local, time, with_month_name};
use super::entry::{Entry, EntryKind};
use super::family::Reading;
use super::words::{Words, number};

pub(super) fn read(line: &[u8]) -> Reading {
    let words = Words::of(line);
    if words.len() == 4 && words.at(0) == b"size" && words.at(3) == b"name" {
        return Reading::Heading;
    }
    // A line under the heading.
    if words.len() == 4 && (0..4).all(|at| words.at(at).iter().all(|b| *b == b'-')) {
        return Reading::Nothing;
    }
    Reading::of(entry(&words))
}

fn entry(words: &Words<'_>) -> Option<Entry> {
    let size = number(words.at(0))?;
    let date = with_month_name(words.at(1))?;
    let modified = local(date, Some(time(words.at(2))?));
    let name = words.rest(2)?.trim_ascii_end();
    match name.strip_suffix(b"<DIR>").map(<[u8]>::trim_ascii_end) {
        Some(b"") => None,
        Some(name) => Some(Entry::new(name, EntryKind::Directory, modified)),
        None => Some(Entry::new(name, EntryKind::File, modified).sized(Some(size))),
    }
}
