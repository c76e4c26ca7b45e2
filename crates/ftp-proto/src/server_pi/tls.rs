//! AUTH, PBSZ, PROT: protection of the control and the data connection (RFC 2228, RFC 4217).

use super::ask::Ask;
use super::{Refusal, ServerPi, TlsPolicy, Waiting, replies};
use crate::command::Protection;

/// What is protected.
#[derive(Debug)]
pub(super) struct Security {
    control: bool,
    buffer_size_given: bool,
    data: bool,
}

impl Security {
    /// With implicit TLS the control connection is protected before the first byte, and data is unless PROT C
    /// says otherwise.
    pub(super) fn new(implicit: bool) -> Self {
        Self {
            control: implicit,
            buffer_size_given: implicit,
            data: implicit,
        }
    }

    pub(super) fn control_is_protected(&self) -> bool {
        self.control
    }

    pub(super) fn data_is_protected(&self) -> bool {
        self.data
    }
}

impl ServerPi {
    /// RFC 4217 §4. Bytes that stand behind AUTH in the clear were not sent by the party of the handshake:
    /// whoever sent them, nothing of them is carried out.
    pub(super) fn auth(&mut self, mechanism: &[u8]) {
        let private = match mechanism {
            _ if self.profile.tls == TlsPolicy::Off => return self.reply(replies::AUTH_NOT_OFFERED),
            _ if self.security.control => return self.reply(replies::ALREADY_PROTECTED),
            b"TLS" | b"TLS-C" => false,
            b"SSL" | b"TLS-P" => true,
            _ => return self.reply(replies::AUTH_MECHANISM),
        };
        if !self.input.is_empty() || !self.queue.is_empty() || self.decoder.is_mid_line() {
            self.reply(replies::BYTES_BEHIND_AUTH);
            return self.close();
        }
        self.log_out();
        self.reply(replies::START_TLS);
        let slip = self.slips.issue();
        self.ask(Waiting::StartTls { private }, Ask::StartTls(slip));
    }

    pub(super) fn tls_answered(&mut self, private: bool, answer: Result<(), Refusal>) {
        match answer {
            Ok(()) => {
                self.security = Security {
                    control: true,
                    buffer_size_given: private,
                    data: private,
                }
            }
            Err(_) => self.close(),
        }
    }

    /// RFC 4217 §8: TLS has no buffer size; 0 is the only one.
    pub(super) fn protection_buffer_size(&mut self) {
        if !self.security.control {
            return self.reply(replies::PROTECTION_NEEDS_AUTH);
        }
        self.security.buffer_size_given = true;
        self.reply(replies::PBSZ);
    }

    /// RFC 4217 §9.
    pub(super) fn protection(&mut self, level: Protection) {
        if !self.security.control {
            return self.reply(replies::PROTECTION_NEEDS_AUTH);
        }
        if !self.security.buffer_size_given {
            return self.reply(replies::PBSZ_FIRST);
        }
        match level {
            Protection::Unsupported => self.reply(replies::PROT_LEVEL),
            Protection::Clear if self.clear_data_is_refused() => self.reply(replies::PROT_CLEAR_REFUSED),
            level => {
                let private = level == Protection::Private;
                // An endpoint was opened for one kind of connection; it cannot serve the other.
                if private != self.security.data {
                    self.release();
                }
                self.security.data = private;
                self.reply(if private {
                    replies::PROT_PRIVATE
                } else {
                    replies::PROT_CLEAR
                });
            }
        }
    }

    /// Before login only the policy can tell.
    fn clear_data_is_refused(&self) -> bool {
        match self.login.account() {
            Some(_) => self.login.protects_data(),
            None => self.profile.tls == TlsPolicy::Required,
        }
    }
}
