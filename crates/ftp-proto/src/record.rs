//! STRU R in stream mode: records end in an escape of two bytes (RFC 959 §3.4.1). Files here know no records, so
//! a text's lines are its records (RFC 1123 §4.1.2.7 lets such hosts choose), and other files are one record.

const ESCAPE: u8 = 0xff;
const END_OF_RECORD: u8 = 1;
const END_OF_FILE: u8 = 2;

/// Disk to wire.
#[derive(Debug)]
pub struct Encoder {
    /// Lines are records (TYPE A); otherwise the file is one record.
    lines: bool,
}

/// Wire to disk.
#[derive(Debug)]
pub struct Decoder {
    lines: bool,
    escaped: bool,
    ended: bool,
}

/// Bytes on the wire that do not follow the grammar, or an end without the mark for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the record structure is broken")]
pub struct Broken;

impl Encoder {
    /// `lines`: each line is a record.
    #[must_use]
    pub fn new(lines: bool) -> Self {
        Self { lines }
    }

    /// Appends the wire form of `input` to `out`.
    pub fn encode(&mut self, input: &[u8], out: &mut Vec<u8>) {
        for &byte in input {
            match byte {
                b'\n' if self.lines => out.extend_from_slice(&[ESCAPE, END_OF_RECORD]),
                ESCAPE => out.extend_from_slice(&[ESCAPE, ESCAPE]),
                other => out.push(other),
            }
        }
    }

    /// Appends the end-of-file mark.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[ESCAPE, END_OF_FILE]);
    }
}

impl Decoder {
    /// `lines`: each record becomes a line.
    #[must_use]
    pub fn new(lines: bool) -> Self {
        Self {
            lines,
            escaped: false,
            ended: false,
        }
    }

    /// Appends the disk form of `input` to `out`.
    ///
    /// # Errors
    /// [`Broken`] for an unknown escape and for data behind the end-of-file mark.
    pub fn decode(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), Broken> {
        for &byte in input {
            if self.ended {
                return Err(Broken);
            }
            match (std::mem::take(&mut self.escaped), byte) {
                (false, ESCAPE) => self.escaped = true,
                (false, other) => out.push(other),
                (true, ESCAPE) => out.push(ESCAPE),
                (true, mark) => {
                    if !(1..=3).contains(&mark) {
                        return Err(Broken);
                    }
                    if mark & END_OF_RECORD != 0 && self.lines {
                        out.push(b'\n');
                    }
                    self.ended = mark & END_OF_FILE != 0;
                }
            }
        }
        Ok(())
    }

    /// Whether the stream may end here: behind the end-of-file mark.
    ///
    /// # Errors
    /// [`Broken`] when the mark has not come.
    pub fn finish(&self) -> Result<(), Broken> {
        if self.ended { Ok(()) } else { Err(Broken) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encoded_decodes_to_itself_however_it_is_cut() {
        for lines in [true, false] {
            for sample in [&b"a\nb\n"[..], b"", b"\xff\xff\n\x01", b"no end"] {
                let (mut encoder, mut wire) = (Encoder::new(lines), Vec::new());
                encoder.encode(sample, &mut wire);
                encoder.finish(&mut wire);
                for at in 0..=wire.len() {
                    let (mut decoder, mut disk) = (Decoder::new(lines), Vec::new());
                    decoder.decode(&wire[..at], &mut disk).unwrap();
                    decoder.decode(&wire[at..], &mut disk).unwrap();
                    assert_eq!(decoder.finish(), Ok(()));
                    assert_eq!(disk, sample);
                }
            }
        }
    }

    #[test]
    fn an_end_without_its_mark_is_an_error() {
        let mut decoder = Decoder::new(true);
        decoder.decode(b"abc\xff\x01", &mut Vec::new()).unwrap();
        assert_eq!(decoder.finish(), Err(Broken));
    }
}
