//! The openings as published ports of a container and as a Kubernetes Service.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::ports::{Opening, Role};
use super::{Data, Server};

/// A Service has an entry for each port; more than these nobody wants to read.
const MOST: usize = 100;

/// What does not go by publishing ports.
fn remarks(server: &Server, openings: &[Opening]) -> String {
    let mut text = String::new();
    if openings.iter().any(|opening| !opening.hosts.is_empty()) {
        text.push_str("# in a container there are other addresses: listen at ports alone there, as in ftp.listen = [\"2121\"]\n");
    }
    if server.data == Data::Auto && server.has_plain_data {
        text.push_str("# set ftp.data.ports = \"control\" or a range: a second port that the system chooses is not published\n");
    }
    if !server.has_public_address {
        text.push_str("# set reach.public_address: the container's own address means nothing outside\n");
    }
    text
}

/// `HOST:OUTSIDE:INSIDE` of each opening, as Docker takes it.
fn published(server: &Server, openings: &[Opening]) -> Vec<String> {
    let mut published = Vec::new();
    for opening in openings {
        let hosts: Vec<String> = match opening.hosts.is_empty() {
            true => vec![String::new()],
            false => opening.hosts.iter().map(host).collect(),
        };
        for host in hosts {
            for run in opening.runs(server) {
                published.push(format!(
                    "{host}{}:{}",
                    run.outside_numbers(),
                    run.inside_numbers()
                ));
            }
        }
    }
    published
}

fn host(host: &IpAddr) -> String {
    match host {
        IpAddr::V4(host) => format!("{host}:"),
        IpAddr::V6(host) => format!("[{host}]:"),
    }
}

/// A command line; image and arguments are the operator's.
pub(super) fn docker_run(server: &Server, openings: &[Opening]) -> String {
    let flags: Vec<String> = published(server, openings)
        .iter()
        .map(|ports| format!("-p {ports}"))
        .collect();
    format!(
        "{}docker run {} IMAGE\n",
        remarks(server, openings),
        flags.join(" ")
    )
}

/// A service of a compose file.
pub(super) fn compose(server: &Server, openings: &[Opening]) -> String {
    let mut text = remarks(server, openings);
    text.push_str("services:\n  pasarela:\n    image: IMAGE\n    ports:\n");
    for ports in published(server, openings) {
        let _ = writeln!(text, "      - \"{ports}\"");
    }
    text
}

/// A Service before the Pods with the label `app: pasarela`. Data connections are known by the peer's address, which has to
/// stay, and belong to the Pod that has the session.
pub(super) fn kubernetes(server: &Server, openings: &[Opening]) -> String {
    let mut text = remarks(server, openings);
    text.push_str(
        "apiVersion: v1\n\
         kind: Service\n\
         metadata:\n  name: pasarela\n\
         spec:\n  type: LoadBalancer\n  \
           externalTrafficPolicy: Local\n  \
           sessionAffinity: ClientIP\n  \
           selector:\n    app: pasarela\n  \
           ports:\n",
    );
    for opening in openings {
        if usize::from(opening.last - opening.first) >= MOST {
            let _ = writeln!(
                text,
                "    # {}: a Service names each port; take a shorter range, or \"control\"",
                opening.numbers()
            );
            continue;
        }
        let role = match opening.role {
            Role::Control => "control",
            Role::Implicit => "implicit",
            Role::Sftp => "sftp",
            Role::Data => "data",
        };
        for inside in opening.first..=opening.last {
            let _ = writeln!(
                text,
                "    - name: {role}-{inside}\n      protocol: TCP\n      port: {}\n      targetPort: {inside}",
                server.outside(inside)
            );
        }
    }
    text
}
