//! One reply, checked against RFC 959 section 4.2 as it is read.

use std::fmt;

/// One complete reply of the server.
#[derive(Clone, PartialEq, Eq)]
pub struct Reply {
    /// Its three digits.
    pub code: u16,
    /// Its lines as they came, without CRLF, the code still in front.
    pub lines: Vec<Vec<u8>>,
}

impl Reply {
    /// The first line without its code, lossily as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.lines[0][4..]).into_owned()
    }

    /// Everything that came, lossily as text.
    #[must_use]
    pub fn all(&self) -> String {
        String::from_utf8_lossy(&self.lines.join(&b"\n"[..])).into_owned()
    }

    /// The lines between the first and the last of a multi-line reply.
    #[must_use]
    pub fn middle(&self) -> &[Vec<u8>] {
        self.lines.get(1..self.lines.len() - 1).unwrap_or_default()
    }

    /// Checks the next line (without CRLF) against those that came before; the whole reply after its last line.
    ///
    /// # Errors
    /// What is malformed.
    pub(crate) fn feed(lines: &mut Vec<Vec<u8>>, line: Vec<u8>) -> Result<Option<Self>, String> {
        let shown = String::from_utf8_lossy(&line).into_owned();
        if line
            .iter()
            .any(|byte| *byte < 0x20 && *byte != b'\t' || *byte == 0x7f)
        {
            return Err(format!("a control character inside a reply line: {shown:?}"));
        }
        let numbered = line.len() >= 4 && line[..3].iter().all(u8::is_ascii_digit);
        let Some(first) = lines.first() else {
            if !numbered || !matches!(line[3], b' ' | b'-') || !matches!(line[0], b'1'..=b'5') {
                return Err(format!("not the first line of a reply: {shown:?}"));
            }
            let more = line[3] == b'-';
            lines.push(line);
            return Ok((!more).then(|| Self::take(lines)));
        };
        let last = numbered && line[3] == b' ';
        if last && line[..3] != first[..3] {
            return Err(format!("a middle line that looks like another reply: {shown:?}"));
        }
        lines.push(line);
        Ok(last.then(|| Self::take(lines)))
    }

    fn take(lines: &mut Vec<Vec<u8>>) -> Self {
        let lines = std::mem::take(lines);
        let code = lines[0][..3]
            .iter()
            .fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
        Self { code, lines }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.all(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::Reply;

    fn read(text: &str) -> Result<Vec<Reply>, String> {
        let (mut lines, mut replies) = (Vec::new(), Vec::new());
        for line in text.lines() {
            replies.extend(Reply::feed(&mut lines, line.as_bytes().to_vec())?);
        }
        Ok(replies)
    }

    #[test]
    fn a_multi_line_reply_ends_at_its_own_code() {
        let replies = read("211-Features:\n SIZE\n211 End\n200 Ok").expect("well formed");
        assert_eq!(replies.iter().map(|r| r.code).collect::<Vec<_>>(), [211, 200]);
        assert_eq!(replies[0].middle(), [b" SIZE"]);
    }

    #[test]
    fn a_user_s_text_that_looks_like_a_reply_is_malformed() {
        read("213-Status\n227 Entering Passive Mode (10,0,0,1,0,22)\n213 End").expect_err("smuggled");
        read("Hello").expect_err("no code");
        read("999 Hello").expect_err("no such code");
    }
}
