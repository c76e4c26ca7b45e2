//! What the doctor says of servers that misbehave, each in one way.

use std::sync::Arc;
use std::time::Duration;

use pasarela_client::{Scheme, Secret};
use pasarela_tls::{Known, KnownServers, ServerTls, Stranger, Trust};

use crate::testing::{Certificate, Data, Manners, Say, Scripted, examined, verdict_of};
use crate::{Certainty, Report, Severity};

fn cause(report: &Report) -> &'static str {
    report.culprit().map_or("-", |culprit| culprit.kind.id)
}

fn has(report: &Report, id: &str) -> bool {
    report.finding(id).is_some()
}

/// Whatever is said, the report is whole.
fn check(report: &Report) {
    assert!(report.render().ends_with('\n'));
    for line in report.json_lines().lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
}

#[tokio::test]
async fn a_good_server_has_nothing_wrong() {
    for manners in [Manners::default(), Manners::protected()] {
        let is_protected = manners.tls.is_some();
        let server = Scripted::start(manners).await;
        let mut examination = server.examination(Scheme::Ftp);
        examination.upload = true;
        examination.idle = Some(Duration::ZERO);
        let report = examined(&examination).await;
        check(&report);
        for id in [
            "connect.open",
            "greeting.heard",
            "login.works",
            "features.listed",
            "passive.works",
        ] {
            assert!(has(&report, id), "{id}: {}", report.render());
        }
        assert!(
            has(&report, "upload.works") && has(&report, "idle.survived"),
            "{}",
            report.render()
        );
        assert_eq!(
            has(&report, "resumption.works"),
            is_protected,
            "{}",
            report.render()
        );
        assert_eq!(cause(&report), if is_protected { "-" } else { "tls.none" });
        assert_eq!(report.exit_code(), 0);
    }
}

#[tokio::test]
async fn what_does_not_greet_is_named_for_what_it_is() {
    for (greeting, id, code) in [
        (Say::Line("SSH-2.0-OpenSSH_9.6"), "greeting.not-ftp", 3),
        (Say::Line("HTTP/1.1 400 Bad Request"), "greeting.not-ftp", 3),
        (Say::Line("421 Too many connections"), "greeting.refused", 3),
        (Say::Line("530 Not from your address"), "greeting.refused", 3),
        (Say::Close, "greeting.closed", 3),
    ] {
        let report = verdict_of(Manners {
            greeting,
            ..Manners::default()
        })
        .await;
        check(&report);
        assert_eq!((cause(&report), report.exit_code()), (id, code), "{greeting:?}");
    }
}

#[tokio::test]
async fn a_port_that_stays_silent_is_told_from_one_that_waits_for_tls() {
    let mut silent = Scripted::start(Manners {
        greeting: Say::Silence,
        ..Manners::default()
    })
    .await
    .examination(Scheme::Ftp);
    let server = Scripted::start(Manners {
        greeting: Say::Silence,
        ..Manners::default()
    })
    .await;
    silent.site.port = server.address.port();
    silent.site.options.reply_timeout = Duration::from_millis(300);
    assert_eq!(cause(&examined(&silent).await), "greeting.silent");

    let server = Scripted::start(Manners {
        implicit: true,
        ..Manners::protected()
    })
    .await;
    let mut wrong = server.examination(Scheme::Ftp);
    wrong.site.options.reply_timeout = Duration::from_millis(300);
    assert_eq!(cause(&examined(&wrong).await), "greeting.speaks-tls");
    let right = server.examined(Scheme::Ftps).await;
    assert_eq!(cause(&right), "-", "{}", right.render());
}

#[tokio::test]
async fn implicit_tls_at_a_port_that_greets_in_clear() {
    let report = Scripted::start(Manners::protected())
        .await
        .examined(Scheme::Ftps)
        .await;
    assert_eq!((cause(&report), report.exit_code()), ("tls.explicit-only", 5));
}

#[tokio::test]
async fn certificates_are_judged_by_what_is_wrong_with_them() {
    for (certificate, id) in [
        (
            Certificate {
                name: "other.example",
                ..Certificate::default()
            },
            "tls.other-name",
        ),
        (
            Certificate {
                years: (2010, 2015),
                ..Certificate::default()
            },
            "tls.expired",
        ),
        (
            Certificate {
                years: (2080, 2090),
                ..Certificate::default()
            },
            "tls.not-yet-valid",
        ),
    ] {
        let report = verdict_of(Manners {
            tls: Some(ServerTls::new(certificate.material()).unwrap()),
            ..Manners::default()
        })
        .await;
        check(&report);
        assert_eq!(
            (cause(&report), report.exit_code()),
            (id, 5),
            "{}",
            report.render()
        );
    }
    let server = Scripted::start(Manners::protected()).await;
    let mut examination = server.examination(Scheme::Ftp);
    examination.site.trust = Trust::System;
    assert_eq!(cause(&examined(&examination).await), "tls.untrusted");
    examination.site.trust = Trust::Pinned(pasarela_tls::Pin([7; 32]));
    assert_eq!(cause(&examined(&examination).await), "tls.changed");
}

#[tokio::test]
async fn a_certificate_that_has_ended_is_warned_about_where_it_is_trusted_all_the_same() {
    let material = Certificate {
        years: (2010, 2015),
        ..Certificate::default()
    }
    .material();
    let server = Scripted::start(Manners {
        tls: Some(ServerTls::new(material.clone()).unwrap()),
        ..Manners::default()
    })
    .await;
    let mut examination = server.examination(Scheme::Ftp);
    examination.site.trust = Trust::Pinned(material.public_key_pin().parse().unwrap());
    let report = examined(&examination).await;
    assert_eq!(
        (cause(&report), report.exit_code()),
        ("tls.ends-soon", 0),
        "{}",
        report.render()
    );
}

#[tokio::test]
async fn tls_that_is_refused_taken_away_or_tampered_with() {
    let plain = Scripted::start(Manners::default()).await;
    assert_eq!(cause(&plain.examined(Scheme::Ftpes).await), "tls.refused");

    let folder = tempfile::tempdir().unwrap();
    let servers = Arc::new(KnownServers::at(folder.path().join("known_servers")));
    servers
        .remember("127.0.0.1", plain.address.port(), Known { key: None })
        .unwrap();
    let mut examination = plain.examination(Scheme::Ftp);
    examination.site.trust = Trust::FirstUse {
        servers,
        stranger: Stranger::Refuse,
    };
    assert_eq!(cause(&examined(&examination).await), "tls.stripped");

    let tampered = Manners::default().saying("AUTH", Say::Line("234 Go on\r\n220 And more"));
    assert_eq!(cause(&verdict_of(tampered).await), "tls.tampered");

    // Whoever agrees and speaks on in clear.
    let broken = Manners::default().saying("AUTH", Say::Line("234 Go on"));
    let report = verdict_of(broken).await;
    assert_eq!((cause(&report), report.exit_code()), ("tls.failed", 5));
}

#[tokio::test]
async fn no_password_goes_out_in_clear() {
    let server = Scripted::start(Manners::default().saying("USER", Say::Line("530 Must not be heard"))).await;
    let mut examination = server.examination(Scheme::Ftp);
    examination.site.user = b"anna".to_vec();
    examination.site.password = Secret::new(*b"sesame");
    let report = examined(&examination).await;
    assert_eq!((cause(&report), report.exit_code()), ("login.withheld", 5));
    assert!(!report.json_lines().contains("sesame"));
}

#[tokio::test]
async fn a_refused_login_is_the_cause_and_its_password_is_not_shown() {
    let server = Scripted::start(Manners::protected().saying("PASS", Say::Line("530 Wrong"))).await;
    let mut examination = server.examination(Scheme::Ftpes);
    examination.site.user = b"anna".to_vec();
    examination.site.password = Secret::new(*b"sesame");
    let report = examined(&examination).await;
    assert_eq!(
        (cause(&report), report.exit_code()),
        ("login.refused", 4),
        "{}",
        report.render()
    );
    assert!(!report.json_lines().contains("sesame"));
}

#[tokio::test]
async fn a_control_connection_that_breaks_is_told_as_that() {
    for verb in ["FEAT", "EPSV"] {
        let report = verdict_of(Manners::protected().saying(verb, Say::Close)).await;
        check(&report);
        assert_eq!(
            (cause(&report), report.exit_code()),
            ("control.lost", 3),
            "{verb}"
        );
    }
}

#[tokio::test]
async fn a_server_that_cannot_bear_stat_is_examined_all_the_same() {
    let report = verdict_of(Manners::protected().saying("STAT", Say::Close)).await;
    assert_eq!(cause(&report), "-", "{}", report.render());
    assert!(has(&report, "passive.works"));
}

#[tokio::test]
async fn an_announced_address_that_is_wrong_is_the_cause_where_ports_work() {
    for (address, id) in [
        ("192.168.1.10", "passive.address-private"),
        ("100.64.0.9", "passive.address-shared"),
        ("0.0.0.0", "passive.address-unspecified"),
        ("127.0.1.1", "passive.address-loopback"),
    ] {
        let report = verdict_of(Manners {
            announces: Some(address.parse().unwrap()),
            ..Manners::protected()
        })
        .await;
        assert_eq!(
            (cause(&report), report.exit_code()),
            (id, 0),
            "{}",
            report.render()
        );
        assert!(
            report.verdict().starts_with("verdict: it works, but "),
            "{}",
            report.verdict()
        );
    }
}

#[tokio::test]
async fn one_form_that_fails_is_no_failure() {
    let unknown = verdict_of(Manners::protected().saying("EPSV", Say::Line("500 What?"))).await;
    assert_eq!(cause(&unknown), "-");
    assert!(has(&unknown, "passive.epsv-unknown"));
    let broken =
        verdict_of(Manners::protected().saying("PASV", Say::Line("227 Passive (999,1,1,1,1,1)"))).await;
    assert_eq!((cause(&broken), broken.exit_code()), ("passive.pasv-fails", 0));
    let blocked = verdict_of(Manners::protected().saying("EPSV", Say::Line("229 Extended (|||1|)"))).await;
    assert_eq!((cause(&blocked), blocked.exit_code()), ("passive.epsv-fails", 0));
}

#[tokio::test]
async fn no_endpoint_at_all() {
    let manners = Manners::protected()
        .saying("EPSV", Say::Line("425 No ports left"))
        .saying("PASV", Say::Line("425 No ports left"));
    let report = verdict_of(manners).await;
    assert_eq!((cause(&report), report.exit_code()), ("passive.refused", 6));
}

#[tokio::test]
async fn a_data_port_that_is_stopped_is_likely_a_firewall_and_never_surely() {
    for data in [Data::Refusing, Data::Silent] {
        let report = verdict_of(Manners {
            data,
            ..Manners::protected()
        })
        .await;
        check(&report);
        let culprit = report.culprit().unwrap();
        assert_eq!(
            (culprit.kind.id, culprit.certainty),
            ("passive.server-firewall", Certainty::Likely)
        );
        assert_eq!(report.exit_code(), 6);
    }
}

#[tokio::test]
async fn a_data_connection_that_stands_and_fails_is_told_by_how_it_fails() {
    let bad_ip = Manners::protected().saying("LIST", Say::Line("425 Security: Bad IP connecting."));
    let reuse = Manners::protected().saying(
        "LIST",
        Say::Line("522 SSL connection failed: session reuse required"),
    );
    let other = Manners::protected().saying("LIST", Say::Line("550 I will not"));
    let breaking = Manners {
        data: Data::Breaking,
        ..Manners::default()
    };
    for (manners, id, code) in [
        (bad_ip, "passive.source-differs", 6),
        (reuse, "resumption.refused", 6),
        (other, "transfer.refused", 6),
        (breaking, "transfer.cut", 3),
    ] {
        let report = verdict_of(manners).await;
        assert_eq!(
            (cause(&report), report.exit_code()),
            (id, code),
            "{}",
            report.render()
        );
    }
    let server = Scripted::start(Manners {
        data: Data::Stalling,
        ..Manners::default()
    })
    .await;
    let mut examination = server.examination(Scheme::Ftp);
    examination.site.options.stall_timeout = Duration::from_millis(300);
    let report = examined(&examination).await;
    assert_eq!(
        (cause(&report), report.exit_code()),
        ("transfer.stalled", 12),
        "{}",
        report.render()
    );
}

#[tokio::test]
async fn a_server_that_wants_its_session_resumed_is_found_out() {
    let report = verdict_of(Manners {
        data: Data::Resumed,
        ..Manners::protected()
    })
    .await;
    assert!(
        has(&report, "resumption.works") && has(&report, "resumption.required"),
        "{}",
        report.render()
    );
    assert_eq!(cause(&report), "-");
}

#[tokio::test]
async fn uploads_come_back_or_are_told_to_differ_and_leave_nothing() {
    for (manners, id, code) in [
        (
            Manners {
                data: Data::Changing,
                ..Manners::protected()
            },
            "upload.corrupt",
            10,
        ),
        (
            Manners::protected().saying("DELE", Say::Line("550 No")),
            "upload.left-behind",
            0,
        ),
        (
            Manners::protected().saying("STOR", Say::Line("451 Broken")),
            "upload.failed",
            6,
        ),
        (
            Manners::protected().saying("STOR", Say::Line("553 Not here")),
            "-",
            0,
        ),
    ] {
        let files = Arc::clone(&manners.files);
        let server = Scripted::start(manners).await;
        let mut examination = server.examination(Scheme::Ftp);
        examination.upload = true;
        let report = examined(&examination).await;
        assert_eq!(
            (cause(&report), report.exit_code()),
            (id, code),
            "{}",
            report.render()
        );
        assert_eq!(files.lock().unwrap().is_empty(), id != "upload.left-behind");
        assert_eq!(has(&report, "upload.refused"), id == "-");
    }
}

#[tokio::test]
async fn a_named_file_is_fetched_and_a_missing_one_is_told() {
    let manners = Manners::protected();
    manners
        .files
        .lock()
        .unwrap()
        .insert("a b".to_owned(), vec![7; 3000]);
    let server = Scripted::start(manners).await;
    let mut examination = server.examination(Scheme::Ftp);
    examination.path = b"a b".to_vec();
    let report = examined(&examination).await;
    assert_eq!(cause(&report), "-", "{}", report.render());
    assert_eq!(report.value("passive.epsv.bytes").unwrap(), 3000);
    examination.path = b"missing".to_vec();
    let report = examined(&examination).await;
    assert_eq!((cause(&report), report.exit_code()), ("transfer.path", 7));
}

#[tokio::test]
async fn a_silent_connection_that_is_gone_is_the_networks_fault_or_the_servers() {
    for (say, id, severity) in [
        (Say::Line("421 Too long"), "idle.closed", Severity::Note),
        (Say::Close, "idle.forgotten", Severity::Warning),
    ] {
        let server = Scripted::start(Manners::protected().saying("NOOP", say)).await;
        let mut examination = server.examination(Scheme::Ftp);
        examination.idle = Some(Duration::ZERO);
        let report = examined(&examination).await;
        let finding = report
            .finding(id)
            .unwrap_or_else(|| panic!("{}", report.render()));
        assert_eq!(finding.severity, severity);
    }
}

#[tokio::test]
async fn nobody_there_and_no_such_name() {
    let server = Scripted::start(Manners::default()).await;
    let mut examination = server.examination(Scheme::Ftp);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    examination.site.port = listener.local_addr().unwrap().port();
    drop(listener);
    let report = examined(&examination).await;
    assert_eq!((cause(&report), report.exit_code()), ("connect.refused", 3));
    examination.site.options.family = pasarela_client::Family::Ipv6;
    let report = examined(&examination).await;
    assert_eq!((cause(&report), report.exit_code()), ("name.not-found", 3));
}

/// Replies without end, of any length, in any encoding: the examination ends, and says something.
#[tokio::test]
async fn nonsense_ends_in_a_report() {
    const LONG: &str = concat!("220-", "\u{1b}[2J\u{7}");
    let endless: &'static str = Box::leak(format!("{LONG}{}\r\n", "x".repeat(20_000)).into_boxed_str());
    let many: &'static str = Box::leak(format!("220-a\r\n{}", "b\r\n".repeat(200)).into_boxed_str());
    for greeting in [endless, many, "\u{0}\u{1}\u{2}", "999 no", "22"] {
        let report = verdict_of(Manners {
            greeting: Say::Line(greeting),
            ..Manners::default()
        })
        .await;
        check(&report);
        assert_eq!(report.exit_code(), 3, "{}", report.render());
        assert!(
            !report.render().contains(['\u{1b}', '\u{7}']),
            "control bytes reach the terminal"
        );
    }
    for reply in [
        "227 Passive (1,2,3,4,5)",
        "229 Extended (|||99999|)",
        "229 ()",
        "227 (0,0,0,0,0,0)",
    ] {
        let manners = Manners::protected()
            .saying("EPSV", Say::Line(reply))
            .saying("PASV", Say::Line(reply));
        let report = verdict_of(manners).await;
        assert_eq!(
            (cause(&report), report.exit_code()),
            ("passive.refused", 6),
            "{reply}"
        );
    }
}
