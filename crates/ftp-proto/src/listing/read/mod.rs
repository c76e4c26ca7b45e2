//! Listings as a client gets them: bytes in, entries out, whatever kind of server has written them.
//!
//! The contract: [`Reader::handle_input`] with each piece that arrives, then [`Reader::poll_entry`] to `None`; at the
//! end [`Reader::handle_end`], `poll_entry` to `None` once more, and [`Reader::summary`]. The first lines are held back
//! until it is clear what family of listing this is.

mod as400;
mod boilerplate;
mod date;
mod dls;
mod dos;
mod entry;
mod eplf;
mod family;
mod lines;
mod mlsd;
mod month;
mod mvs;
mod name;
mod nonstop;
mod os2;
mod unix;
mod vm;
mod vms;
mod vxworks;
mod windows;
mod words;

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod tests;

use std::time::SystemTime;

pub use self::entry::{Entry, EntryKind, Modified, Precision};
pub use self::family::Family;
pub use self::lines::MAX_LINE;
pub use self::name::{NameFault, one_component};

use self::family::{Reading, State};
use self::lines::{Line, Lines};

/// How much of an unreadable line is kept for the user.
const SHOWN: usize = 256;

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// MLSD. Lines that are no facts are read like LIST's, for servers that take the one for the other.
    Mlsd,
    /// LIST: the family is found out.
    List,
    /// NLST: a name a line, as it stands; it may be a path, and nothing else is known of it.
    Names,
}

/// Reads one listing. Holds what has come and is not polled yet, one line and at most 16 KiB that wait for the
/// family to be known.
#[derive(Debug)]
pub struct Reader {
    kind: Kind,
    lines: Lines,
    state: State,
    family: Option<Family>,
    /// Bytes at the beginning of `lines` that no family can read.
    foreign: usize,
    summary: Summary,
}

/// What a listing came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// What the listing was taken for; `None` for names, and when nothing in it could be read.
    pub family: Option<Family>,
    /// Entries handed out.
    pub entries: u64,
    /// Lines that should have been entries and could not be read. Headings, totals, `.` and `..` are no such lines.
    pub skipped: u64,
    /// The first of them.
    pub first_skipped: Option<Skipped>,
}

/// A line that was not understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Its number, from 1.
    pub number: u64,
    /// Its first 256 bytes, as they came.
    pub text: Vec<u8>,
    /// What is wrong with it.
    pub reason: SkipReason,
}

/// Why a line was skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SkipReason {
    /// It is longer than [`MAX_LINE`].
    Overlong,
    /// It does not look like an entry.
    Unreadable,
}

impl Reader {
    /// A reader for one listing. `now` decides the year of dates that have none.
    #[must_use]
    pub fn new(kind: Kind, now: SystemTime) -> Self {
        Self {
            kind,
            lines: Lines::default(),
            state: State::new(now),
            family: None,
            foreign: 0,
            summary: Summary::default(),
        }
    }

    /// Takes the next piece of the listing, cut anywhere.
    pub fn handle_input(&mut self, input: &[u8]) {
        self.lines.push(input);
    }

    /// The data connection has ended: what is there without a line end is a line, too.
    pub fn handle_end(&mut self) {
        self.lines.end();
    }

    /// The next entry. `None`: more input is needed, or, after [`handle_end`](Self::handle_end), that was all.
    pub fn poll_entry(&mut self) -> Option<Entry> {
        loop {
            if self.kind != Kind::Names && self.family.is_none() && self.foreign == 0 {
                // A first line without end must not hold everything up.
                if let Some(start) = self.lines.drop_overlong_head() {
                    let line = self.lines.bytes(start);
                    self.summary.skip(self.lines.number(), line, SkipReason::Overlong);
                    continue;
                }
                if !self.survey() {
                    return None;
                }
            }
            let before = self.lines.consumed();
            let (line, reason) = match self.lines.next() {
                None => {
                    self.lose_pending();
                    return None;
                }
                Some(Line::Overlong(start)) => (start, SkipReason::Overlong),
                Some(Line::Whole(line)) => (line, SkipReason::Unreadable),
            };
            let number = self.lines.number();
            let line = self.lines.bytes(line);
            if reason == SkipReason::Overlong {
                self.summary.skip(number, line, reason);
            } else if self.kind == Kind::Names {
                if !matches!(line, b"" | b"." | b"..") {
                    self.summary.entries += 1;
                    return Some(Entry::named(line));
                }
            } else {
                let reading = match self.family {
                    Some(family) => family.read(line, &mut self.state),
                    None => family::unread(line),
                };
                if let Some(lost) = self.state.lost.take() {
                    self.summary.skip(number - 1, &lost, reason);
                }
                match reading {
                    Reading::Entry(entry) if matches!(&entry.name[..], b"." | b"..") => {}
                    Reading::Entry(entry) => {
                        self.summary.entries += 1;
                        self.count_foreign(before);
                        return Some(*entry);
                    }
                    Reading::Nothing | Reading::Heading | Reading::More => {}
                    Reading::Unreadable => self.summary.skip(number, line, reason),
                }
            }
            self.count_foreign(before);
        }
    }

    /// What the listing has come to so far; whole once `poll_entry` has given `None` after `handle_end`.
    #[must_use]
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Finds the family, once enough has come. False: not enough yet.
    fn survey(&mut self) -> bool {
        let Some(sample) = self.lines.sample() else {
            return false;
        };
        let winner = family::judge(self.kind, &sample, &mut self.state);
        if winner.is_none() {
            self.foreign = sample.len();
        }
        self.family = winner;
        self.summary.family = winner;
        true
    }

    fn count_foreign(&mut self, before: u64) {
        let read = usize::try_from(self.lines.consumed() - before).unwrap_or(usize::MAX);
        self.foreign = self.foreign.saturating_sub(read);
    }

    /// A line that waited for its second half, at the end.
    fn lose_pending(&mut self) {
        if self.lines.is_over()
            && let Some(lost) = self.state.pending.take()
        {
            self.summary
                .skip(self.lines.number(), &lost, SkipReason::Unreadable);
        }
    }
}

impl Summary {
    fn skip(&mut self, number: u64, line: &[u8], reason: SkipReason) {
        self.skipped += 1;
        if self.first_skipped.is_none() {
            self.first_skipped = Some(Skipped {
                number,
                text: line[..line.len().min(SHOWN)].to_vec(),
                reason,
            });
        }
    }
}

/// Reads the facts of an MLST reply, the line between 250- and 250 without its leading space (RFC 3659 §7.2).
#[must_use]
pub fn mlst(line: &[u8]) -> Option<Entry> {
    match mlsd::read(line, mlsd::Strictness::Asked) {
        Reading::Entry(entry) => Some(*entry),
        // MLST of a directory may well call it cdir.
        Reading::Heading => mlsd::this_directory(line),
        _ => None,
    }
}
