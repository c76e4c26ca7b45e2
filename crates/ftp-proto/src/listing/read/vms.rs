//! OpenVMS: MultiNet, UCX, TCPware, CMU. Long names have the rest of their entry on the next line.

use super::date::{local, time, with_month_name};
use super::entry::{Entry, EntryKind};
use super::family::{Reading, State};
use super::words::{Words, number};

/// Sizes are in blocks of so many bytes.
const BLOCK: u64 = 512;

pub(super) fn read(line: &[u8], state: &mut State) -> Reading {
    if let Some(entry) = entry(line) {
        state.lost = state.pending.take();
        return Reading::Entry(Box::new(entry));
    }
    if let Some(first_half) = state.pending.take() {
        let joined = [&first_half, &b" "[..], line].concat();
        if let Some(entry) = entry(&joined) {
            return Reading::Entry(Box::new(entry));
        }
        state.lost = Some(first_half);
    }
    let words = Words::of(line);
    let first = words.at(0);
    if versioned(first).is_some() && words.len() == 1 {
        state.pending = Some(first.to_vec());
        return Reading::More;
    }
    // `Directory DISK$VOL:[DIR1.DIR2]`, `ANONYMOUS:[PUB]`, `DISK$VOL:`
    let last = words.at(words.len().saturating_sub(1));
    if words.len() <= 2
        && (words.len() == 1 || first.eq_ignore_ascii_case(b"directory"))
        && (last.ends_with(b"]") || last.ends_with(b">") || last.ends_with(b":"))
    {
        return Reading::Nothing;
    }
    Reading::Unreadable
}

/// Name, type and version.
fn versioned(word: &[u8]) -> Option<(&[u8], u32)> {
    let at = word.iter().rposition(|b| *b == b';').filter(|at| *at > 0)?;
    let version = u32::try_from(number(&word[at + 1..])?).ok()?;
    // CMU puts the directory before the name: `[A.DIR]FILE;1`.
    let name = match word[..at].iter().rposition(|b| *b == b']') {
        Some(bracket) => &word[bracket + 1..at],
        None => &word[..at],
    };
    (!name.is_empty()).then_some((name, version))
}

fn entry(line: &[u8]) -> Option<Entry> {
    let words = Words::of(line);
    let (name, version) = versioned(words.get(0)?)?;
    let mut size = None;
    let mut modified = None;
    let mut owner = None;
    let mut known = false;
    for at in 1..words.len() {
        let word = words.at(at);
        if word.starts_with(b"[") {
            owner = owner.or(Some(word));
        } else if word.starts_with(b"(") {
            break;
        } else if let Some(date) = with_month_name(word) {
            modified = modified.or_else(|| local(date, words.get(at + 1).and_then(time)));
            known = true;
        } else if let Some(blocks) = blocks(word) {
            size = size.or(Some(blocks));
            known = true;
        } else if word.iter().all(|b| *b == b'*') {
            // A size with more digits than there is room for.
            known = true;
        }
    }
    if !known && !is_refused(line) {
        return None;
    }
    let directory = name
        .len()
        .checked_sub(4)
        .filter(|stem| *stem > 0 && name[*stem..].eq_ignore_ascii_case(b".DIR"));
    let (name, kind) = match directory {
        Some(stem) => (&name[..stem], EntryKind::Directory),
        None => (name, EntryKind::File),
    };
    let size = size.and_then(|blocks| blocks.checked_mul(BLOCK));
    let mut entry = Entry::new(name, kind, modified).sized_about(size);
    entry.version = Some(version);
    (entry.group, entry.owner) = owners(owner);
    Some(entry)
}

/// `11`, or used and allocated blocks: `11/18`.
fn blocks(word: &[u8]) -> Option<u64> {
    match word.iter().position(|b| *b == b'/') {
        Some(slash) => number(&word[slash + 1..]).and(number(&word[..slash])),
        None => number(word),
    }
}

/// Group and owner of `[GROUP,OWNER]` or `[OWNER]`.
fn owners(word: Option<&[u8]>) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
    let inner = word
        .and_then(|word| word.strip_prefix(b"["))
        .map(|inner| inner.strip_suffix(b"]").unwrap_or(inner));
    match inner {
        None | Some(b"") => (None, None),
        Some(inner) => match inner.iter().position(|b| *b == b',') {
            Some(comma) => (Some(inner[..comma].to_vec()), Some(inner[comma + 1..].to_vec())),
            None => (None, Some(inner.to_vec())),
        },
    }
}

/// An entry whose attributes may not be read: it is there all the same.
fn is_refused(line: &[u8]) -> bool {
    let is = |known: &[u8]| line.windows(known.len()).any(|part| part == known);
    is(b"insufficient privilege") || is(b"%RMS-E-PRV") || is(b"-NOPRIV,")
}
