//! IBM VM/CMS: file name, file type, record format and length, records, blocks, date, time.

use super::date::{Dates, Order, local, time};
use super::entry::{Entry, EntryKind};
use super::family::Reading;
use super::words::{Words, number};

pub(super) fn read(line: &[u8], dates: &mut Dates) -> Reading {
    let words = Words::of(line);
    if words.at(0).eq_ignore_ascii_case(b"Filename") && words.at(1).eq_ignore_ascii_case(b"FileType") {
        return Reading::Heading;
    }
    Reading::of(entry(&words, dates))
}

fn entry(words: &Words<'_>, dates: &mut Dates) -> Option<Entry> {
    // A directory has no file type, and only the older servers show the file mode.
    let format = (1..=3).find(|at| matches!(words.at(*at), b"V" | b"F" | b"DIR"))?;
    for at in format + 1..=format + 3 {
        if words.at(at) != b"-" {
            number(words.at(at))?;
        }
    }
    let date = dates.numeric(words.at(format + 4), [Order::Month, Order::Year, Order::Day])?;
    let clock = time(words.at(format + 5))?;
    let modified = local(date, Some(clock));
    if words.at(format) == b"DIR" {
        return Some(Entry::new(words.at(0), EntryKind::Directory, modified));
    }
    if format == 1 {
        return None;
    }
    let name = [words.at(0), b".", words.at(1)].concat();
    Some(Entry::new(&name, EntryKind::File, modified))
}
