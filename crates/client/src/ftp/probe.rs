//! One control connection, a step at a time, for those who want to know what a server does and not just whether it works.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use pasarela_ftp_proto::user_pi::{Endpoint, Errand, Features, Form, Outcome, Reply};
use pasarela_tls::{ClientTls, Known, Shown};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpStream;

use super::control::{Control, unexpected};
use super::data::{Prospect, begin, words_of_server};
use super::dial::Route;
use super::login::{expect, known, log_in, protect, remember, shake_hands};
use super::site::{Security, Site};
use super::wire::Wire;
use crate::Failure;

/// A control connection whose owner decides on each step.
#[derive(Debug)]
pub struct Probe {
    site: Site,
    control: Control,
    tls: Arc<ClientTls>,
    /// What was known of the server before.
    memory: Option<Known>,
    shown: Option<Shown>,
}

/// What a data connection carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Carried {
    /// How much.
    pub bytes: u64,
    /// SHA-256 of it.
    pub sha256: [u8; 32],
    /// Whether it was read to its end; more than was wanted is not.
    pub whole: bool,
    /// Whether its TLS session was resumed; `None`: it was not protected.
    pub resumed: Option<bool>,
    /// From the command until data could flow, a handshake included.
    pub began: Duration,
    /// From then on until all had flowed.
    pub took: Duration,
}

impl Probe {
    /// Over a connection that is made already; where the site has TLS from the first byte, the handshake is made.
    ///
    /// # Errors
    /// When the handshake fails, or the server is not trusted.
    pub async fn over(tcp: TcpStream, site: &Site, tls: Arc<ClientTls>) -> Result<Self, Failure> {
        let memory = known(site).await?;
        let (wire, shown) = if site.security == Security::Implicit {
            let (wire, shown) = shake_hands(site, &tls, tcp).await?;
            (wire, Some(shown))
        } else {
            (Wire::Plain(tcp), None)
        };
        let mut control = Control::new(wire, Route::Direct, site.patience())?;
        control.record();
        Ok(Self {
            site: site.clone(),
            control,
            tls,
            memory,
            shown,
        })
    }

    /// Whom it is connected to.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.control.peer
    }

    /// Its own end.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.control.local
    }

    /// What was said: `> COMMAND` and `< REPLY`, passwords left out.
    #[must_use]
    pub fn transcript(&self) -> &[String] {
        self.control.transcript()
    }

    /// The last reply, as the transcript has it.
    #[must_use]
    pub fn heard(&self) -> Option<&str> {
        self.transcript()
            .iter()
            .rev()
            .find_map(|line| line.strip_prefix("< "))
    }

    /// Whether somebody put bytes in clear behind the reply to AUTH.
    #[must_use]
    pub fn is_tampered_with(&self) -> bool {
        self.control.is_tampered_with()
    }

    /// What the server showed in its handshake; `None`: nothing is protected.
    #[must_use]
    pub fn shown(&self) -> Option<Shown> {
        self.shown
    }

    /// Version and cipher suite of the control connection; `None`: it is not protected.
    #[must_use]
    pub fn cipher(&self) -> Option<(&'static str, &'static str)> {
        self.control.cipher()
    }

    /// The greeting.
    ///
    /// # Errors
    /// When there is none, or when it is a refusal.
    pub async fn greet(&mut self) -> Result<(), Failure> {
        expect(self.control.run(Errand::Greeting).await?, "greet us").map(drop)
    }

    /// AUTH TLS, where the site begins in clear, and PROT P; whether the control connection is protected now.
    ///
    /// # Errors
    /// As a login's: a failed handshake, no trust, and a refusal where there must be TLS.
    pub async fn protect(&mut self) -> Result<bool, Failure> {
        if self.shown.is_some() {
            let outcome = self.control.run(Errand::ProtectData).await?;
            return expect(outcome, "protect data connections").map(|_| true);
        }
        let tls = Ok(Arc::clone(&self.tls));
        let secured = protect(&self.site, &mut self.control, tls, self.memory).await?;
        self.shown = secured.map(|(_, shown)| shown);
        Ok(self.shown.is_some())
    }

    /// USER and what follows. A password goes out in clear only where the site allows it.
    ///
    /// # Errors
    /// When it is refused, or would be in clear.
    pub async fn log_in(&mut self) -> Result<(), Failure> {
        log_in(&self.site, &mut self.control).await?;
        if let Some(shown) = &self.shown {
            remember(&self.site, shown, self.memory).await;
        }
        Ok(())
    }

    /// FEAT and what it leads to, TYPE I and PWD.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn survey(&mut self) -> Result<Features, Failure> {
        match self.control.run(Errand::Survey).await? {
            Outcome::Surveyed(features) => Ok(*features),
            other => Err(unexpected(&other)),
        }
    }

    /// EPSV or PASV; the error is the server's refusal, or what nobody can read.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn passive(&mut self, form: Form) -> Result<Result<Endpoint, Reply>, Failure> {
        match self.control.run(Errand::Passive(form)).await? {
            Outcome::Passive(endpoint) => Ok(Ok(endpoint)),
            Outcome::Refused(reply) => Ok(Err(reply)),
            other => Err(unexpected(&other)),
        }
    }

    /// One command; its reply, whatever that says.
    ///
    /// # Errors
    /// When the connection is lost, or the argument holds a line end.
    pub async fn command(&mut self, verb: &str, argument: &[u8]) -> Result<Reply, Failure> {
        self.control.command(verb, argument).await
    }

    /// Whether a reply, or the end, can come without being asked for: looks and does not wait.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.control.is_usable()
    }

    /// Gives a command that sends data, and reads it from a data connection that is made already; stops behind `most`
    /// bytes, after which the probe is of little use. With `stranger`, a session of its own protects the data.
    ///
    /// # Errors
    /// As a download's.
    pub async fn fetch(
        &mut self,
        data: TcpStream,
        command: Vec<u8>,
        stranger: Option<Arc<ClientTls>>,
        most: u64,
    ) -> Result<Carried, Failure> {
        let start = Instant::now();
        let tls = self.data_tls(stranger);
        let control = &mut self.control;
        let mut transfer = begin(
            control,
            Prospect::Connected(data),
            tls,
            &self.site.options,
            None,
            command,
            "send it",
        )
        .await?;
        let (began, flowing) = (start.elapsed(), Instant::now());
        let resumed = transfer.is_resumed();
        let (mut sha256, mut bytes, mut whole) = (Sha256::new(), 0, true);
        let mut buf = BytesMut::with_capacity(64 * 1024);
        loop {
            buf.clear();
            let read = match transfer.read(control, &mut buf).await {
                Ok(read) => read,
                // Why it broke is what the server says next.
                Err(failure) if failure.reply.is_none() && !transfer.is_refused() => {
                    let peer = control.peer.ip();
                    return Err(words_of_server(control, "send it", peer).await.unwrap_or(failure));
                }
                Err(failure) => return Err(failure),
            };
            if read == 0 {
                break;
            }
            sha256.update(&buf);
            bytes += read as u64;
            if bytes > most {
                whole = false;
                break;
            }
        }
        let took = flowing.elapsed();
        if whole {
            transfer.finish(control, "send it").await?;
        } else {
            transfer.abandon(control).await;
        }
        Ok(Carried {
            bytes,
            sha256: sha256.finalize().into(),
            whole,
            resumed,
            began,
            took,
        })
    }

    /// Gives a command that takes data, and writes it to a data connection that is made already.
    ///
    /// # Errors
    /// As an upload's.
    pub async fn send(
        &mut self,
        data: TcpStream,
        command: Vec<u8>,
        content: Bytes,
    ) -> Result<Carried, Failure> {
        let start = Instant::now();
        let tls = self.data_tls(None);
        let control = &mut self.control;
        let doing = "take the file";
        let options = &self.site.options;
        let prospect = Prospect::Connected(data);
        let mut transfer = begin(control, prospect, tls, options, None, command, doing).await?;
        let (began, flowing) = (start.elapsed(), Instant::now());
        let resumed = transfer.is_resumed();
        transfer.write(control, content.clone()).await?;
        transfer.shut_down(control).await?;
        transfer.finish(control, doing).await?;
        Ok(Carried {
            bytes: content.len() as u64,
            sha256: Sha256::digest(&content).into(),
            whole: true,
            resumed,
            began,
            took: flowing.elapsed(),
        })
    }

    /// Says goodbye, briefly.
    pub async fn quit(self) {
        self.control.quit().await;
    }

    fn data_tls(&self, stranger: Option<Arc<ClientTls>>) -> Option<Arc<ClientTls>> {
        self.shown
            .is_some()
            .then(|| stranger.unwrap_or_else(|| Arc::clone(&self.tls)))
    }
}
