//! TYPE A: lines end in CRLF on the wire and in LF on disk (RFC 959 §3.1.1.1), however the bytes are cut up.

/// Disk to wire: an LF that does not stand behind a CR becomes CRLF; lines that end in CRLF on disk stay as they are.
#[derive(Debug, Default)]
pub struct Encoder {
    behind_cr: bool,
}

impl Encoder {
    /// Appends the wire form of `input` to `out`.
    pub fn encode(&mut self, input: &[u8], out: &mut Vec<u8>) {
        out.reserve(input.len() + input.len() / 16);
        let mut lines = input.split(|b| *b == b'\n');
        if let Some(first) = lines.next() {
            out.extend_from_slice(first);
            self.see(first);
        }
        for line in lines {
            out.extend_from_slice(if self.behind_cr { b"\n" } else { b"\r\n" });
            self.behind_cr = false;
            out.extend_from_slice(line);
            self.see(line);
        }
    }

    fn see(&mut self, text: &[u8]) {
        if let Some(last) = text.last() {
            self.behind_cr = *last == b'\r';
        }
    }
}

/// Wire to disk: CRLF becomes LF; a CR before anything else stays.
#[derive(Debug, Default)]
pub struct Decoder {
    held_cr: bool,
}

impl Decoder {
    /// Appends the disk form of `input` to `out`. A CR at the very end is held until more is known.
    pub fn decode(&mut self, input: &[u8], out: &mut Vec<u8>) {
        out.reserve(input.len() + 1);
        for &byte in input {
            if self.held_cr && byte != b'\n' {
                out.push(b'\r');
            }
            self.held_cr = byte == b'\r';
            if !self.held_cr {
                out.push(byte);
            }
        }
    }

    /// What is left when the stream has ended.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.held_cr) {
            out.push(b'\r');
        }
    }
}

/// Counts how long a file is on the wire, piece by piece.
#[derive(Debug, Default)]
pub struct Counter {
    behind_cr: bool,
}

impl Counter {
    /// How long the next piece is on the wire.
    pub fn encoded_len(&mut self, input: &[u8]) -> u64 {
        let mut added = 0;
        for byte in input {
            added += u64::from(*byte == b'\n' && !self.behind_cr);
            self.behind_cr = *byte == b'\r';
        }
        input.len() as u64 + added
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_comes_back_however_it_is_cut() {
        let samples: [(&[u8], &[u8]); 6] = [
            (b"", b""),
            (b"a\nb\n", b"a\r\nb\r\n"),
            (b"\n\n", b"\r\n\r\n"),
            (b"x\r", b"x\r"),
            (b"a\rb", b"a\rb"),
            (b"dos\r\n", b"dos\r\n"),
        ];
        for (disk, wire) in samples {
            for at in 0..=disk.len() {
                let (mut encoder, mut counter, mut out) =
                    (Encoder::default(), Counter::default(), Vec::new());
                encoder.encode(&disk[..at], &mut out);
                encoder.encode(&disk[at..], &mut out);
                assert_eq!(out, wire, "cut at {at}");
                assert_eq!(
                    counter.encoded_len(&disk[..at]) + counter.encoded_len(&disk[at..]),
                    wire.len() as u64
                );
            }
            for at in 0..=wire.len() {
                let (mut decoder, mut back) = (Decoder::default(), Vec::new());
                decoder.decode(&wire[..at], &mut back);
                decoder.decode(&wire[at..], &mut back);
                decoder.finish(&mut back);
                let text: Vec<u8> = String::from_utf8_lossy(disk).replace("\r\n", "\n").into();
                assert_eq!(back, text, "cut at {at}");
            }
        }
    }
}
