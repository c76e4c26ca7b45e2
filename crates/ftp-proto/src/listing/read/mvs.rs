//! IBM MVS and z/OS: datasets, members of a partitioned dataset, and the jobs of JES. None has a length in bytes.

use super::date::{Order, local, time};
use super::entry::{Entry, EntryKind};
use super::family::{Reading, State};
use super::words::{Words, number};

/// Which columns the last heading announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Table {
    /// Datasets, or no heading yet.
    #[default]
    Datasets,
    /// Members with what ISPF knows of them; a name alone is a member, too.
    Members,
    /// Load modules.
    Modules,
    /// Jobs.
    Jobs,
}

pub(super) fn read(line: &[u8], state: &mut State) -> Reading {
    let words = Words::of(line);
    let heading = match (words.at(0), words.at(1)) {
        (b"Volume", b"Unit" | b"Referred") => Some(Table::Datasets),
        (b"Name", b"VV.MM") => Some(Table::Members),
        (b"Name", b"Size") => Some(Table::Modules),
        (b"JOBNAME", b"JOBID") => Some(Table::Jobs),
        _ => None,
    };
    if let Some(table) = heading {
        state.table = table;
        return Reading::Heading;
    }
    Reading::of(
        job(&words)
            .or_else(|| member(&words, state))
            .or_else(|| dataset(&words, state)),
    )
}

/// `PSMLC1 3390   2005/04/04  1    1  VB   27994 27998  PS    file3.I`, `Migrated  A.B.C`, `Pseudo Directory  A`.
fn dataset(words: &Words<'_>, state: &mut State) -> Option<Entry> {
    let last = words.len().checked_sub(1)?;
    let name = unquoted(words.at(last));
    let text = |from, to| words.span(from, to).unwrap_or_default();
    let is = |known: &str| text(0, known.split(' ').count() - 1) == known.as_bytes();
    if last == 2 && is("Pseudo Directory") {
        return Some(Entry::new(name, EntryKind::Directory, None));
    }
    // Not on a disk, or nothing is known of it: it is there all the same.
    let elsewhere = (last == 1 && (is("Migrated") || is("MIGRAT") || is("Path")))
        || (last == 5 && text(1, 4) == b"Not Direct Access Device")
        || (last == 3 && (is("Error determining attributes") || is("User catalog connector")))
        || words.at(1) == b"Tape";
    let kind = if elsewhere {
        EntryKind::File
    } else {
        let referred = words.get(2)?;
        if referred != b"**NONE**" {
            state
                .dates
                .numeric(referred, [Order::Year, Order::Day, Order::Month])
                .filter(|_| referred.len() == 10)?;
        }
        match words.at(last.checked_sub(1)?) {
            b"PO" | b"PO-E" | b"POU" => EntryKind::Directory,
            b"PS" | b"PS-E" | b"PS-L" | b"PSU" | b"DA" | b"DAU" | b"VS" | b"VSAM" | b"GDG" | b"IS" | b"U" => {
                EntryKind::File
            }
            _ => return None,
        }
    };
    Some(Entry::new(name, kind, None))
}

/// A name that stands for itself, not below the working directory, is in quotes.
fn unquoted(name: &[u8]) -> &[u8] {
    name.strip_prefix(b"'")
        .and_then(|name| name.strip_suffix(b"'"))
        .unwrap_or(name)
}

/// `TBSHELF1  01.03 2002/09/12 2002/10/11 09:37    11    11     0 KIL001`: sizes are in lines.
fn member(words: &Words<'_>, state: &mut State) -> Option<Entry> {
    let name = words.get(0).filter(|name| is_member(name))?;
    if state.table == Table::Modules {
        let size = std::str::from_utf8(words.get(1)?).ok()?;
        let size = (size.len() >= 6).then(|| u64::from_str_radix(size, 16).ok())??;
        return Some(Entry::new(name, EntryKind::File, None).sized_about(Some(size)));
    }
    if words.len() == 1 {
        // ISPF knows nothing of it.
        return (state.table == Table::Members).then(|| Entry::new(name, EntryKind::File, None));
    }
    let version = words.at(1);
    if version.len() != 5 || version[2] != b'.' {
        return None;
    }
    let order = [Order::Year, Order::Day, Order::Month];
    state.dates.numeric(words.at(2), order)?;
    let changed = state.dates.numeric(words.at(3), order)?;
    let modified = local(changed, Some(time(words.at(4))?));
    number(words.at(5))?;
    Some(Entry::new(name, EntryKind::File, modified).owned(words.get(8)))
}

/// One to eight letters, digits and `$#@`.
fn is_member(name: &[u8]) -> bool {
    name.len() <= 8
        && !name[0].is_ascii_digit()
        && name
            .iter()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b"$#@".contains(b))
}

/// `IBMUSER1  JOB01906  OUTPUT    3 Spool Files`; what is fetched is the job's number.
fn job(words: &Words<'_>) -> Option<Entry> {
    let id = words.get(1)?;
    let digits = id.iter().position(u8::is_ascii_digit)?;
    if !matches!(&id[..digits], b"JOB" | b"TSU" | b"STC" | b"J" | b"T" | b"S")
        || !(5..=7).contains(&(id.len() - digits))
        || number(&id[digits..]).is_none()
    {
        return None;
    }
    let status = (2..=3).find(|at| {
        matches!(
            words.at(*at),
            b"OUTPUT" | b"INPUT" | b"ACTIVE" | b"HELD" | b"EXEC"
        )
    })?;
    let owner = if status == 3 { words.get(2) } else { None };
    Some(Entry::new(id, EntryKind::File, None).owned(owner))
}
