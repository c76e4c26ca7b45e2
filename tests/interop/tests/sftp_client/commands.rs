//! Our commands with sftp:// URLs, as somebody with a home of their own starts them.

#[path = "../commands/user.rs"]
#[allow(dead_code, reason = "not all of it is needed here")]
mod user;

use std::fs;
use std::path::Path;

use pasarela_testkit::{assert_same_tree, make_tree};

use crate::sshd::{self, Sshd};
use user::User;

/// Somebody whose home has the key and the host key of a server.
fn somebody(server: &Sshd) -> User {
    let user = User::new();
    fs::create_dir(user.path(".ssh")).unwrap();
    fs::copy(server.identity(), user.path(".ssh/id_ed25519")).unwrap();
    fs::copy(server.known_hosts(), user.path(".ssh/known_hosts")).unwrap();
    user
}

/// A folder of the server.
fn url(server: &Sshd, path: &Path) -> String {
    format!("sftp://{}@{}{}", sshd::user(), server.address(), path.display())
}

#[test]
fn files_go_there_and_back() {
    let server = Sshd::start();
    let user = somebody(&server);
    let run = |arguments: &[&str]| {
        let mut command = user.pasarela(arguments);
        user::Run::of({
            command.env_remove("SSH_AUTH_SOCK");
            command
        })
    };
    let root = server.root();
    let there = url(&server, &root);
    fs::write(user.path("a file"), b"some content").unwrap();
    run(&["put", "-q", "a file", &format!("{there}/")]).ends(0);
    assert_eq!(fs::read(root.join("a file")).unwrap(), b"some content");
    assert_eq!(run(&["ls", &there]).ends(0), "a file\n");
    assert_eq!(
        run(&["cat", &format!("{there}/a%20file")]).ends(0),
        "some content"
    );
    run(&["get", "-q", &format!("{there}/a%20file"), "copy"]).ends(0);
    assert_eq!(user.read("copy"), "some content");
    run(&["mv", &format!("{there}/a%20file"), &format!("{there}/b")]).ends(0);
    run(&["mkdir", &format!("{there}/folder")]).ends(0);
    assert_eq!(run(&["ls", &there]).ends(0), "b\nfolder/\n");
    run(&["rm", "-r", &format!("{there}/b"), &format!("{there}/folder")]).ends(0);
    assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
    run(&["cat", &format!("{there}/none")]).ends(7);
}

#[test]
fn what_was_begun_is_gone_on_with() {
    let server = Sshd::start();
    let user = somebody(&server);
    let whole = pasarela_testkit::noise(5, 3_000_000);
    fs::write(user.path("whole"), &whole).unwrap();
    fs::write(server.root().join("up"), &whole[..1_000_000]).unwrap();
    fs::write(server.root().join("whole"), &whole).unwrap();
    let there = |name: &str| url(&server, &server.root().join(name));
    let moved = |said: &str| -> u64 {
        let events = said
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let moved = events.filter_map(|event| event["moved"].as_u64());
        moved.max().unwrap()
    };
    let said = user.run(["put", "-c", "--json", "whole", &there("up")]).ends(0);
    assert_eq!(moved(&said), 2_000_000, "{said}");
    assert!(fs::read(server.root().join("up")).unwrap() == whole);
    let said = user
        .run(["get", "-s", "3", "--json", &there("whole"), "down"])
        .ends(0);
    assert_eq!(moved(&said), 3_000_000, "{said}");
    assert!(fs::read(user.path("down")).unwrap() == whole);
}

#[test]
fn a_tree_is_made_the_same_both_ways() {
    let server = Sshd::start();
    let user = somebody(&server);
    let (from, back) = (user.path("from"), user.path("back"));
    fs::create_dir(&from).unwrap();
    make_tree(&from, 7, 60);
    let there = url(&server, &server.root().join("tree"));
    user.run(["sync", "-q", "from", &there]).ends(0);
    assert_same_tree(&from, &server.root().join("tree"));
    user.run(["sync", "-q", &there, "back"]).ends(0);
    assert_same_tree(&from, &back);
    // Nothing is left to do, and what is gone goes with --delete.
    let said = user.run(["sync", "-n", "from", &there]).ends(0);
    assert!(said.starts_with("0 files to copy"), "{said}");
    let first = pasarela_testkit::tree(&from).into_keys().next().unwrap();
    fs::remove_file(from.join(&first)).unwrap();
    user.run(["sync", "-q", "--delete", "from", &there]).ends(0);
    assert_same_tree(&from, &server.root().join("tree"));
}

#[test]
fn a_stranger_is_named_and_can_be_trusted() {
    let server = Sshd::start();
    let user = somebody(&server);
    fs::remove_file(user.path(".ssh/known_hosts")).unwrap();
    let there = url(&server, &server.root());
    let refused = user.run(["ls", &there]);
    assert!(refused.said.contains("pasarela trust add"), "{}", refused.said);
    let words: Vec<&str> = refused.said.split_whitespace().collect();
    let key = words
        .iter()
        .rev()
        .find(|word| word.starts_with("SHA256:"))
        .unwrap()
        .to_string();
    refused.ends(5);
    user.run(["ls", "--pin", &key, &there]).ends(0);
    user.run(["ls", &there]).ends(5);
    user.run(["trust", "add", &server.address().to_string(), &key])
        .ends(0);
    user.run(["ls", &there]).ends(0);
}
