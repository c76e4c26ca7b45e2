//! What is known of servers by their names, beyond what FEAT tells: each with its evidence.
//!
//! A server says who it is in its reply to CSID, or in its greeting, where its operator has left that as it was. Who says
//! nothing is treated as one of whom nothing is known.

use pasarela_ftp_proto::user_pi::Features;

/// A server by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Software {
    Pasarela,
    Vsftpd,
    ProFtpd,
    Pyftpdlib,
    Other,
}

impl Software {
    /// By the greeting, and what the survey found.
    pub(super) fn of(greeting: &[u8], features: &Features) -> Self {
        if features.software.as_deref() == Some("Pasarela") {
            return Self::Pasarela;
        }
        let greeting = String::from_utf8_lossy(greeting).to_ascii_lowercase();
        let says = |name: &str| greeting.contains(name);
        match () {
            () if says("(vsftpd ") => Self::Vsftpd,
            () if says("proftpd server ") => Self::ProFtpd,
            () if greeting.starts_with("pyftpdlib ") => Self::Pyftpdlib,
            () => Self::Other,
        }
    }

    /// An upload stands under its name only when all of it has come (README, "Uploads: what 226 promises").
    pub(super) fn publishes_whole(self) -> bool {
        self == Self::Pasarela
    }

    /// A command may follow another one before that is answered, RNTO behind RNFR above all: it reads on, and an RNFR that
    /// is refused leaves nothing to rename.
    ///
    /// pyftpdlib would rename what the RNFR before that had named. Some of those unknown are said to throw away what
    /// comes before they have answered.
    pub(super) fn reads_on(self) -> bool {
        matches!(self, Self::Pasarela | Self::Vsftpd | Self::ProFtpd)
    }

    /// NOOP during a transfer is answered at once, and with 200. vsftpd answers when the transfer has ended, Pure-FTPd with
    /// 500.
    pub(super) fn answers_noop(self) -> bool {
        matches!(self, Self::Pasarela | Self::ProFtpd | Self::Pyftpdlib)
    }

    /// Several uploads, each behind REST, may write ranges of one file at once.
    ///
    /// vsftpd 3.0.3 neither cuts the file off nor asks how long it is, but grants the second upload only where
    /// `lock_upload_files` is off. Others were tried and left out: ProFTPD 1.3.8 and pyftpdlib 1.5.7 refuse an offset
    /// behind the end (554), Pure-FTPd 1.0.50 cuts the file off where each upload ends, and our server publishes each
    /// upload as a whole. `tests/interop/tests/client/ranges.rs` holds all of them to a right result.
    pub(super) fn takes_ranges(self) -> bool {
        self == Self::Vsftpd
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_known_by_what_it_says() {
        let nothing = Features::default();
        let mut ours = Features::default();
        ours.software = Some("Pasarela".to_owned());
        for (greeting, features, expected) in [
            (&b"Welcome"[..], &ours, Software::Pasarela),
            (b"(vsFTPd 3.0.3)", &nothing, Software::Vsftpd),
            (b"ProFTPD Server (test) [127.0.0.1]", &nothing, Software::ProFtpd),
            (b"pyftpdlib 1.5.7 ready.", &nothing, Software::Pyftpdlib),
            (b"vsftpd is not here", &nothing, Software::Other),
            (b"", &nothing, Software::Other),
        ] {
            assert_eq!(Software::of(greeting, features), expected);
        }
    }
}
