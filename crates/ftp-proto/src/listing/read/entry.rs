//! What a line of a listing says.

use std::time::SystemTime;

/// One entry of a listing. What the line does not say is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name as it came: any bytes but a line end. It may be a path or a trap; see
    /// [`one_component`](super::one_component).
    pub name: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// Length in bytes; for files only, as the number that `ls` shows for directories and links is another thing.
    pub size: Option<u64>,
    /// False where the server counts in blocks or rounds (`33.5k`): such a size is for showing, not for comparing.
    pub size_exact: bool,
    /// When the content changed last.
    pub modified: Option<Modified>,
    /// Permission bits, `0o7777`.
    pub mode: Option<u32>,
    /// Owner, name or number.
    pub owner: Option<Vec<u8>>,
    /// Group, name or number.
    pub group: Option<Vec<u8>>,
    /// Where a link leads, as it came.
    pub target: Option<Vec<u8>>,
    /// The version of a VMS file; the name has none, and the highest version is what RETR of the name gets.
    pub version: Option<u32>,
}

/// The kind of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory, or what can be entered like one.
    Directory,
    /// A symbolic link, to a file or to a directory.
    Link,
    /// A device, socket, pipe or something that cannot be fetched.
    Other,
    /// The listing does not say.
    Unknown,
}

/// A time of modification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Modified {
    /// The point in time. Where the zone is not known, it is what the server's clock on the wall showed, read as UTC.
    pub value: SystemTime,
    /// How much of it the server told; `value` is the beginning of that span.
    pub precision: Precision,
    /// True: a point in time (MLSD, EPLF, dates with an offset). False: local time somewhere, up to 14 hours off.
    pub zone_known: bool,
}

/// How fine a time is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Precision {
    /// The date alone.
    Day,
    /// Without seconds.
    Minute,
    /// Whole seconds.
    Second,
    /// Fractions of a second.
    Subsecond,
}

impl Entry {
    /// An entry of which nothing is known but the name.
    pub(super) fn named(name: &[u8]) -> Self {
        Self {
            name: name.to_vec(),
            kind: EntryKind::Unknown,
            size: None,
            size_exact: false,
            modified: None,
            mode: None,
            owner: None,
            group: None,
            target: None,
            version: None,
        }
    }

    /// A file or directory with its time.
    pub(super) fn new(name: &[u8], kind: EntryKind, modified: Option<Modified>) -> Self {
        Self {
            kind,
            modified,
            ..Self::named(name)
        }
    }

    /// With a length in bytes, if it is a file.
    pub(super) fn sized(mut self, size: Option<u64>) -> Self {
        if matches!(self.kind, EntryKind::File | EntryKind::Unknown) {
            self.size = size;
            self.size_exact = size.is_some();
        }
        self
    }

    /// With a length that is not exact, if it is a file.
    pub(super) fn sized_about(self, size: Option<u64>) -> Self {
        let mut entry = self.sized(size);
        entry.size_exact = false;
        entry
    }

    pub(super) fn owned(mut self, owner: Option<&[u8]>) -> Self {
        self.owner = owner.map(<[u8]>::to_vec);
        self
    }
}
