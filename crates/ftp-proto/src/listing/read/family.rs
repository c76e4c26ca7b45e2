//! The families of listings, and which of them a listing belongs to.

use std::time::SystemTime;

use super::date::Dates;
use super::entry::Entry;
use super::lines::MAX_LINE;
use super::{
    Kind, as400, boilerplate, dls, dos, eplf, mlsd, mvs, nonstop, os2, unix, vm, vms, vxworks, windows,
};

/// The kinds of servers, by how they write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Family {
    /// Facts of RFC 3659, in answer to whatever command.
    Mlsd,
    /// Easily parsed LIST format (publicfile, anonftpd).
    Eplf,
    /// `ls -l` and what imitates it, NetWare's rights in brackets included.
    Unix,
    /// `dir` of MS-DOS, IIS, Windows CE, Surge.
    Dos,
    /// OpenVMS: MultiNet, UCX, TCPware, CMU.
    Vms,
    /// IBM OS/400.
    As400,
    /// IBM MVS and z/OS: datasets, members of a partitioned dataset, jobs.
    Mvs,
    /// IBM VM/CMS.
    Vm,
    /// HP NonStop (Tandem).
    NonStop,
    /// OS/2, and VShell: the size first.
    Os2,
    /// Chameleon, SuperTCP, WFTPD of Windows 3: the name first.
    Windows,
    /// VxWorks.
    VxWorks,
    /// `/bin/dls`: name, size, description.
    Dls,
}

/// Every family; where two read equally many lines, the earlier one wins.
const ALL: [Family; 13] = [
    Family::Mlsd,
    Family::Eplf,
    Family::Unix,
    Family::Dos,
    Family::Vms,
    Family::As400,
    Family::Mvs,
    Family::Vm,
    Family::NonStop,
    Family::VxWorks,
    Family::Os2,
    Family::Windows,
    Family::Dls,
];

/// What a family makes of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reading {
    /// An entry.
    Entry(Box<Entry>),
    /// Nothing that should have been one.
    Nothing,
    /// No entry, but a line that only this family has.
    Heading,
    /// The first half of an entry; [`State::pending`] has it.
    More,
    /// Not a line of this family.
    Unreadable,
}

impl Reading {
    /// An entry, or nothing that can be read.
    pub(super) fn of(entry: Option<Entry>) -> Self {
        entry.map_or(Self::Unreadable, |entry| Self::Entry(Box::new(entry)))
    }
}

/// What lines of one listing know of each other.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) dates: Dates,
    /// The first half of an entry; at most a line.
    pub(super) pending: Option<Vec<u8>>,
    /// A first half that turned out to have no second one.
    pub(super) lost: Option<Vec<u8>>,
    /// Which table of MVS the last heading began.
    pub(super) table: mvs::Table,
}

impl State {
    pub(super) fn new(now: SystemTime) -> Self {
        Self {
            dates: Dates::new(now),
            pending: None,
            lost: None,
            table: mvs::Table::default(),
        }
    }
}

impl Family {
    pub(super) fn read(self, line: &[u8], state: &mut State) -> Reading {
        if line.iter().all(|b| matches!(b, b' ' | b'\t')) && self != Self::Mlsd {
            return Reading::Nothing;
        }
        let reading = match self {
            Self::Mlsd => mlsd::read(line, mlsd::Strictness::Asked),
            Self::Eplf => Reading::of(eplf::read(line)),
            Self::Unix => Reading::of(unix::read(line, &mut state.dates)),
            Self::Dos => Reading::of(dos::read(line, &mut state.dates)),
            Self::Vms => vms::read(line, state),
            Self::As400 => Reading::of(as400::read(line, &mut state.dates)),
            Self::Mvs => mvs::read(line, state),
            Self::Vm => vm::read(line, &mut state.dates),
            Self::NonStop => nonstop::read(line),
            Self::Os2 => Reading::of(os2::read(line, &mut state.dates)),
            Self::Windows => Reading::of(windows::read(line, &mut state.dates)),
            Self::VxWorks => vxworks::read(line),
            Self::Dls => Reading::of(dls::read(line)),
        };
        match reading {
            Reading::Unreadable => unread(line),
            other => other,
        }
    }
}

/// A line that no family reads: what every server may say besides, or something that is lost.
pub(super) fn unread(line: &[u8]) -> Reading {
    if boilerplate::is_none_of_the_entries(line) {
        Reading::Nothing
    } else {
        Reading::Unreadable
    }
}

/// The family that reads most lines of the sample, if there is one. Leaves in `state` what the sample tells about dates.
pub(super) fn judge(kind: Kind, sample: &[u8], state: &mut State) -> Option<Family> {
    let mut best: Option<(usize, Family, State)> = None;
    for family in ALL {
        let mut trial = state.clone();
        let mut hits = 0;
        let mut misses = 0;
        for line in sample
            .split(|b| *b == b'\n')
            .filter(|line| line.len() <= MAX_LINE)
        {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let reading = match family {
                // Names with an equals sign are in other listings, too.
                Family::Mlsd => mlsd::read(line, mlsd::Strictness::Guessed),
                _ => family.read(line, &mut trial),
            };
            match reading {
                Reading::Entry(_) | Reading::Heading => hits += 1,
                Reading::Unreadable => misses += 1,
                Reading::Nothing | Reading::More => {}
            }
        }
        if hits == 0 || (family == Family::Dls && (misses > 0 || !dls::is_sure(sample))) {
            continue;
        }
        if family == Family::Mlsd && kind == Kind::Mlsd {
            return Some(family);
        }
        if best.as_ref().is_none_or(|(most, ..)| hits > *most) {
            best = Some((hits, family, trial));
        }
    }
    let Some((_, family, trial)) = best else {
        // Facts may be missing altogether, if they were asked for.
        let asked = |line: &[u8]| mlsd::read(line, mlsd::Strictness::Asked);
        let names = kind == Kind::Mlsd
            && sample
                .split(|b| *b == b'\n')
                .any(|line| matches!(asked(line), Reading::Entry(_)));
        return names.then_some(Family::Mlsd);
    };
    state.dates = trial.dates;
    Some(family)
}
