//! Handshakes: what resumes what.

use std::net::TcpStream;
use std::process::Stdio;

use rustls::ClientConfig;
use tokio::io::AsyncWriteExt as _;

use super::*;
use crate::visitor::{As, Host, Visitor, WAYS, Way, material, read_to_end};

#[tokio::test]
async fn a_data_connection_proves_whose_it_is() {
    for way in WAYS {
        for role in [As::Data, As::Either] {
            let material = material();
            let host = Host::with(material.clone()).await;
            let (ours, theirs) = (Visitor::new(way, &[&material]), Visitor::new(way, &[&material]));
            let (our_control, their_control) = (host.control(&ours).await, host.control(&theirs).await);

            let data = host.brief(&ours, role).await;
            assert_eq!(data.resumed, Some(our_control.issued), "{way:?} {role:?}");
            assert!(data.offered, "{way:?} {role:?}");
            let data = host.brief(&theirs, role).await;
            assert_eq!(data.resumed, Some(their_control.issued), "{way:?} {role:?}");
        }
    }
}

#[tokio::test]
async fn data_connections_in_a_row_each_resume() {
    for way in WAYS {
        let material = material();
        let host = Host::with(material.clone()).await;
        let visitor = Visitor::new(way, &[&material]);
        let control = host.control(&visitor).await;
        // More than the control connection gave tickets, and more than an owner's tags.
        for round in 0..80 {
            let data = host.brief(&visitor, As::Data).await;
            assert_eq!(data.resumed, Some(control.issued), "{way:?} {round}");
            host.tls.admit(data.issued, control.issued);
        }
    }
}

#[tokio::test]
async fn parallel_data_connections_each_resume() {
    for way in WAYS {
        let material = material();
        let host = Host::with(material.clone()).await;
        let visitor = Visitor::new(way, &[&material]);
        let control = host.control(&visitor).await;
        let mut open = Vec::new();
        for _ in 0..4 {
            let (data, visit) = host.meet(&visitor, As::Data).await;
            assert_eq!(data.resumed, Some(control.issued), "{way:?}");
            host.tls.admit(data.issued, control.issued);
            open.push((data, visit));
        }
    }
}

#[tokio::test]
async fn the_ticket_of_a_refused_connection_proves_nothing() {
    for way in WAYS {
        for role in [As::Data, As::Either] {
            let material = material();
            let host = Host::with(material.clone()).await;
            let stranger = Visitor::new(way, &[&material]);
            let first = host.brief(&stranger, role).await;
            assert_eq!((first.resumed, first.offered), (None, false), "{way:?} {role:?}");
            let second = host.brief(&stranger, role).await;
            assert_eq!(second.resumed, None, "{way:?} {role:?}");
            if way != Way::SessionIds12 || role == As::Either {
                assert!(second.offered, "{way:?} {role:?}");
            }
        }
    }
}

#[tokio::test]
async fn the_ticket_of_an_admitted_data_connection_resumes_the_next_one() {
    let material = material();
    let host = Host::with(material.clone()).await;
    let visitor = Visitor::new(Way::Tickets13, &[&material]);
    let control = host.control(&visitor).await;
    // Each ticket is used once; the four of the control connection are used up here, unadmitted.
    let mut last = None;
    for _ in 0..4 {
        last = Some(host.meet(&visitor, As::Data).await);
    }
    let (mut accepted, mut visit) = last.unwrap();
    assert_eq!(accepted.resumed, Some(control.issued));
    host.tls.admit(accepted.issued, control.issued);
    accepted.stream.shutdown().await.unwrap();
    tokio::task::spawn_blocking(move || visit.read_to_end().unwrap())
        .await
        .unwrap();

    let next = host.brief(&visitor, As::Data).await;
    assert_eq!(next.resumed, Some(control.issued));
    // That one was not admitted, so its ticket is worth nothing.
    let after = host.brief(&visitor, As::Data).await;
    assert_eq!((after.resumed, after.offered), (None, true));
}

#[tokio::test]
async fn an_unadmitted_control_connection_owns_nothing() {
    for way in WAYS {
        let material = material();
        let host = Host::with(material.clone()).await;
        let visitor = Visitor::new(way, &[&material]);
        host.brief(&visitor, As::Control).await;
        let data = host.brief(&visitor, As::Data).await;
        assert_eq!((data.resumed, data.offered), (None, true), "{way:?}");
    }
}

#[tokio::test]
async fn a_retired_owner_is_not_resumed() {
    for way in WAYS {
        let material = material();
        let host = Host::with(material.clone()).await;
        let visitor = Visitor::new(way, &[&material]);
        let control = host.control(&visitor).await;
        let data = host.brief(&visitor, As::Data).await;
        host.tls.admit(data.issued, control.issued);

        host.tls.retire(control.issued);
        let late = host.brief(&visitor, As::Data).await;
        assert_eq!((late.resumed, late.offered), (None, true), "{way:?}");
        host.tls.admit(late.issued, control.issued);
        assert_eq!(
            host.brief(&visitor, As::Data).await.resumed,
            None,
            "{way:?}: admitted to a retired owner"
        );
    }
}

#[tokio::test]
async fn sessions_do_not_cross_control_connections() {
    for way in WAYS {
        let material = material();
        let host = Host::with(material.clone()).await;
        let visitor = Visitor::new(way, &[&material]);
        let first = host.control(&visitor).await;
        assert!(!first.offered, "{way:?}");
        let second = host.control(&visitor).await;
        assert_eq!((second.resumed, second.offered), (None, true), "{way:?}");
        let data = host.brief(&visitor, As::Data).await;
        assert_eq!(data.resumed, Some(second.issued), "{way:?}");
    }
}

#[tokio::test]
async fn a_connection_that_may_be_either_becomes_a_control_connection() {
    for way in WAYS {
        let material = material();
        let host = Host::with(material.clone()).await;
        let visitor = Visitor::new(way, &[&material]);
        let control = host.brief(&visitor, As::Either).await;
        assert_eq!((control.resumed, control.offered), (None, false), "{way:?}");
        host.tls.admit(control.issued, control.issued);
        assert_eq!(
            host.brief(&visitor, As::Either).await.resumed,
            Some(control.issued),
            "{way:?}"
        );
    }
}

#[tokio::test]
async fn another_server_name_is_another_session() {
    let material = material();
    let host = Host::with(material.clone()).await;
    let visitor = Visitor::new(Way::Tickets13, &[&material]);
    host.control(&visitor).await;
    let mut nameless = ClientConfig::clone(&visitor.config);
    nameless.enable_sni = false;
    let nameless = Visitor {
        config: Arc::new(nameless),
    };
    let data = host.brief(&nameless, As::Data).await;
    assert_eq!((data.resumed, data.offered), (None, true));
}

#[tokio::test]
async fn a_reload_shows_the_new_certificate_and_keeps_the_sessions() {
    for way in WAYS {
        let (old, new) = (material(), material());
        let host = Host::with(old.clone()).await;
        let visitor = Visitor::new(way, &[&old]);
        let control = host.control(&visitor).await;

        host.tls.reload(new.clone()).unwrap();
        assert_eq!(
            host.brief(&visitor, As::Data).await.resumed,
            Some(control.issued),
            "{way:?}"
        );

        let newcomer = Visitor::new(way, &[&old, &new]);
        let (_accepted, visit) = host.meet(&newcomer, As::Control).await;
        let shown = visit.tls.peer_certificates().unwrap().to_vec();
        assert_eq!(shown, new.certified_key().cert, "{way:?}");
    }
}

#[tokio::test]
async fn alpn_is_strict_when_offered() {
    for way in [Way::Tickets12, Way::Tickets13] {
        let material = material();
        let host = Host::with(material.clone()).await;
        for (offered, agreed) in [
            (&[] as &[&str], None),
            (&["ftp"], Some("ftp")),
            (&["ftp-data"], Some("ftp-data")),
            (&["x-filezilla-ftp", "ftp"], Some("ftp")),
        ] {
            let visitor = Visitor::offering(offered, way, &[&material]);
            let (accepted, visit) = host.meet(&visitor, As::Control).await;
            let agreed = agreed.map(str::as_bytes);
            assert_eq!(accepted.alpn.as_deref(), agreed, "{way:?}");
            assert_eq!(visit.tls.alpn_protocol(), agreed, "{way:?}");
        }

        let browser = Visitor::offering(&["h2", "http/1.1"], way, &[&material]);
        let address = host.listener.local_addr().unwrap();
        let visit =
            tokio::task::spawn_blocking(move || browser.connect(TcpStream::connect(address).unwrap()).err());
        let (accepted, refused) = tokio::join!(host.accept(As::Control), visit);
        assert_eq!(accepted.unwrap_err().kind(), io::ErrorKind::InvalidData);
        let refused = refused.unwrap().unwrap().into_inner().unwrap();
        assert_eq!(
            refused.downcast_ref::<rustls::Error>(),
            Some(&rustls::Error::AlertReceived(
                rustls::AlertDescription::NoApplicationProtocol
            )),
            "{way:?}"
        );
    }
}

/// A connection of `openssl s_client`: what came from it, and what it said. Without an upload it stays until the
/// server's goodbye, so it has read its tickets by then.
async fn s_client(host: &Host, role: As, arguments: &[&str], upload: Vec<u8>) -> (Accepted, Vec<u8>, String) {
    let uploads = !upload.is_empty();
    let mut client = tokio::task::spawn_blocking({
        let address = host.listener.local_addr().unwrap().to_string();
        let mut command = std::process::Command::new("openssl");
        command.args(["s_client", "-connect", &address]).args(arguments);
        command.arg(if uploads { "-no_ign_eof" } else { "-ign_eof" });
        move || {
            command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            let mut child = command.spawn().unwrap();
            let mut stdin = child.stdin.take().unwrap();
            let feeder = std::thread::spawn(move || io::Write::write_all(&mut stdin, &upload));
            let output = child.wait_with_output().unwrap();
            feeder.join().unwrap().unwrap();
            String::from_utf8_lossy(&output.stdout).into_owned()
        }
    });
    let mut accepted = tokio::select! {
        accepted = host.accept(role) => accepted.unwrap(),
        said = &mut client => panic!("openssl ended early: {said:?}"),
    };
    let upload = if uploads {
        read_to_end(&mut accepted.stream).await.unwrap()
    } else {
        Vec::new()
    };
    accepted.stream.shutdown().await.unwrap();
    (accepted, upload, client.await.unwrap())
}

fn openssl_is_missing() -> bool {
    let missing = std::process::Command::new("openssl")
        .arg("version")
        .output()
        .is_err();
    if missing {
        eprintln!("NOT RUN: there is no openssl here");
    }
    missing
}

#[tokio::test]
async fn openssl_resumes_its_control_session() {
    if openssl_is_missing() {
        return;
    }
    for version in ["-tls1_2", "-tls1_3"] {
        let directory = tempfile::tempdir().unwrap();
        let session = directory.path().join("session").to_str().unwrap().to_owned();
        let host = Host::with(material()).await;
        let save = [version, "-sess_out", &session];
        let load = [version, "-sess_in", &session];

        let (control, _, said) = s_client(&host, As::Control, &save, vec![]).await;
        assert!(said.contains("New, TLS"), "{said}");
        host.tls.admit(control.issued, control.issued);

        let sent = vec![b'x'; 1 << 20];
        let (data, upload, said) = s_client(&host, As::Data, &load, sent.clone()).await;
        assert!(said.contains("Reused, TLS"), "{said}");
        assert_eq!(data.resumed, Some(control.issued), "{version}");
        assert!(upload == sent, "{version}");

        let (other, _, said) = s_client(&host, As::Control, &load, vec![]).await;
        assert!(said.contains("New, TLS"), "{said}");
        assert_eq!((other.resumed, other.offered), (None, true), "{version}");
    }
}

/// RFC 6066 section 3 forbids an address there; lftp sends one all the same.
#[tokio::test]
async fn an_address_as_server_name_is_no_obstacle() {
    if openssl_is_missing() {
        return;
    }
    let host = Host::with(material()).await;
    for version in ["-tls1_2", "-tls1_3"] {
        let (_, _, said) = s_client(&host, As::Control, &[version, "-servername", "127.0.0.1"], vec![]).await;
        assert!(said.contains("New, TLS"), "{said}");
    }
}
