//! RFC 959 sections 3 and 4.1.2: types, structures, modes, STOR, RETR, APPE, STOU, ALLO, REST.

use std::fs;
use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use pasarela_conformance::{Data, Server, Setup, noise};

#[test]
fn what_is_stored_is_retrieved() {
    let server = Server::start();
    let mut client = server.login();
    for len in [0, 1, 4096, 65_535, 65_536, 65_537, 3_000_000] {
        let bytes = noise(len as u64, len);
        client.store("STOR f", &bytes);
        assert!(
            server.file("f").as_deref() == Some(&bytes[..]),
            "{len} bytes on disk"
        );
        assert!(client.receive("RETR f") == bytes, "{len} bytes back");
    }
}

#[test]
fn every_choice_of_data_ports_carries_both_ways() {
    let first = pasarela_conformance::free_ports(4);
    for ports in [
        "auto".to_owned(),
        "control".to_owned(),
        first.to_string(),
        format!("{}-{}", first + 1, first + 3),
    ] {
        let server = Setup::new().ports(&ports).start();
        let mut client = server.login();
        for round in 0..5 {
            let bytes = noise(round, 100_000);
            client.store("STOR f", &bytes);
            assert!(client.receive("RETR f") == bytes, "{ports}");
        }
    }
}

#[test]
fn pasv_names_the_address_of_the_control_connection() {
    let server = Server::start();
    server.put("f", "hello");
    let mut client = server.login();
    let to = client.pasv();
    assert_eq!(to.ip(), client.peer().ip());
    let socket = client.connect(to);
    client.expect("RETR f", &[125, 150]);
    assert_eq!(Data::start(socket, None).unwrap().read_all(), b"hello");
    client.next(&[226]);
}

#[test]
fn the_transfer_command_may_come_before_the_data_connection() {
    let server = Server::start();
    server.put("f", "hello");
    let mut client = server.login();
    let to = client.epsv();
    client.send("RETR f");
    let socket = client.connect(to);
    client.next(&[125, 150]);
    assert_eq!(Data::start(socket, None).unwrap().read_all(), b"hello");
    client.next(&[226]);
}

#[test]
fn port_makes_the_server_connect() {
    let server = Setup::new().config("[ftp.data]\nactive = true\n").start();
    let mut client = server.login();
    for (name, bytes) in [("a", noise(1, 10)), ("b", noise(2, 500_000))] {
        let listener = client.listen();
        let [high, low] = listener.local_addr().unwrap().port().to_be_bytes();
        client.expect(format!("PORT 127,0,0,1,{high},{low}"), &[200]);
        client.send(format!("STOR {name}"));
        let mut data = Data::start(listener.accept().unwrap().0, None).unwrap();
        client.next(&[125, 150]);
        data.write(&bytes);
        data.finish();
        client.next(&[226]);
        assert_eq!(server.file(name), Some(bytes));
    }
}

#[test]
fn a_malformed_port_is_a_bad_parameter() {
    let server = Server::start();
    let mut client = server.login();
    for argument in [
        "",
        " 1,2,3",
        " 127,0,0,1,256,1",
        " 127,0,0,1,1,1,1",
        " a,b,c,d,e,f",
        " 127,0,0,1,-1,1",
        " 127,0,0,1,,1",
    ] {
        client.expect(format!("PORT{argument}"), &[501, 504]);
    }
}

#[test]
fn without_a_data_port_a_transfer_is_refused() {
    let server = Server::start();
    server.put("f", "x");
    let mut client = server.login();
    client.unserved("RETR f");
    client.unserved("LIST");
}

#[test]
fn a_data_port_serves_one_transfer() {
    let server = Server::start();
    server.put("f", "x");
    let mut client = server.login();
    assert_eq!(client.receive("RETR f"), b"x");
    client.unserved("RETR f");
}

#[test]
fn retr_of_what_is_no_file_gets_550_and_no_150() {
    let server = Server::start();
    fs::create_dir(server.root().join("d")).unwrap();
    let mut client = server.login();
    client.refused("RETR missing", &[550]);
    client.refused("RETR d", &[550]);
    client.expect("RETR", &[501]);
    client.expect("NOOP", &[200]);
}

#[test]
fn stor_where_no_file_can_stand_is_refused_before_150() {
    let server = Server::start();
    fs::create_dir(server.root().join("d")).unwrap();
    let mut client = server.login();
    client.refused("STOR d", &[550, 553]);
    client.refused("STOR missing/f", &[550, 553]);
    client.refused("STOR /", &[550, 553]);
    client.expect("STOR", &[501]);
}

#[test]
fn stor_replaces_and_appe_appends() {
    let server = Server::start();
    let mut client = server.login();
    client.store("STOR f", b"a long first version");
    client.store("STOR f", b"short");
    client.store("APPE f", b" and more");
    client.store("APPE new", b"made");
    assert_eq!(server.file("f").as_deref(), Some(&b"short and more"[..]));
    assert_eq!(server.file("new").as_deref(), Some(&b"made"[..]));
}

#[test]
fn stou_makes_a_new_name_each_time() {
    let server = Server::start();
    let mut client = server.login();
    client.store("STOU", b"one");
    client.store("STOU", b"two");
    assert_eq!(client.names().len(), 2);
}

#[test]
fn type_takes_ascii_image_and_local_8() {
    let server = Server::start();
    let mut client = server.login();
    for good in ["A", "A N", "I", "L 8", "a", "i"] {
        client.expect(format!("TYPE {good}"), &[200]);
    }
    for bad in ["TYPE E", "TYPE L 7", "TYPE X", "TYPE A X"] {
        client.expect(bad, &[501, 504]);
    }
    client.expect("TYPE", &[501]);
}

#[test]
fn ascii_is_the_type_at_the_beginning() {
    let server = Server::start();
    server.put("f", "a\nb\n");
    let mut client = server.visit();
    client.login();
    assert_eq!(client.receive("RETR f"), b"a\r\nb\r\n");
}

#[test]
fn type_a_sends_every_line_end_as_crlf() {
    let server = Server::start();
    server.put("f", "one\ntwo\n\nlast");
    let mut client = server.login();
    client.expect("TYPE A", &[200]);
    assert_eq!(client.receive("RETR f"), b"one\r\ntwo\r\n\r\nlast");
}

#[test]
fn type_a_does_not_double_a_cr_that_is_there() {
    let server = Server::start();
    server.put("f", "dos\r\nunix\n");
    let mut client = server.login();
    client.expect("TYPE A", &[200]);
    assert_eq!(client.receive("RETR f"), b"dos\r\nunix\r\n");
}

#[test]
fn type_a_stores_crlf_as_line_feed_wherever_it_is_split() {
    let server = Server::start();
    let mut client = server.login();
    client.expect("TYPE A", &[200]);
    let mut data = client.begin("STOR f");
    for piece in ["one\r", "\ntwo", "\r", "\n", "lone\rcr", "\r\r\n", "end\n"] {
        data.write(piece.as_bytes());
    }
    data.finish();
    client.next(&[226]);
    assert_eq!(
        server.file("f").as_deref(),
        Some(&b"one\ntwo\nlone\rcr\r\nend\n"[..])
    );
}

#[test]
fn a_text_comes_back_from_type_a_as_it_went() {
    let server = Server::start();
    let mut client = server.login();
    // Lines of every length up to 300, so that line ends meet every boundary of a buffer.
    let text: String = (0..3000).map(|n| "x".repeat(n % 300) + "\r\n").collect();
    client.expect("TYPE A", &[200]);
    client.store("STOR f", text.as_bytes());
    assert!(client.receive("RETR f") == text.as_bytes());
    assert!(server.file("f").unwrap() == text.replace('\r', "").as_bytes());
}

#[test]
fn stru_takes_file_and_record_and_no_page() {
    let server = Server::start();
    let mut client = server.login();
    client.expect("STRU F", &[200]);
    client.expect("STRU R", &[200]);
    client.expect("STRU P", &[504]);
    client.expect("STRU X", &[501, 504]);
    client.expect("STRU", &[501]);
}

#[test]
fn records_are_lines_of_a_text() {
    let server = Server::start();
    let mut client = server.login();
    client.expect("TYPE A", &[200]);
    client.expect("STRU R", &[200]);
    client.store("STOR f", b"one\xff\x01two\xff\x01\xff\x02");
    assert_eq!(server.file("f").as_deref(), Some(&b"one\ntwo\n"[..]));
    let records = client.receive("RETR f");
    // The last record's end and the end of file may be told in one escape (3) or in two (1, 2).
    assert!(
        records == b"one\xff\x01two\xff\x03" || records == b"one\xff\x01two\xff\x01\xff\x02",
        "{records:x?}"
    );
}

#[test]
fn mode_takes_stream_and_no_block_or_compressed() {
    let server = Server::start();
    let mut client = server.login();
    client.expect("MODE S", &[200]);
    client.expect("MODE B", &[504]);
    client.expect("MODE C", &[504]);
    client.expect("MODE X", &[501, 504]);
    client.expect("MODE", &[501]);
}

#[test]
fn mode_z_deflates_both_ways() {
    let server = Server::start();
    let mut client = server.login();
    let bytes: Vec<u8> = (0..2_000_000u32).map(|n| (n / 1000) as u8).collect();
    let mut deflated = ZlibEncoder::new(Vec::new(), Compression::fast());
    deflated.write_all(&bytes).unwrap();
    let deflated = deflated.finish().unwrap();
    client.expect("MODE Z", &[200]);
    client.store("STOR f", &deflated);
    assert!(server.file("f").unwrap() == bytes);
    let back = client.receive("RETR f");
    assert!(back.len() < bytes.len() / 10, "{} bytes on the wire", back.len());
    let mut inflated = Vec::new();
    ZlibDecoder::new(&back[..]).read_to_end(&mut inflated).unwrap();
    assert!(inflated == bytes);
    let listing = client.receive("LIST");
    let mut text = String::new();
    ZlibDecoder::new(&listing[..]).read_to_string(&mut text).unwrap();
    assert!(text.contains(" f\r\n"), "{text:?}");
}

#[test]
fn mode_z_publishes_no_broken_stream() {
    let server = Server::start();
    let mut client = server.login();
    let mut deflated = ZlibEncoder::new(Vec::new(), Compression::fast());
    deflated.write_all(&noise(3, 100_000)).unwrap();
    let deflated = deflated.finish().unwrap();
    client.expect("MODE Z", &[200]);
    for broken in [&deflated[..deflated.len() / 2], b"this was never deflated"] {
        let mut data = client.begin("STOR f");
        // The server may be quick to refuse.
        let _ = data.try_write(broken);
        data.cut();
        client.next(&[426, 450, 451, 501, 550, 551]);
        assert_eq!(server.file("f"), None);
    }
}

#[test]
fn rest_begins_a_retr_at_its_offset() {
    let server = Server::start();
    server.put("f", "0123456789");
    let mut client = server.login();
    client.expect("REST 4", &[350]);
    assert_eq!(client.receive("RETR f"), b"456789");
    assert_eq!(client.receive("RETR f"), b"0123456789", "REST serves once");
    client.expect("REST 10", &[350]);
    assert_eq!(client.receive("RETR f"), b"");
    client.expect("REST 0", &[350]);
    assert_eq!(client.receive("RETR f"), b"0123456789");
}

#[test]
fn rest_and_stor_rewrite_from_the_offset() {
    let server = Server::start();
    server.put("f", "0123456789");
    let mut client = server.login();
    client.expect("REST 4", &[350]);
    client.store("STOR f", b"abc");
    // Content that begins with the first 4 bytes; whether the old tail stays is not asked here.
    assert!(server.file("f").unwrap().starts_with(b"0123abc"));
}

#[test]
fn allo_is_answered_and_checked() {
    let server = Server::start();
    let mut client = server.login();
    client.expect("ALLO 100", &[200, 202]);
    client.expect("ALLO 100 R 10", &[200, 202]);
    client.expect("ALLO many", &[501]);
    client.expect("ALLO", &[501]);
}

#[test]
fn an_upload_shorter_than_its_allo_is_not_published() {
    let server = Server::start();
    let mut client = server.login();
    client.expect("ALLO 100", &[200]);
    let mut data = client.begin("STOR f");
    data.write(b"less");
    data.finish();
    client.next(&[426, 451, 552]);
    assert_eq!(server.file("f"), None);
    client.expect("ALLO 4", &[200]);
    client.store("STOR f", b"just");
    client.store("STOR f", b"ALLO serves once");
}

#[test]
fn every_accepted_transfer_ends_in_exactly_one_reply() {
    let server = Server::start();
    let mut client = server.login();
    for _ in 0..50 {
        client.store("STOR f", b"x");
        client.expect("NOOP", &[200]);
        client.receive("RETR f");
        client.expect("NOOP", &[200]);
        client.receive("NLST");
        client.expect("NOOP", &[200]);
    }
}
