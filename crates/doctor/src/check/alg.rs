//! Application-level gateways: what is different when the control connection can be read on the way.

use super::passive::{Attempt, attempt, forms};
use crate::advice::server as kinds;
use crate::examination::Visit;
use crate::finding::Finding;

/// Asks again in clear, where protected data connections are stopped: a gateway changes or opens only what it can read.
pub(crate) async fn compare(visit: &Visit<'_>, protected: &[Attempt]) -> Option<Finding> {
    if !protected.iter().any(Attempt::is_stopped) {
        return None;
    }
    let clear = ask(visit).await?;
    let told = |attempts: &[Attempt]| attempts.iter().find_map(|attempt| attempt.told);
    let is_rewritten = matches!((told(protected), told(&clear)), (Some(one), Some(other)) if one != other);
    let works = clear.iter().any(Attempt::works);
    let evidence = |attempts: &[Attempt], how: &str| -> Vec<_> {
        let lines = attempts.iter().flat_map(Attempt::evidence);
        lines.map(|line| format!("{how}: {line}")).collect()
    };
    let (in_clear, under_tls) = (evidence(&clear, "in clear"), evidence(protected, "under TLS"));
    let says = match (is_rewritten, works) {
        (false, false) => return None,
        (true, true) => {
            "something on the way reads FTP in clear, changes the announced address and opens data ports"
        }
        (true, false) => "something on the way reads FTP in clear and changes the announced address",
        (false, true) => {
            "something on the way reads FTP in clear and opens data ports, which are closed under TLS"
        }
    };
    let finding = Finding::new(&kinds::PASSIVE_ALG, says)
        .all_evidence(in_clear)
        .all_evidence(under_tls);
    // A range that is forwarded in part works now and then, too, and behind one name there may be two servers.
    let is_sure = ask(visit).await.is_some_and(|again| {
        (works && again.iter().any(Attempt::works)) || (is_rewritten && told(&again) == told(&clear))
    });
    Some(if is_sure { finding } else { finding.likely() })
}

/// Every question, in clear; `None`: the server wants no login in clear.
async fn ask(visit: &Visit<'_>) -> Option<Vec<Attempt>> {
    let mut probe = visit.session(true).await.ok()?;
    let mut attempts = Vec::new();
    for form in forms(probe.peer()) {
        if !probe.is_usable() {
            probe = visit.session(true).await.ok()?;
        }
        attempts.extend(
            attempt(&mut probe, *form, b"LIST", visit.examination.patience)
                .await
                .ok(),
        );
    }
    probe.quit().await;
    Some(attempts)
}
