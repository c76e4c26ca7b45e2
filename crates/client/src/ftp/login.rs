//! From a name to a control connection that is logged in: TCP, TLS, greeting, login, survey.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pasarela_ftp_proto::user_pi::{Errand, Features, Outcome, Reply};
use pasarela_tls::{ClientTls, ConnectError, Known, Shown, Trust, TrustError};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::control::{Control, Event, unexpected};
use super::dial::dial;
use super::site::{Security, Site};
use super::software::Software;
use super::stopwatch::{Phase, Stopwatch};
use super::wire::Wire;
use crate::{Algorithm, Failure, FailureKind};

/// A control connection that is logged in.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) control: Control,
    pub(super) features: Arc<Features>,
    pub(super) software: Software,
    /// What HASH computes here, where that was chosen.
    pub(super) hash: Option<Algorithm>,
    /// Protects data connections; `None`: nothing is protected.
    pub(super) tls: Option<Arc<ClientTls>>,
    pub(super) used: Instant,
}

/// The wait before the second attempt; each further one is twice as long.
const BACKOFF: Duration = Duration::from_millis(500);

/// Connects and logs in; tries again where that may help.
pub(super) async fn open(site: &Site, tls12: bool) -> Result<Connection, Failure> {
    let mut wait = BACKOFF;
    for attempt in 1.. {
        match attempt_to_open(site, tls12).await {
            Err(failure) if attempt < site.options.attempts && may_pass(&failure) => {
                tracing::warn!(attempt, %failure, "no connection; trying again");
                sleep(wait).await;
                wait *= 2;
            }
            opened => return opened,
        }
    }
    Err(Failure::new(
        FailureKind::Connect,
        "no attempt to connect was allowed",
    ))
}

/// Whether another attempt may end differently. A server that says that there are too many connections is heard by the
/// pool, not asked again and again.
fn may_pass(failure: &Failure) -> bool {
    matches!(
        failure.kind,
        FailureKind::Connect | FailureKind::Lost | FailureKind::Timeout
    ) && failure.reply.is_none()
}

async fn attempt_to_open(site: &Site, tls12: bool) -> Result<Connection, Failure> {
    let new = if tls12 {
        ClientTls::new_tls12
    } else {
        ClientTls::new
    };
    let tls = new(&site.trust, &site.host, site.port).map(Arc::new);
    let memory = known(site).await?;
    let lap = |phase, since| Stopwatch::lap(site.options.stopwatch.as_ref(), phase, since);
    let since = Instant::now();
    let (tcp, route) = dial(&site.host, site.port, &site.options).await?;
    let mut since = lap(Phase::Connect, since);

    let mut secured = None;
    let wire = if site.security == Security::Implicit {
        let tls = tls.clone().map_err(distrust)?;
        let (wire, shown) = shake_hands(site, &tls, tcp).await?;
        secured = Some((tls, shown));
        since = lap(Phase::Tls, since);
        wire
    } else {
        Wire::Plain(tcp)
    };
    let mut control = Control::new(wire, route, site.patience())?;
    let greeting = expect(control.run(Errand::Greeting).await?, "greet us")?;
    since = lap(Phase::Greeting, since);

    if site.security != Security::Implicit {
        secured = protect(site, &mut control, tls, memory).await?;
        since = lap(Phase::Tls, since);
    } else {
        expect(
            control.run(Errand::ProtectData).await?,
            "protect data connections",
        )?;
    }
    log_in(site, &mut control).await?;
    since = lap(Phase::Login, since);
    tracing::info!(host = site.host, protected = secured.is_some(), "logged in");
    if let Some((_, shown)) = &secured {
        remember(site, shown, memory).await;
    }
    let features = match control.run(Errand::Survey).await? {
        Outcome::Surveyed(features) => Arc::new(*features),
        other => return Err(unexpected(&other)),
    };
    lap(Phase::Survey, since);
    if let Some((tls, _)) = &secured
        && features.parameters("ALPN") == Some("ftp-data")
    {
        tls.name_data_connections();
    }
    Ok(Connection {
        control,
        software: Software::of(&greeting.lines.concat(), &features),
        hash: None,
        features,
        tls: secured.map(|(tls, _)| tls),
        used: Instant::now(),
    })
}

/// Says who we are; no password goes out in clear unless that is allowed.
pub(super) async fn log_in(site: &Site, control: &mut Control) -> Result<(), Failure> {
    if !control.is_protected() && !site.is_anonymous() && !site.options.plain_password {
        return Err(Failure::new(
            FailureKind::Tls,
            format!(
                "{} offers no TLS, and the password would go out in clear",
                site.host
            ),
        )
        .hint("allow plain passwords for this server only if everybody on the way may read it"));
    }
    expect(control.run(Errand::Login(site.credentials())).await?, "log in")
        .map_err(|failure| Failure {
            kind: FailureKind::Login,
            ..failure
        })
        .map(drop)
}

pub(super) type Secured = Option<(Arc<ClientTls>, Shown)>;

/// AUTH TLS and what follows; `None`: refused, and nothing forbids to go on without.
pub(super) async fn protect(
    site: &Site,
    control: &mut Control,
    tls: Result<Arc<ClientTls>, TrustError>,
    memory: Option<Known>,
) -> Result<Secured, Failure> {
    // Somebody who takes AUTH away from the replies must not get a password for it (CVE-2021-22946).
    control.begin(Errand::Protect)?;
    let mut secured = None;
    loop {
        match control.next().await? {
            Event::StartTls => {
                let tls = tls.clone().map_err(distrust)?;
                let tcp = control.take_tcp()?;
                let (wire, shown) = shake_hands(site, &tls, tcp).await?;
                secured = Some((tls, shown));
                control.secured(wire);
            }
            Event::Done(Outcome::Unprotected(reply)) if site.security == Security::Required => {
                return Err(
                    Failure::new(FailureKind::Tls, format!("{} refuses TLS: {reply}", site.host))
                        .hint("ftps:// speaks TLS from the first byte, on a port of its own"),
                );
            }
            Event::Done(Outcome::Unprotected(reply)) if memory.is_some() => {
                return Err(Failure::new(
                    FailureKind::Tls,
                    format!("{} had TLS before and refuses it now: {reply}", site.host),
                )
                .hint("somebody on the way may have taken it away; if the server really lost it, forget the server"));
            }
            Event::Done(Outcome::Unprotected(_)) => {
                tracing::warn!(host = site.host, "the server has no TLS");
                return Ok(None);
            }
            Event::Done(outcome) => {
                expect(outcome, "protect data connections")?;
                return Ok(secured);
            }
            Event::Began => {}
        }
    }
}

pub(super) async fn shake_hands(
    site: &Site,
    tls: &ClientTls,
    tcp: TcpStream,
) -> Result<(Wire, Shown), Failure> {
    let shaken = timeout(site.options.connect_timeout, tls.connect_control(tcp)).await;
    let (stream, shown) = shaken
        .map_err(|_| {
            Failure::new(
                FailureKind::Tls,
                "the server does not answer in the TLS handshake",
            )
        })?
        .map_err(tls_failure)?;
    tracing::debug!(
        version = stream.protocol(),
        cipher = stream.cipher(),
        "the control connection is protected"
    );
    Ok((Wire::Tls(Box::new(stream)), shown))
}

/// What went wrong in a handshake, as a sentence.
pub(super) fn tls_failure(error: ConnectError) -> Failure {
    match error {
        ConnectError::Untrusted(error) => distrust(error),
        ConnectError::AnotherServer => Failure::new(FailureKind::Tls, error.to_string()),
        ConnectError::Handshake(error) => {
            Failure::new(FailureKind::Tls, format!("the TLS handshake failed: {error}"))
                .hint("the server may not speak TLS here, or no version that we do; or something on the way cuts it off")
        }
        other => Failure::new(FailureKind::Tls, other.to_string()),
    }
}

fn distrust(error: TrustError) -> Failure {
    let hint = match &error {
        TrustError::Stranger { fingerprint, key, .. } => {
            format!("compare with what the server's operator tells you: certificate {fingerprint}, key {key}")
        }
        TrustError::Changed { known, key, .. } => format!(
            "it was {known} and is {key}: ask the operator; if it is right, forget the server and connect again"
        ),
        TrustError::NotPinned { .. } => "ask the operator for the pin of today".to_owned(),
        TrustError::NotVouchedFor(_) => {
            "trust it at first use, pin its key, or name its certificate as an authority".to_owned()
        }
        _ => return Failure::new(FailureKind::Tls, error.to_string()),
    };
    Failure {
        distrust: Some(Box::new(error.clone())),
        ..Failure::new(FailureKind::Tls, error.to_string()).hint(hint)
    }
}

pub(super) async fn known(site: &Site) -> Result<Option<Known>, Failure> {
    let Some(servers) = site.known_servers().cloned() else {
        return Ok(None);
    };
    let (host, port) = (site.host.clone(), site.port);
    let looked_up = tokio::task::spawn_blocking(move || servers.look_up(&host, port)).await;
    looked_up
        .unwrap_or_else(|stopped| Err(std::io::Error::other(stopped)))
        .map_err(|error| {
            Failure::new(
                FailureKind::Tls,
                format!("the known servers cannot be read: {error}"),
            )
        })
}

/// Keeps that the server had TLS. A memory that cannot be written is a reason to say so, not to stop.
pub(super) async fn remember(site: &Site, shown: &Shown, before: Option<Known>) {
    let Some(servers) = site.known_servers().cloned() else {
        return;
    };
    let believed = matches!(site.trust, Trust::FirstUse { .. }) && !shown.vouched;
    let known = Known {
        key: believed.then_some(shown.key),
    };
    if before == Some(known) {
        return;
    }
    let (host, port) = (site.host.clone(), site.port);
    let written = tokio::task::spawn_blocking(move || servers.remember(&host, port, known)).await;
    if let Err(error) = written.unwrap_or_else(|stopped| Err(std::io::Error::other(stopped))) {
        tracing::warn!(%error, "the server could not be kept as known");
    }
}

pub(super) fn expect(outcome: Outcome, doing: &str) -> Result<Reply, Failure> {
    match outcome {
        Outcome::Done(reply) => Ok(reply),
        Outcome::Refused(reply) => Err(Failure::refused(doing, reply)),
        other => Err(unexpected(&other)),
    }
}
