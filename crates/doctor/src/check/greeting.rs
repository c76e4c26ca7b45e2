//! The greeting: whether an FTP server answers, and where TLS begins with the first byte, whether it does.

use std::sync::Arc;
use std::time::Duration;

use pasarela_client::probe::Probe;
use pasarela_client::{Failure, FailureKind, Security, Site};
use pasarela_tls::ClientTls;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::tls::untrusted;
use crate::advice::server as kinds;
use crate::examination::{Visit, last_words};
use crate::finding::Finding;
use crate::knock::Answer;
use crate::report::Report;

/// How long a port that should greet may take, where only its first bytes are of interest.
const FIRST_WORDS: Duration = Duration::from_secs(3);

/// Someone whom the server has greeted.
pub(crate) async fn check(
    visit: &Visit<'_>,
    tcp: TcpStream,
    report: &mut Report,
) -> Option<(Probe, Arc<ClientTls>)> {
    let site = &visit.examination.site;
    let tls = match visit.examination.tls() {
        Ok(tls) => tls,
        Err(error) => {
            report.add(Finding::new(&kinds::TLS_UNTRUSTED, error.to_string()));
            return None;
        }
    };
    let mut probe = match Probe::over(tcp, site, Arc::clone(&tls)).await {
        Ok(probe) => probe,
        Err(failure) => {
            let finding = match first_words(visit).await {
                Some(words) if words.starts_with(b"220") && tls.refusal().is_none() => {
                    Finding::new(&kinds::TLS_EXPLICIT, format!("{} greets in clear", visit.to))
                        .evidence(format!("< {}", words.escape_ascii()))
                }
                _ => untrusted(&tls, &failure),
            };
            report.add(finding);
            return None;
        }
    };
    if let Err(failure) = probe.greet().await {
        report.add(diagnose(visit, &tls, &probe, &failure).await);
        return None;
    }
    let said = probe.heard().unwrap_or_default().to_owned();
    report.fact("greeting.text", said.clone());
    report.add(Finding::new(&kinds::GREETING_HEARD, "the server greets").evidence(format!("< {said}")));
    Some((probe, tls))
}

async fn diagnose(visit: &Visit<'_>, tls: &ClientTls, probe: &Probe, failure: &Failure) -> Finding {
    let words = last_words(probe);
    let finding = match (&failure.reply, failure.kind) {
        (Some(reply), _) => Finding::new(
            &kinds::GREETING_REFUSED,
            format!("the server does not want us: {reply}"),
        ),
        (None, FailureKind::Timeout) => match speaks_tls(visit, tls).await {
            true => Finding::new(
                &kinds::GREETING_TLS,
                format!("{} speaks TLS from the first byte", visit.to),
            ),
            false => Finding::new(
                &kinds::GREETING_SILENT,
                format!("{} accepts connections, and says nothing", visit.to),
            ),
        },
        (None, FailureKind::Lost) => Finding::new(
            &kinds::GREETING_CLOSED,
            format!("{} accepts connections, and closes them at once", visit.to),
        ),
        (None, _) => Finding::new(&kinds::GREETING_NOT_FTP, failure.sentence.clone()),
    };
    let finding = match (&failure.hint, finding.kind.id == kinds::GREETING_NOT_FTP.id) {
        (Some(hint), true) => finding.advice(hint.clone()),
        _ => finding,
    };
    finding.all_evidence(words)
}

/// Whether a handshake is answered; whom it is with does not matter here.
async fn speaks_tls(visit: &Visit<'_>, tls: &ClientTls) -> bool {
    let Answer::Open(tcp) = visit.knock().await.answer else {
        return false;
    };
    let made = timeout(FIRST_WORDS, tls.connect_control(tcp)).await;
    matches!(made, Ok(Ok(_))) || tls.refusal().is_some()
}

/// What the port says by itself.
async fn first_words(visit: &Visit<'_>) -> Option<Vec<u8>> {
    let site: &Site = &visit.examination.site;
    if site.security != Security::Implicit {
        return None;
    }
    let Answer::Open(mut tcp) = visit.knock().await.answer else {
        return None;
    };
    let mut words = vec![0; 200];
    let read = timeout(FIRST_WORDS, tcp.read(&mut words)).await.ok()?.ok()?;
    words.truncate(read);
    let end = words.iter().position(|byte| *byte == b'\r').unwrap_or(read);
    words.truncate(end);
    Some(words)
}
