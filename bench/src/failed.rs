//! Why a sample, or the whole run, came to nothing.

use std::io;

/// What went wrong, and at whose side.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    /// A socket, a file or a process.
    #[error("{what}: {source}")]
    Io {
        what: String,
        #[source]
        source: io::Error,
    },
    /// TLS with the server.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The server said no.
    #[error("{command}: {reply}")]
    Reply { command: String, reply: String },
    /// The server said yes, and it was not so.
    #[error("{what}: expected {expected}, came to {got}")]
    Untrue { what: String, expected: u64, got: u64 },
    /// The server says what no server of its protocol says.
    #[error("not understood: {0}")]
    Protocol(String),
    /// Something is missing on this machine.
    #[error("{0}")]
    Missing(String),
}

impl Failed {
    /// Whether the server asked to be tried again (RFC 959 §4.2.1: a 4yz reply).
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Reply { reply, .. } if reply.starts_with('4'))
    }
}

/// Says what was being done when the system failed it.
pub(crate) trait During<T> {
    fn during(self, what: impl Into<String>) -> Result<T, Failed>;
}

impl<T, E: Into<io::Error>> During<T> for Result<T, E> {
    fn during(self, what: impl Into<String>) -> Result<T, Failed> {
        self.map_err(|error| Failed::Io {
            what: what.into(),
            source: error.into(),
        })
    }
}

/// A count that the server's word has to agree with.
pub(crate) fn expect(what: &str, expected: u64, got: u64) -> Result<(), Failed> {
    if expected == got {
        return Ok(());
    }
    Err(Failed::Untrue {
        what: what.to_owned(),
        expected,
        got,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_4yz_reply_asks_to_be_tried_again() {
        let said = |reply: &str| Failed::Reply {
            command: "RETR f".into(),
            reply: reply.into(),
        };
        assert!(said("425 Cannot open.").is_refusal());
        assert!(!said("550 Not there.").is_refusal());
        assert!(!Failed::Protocol("425".into()).is_refusal());
    }

    #[test]
    fn a_size_that_is_not_the_one_promised_fails() {
        assert!(expect("bytes", 4, 4).is_ok());
        assert_eq!(
            expect("bytes", 4, 3).unwrap_err().to_string(),
            "bytes: expected 4, came to 3"
        );
    }
}
