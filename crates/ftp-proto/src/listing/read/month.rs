//! The months' names in the languages and encodings of servers.

use super::date::small;

/// The twelve months; of each name the beginning that is no other month's, in lower case: English, German, Dutch,
/// Scandinavian languages, Hungarian, French, Spanish, Portuguese, Italian, Catalan, Polish, Czech, Finnish, Turkish,
/// Slovene, Russian, Ukrainian, Bulgarian, Greek. Where one is the beginning of another (`mar`, `marras`), the longer
/// one counts.
const NAMES: [&str; 12] = [
    "jan jän ene gen gener sty led tammi oca янв січ яну ιαν",
    "feb fév fev lut úno helmi şub фев лют φεβ",
    "mar mär mrz maerz mrt már març bře maalis мар бер μαρ μάρ",
    "apr ápr avr abr kwi dub huhti nis апр кві απρ",
    "may mai maj mei máj mag kvě touko мая май тра μαΐ μάι μαι",
    "jun jún juin giu cze čen čer kesä haz июн чер юни ιουν ιούν",
    "jul júl juil lug lip čec heinä tem июл лип юли ιουλ ιούλ",
    "aug aoû aou ago sie srp elo ağu avg авг сер αυγ αύγ",
    "sep szept set wrz zář syys eyl сен вер сеп σεπ",
    "oct okt out ott paź říj loka eki окт жов οκτ",
    "nov lis marras kas ноя лис ное νοε νοέ",
    "dec dez des déc dic gru pro joulu ara дек гру δεκ",
];

/// The letters of KOI8-R from 0xC0 on; capitals follow in the same order.
const KOI8_R: &str = "юабцдефгхийклмнопярстужвьызшэщчъ";

/// The month of a name, short or long, in UTF-8, ISO 8859-1, Windows 1251, KOI8-R or IBM 866; or of a 月.
pub(super) fn month(word: &[u8]) -> Option<i8> {
    if let Some(month) = asian_month(word) {
        return Some(month);
    }
    let word = word.strip_suffix(b",").unwrap_or(word);
    let word = word.strip_suffix(b".").unwrap_or(word);
    if !(3..=24).contains(&word.len()) {
        return None;
    }
    let utf8 = std::str::from_utf8(word)
        .ok()
        .and_then(|text| named(text.chars()));
    if utf8.is_some() || word.is_ascii() {
        return utf8;
    }
    [char::from, windows_1251, koi8_r, ibm_866]
        .into_iter()
        .find_map(|letter| named(word.iter().map(|byte| letter(*byte))))
}

fn named(letters: impl Iterator<Item = char>) -> Option<i8> {
    let word: String = letters.flat_map(char::to_lowercase).collect();
    if !word.chars().all(char::is_alphabetic) {
        return None;
    }
    (1..)
        .zip(NAMES)
        .flat_map(|(month, names)| names.split(' ').map(move |name| (month, name)))
        .filter(|(_, name)| word.starts_with(name))
        .max_by_key(|(_, name)| name.len())
        .map(|(month, _)| month)
}

fn cyrillic(offset: u8) -> char {
    char::from_u32(0x410 + u32::from(offset)).unwrap_or(' ')
}

fn windows_1251(byte: u8) -> char {
    match byte {
        0..0x80 => char::from(byte),
        0xB3 => 'і',
        0xC0.. => cyrillic(byte - 0xC0),
        _ => ' ',
    }
}

fn koi8_r(byte: u8) -> char {
    match byte {
        0..0x80 => char::from(byte),
        0xC0.. => KOI8_R.chars().nth(usize::from(byte & 0x1F)).unwrap_or(' '),
        _ => ' ',
    }
}

fn ibm_866(byte: u8) -> char {
    match byte {
        0..0x80 => char::from(byte),
        0x80..0xB0 => cyrillic(byte - 0x80),
        0xE0..0xF0 => cyrillic(byte - 0xE0 + 0x30),
        _ => ' ',
    }
}

/// A number and the sign of its unit behind it, as in 3日.
pub(super) fn unit(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text
        .iter()
        .position(|b| !b.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, sign) = text.split_at(end);
    if sign.len() <= 3 && sign.iter().all(|b| *b >= 0x40) && sign.first().is_none_or(|b| *b >= 0x80) {
        (digits, sign)
    } else {
        (text, b"")
    }
}

/// `3月` in whatever encoding: a number and one character that is not ASCII.
pub(super) fn asian_month(text: &[u8]) -> Option<i8> {
    let (digits, sign) = unit(text);
    small(digits).filter(|month| !sign.is_empty() && (1..=12).contains(month))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_have_names_in_every_language_and_encoding() {
        for (word, expected) in [
            (&b"Jan"[..], 1),
            (b"SEPTEMBER", 9),
            (b"Sept.", 9),
            (b"Juli,", 7),
            (b"juin", 6),
            (b"maj", 5),
            ("août".as_bytes(), 8),
            ("Mär".as_bytes(), 3),
            (b"ao\xfbt", 8),
            (b"M\xe4r", 3),
            ("янв".as_bytes(), 1),
            ("Сентября".as_bytes(), 9),
            (b"\xe0\xef\xf0", 4),
            (b"\xcf\xcb\xd4", 10),
            (b"\xa4\xa5\xaa", 12),
            ("12월".as_bytes(), 12),
            (b"4\x8c\x8e", 4),
            (b"8\xed", 8),
            (b"10\xd4\xc2", 10),
        ] {
            assert_eq!(month(word), Some(expected), "{}", word.escape_ascii());
        }
        for word in [&b"Jam"[..], b"13\xd4\xc2", b"ja", b"", b"Mar1", b"\xff\xff\xff"] {
            assert_eq!(month(word), None, "{}", word.escape_ascii());
        }
    }
}
