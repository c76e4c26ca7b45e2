//! Cuts what arrives into lines of bounded length.

use std::ops::Range;

/// The longest line that is read, without its end; longer ones are skipped and counted.
pub const MAX_LINE: usize = 8 * 1024;

/// How much is looked at to find the family: whichever of the two is reached first.
const SAMPLE_BYTES: usize = 16 * 1024;
const SAMPLE_LINES: usize = 128;

/// A line, as a range of [`Lines::bytes`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    /// A line without its end.
    Whole(Range<usize>),
    /// The first bytes of a line that is too long.
    Overlong(Range<usize>),
}

/// Bytes that wait to be read.
#[derive(Debug, Default)]
pub(super) struct Lines {
    buffer: Vec<u8>,
    /// Where the next line begins.
    at: usize,
    /// Up to where it is known that there is no line end.
    searched: usize,
    /// The rest of an overlong line is passing by.
    passing: bool,
    ended: bool,
    consumed: u64,
    number: u64,
}

impl Lines {
    pub(super) fn push(&mut self, mut input: &[u8]) {
        self.buffer.drain(..self.at);
        self.searched -= self.at;
        self.at = 0;
        if self.passing {
            let Some(end) = input.iter().position(|b| *b == b'\n') else {
                return;
            };
            self.passing = false;
            input = &input[end + 1..];
        }
        self.buffer.extend_from_slice(input);
    }

    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    /// Nothing is left and nothing will come.
    pub(super) fn is_over(&self) -> bool {
        self.ended && self.at == self.buffer.len()
    }

    /// How many bytes wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.buffer.len() - self.at
    }

    /// The number of the line that was read last, from 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// How many bytes have been read.
    pub(super) fn consumed(&self) -> u64 {
        self.consumed
    }

    pub(super) fn bytes(&self, line: Range<usize>) -> &[u8] {
        self.buffer.get(line).unwrap_or_default()
    }

    /// The next line, or `None` if its end has not come.
    pub(super) fn next(&mut self) -> Option<Line> {
        let from = self.searched.max(self.at);
        let found = self.buffer[from..].iter().position(|b| *b == b'\n');
        let (end, next) = match found {
            Some(offset) => (from + offset, from + offset + 1),
            None if self.buffer.len() - self.at > MAX_LINE => {
                self.passing = !self.ended;
                (self.buffer.len(), self.buffer.len())
            }
            None if self.ended && self.at < self.buffer.len() => (self.buffer.len(), self.buffer.len()),
            None => {
                self.searched = self.buffer.len();
                return None;
            }
        };
        let start = self.at;
        self.consumed += (next - start) as u64;
        self.number += 1;
        self.at = next;
        self.searched = next;
        if end - start > MAX_LINE {
            return Some(Line::Overlong(start..start + MAX_LINE));
        }
        let end = if self.buffer[start..end].last() == Some(&b'\r') {
            end - 1
        } else {
            end
        };
        Some(Line::Whole(start..end))
    }

    /// The whole lines by which the family is to be judged, once they are there. They depend on the listing alone, not
    /// on how it was cut up.
    pub(super) fn sample(&self) -> Option<Vec<u8>> {
        let all = &self.buffer[self.at..];
        let head = &all[..all.len().min(SAMPLE_BYTES)];
        let mut ends = head.iter().enumerate().filter(|(_, b)| **b == b'\n');
        if let Some((end, _)) = ends.nth(SAMPLE_LINES - 1) {
            return Some(head[..=end].to_vec());
        }
        if self.ended && all.len() <= SAMPLE_BYTES {
            return (!all.is_empty()).then(|| all.to_vec());
        }
        if head.len() < SAMPLE_BYTES {
            return None;
        }
        let end = head.iter().rposition(|b| *b == b'\n')?;
        Some(head[..=end].to_vec())
    }

    /// Lets the line at the head go if it is too long, whether its end has come or not.
    pub(super) fn drop_overlong_head(&mut self) -> Option<Range<usize>> {
        let all = &self.buffer[self.at..];
        let head = &all[..all.len().min(MAX_LINE + 1)];
        if head.len() <= MAX_LINE || head.contains(&b'\n') {
            return None;
        }
        match self.next() {
            Some(Line::Overlong(start)) => Some(start),
            _ => None,
        }
    }
}
