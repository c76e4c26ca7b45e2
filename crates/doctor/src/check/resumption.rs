//! TLS sessions on data connections: whether they are resumed, and whether they have to be.

use std::net::SocketAddr;

use pasarela_client::probe::Carried;
use pasarela_ftp_proto::user_pi::Form;

use crate::advice::server as kinds;
use crate::examination::Visit;
use crate::finding::Finding;
use crate::knock::{Answer, knock};
use crate::report::Report;

/// After a data connection that worked: another one whose session is nobody's.
pub(crate) async fn check(visit: &Visit<'_>, (form, carried): (Form, Carried), report: &mut Report) {
    let Some(resumed) = carried.resumed else { return };
    report.fact("resumption.resumed", resumed);
    report.add(match resumed {
        true => Finding::new(
            &kinds::RESUMPTION_WORKS,
            "data connections resume the TLS session",
        ),
        false => Finding::new(
            &kinds::RESUMPTION_NONE,
            "data connections get a new TLS session each",
        ),
    });
    if let Some((is_required, said)) = stranger(visit, form).await {
        report.fact("resumption.required", is_required);
        if is_required {
            let says = "the server refuses data connections that do not resume its TLS session";
            report.add(Finding::new(&kinds::RESUMPTION_REQUIRED, says).evidence(said));
        }
    }
}

/// Whether the server refuses a stranger's session, and its words; `None`: it could not be found out.
async fn stranger(visit: &Visit<'_>, form: Form) -> Option<(bool, String)> {
    let examination = visit.examination;
    let mut probe = visit.session(false).await.ok()?;
    let endpoint = probe.passive(form).await.ok()?.ok()?;
    let to = SocketAddr::new(probe.peer().ip(), endpoint.port);
    let Answer::Open(tcp) = knock(Some(probe.local().ip()), to, None, examination.patience)
        .await
        .answer
    else {
        return None;
    };
    let tls = examination.tls().ok()?;
    let fetched = probe.fetch(tcp, b"LIST".to_vec(), Some(tls), u64::MAX).await;
    match fetched {
        Ok(_) => {
            probe.quit().await;
            Some((false, String::new()))
        }
        // Without a word of the server it may be the network.
        Err(failure) => failure.reply.map(|reply| (true, reply.to_string())),
    }
}
