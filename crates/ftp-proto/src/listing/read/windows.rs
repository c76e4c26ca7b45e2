//! Listings with the name first: Chameleon, SuperTCP and WFTPD for Windows 3, Wellfleet routers.

use super::date::{Dates, Order, date, local, small, time};
use super::entry::{Entry, EntryKind};
use super::month::month;
use super::words::{Words, number};

pub(super) fn read(line: &[u8], dates: &mut Dates) -> Option<Entry> {
    let words = Words::of(line);
    let name = words.get(0)?;
    let size = number(words.at(1));
    if size.is_none() && words.at(1) != b"<DIR>" {
        return None;
    }
    let (day, at) = match month(words.get(2)?) {
        // `Nov 16 1994 17:16`
        Some(month) => {
            let year = i16::try_from(number(words.get(4)?)?).ok()?;
            (date(year, month, small(words.get(3)?)?)?, 5)
        }
        // `11-16-94        17:16`
        None => {
            let preference = [Order::Month, Order::Day, Order::Year];
            (dates.numeric(words.at(2), preference)?, 3)
        }
    };
    let modified = local(day, Some(time(words.get(at)?)?));
    // Attributes may follow, as one word.
    if words.len() > at + 2 {
        return None;
    }
    let kind = if size.is_some() {
        EntryKind::File
    } else {
        EntryKind::Directory
    };
    Some(Entry::new(name, kind, modified).sized(size))
}
