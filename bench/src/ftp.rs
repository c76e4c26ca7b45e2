//! The FTP client that makes the load: one session, blocking, a system call a command.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::ClientConfig;

use crate::failed::Failed;
use crate::link::{Link, connect};
use crate::tls;

/// No reply line of a server is longer, nor is the rest of one.
const LONGEST_REPLY: usize = 64 * 1024;

/// Where to log in, as whom.
#[derive(Debug, Clone)]
pub(crate) struct Login {
    pub(crate) address: SocketAddr,
    pub(crate) user: &'static str,
    pub(crate) password: &'static str,
    /// Whether commands and data are protected (RFC 4217).
    pub(crate) tls: bool,
}

/// A session that is logged in.
pub(crate) struct Session {
    control: Link,
    replies: Replies,
    peer: IpAddr,
    tls: Option<Arc<ClientConfig>>,
}

impl Session {
    /// Connects and logs in.
    pub(crate) fn open(login: &Login) -> Result<Self, Failed> {
        let mut replies = Replies::default();
        let mut control = Link::Plain(connect(login.address)?);
        replies.expect(&mut control, "the greeting", &[220])?;
        let mut tls = None;
        if login.tls {
            control.write(b"AUTH TLS\r\n")?;
            replies.expect(&mut control, "AUTH TLS", &[234])?;
            let config = tls::visitor()?;
            control = control.protected(&config)?;
            tls = Some(config);
        }
        let mut session = Self {
            control,
            replies,
            peer: login.address.ip(),
            tls,
        };
        if session.command(&format!("USER {}", login.user), &[331, 230])? == 331 {
            session.command(&format!("PASS {}", login.password), &[230])?;
        }
        if login.tls {
            session.command("PBSZ 0", &[200])?;
            session.command("PROT P", &[200])?;
        }
        Ok(session)
    }

    /// TYPE I, in which files are what they are.
    pub(crate) fn binary(mut self) -> Result<Self, Failed> {
        self.command("TYPE I", &[200])?;
        Ok(self)
    }

    /// Sends a command; one of these codes has to come back.
    pub(crate) fn command(&mut self, command: &str, expected: &[u16]) -> Result<u16, Failed> {
        self.control.write(format!("{command}\r\n").as_bytes())?;
        self.reply(command, expected).map(|(code, _)| code)
    }

    /// PASV, a data connection, and a command that uses it. The caller ends it with [`Self::done`].
    pub(crate) fn transfer(&mut self, command: &str) -> Result<Link, Failed> {
        let socket = self.begin(command)?;
        Link::over(socket, self.tls.as_ref())
    }

    /// The same up to the 150, with nothing read from the data connection.
    pub(crate) fn begin(&mut self, command: &str) -> Result<TcpStream, Failed> {
        self.control.write(b"PASV\r\n")?;
        let (_, line) = self.reply("PASV", &[227])?;
        let address = passive_address(&line, self.peer).ok_or_else(|| Failed::Protocol(line.clone()))?;
        let socket = connect(address)?;
        self.command(command, &[150, 125])?;
        Ok(socket)
    }

    /// The final reply to a transfer.
    pub(crate) fn done(&mut self, command: &str) -> Result<(), Failed> {
        self.reply(command, &[226, 250]).map(|_| ())
    }

    pub(crate) fn quit(mut self) -> Result<(), Failed> {
        self.command("QUIT", &[221]).map(|_| ())
    }

    fn reply(&mut self, command: &str, expected: &[u16]) -> Result<(u16, String), Failed> {
        self.replies.expect(&mut self.control, command, expected)
    }
}

/// Bytes of the control connection that are not yet a whole reply.
#[derive(Default)]
struct Replies {
    unread: Vec<u8>,
}

impl Replies {
    /// The next reply, which has to have one of these codes.
    fn expect(
        &mut self,
        control: &mut Link,
        command: &str,
        expected: &[u16],
    ) -> Result<(u16, String), Failed> {
        let (code, line) = self.next(control)?;
        if expected.contains(&code) {
            return Ok((code, line));
        }
        let command = match command.split_once(' ') {
            Some(("PASS", _)) => "PASS ***",
            _ => command,
        };
        Err(Failed::Reply {
            command: command.to_owned(),
            reply: line,
        })
    }

    /// The next reply: its code and its last line.
    fn next(&mut self, control: &mut Link) -> Result<(u16, String), Failed> {
        let mut buffer = [0; 2048];
        loop {
            if let Some((code, line, length)) = complete(&self.unread)? {
                self.unread.drain(..length);
                return Ok((code, line));
            }
            let unread = &mut self.unread;
            let more = control.read(&mut buffer, &mut |bytes| unread.extend_from_slice(bytes))?;
            if !more {
                return Err(Failed::Protocol("the control connection was closed".into()));
            }
            if self.unread.len() > LONGEST_REPLY {
                return Err(Failed::Protocol("a reply without an end".into()));
            }
        }
    }
}

/// The first reply in these bytes, its last line and its length (RFC 959 §4.2).
fn complete(bytes: &[u8]) -> Result<Option<(u16, String, usize)>, Failed> {
    let mut open: Option<u16> = None;
    let mut from = 0;
    while let Some(length) = bytes[from..].iter().position(|byte| *byte == b'\n') {
        let line = bytes[from..from + length].trim_ascii_end();
        from += length + 1;
        let code = line
            .get(..3)
            .and_then(|code| std::str::from_utf8(code).ok())
            .and_then(|code| code.parse().ok());
        let last = line.get(3).is_none_or(|mark| *mark == b' ');
        match (open, code) {
            (None, None) => {
                return Err(Failed::Protocol(String::from_utf8_lossy(line).into_owned()));
            }
            (None, Some(first)) if !last => open = Some(first),
            (None, Some(code)) => return Ok(Some((code, shown(line), from))),
            (Some(first), Some(code)) if first == code && last => {
                return Ok(Some((code, shown(line), from)));
            }
            (Some(_), _) => {}
        }
    }
    Ok(None)
}

fn shown(line: &[u8]) -> String {
    String::from_utf8_lossy(line).into_owned()
}

/// Where a 227 says that data connections go; always to the peer itself.
fn passive_address(line: &str, peer: IpAddr) -> Option<SocketAddr> {
    let (_, rest) = line.split_once('(')?;
    let (numbers, _) = rest.split_once(')')?;
    let numbers: Vec<u8> = numbers
        .split(',')
        .map(|number| number.trim().parse())
        .collect::<Result<_, _>>()
        .ok()?;
    let [_, _, _, _, high, low] = numbers[..] else {
        return None;
    };
    Some(SocketAddr::new(peer, u16::from_be_bytes([high, low])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_of_many_lines_ends_with_its_code_and_a_space() {
        let text = b"211-Features:\r\n 211 MLST\r\n211-x\r\n211 End\r\n226 Done\r\n";
        let (code, line, length) = complete(text).unwrap().unwrap();
        assert_eq!((code, line.as_str()), (211, "211 End"));
        assert_eq!(complete(&text[length..]).unwrap().unwrap().0, 226);
    }

    #[test]
    fn half_a_reply_is_none_and_what_has_no_code_is_an_error() {
        assert!(complete(b"150 Her").unwrap().is_none());
        assert!(complete(b"211-Features:\r\n").unwrap().is_none());
        assert!(complete(b"hello\r\n").is_err());
        assert_eq!(complete(b"230\r\n").unwrap().unwrap().0, 230);
    }

    #[test]
    fn a_227_names_a_port_at_the_peer() {
        let peer = IpAddr::from([127, 0, 0, 1]);
        let address = passive_address("227 Entering Passive Mode (10,0,0,9,4,1).", peer);
        assert_eq!(address, Some(SocketAddr::from(([127, 0, 0, 1], 1025))));
        assert_eq!(passive_address("227 (1,2,3)", peer), None);
        assert_eq!(passive_address("227 no address", peer), None);
    }
}
