//! Passive mode: EPSV and PASV, each from the question to the last byte, and whether the announced address makes sense.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use pasarela_client::Failure;
use pasarela_client::probe::{Carried, Probe};
use pasarela_ftp_proto::user_pi::Form;
use pasarela_reach::survey::{Class, Links};

use super::place;
use super::transfer::rate;
use crate::advice::Kind;
use crate::advice::server as kinds;
use crate::examination::{Visit, broke, milliseconds};
use crate::finding::{Finding, Severity};
use crate::knock::{Answer, knock};
use crate::report::Report;

/// So much is read of a file, at most.
const MOST: u64 = 8 * 1024 * 1024;

/// One question for a data connection, and what came of it.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) form: Form,
    /// The reply to it.
    pub(crate) reply: String,
    /// The address of a 227.
    pub(crate) told: Option<Ipv4Addr>,
    pub(crate) port: Option<u16>,
    pub(crate) outcome: Outcome,
    /// What was tried then.
    pub(crate) lines: Vec<String>,
}

/// What came of a question for a data connection.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// All of it worked.
    Works(Carried),
    /// No endpoint.
    NoEndpoint,
    /// Nobody answers at the endpoint.
    Silent,
    /// The endpoint refuses, in the name of somebody where it was by ICMP.
    Refused(Option<IpAddr>),
    /// Somebody says that there is no way to the endpoint.
    Unreachable(Option<IpAddr>),
    /// The data connection was made, and then it failed.
    Failed(Failure),
}

impl Attempt {
    pub(crate) fn works(&self) -> bool {
        matches!(self.outcome, Outcome::Works(_))
    }

    /// Whether packets to the endpoint are stopped.
    pub(crate) fn is_stopped(&self) -> bool {
        matches!(
            self.outcome,
            Outcome::Silent | Outcome::Refused(_) | Outcome::Unreachable(_)
        )
    }

    pub(crate) fn verb(&self) -> &'static str {
        verb(self.form)
    }

    pub(crate) fn evidence(&self) -> impl Iterator<Item = String> + '_ {
        let question = format!("{}: {}", self.verb(), self.reply);
        std::iter::once(question).chain(self.lines.iter().cloned())
    }
}

fn verb(form: Form) -> &'static str {
    match form {
        Form::Extended => "EPSV",
        Form::Plain => "PASV",
    }
}

/// The questions that this peer can be asked; PASV knows IPv4 alone.
pub(crate) fn forms(peer: SocketAddr) -> &'static [Form] {
    match peer.is_ipv4() {
        true => &[Form::Extended, Form::Plain],
        false => &[Form::Extended],
    }
}

/// Asks in every form; gives the first one that works, and what it carried.
pub(crate) async fn check(
    visit: &Visit<'_>,
    links: &Links,
    probe: &mut Probe,
    report: &mut Report,
) -> Option<(Form, Carried)> {
    if let Err(failure) = revive(visit, probe).await {
        report.add(broke(&failure, probe));
        return None;
    }
    let command = match command_for(probe, &visit.examination.path).await {
        Ok(command) => command,
        Err(failure) => {
            report.add(broke(&failure, probe));
            return None;
        }
    };
    let command = command.unwrap_or_else(|| {
        let path = String::from_utf8_lossy(&visit.examination.path);
        let says = format!("there is no {}", path.escape_debug());
        report.add(Finding::new(&kinds::TRANSFER_PATH, says).all_evidence(probe.heard().map(str::to_owned)));
        b"LIST".to_vec()
    });
    let mut attempts = Vec::new();
    for form in forms(probe.peer()) {
        if let Err(failure) = revive(visit, probe).await {
            report.add(broke(&failure, probe));
            break;
        }
        match attempt(probe, *form, &command, visit.examination.patience).await {
            Ok(attempt) => attempts.push(attempt),
            Err(failure) => {
                report.add(broke(&failure, probe));
                break;
            }
        }
    }
    tell(&attempts, report);
    let peer = probe.peer().ip();
    if let Some((attempt, told)) = attempts.iter().find_map(|attempt| Some((attempt, attempt.told?)))
        && let Some(kind) = judge(told, peer)
    {
        report.add(address(kind, attempt, told, peer, probe.local().ip(), visit).await);
    }
    if attempts.iter().any(Attempt::works) {
        for attempt in attempts.iter().filter(|attempt| !attempt.works()) {
            report.add(one_fails(attempt));
        }
    } else if !attempts.is_empty() {
        place::diagnose(visit, links, probe, &attempts, report).await;
    }
    let found = attempts.into_iter().find_map(|attempt| match attempt.outcome {
        Outcome::Works(carried) => Some((attempt.form, carried)),
        _ => None,
    });
    if let Some((_, carried)) = &found {
        rate(report, "down.bytes_per_second", carried);
    }
    found
}

/// Logs in anew where the connection is of no use any more.
async fn revive(visit: &Visit<'_>, probe: &mut Probe) -> Result<(), Failure> {
    if !probe.is_usable() {
        *probe = visit.session(false).await?;
    }
    Ok(())
}

/// The command that reads what the URL names; `None`: it is not there.
async fn command_for(probe: &mut Probe, path: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
    if path.is_empty() || probe.command("CWD", path).await?.is_done() {
        return Ok(Some(b"LIST".to_vec()));
    }
    let is_file = probe.command("SIZE", path).await?.is_done();
    Ok(is_file.then(|| [b"RETR ", path].concat()))
}

/// Asks for a data connection and uses it.
pub(crate) async fn attempt(
    probe: &mut Probe,
    form: Form,
    command: &[u8],
    patience: Duration,
) -> Result<Attempt, Failure> {
    let asked = probe.passive(form).await?;
    let mut attempt = Attempt {
        form,
        reply: probe.heard().unwrap_or_default().to_owned(),
        told: None,
        port: None,
        outcome: Outcome::NoEndpoint,
        lines: Vec::new(),
    };
    let Ok(endpoint) = asked else { return Ok(attempt) };
    (attempt.told, attempt.port) = (endpoint.told, Some(endpoint.port));
    let to = SocketAddr::new(probe.peer().ip(), endpoint.port);
    let knock = knock(Some(probe.local().ip()), to, None, patience).await;
    attempt.lines.push(knock.line());
    attempt.outcome = match knock.answer {
        Answer::Open(tcp) => match probe.fetch(tcp, command.to_vec(), None, MOST).await {
            Ok(carried) => {
                attempt.lines.push(told_of(&carried));
                Outcome::Works(carried)
            }
            Err(failure) => {
                attempt.lines.push(failure.sentence.clone());
                Outcome::Failed(failure)
            }
        },
        Answer::Refused(by) => Outcome::Refused(by),
        Answer::Expired(by) | Answer::Prohibited(by) => Outcome::Unreachable(Some(by)),
        Answer::Unreachable(by) => Outcome::Unreachable(by),
        Answer::Silent | Answer::Local(_) => Outcome::Silent,
    };
    Ok(attempt)
}

pub(crate) fn told_of(carried: &Carried) -> String {
    let resumed = match carried.resumed {
        None => "in clear",
        Some(true) => "TLS session resumed",
        Some(false) => "TLS session new",
    };
    format!(
        "{} bytes: data after {} ms, all of it {} ms later ({resumed})",
        carried.bytes,
        carried.began.as_millis(),
        carried.took.as_millis(),
    )
}

fn tell(attempts: &[Attempt], report: &mut Report) {
    for attempt in attempts {
        let (port, bytes, began) = match attempt.form {
            Form::Extended => (
                "passive.epsv.port",
                "passive.epsv.bytes",
                "passive.epsv.began_milliseconds",
            ),
            Form::Plain => (
                "passive.pasv.port",
                "passive.pasv.bytes",
                "passive.pasv.began_milliseconds",
            ),
        };
        report.fact(port, attempt.port);
        if let Some(told) = attempt.told {
            report.fact("passive.pasv.address", told.to_string());
        }
        if let Outcome::Works(carried) = &attempt.outcome {
            report.fact(bytes, carried.bytes);
            report.fact(began, milliseconds(carried.began));
            let says = format!("a data connection by {} works", attempt.verb());
            report.add(Finding::new(&kinds::PASSIVE_WORKS, says).all_evidence(attempt.evidence()));
        }
    }
}

/// What is wrong with the address of a 227, where the control connection leads to `peer`.
fn judge(told: Ipv4Addr, peer: IpAddr) -> Option<&'static Kind> {
    let (class, peer_class) = (Class::of(told.into()), Class::of(peer));
    if IpAddr::V4(told) == peer {
        return None;
    }
    Some(match class {
        Class::Unspecified => &kinds::PASSIVE_ADDRESS_UNSPECIFIED,
        Class::Loopback => &kinds::PASSIVE_ADDRESS_LOOPBACK,
        Class::Shared => &kinds::PASSIVE_ADDRESS_SHARED,
        Class::Private | Class::LinkLocal if peer_class != class => &kinds::PASSIVE_ADDRESS_PRIVATE,
        Class::Global if matches!(peer_class, Class::Private | Class::LinkLocal) => {
            &kinds::PASSIVE_ADDRESS_PUBLIC
        }
        _ => &kinds::PASSIVE_ADDRESS_OTHER,
    })
}

/// The finding about an address. Where it can be that of another host of the same kind, that one is knocked at.
async fn address(
    kind: &'static Kind,
    attempt: &Attempt,
    told: Ipv4Addr,
    peer: IpAddr,
    local: IpAddr,
    visit: &Visit<'_>,
) -> Finding {
    let says = format!("PASV announces {told}, and the server was reached at {peer}");
    let finding = Finding::new(kind, says).evidence(format!("PASV: {}", attempt.reply));
    let is_elsewhere = Class::of(told.into()) == Class::Global;
    let Some(port) = attempt.port.filter(|_| is_elsewhere) else {
        return finding;
    };
    // What a server names is never sent anything but the question whether it answers.
    let there = knock(
        Some(local),
        SocketAddr::new(told.into(), port),
        None,
        visit.examination.patience,
    )
    .await;
    let severity = match (kind.severity, there.is_open()) {
        (Severity::Warning, true) => Severity::Note,
        (severity, _) => severity,
    };
    finding.severity(severity).evidence(there.line())
}

/// One form fails, and the other one works.
fn one_fails(attempt: &Attempt) -> Finding {
    let is_unknown = ["500", "501", "502", "504", "522"]
        .iter()
        .any(|code| attempt.reply.starts_with(code));
    let (kind, says) = match (attempt.form, &attempt.outcome) {
        (Form::Extended, Outcome::NoEndpoint) if is_unknown => {
            (&kinds::PASSIVE_EPSV_UNKNOWN, "the server does not know EPSV")
        }
        (Form::Extended, _) => (
            &kinds::PASSIVE_EPSV_FAILS,
            "a data connection by EPSV fails, and by PASV it works",
        ),
        (Form::Plain, _) => (
            &kinds::PASSIVE_PASV_FAILS,
            "a data connection by PASV fails, and by EPSV it works",
        ),
    };
    Finding::new(kind, says).all_evidence(attempt.evidence())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announced_address_is_judged_by_where_the_server_was_reached() {
        for (told, peer, id) in [
            ("11.9.0.20", "11.9.0.20", None),
            ("192.168.1.10", "11.9.0.20", Some("passive.address-private")),
            ("10.0.0.1", "2a11:9::20", Some("passive.address-private")),
            ("100.64.0.2", "11.9.0.30", Some("passive.address-shared")),
            ("0.0.0.0", "11.9.0.20", Some("passive.address-unspecified")),
            ("127.0.1.1", "192.168.1.10", Some("passive.address-loopback")),
            ("11.9.0.21", "11.9.0.20", Some("passive.address-other")),
            ("192.168.1.11", "192.168.1.10", Some("passive.address-other")),
            ("11.9.0.20", "192.168.1.10", Some("passive.address-public")),
        ] {
            let kind = judge(told.parse().unwrap(), peer.parse().unwrap());
            assert_eq!(kind.map(|kind| kind.id), id, "{told} at {peer}");
        }
    }
}
