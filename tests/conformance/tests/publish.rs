//! The publish promise: a 226 means the whole file under its name; until then nobody sees it, and the old one stays.

// Helpers of tests fail by panicking, too.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::{self, File};
use std::process::Command;

use pasarela_conformance::{Client, Server, Setup, Version, eventually, noise};

fn size(client: &mut Client, name: &str) -> usize {
    client
        .expect(format!("SIZE {name}"), &[213])
        .text()
        .parse()
        .expect("a number")
}

/// Waits for the server to have noticed that an upload of `name` is over: its part can then be resumed.
fn part(server: &Server, name: &str) -> usize {
    let mut client = server.login();
    let mut length = 0;
    eventually("a part that can be resumed", || {
        client.send(format!("SIZE {name}"));
        let reply = client.reply();
        length = if reply.code == 213 {
            reply.text().parse().expect("a number")
        } else {
            0
        };
        length > 0
    });
    length
}

fn assert_unseen(server: &Server, name: &str) {
    let mut other = server.login();
    assert!(!other.names().contains(&name.to_owned()), "{name} is listed");
    assert!(
        !String::from_utf8_lossy(&other.receive("LIST -a")).contains(name),
        "{name} is in LIST -a"
    );
    other.refused(format!("RETR {name}"), &[450, 550]);
    assert_eq!(server.file(name), None);
}

fn assert_resumes(server: &Server, name: &str, whole: &[u8]) {
    let length = part(server, name);
    assert!(length <= whole.len());
    assert_unseen(server, name);
    let mut client = server.login();
    client.expect(format!("REST {length}"), &[350]);
    client.store(format!("STOR {name}"), &whole[length..]);
    assert!(client.receive(format!("RETR {name}")) == whole);
    assert_eq!(client.names(), [name], "the part is gone");
}

#[test]
fn a_new_file_is_invisible_until_its_226() {
    let server = Server::start();
    let mut client = server.login();
    let mut data = client.begin("STOR new");
    data.write(&noise(1, 200_000));
    assert_unseen(&server, "new");
    data.finish();
    client.next(&[226]);
    assert_eq!(client.names(), ["new"]);
    assert!(client.receive("RETR new") == noise(1, 200_000));
}

#[test]
fn an_old_file_is_whole_while_it_is_replaced() {
    let server = Server::start();
    server.put("old", "the old content");
    let mut client = server.login();
    let mut data = client.begin("STOR old");
    data.write(&noise(1, 200_000));
    assert_eq!(server.login().receive("RETR old"), b"the old content");
    data.finish();
    client.next(&[226]);
    assert!(server.login().receive("RETR old") == noise(1, 200_000));
}

#[test]
fn an_upload_reset_by_the_client_gets_426_and_its_part_is_resumed() {
    let server = Server::start();
    let whole = noise(1, 1_000_000);
    let mut client = server.login();
    let mut data = client.begin("STOR new");
    data.write(&whole[..600_000]);
    data.taken();
    data.reset();
    client.next(&[426]);
    client.expect("NOOP", &[200]);
    assert_resumes(&server, "new", &whole);
}

#[test]
fn an_upload_whose_client_dies_is_not_published_and_is_resumed() {
    let server = Server::start();
    let whole = noise(2, 1_000_000);
    let mut client = server.login();
    let mut data = client.begin("STOR new");
    data.write(&whole[..400_000]);
    // As a killed process does: all its sockets close, the oldest first.
    data.taken();
    client.hang_up();
    data.cut();
    assert_resumes(&server, "new", &whole);
}

#[test]
fn quit_behind_an_upload_does_not_publish_what_a_client_leaves_behind() {
    let server = Server::start();
    server.put("f", "the old content");
    let mut client = server.login();
    let mut data = client.begin("STOR f");
    data.write(&noise(8, 100_000));
    data.taken();
    client.send("QUIT");
    client.hang_up();
    data.cut();
    eventually("the end of the transfer", || {
        server.log().contains("transfer failed")
    });
    assert_eq!(server.file("f"), Some(b"the old content".to_vec()));
}

#[test]
fn a_part_is_continued_by_appe() {
    let server = Server::start();
    let whole = noise(3, 500_000);
    let mut client = server.login();
    let mut data = client.begin("STOR new");
    data.write(&whole[..300_000]);
    data.taken();
    client.hang_up();
    data.cut();
    let length = part(&server, "new");
    let mut client = server.login();
    client.store("APPE new", &whole[length..]);
    assert!(client.receive("RETR new") == whole);
}

#[test]
fn a_part_is_given_up_by_a_plain_stor_and_by_dele() {
    let server = Server::start();
    for again in ["STOR", "DELE"] {
        let mut client = server.login();
        let mut data = client.begin("STOR new");
        data.write(&noise(4, 300_000));
        data.taken();
        client.hang_up();
        data.cut();
        part(&server, "new");
        let mut client = server.login();
        if again == "STOR" {
            client.store("STOR new", b"short");
            assert_eq!(client.receive("RETR new"), b"short");
            client.expect("DELE new", &[250]);
        } else {
            client.expect("DELE new", &[250]);
        }
        client.expect("SIZE new", &[550]);
        assert!(client.names().is_empty());
    }
}

#[test]
fn an_aborted_upload_leaves_a_part_that_is_resumed() {
    let server = Server::start();
    let whole = noise(5, 700_000);
    let mut client = server.login();
    let mut data = client.begin("STOR new");
    data.write(&whole[..500_000]);
    data.taken();
    client.send("ABOR");
    client.next(&[426]);
    client.next(&[225, 226]);
    drop(data);
    assert_resumes(&server, "new", &whole);
}

#[test]
fn rest_past_the_part_gets_554() {
    let server = Server::start();
    let mut client = server.login();
    let mut data = client.begin("STOR new");
    data.write(&noise(6, 600_000));
    data.taken();
    client.hang_up();
    data.cut();
    let length = part(&server, "new");
    let mut client = server.login();
    client.expect(format!("REST {}", length + 1), &[350]);
    client.refused("STOR new", &[554]);
}

#[test]
fn an_old_file_survives_every_way_of_being_cut() {
    let server = Setup::new().tls("optional").start();
    server.put("old", "the old content");
    for way in ["reset", "die", "abort", "truncate"] {
        for command in ["STOR old", "APPE old", "REST 5"] {
            let mut client = if way == "truncate" {
                server.login_tls(Version::Tls13)
            } else {
                server.login()
            };
            let command = if command.starts_with("REST") {
                client.expect("REST 5", &[350]);
                // EPSV comes between; RFC 959 has REST immediately before, everybody does this.
                "STOR old"
            } else {
                command
            };
            let mut data = client.begin(command);
            data.write(&noise(1, 100_000));
            match way {
                "reset" => {
                    data.reset();
                    client.next(&[426]);
                }
                "abort" => {
                    client.send("ABOR");
                    client.next(&[426]);
                    client.next(&[225, 226]);
                }
                "truncate" => {
                    data.cut();
                    client.next(&[426]);
                }
                _ => {
                    data.taken();
                    client.hang_up();
                    data.cut();
                }
            }
            assert_eq!(
                server.file("old").as_deref(),
                Some(&b"the old content"[..]),
                "{command}, {way}"
            );
        }
    }
    let mut client = server.login();
    eventually("only the old content", || {
        client.receive("RETR old") == b"the old content"
    });
    assert_eq!(size(&mut client, "old"), 15);
}

#[test]
fn kill_9_of_the_server_leaves_the_old_file_whole_and_no_name_blocked() {
    let mut server = Server::start();
    server.put("old", "the old content");
    let whole = noise(7, 1_000_000);
    let (mut one, mut two) = (server.login(), server.login());
    let mut replacing = one.begin("STOR old");
    replacing.write(&noise(8, 300_000));
    let mut adding = two.begin("STOR new");
    adding.write(&whole[..500_000]);
    replacing.taken();
    adding.taken();
    server.restart();
    assert_eq!(server.file("old").as_deref(), Some(&b"the old content"[..]));
    assert_unseen(&server, "new");
    let mut client = server.login();
    // A part may have survived; then it is resumed.
    let length = if client.expect("SIZE new", &[213, 550]).code == 213 {
        size(&mut client, "new")
    } else {
        0
    };
    client.expect(format!("REST {length}"), &[350]);
    client.store("STOR new", &whole[length..]);
    assert!(client.receive("RETR new") == whole);
    client.store("STOR old", b"the next content");
    assert_eq!(
        client.receive("RETR old"),
        b"the next content",
        "the name is not blocked"
    );
    assert_eq!(client.names(), ["new", "old"]);
}

#[test]
fn of_two_uploads_to_one_name_each_is_whole_and_the_last_wins() {
    let server = Server::start();
    for round in 0..10 {
        let contents = [noise(round, 500_000), noise(round + 100, 400_000)];
        let (mut one, mut two) = (server.login(), server.login());
        let (mut first, mut second) = (one.begin("STOR f"), two.begin("STOR f"));
        for piece in 0..4 {
            first.write(&contents[0][piece * 125_000..][..125_000]);
            second.write(&contents[1][piece * 100_000..][..100_000]);
        }
        first.finish();
        one.next(&[226]);
        assert!(
            server.file("f").unwrap() == contents[0],
            "round {round}: whole after the first 226"
        );
        second.finish();
        two.next(&[226]);
        assert!(
            server.file("f").unwrap() == contents[1],
            "round {round}: whole after the second 226"
        );
    }
    assert_eq!(server.login().names(), ["f"]);
}

#[test]
fn a_file_that_shrinks_while_it_is_sent_gets_451_and_no_226() {
    let server = Server::start();
    server.put("f", vec![7; 32 << 20]);
    let mut client = server.login();
    let mut data = client.begin("RETR f");
    data.read_exact(1000);
    File::options()
        .write(true)
        .open(server.root().join("f"))
        .unwrap()
        .set_len(1000)
        .unwrap();
    let (bytes, _) = data.remains();
    assert!(bytes.len() < 32 << 20);
    client.next(&[451]);
    client.expect("NOOP", &[200]);
}

/// Runs the server on a file system of 8 MiB, in a mount namespace of its own.
fn small_disk() -> Option<Server> {
    let may = Command::new("unshare")
        .args(["-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"])
        .output();
    if !may.is_ok_and(|output| output.status.success()) {
        eprintln!("not run: a mount namespace needs root");
        return None;
    }
    let script = "mount -t tmpfs -o size=8m tmpfs {root} && exec \"$0\" \"$@\"";
    Some(
        Setup::new()
            .wrapper(&["unshare", "-m", "sh", "-c", script])
            .start(),
    )
}

fn overfill(client: &mut Client, name: &str) {
    let mut data = client.begin(format!("STOR {name}"));
    // The server stops reading when the disk is full.
    let _ = data.try_write(&noise(1, 16 << 20));
    data.cut_quietly();
    client.next(&[452]);
    client.expect("NOOP", &[200]);
}

#[test]
fn a_full_disk_gets_452_and_the_old_file_and_the_space_stay() {
    let Some(server) = small_disk() else { return };
    let mut client = server.login();
    client.store("STOR old", b"the old content");
    overfill(&mut client, "old");
    assert_eq!(client.receive("RETR old"), b"the old content");
    client.store("STOR more", &noise(2, 6 << 20));
    assert_eq!(client.names(), ["more", "old"]);
}

#[test]
fn a_new_file_that_fills_the_disk_gives_its_space_back() {
    let Some(server) = small_disk() else { return };
    let mut client = server.login();
    overfill(&mut client, "new");
    assert!(client.names().is_empty());
    client.store("STOR more", &noise(2, 6 << 20));
}

/// One traced call: the lines of the trace at which it began and ended, and its text.
struct Call {
    began: usize,
    ended: usize,
    text: String,
}

fn calls(trace: &str) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    let mut open: Vec<(String, usize)> = Vec::new();
    for (at, line) in trace.lines().enumerate() {
        let Some((process, text)) = line.split_once(' ') else {
            continue;
        };
        // Numbers are padded to the width of the longest.
        let text = text.trim_start();
        if text.contains("<unfinished ...>") {
            open.push((process.to_owned(), calls.len()));
            calls.push(Call {
                began: at,
                ended: usize::MAX,
                text: text.to_owned(),
            });
        } else if text.contains(" resumed>") {
            if let Some(index) = open.iter().position(|(other, _)| other == process) {
                calls[open.remove(index).1].ended = at;
            }
        } else {
            calls.push(Call {
                began: at,
                ended: at,
                text: text.to_owned(),
            });
        }
    }
    calls
}

#[test]
fn before_226_come_fsync_of_the_file_then_its_rename_then_fsync_of_the_directory() {
    if Command::new("strace")
        .args(["-D", "-o", "/dev/null", "true"])
        .status()
        .is_ok_and(|status| status.success())
    {
        let filter =
            "trace=fsync,fdatasync,link,linkat,rename,renameat,renameat2,write,writev,sendto,sendmsg";
        // -D makes the server, not the tracer, the process that is started and killed here.
        let words = [
            "strace",
            "-D",
            "-f",
            "-y",
            "-s",
            "64",
            "-e",
            filter,
            "-o",
            "{state}/trace",
        ];
        let server = Setup::new().durability("safe").wrapper(&words).start();
        let mut client = server.login();
        client.store("STOR promise", &noise(1, 100_000));
        let trace = || fs::read_to_string(server.state().join("trace")).unwrap_or_default();
        eventually("the 226 in the trace", || {
            calls(&trace()).iter().any(|call| call.text.contains("\"226"))
        });
        let (trace, root) = (trace(), server.root());
        let calls = calls(&trace);
        let find = |what: &str, test: &dyn Fn(&Call) -> bool| {
            calls
                .iter()
                .find(|call| test(call))
                .unwrap_or_else(|| panic!("no {what} in\n{trace}"))
        };
        let told = find("226", &|call| call.text.contains("\"226"));
        let named = find("rename", &|call| {
            (call.text.starts_with("rename") || call.text.starts_with("link"))
                && call.text.contains("promise\"")
        });
        let synced = |call: &Call| call.text.starts_with("fsync(") || call.text.starts_with("fdatasync(");
        let directory = format!("<{}>", root.display());
        find("fsync of the file before the rename", &|call| {
            synced(call) && !call.text.contains(&directory) && call.ended < named.began
        });
        find("fsync of the directory between the rename and the 226", &|call| {
            synced(call)
                && call.text.contains(&directory)
                && call.began > named.ended
                && call.ended < told.began
        });
    } else {
        eprintln!("not run: strace is missing or may not trace");
    }
}
