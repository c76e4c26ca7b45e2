//! TYPE A: lines end in CRLF on the wire and in LF on disk (RFC 959 §3.1.1.1), however the bytes are cut up.

/// Disk to wire: each LF becomes CRLF, also one that stands behind a CR, so that decoding gives the file back.
#[derive(Debug, Default)]
pub struct Encoder;

impl Encoder {
    /// Appends the wire form of `input` to `out`.
    pub fn encode(&mut self, input: &[u8], out: &mut Vec<u8>) {
        out.reserve(input.len() + input.len() / 16);
        let mut lines = input.split(|b| *b == b'\n');
        if let Some(first) = lines.next() {
            out.extend_from_slice(first);
        }
        for line in lines {
            out.extend_from_slice(b"\r\n");
            out.extend_from_slice(line);
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

/// How long `input` is on the wire.
#[must_use]
pub fn encoded_len(input: &[u8]) -> u64 {
    input.len() as u64 + input.iter().filter(|b| **b == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encoded_decodes_to_itself_however_it_is_cut() {
        let samples: [&[u8]; 7] = [
            b"",
            b"a\nb\n",
            b"a\r\nb",
            b"\r\r\n\n",
            b"\n",
            b"x\r",
            b"\r\n\r\n\r",
        ];
        for sample in samples {
            let mut wire = Vec::new();
            Encoder.encode(sample, &mut wire);
            assert_eq!(wire.len() as u64, encoded_len(sample));
            for at in 0..=wire.len() {
                let (mut decoder, mut disk) = (Decoder::default(), Vec::new());
                decoder.decode(&wire[..at], &mut disk);
                decoder.decode(&wire[at..], &mut disk);
                decoder.finish(&mut disk);
                assert_eq!(disk, sample, "cut at {at}");
            }
        }
    }
}
