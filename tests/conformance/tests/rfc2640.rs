//! RFC 2640: names in UTF-8, and what must never be part of a name.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use pasarela_conformance::{Server, contains};

#[test]
fn utf8_names_go_both_ways() {
    let server = Server::start();
    let mut client = server.login();
    for name in ["señal", "грузовик", "橋", "e\u{301}", "🌉 bridge"] {
        client.store(format!("STOR {name}"), name.as_bytes());
        assert_eq!(
            server.file(name).as_deref(),
            Some(name.as_bytes()),
            "{name} on disk"
        );
        assert_eq!(client.receive(format!("RETR {name}")), name.as_bytes());
        assert!(client.names().contains(&name.to_owned()));
        assert!(contains(&client.receive("LIST"), name.as_bytes()));
    }
    assert!(
        client
            .expect("MKD ñandú", &[257])
            .text()
            .starts_with("\"/ñandú\"")
    );
}

#[test]
fn names_that_are_not_utf8_go_both_ways() {
    let server = Server::start();
    let mut client = server.login();
    client.store(b"STOR caf\xe9", b"latin");
    assert!(server.root().join(OsStr::from_bytes(b"caf\xe9")).exists());
    assert_eq!(client.receive("NLST"), b"caf\xe9\r\n");
    assert_eq!(client.receive(b"RETR caf\xe9"), b"latin");
}

#[test]
fn iac_in_a_name_is_doubled() {
    let server = Server::start();
    let mut client = server.login();
    client.store(b"STOR a\xff\xffb", b"x");
    assert!(server.root().join(OsStr::from_bytes(b"a\xffb")).exists());
}

#[test]
fn control_characters_in_a_name_are_refused_by_every_command() {
    let server = Server::start();
    let mut client = server.login();
    let bytes = (0..=0x1f_u8).chain([0x7f]).filter(|byte| *byte != b'\n');
    for byte in bytes {
        for command in [
            "MKD", "CWD", "DELE", "RMD", "RNFR", "SIZE", "MDTM", "MLST", "STAT",
        ] {
            let mut line = format!("{command} q").into_bytes();
            line.extend([byte, b'q', b'\r', b'\n']);
            client.raw(&line);
            let reply = client.reply();
            assert!(
                [500, 501, 550, 553].contains(&reply.code),
                "{command} with {byte:#04x}: {reply:?}"
            );
        }
        let mut line = b"STOR q".to_vec();
        line.extend([byte, b'q']);
        client.refused(line, &[500, 501, 550, 553]);
        client.expect("NOOP", &[200]);
    }
    assert_eq!(std::fs::read_dir(server.root()).unwrap().count(), 0);
}

#[test]
fn a_new_name_with_a_control_character_gets_501_or_553() {
    let server = Server::start();
    let mut client = server.login();
    for name in [&b"a\0b"[..], b"a\rb", b"a\x1bb", b"a\x7fb", b"a\tb"] {
        client.expect([b"MKD ", name].concat(), &[501, 553]);
    }
    client.expect(b"MKD a\r\0b", &[501, 553]);
    client.expect("NOOP", &[200]);
}

#[test]
fn a_line_feed_ends_the_line_and_is_never_part_of_a_name() {
    let server = Server::start();
    let mut client = server.login();
    client.raw(b"MKD q\nNOOP\r\n");
    client.next(&[257]);
    client.next(&[200]);
    assert_eq!(client.names(), ["q"]);
}

#[test]
fn lang_knows_english_and_refuses_what_it_does_not_know() {
    let server = Server::start();
    let mut client = server.login();
    client.expect("LANG en", &[200]);
    client.expect("LANG EN", &[200]);
    client.expect("LANG", &[200]);
    client.expect("LANG tlh", &[504]);
    client.expect("LANG not+a+tag", &[501, 504]);
    client.expect("NOOP", &[200]);
}
