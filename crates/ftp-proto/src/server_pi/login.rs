//! USER, PASS, REIN and HOST: who is there, and what may be said before that is known.

use std::time::Instant;

use super::ask::{Ask, Credentials, LoggedIn};
use super::{Output, Refusal, ServerPi, TlsPolicy, Waiting, replies};
use crate::command::{Command, Secret};

/// Failed logins after which the connection ends.
const MAX_FAILURES: u8 = 3;

/// How far the visitor has come.
#[derive(Debug, Default)]
pub(super) struct Login {
    stage: Stage,
    failures: u8,
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Nobody,
    /// USER was given; PASS is awaited.
    Named(Vec<u8>),
    LoggedIn {
        account: Vec<u8>,
        protect_data: bool,
    },
}

impl Login {
    /// The name under which the visitor is logged in.
    pub(super) fn account(&self) -> Option<&[u8]> {
        match &self.stage {
            Stage::LoggedIn { account, .. } => Some(account),
            _ => None,
        }
    }

    /// Whether this visitor's data connections must be protected.
    pub(super) fn protects_data(&self) -> bool {
        matches!(
            self.stage,
            Stage::LoggedIn {
                protect_data: true,
                ..
            }
        )
    }
}

/// What may be said before login: what a client needs to introduce itself and to protect the connection.
pub(super) fn is_open_to_all(command: &Command) -> bool {
    matches!(
        command,
        Command::User(_)
            | Command::Pass(_)
            | Command::Rein
            | Command::Quit
            | Command::Noop
            | Command::Help(_)
            | Command::Feat
            | Command::Opts { .. }
            | Command::Syst
            | Command::Auth(_)
            | Command::Pbsz(_)
            | Command::Prot(_)
            | Command::Ccc
            | Command::Host(_)
            | Command::Lang(_)
            | Command::Clnt
            | Command::Csid
    )
}

impl ServerPi {
    /// RFC 959 §4.1.1: USER may come at any time and begins anew.
    pub(super) fn user(&mut self, name: Vec<u8>) {
        self.log_out();
        let open = self
            .profile
            .open_names
            .iter()
            .any(|open| open.as_bytes().eq_ignore_ascii_case(&name));
        if self.profile.tls == TlsPolicy::Required && !self.security.control_is_protected() && !open {
            return self.reply(replies::AUTH_FIRST);
        }
        self.login.stage = Stage::Named(name);
        self.reply(replies::PASSWORD_PLEASE);
    }

    pub(super) fn pass(&mut self, password: Secret) {
        let user = match &self.login.stage {
            Stage::Named(user) => user.clone(),
            Stage::LoggedIn { .. } => return self.reply(replies::ALREADY_LOGGED_IN),
            Stage::Nobody => return self.reply(replies::USER_FIRST),
        };
        let slip = self.slips.issue();
        let protected = self.security.control_is_protected();
        self.ask(
            Waiting::Login,
            Ask::Login(
                slip,
                Credentials {
                    user,
                    password,
                    protected,
                },
            ),
        );
    }

    pub(super) fn login_answered(&mut self, now: Instant, answer: Result<LoggedIn, Refusal>) {
        let Stage::Named(user) = std::mem::take(&mut self.login.stage) else {
            return;
        };
        match answer {
            Ok(LoggedIn { protect_data }) => {
                self.login = Login {
                    stage: Stage::LoggedIn {
                        account: user,
                        protect_data,
                    },
                    failures: 0,
                };
                self.active_at = now;
                self.reply(replies::LOGGED_IN);
            }
            Err(refusal) => {
                self.login.failures += 1;
                let is_full = matches!(refusal, Refusal::TooManySessions | Refusal::TooManyLogins);
                if self.login.failures < MAX_FAILURES && !is_full {
                    self.reply(replies::login_refused(&refusal));
                } else {
                    self.reply(replies::login_ended(&refusal));
                    self.close();
                }
            }
        }
    }

    /// RFC 959 §4.1.1: everything as at the start, but a protected connection stays protected.
    pub(super) fn reinitialize(&mut self) {
        self.log_out();
        self.reply(replies::greeting(&self.profile.greeting));
    }

    /// RFC 7151 §3: before USER, so that the account can depend on the name.
    pub(super) fn host(&mut self, name: &[u8]) {
        if self.login.account().is_some() {
            return self.reply(replies::HOST_TOO_LATE);
        }
        let bare = name
            .strip_prefix(b"[")
            .and_then(|n| n.strip_suffix(b"]"))
            .unwrap_or(name);
        let known = self.profile.host_names.is_empty()
            || self
                .profile
                .host_names
                .iter()
                .any(|host| host.as_bytes().eq_ignore_ascii_case(bare));
        self.login.stage = Stage::Nobody;
        self.reply(if known {
            replies::HOST_FOUND
        } else {
            replies::HOST_UNKNOWN
        });
    }

    pub(super) fn log_out(&mut self) {
        // Who has never been logged in gets no more time.
        if self.login.account().is_some() {
            self.login_by = self.active_at + self.profile.login_deadline;
            self.out.push_back(Output::Logout);
        }
        if self.parameters.has_endpoint() {
            self.out.push_back(Output::Release);
        }
        self.login.stage = Stage::Nobody;
        self.parameters = super::transfer::Parameters::default();
        self.cwd = b"/".to_vec();
        self.rename_from = None;
        self.facts = crate::listing::facts::FactSet::default();
    }
}
