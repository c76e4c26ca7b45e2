//! A line as words with their places, so that a name can be taken from behind the columns with all its spaces.

/// More columns than this before a name are in no listing.
const MOST: usize = 24;

/// The first words of a line; spaces and tabs are between them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Words<'a> {
    line: &'a [u8],
    places: [(u16, u16); MOST],
    count: usize,
}

impl<'a> Words<'a> {
    pub(super) fn of(line: &'a [u8]) -> Self {
        // Lines are at most 8 KiB long, two of them may be joined.
        let line = &line[..line.len().min(usize::from(u16::MAX))];
        let mut words = Self {
            line,
            places: [(0, 0); MOST],
            count: 0,
        };
        let mut at = 0;
        while words.count < MOST {
            let Some(gap) = line[at..].iter().position(|b| !is_blank(*b)) else {
                break;
            };
            let start = at + gap;
            let end = line[start..]
                .iter()
                .position(|b| is_blank(*b))
                .map_or(line.len(), |length| start + length);
            // Both fit: the line was cut to `u16::MAX` above.
            words.places[words.count] = (start as u16, end as u16);
            words.count += 1;
            at = end;
        }
        words
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn get(&self, index: usize) -> Option<&'a [u8]> {
        let (start, end) = *self.places[..self.count].get(index)?;
        self.line.get(usize::from(start)..usize::from(end))
    }

    /// The word, or nothing where there is none.
    pub(super) fn at(&self, index: usize) -> &'a [u8] {
        self.get(index).unwrap_or_default()
    }

    /// What stands behind a word, without the one blank that ends it.
    pub(super) fn behind(&self, index: usize) -> Option<&'a [u8]> {
        let (_, end) = *self.places[..self.count].get(index)?;
        self.line.get(usize::from(end) + 1..)
    }

    /// What stands behind a word, without any blanks before it; `None` if that is nothing.
    pub(super) fn rest(&self, index: usize) -> Option<&'a [u8]> {
        let (start, _) = *self.places[..self.count].get(index + 1)?;
        self.line.get(usize::from(start)..)
    }

    /// From one word to another, with what is between them.
    pub(super) fn span(&self, from: usize, to: usize) -> Option<&'a [u8]> {
        let places = self.places.get(..self.count)?;
        let (start, _) = *places.get(from)?;
        let (_, end) = *places.get(to)?;
        self.line.get(usize::from(start)..usize::from(end))
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Digits and nothing else, as a number.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    text.iter().try_fold(0_u64, |value, digit| {
        value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    })
}

/// A number whose digits may stand in groups of three: `1,234,567`, `1.234.567`, `1'234`.
pub(super) fn grouped(text: &[u8]) -> Option<u64> {
    if let Some(value) = number(text) {
        return Some(value);
    }
    let mark = *text.iter().find(|b| !b.is_ascii_digit())?;
    if !matches!(mark, b',' | b'.' | b'\'') {
        return None;
    }
    let mut groups = text.split(|b| *b == mark);
    let mut value = number(groups.next().filter(|first| first.len() <= 3)?)?;
    for group in groups {
        value = value
            .checked_mul(1000)?
            .checked_add(number(Some(group).filter(|digits| digits.len() == 3)?)?)?;
    }
    Some(value)
}

/// Octal digits and nothing else.
pub(super) fn octal(text: &[u8]) -> Option<u32> {
    if text.is_empty() || text.len() > 7 || !text.iter().all(|b| (b'0'..=b'7').contains(b)) {
        return None;
    }
    Some(
        text.iter()
            .fold(0, |value, digit| value * 8 + u32::from(digit - b'0')),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_keep_their_places() {
        let words = Words::of(b"  a \t bc  d e");
        assert_eq!(words.len(), 4);
        assert_eq!(words.at(1), b"bc");
        assert_eq!(words.behind(1), Some(&b" d e"[..]));
        assert_eq!(words.rest(1), Some(&b"d e"[..]));
        assert_eq!(words.span(0, 2), Some(&b"a \t bc  d"[..]));
        assert_eq!(words.behind(3), None);
        assert_eq!(words.rest(3), None);
    }

    #[test]
    fn sizes_may_have_groups() {
        assert_eq!(grouped(b"1,234,567"), Some(1_234_567));
        assert_eq!(grouped(b"1.234"), Some(1234));
        assert_eq!(grouped(b"33.5"), None);
        assert_eq!(grouped(b"1,2"), None);
        assert_eq!(grouped(b",123"), None);
        assert_eq!(number(b"18446744073709551616"), None);
        assert_eq!(number(b"18446744073709551615"), Some(u64::MAX));
    }
}
