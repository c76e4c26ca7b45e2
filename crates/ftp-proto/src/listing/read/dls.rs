//! `/bin/dls`, once common on archive servers: name, size, description.

use super::entry::{Entry, EntryKind};
use super::words::{Words, number};

/// `00README            763  Information about this server`, `bin/                  -  System files`, `pub/ =  Public`
pub(super) fn read(line: &[u8]) -> Option<Entry> {
    let words = Words::of(line);
    let name = words.get(0)?;
    let mark = words.get(1)?;
    if line.first() == Some(&b' ') {
        return None;
    }
    if let Some(name) = name.strip_suffix(b"/") {
        let is_directory = matches!(mark, b"-" | b"=") && !name.is_empty();
        return is_directory.then(|| Entry::new(name, EntryKind::Directory, None));
    }
    let size = number(mark)?;
    Some(Entry::new(name, EntryKind::File, None).sized(Some(size)))
}

/// A name and a number is what many a text has. With a directory among them, it is this.
pub(super) fn is_sure(sample: &[u8]) -> bool {
    sample
        .split(|b| *b == b'\n')
        .any(|line| read(line).is_some_and(|entry| entry.kind == EntryKind::Directory))
}
