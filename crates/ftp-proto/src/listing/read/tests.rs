//! The reader as a whole: pieces, bounds, families, and what the project's own server writes.

use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::*;
use crate::listing::facts::{FactSet, push_facts};
use crate::listing::unix::push_line;
use crate::listing::{Item, ItemKind, Rights, is_listable};
use crate::time::parse_time_val;

fn now() -> SystemTime {
    parse_time_val(b"20261122120000").unwrap()
}

fn drain(reader: &mut Reader, entries: &mut Vec<Entry>) {
    while let Some(entry) = reader.poll_entry() {
        entries.push(entry);
    }
}

fn read_in(kind: Kind, pieces: &[&[u8]]) -> (Vec<Entry>, Summary) {
    let mut reader = Reader::new(kind, now());
    let mut entries = Vec::new();
    for piece in pieces {
        reader.handle_input(piece);
        drain(&mut reader, &mut entries);
    }
    reader.handle_end();
    drain(&mut reader, &mut entries);
    (entries, reader.summary().clone())
}

fn read(kind: Kind, listing: &[u8]) -> (Vec<Entry>, Summary) {
    read_in(kind, &[listing])
}

fn names(entries: &[Entry]) -> Vec<String> {
    entries
        .iter()
        .map(|entry| String::from_utf8_lossy(&entry.name).into_owned())
        .collect()
}

#[test]
fn entries_come_before_the_end_once_the_family_is_known() {
    let mut reader = Reader::new(Kind::List, now());
    for number in 0..127 {
        reader.handle_input(format!("-rw-r--r-- 1 u g 5 Nov  1  2024 {number}\r\n").as_bytes());
        assert_eq!(reader.poll_entry(), None);
    }
    reader.handle_input(b"-rw-r--r-- 1 u g 5 Nov  1  2024 last\r\n-rw");
    let mut entries = Vec::new();
    drain(&mut reader, &mut entries);
    assert_eq!(entries.len(), 128);
    reader.handle_input(b"-r--r-- 1 u g 5 Nov  1  2024 more\r\n");
    assert_eq!(reader.poll_entry().unwrap().name, b"more");
}

#[test]
fn an_empty_listing_has_nothing_in_it() {
    for kind in [Kind::Mlsd, Kind::List, Kind::Names] {
        for listing in ["", "\r\n", "\n\n"] {
            let (entries, summary) = read(kind, listing.as_bytes());
            assert_eq!((entries.len(), summary.skipped), (0, 0), "{kind:?} {listing:?}");
        }
    }
    let (entries, summary) = read(Kind::List, b"total 0\r\n");
    assert_eq!((entries.len(), summary), (0, Summary::default()));
}

#[test]
fn names_are_lines_as_they_stand() {
    let (entries, summary) = read(Kind::Names, b".\r\n..\r\n a \r\ndir/file\n\xff\xfe\r\nlast");
    assert_eq!(entries[0].name, b" a ");
    assert_eq!(entries[1].name, b"dir/file");
    assert_eq!(entries[2].name, b"\xff\xfe");
    assert_eq!(entries[3].name, b"last");
    assert!(entries.iter().all(|entry| entry.kind == EntryKind::Unknown));
    assert_eq!((summary.entries, summary.skipped), (4, 0));
}

#[test]
fn mlsd_that_is_answered_like_list_is_read_like_list() {
    let (entries, summary) = read(
        Kind::Mlsd,
        b"drwxr-xr-x 2 a b 4096 Nov  1 10:00 x\r\n-rw-r--r-- 1 a b 7 Nov  1 10:00 y\r\n",
    );
    assert_eq!(names(&entries), ["x", "y"]);
    assert_eq!(summary.family, Some(Family::Unix));
}

#[test]
fn facts_may_be_missing_if_they_were_asked_for() {
    let (entries, _) = read(Kind::Mlsd, b" only a name\r\n another\r\n");
    assert_eq!(names(&entries), ["only a name", "another"]);
    let (entries, summary) = read(Kind::List, b" only a name\r\n");
    assert_eq!((entries.len(), summary.skipped), (0, 1));
}

#[test]
fn the_family_of_the_listing_decides_about_a_doubtful_line() {
    // To IIS the last line would be a file; in a listing of `ls` it is nothing.
    let unix =
        b"-rw-r--r-- 1 a b 7 Nov  1  2025 x\n-rw-r--r-- 1 a b 7 Nov  1  2025 y\n01-01-26  10:00AM  5 z\n";
    let (entries, summary) = read(Kind::List, unix);
    assert_eq!(names(&entries), ["x", "y"]);
    assert_eq!(summary.family, Some(Family::Unix));
    assert_eq!(summary.skipped, 1);
    let skipped = summary.first_skipped.unwrap();
    assert_eq!((skipped.number, skipped.reason), (3, SkipReason::Unreadable));
    assert_eq!(skipped.text, b"01-01-26  10:00AM  5 z");
}

#[test]
fn a_long_greeting_does_not_hide_the_listing() {
    let mut listing = b"Welcome, this is a file server.\r\n".repeat(300);
    listing.extend_from_slice(b"-rw-r--r-- 1 a b 7 Nov  1  2025 x\r\n");
    let (entries, summary) = read(Kind::List, &listing);
    assert_eq!(names(&entries), ["x"]);
    assert_eq!((summary.skipped, summary.family), (300, Some(Family::Unix)));
}

#[test]
fn overlong_lines_are_skipped_and_counted_wherever_they_are_cut() {
    let entry = b"-rw-r--r-- 1 a b 7 Nov  1  2025 x\r\n";
    let mut longest = b"-rw-r--r-- 1 a b 7 Nov  1  2025 ".to_vec();
    longest.resize(MAX_LINE, b'n');
    longest.push(b'\n');
    let mut too_long = longest.clone();
    too_long.insert(40, b'n');
    let endless = vec![b'e'; 100_000];
    let listing = [&too_long[..], entry, &longest, &too_long, entry, &endless].concat();
    let whole = read(Kind::List, &listing);
    assert_eq!(whole.0.len(), 3);
    assert_eq!(whole.0[1].name.len(), MAX_LINE - 32);
    assert_eq!(whole.1.skipped, 3);
    let first = whole.1.first_skipped.clone().unwrap();
    assert_eq!(
        (first.number, first.reason, first.text.len()),
        (1, SkipReason::Overlong, 256)
    );
    for size in [1, 100, MAX_LINE, MAX_LINE + 1] {
        let pieces: Vec<_> = listing.chunks(size).collect();
        assert_eq!(read_in(Kind::List, &pieces), whole, "in pieces of {size}");
    }
}

#[test]
fn what_waits_is_bounded() {
    let mut reader = Reader::new(Kind::List, now());
    for _ in 0..1000 {
        reader.handle_input(&[b'x'; 1000]);
        assert_eq!(reader.poll_entry(), None);
        assert!(reader.lines.waiting() <= MAX_LINE + 1000);
    }
    assert_eq!(reader.summary().skipped, 1);
}

#[test]
fn a_first_half_without_second_is_counted() {
    let listing = b"A.TXT;1  1  2-JUN-1998 07:32:04 [A,B] (RWED,,,)\nLONG_NAME.TXT;1\n\
        B.TXT;1  1  2-JUN-1998 07:32:04 [A,B] (RWED,,,)\nOTHER.TXT;1\n";
    let (entries, summary) = read(Kind::List, listing);
    assert_eq!(names(&entries), ["A.TXT", "B.TXT"]);
    assert_eq!(summary.skipped, 2);
    let first = summary.first_skipped.unwrap();
    assert_eq!((first.number, &first.text[..]), (2, &b"LONG_NAME.TXT;1"[..]));
}

#[test]
fn the_reply_to_mlst_is_one_entry() {
    let entry = mlst(b"Type=cdir;Modify=19981107085215;Perm=el; /").unwrap();
    assert_eq!((entry.kind, &entry.name[..]), (EntryKind::Directory, &b"/"[..]));
    let entry = mlst(b"type=file;size=7; a b").unwrap();
    assert_eq!((entry.size, &entry.name[..]), (Some(7), &b"a b"[..]));
    assert_eq!(mlst(b"no facts"), None);
    assert_eq!(mlst(b""), None);
}

#[test]
fn columns_of_ls_become_owner_group_and_mode() {
    let (entries, _) = read(
        Kind::List,
        b"-rwsr-x--T+ 1 john test group 4096 Mar  2  2020 a\n-rw-r--r-- 1 0 0 1 Mar  2  2020 b\n",
    );
    assert_eq!(entries[0].mode, Some(0o5750));
    assert_eq!(entries[0].owner.as_deref(), Some(&b"john"[..]));
    assert_eq!(entries[0].group.as_deref(), Some(&b"test group"[..]));
    assert_eq!(entries[1].mode, Some(0o644));
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let any = prop::collection::vec(any::<u8>(), 1..40);
    let awkward = "[ -~]{1,30}";
    prop_oneof![any, awkward.prop_map(String::into_bytes)].prop_filter("names that are listed", |name| {
        is_listable(name) && !matches!(&name[..], b"." | b"..") && !name.contains(&b'/')
    })
}

#[derive(Debug, Clone)]
struct Given {
    name: Vec<u8>,
    kind: u8,
    target: Vec<u8>,
    size: u64,
    modified: SystemTime,
    mode: u32,
    owners: (u32, u32),
}

impl Given {
    fn item(&self) -> Item<'_> {
        Item {
            name: &self.name,
            kind: match self.kind {
                0 => ItemKind::File,
                1 => ItemKind::Directory,
                2 => ItemKind::Link(&self.target),
                _ => ItemKind::Other,
            },
            // As the store has it: a link is as long as its text.
            size: if self.kind == 2 {
                self.target.len() as u64
            } else {
                self.size
            },
            modified: self.modified,
            mode: self.mode,
            uid: self.owners.0,
            gid: self.owners.1,
            links: 1,
            unique: (1, 2),
            rights: Rights::default(),
        }
    }

    fn kind(&self) -> EntryKind {
        match self.kind {
            0 => EntryKind::File,
            1 => EntryKind::Directory,
            2 => EntryKind::Link,
            _ => EntryKind::Other,
        }
    }
}

fn given() -> impl Strategy<Value = Given> {
    (
        name(),
        0..4_u8,
        "[ -~]{1,30}",
        any::<u64>(),
        // From 1970 to a day before now, in seconds.
        0..1_795_262_400_u64,
        0..0o1000_u32,
        any::<(u32, u32)>(),
    )
        .prop_map(|(name, kind, target, size, seconds, mode, owners)| Given {
            name,
            kind,
            target: target.into_bytes(),
            size,
            modified: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
            mode,
            owners,
        })
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn our_facts_are_read_back(items in prop::collection::vec(given(), 1..20)) {
        let mut listing = Vec::new();
        for item in &items {
            push_facts(&mut listing, &item.item(), FactSet::default());
            listing.extend_from_slice(b"\r\n");
        }
        let (entries, summary) = read(Kind::Mlsd, &listing);
        prop_assert_eq!(summary.skipped, 0);
        prop_assert_eq!(entries.len(), items.len());
        for (entry, item) in entries.iter().zip(&items) {
            prop_assert_eq!(&entry.name, &item.name);
            prop_assert_eq!(entry.kind, item.kind());
            prop_assert_eq!(entry.size, (item.kind == 0).then_some(item.size));
            let modified = entry.modified.unwrap();
            prop_assert_eq!(modified.value, item.modified);
            prop_assert!(modified.zone_known);
            prop_assert_eq!(entry.mode, Some(item.mode));
            prop_assert_eq!(entry.owner.clone(), Some(item.owners.0.to_string().into_bytes()));
            prop_assert_eq!(entry.group.clone(), Some(item.owners.1.to_string().into_bytes()));
        }
    }

    #[test]
    fn our_lines_are_read_back(items in prop::collection::vec(given(), 1..20)) {
        let mut listing = Vec::new();
        for item in &items {
            push_line(&mut listing, &item.item(), now());
        }
        let (entries, summary) = read(Kind::List, &listing);
        prop_assert_eq!(summary.skipped, 0);
        prop_assert_eq!(entries.len(), items.len());
        for (entry, item) in entries.iter().zip(&items) {
            prop_assert_eq!(entry.kind, item.kind());
            // A link whose name has an arrow in it and whose text is as long as what follows cannot be told apart.
            if item.kind != 2 || !item.name.windows(4).any(|four| four == b" -> ") {
                prop_assert_eq!(&entry.name, &item.name);
            }
            if item.kind == 2 {
                prop_assert!(entry.target.is_some());
            }
            prop_assert_eq!(entry.size, (item.kind == 0).then_some(item.size));
            let modified = entry.modified.unwrap();
            let span = if modified.precision == Precision::Minute { 60 } else { 86_400 };
            prop_assert_eq!(seconds(modified.value), seconds(item.modified) / span * span);
            prop_assert_eq!(entry.mode, Some(item.mode));
        }
    }

    #[test]
    fn nothing_panics_and_no_line_is_lost(listing in prop::collection::vec(any::<u8>(), 0..3000)) {
        for kind in [Kind::Mlsd, Kind::List, Kind::Names] {
            let (entries, summary) = read(kind, &listing);
            prop_assert_eq!(entries.len() as u64, summary.entries);
            for entry in entries {
                prop_assert!(!entry.name.is_empty() && !entry.name.contains(&b'\n'));
            }
        }
    }

    #[test]
    fn damaged_lines_of_every_family_do_no_harm(
        picks in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 1..40),
        pieces in prop::collection::vec(1..60_usize, 1..20),
    ) {
        let samples: [&[u8]; 16] = [
            b"type=file;size=7;modify=20200101000000.5;UNIX.mode=0644; a",
            b"+i8388621.48594,m825718503,r,s280,up755\tdjb.html",
            b"lrwxrwxrwx   1 root     other          7 Jan 25 00:17 bin -> usr/bin",
            b"-r-xr-xr-x   2 root  root  96 2004.07.15   name",
            b"d [R----F--] supervisor            512       Jan 16 18:53    login",
            "-rw-r--r--   1 root       bob           8473  4月 18日 2003年 name".as_bytes(),
            b"04-14-00  03:47PM                  589 readme.htm",
            b"CII-MANUAL.TEX;1      213/216  29-JAN-1996 03:33:12  [ANONYMOU,ANONYMOUS] (RWED,RWED,,)",
            b"PEP              4019 04/03/18 18:58:16 *STMF      einladung.zip",
            b"PSMLC1 3390   2005/04/04  1    1  VB   27994 27998  PS    file3.I",
            b"TBSHELF1  01.03 2002/09/12 2002/10/11 09:37    11    11     0 KIL001",
            b"README   ANONYMOU V         71         26          1 1997-04-02 12:33:20 TCP291",
            b"FILE3        101            16354 14-Mar-14 15:09:12 244, 10 \"nnnn\"",
            b"149473      A          11-17-98   16:07  POPUPLOG.OS2",
            b"DESIGN1.DOC          11264      05-11-95        14:20",
            b"1024    Jan-29-2024  12:33:44   dir1   <DIR>",
        ];
        let mut listing = Vec::new();
        for (sample, place, byte) in &picks {
            let mut line = sample.get(&samples).to_vec();
            let place = place.index(line.len());
            match byte % 4 {
                0 => line[place] = *byte,
                1 => line.truncate(place),
                2 => line.insert(place, *byte),
                _ => {}
            }
            listing.extend_from_slice(&line);
            listing.push(b'\n');
        }
        let whole = read(Kind::List, &listing);
        let mut cut = Vec::new();
        let mut rest = &listing[..];
        for size in pieces.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, behind) = rest.split_at((*size).min(rest.len()));
            cut.push(piece);
            rest = behind;
        }
        prop_assert_eq!(read_in(Kind::List, &cut), whole);
    }
}
