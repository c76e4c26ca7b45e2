//! What a server is examined for, in which order, and with how much patience.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pasarela_client::probe::Probe;
use pasarela_client::{Failure, FailureKind, Scheme, Security, SftpSite, Site, Url};
use pasarela_reach::survey::Links;
use pasarela_tls::{ClientTls, TrustError};
use tokio::net::TcpStream;

use crate::advice::server as kinds;
use crate::check;
use crate::finding::Finding;
use crate::knock::{Answer, Knock, knock};
use crate::report::Report;

/// How a server is examined.
#[derive(Debug, Clone)]
pub struct Examination {
    /// The server, and who logs in.
    pub site: Site,
    /// The same, where it is reached by SFTP.
    pub sftp: Option<SftpSite>,
    /// What the URL names, in the server's bytes; empty: the folder after login.
    pub path: Vec<u8>,
    /// For how long a connection is left silent at the end.
    pub idle: Option<Duration>,
    /// Whether a file of 1 MiB is sent, read back and removed.
    pub upload: bool,
    /// For one attempt to connect, before it counts as unanswered.
    pub patience: Duration,
}

/// SYNs go out at once, after 1 s and after 3 s.
const PATIENCE: Duration = Duration::from_secs(4);
/// The most that is waited for a reply, and for data to move.
const LONGEST_REPLY: Duration = Duration::from_secs(20);

impl Examination {
    /// Of a server, without what takes long or leaves traces.
    #[must_use]
    pub fn of(site: Site, path: impl Into<Vec<u8>>) -> Self {
        let mut site = site;
        let options = &mut site.options;
        for wait in [
            &mut options.connect_timeout,
            &mut options.reply_timeout,
            &mut options.stall_timeout,
            &mut options.end_timeout,
        ] {
            *wait = (*wait).min(LONGEST_REPLY);
        }
        let patience = options.connect_timeout.min(PATIENCE);
        Self {
            site,
            sftp: None,
            path: path.into(),
            idle: None,
            upload: false,
            patience,
        }
    }

    /// Of a server of SFTP.
    #[must_use]
    pub fn of_sftp(site: SftpSite, path: impl Into<Vec<u8>>) -> Self {
        let mut site = site;
        for wait in [&mut site.options.connect_timeout, &mut site.options.stall_timeout] {
            *wait = (*wait).min(LONGEST_REPLY);
        }
        let mut near = Site::of(&Url {
            scheme: Scheme::Sftp,
            user: None,
            password: None,
            host: site.host.clone(),
            port: site.port,
            path: Vec::new(),
        });
        near.options.family = site.options.family;
        near.options.connect_timeout = site.options.connect_timeout;
        Self {
            sftp: Some(site),
            ..Self::of(near, path)
        }
    }

    /// Examines; the report has the verdict. Takes no longer than its deadlines and the time of silence that was asked
    /// for.
    pub async fn run(&self, report: &mut Report) {
        // What this machine knows of its links helps to tell near from far; without it less can be told.
        let links = Links::read().await.unwrap_or_default();
        let Some(addresses) = check::names::check(self, report).await else {
            return;
        };
        let Some(opened) = check::connect::check(self, &links, &addresses, report).await else {
            return;
        };
        if let Some(site) = &self.sftp {
            drop(opened);
            check::sftp::check(self, site, report).await;
            return;
        }
        let others: Vec<_> = opened.iter().skip(1).map(|open| open.to).collect();
        let Some(first) = opened.into_iter().next() else {
            return;
        };
        let to = first.to;
        let visit = Visit {
            examination: self,
            to,
        };
        let Some(mut probe) = self.enter(&visit, first.tcp, report).await else {
            return;
        };
        let is_protected = probe.shown().is_some();
        let passive = check::passive::check(&visit, &links, &mut probe, report).await;
        let works = passive.is_some();
        probe.quit().await;
        if let Some((form, carried)) = passive {
            check::resumption::check(&visit, (form, carried), report).await;
            let told = report
                .value("passive.pasv.address")
                .and_then(|told| told.as_str()?.parse().ok());
            check::rewriting::check(&visit, told.filter(|_| is_protected), report).await;
            if self.upload {
                check::transfer::check(&visit, form, report).await;
            }
        }
        check::families::check(self, to, &others, works, report).await;
        check::timing::check(report);
        if let Some(silence) = self.idle {
            check::idle::check(&visit, silence, report).await;
        }
    }

    /// From a connection to somebody who is logged in.
    async fn enter(&self, visit: &Visit<'_>, tcp: TcpStream, report: &mut Report) -> Option<Probe> {
        let start = Instant::now();
        let (mut probe, tls) = check::greeting::check(visit, tcp, report).await?;
        check::tls::check(visit, &mut probe, &tls, report).await?;
        check::login::check(&mut probe, report).await?;
        check::features::check(&mut probe, report).await?;
        report.fact("login.milliseconds", milliseconds(start.elapsed()));
        Some(probe)
    }

    pub(crate) fn tls(&self) -> Result<Arc<ClientTls>, TrustError> {
        ClientTls::new(&self.site.trust, &self.site.host, self.site.port).map(Arc::new)
    }

    /// Whether this user may log in without TLS, and the URL does not ask for it.
    pub(crate) fn may_be_clear(&self) -> bool {
        self.site.security == Security::Offered
            && (self.site.is_anonymous() || self.site.options.plain_password)
    }
}

/// One address of the server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Visit<'a> {
    pub(crate) examination: &'a Examination,
    pub(crate) to: SocketAddr,
}

impl Visit<'_> {
    pub(crate) async fn knock(&self) -> Knock {
        knock(None, self.to, None, self.examination.patience).await
    }

    /// Whether a handshake by TLS 1.2 alone is made.
    pub(crate) async fn speaks_tls12(&self) -> bool {
        let site = &self.examination.site;
        let Ok(tls) = ClientTls::new_tls12(&site.trust, &site.host, site.port) else {
            return false;
        };
        let Answer::Open(tcp) = self.knock().await.answer else {
            return false;
        };
        let Ok(mut probe) = Probe::over(tcp, site, Arc::new(tls)).await else {
            return false;
        };
        let protected = probe.greet().await.is_ok() && matches!(probe.protect().await, Ok(true));
        probe.quit().await;
        protected
    }

    /// Logs in anew, as the examination before did; in clear where that is wanted.
    pub(crate) async fn session(&self, clear: bool) -> Result<Probe, Failure> {
        let knock = self.knock().await;
        let line = knock.line();
        let Answer::Open(tcp) = knock.answer else {
            return Err(lost(line));
        };
        let site = &self.examination.site;
        let tls = self.examination.tls().map_err(|error| lost(error.to_string()))?;
        let mut probe = Probe::over(tcp, site, tls).await?;
        probe.greet().await?;
        if !clear {
            probe.protect().await?;
        }
        probe.log_in().await?;
        probe.survey().await?;
        Ok(probe)
    }
}

pub(crate) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// No connection, as a failure.
fn lost(sentence: String) -> Failure {
    Failure::new(FailureKind::Lost, sentence)
}

/// A control connection that broke outside of what a check is about.
pub(crate) fn broke(failure: &Failure, probe: &Probe) -> Finding {
    Finding::new(
        &kinds::CONTROL_LOST,
        format!("the control connection broke: {}", failure.sentence),
    )
    .all_evidence(last_words(probe))
}

/// The end of what was said.
pub(crate) fn last_words(probe: &Probe) -> Vec<String> {
    const LINES: usize = 6;
    let transcript = probe.transcript();
    transcript[transcript.len().saturating_sub(LINES)..].to_vec()
}
