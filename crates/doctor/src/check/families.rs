//! IPv4 against IPv6: whether a visit by the other family works as well.

use std::net::SocketAddr;
use std::time::Instant;

use pasarela_ftp_proto::user_pi::Form;

use super::passive::{Attempt, attempt};
use crate::advice::server as kinds;
use crate::examination::{Examination, Visit, milliseconds};
use crate::finding::{Finding, Severity};
use crate::report::Report;

/// After an address of one family: the first of the other one, where that accepts connections.
pub(crate) async fn check(
    examination: &Examination,
    first: SocketAddr,
    others: &[SocketAddr],
    works: bool,
    report: &mut Report,
) {
    let Some(other) = others.iter().find(|other| other.is_ipv4() != first.is_ipv4()) else {
        return;
    };
    let visit = Visit {
        examination,
        to: *other,
    };
    let start = Instant::now();
    let outcome = visit_by_epsv(&visit).await;
    let elapsed = milliseconds(start.elapsed());
    let (kind, word, fact) = match other.is_ipv4() {
        true => (&kinds::FAMILIES_IPV4, "IPv4", "families.ipv4_milliseconds"),
        false => (&kinds::FAMILIES_IPV6, "IPv6", "families.ipv6_milliseconds"),
    };
    if matches!(&outcome, Ok(attempt) if attempt.works()) {
        report.fact(fact, elapsed);
    }
    report.add(match outcome {
        Ok(attempt) if attempt.works() => {
            let says = match works {
                true => format!("{word} works too, at {}", other.ip()),
                false => format!("by {word}, at {}, it works", other.ip()),
            };
            Finding::new(&kinds::FAMILIES_WORK, says).all_evidence(attempt.evidence())
        }
        Ok(attempt) => {
            let says = format!("by {word}, at {}, no data connection comes about", other.ip());
            let severity = if works { Severity::Warning } else { Severity::Note };
            Finding::new(kind, says)
                .severity(severity)
                .all_evidence(attempt.evidence())
        }
        Err(sentence) => Finding::new(kind, format!("by {word}, at {}: {sentence}", other.ip())),
    });
}

async fn visit_by_epsv(visit: &Visit<'_>) -> Result<Attempt, String> {
    let mut probe = visit.session(false).await.map_err(|failure| failure.sentence)?;
    let attempt = attempt(&mut probe, Form::Extended, b"LIST", visit.examination.patience).await;
    probe.quit().await;
    attempt.map_err(|failure| failure.sentence)
}
