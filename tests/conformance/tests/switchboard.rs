//! Whose data connection is it: strangers get nothing and change nothing, owners are recognised, ports are kept to.

// Helpers of tests fail by panicking, too.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pasarela_conformance::tls::{self, VERSIONS};
use pasarela_conformance::{Client, DEADLINE, Data, STRANGER, Server, Setup, contains, free_ports, noise};

/// A connection by somebody who was told nothing.
fn intrude(to: SocketAddr, from: [u8; 4]) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket
        .bind(&SocketAddr::from((from, 0)).into())
        .expect("a loopback address");
    socket
        .connect_timeout(&to.into(), DEADLINE)
        .expect("the port listens");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    stream.set_write_timeout(Some(DEADLINE)).expect("a timeout");
    stream
}

/// What has come to the intruder by now.
fn loot(stream: TcpStream) -> Vec<u8> {
    stream
        .set_read_timeout(Some(Duration::from_millis(1)))
        .expect("a timeout");
    Data::start(stream, None).expect("plain").remains().0
}

fn setups() -> Vec<Setup> {
    let first = free_ports(3);
    let config = "[limits]\nper_address = 1000\n";
    [
        "auto".to_owned(),
        "control".to_owned(),
        first.to_string(),
        format!("{}-{}", first + 1, first + 2),
    ]
    .into_iter()
    .map(|ports| Setup::new().ports(ports).config(config))
    .collect()
}

#[test]
fn a_stranger_who_comes_first_gets_nothing_and_changes_nothing() {
    for setup in setups() {
        let server = setup.start();
        let secret = b"for the owner alone".repeat(10);
        server.put("f", &secret);
        let mut client = server.login();
        for round in 0..100 {
            let to = client.epsv();
            let thief = intrude(to, STRANGER);
            let socket = client.connect(to);
            client.expect("RETR f", &[125, 150]);
            let got = Data::start(socket, None).unwrap().read_all();
            assert!(got == secret, "round {round}");
            client.next(&[226]);
            assert!(!contains(&loot(thief), b"owner"), "round {round}: stolen");
        }
    }
}

#[test]
fn a_stranger_who_talks_first_stores_nothing() {
    use std::io::Write;
    for setup in setups() {
        let server = setup.start();
        let mut client = server.login();
        for _ in 0..20 {
            let to = client.epsv();
            let mut thief = intrude(to, STRANGER);
            // It may be hung up on at once.
            let _ = thief.write_all(b"forged content");
            let socket = client.connect(to);
            client.expect("STOR f", &[125, 150]);
            let mut data = Data::start(socket, None).unwrap();
            data.write(b"true content");
            data.finish();
            client.next(&[226]);
            assert_eq!(server.file("f").as_deref(), Some(&b"true content"[..]));
        }
    }
}

#[test]
fn many_strangers_do_not_keep_the_owner_out() {
    for setup in setups() {
        let server = setup.start();
        server.put("f", "hello");
        let mut client = server.login();
        let to = client.epsv();
        let strangers: Vec<TcpStream> = (0..200).map(|_| intrude(to, STRANGER)).collect();
        let socket = client.connect(to);
        client.expect("RETR f", &[125, 150]);
        assert_eq!(Data::start(socket, None).unwrap().read_all(), b"hello");
        client.next(&[226]);
        drop(strangers);
    }
}

#[test]
fn two_sessions_of_one_address_each_get_their_own() {
    for ports in ["auto", "control"] {
        let server = Setup::new().tls("optional").ports(ports).start();
        for version in VERSIONS {
            std::thread::scope(|scope| {
                for (name, seed) in [("a", 1), ("b", 2)] {
                    let server = &server;
                    scope.spawn(move || {
                        let content = noise(seed, 100_000);
                        server.put(name, &content);
                        let mut client = server.login_tls(version);
                        for round in 0..20 {
                            let got = client.receive(format!("RETR {name}"));
                            assert!(got == content, "{ports} {version:?}, round {round}");
                        }
                    });
                }
            });
        }
    }
}

#[test]
fn parallel_downloads_in_the_clear_from_one_address_are_never_mixed_up() {
    let server = Server::start();
    for n in 0..4 {
        server.put(&n.to_string(), noise(n, 50_000));
    }
    let server = &server;
    let refused: usize = std::thread::scope(|scope| {
        let sessions: Vec<_> = (0..4)
            .map(|n| {
                scope.spawn(move || {
                    let mut client = server.login();
                    let (mut done, mut refused) = (0, 0);
                    while done < 10 {
                        match received_or_refused(&mut client, &format!("RETR {n}")) {
                            Some(bytes) => {
                                assert!(bytes == noise(n, 50_000), "session {n}, download {done}");
                                done += 1;
                            }
                            None => refused += 1,
                        }
                        assert!(refused < 10, "session {n} is refused again and again");
                    }
                    refused
                })
            })
            .collect();
        sessions
            .into_iter()
            .map(|session| session.join().expect("no wrong byte"))
            .sum()
    });
    assert!(refused < 12, "{refused} refused");
}

/// A download in the clear. While others dial control connections from the same address, which of two silent
/// connections it is may be unknown: then there is a 425, and not one byte.
fn received_or_refused(client: &mut Client, command: &str) -> Option<Vec<u8>> {
    let to = client.epsv();
    let socket = client.connect(to);
    if client.expect(command, &[125, 150, 425]).code == 425 {
        return None;
    }
    let (bytes, _) = Data::start(socket, None).expect("plain").remains();
    if client.next(&[226, 250, 425]).code == 425 {
        assert!(bytes.is_empty(), "a byte for whom?");
        return None;
    }
    Some(bytes)
}

#[test]
fn a_data_port_is_always_one_of_the_range() {
    let first = free_ports(4);
    let server = Setup::new().ports(format!("{first}-{}", first + 3)).start();
    for _ in 0..10 {
        let mut client = server.login();
        for _ in 0..10 {
            assert!((first..first + 4).contains(&client.pasv().port()));
            assert!((first..first + 4).contains(&client.epsv().port()));
        }
    }
    let server = Setup::new().ports("control").start();
    let mut client = server.login();
    assert_eq!(client.epsv().port(), server.address().port());
    assert_eq!(client.pasv().port(), server.address().port());
}

/// A server with two data ports, and two sessions of one address that hold both.
fn full_range() -> (Server, Client, Client) {
    let first = free_ports(2);
    let config = "[limits]\ndata_connection = \"60s\"\n";
    let server = Setup::new()
        .ports(format!("{first}-{}", first + 1))
        .config(config)
        .start();
    let (mut one, mut two) = (server.login(), server.login());
    assert_ne!(
        one.epsv().port(),
        two.epsv().port(),
        "in the clear a port tells two sessions apart"
    );
    (server, one, two)
}

#[test]
fn a_full_range_is_refused_with_425_and_a_reason_after_a_while() {
    let (server, _one, _two) = full_range();
    let mut third = server.login();
    third.send("EPSV");
    let reply = third.try_reply(DEADLINE).expect("a reply").expect("no hang-up");
    assert_eq!(reply.code, 425, "{reply:?}");
    assert!(reply.text().len() > 5, "{reply:?}");
    third.expect("NOOP", &[200]);
}

#[test]
fn who_waits_for_a_full_range_is_served_when_a_port_is_free() {
    let (server, mut one, _two) = full_range();
    let mut third = server.login();
    third.send("EPSV");
    one.expect("QUIT", &[221]);
    let reply = third.next(&[229]);
    let socket = third.connect(third.epsv_address(&reply));
    third.expect("NLST", &[125, 150]);
    drop(Data::start(socket, None).unwrap().read_all());
    third.next(&[226]);
}

#[test]
fn a_range_that_is_full_for_one_address_is_free_for_another() {
    let (server, _one, _two) = full_range();
    let mut other = server.login_from(STRANGER);
    assert!(other.receive("NLST").is_empty());
}

#[test]
fn another_epsv_replaces_the_one_before() {
    let first = free_ports(2);
    let server = Setup::new().ports(format!("{first}-{}", first + 1)).start();
    server.put("f", "hello");
    let mut client = server.login();
    for _ in 0..50 {
        client.epsv();
    }
    assert_eq!(client.receive("RETR f"), b"hello");
}

#[test]
fn without_a_data_connection_a_transfer_ends_in_425() {
    let server = Setup::new()
        .config("[limits]\ndata_connection = \"2s\"\n")
        .start();
    server.put("f", "hello");
    let mut client = server.login();
    client.epsv();
    assert_eq!(client.unserved("RETR f").code, 425);
    client.epsv();
    assert_eq!(client.unserved("STOR new").code, 425);
    assert_eq!(client.receive("RETR f"), b"hello");
    assert_eq!(client.names(), ["f"]);
}

/// Connects for data from another address than the control connection's, resuming what `config` remembers.
fn receive_from(client: &mut Client, from: [u8; 4], config: &Arc<rustls::ClientConfig>) -> Data {
    let to = client.epsv();
    let socket = intrude(to, from);
    client.send("RETR f");
    Data::start(socket, Some(config)).expect("the handshake")
}

#[test]
fn the_session_s_own_ticket_is_good_from_another_address() {
    for ports in ["auto", "control"] {
        let server = Setup::new().tls("optional").ports(ports).start();
        server.put("f", "for the owner alone");
        for version in VERSIONS {
            let mut client = server.login_tls(version);
            let config = client.data_tls.clone().unwrap();
            for _ in 0..3 {
                let data = receive_from(&mut client, [127, 0, 0, 3], &config);
                assert!(data.resumed(), "{version:?}");
                client.next(&[125, 150]);
                assert_eq!(data.read_all(), b"for the owner alone");
                client.next(&[226]);
            }
        }
    }
}

#[test]
fn another_address_without_the_ticket_gets_nothing() {
    let server = Setup::new()
        .tls("optional")
        .config("[limits]\ndata_connection = \"2s\"\n")
        .start();
    server.put("f", "for the owner alone");
    for version in VERSIONS {
        let mut client = server.login_tls(version);
        let to = client.epsv();
        let socket = intrude(to, [127, 0, 0, 3]);
        client.send("RETR f");
        // The handshake itself may be refused.
        if let Ok(data) = Data::start(socket, Some(&tls::config(version))) {
            assert!(data.remains().0.is_empty());
        }
        let mut reply = client.reply();
        if matches!(reply.code, 125 | 150) {
            reply = client.reply();
        }
        assert!([425, 426, 522].contains(&reply.code), "{reply:?}");
    }
}

fn resumption_required() -> Server {
    let config = "[ftp.data]\nrequire_resumption = \"always\"\n";
    let server = Setup::new().tls("optional").config(config).start();
    server.put("f", "for the owner alone");
    server
}

/// A download over a data connection that `config` makes; it must be refused and carry nothing.
fn refused_without_resumption(client: &mut Client, config: &Arc<rustls::ClientConfig>) {
    let to = client.epsv();
    let socket = client.connect(to);
    client.send("RETR f");
    if let Ok(data) = Data::start(socket, Some(config)) {
        assert!(data.remains().0.is_empty(), "data without resumption");
    }
    let mut reply = client.reply();
    if matches!(reply.code, 125 | 150) {
        reply = client.reply();
    }
    assert_eq!(reply.code, 522, "{reply:?}");
}

#[test]
fn where_resumption_is_required_a_new_session_gets_522_and_nothing_else() {
    let server = resumption_required();
    for version in VERSIONS {
        let mut client = server.login_tls(version);
        refused_without_resumption(&mut client, &tls::config(version));
        assert_eq!(
            client.receive("RETR f"),
            b"for the owner alone",
            "the owner's own session is good"
        );
    }
}

#[test]
fn where_resumption_is_required_another_control_connection_s_ticket_is_refused() {
    let server = resumption_required();
    for version in VERSIONS {
        let (mut client, other) = (server.login_tls(version), server.login_tls(version));
        let foreign = other.data_tls.clone().unwrap();
        refused_without_resumption(&mut client, &foreign);
    }
}

#[test]
fn a_ticket_from_a_refused_data_connection_is_worth_nothing() {
    let server = resumption_required();
    for version in VERSIONS {
        let mut client = server.login_tls(version);
        let stranger = tls::config(version);
        for _ in 0..3 {
            refused_without_resumption(&mut client, &stranger);
        }
    }
}

#[test]
fn where_resumption_is_required_uploads_and_downloads_may_alternate() {
    let server = resumption_required();
    for version in VERSIONS {
        let mut client = server.login_tls(version);
        for round in 0..10 {
            client.store("STOR g", &noise(round, 100_000));
            assert!(
                client.receive("RETR g") == noise(round, 100_000),
                "{version:?}, round {round}"
            );
        }
    }
}

#[test]
fn a_new_control_connection_is_greeted_while_data_is_awaited() {
    for setup in setups() {
        let server = setup.start();
        let mut client = server.login();
        client.epsv();
        let begun = Instant::now();
        server.visit_from(STRANGER).login();
        server.visit().login();
        // The wait itself may last for ever, as nobody else needs its place.
        assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
        assert!(client.receive("NLST").is_empty());
    }
}

#[test]
fn the_data_port_alone_never_greets_a_stranger() {
    let port = free_ports(1);
    let server = Setup::new().ports(port.to_string()).start();
    let mut client = server.login();
    let to = client.epsv();
    assert_eq!(to, SocketAddr::new(IpAddr::from([127, 0, 0, 1]), port));
    let stranger = intrude(to, STRANGER);
    assert!(client.receive("NLST").is_empty());
    assert!(loot(stranger).is_empty());
}
