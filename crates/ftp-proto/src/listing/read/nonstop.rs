//! HP NonStop (Tandem): name, code, end of file, date, time, owner, security.

use super::date::{local, time, with_month_name};
use super::entry::{Entry, EntryKind};
use super::family::Reading;
use super::words::{Words, number};

pub(super) fn read(line: &[u8]) -> Reading {
    let words = Words::of(line);
    if words.at(0) == b"File" && words.at(1) == b"Code" {
        return Reading::Heading;
    }
    Reading::of(entry(&words))
}

fn entry(words: &Words<'_>) -> Option<Entry> {
    let code = words.get(1)?;
    // An O behind the code: the file is open. It may stand by itself.
    let at = 2 + usize::from(words.at(2) == b"O");
    number(code.strip_suffix(b"O").unwrap_or(code))?;
    let size = number(words.at(at))?;
    let date = with_month_name(words.at(at + 1))?;
    let modified = local(date, Some(time(words.at(at + 2))?));
    // `255, 0` or `255,255`
    let owner = words.get(at + 3)?;
    let owner = if owner.ends_with(b",") {
        words.span(at + 3, at + 4)
    } else {
        Some(owner)
    };
    Some(
        Entry::new(words.at(0), EntryKind::File, modified)
            .sized(Some(size))
            .owned(owner),
    )
}
