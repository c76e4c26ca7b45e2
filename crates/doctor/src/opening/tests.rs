//! Rules and words for configurations; what networks say of them is told in the lab.

use pasarela_reach::{Doubt, NetView, Outcome, Proof, Reason, Rung, Via};
use serde_json::json;

use super::outside::Way;
use super::*;

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A server that listens at these addresses; `ftps:` stands before those with implicit TLS, `sftp:` before those with SSH.
fn server(listen: &[&str], data: Data) -> Server {
    let listener = |text: &&str| {
        let (speaks, address) = match text.split_at_checked(5) {
            Some(("ftps:", address)) => (Speaks::Ftps, address),
            Some(("sftp:", address)) => (Speaks::Sftp, address),
            _ => (Speaks::Ftp, *text),
        };
        Listener {
            address: at(address),
            speaks,
        }
    };
    Server {
        listeners: listen.iter().map(listener).collect(),
        data,
        has_plain_data: false,
        forwards: Vec::new(),
        has_public_address: true,
        relays: Vec::new(),
        stun: Vec::new(),
    }
}

fn home() -> Links {
    Links {
        source_v4: Some("192.168.1.5".parse().unwrap()),
        source_v6: Some("2a11:9::5".parse().unwrap()),
        ..Links::default()
    }
}

#[track_caller]
fn rules(server: &Server, fact: &str) -> String {
    let all = server.rules(&home());
    let rules = all.into_iter().find(|rules| rules.fact == fact);
    rules.unwrap_or_else(|| panic!("no {fact}")).text
}

#[test]
fn sftp_needs_its_one_port_and_takes_no_part_in_data_ports() {
    let mut server = server(&["sftp:[::]:22", "[::]:21"], Data::Ports(50_000, 50_001));
    assert_eq!(
        rules(&server, "opening.docker_run"),
        "docker run -p 22:22 -p 21:21 -p 50000-50001:50000-50001 IMAGE\n"
    );
    assert!(rules(&server, "opening.kubernetes").contains("name: sftp"));
    assert_eq!(server.scheme(at("[::]:22")), Some("sftp"));
    server.listeners.truncate(1);
    assert_eq!(
        rules(&server, "opening.docker_run"),
        "docker run -p 22:22 IMAGE\n"
    );
}

#[test]
fn a_range_is_one_rule_as_far_as_its_numbers_run_alike() {
    let mut server = server(&["[::]:21"], Data::Ports(50_000, 50_005));
    assert_eq!(
        rules(&server, "opening.docker_run"),
        "docker run -p 21:21 -p 50000-50005:50000-50005 IMAGE\n"
    );
    server.forwards = [(2121, 21), (40_002, 50_002), (40_003, 50_003)]
        .map(|(outside, inside)| Forward { outside, inside })
        .to_vec();
    assert_eq!(
        rules(&server, "opening.docker_run"),
        "docker run -p 2121:21 -p 50000-50001:50000-50001 -p 40002-40003:50002-50003 -p 50004-50005:50004-50005 IMAGE\n"
    );
    assert_eq!(
        rules(&server, "opening.router"),
        "forward  TCP 2121         to  192.168.1.5 TCP 21\n\
         forward  TCP 50000-50001  to  192.168.1.5 TCP 50000-50001\n\
         forward  TCP 40002-40003  to  192.168.1.5 TCP 50002-50003\n\
         forward  TCP 50004-50005  to  192.168.1.5 TCP 50004-50005\n\
         IPv6 firewall: allow connections to 2a11:9::5 TCP 21\n\
         IPv6 firewall: allow connections to 2a11:9::5 TCP 50000-50005\n"
    );
}

#[test]
fn the_last_port_there_is_ends_a_range() {
    let server = server(&["[::]:21"], Data::Ports(65_534, 65_535));
    assert!(rules(&server, "opening.docker_run").contains("-p 65534-65535:65534-65535 "));
}

#[test]
fn openings_at_one_address_are_opened_for_that_address() {
    let server = server(
        &[
            "192.168.1.5:21",
            "192.168.1.5:2121",
            "[2a11:9::5]:21",
            "ftps:0.0.0.0:990",
        ],
        Data::Control,
    );
    let text = rules(&server, "opening.nftables");
    let inserted: Vec<&str> = text.lines().filter(|line| line.starts_with("insert")).collect();
    assert_eq!(
        inserted,
        [
            "insert rule inet filter input ip daddr { 192.168.1.5 } tcp dport { 21 } accept comment \"pasarela\"",
            "insert rule inet filter input ip6 daddr { 2a11:9::5 } tcp dport { 21 } accept comment \"pasarela\"",
            "insert rule inet filter input ip daddr { 192.168.1.5 } tcp dport { 2121 } accept comment \"pasarela\"",
            "insert rule inet filter input meta nfproto ipv4 tcp dport { 990 } accept comment \"pasarela\"",
        ]
    );
    assert!(rules(&server, "opening.compose").contains("- \"[2a11:9::5]:21:21\"\n"));
}

#[test]
fn every_address_and_one_of_them_are_every_address() {
    let server = server(&["0.0.0.0:21", "192.168.1.5:21", "[::]:21"], Data::Control);
    assert_eq!(
        rules(&server, "opening.ports"),
        "21  in: control connections (FTP, TLS by AUTH) and data connections\n"
    );
}

#[test]
fn who_listens_for_ipv4_alone_needs_no_hole_for_ipv6() {
    let server = server(&["0.0.0.0:21"], Data::Ports(50_000, 50_000));
    assert_eq!(
        rules(&server, "opening.router"),
        "forward  TCP 21     to  192.168.1.5 TCP 21\nforward  TCP 50000  to  192.168.1.5 TCP 50000\n"
    );
    assert!(
        rules(&server, "opening.nftables").contains("input meta nfproto ipv4 tcp dport { 21, 50000 } accept")
    );
    assert!(rules(&server, "opening.ports").contains("(IPv4 only)"));
}

#[test]
fn who_listens_for_this_machine_only_needs_nothing() {
    let server = server(&["127.0.0.1:21", "[::1]:21"], Data::Ports(50_000, 50_010));
    assert_eq!(server.rules(&home()), []);
    assert_eq!(server.addresses(), []);
    let mut report = Report::new("");
    server.tell(&mut report);
    assert_eq!(report.findings[0].kind.id, "opening.loopback-only");
}

#[test]
fn a_service_names_each_port_but_not_thousands() {
    let text = |last| {
        rules(
            &server(&["[::]:21"], Data::Ports(50_000, last)),
            "opening.kubernetes",
        )
    };
    assert!(text(50_099).contains("    - name: data-50099\n      protocol: TCP\n      port: 50099\n"));
    let many = text(50_100);
    assert!(!many.contains("data-"), "{many}");
    assert!(
        many.contains("    # 50000-50100: a Service names each port"),
        "{many}"
    );
}

#[test]
fn of_many_data_ports_the_first_are_tried() {
    let server = server(&["0.0.0.0:21", "ftps:0.0.0.0:990"], Data::Ports(50_000, 60_000));
    let tried = [
        "0.0.0.0:21",
        "0.0.0.0:990",
        "0.0.0.0:50000",
        "0.0.0.0:50001",
        "0.0.0.0:50002",
    ];
    assert_eq!(server.addresses(), tried.map(at));
    let schemes: Vec<_> = server
        .addresses()
        .iter()
        .map(|address| server.scheme(*address))
        .collect();
    assert_eq!(schemes, [Some("ftp"), Some("ftps"), None, None, None]);
}

#[test]
fn the_second_port_of_auto_is_warned_of_where_data_may_be_plain() {
    let mut server = server(&["[::]:2121"], Data::Auto);
    let ids = |server: &Server| {
        let mut report = Report::new("");
        server.tell(&mut report);
        report
            .findings
            .iter()
            .map(|finding| finding.kind.id)
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&server), ["opening.ports", "opening.data-on-control"]);
    server.has_plain_data = true;
    assert_eq!(ids(&server), ["opening.ports", "opening.data-auto"]);
    assert!(rules(&server, "opening.docker_run").contains("# set ftp.data.ports"));
}

/// The findings of one attempt at port 21.
fn attempted(outcome: io::Result<()>, heard: Option<&str>, runs: bool) -> Report {
    let attempt = Attempt {
        address: at("[::]:21"),
        outcome,
        heard: heard.map(Into::into),
    };
    let mut report = Report::new("");
    tell_attempts(&[attempt], "220 Welcome", runs, &mut report);
    report
}

#[test]
fn why_the_server_cannot_listen_is_told_by_its_cause() {
    let error = |kind: io::ErrorKind| Err(io::Error::from(kind));
    use io::ErrorKind::{AddrInUse, AddrNotAvailable, OutOfMemory, PermissionDenied};
    for (outcome, heard, runs, id) in [
        (Ok(()), None, false, "opening.port-free"),
        (error(AddrInUse), Some("220 ProFTPD"), false, "opening.port-taken"),
        (error(AddrInUse), None, false, "opening.port-taken"),
        (
            error(AddrInUse),
            Some("220 Welcome"),
            false,
            "opening.server-answers",
        ),
        (
            error(AddrInUse),
            Some("220 Welcome"),
            true,
            "opening.server-running",
        ),
        (error(PermissionDenied), None, false, "opening.port-denied"),
        (error(AddrNotAvailable), None, false, "opening.address-missing"),
        (error(OutOfMemory), None, false, "opening.bind-failed"),
    ] {
        let report = attempted(outcome, heard, runs);
        let ids: Vec<_> = report.findings.iter().map(|finding| finding.kind.id).collect();
        assert_eq!(ids, [id]);
    }
}

#[test]
fn a_server_that_runs_with_another_configuration_is_to_be_restarted() {
    let report = attempted(Ok(()), None, true);
    assert_eq!(report.findings[0].severity, Severity::Warning);
    assert!(report.findings[0].advice.as_ref().unwrap().starts_with("restart"));
}

#[tokio::test]
async fn the_program_that_has_the_port_is_heard() {
    use tokio::io::AsyncWriteExt as _;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let speaks = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream
            .write_all(b"220 a \x1b[31mname\r\n220 more\r\n")
            .await
            .unwrap();
    });
    let wildcard = SocketAddr::from(([0; 4], port));
    assert_eq!(heard(wildcard).await.unwrap(), "220 a [31mname");
    speaks.await.unwrap();
    assert_eq!(heard(wildcard).await, None);
}

fn ladder(rungs: Vec<Rung>, filtering: Option<pasarela_reach::Filtering>) -> pasarela_reach::Report {
    pasarela_reach::Report {
        port: 2121,
        scheme: Some("ftp"),
        rungs,
        situation: vec![pasarela_reach::Situation::ForwardMissing],
        view: NetView {
            filtering,
            ..NetView::default()
        },
        settled: true,
    }
}

fn rung(via: Via, outcome: Outcome) -> Rung {
    Rung {
        via,
        how: String::new(),
        asked: None,
        outcome,
        took: Duration::ZERO,
    }
}

#[test]
fn a_running_servers_document_says_what_its_ladder_says() {
    let verified = |via, endpoint: &str, proof| {
        rung(
            via,
            Outcome::Verified {
                endpoint: at(endpoint),
                proof,
            },
        )
    };
    let unproven = |via, endpoint: &str, doubt| {
        rung(
            via,
            Outcome::Unproven {
                endpoint: at(endpoint),
                doubt,
            },
        )
    };
    let refused = rung(
        Via::Direct,
        Outcome::Refused {
            reason: Reason::NoRoute,
        },
    );
    let closed = Some(pasarela_reach::Filtering::Closed);
    let way = |endpoint: &str, via: &str, known| {
        Some(Way {
            endpoint: endpoint.into(),
            via: via.into(),
            known,
        })
    };
    for (ladder, expected) in [
        (
            ladder(
                vec![
                    refused.clone(),
                    verified(Via::Relayed, "1.2.3.4:21", Proof::Relay),
                    unproven(Via::Fixed, "5.6.7.8:21", Doubt::Forward),
                ],
                None,
            ),
            way("1.2.3.4:21", "relayed", Ok(Proof::Relay)),
        ),
        (
            ladder(
                vec![
                    verified(Via::Mapped, "[2a11:9::5]:21", Proof::Router),
                    verified(Via::Mapped, "5.6.7.8:21", Proof::RouterAndStun),
                ],
                None,
            ),
            way("5.6.7.8:21", "mapped", Ok(Proof::RouterAndStun)),
        ),
        (
            ladder(vec![unproven(Via::Punched, "5.6.7.8:21", Doubt::Filtering)], None),
            way("5.6.7.8:21", "punched", Err(Doubt::Filtering)),
        ),
        (
            ladder(
                vec![unproven(Via::Punched, "5.6.7.8:21", Doubt::Filtering)],
                closed,
            ),
            None,
        ),
        (ladder(vec![refused], None), None),
    ] {
        assert_eq!(Outside::of_ladder(&ladder).way, expected);
        let document = serde_json::to_value(&ladder).unwrap();
        let told = Outside::of_document(&document).unwrap();
        assert_eq!((told.port, told.way), (2121, expected), "{document}");
    }
}

#[test]
fn what_is_no_document_says_nothing() {
    for document in [
        json!(null),
        json!({"port": 70_000, "rungs": []}),
        json!({"port": 21, "rungs": 3}),
    ] {
        assert_eq!(Outside::of_document(&document), None, "{document}");
    }
}

#[test]
fn what_was_not_tried_is_said() {
    let told = |data, tried: &[u16]| {
        let mut report = Report::new("");
        let server = server(&["0.0.0.0:21", "[::]:21", "ftps:0.0.0.0:990"], data);
        server.tell_untried(tried, &mut report);
        let says = report.findings.iter().map(|finding| finding.says.clone());
        says.collect::<Vec<_>>()
    };
    assert_eq!(told(Data::Control, &[21, 990]), [""; 0]);
    assert_eq!(
        told(Data::Control, &[990]),
        ["port 21 was not tried from outside"]
    );
    assert_eq!(
        told(Data::Ports(50_000, 50_002), &[21, 990, 50_000, 50_001, 50_002]),
        [""; 0]
    );
    assert_eq!(
        told(Data::Ports(50_000, 50_003), &[21, 990, 50_000, 50_001, 50_002]),
        ["of the data ports 50000-50003 only the first 3 were tried"]
    );
}
