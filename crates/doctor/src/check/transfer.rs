//! An upload, read back: whether what arrives is what was sent.

use std::net::SocketAddr;

use bytes::Bytes;
use pasarela_client::Failure;
use pasarela_client::probe::{Carried, Probe};
use pasarela_ftp_proto::user_pi::Form;
use tokio::net::TcpStream;

use super::passive::told_of;
use crate::advice::server as kinds;
use crate::examination::{Visit, broke};
use crate::finding::Finding;
use crate::knock::{Answer, knock};
use crate::report::Report;

/// So much is sent.
const UPLOAD: usize = 1024 * 1024;

/// Sends a file with a name of its own, reads it back, and removes it.
pub(crate) async fn check(visit: &Visit<'_>, form: Form, report: &mut Report) {
    let mut content = vec![0; UPLOAD];
    let mut word = [0; 8];
    if getrandom::fill(&mut content)
        .and_then(|()| getrandom::fill(&mut word))
        .is_err()
    {
        return;
    }
    let name = format!(".pasarela-doctor-{}", hex::encode(word)).into_bytes();
    let mut probe = match visit.session(false).await {
        Ok(probe) => probe,
        Err(failure) => {
            report.add(Finding::new(&kinds::CONTROL_LOST, failure.sentence));
            return;
        }
    };
    let folder = &visit.examination.path;
    if !folder.is_empty()
        && let Err(failure) = probe.command("CWD", folder).await
    {
        report.add(broke(&failure, &probe));
        return;
    }
    let sent = match send(visit, &mut probe, form, &name, content.into()).await {
        Ok(sent) => sent,
        Err(failure) => {
            let finding = match failure.reply.as_ref().map(|reply| reply.class()) {
                Some(5) => Finding::new(&kinds::UPLOAD_REFUSED, failure.sentence),
                _ => Finding::new(&kinds::UPLOAD_FAILED, failure.sentence),
            };
            report.add(finding);
            // Part of it may have arrived.
            remove(visit, probe, &name, report, false).await;
            return;
        }
    };
    rate(report, "up.bytes_per_second", &sent);
    match fetch(visit, &mut probe, form, &name).await {
        Ok(back) if back.whole && back.sha256 == sent.sha256 => {
            rate(report, "down.bytes_per_second", &back);
            let says = "an upload of 1 MiB came back unchanged";
            report.add(
                Finding::new(&kinds::UPLOAD_WORKS, says)
                    .evidence(format!("up: {}", told_of(&sent)))
                    .evidence(format!("down: {}", told_of(&back)))
                    .evidence(format!("SHA-256 {}", hex::encode(sent.sha256))),
            );
        }
        Ok(back) => {
            let says = format!(
                "{} bytes were sent, and {} others came back",
                sent.bytes, back.bytes
            );
            report.add(
                Finding::new(&kinds::UPLOAD_CORRUPT, says)
                    .evidence(format!("sent SHA-256 {}", hex::encode(sent.sha256)))
                    .evidence(format!("read SHA-256 {}", hex::encode(back.sha256))),
            );
        }
        // Drop folders let files in and not out again.
        Err(failure) => report.add(Finding::new(
            &kinds::UPLOAD_REFUSED,
            format!(
                "an upload of 1 MiB was taken, and it cannot be read back: {}",
                failure.sentence
            ),
        )),
    }
    remove(visit, probe, &name, report, true).await;
}

async fn connect(visit: &Visit<'_>, probe: &mut Probe, form: Form) -> Result<TcpStream, Failure> {
    let sentence = match probe.passive(form).await? {
        Ok(endpoint) => {
            let to = SocketAddr::new(probe.peer().ip(), endpoint.port);
            let knock = knock(Some(probe.local().ip()), to, None, visit.examination.patience).await;
            let line = knock.line();
            match knock.answer {
                Answer::Open(tcp) => return Ok(tcp),
                _ => line,
            }
        }
        Err(reply) => format!("no endpoint: {reply}"),
    };
    Err(Failure::new(pasarela_client::FailureKind::Data, sentence))
}

async fn send(
    visit: &Visit<'_>,
    probe: &mut Probe,
    form: Form,
    name: &[u8],
    content: Bytes,
) -> Result<Carried, Failure> {
    let tcp = connect(visit, probe, form).await?;
    probe.send(tcp, [b"STOR ", name].concat(), content).await
}

async fn fetch(visit: &Visit<'_>, probe: &mut Probe, form: Form, name: &[u8]) -> Result<Carried, Failure> {
    let tcp = connect(visit, probe, form).await?;
    probe
        .fetch(tcp, [b"RETR ", name].concat(), None, UPLOAD as u64)
        .await
}

/// Removes the file; says so where it stays though it arrived.
async fn remove(visit: &Visit<'_>, probe: Probe, name: &[u8], report: &mut Report, has_arrived: bool) {
    let mut probe = probe;
    if !probe.is_usable() {
        let Ok(new) = visit.session(false).await else {
            return;
        };
        probe = new;
        // Where it fails, so does DELE.
        let folder = &visit.examination.path;
        if !folder.is_empty() && probe.command("CWD", folder).await.is_err() {
            return;
        }
    }
    let removed = probe.command("DELE", name).await;
    if has_arrived && !matches!(&removed, Ok(reply) if reply.is_done()) {
        let says = format!(
            "the server does not let {} be removed",
            String::from_utf8_lossy(name)
        );
        let said = removed.map_or_else(|failure| failure.sentence, |reply| reply.to_string());
        report.add(Finding::new(&kinds::UPLOAD_LEFT, says).evidence(said));
    }
    probe.quit().await;
}

/// Of so little a rate says nothing.
const LEAST_FOR_RATE: u64 = 64 * 1024;

/// How fast it went, as a fact.
pub(crate) fn rate(report: &mut Report, name: &'static str, carried: &Carried) {
    if !carried.took.is_zero() && carried.bytes >= LEAST_FOR_RATE {
        #[allow(clippy::cast_precision_loss, reason = "a rate is an estimate")]
        let rate = carried.bytes as f64 / carried.took.as_secs_f64();
        report.fact(name, rate.round());
    }
}
