//! TLS of the control connection: whether there is one, with whom, and for how long its certificate holds.

use std::time::{Duration, SystemTime};

use pasarela_client::probe::Probe;
use pasarela_client::{Failure, FailureKind, Security};
use pasarela_tls::{ClientTls, Lack, TrustError, Validity};

use crate::advice::server as kinds;
use crate::examination::{Visit, broke, last_words};
use crate::finding::Finding;
use crate::report::Report;

/// A certificate that ends this soon is to be renewed.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// AUTH TLS where that is due; `None`: the examination ends here.
pub(crate) async fn check(
    visit: &Visit<'_>,
    probe: &mut Probe,
    tls: &ClientTls,
    report: &mut Report,
) -> Option<()> {
    let site = &visit.examination.site;
    match probe.protect().await {
        Ok(true) => {}
        Ok(false) => {
            report.fact("tls.version", serde_json::Value::Null);
            report
                .add(Finding::new(&kinds::TLS_NONE, "the server has no TLS").all_evidence(last_words(probe)));
            return Some(());
        }
        Err(failure) => {
            let finding = match (&failure.kind, &failure.reply) {
                (FailureKind::Tls, _) if tls.refusal().is_some() => untrusted(tls, &failure),
                (FailureKind::Tls, _) if probe.is_tampered_with() => {
                    Finding::new(&kinds::TLS_TAMPERED, failure.sentence.clone())
                }
                (FailureKind::Tls, _) if has_refused(probe) && site.security == Security::Required => {
                    Finding::new(&kinds::TLS_REFUSED, failure.sentence.clone())
                }
                (FailureKind::Tls, _) if has_refused(probe) => {
                    Finding::new(&kinds::TLS_STRIPPED, failure.sentence.clone())
                }
                (FailureKind::Tls, _) => untrusted(tls, &failure),
                _ => broke(&failure, probe),
            };
            report.add(finding.all_evidence(last_words(probe)));
            return None;
        }
    }
    let (version, cipher) = probe.cipher().unwrap_or_default();
    report.fact("tls.version", version);
    report.fact("tls.cipher", cipher);
    report.add(
        Finding::new(
            &kinds::TLS_WORKS,
            format!("the control connection is protected by {version}"),
        )
        .evidence(cipher),
    );
    match version {
        "TLSv1.2" => report.add(Finding::new(&kinds::TLS_OLD, "the server has no TLS 1.3")),
        _ => report.fact("tls.has_1_2", visit.speaks_tls12().await),
    }
    judge_certificate(probe, tls, report);
    Some(())
}

/// What is to be said of a certificate that was trusted.
fn judge_certificate(probe: &Probe, tls: &ClientTls, report: &mut Report) {
    let Some(shown) = probe.shown() else { return };
    let now = SystemTime::now();
    let days = |later: SystemTime, sooner: SystemTime| {
        later
            .duration_since(sooner)
            .map(|left| left.as_secs() / (24 * 3600))
            .unwrap_or_default()
    };
    report.fact("tls.fingerprint", shown.fingerprint.to_string());
    report.fact("tls.key", shown.key.to_string());
    report.fact("tls.vouched", shown.vouched);
    if !shown.vouched {
        let why = tls.lack().map_or("nobody was asked", words_of);
        report.add(
            Finding::new(
                &kinds::TLS_UNVOUCHED,
                format!("no authority vouches for the server: {why}"),
            )
            .evidence(format!("certificate {}", shown.fingerprint))
            .evidence(format!("key {}", shown.key)),
        );
    }
    let Some(Validity { until, .. }) = tls.validity() else {
        return;
    };
    report.fact("tls.days_left", days(until, now));
    if until < now {
        let ago = days(now, until);
        report.add(Finding::new(
            &kinds::TLS_ENDS_SOON,
            format!("the server's certificate has ended {ago} days ago"),
        ));
    } else if until < now + SOON {
        let left = days(until, now);
        report.add(Finding::new(
            &kinds::TLS_ENDS_SOON,
            format!("the server's certificate ends in {left} days"),
        ));
    }
}

fn words_of(lack: Lack) -> &'static str {
    match lack {
        Lack::Expired => "its certificate has expired",
        Lack::NotYetValid => "its certificate is not valid yet",
        Lack::OtherName => "its certificate is for other names",
        Lack::Issuer => "its certificate is self-signed, or its issuer is not known",
        _ => "its certificate cannot be judged",
    }
}

/// Why there is no protected connection.
pub(crate) fn untrusted(tls: &ClientTls, failure: &Failure) -> Finding {
    let by_lack = |sentence: String| {
        let kind = match tls.lack() {
            Some(Lack::Expired) => &kinds::TLS_EXPIRED,
            Some(Lack::NotYetValid) => &kinds::TLS_NOT_YET,
            Some(Lack::OtherName) => &kinds::TLS_OTHER_NAME,
            _ => &kinds::TLS_UNTRUSTED,
        };
        Finding::new(kind, sentence)
    };
    let finding = match tls.refusal() {
        Some(error @ (TrustError::Changed { .. } | TrustError::NotPinned { .. })) => {
            Finding::new(&kinds::TLS_CHANGED, error.to_string())
        }
        Some(error) => by_lack(error.to_string()),
        None => Finding::new(&kinds::TLS_FAILED, failure.sentence.clone()),
    };
    match &failure.hint {
        Some(hint) => finding.evidence(hint.clone()),
        None => finding,
    }
}

/// Whether the server said no to AUTH.
fn has_refused(probe: &Probe) -> bool {
    probe.heard().is_some_and(|reply| reply.starts_with(['4', '5']))
}
