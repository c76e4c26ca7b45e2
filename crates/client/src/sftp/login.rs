//! The login (RFC 4252): keys of the agent, keys in files, a password, and whatever the server asks for.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use russh::client::{AuthResult, Handle, Handler, KeyboardInteractiveAuthResponse as Interactive};
use russh::keys::PrivateKeyWithHashAlg;
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::ssh_key::{HashAlg, PublicKey};
use russh::{MethodKind, MethodSet, SendError, Signer};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::connection::failed;
use super::key_file::{self, KeyFile};
use super::site::{Question, SftpSite};
use crate::{Failure, FailureKind, Secret};

/// What somebody typed for one place, so that it is asked for once.
#[derive(Debug, Default)]
pub(super) struct Typed(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    password: Option<Secret>,
    passphrases: HashMap<PathBuf, Secret>,
}

/// Methods in the order in which they are tried.
const METHODS: [MethodKind; 3] = [
    MethodKind::PublicKey,
    MethodKind::Password,
    MethodKind::KeyboardInteractive,
];
/// Servers close the connection after six failed attempts, and a password may have to follow.
const MOST_KEYS: usize = 5;
/// How often somebody may type it.
const MOST_TYPED: usize = 3;
/// Rounds of questions, and questions in a round, that are answered.
const MOST_ROUNDS: usize = 10;
/// An agent may have to ask somebody who has to find the key that is to be touched.
const HUMAN: Duration = Duration::from_secs(120);

/// What an attempt came to.
enum Tried {
    In,
    /// It was right, and something else is needed too.
    Partly(MethodSet),
    Refused,
}

/// Logs in, or tells why not.
pub(super) async fn log_in<H: Handler>(
    handle: &mut Handle<H>,
    site: &SftpSite,
    typed: &Typed,
) -> Result<(), Failure> {
    let user = String::from_utf8(site.user.clone()).map_err(|_| {
        Failure::new(
            FailureKind::Usage,
            "the user's name is not UTF-8, which SSH wants",
        )
    })?;
    if user.is_empty() {
        return Err(Failure::new(FailureKind::Usage, "nobody is named who logs in")
            .hint("name the user in the URL: sftp://USER@HOST/"));
    }
    let mut login = Login {
        handle,
        site,
        typed,
        user,
        keys: 0,
        was_asked: false,
        left: MethodSet::from(&METHODS[..]),
    };
    let mut methods = match login.none().await? {
        Tried::In => return Ok(()),
        Tried::Partly(methods) => methods,
        Tried::Refused => MethodSet::empty(),
    };
    let taken = methods.clone();
    let mut done = Vec::new();
    while let Some(method) = METHODS
        .into_iter()
        .find(|method| methods.contains(method) && !done.contains(method))
    {
        done.push(method);
        let tried = match method {
            MethodKind::PublicKey => login.with_keys().await?,
            MethodKind::Password => login.with_password().await?,
            _ => login.with_answers().await?,
        };
        match tried {
            Tried::In => return Ok(()),
            Tried::Partly(others) => {
                methods = others;
                tracing::debug!(?method, "the server wants something else too");
            }
            // Both ask for the same password.
            Tried::Refused if method == MethodKind::Password && login.was_asked => {
                done.push(MethodKind::KeyboardInteractive);
            }
            Tried::Refused => {}
        }
        if login.handle.is_closed() {
            return Err(login.refused(&taken, "the server ended the login"));
        }
    }
    Err(login.refused(&taken, "the server did not let them in"))
}

struct Login<'a, H: Handler> {
    handle: &'a mut Handle<H>,
    site: &'a SftpSite,
    typed: &'a Typed,
    user: String,
    /// How many keys the server has refused.
    keys: usize,
    /// A password has been tried.
    was_asked: bool,
    /// Methods that the server named when it last refused.
    left: MethodSet,
}

impl<H: Handler> Login<'_, H> {
    /// Finds out which methods there are.
    async fn none(&mut self) -> Result<Tried, Failure> {
        let asked = self.handle.authenticate_none(self.user.clone());
        match within(self.site.options.stall_timeout, asked).await? {
            AuthResult::Success => Ok(Tried::In),
            AuthResult::Failure {
                remaining_methods, ..
            } if remaining_methods.is_empty() && self.handle.is_closed() => Err(Failure::new(
                FailureKind::Lost,
                "the server closed the connection before the login",
            )),
            AuthResult::Failure {
                remaining_methods, ..
            } => Ok(Tried::Partly(remaining_methods)),
        }
    }

    async fn with_keys(&mut self) -> Result<Tried, Failure> {
        let files = key_file::load(&self.site.identities, &self.site.usual_identities).await?;
        let may_use =
            |key: &PublicKey| self.site.identities.is_empty() || files.iter().any(|file| file.is_of(key));
        let mut seen: Vec<PublicKey> = Vec::new();
        if let Some((mut agent, keys)) = self.agent().await {
            let keys: Vec<_> = keys.into_iter().filter(may_use).take(MOST_KEYS).collect();
            for key in keys {
                let hash = self.hash_for(&key).await?;
                let user = self.user.clone();
                let attempt = self
                    .handle
                    .authenticate_publickey_with(user, key.clone(), hash, &mut agent);
                match timeout(HUMAN, attempt).await {
                    Ok(Ok(result)) => match self.judged(result) {
                        Tried::Refused => {}
                        tried => return Ok(tried),
                    },
                    Ok(Err(error)) => tracing::debug!(%error, "the agent does not sign with a key"),
                    Err(_) => return Err(Failure::new(FailureKind::Timeout, "the agent does not answer")),
                }
                seen.push(key);
                if !self.may_try(MethodKind::PublicKey) {
                    return Ok(Tried::Refused);
                }
            }
        }
        for file in files {
            if !self.may_try(MethodKind::PublicKey) || self.keys >= MOST_KEYS {
                break;
            }
            if seen.iter().any(|key| file.is_of(key)) {
                continue;
            }
            match self.with_file(file).await? {
                Tried::Refused => {}
                tried => return Ok(tried),
            }
        }
        Ok(Tried::Refused)
    }

    /// The agent and its keys; `None` where there is none, or none that answers.
    async fn agent(&self) -> Option<(AgentClient<UnixStream>, Vec<PublicKey>)> {
        let path = self.site.agent.as_ref()?;
        let asked = async {
            let mut agent = AgentClient::connect_uds(path).await?;
            if let Some(binding) = self.handle.agent_session_binding() {
                // Agents other than OpenSSH's do not know it.
                let _ = agent.bind_session(binding, false).await;
            }
            let identities = agent.request_identities().await?;
            Ok::<_, russh::keys::Error>((agent, identities))
        };
        match timeout(self.site.options.connect_timeout, asked).await {
            Ok(Ok((agent, identities))) => {
                let keys = identities.into_iter().filter_map(|identity| match identity {
                    AgentIdentity::PublicKey { key, .. } => Some(key),
                    AgentIdentity::Certificate { .. } => None,
                });
                Some((agent, keys.collect()))
            }
            Ok(Err(error)) => {
                tracing::debug!(path = %path.display(), %error, "the agent cannot be asked");
                None
            }
            Err(_) => {
                tracing::debug!(path = %path.display(), "the agent does not answer");
                None
            }
        }
    }

    async fn with_file(&mut self, file: KeyFile) -> Result<Tried, Failure> {
        let key = match file.open() {
            Some(key) => key,
            None => {
                // Nobody is asked for the passphrase of a key that the server does not take.
                if let Some(public) = file.public().cloned()
                    && !self.is_taken(public).await?
                {
                    return Ok(Tried::Refused);
                }
                match self.unlock(file).await? {
                    Some(key) => key,
                    None => return Ok(Tried::Refused),
                }
            }
        };
        let hash = self.hash_for(key.public_key()).await?;
        let key = PrivateKeyWithHashAlg::new(key, hash);
        let attempt = self.handle.authenticate_publickey(self.user.clone(), key);
        let result = within(self.site.options.stall_timeout, attempt).await?;
        Ok(self.judged(result))
    }

    /// Whether the server would take a signature of this key (RFC 4252 §7).
    async fn is_taken(&mut self, key: PublicKey) -> Result<bool, Failure> {
        let hash = self.hash_for(&key).await?;
        let user = self.user.clone();
        let mut signer = NoSignature;
        let attempt = self
            .handle
            .authenticate_publickey_with(user, key, hash, &mut signer);
        match timeout(self.site.options.stall_timeout, attempt).await {
            Err(_) => Err(silent()),
            Ok(Err(Unsigned::Wanted)) => Ok(true),
            Ok(Err(Unsigned::Lost)) => Err(failed(&russh::Error::Disconnect)),
            Ok(Ok(result)) => {
                self.judged(result);
                Ok(false)
            }
        }
    }

    async fn unlock(&self, file: KeyFile) -> Result<Option<Arc<russh::keys::PrivateKey>>, Failure> {
        let known = self.typed.held().passphrases.get(&file.path).cloned();
        if let Some(passphrase) = known
            && let Some(key) = file.unlock(passphrase).await?
        {
            return Ok(Some(key));
        }
        for times in 0..MOST_TYPED {
            let question = Question::Passphrase {
                file: file.path.clone(),
                again: times > 0,
            };
            let Some(passphrase) = self.ask(&question).await else {
                return Ok(None);
            };
            if let Some(key) = file.unlock(passphrase.clone()).await? {
                let mut held = self.typed.held();
                held.passphrases.insert(file.path.clone(), passphrase);
                return Ok(Some(key));
            }
        }
        Ok(None)
    }

    /// RSA keys sign with the best hash that the server takes; SHA-1 is none (RFC 8332).
    async fn hash_for(&self, key: &PublicKey) -> Result<Option<HashAlg>, Failure> {
        if !key.algorithm().is_rsa() {
            return Ok(None);
        }
        let told = self.handle.best_supported_rsa_hash();
        let told = within(self.site.options.stall_timeout, told).await?;
        Ok(Some(told.flatten().unwrap_or(HashAlg::Sha512)))
    }

    async fn with_password(&mut self) -> Result<Tried, Failure> {
        for times in 0..MOST_TYPED {
            let known = match times {
                0 => self.known_password(),
                _ => None,
            };
            let was_known = known.is_some();
            let password = match known {
                Some(password) => Some(password),
                None => self.ask(&Question::Password { again: times > 0 }).await,
            };
            let Some(password) = password else { break };
            self.was_asked = true;
            let text = utf8(&password)?;
            let attempt = self.handle.authenticate_password(self.user.clone(), text);
            let result = within(self.site.options.stall_timeout, attempt).await?;
            match self.judged(result) {
                Tried::Refused if !self.may_try(MethodKind::Password) => break,
                Tried::Refused => {}
                tried => {
                    if !was_known {
                        self.typed.held().password = Some(password);
                    }
                    return Ok(tried);
                }
            }
        }
        Ok(Tried::Refused)
    }

    /// Keyboard-interactive (RFC 4256): a question for a secret is answered with the password that is known, everything
    /// else by whoever can be asked.
    async fn with_answers(&mut self) -> Result<Tried, Failure> {
        let stall = self.site.options.stall_timeout;
        // A server that has the password already wants something else.
        let mut known = self.known_password().filter(|_| !self.was_asked);
        let started = self
            .handle
            .authenticate_keyboard_interactive_start(self.user.clone(), None);
        let mut said = within(stall, started).await?;
        for _ in 0..MOST_ROUNDS {
            let (words, prompts) = match said {
                Interactive::Success => return Ok(Tried::In),
                Interactive::Failure {
                    remaining_methods,
                    partial_success: true,
                } => return Ok(Tried::Partly(remaining_methods)),
                Interactive::Failure { .. } => return Ok(Tried::Refused),
                Interactive::InfoRequest {
                    name,
                    instructions,
                    prompts,
                } => (format!("{name} {instructions}"), prompts),
            };
            let is_password = matches!(&prompts[..], [only] if !only.echo);
            let mut answers = Vec::new();
            for prompt in prompts.into_iter().take(MOST_ROUNDS) {
                let answer = match known.take().filter(|_| is_password) {
                    Some(password) => Some(password),
                    None => {
                        let words = format!("{} {}", words.trim(), prompt.prompt);
                        let words = words.trim().to_owned();
                        let echo = prompt.echo;
                        self.ask(&Question::Prompt { words, echo }).await
                    }
                };
                let Some(answer) = answer else {
                    return Ok(Tried::Refused);
                };
                self.was_asked = true;
                answers.push(utf8(&answer)?);
            }
            let responded = self.handle.authenticate_keyboard_interactive_respond(answers);
            said = within(stall, responded).await?;
        }
        Ok(Tried::Refused)
    }

    /// Whether the server would hear another attempt.
    fn may_try(&self, method: MethodKind) -> bool {
        !self.handle.is_closed() && self.left.contains(&method)
    }

    fn known_password(&self) -> Option<Secret> {
        let typed = self.typed.held().password.clone();
        typed.or_else(|| self.site.password.clone())
    }

    async fn ask(&self, question: &Question) -> Option<Secret> {
        self.site.asks.as_ref()?.secret(question).await
    }

    fn judged(&mut self, result: AuthResult) -> Tried {
        match result {
            AuthResult::Success => Tried::In,
            AuthResult::Failure {
                remaining_methods,
                partial_success: true,
            } => Tried::Partly(remaining_methods),
            AuthResult::Failure {
                remaining_methods, ..
            } => {
                self.keys += 1;
                self.left = remaining_methods;
                Tried::Refused
            }
        }
    }

    fn refused(&self, taken: &MethodSet, what: &str) -> Failure {
        let names: Vec<&str> = taken.iter().map(Into::into).collect();
        let user = self.user.escape_debug();
        let sentence = match names.is_empty() {
            true => format!("{user} is not logged in: {what}"),
            false => format!("{user} is not logged in: {what}; it takes {}", names.join(", ")),
        };
        let failure = Failure::new(FailureKind::Login, sentence);
        let takes = |method: MethodKind| taken.contains(&method);
        let takes_words = takes(MethodKind::Password) || takes(MethodKind::KeyboardInteractive);
        match (takes(MethodKind::PublicKey), takes_words) {
            (_, true) if self.was_asked => failure.hint("check the user name and the password"),
            (true, true) => failure.hint(
                "give a key with --identity FILE or an agent, or a password with --password-file or PASARELA_PASSWORD",
            ),
            (false, true) => failure.hint("give a password with --password-file or PASARELA_PASSWORD"),
            (true, false) if self.keys == 0 => {
                failure.hint("there was no key to try: give one with --identity FILE, or add it to an agent")
            }
            (true, false) => failure.hint(
                "the account must know your key, in ~/.ssh/authorized_keys on the server; --identity FILE names another",
            ),
            (false, false) => failure,
        }
    }
}

impl Typed {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Finds out that a signature is wanted, and makes none.
struct NoSignature;

enum Unsigned {
    Wanted,
    Lost,
}

impl From<SendError> for Unsigned {
    fn from(_: SendError) -> Self {
        Self::Lost
    }
}

impl Signer for NoSignature {
    type Error = Unsigned;

    async fn auth_sign(
        &mut self,
        _: &AgentIdentity,
        _: Option<HashAlg>,
        _: Vec<u8>,
    ) -> Result<Vec<u8>, Self::Error> {
        Err(Unsigned::Wanted)
    }
}

async fn within<T>(
    patience: Duration,
    work: impl Future<Output = Result<T, russh::Error>>,
) -> Result<T, Failure> {
    match timeout(patience, work).await {
        Ok(done) => done.map_err(|error| failed(&error)),
        Err(_) => Err(silent()),
    }
}

fn silent() -> Failure {
    Failure::new(
        FailureKind::Timeout,
        "the server does not answer during the login",
    )
}

fn utf8(secret: &Secret) -> Result<String, Failure> {
    String::from_utf8(secret.reveal().to_vec())
        .map_err(|_| Failure::new(FailureKind::Usage, "the password is not UTF-8, which SSH wants"))
}

/// For messages about key files.
pub(super) fn about(file: &Path, what: impl std::fmt::Display) -> Failure {
    Failure::new(FailureKind::Usage, format!("{}: {what}", file.display()))
}
