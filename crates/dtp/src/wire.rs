//! Between disk and wire: TYPE A and STRU R first, MODE Z around that.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use pasarela_ftp_proto::command::{Mode, RepresentationType, Structure};
use pasarela_ftp_proto::server_pi::Representation;
use pasarela_ftp_proto::{ascii, record};

use crate::Error;

/// Output space that inflating and deflating ask for at a time.
const STEP: usize = 64 * 1024;

/// Whether the bytes of the wire are those of the disk.
pub(crate) fn is_plain(how: &Representation) -> bool {
    how.kind == RepresentationType::Image && how.structure == Structure::File && how.mode == Mode::Stream
}

/// Disk to wire.
pub(crate) struct Encoder {
    text: Text,
    deflate: Option<Compress>,
}

enum Text {
    AsIs,
    Ascii(ascii::Encoder),
    Record(record::Encoder),
}

impl Encoder {
    pub(crate) fn new(how: &Representation) -> Self {
        let ascii = how.kind == RepresentationType::Ascii;
        let text = match how.structure {
            Structure::Record => Text::Record(record::Encoder::new(ascii)),
            Structure::File if ascii => Text::Ascii(ascii::Encoder::default()),
            Structure::File => Text::AsIs,
        };
        let deflate =
            (how.mode == Mode::Deflate).then(|| Compress::new(Compression::new(how.level.into()), true));
        Self { text, deflate }
    }

    /// The wire form of `input`; it may be empty although `input` is not.
    pub(crate) fn encode(&mut self, input: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        match &mut self.text {
            Text::AsIs => out.extend_from_slice(input),
            Text::Ascii(encoder) => encoder.encode(input, &mut out),
            Text::Record(encoder) => encoder.encode(input, &mut out),
        }
        match &mut self.deflate {
            Some(deflate) => squeeze(deflate, &out, FlushCompress::None),
            None => out,
        }
    }

    /// What is left at the end.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        if let Text::Record(encoder) = &mut self.text {
            encoder.finish(&mut out);
        }
        match &mut self.deflate {
            Some(deflate) => squeeze(deflate, &out, FlushCompress::Finish),
            None => out,
        }
    }
}

fn squeeze(deflate: &mut Compress, mut input: &[u8], flush: FlushCompress) -> Vec<u8> {
    let mut out = Vec::with_capacity(STEP);
    loop {
        let before = deflate.total_in();
        // Compressing fails only for a state that was never made.
        let Ok(status) = deflate.compress_vec(input, &mut out, flush) else {
            return out;
        };
        let taken = usize::try_from(deflate.total_in() - before).unwrap_or(input.len());
        input = &input[taken..];
        let full = out.len() == out.capacity();
        if full {
            out.reserve(STEP);
        } else if input.is_empty() && (matches!(flush, FlushCompress::None) || status == Status::StreamEnd) {
            return out;
        }
    }
}

/// Wire to disk.
pub(crate) struct Decoder {
    inflate: Option<Inflate>,
    text: DecodedText,
}

struct Inflate {
    stream: Decompress,
    ended: bool,
}

enum DecodedText {
    AsIs,
    Ascii(ascii::Decoder),
    Record(record::Decoder),
}

impl Decoder {
    pub(crate) fn new(how: &Representation) -> Self {
        let ascii = how.kind == RepresentationType::Ascii;
        let text = match how.structure {
            Structure::Record => DecodedText::Record(record::Decoder::new(ascii)),
            Structure::File if ascii => DecodedText::Ascii(ascii::Decoder::default()),
            Structure::File => DecodedText::AsIs,
        };
        let inflate = (how.mode == Mode::Deflate).then(|| Inflate {
            stream: Decompress::new(true),
            ended: false,
        });
        Self { inflate, text }
    }

    /// Takes bytes from the front of `input` and gives the disk form of what they say, in pieces of bounded
    /// size: call it until `input` is empty and the piece is too.
    pub(crate) fn decode(&mut self, input: &mut &[u8]) -> Result<Vec<u8>, Error> {
        let plain;
        let piece: &[u8] = match &mut self.inflate {
            None => std::mem::take(input),
            Some(inflate) => {
                plain = inflate.some(input)?;
                &plain
            }
        };
        let mut out = Vec::new();
        match &mut self.text {
            DecodedText::AsIs => out.extend_from_slice(piece),
            DecodedText::Ascii(decoder) => decoder.decode(piece, &mut out),
            DecodedText::Record(decoder) => {
                decoder.decode(piece, &mut out).map_err(|_| Error::BadEncoding)?
            }
        }
        Ok(out)
    }

    /// What is left when the connection has ended.
    pub(crate) fn finish(&mut self) -> Result<Vec<u8>, Error> {
        if self.inflate.as_ref().is_some_and(|inflate| !inflate.ended) {
            return Err(Error::Truncated);
        }
        let mut out = Vec::new();
        match &mut self.text {
            DecodedText::AsIs => {}
            DecodedText::Ascii(decoder) => decoder.finish(&mut out),
            DecodedText::Record(decoder) => decoder.finish().map_err(|_| Error::Truncated)?,
        }
        Ok(out)
    }
}

impl Inflate {
    fn some(&mut self, input: &mut &[u8]) -> Result<Vec<u8>, Error> {
        if self.ended {
            return if input.is_empty() {
                Ok(Vec::new())
            } else {
                Err(Error::BadEncoding)
            };
        }
        let mut out = Vec::with_capacity(STEP);
        let before = self.stream.total_in();
        let status = self
            .stream
            .decompress_vec(input, &mut out, FlushDecompress::None)
            .map_err(|_| Error::BadEncoding)?;
        let taken = usize::try_from(self.stream.total_in() - before).unwrap_or(input.len());
        *input = &input[taken..];
        self.ended = status == Status::StreamEnd;
        Ok(out)
    }
}
