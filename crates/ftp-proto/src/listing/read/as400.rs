//! IBM OS/400: `OWNER  size date time *TYPE  name`.

use super::date::{Dates, Order, local, time};
use super::entry::{Entry, EntryKind};
use super::words::{Words, number};

pub(super) fn read(line: &[u8], dates: &mut Dates) -> Option<Entry> {
    let words = Words::of(line);
    let star = (1..=4).find(|at| words.at(*at).starts_with(b"*"))?;
    let object = words.at(star);
    let name = words.rest(star)?;
    // What is behind the name is padding.
    let name = name.trim_ascii_end();
    if star == 1 {
        // A member of a physical file has neither size nor date, and its name is a path.
        let member = object.eq_ignore_ascii_case(b"*MEM");
        return member.then(|| Entry::new(name, EntryKind::File, None).owned(words.get(0)));
    }
    if star != 4 || object.eq_ignore_ascii_case(b"*MEM") {
        return None;
    }
    let size = number(words.at(1))?;
    let clock = time(words.at(3))?;
    let preference = if words.at(2).contains(&b'.') {
        [Order::Day, Order::Year, Order::Month]
    } else {
        [Order::Year, Order::Day, Order::Month]
    };
    let date = dates.numeric(words.at(2), preference)?;
    let modified = local(date, Some(clock));
    let is = |known: &str| object.eq_ignore_ascii_case(known.as_bytes());
    let (name, kind) = match name.strip_suffix(b"/") {
        Some(name) => (name, EntryKind::Directory),
        None if is("*DIR") || is("*DDIR") || is("*LIB") || is("*FLR") => (name, EntryKind::Directory),
        None if is("*SYMLNK") => (name, EntryKind::Link),
        None if is("*BLKSF") || is("*CHRSF") || is("*FIFO") || is("*SOCKET") => (name, EntryKind::Other),
        None => (name, EntryKind::File),
    };
    // Some show a path from the root.
    let name = match name {
        [b'/', ..] => name.rsplit(|b| *b == b'/').next().unwrap_or(name),
        _ => name,
    };
    if name.is_empty() {
        return None;
    }
    let entry = Entry::new(name, kind, modified).owned(words.get(0));
    // Of a stream file it is the length, of the others the room that they take.
    Some(if is("*STMF") {
        entry.sized(Some(size))
    } else {
        entry.sized_about(Some(size))
    })
}
