//! Replies as a user-PI reads them (RFC 959 §4.2), from servers that do not all keep to it; bounded.

use std::fmt;

use super::Fault;
use super::quirks::Quirk;
use crate::codec::{Decoded, LineDecoder};

/// Bounds of one line and of one reply, in bytes and lines.
const LONGEST_LINE: usize = 8 * 1024;
const LONGEST_REPLY: usize = 64 * 1024;
const MOST_LINES: usize = 64;

/// One reply.
#[derive(Clone, PartialEq, Eq)]
pub struct Reply {
    /// 100 to 599.
    pub code: u16,
    /// The text of each line: behind the code in the first and the last one, whole in those between.
    pub lines: Vec<Vec<u8>>,
}

impl Reply {
    /// The first digit: 1 preliminary, 2 done, 3 go on, 4 not now, 5 never (RFC 959 §4.2.1).
    #[must_use]
    pub fn class(&self) -> u16 {
        self.code / 100
    }

    /// Whether it says that something was done.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.class() == 2
    }

    /// Whether the server does not know, or does not have, that command (500, 502, 504).
    #[must_use]
    pub fn is_unknown_command(&self) -> bool {
        matches!(self.code, 500 | 502 | 504)
    }

    /// The text of the last line.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        self.lines.last().map_or(&[], Vec::as_slice)
    }
}

/// Code and text with control bytes escaped; lines are separated by ` / `.
impl fmt::Display for Reply {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.code)?;
        for (index, line) in self.lines.iter().enumerate() {
            let separator = if index == 0 { " " } else { " / " };
            let text = String::from_utf8_lossy(line);
            write!(out, "{separator}")?;
            for part in text.trim().chars() {
                if part.is_control() {
                    write!(out, "{}", part.escape_default())?;
                } else {
                    write!(out, "{part}")?;
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Reply({self})")
    }
}

/// Assembles replies.
#[derive(Debug, Default)]
pub(super) struct ReplyReader {
    decoder: LineDecoder,
    begun: Option<Begun>,
}

#[derive(Debug)]
struct Begun {
    reply: Reply,
    bytes: usize,
    /// The last line looks like an end, but bears another code than the first.
    may_have_ended: bool,
}

impl ReplyReader {
    /// Takes bytes from the front of `input` until a reply is complete or `input` is empty.
    pub(super) fn read(&mut self, input: &mut &[u8]) -> Result<Option<Reply>, Fault> {
        while let Some(decoded) = self.decoder.decode(input, LONGEST_LINE) {
            let Decoded::Line(line) = decoded else {
                return Err(Fault::ReplyTooLong);
            };
            if let Some(reply) = self.line(line)? {
                return Ok(Some(reply));
            }
        }
        Ok(None)
    }

    /// Whether a reply has begun.
    pub(super) fn is_within_reply(&self) -> bool {
        self.begun.is_some() || self.decoder.is_mid_line()
    }

    /// Whether all that came may be a whole reply ([`Quirk::OtherEndCode`]); if nothing more comes, it is.
    pub(super) fn may_have_ended(&self) -> bool {
        self.begun.as_ref().is_some_and(|begun| begun.may_have_ended) && !self.decoder.is_mid_line()
    }

    /// Nothing more has come.
    pub(super) fn settle(&mut self) -> Option<(Reply, Quirk)> {
        self.begun
            .take_if(|begun| begun.may_have_ended)
            .map(|begun| (begun.reply, Quirk::OtherEndCode))
    }

    fn line(&mut self, line: Vec<u8>) -> Result<Option<Reply>, Fault> {
        let found = code(&line);
        let Some(begun) = &mut self.begun else {
            // Some servers send empty lines between replies.
            if line.iter().all(u8::is_ascii_whitespace) {
                return Ok(None);
            }
            let Some((code, separator)) = found else {
                return Err(Fault::NotFtp(line.into_iter().take(200).collect()));
            };
            let bytes = line.len();
            let reply = Reply {
                code,
                lines: vec![text(&line)],
            };
            if separator != b'-' {
                return Ok(Some(reply));
            }
            self.begun = Some(Begun {
                reply,
                bytes,
                may_have_ended: false,
            });
            return Ok(None);
        };
        begun.bytes += line.len();
        if begun.bytes > LONGEST_REPLY || begun.reply.lines.len() == MOST_LINES {
            return Err(Fault::ReplyTooLong);
        }
        begun.may_have_ended = false;
        match found {
            Some((code, separator)) if code == begun.reply.code && separator != b'-' => {
                begun.reply.lines.push(text(&line));
                return Ok(self.begun.take().map(|begun| begun.reply));
            }
            // Servers that repeat the code in each line (`220-a`, `220-b`, `220 c`).
            Some((code, _)) if code == begun.reply.code => begun.reply.lines.push(text(&line)),
            Some((code, b' ')) if code / 100 == begun.reply.class() => {
                begun.may_have_ended = true;
                begun.reply.lines.push(line);
            }
            _ => begun.reply.lines.push(line),
        }
        Ok(None)
    }
}

/// The code at the beginning of a line and what follows it; the end of the line counts as a space.
fn code(line: &[u8]) -> Option<(u16, u8)> {
    let (digits, rest) = line.split_at_checked(3)?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let code = digits
        .iter()
        .fold(0_u16, |code, digit| code * 10 + u16::from(digit - b'0'));
    let separator = match rest.first() {
        None | Some(b' ' | b'\t') => b' ',
        Some(b'-') => b'-',
        Some(_) => return None,
    };
    (100..600).contains(&code).then_some((code, separator))
}

fn text(line: &[u8]) -> Vec<u8> {
    line.get(4..).unwrap_or_default().to_vec()
}
