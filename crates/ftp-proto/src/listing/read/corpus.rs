//! Real listings, as files with what they mean.
//!
//! A file holds listings; see `corpus/README.md` for where they come from. `@ list 2012-08-01 12:00` begins one and
//! says when it was read, `< ` is a line of it (`\x1b` for bytes that are no text), `> ` the entry that ends there:
//! kind, size (`~`: not exact), time, name, target; `- ` where that is not known. `! ` is a line that is skipped.

use std::fmt::Write as _;
use std::path::Path;
use std::time::SystemTime;

use super::*;
use crate::time::{parse_time_val, time_val};

struct Listing {
    title: String,
    kind: Kind,
    now: SystemTime,
    bytes: Vec<u8>,
    entries: Vec<String>,
    skipped: u64,
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("\\x") {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        bytes.push(u8::from_str_radix(&rest[at + 2..at + 4], 16).unwrap());
        rest = &rest[at + 4..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

fn escaped(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            if letter.is_control() {
                write!(out, "\\x{:02x}", u32::from(letter)).unwrap();
            } else {
                out.push(letter);
            }
        }
        for byte in chunk.invalid() {
            write!(out, "\\x{byte:02x}").unwrap();
        }
    }
    out
}

fn moment(modified: Modified) -> String {
    let t = time_val(modified.value);
    let mut text = format!("{}-{}-{}", &t[..4], &t[4..6], &t[6..8]);
    if modified.precision > Precision::Day {
        write!(text, " {}:{}", &t[8..10], &t[10..12]).unwrap();
    }
    if modified.precision > Precision::Minute {
        write!(text, ":{}", &t[12..14]).unwrap();
    }
    if modified.precision == Precision::Subsecond {
        let age = modified.value.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        write!(text, ".{:03}", age.subsec_millis()).unwrap();
    }
    if modified.zone_known {
        text.push('Z');
    }
    text
}

fn rendered(entry: &Entry) -> String {
    let kind = match entry.kind {
        EntryKind::File => 'f',
        EntryKind::Directory => 'd',
        EntryKind::Link => 'l',
        EntryKind::Other => 'o',
        EntryKind::Unknown => '?',
    };
    let size = match entry.size {
        None => "-".to_owned(),
        Some(size) if entry.size_exact => size.to_string(),
        Some(size) => format!("~{size}"),
    };
    let time = entry.modified.map_or("-".to_owned(), moment);
    let mut text = format!("{kind} | {size} | {time} | {}", escaped(&entry.name));
    if let Some(version) = entry.version {
        write!(text, ";{version}").unwrap();
    }
    if let Some(target) = &entry.target {
        write!(text, " | {}", escaped(target)).unwrap();
    }
    text
}

fn listings(path: &Path) -> Vec<Listing> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut all: Vec<Listing> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let (sign, rest) = line.split_at(line.len().min(2));
        match sign {
            "@ " => {
                let (kind, now) = rest.split_once(' ').unwrap();
                let digits: String = now.chars().filter(char::is_ascii_digit).collect();
                all.push(Listing {
                    title: format!("{}:{}", path.file_name().unwrap().display(), number + 1),
                    kind: match kind {
                        "mlsd" => Kind::Mlsd,
                        "names" => Kind::Names,
                        _ => Kind::List,
                    },
                    now: parse_time_val(digits.as_bytes()).unwrap(),
                    bytes: Vec::new(),
                    entries: Vec::new(),
                    skipped: 0,
                });
            }
            "< " | "<" => {
                let listing = all.last_mut().unwrap();
                listing.bytes.extend(unescaped(rest));
                listing.bytes.extend_from_slice(b"\r\n");
            }
            "> " => all.last_mut().unwrap().entries.push(rest.to_owned()),
            "!" => all.last_mut().unwrap().skipped += 1,
            "" | "# " => {}
            other => panic!("{}:{}: {other:?}", path.display(), number + 1),
        }
    }
    all
}

fn read(listing: &Listing, piece: usize) -> (Vec<String>, Summary) {
    let mut reader = Reader::new(listing.kind, listing.now);
    let mut entries = Vec::new();
    for input in listing.bytes.chunks(piece) {
        reader.handle_input(input);
        while let Some(entry) = reader.poll_entry() {
            entries.push(rendered(&entry));
        }
    }
    reader.handle_end();
    while let Some(entry) = reader.poll_entry() {
        entries.push(rendered(&entry));
    }
    (entries, reader.summary().clone())
}

#[test]
fn every_listing_means_what_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/listing/read/corpus");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    files.sort();
    let mut total = 0;
    let mut wrong = String::new();
    for path in files {
        let mut entries = 0;
        for listing in listings(&path) {
            entries += listing.entries.len();
            for piece in [1, 7, usize::MAX] {
                let (found, summary) = read(&listing, piece);
                for (expected, found) in listing.entries.iter().zip(&found) {
                    if expected != found {
                        writeln!(
                            wrong,
                            "{}\n  expected {expected}\n  found    {found}",
                            listing.title
                        )
                        .unwrap();
                    }
                }
                if (found.len(), summary.skipped) != (listing.entries.len(), listing.skipped) {
                    writeln!(
                        wrong,
                        "{} has {} entries: {summary:?}",
                        listing.title,
                        found.len()
                    )
                    .unwrap();
                }
                assert_eq!(summary.entries, found.len() as u64);
            }
        }
        total += entries;
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(total >= 400, "the corpus has shrunk to {total} entries");
}
