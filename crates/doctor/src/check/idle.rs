//! Silence: whether a control connection that nobody uses is still there afterwards.

use std::time::Duration;

use tokio::time::sleep;

use crate::advice::server as kinds;
use crate::examination::{Visit, last_words};
use crate::finding::Finding;
use crate::report::Report;

/// Logs in, says nothing for that long, and then asks whether anybody is there.
pub(crate) async fn check(visit: &Visit<'_>, silence: Duration, report: &mut Report) {
    let mut probe = match visit.session(false).await {
        Ok(probe) => probe,
        Err(failure) => {
            report.add(Finding::new(&kinds::CONTROL_LOST, failure.sentence));
            return;
        }
    };
    let seconds = silence.as_secs();
    report.fact("idle.seconds", seconds);
    sleep(silence).await;
    // What came unasked is the server's own end of it, or a device's in its name.
    let was_there = probe.is_usable();
    let asked = probe.command("NOOP", b"").await;
    let finding = match (asked, was_there) {
        (Ok(_), _) => Finding::new(
            &kinds::IDLE_SURVIVED,
            format!("after {seconds} s of silence the control connection still works"),
        ),
        (Err(failure), true) if failure.reply.is_none() => Finding::new(
            &kinds::IDLE_FORGOTTEN,
            format!("after {seconds} s of silence the control connection is dead, and nobody had said so"),
        )
        .likely()
        .evidence(failure.sentence),
        (Err(failure), _) => Finding::new(
            &kinds::IDLE_CLOSED,
            format!("within {seconds} s of silence the server ended the control connection"),
        )
        .evidence(failure.sentence),
    };
    report.add(finding.all_evidence(last_words(&probe)));
    probe.quit().await;
}
