//! RFC 2428: EPSV and EPRT, and RFC 2577 section 3: to nobody else's address.

use std::net::{SocketAddr, TcpListener};

use pasarela_conformance::{Data, OWNER, STRANGER, Server, Setup};

fn active() -> Server {
    Setup::new().config("[ftp.data]\nactive = true\n").start()
}

#[test]
fn epsv_names_a_port_that_carries_data() {
    let server = Server::start();
    server.put("f", "hello");
    let mut client = server.login();
    assert_eq!(client.receive("RETR f"), b"hello");
}

#[test]
fn epsv_takes_the_protocol_of_the_control_connection() {
    let server = Server::start();
    let mut client = server.login();
    client.expect("EPSV 1", &[229]);
    client.expect("EPSV 2", &[522]);
    let reply = client.expect("EPSV 9", &[522]);
    assert!(
        reply.text().contains("(1"),
        "the protocols that would do are named: {reply:?}"
    );
    client.expect("EPSV x", &[501, 522]);
}

#[test]
fn epsv_all_is_accepted_and_epsv_still_works() {
    let server = Server::start();
    server.put("f", "hello");
    let mut client = server.login();
    client.expect("EPSV ALL", &[200, 220]);
    assert_eq!(client.receive("RETR f"), b"hello");
}

#[test]
fn after_epsv_all_the_other_ways_are_refused_for_good() {
    let server = active();
    let mut client = server.login();
    let listener = client.listen();
    let port = listener.local_addr().unwrap().port();
    client.expect("EPSV ALL", &[200, 220]);
    // Nothing makes the server forget: neither an error nor a transfer.
    for spoiler in ["NOOP", "EPSV 9", "BOGUS", "TYPE I", "EPSV", "ABOR"] {
        client.send(spoiler);
        client.reply();
        for command in [
            "PASV".into(),
            format!("PORT 127,0,0,1,{},{}", port >> 8, port & 255),
            format!("EPRT |1|127.0.0.1|{port}|"),
        ] {
            let reply = client.refuses(&command);
            assert!(reply.code >= 500, "{command} after {spoiler}: {reply:?}");
        }
        client.receive("NLST");
    }
}

#[test]
fn eprt_makes_the_server_connect() {
    let server = active();
    server.put("f", "hello");
    let mut client = server.login();
    for delimiter in ["|", "!"] {
        let listener = client.listen();
        let port = listener.local_addr().unwrap().port();
        client.expect(
            format!("EPRT |1|127.0.0.1|{port}|").replace('|', delimiter),
            &[200],
        );
        client.send("RETR f");
        let data = Data::start(listener.accept().unwrap().0, None).unwrap();
        client.next(&[125, 150]);
        assert_eq!(data.read_all(), b"hello");
        client.next(&[226]);
    }
}

#[test]
fn eprt_of_an_unknown_protocol_gets_522() {
    let server = active();
    let mut client = server.login();
    let reply = client.expect("EPRT |9|127.0.0.1|51400|", &[522]);
    assert!(reply.text().contains("(1"), "{reply:?}");
}

#[test]
fn a_malformed_eprt_is_a_bad_parameter() {
    let server = active();
    let mut client = server.login();
    for argument in [
        "",
        " ",
        " |",
        " |1|",
        " |1|127.0.0.1|",
        " |1|127.0.0.1||",
        " |1|127.0.0.1|99999|",
        " |1|127.0.0.1|-1|",
        " |1|not-an-address|51400|",
        " |1|127.0.0.1|51400|x",
        " 1127.0.0.151400",
    ] {
        client.expect(format!("EPRT{argument}"), &[501, 522]);
    }
    client.expect("NOOP", &[200]);
}

#[test]
fn port_and_eprt_to_anybody_else_are_refused_before_a_socket_is_opened() {
    let server = active();
    server.put("f", "secret");
    let mut client = server.login();
    let victim = TcpListener::bind(SocketAddr::from((STRANGER, 0))).unwrap();
    victim.set_nonblocking(true).unwrap();
    let port = victim.local_addr().unwrap().port();
    let (high, low) = (port >> 8, port & 255);
    for command in [
        format!("PORT 127,0,0,2,{high},{low}"),
        format!("PORT 0,0,0,0,{high},{low}"),
        format!("PORT 255,255,255,255,{high},{low}"),
        format!("EPRT |1|127.0.0.2|{port}|"),
        format!("EPRT |1|0.0.0.0|{port}|"),
        format!("EPRT |2|::ffff:127.0.0.2|{port}|"),
        format!("EPRT |2|::1|{port}|"),
        format!("EPRT |2|::|{port}|"),
    ] {
        let reply = client.refuses(&command);
        assert!(reply.code >= 500, "{command}: {reply:?}");
        client.unserved("RETR f");
        assert!(victim.accept().is_err(), "{command} reached somebody else");
    }
}

#[test]
fn port_and_eprt_below_1024_are_refused() {
    let server = active();
    let mut client = server.login();
    for command in [
        "PORT 127,0,0,1,0,22",
        "PORT 127,0,0,1,3,255",
        "PORT 127,0,0,1,0,0",
        "EPRT |1|127.0.0.1|22|",
        "EPRT |1|127.0.0.1|1023|",
        "EPRT |1|127.0.0.1|0|",
    ] {
        let reply = client.refuses(command);
        assert!(reply.code >= 500, "{command}: {reply:?}");
    }
}

#[test]
fn the_peer_is_who_the_control_connection_comes_from() {
    let server = active();
    server.put("f", "hello");
    let mut client = server.login_from(STRANGER);
    let mine = TcpListener::bind(SocketAddr::from((OWNER, 0))).unwrap();
    client.refuses(format!(
        "EPRT |1|127.0.0.1|{}|",
        mine.local_addr().unwrap().port()
    ));
    let listener = client.listen();
    client.expect(
        format!("EPRT |1|127.0.0.2|{}|", listener.local_addr().unwrap().port()),
        &[200],
    );
    client.send("RETR f");
    let data = Data::start(listener.accept().unwrap().0, None).unwrap();
    client.next(&[125, 150]);
    assert_eq!(data.read_all(), b"hello");
    client.next(&[226]);
}

#[test]
fn without_active_mode_port_and_eprt_are_refused() {
    let server = Setup::new().config("[ftp.data]\nactive = false\n").start();
    let mut client = server.login();
    let listener = client.listen();
    let port = listener.local_addr().unwrap().port();
    client.refuses(format!("EPRT |1|127.0.0.1|{port}|"));
    client.refuses(format!("PORT 127,0,0,1,{},{}", port >> 8, port & 255));
    assert!(client.receive("NLST").is_empty());
}

#[test]
fn a_port_nobody_listens_on_ends_in_425() {
    let server = active();
    server.put("f", "x");
    let mut client = server.login();
    let port = client.listen().local_addr().unwrap().port();
    client.expect(format!("EPRT |1|127.0.0.1|{port}|"), &[200]);
    assert_eq!(client.unserved("RETR f").code, 425);
}
