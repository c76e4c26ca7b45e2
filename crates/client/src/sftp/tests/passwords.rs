//! Logins by words at a server over TCP: passwords, questions, and both.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use pasarela_tls::Trust;
use russh::keys::ssh_key::{Algorithm, PrivateKey};
use russh::server::{Auth, Config, Handler, Msg, Response, Session, run_stream};
use russh::{Channel, ChannelId, MethodKind, MethodSet};
use tokio::net::TcpListener;

use super::{good, play};
use crate::sftp::{Asks, Question, SftpRemote, SftpSite};
use crate::{Failure, FailureKind, Secret};

/// What the server wants before it lets somebody in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wants {
    Password,
    Question,
    Both,
}

struct Server {
    wants: Wants,
    channels: HashMap<ChannelId, Channel<Msg>>,
}

fn only(method: MethodKind, partial_success: bool) -> Auth {
    Auth::Reject {
        proceed_with_methods: Some(MethodSet::from(&[method][..])),
        partial_success,
    }
}

impl Handler for Server {
    type Error = russh::Error;

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, Self::Error> {
        Ok(match (self.wants, (user, password)) {
            (Wants::Password, ("anna", "sesame")) => Auth::Accept,
            (Wants::Both, ("anna", "sesame")) => only(MethodKind::KeyboardInteractive, true),
            _ => only(MethodKind::Password, false),
        })
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        _: &str,
        _: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, Self::Error> {
        let expected: &[u8] = match self.wants {
            Wants::Both => b"123456",
            _ => b"sesame",
        };
        Ok(match response {
            _ if self.wants == Wants::Password => Auth::reject(),
            None => Auth::Partial {
                name: "".into(),
                instructions: "".into(),
                prompts: Cow::Owned(vec![("The word: ".into(), false)]),
            },
            Some(mut answers) => match answers.next() {
                Some(answer) if answer == expected => Auth::Accept,
                _ => Auth::reject(),
            },
        })
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: russh::server::ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        self.channels.insert(channel.id(), channel);
        reply.accept().await;
        Ok(())
    }

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        _: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_success(id)?;
        if let Some(channel) = self.channels.remove(&id) {
            tokio::spawn(play(channel.into_stream(), |id, request| {
                use pasarela_sftp_proto::{Name, Request, Response};
                match request {
                    Request::RealPath { .. } => {
                        super::send(id, &Response::Names(vec![Name::path("/home/anna")]))
                    }
                    request => good(&[], id, &request),
                }
            }));
        }
        Ok(())
    }
}

/// Answers in turn, and keeps what was asked.
#[derive(Default)]
struct Answers {
    left: Mutex<Vec<&'static str>>,
    asked: Mutex<Vec<Question>>,
}

#[async_trait]
impl Asks for Answers {
    async fn secret(&self, question: &Question) -> Option<Secret> {
        self.asked.lock().unwrap().push(question.clone());
        self.left.lock().unwrap().pop().map(Secret::new)
    }
}

/// Logs in with a password that is known and answers that are typed: how that ends, and what was asked.
async fn log_in(
    wants: Wants,
    known: Option<&str>,
    typed: &[&'static str],
) -> (Result<(), Failure>, Vec<Question>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut rng = russh::keys::key::safe_rng();
    let key = PrivateKey::random(&mut rng, Algorithm::Ed25519).unwrap();
    let methods: &[MethodKind] = match wants {
        Wants::Password | Wants::Both => &[MethodKind::Password],
        Wants::Question => &[MethodKind::KeyboardInteractive],
    };
    let config = Arc::new(Config {
        methods: MethodSet::from(methods),
        auth_rejection_time: Duration::ZERO,
        keys: vec![key.clone()],
        ..Config::default()
    });
    tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let server = Server {
            wants,
            channels: HashMap::new(),
        };
        if let Ok(session) = run_stream(config, tcp, server).await {
            let _ = session.await;
        }
    });
    let print = key.fingerprint(russh::keys::HashAlg::Sha256);
    let answers = Arc::new(Answers::default());
    answers.left.lock().unwrap().extend(typed.iter().rev());
    let site = SftpSite {
        password: known.map(Secret::new),
        identities: Vec::new(),
        usual_identities: Vec::new(),
        agent: None,
        known_hosts: Vec::new(),
        trust: Trust::Pinned(pasarela_tls::Pin(print.sha256().unwrap())),
        asks: Some(Arc::clone(&answers) as _),
        ..SftpSite::of(&format!("sftp://anna@{address}/").parse().unwrap())
    };
    let remote = SftpRemote::new(site);
    let connected = tokio::time::timeout(Duration::from_secs(60), remote.resolve(b"x")).await;
    let result = match connected.expect("it hangs") {
        Ok(path) => {
            assert_eq!(path.to_bytes(), b"/home/anna/x");
            Ok(())
        }
        Err(error) => Err(Failure::of(&error).unwrap().clone()),
    };
    let asked = answers.asked.lock().unwrap().clone();
    (result, asked)
}

fn password(again: bool) -> Question {
    Question::Password { again }
}

fn prompt() -> Question {
    Question::Prompt {
        words: "The word:".to_owned(),
        echo: false,
    }
}

#[tokio::test]
async fn a_password_that_is_known_is_not_asked_for() {
    let (result, asked) = log_in(Wants::Password, Some("sesame"), &[]).await;
    result.unwrap();
    assert_eq!(asked, []);
}

#[tokio::test]
async fn a_password_is_asked_for_until_it_is_right_and_not_for_ever() {
    let (result, asked) = log_in(Wants::Password, Some("old"), &["wrong", "sesame"]).await;
    result.unwrap();
    assert_eq!(asked, [password(true), password(true)]);
    let (result, asked) = log_in(Wants::Password, None, &["a", "b", "c", "sesame"]).await;
    assert_eq!(result.unwrap_err().kind, FailureKind::Login);
    assert_eq!(asked, [password(false), password(true), password(true)]);
}

#[tokio::test]
async fn a_question_for_one_secret_is_answered_with_the_password_and_others_by_somebody() {
    let (result, asked) = log_in(Wants::Question, Some("sesame"), &[]).await;
    result.unwrap();
    assert_eq!(asked, []);
    let (result, asked) = log_in(Wants::Question, None, &["sesame"]).await;
    result.unwrap();
    assert_eq!(asked, [prompt()]);
}

#[tokio::test]
async fn a_server_may_want_a_password_and_a_code() {
    let (result, asked) = log_in(Wants::Both, Some("sesame"), &["123456"]).await;
    result.unwrap();
    assert_eq!(asked, [prompt()]);
    let (result, _) = log_in(Wants::Both, Some("sesame"), &["000000"]).await;
    assert_eq!(result.unwrap_err().kind, FailureKind::Login);
}

#[tokio::test]
async fn nobody_to_ask_is_a_refused_login_that_says_what_the_server_takes() {
    let (result, asked) = log_in(Wants::Password, None, &[]).await;
    let failure = result.unwrap_err();
    assert_eq!((failure.kind, asked.len()), (FailureKind::Login, 1));
    let text = failure.to_string();
    assert!(
        text.contains("password") && text.contains("PASARELA_PASSWORD"),
        "{text}"
    );
}
