//! Easily parsed LIST format, by D. J. Bernstein: `+i8388621.48594,m825718503,r,s280,\tname`.

use super::date::epoch;
use super::entry::{Entry, EntryKind};
use super::words::{number, octal};

pub(super) fn read(line: &[u8]) -> Option<Entry> {
    let line = line.strip_prefix(b"+")?;
    let tab = line.iter().position(|b| *b == b'\t')?;
    let name = line.get(tab + 1..).filter(|name| !name.is_empty())?;
    // What can neither be fetched nor entered has no sign at all.
    let mut entry = Entry::new(name, EntryKind::Other, None);
    let mut size = None;
    for fact in line[..tab].split(|b| *b == b',') {
        match fact {
            b"/" => entry.kind = EntryKind::Directory,
            b"r" if entry.kind != EntryKind::Directory => entry.kind = EntryKind::File,
            [b's', digits @ ..] => size = number(digits),
            [b'm', digits @ ..] => entry.modified = number(digits).and_then(epoch),
            [b'u', b'p', digits @ ..] => entry.mode = octal(digits).map(|mode| mode & 0o7777),
            _ => {}
        }
    }
    Some(entry.sized(size))
}
