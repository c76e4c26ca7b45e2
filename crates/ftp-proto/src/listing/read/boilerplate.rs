//! Lines that servers of every kind put around the entries.

use super::words::{Words, number};

/// Beginnings of lines that are no entries, in lower case.
const BEGINNINGS: &[&[u8]] = &[
    b"total ",
    b"total of ",
    b"directory of ",
    b"volume in drive ",
    b"volume serial number ",
    b"no files found",
    b"no such file or directory",
    b"no data sets found",
    b"no members found",
    b"no jobs found",
];

/// What the first line of `ls` says in some languages; those that are not written in ASCII are known by that.
const TOTALS: &[&[u8]] = &[
    b"total",
    b"insgesamt",
    b"totaal",
    b"totale",
    b"totalt",
    b"razem",
    b"celkem",
    b"toplam",
];

/// Whether a line can be left out without losing an entry: `total 12`, `Total of 11 files, 17 blocks.`
pub(super) fn is_none_of_the_entries(line: &[u8]) -> bool {
    let start = line.iter().position(|b| *b != b' ').unwrap_or(line.len());
    let text = &line[start..];
    if text.is_empty() {
        return true;
    }
    if BEGINNINGS.iter().any(|beginning| {
        text.get(..beginning.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(beginning))
    }) {
        return true;
    }
    // `insgesamt 12`, `итого 12`, `합계 12`
    let words = Words::of(text);
    let first = words.at(0);
    words.len() == 2
        && number(words.at(1)).is_some()
        && (TOTALS.iter().any(|total| first.eq_ignore_ascii_case(total)) || first.iter().all(|b| *b >= 0x80))
}
