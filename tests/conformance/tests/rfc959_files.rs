//! RFC 959 section 4.1.3 and appendix II: directories, names, renaming, removing, listing.

use std::fs;
use std::os::unix::fs::symlink;

use pasarela_conformance::{Server, contains};

#[test]
fn pwd_begins_at_the_root() {
    let server = Server::start();
    let mut client = server.login();
    assert!(client.expect("PWD", &[257]).text().starts_with("\"/\""));
    assert!(client.expect("XPWD", &[257]).text().starts_with("\"/\""));
}

#[test]
fn mkd_replies_the_absolute_path_in_quotes() {
    let server = Server::start();
    let mut client = server.login();
    assert!(client.expect("MKD d", &[257]).text().starts_with("\"/d\""));
    client.expect("CWD d", &[250]);
    assert!(client.expect("XMKD e", &[257]).text().starts_with("\"/d/e\""));
    assert!(server.root().join("d/e").is_dir());
}

#[test]
fn quotes_in_a_257_are_doubled() {
    let server = Server::start();
    let mut client = server.login();
    assert!(
        client
            .expect("MKD a\"b", &[257])
            .text()
            .starts_with("\"/a\"\"b\"")
    );
    client.expect("CWD a\"b", &[250]);
    assert!(client.expect("PWD", &[257]).text().starts_with("\"/a\"\"b\""));
}

#[test]
fn cwd_and_cdup_walk_the_tree_and_stop_at_the_root() {
    let server = Server::start();
    fs::create_dir_all(server.root().join("a/b")).unwrap();
    let mut client = server.login();
    client.expect("CWD a/b", &[250]);
    client.expect("CDUP", &[200, 250]);
    assert!(client.expect("PWD", &[257]).text().starts_with("\"/a\""));
    client.expect("XCWD b", &[250]);
    client.expect("XCUP", &[200, 250]);
    client.expect("CDUP", &[200, 250]);
    assert!(client.expect("PWD", &[257]).text().starts_with("\"/\""));
    client.send("CDUP");
    client.next(&[200, 250, 550]);
    assert!(client.expect("PWD", &[257]).text().starts_with("\"/\""));
}

#[test]
fn no_path_leads_above_the_root() {
    let server = Server::start();
    fs::write(server.state().join("outside"), "secret").unwrap();
    let mut client = server.login();
    for path in [
        "../state/outside",
        "/../state/outside",
        "a/../../state/outside",
        "..\\state\\outside",
        "/etc/passwd",
    ] {
        client.refused(format!("RETR {path}"), &[550, 553]);
        client.refuses(format!("SIZE {path}"));
        client.refuses(format!("DELE {path}"));
    }
    assert!(server.state().join("outside").exists());
}

#[test]
fn a_link_out_of_the_root_leads_nowhere() {
    let server = Server::start();
    fs::write(server.state().join("outside"), "secret").unwrap();
    symlink(server.state(), server.root().join("absolute")).unwrap();
    symlink("../state", server.root().join("relative")).unwrap();
    let mut client = server.login();
    for link in ["absolute", "relative"] {
        client.refused(format!("RETR {link}/outside"), &[550, 553]);
        client.refused(format!("STOR {link}/new"), &[550, 553]);
        client.refuses(format!("DELE {link}/outside"));
        client.refuses(format!("MKD {link}/d"));
    }
    assert_eq!(fs::read(server.state().join("outside")).unwrap(), b"secret");
    assert!(!server.state().join("new").exists() && !server.state().join("d").exists());
}

#[test]
fn a_link_within_the_root_is_followed() {
    let server = Server::start();
    fs::create_dir(server.root().join("d")).unwrap();
    server.put("d/f", "hello");
    symlink("d", server.root().join("link")).unwrap();
    let mut client = server.login();
    assert_eq!(client.receive("RETR link/f"), b"hello");
}

#[test]
fn cwd_to_what_is_no_directory_gets_550() {
    let server = Server::start();
    server.put("f", "");
    let mut client = server.login();
    client.expect("CWD f", &[550]);
    client.expect("CWD missing", &[550]);
    assert!(client.expect("PWD", &[257]).text().starts_with("\"/\""));
}

#[test]
fn mkd_where_something_stands_is_refused() {
    let server = Server::start();
    server.put("f", "x");
    fs::create_dir(server.root().join("d")).unwrap();
    let mut client = server.login();
    client.expect("MKD d", &[521, 550]);
    client.expect("MKD f", &[521, 550]);
    client.expect("MKD missing/d", &[550]);
    client.expect("MKD", &[501]);
}

#[test]
fn rmd_removes_an_empty_directory_and_nothing_else() {
    let server = Server::start();
    fs::create_dir_all(server.root().join("full/inside")).unwrap();
    fs::create_dir(server.root().join("empty")).unwrap();
    server.put("f", "x");
    let mut client = server.login();
    client.expect("RMD full", &[550]);
    client.expect("RMD f", &[550]);
    client.expect("RMD missing", &[550]);
    client.expect("RMD empty", &[250]);
    client.expect("XRMD full/inside", &[250]);
    assert!(!server.root().join("empty").exists());
    assert!(server.root().join("full").is_dir() && server.file("f").is_some());
}

#[test]
fn the_root_can_be_neither_removed_nor_renamed() {
    let server = Server::start();
    let mut client = server.login();
    client.expect("RMD /", &[550, 553]);
    client.refuses("DELE /");
    if client.expect("RNFR /", &[350, 550, 553]).code == 350 {
        client.expect("RNTO elsewhere", &[550, 553]);
    }
    assert!(server.root().is_dir());
}

#[test]
fn dele_removes_a_file_and_no_directory() {
    let server = Server::start();
    server.put("f", "x");
    fs::create_dir(server.root().join("d")).unwrap();
    let mut client = server.login();
    client.expect("DELE f", &[250]);
    client.expect("DELE f", &[550]);
    client.expect("DELE d", &[550]);
    client.expect("DELE", &[501]);
    assert!(server.file("f").is_none() && server.root().join("d").is_dir());
}

#[test]
fn rnfr_and_rnto_rename_files_and_directories() {
    let server = Server::start();
    server.put("f", "x");
    fs::create_dir(server.root().join("d")).unwrap();
    let mut client = server.login();
    client.expect("RNFR f", &[350]);
    client.expect("RNTO d/g", &[250]);
    client.expect("RNFR d", &[350]);
    client.expect("RNTO e", &[250]);
    assert_eq!(server.file("e/g").as_deref(), Some(&b"x"[..]));
}

#[test]
fn rnto_without_rnfr_is_a_bad_sequence() {
    let server = Server::start();
    server.put("f", "x");
    let mut client = server.login();
    client.expect("RNTO g", &[503]);
    client.expect("RNFR missing", &[450, 550]);
    client.expect("RNTO g", &[503]);
    client.expect("RNFR f", &[350]);
    client.expect("RNTO g", &[250]);
    client.expect("RNTO h", &[503]);
}

#[test]
fn renaming_into_a_missing_directory_loses_nothing() {
    let server = Server::start();
    server.put("f", "x");
    let mut client = server.login();
    client.expect("RNFR f", &[350]);
    client.expect("RNTO missing/f", &[550, 553]);
    assert!(server.file("f").is_some());
}

#[test]
fn list_shows_unix_lines_that_end_in_crlf() {
    let server = Server::start();
    server.put("file.txt", "12345");
    fs::create_dir(server.root().join("dir")).unwrap();
    let mut client = server.login();
    let listing = String::from_utf8(client.receive("LIST")).unwrap();
    assert!(listing.ends_with("\r\n") && listing.matches('\n').count() == listing.matches("\r\n").count());
    let lines: Vec<Vec<&str>> = listing
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let file = lines
        .iter()
        .find(|words| words.last() == Some(&"file.txt"))
        .expect("the file");
    assert!(
        file.len() == 9 && file[0].starts_with("-rw") && file[4] == "5",
        "{file:?}"
    );
    let dir = lines
        .iter()
        .find(|words| words.last() == Some(&"dir"))
        .expect("the directory");
    assert!(dir.len() == 9 && dir[0].starts_with('d'), "{dir:?}");
}

#[test]
fn list_and_nlst_take_ls_options_that_are_no_names() {
    let server = Server::start();
    fs::create_dir(server.root().join("d")).unwrap();
    server.put("d/inner", "x");
    server.put("top", "x");
    let mut client = server.login();
    for options in ["-a", "-l", "-la", "-1", "-al", "-L", "-a -l", "-F"] {
        let listing = client.receive(format!("LIST {options}"));
        assert!(
            contains(&listing, b"top"),
            "LIST {options}: {}",
            String::from_utf8_lossy(&listing)
        );
        let listing = client.receive(format!("LIST {options} d"));
        assert!(contains(&listing, b"inner"), "LIST {options} d");
        assert!(
            contains(&client.receive(format!("NLST {options} d")), b"inner"),
            "NLST {options} d"
        );
    }
}

#[test]
fn list_recursive_shows_what_lies_below() {
    let server = Server::start();
    fs::create_dir_all(server.root().join("a/b")).unwrap();
    server.put("a/b/deep", "x");
    let mut client = server.login();
    assert!(contains(&client.receive("LIST -R"), b"deep"));
}

#[test]
fn list_of_a_file_shows_that_file() {
    let server = Server::start();
    server.put("one", "1");
    server.put("two", "22");
    let listing = String::from_utf8(server.login().receive("LIST two")).unwrap();
    assert!(
        listing.contains("two") && !listing.contains("one") && listing.lines().count() == 1,
        "{listing}"
    );
}

#[test]
fn list_of_what_is_missing_is_refused() {
    let server = Server::start();
    let mut client = server.login();
    client.refused("LIST missing", &[450, 550]);
    client.refused("NLST missing", &[450, 550]);
}

#[test]
fn a_name_that_begins_with_a_dash_can_be_stored_and_retrieved() {
    let server = Server::start();
    let mut client = server.login();
    client.store("STOR -x", b"dash");
    assert_eq!(client.receive("RETR -x"), b"dash");
}

#[test]
fn names_with_spaces_are_taken_whole() {
    let server = Server::start();
    let mut client = server.login();
    client.store("STOR  a  b ", b"x");
    assert_eq!(client.names(), [" a  b "]);
}

#[test]
fn stat_of_a_path_lists_over_the_control_connection() {
    let server = Server::start();
    fs::create_dir(server.root().join("d")).unwrap();
    server.put("d/inner", "x");
    let mut client = server.login();
    for command in ["STAT d", "STAT -l d", "STAT d/inner"] {
        let reply = client.expect(command, &[211, 212, 213]);
        assert!(reply.all().contains("inner"), "{reply:?}");
    }
    client.expect("STAT missing", &[450, 550]);
}

#[test]
fn a_name_that_looks_like_a_reply_never_begins_a_line() {
    let server = Server::start();
    let mut client = server.login();
    let name = "227 Entering Passive Mode (10,0,0,1,0,22)";
    client.expect(format!("MKD {name}"), &[257]);
    client.expect(format!("CWD {name}"), &[250]);
    server.put(&format!("{name}/{name}"), "x");
    for command in [
        "PWD".into(),
        "STAT".into(),
        "STAT /".into(),
        "STAT .".into(),
        format!("STAT {name}"),
        "MLST".into(),
        format!("MLST {name}"),
    ] {
        // That a middle line is no reply of its own is checked by the client, too.
        let reply = client.expect(&command, &[211, 212, 213, 250, 257]);
        assert!(
            reply.lines.iter().all(|line| !line.starts_with(b"227")),
            "{command}: {reply:?}"
        );
    }
    client.expect("NOOP", &[200]);
}

#[test]
fn a_line_feed_in_a_name_on_disk_cannot_forge_a_reply() {
    let server = Server::start();
    server.put("a\n226 Done\r\n200 x", "x");
    server.put("plain", "x");
    let mut client = server.login();
    client.expect("STAT /", &[211, 212, 213]);
    client.expect("NOOP", &[200]);
    for command in ["LIST", "NLST", "MLSD"] {
        let listing = client.receive(command);
        let text = String::from_utf8_lossy(&listing);
        assert!(
            text.lines()
                .all(|line| !line.starts_with("226") && !line.starts_with("200")),
            "{command}: {text}"
        );
        assert!(text.contains("plain"));
    }
}
