//! The login.

use pasarela_client::probe::Probe;
use pasarela_client::{Failure, FailureKind};

use crate::advice::server as kinds;
use crate::examination::{broke, last_words};
use crate::finding::Finding;
use crate::report::Report;

/// Logs in; `None`: the examination ends here.
pub(crate) async fn check(probe: &mut Probe, report: &mut Report) -> Option<()> {
    let failure = match probe.log_in().await {
        Ok(()) => {
            let said = probe.heard().unwrap_or_default().to_owned();
            report.add(
                Finding::new(&kinds::LOGIN_WORKS, "the login is accepted").evidence(format!("< {said}")),
            );
            return Some(());
        }
        Err(failure) => failure,
    };
    let finding = match failure {
        Failure {
            kind: FailureKind::Tls,
            sentence,
            reply: None,
            ..
        } => Finding::new(&kinds::LOGIN_WITHHELD, sentence),
        Failure {
            kind: FailureKind::Login,
            sentence,
            reply: Some(_),
            ..
        } => Finding::new(&kinds::LOGIN_REFUSED, sentence).all_evidence(last_words(probe)),
        failure => broke(&failure, probe),
    };
    report.add(finding);
    None
}
