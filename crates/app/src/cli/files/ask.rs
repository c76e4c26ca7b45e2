//! Questions to whoever sits at the terminal.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use async_trait::async_trait;
use pasarela_client::{Asks, Facts, HostKeyError, Pin, Question, Secret, TrustError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio_util::sync::CancellationToken;

use super::show;
use crate::cli::passwd::{Silence, read_line};

/// Whether somebody sees a question and can answer it.
pub(super) fn is_possible() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks a question.
///
/// # Errors
/// Nobody can be asked, or the command was stopped.
pub(super) async fn line(question: &str, stop: &CancellationToken) -> io::Result<String> {
    typed(question, stop, false).await
}

/// Asks for what is not shown while it is typed. Standard input is enough for that: passwords have always been asked
/// for while messages went to a file.
///
/// # Errors
/// As [`line`].
pub(super) async fn secret(question: &str, stop: &CancellationToken) -> io::Result<String> {
    typed(question, stop, true).await
}

/// Whether the answer is yes.
pub(super) async fn is_yes(question: &str, stop: &CancellationToken) -> bool {
    let answer = line(question, stop).await.unwrap_or_default();
    ["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str())
}

async fn typed(question: &str, stop: &CancellationToken, is_secret: bool) -> io::Result<String> {
    if !io::stdin().is_terminal() {
        return Err(io::Error::other("standard input is no terminal to ask at"));
    }
    let (question, stop) = (question.to_owned(), stop.clone());
    let asked = tokio::task::spawn_blocking(move || {
        let _silence = is_secret.then(Silence::new).transpose()?;
        show::ask(&question);
        let line = wait(&stop).and_then(|()| read_line());
        if is_secret || line.is_err() {
            show::ask("\n");
        }
        line
    });
    asked
        .await
        .unwrap_or_else(|stopped| Err(io::Error::other(stopped)))
}

/// Until a line has been typed. A thread that just read would take the next one after it was given up.
fn wait(stop: &CancellationToken) -> io::Result<()> {
    const PERIOD: Timespec = Timespec {
        tv_sec: 0,
        tv_nsec: Duration::from_millis(100).subsec_nanos() as _,
    };
    let stdin = io::stdin();
    loop {
        let mut fds = [PollFd::new(&stdin, PollFlags::IN)];
        match poll(&mut fds, Some(&PERIOD)) {
            _ if stop.is_cancelled() => return Err(io::ErrorKind::Interrupted.into()),
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// What is to become of a server that nobody vouches for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Belief {
    /// It is known from now on.
    Always(Pin),
    /// It is taken for what it says it is during this run.
    Once(Pin),
    /// It is not.
    Never,
}

/// Asks whether to believe a server that was never seen before.
pub(super) async fn about(stranger: &TrustError, stop: &CancellationToken) -> Belief {
    let TrustError::Stranger { key, .. } = stranger else {
        return Belief::Never;
    };
    show::say(&described(stranger));
    is_trusted(*key, stop).await
}

/// The same about a server that is known by a host key.
pub(super) async fn about_host_key(stranger: &HostKeyError, stop: &CancellationToken) -> Belief {
    let HostKeyError::Stranger { key, .. } = stranger else {
        return Belief::Never;
    };
    show::say(&show::escaped(stranger.to_string().as_bytes()));
    show::say("Compare the key with what the server's operator tells you.");
    is_trusted(*key, stop).await
}

async fn is_trusted(key: Pin, stop: &CancellationToken) -> Belief {
    let question = "Trust it? yes (from now on), once (this run), no [no]: ";
    let answer = line(question, stop).await.unwrap_or_default();
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Belief::Always(key),
        "once" => Belief::Once(key),
        _ => Belief::Never,
    }
}

/// Asks for what a login wants.
#[derive(Debug)]
pub(super) struct Asker {
    /// Whose it is, as a URL.
    pub(super) login: String,
    pub(super) stop: CancellationToken,
    /// Whether somebody sits before the command.
    pub(super) can_ask: bool,
}

#[async_trait]
impl Asks for Asker {
    async fn secret(&self, question: &Question) -> Option<Secret> {
        if !self.can_ask {
            return None;
        }
        let again = |again: &bool| if *again { "That was not it. " } else { "" };
        let (question, is_secret) = match question {
            Question::Password { again: is_again } => {
                (format!("{}Password for {}: ", again(is_again), self.login), true)
            }
            Question::Passphrase {
                file,
                again: is_again,
            } => {
                let file = show::escaped(file.as_os_str().as_encoded_bytes());
                (format!("{}Passphrase of {file}: ", again(is_again)), true)
            }
            Question::Prompt { words, echo } => {
                let words = show::escaped(words.as_bytes());
                (format!("{} asks: {words} ", self.login), !echo)
            }
            _ => return None,
        };
        typed(&question, &self.stop, is_secret)
            .await
            .ok()
            .map(Secret::new)
    }
}

fn described(stranger: &TrustError) -> String {
    let mut text = show::escaped(stranger.to_string().as_bytes());
    if let TrustError::Stranger {
        key,
        fingerprint,
        facts,
        ..
    } = stranger
    {
        let facts = facts.as_deref().cloned().unwrap_or_else(|| Facts {
            subject: "(unreadable)".to_owned(),
            ..Facts::default()
        });
        let signed = match facts.subject == facts.issuer {
            true => " (itself)",
            false => "",
        };
        for (title, value) in [
            ("subject", facts.subject.clone()),
            ("issuer", format!("{}{signed}", facts.issuer)),
            ("valid", format!("{} to {}", facts.not_before, facts.not_after)),
            ("certificate", fingerprint.to_string()),
            ("key", key.to_string()),
        ] {
            text.push_str(&format!("\n  {title:<12} {}", show::escaped(value.as_bytes())));
        }
    }
    text.push_str("\nCompare the certificate or the key with what the server's operator tells you.");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stranger_says_of_itself_cannot_speak_to_the_terminal() {
        let stranger = TrustError::Stranger {
            host: "h".to_owned(),
            port: 21,
            key: Pin([7; 32]),
            fingerprint: pasarela_tls::Fingerprint([8; 32]),
            facts: Some(Box::new(Facts {
                subject: "CN=\x1b[2Jbank".to_owned(),
                issuer: "CN=x\nkey  sha256//forged".to_owned(),
                not_before: "2026-01-01T00:00:00Z".to_owned(),
                not_after: "2027-01-01T00:00:00Z".to_owned(),
            })),
            why: "UnknownIssuer".into(),
        };
        let text = described(&stranger);
        assert!(!text.contains('\x1b') && text.contains("bank"), "{text}");
        assert_eq!(
            text.lines()
                .filter(|line| line.trim().starts_with("key "))
                .count(),
            1,
            "{text}"
        );
        assert!(text.contains(&Pin([7; 32]).to_string()), "{text}");
    }
}
