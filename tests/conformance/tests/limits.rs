//! How many and how long: every deadline and every cap, with short values.

use std::time::{Duration, Instant};

use pasarela_conformance::{
    Client, DEADLINE, OWNER, PASSWORD, STRANGER, Server, Setup, USER, eventually, noise,
};

fn limited(limits: &str) -> Server {
    Setup::new().config(format!("[limits]\n{limits}\n")).start()
}

/// Reads until the end of the connection; a last word, if any, must be a 421.
fn shown_out(client: &mut Client) {
    match client.try_reply(DEADLINE) {
        Ok(Some(reply)) => {
            assert_eq!(reply.code, 421, "{reply:?}");
            client.closed();
        }
        Ok(None) => {}
        Err(error) => panic!("not shown out: {error}"),
    }
}

#[test]
fn who_says_nothing_is_shown_out_at_the_login_deadline() {
    let server = limited("login = \"2s\"");
    let begun = Instant::now();
    shown_out(&mut server.visit());
    assert!(begun.elapsed() > Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[test]
fn who_stops_after_user_is_shown_out_at_the_login_deadline() {
    let server = limited("login = \"2s\"");
    let mut visitor = server.visit();
    visitor.expect(format!("USER {USER}"), &[331]);
    shown_out(&mut visitor);
}

#[test]
fn noop_does_not_put_the_login_deadline_off() {
    let server = limited("login = \"2s\"");
    let begun = Instant::now();
    let mut visitor = server.visit();
    while visitor.try_raw(b"NOOP\r\n").is_ok() {
        assert!(begun.elapsed() < DEADLINE, "still there");
        match visitor.try_reply(DEADLINE) {
            Ok(Some(reply)) if reply.code == 200 => {}
            Ok(Some(reply)) if reply.code == 421 => break,
            Ok(None) => break,
            other => panic!("{other:?}"),
        }
        // The pace of a patient attacker.
        match visitor.try_reply(Duration::from_millis(200)) {
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => {}
            Ok(None) => break,
            Ok(Some(reply)) if reply.code == 421 => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(begun.elapsed() > Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[test]
fn single_bytes_do_not_put_the_login_deadline_off() {
    let server = limited("login = \"2s\"");
    let mut visitor = server.visit();
    let begun = Instant::now();
    while visitor.try_raw(b"x").is_ok() {
        assert!(begun.elapsed() < DEADLINE, "still there");
        match visitor.try_reply(Duration::from_millis(200)) {
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => {}
            _ => break,
        }
    }
}

#[test]
fn the_login_deadline_ends_with_the_login() {
    let server = limited("login = \"4s\"");
    let mut client = server.login();
    client.silent_for(Duration::from_secs(5));
    client.expect("NOOP", &[200]);
}

#[test]
fn an_idle_session_gets_421() {
    let server = limited("idle = \"1s\"");
    let mut client = server.login();
    client.next(&[421]);
    client.closed();
}

#[test]
fn a_transfer_is_not_idleness() {
    let server = limited("idle = \"3s\"");
    let mut client = server.login();
    let mut data = client.begin("STOR f");
    for _ in 0..10 {
        data.write(b"slow ");
        client.silent_for(Duration::from_millis(400));
    }
    data.finish();
    client.next(&[226]);
    assert_eq!(server.file("f").map(|bytes| bytes.len()), Some(50));
}

#[test]
fn an_upload_that_stalls_ends_and_its_part_is_kept() {
    let server = limited("stall = \"2s\"");
    let mut client = server.login();
    let mut data = client.begin("STOR f");
    data.write(&noise(1, 1000));
    client.next(&[421, 426]);
    drop(data);
    assert_eq!(server.file("f"), None);
    let mut client = server.login();
    eventually("the part", || {
        client.send("SIZE f");
        client.reply().text() == "1000"
    });
}

#[test]
fn a_download_that_stalls_ends() {
    let server = limited("stall = \"2s\"");
    let file = std::fs::File::create(server.root().join("large")).unwrap();
    file.set_len(64 << 20).unwrap();
    let mut client = server.login();
    let data = client.begin("RETR large");
    client.next(&[421, 426]);
    assert!(data.remains().0.len() < 64 << 20);
}

#[test]
fn one_connection_too_many_from_an_address_gets_421_until_another_leaves() {
    let server = limited("per_address = 3");
    let first = server.login();
    let _others = [server.login(), server.login()];
    let mut fourth = Client::dial(server.address(), OWNER).unwrap();
    fourth.next(&[421]);
    fourth.closed();
    drop(server.login_from(STRANGER));
    drop(first);
    eventually("a place is free again", || {
        let mut visitor = Client::dial(server.address(), OWNER).unwrap();
        visitor.reply().code == 220
    });
}

#[test]
fn data_connections_do_not_count_against_the_address() {
    let server = limited("per_address = 1");
    server.put("f", "hello");
    let mut client = server.login();
    for _ in 0..10 {
        assert_eq!(client.receive("RETR f"), b"hello");
    }
}

#[test]
fn one_session_too_many_of_a_user_is_refused() {
    let server = limited("per_user = 2");
    let _sessions = [server.login(), server.login()];
    let mut third = server.visit();
    third.expect(format!("USER {USER}"), &[331]);
    third.expect(format!("PASS {PASSWORD}"), &[421, 530]);
}

#[test]
fn one_connection_too_many_in_all_gets_421() {
    let server = limited("total = 2");
    let _sessions = [server.login(), server.login_from(STRANGER)];
    let mut third = Client::dial(server.address(), OWNER).unwrap();
    third.next(&[421]);
    third.closed();
}

#[test]
fn where_too_many_are_not_logged_in_a_newcomer_is_served_and_the_oldest_goes() {
    let server = limited("unauthenticated = 3");
    let session = server.login();
    let mut idle = [server.visit(), server.visit(), server.visit()];
    server.login_from(STRANGER).expect("NOOP", &[200]);
    idle[0].closed();
    idle[1].login();
    idle[2].login();
    drop(session);
}

#[test]
fn who_stops_in_the_middle_of_a_handshake_makes_room_as_well() {
    let server = Setup::new()
        .tls("optional")
        .config("[limits]\nunauthenticated = 1\ntls_handshake = \"600s\"\nlogin = \"900s\"\n")
        .start();
    let mut visitor = server.visit();
    visitor.expect("AUTH TLS", &[234]);
    server.login_from(STRANGER).expect("NOOP", &[200]);
    visitor.drain();
}

#[test]
fn who_guesses_too_often_is_banned_and_nobody_else() {
    let server = limited("ban_after = 3\nban_window = \"60s\"\nban_for = \"60s\"");
    for _ in 0..3 {
        let mut visitor = server.visit();
        visitor.expect(format!("USER {USER}"), &[331]);
        visitor.send("PASS wrong");
        visitor.next(&[421, 530]);
    }
    let mut banned = Client::dial(server.address(), OWNER).unwrap();
    match banned.try_reply(DEADLINE) {
        Ok(None) => {}
        Ok(Some(reply)) => assert_eq!(reply.code, 421, "{reply:?}"),
        Err(error) => panic!("{error}"),
    }
    server.login_from(STRANGER).expect("NOOP", &[200]);
}

#[test]
fn a_ban_expires() {
    let server = limited("ban_after = 2\nban_window = \"60s\"\nban_for = \"1s\"");
    for _ in 0..2 {
        let mut visitor = server.visit();
        visitor.expect(format!("USER {USER}"), &[331]);
        visitor.send("PASS wrong");
        visitor.next(&[421, 530]);
    }
    eventually("the ban expires", || {
        let mut visitor = Client::dial(server.address(), OWNER).unwrap();
        visitor
            .try_reply(DEADLINE)
            .ok()
            .flatten()
            .is_some_and(|reply| reply.code == 220)
    });
}

#[test]
fn guessing_on_one_connection_ends() {
    let server = Server::start();
    let mut visitor = server.visit();
    for attempt in 0..10 {
        // Once shown out, there is nobody to talk to.
        let _ = visitor.try_raw(format!("USER {USER}\r\n").as_bytes());
        match visitor.try_reply(DEADLINE) {
            Ok(Some(reply)) if reply.code == 331 => {}
            _ => return,
        }
        let _ = visitor.try_raw(format!("PASS wrong{attempt}\r\n").as_bytes());
        match visitor.try_reply(DEADLINE) {
            Ok(Some(reply)) if reply.code == 530 => {}
            _ => return,
        }
    }
    panic!("ten guesses on one connection");
}

#[test]
fn when_file_descriptors_run_out_and_come_back_it_accepts_again() {
    let server = Setup::new()
        .config("[limits]\nper_address = 1000\nunauthenticated = 1000\n")
        .wrapper(&["sh", "-c", "ulimit -n 64; exec \"$0\" \"$@\""])
        .start();
    for _ in 0..3 {
        let crowd: Vec<Client> = (0..200)
            .flat_map(|_| Client::dial(server.address(), OWNER))
            .collect();
        drop(crowd);
        let begun = Instant::now();
        eventually("a login after the crowd has left", || {
            let Ok(mut visitor) = Client::dial(server.address(), OWNER) else {
                return false;
            };
            let greeted = visitor.try_reply(DEADLINE).ok().flatten();
            greeted.is_some_and(|reply| reply.code == 220)
        });
        eprintln!("accepted again after {:?}", begun.elapsed());
        let mut client = server.login();
        assert!(client.receive("NLST").is_empty());
    }
}

#[test]
fn who_logs_in_during_a_flood_is_served() {
    let server = limited("per_address = 20");
    let flood: Vec<Client> = (0..100)
        .map(|_| Client::dial(server.address(), STRANGER).unwrap())
        .collect();
    for _ in 0..10 {
        server.login().expect("NOOP", &[200]);
    }
    drop(flood);
}
