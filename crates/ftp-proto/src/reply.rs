//! Replies as they stand on the wire (RFC 959 §4.2).

use bytes::Bytes;

/// One reply: a code and one or more lines of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// 100 to 599.
    pub code: u16,
    first: Vec<u8>,
    rest: Vec<Vec<u8>>,
}

impl Reply {
    /// A reply of one line.
    pub fn new(code: u16, text: impl Into<Vec<u8>>) -> Self {
        Self {
            code,
            first: text.into(),
            rest: Vec::new(),
        }
    }

    /// A reply of several lines; the last one is `end`. Each inner line is sent with a space in front, so that
    /// no text from outside ever begins a line.
    pub fn lines(code: u16, first: &str, inner: impl IntoIterator<Item = Vec<u8>>, end: &str) -> Self {
        let mut rest: Vec<_> = inner.into_iter().collect();
        rest.push(end.into());
        Self {
            code,
            first: first.into(),
            rest,
        }
    }

    /// The bytes of the wire, line ends included. Control bytes in the text become `?`.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(80);
        out.extend_from_slice(self.code.to_string().as_bytes());
        out.push(if self.rest.is_empty() { b' ' } else { b'-' });
        push_text(&mut out, &self.first);
        let last = self.rest.len().saturating_sub(1);
        for (index, line) in self.rest.iter().enumerate() {
            if index == last {
                out.extend_from_slice(self.code.to_string().as_bytes());
            }
            out.push(b' ');
            push_text(&mut out, line);
        }
        out.into()
    }
}

/// One line of text and its end, safe to stand in a reply: no control byte leaves it.
pub fn push_text(out: &mut Vec<u8>, text: &[u8]) {
    out.extend(
        text.iter()
            .map(|b| if *b < 0x20 || *b == 0x7f { b'?' } else { *b }),
    );
    out.extend_from_slice(b"\r\n");
}

/// A pathname between quotes, quotes in it doubled (RFC 959 appendix II).
#[must_use]
pub fn quoted(name: &[u8]) -> Vec<u8> {
    let mut out = vec![b'"'];
    for byte in name {
        out.push(*byte);
        if *byte == b'"' {
            out.push(b'"');
        }
    }
    out.push(b'"');
    out
}

#[cfg(test)]
mod tests {
    use super::{Reply, quoted};

    #[test]
    fn one_line_stands_behind_its_code() {
        assert_eq!(&Reply::new(200, "Fine.").encode()[..], b"200 Fine.\r\n");
    }

    #[test]
    fn inner_lines_never_begin_with_foreign_text() {
        let reply = Reply::lines(
            211,
            "Status",
            [b"227 (1,2,3,4,5,6)".to_vec(), b"a\r\n230 in".to_vec()],
            "End",
        );
        assert_eq!(
            &reply.encode()[..],
            b"211-Status\r\n 227 (1,2,3,4,5,6)\r\n a??230 in\r\n211 End\r\n"
        );
    }

    #[test]
    fn quotes_are_doubled() {
        assert_eq!(quoted(b"/a\"b"), b"\"/a\"\"b\"");
    }
}
