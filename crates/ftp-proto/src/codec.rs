//! Bytes of a control connection to lines: CRLF, Telnet codes, and a bound on what a line may cost.

/// Telnet codes that clients send (RFC 854; RFC 959 §4.1.3 for ABOR).
const IAC: u8 = 255;
const DONT: u8 = 254;
const WILL: u8 = 251;
const INTERRUPT_PROCESS: u8 = 244;
const DATA_MARK: u8 = 242;
const FIRST_COMMAND: u8 = 240;

/// What [`LineDecoder::decode`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Decoded {
    /// A line without its end.
    Line(Vec<u8>),
    /// A line longer than allowed. It is told once, as soon as it is known; the rest of the line is skipped.
    TooLong,
}

/// Assembles lines. A line ends at LF; one CR before it belongs to the end (RFC 1123 §4.1.2.2 asks for CRLF, and
/// clients that send LF alone exist).
#[derive(Debug, Default)]
pub struct LineDecoder {
    line: Vec<u8>,
    telnet: Telnet,
    skipping: bool,
}

#[derive(Debug, Default, Clone, Copy)]
enum Telnet {
    #[default]
    Data,
    Command,
    Option,
}

impl LineDecoder {
    /// Takes bytes from the front of `input` until a line is complete or `input` is empty. `limit` is in bytes,
    /// without the line's end.
    pub fn decode(&mut self, input: &mut &[u8], limit: usize) -> Option<Decoded> {
        while let Some((&byte, rest)) = input.split_first() {
            *input = rest;
            let Some(byte) = self.telnet(byte) else { continue };
            if byte == b'\n' {
                if std::mem::take(&mut self.skipping) {
                    continue;
                }
                let mut line = std::mem::take(&mut self.line);
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Some(Decoded::Line(line));
            }
            if self.skipping {
                continue;
            }
            // Without SO_OOBINLINE at the sender's side of things, or with the urgent pointer one off, the bare
            // second byte of IAC IP or IAC DM arrives on its own. No verb begins with it.
            if self.line.is_empty() && matches!(byte, INTERRUPT_PROCESS | DATA_MARK) {
                continue;
            }
            self.line.push(byte);
            if self.line.len() > limit + 1 || (self.line.len() == limit + 1 && byte != b'\r') {
                self.line = Vec::new();
                self.skipping = true;
                return Some(Decoded::TooLong);
            }
        }
        None
    }

    /// Whether a line has begun.
    #[must_use]
    pub fn is_mid_line(&self) -> bool {
        !self.line.is_empty() || self.skipping || !matches!(self.telnet, Telnet::Data)
    }

    /// Takes Telnet codes out: IAC IAC is a byte 255, options are passed over with their argument, all other
    /// codes alone. IAC before anything else is dropped alone.
    fn telnet(&mut self, byte: u8) -> Option<u8> {
        match std::mem::take(&mut self.telnet) {
            Telnet::Data if byte == IAC => {
                self.telnet = Telnet::Command;
                None
            }
            Telnet::Data => Some(byte),
            Telnet::Command => match byte {
                IAC => Some(IAC),
                WILL..=DONT => {
                    self.telnet = Telnet::Option;
                    None
                }
                FIRST_COMMAND.. => None,
                other => Some(other),
            },
            Telnet::Option => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Decoded, LineDecoder};

    fn lines(chunks: &[&[u8]]) -> Vec<Decoded> {
        let mut decoder = LineDecoder::default();
        let mut found = Vec::new();
        for chunk in chunks {
            let mut input = *chunk;
            while let Some(decoded) = decoder.decode(&mut input, 16) {
                found.push(decoded);
            }
        }
        found
    }

    fn line(text: &[u8]) -> Decoded {
        Decoded::Line(text.to_vec())
    }

    #[test]
    fn a_line_ends_at_crlf_or_at_lf_alone() {
        assert_eq!(
            lines(&[b"NOOP\r\nPWD\nQUIT\r\n"]),
            [line(b"NOOP"), line(b"PWD"), line(b"QUIT")]
        );
    }

    #[test]
    fn a_carriage_return_inside_a_line_stays_for_the_name_check() {
        assert_eq!(lines(&[b"MKD a\rb\r\n"]), [line(b"MKD a\rb")]);
    }

    #[test]
    fn every_split_gives_the_same_lines() {
        let text: &[u8] = b"\xff\xf4\xff\xf2ABOR\r\nCWD a\xff\xffb\r\n\xff\xfd\x01NOOP\r\n";
        let expected = [line(b"ABOR"), line(b"CWD a\xffb"), line(b"NOOP")];
        for at in 0..=text.len() {
            assert_eq!(lines(&[&text[..at], &text[at..]]), expected, "split at {at}");
        }
    }

    #[test]
    fn urgent_codes_that_lost_their_iac_do_not_spoil_abor() {
        assert_eq!(lines(&[b"\xff\xf4\xf2ABOR\r\n"]), [line(b"ABOR")]);
        assert_eq!(lines(&[b"\xf4\xffabor\r\n"]), [line(b"abor")]);
    }

    #[test]
    fn a_long_line_is_told_once_and_skipped_without_being_kept() {
        let mut long = vec![b'x'; 100_000];
        long.extend_from_slice(b"\r\nNOOP\r\n");
        assert_eq!(lines(&[&long]), [Decoded::TooLong, line(b"NOOP")]);
        assert_eq!(lines(&[&[b'y'; 16], b"\r\n"]), [line(&[b'y'; 16])]);
        assert_eq!(lines(&[&[b'y'; 17], b"\r\n"]), [Decoded::TooLong]);
    }
}
