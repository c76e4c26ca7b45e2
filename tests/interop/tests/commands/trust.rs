//! Known servers: shown, believed and forgotten by a command, and by an answer at the first meeting.

use pasarela_testkit::{PASSWORD, Pasarela, Terminal, USER};

use crate::user::{User, password_file, pin, url};

#[test]
fn a_key_is_believed_by_a_command_and_its_server_is_forgotten_by_another() {
    let (server, user) = (Pasarela::start(&[]), User::new());
    let (url, pin, file) = (url(&server, ""), pin(&server), password_file(&user));
    let address = server.control().to_string();
    let list = ["ls", &url, "--password-file", file.to_str().unwrap()];
    let refused = user.run(list);
    assert!(refused.said.contains("pasarela trust add"), "{refused:?}");
    refused.ends(5);
    assert_eq!(user.run(["trust", "list"]).ends(0), "");
    user.run(["trust", "show", &address]).ends(7);

    user.run(["trust", "add", &address, &pin]).ends(0);
    user.run(list).ends(0);
    let shown = user.run(["trust", "show", "127.0.0.1"]).ends(0);
    assert!(shown.starts_with(&address) && shown.contains(&pin), "{shown}");
    let shown = user.run(["trust", "list", "--json"]).ends(0);
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((&shown["key"], &shown["had_tls"]), (&pin.into(), &true.into()));

    user.run(["trust", "add", &url, &format!("sha256//{}=", "A".repeat(43))])
        .ends(0);
    let changed = user.run(list);
    assert!(changed.said.contains("another key than before"), "{changed:?}");
    assert!(
        changed.said.contains(&format!("pasarela trust remove {address}")),
        "{changed:?}"
    );
    changed.ends(5);
    user.run(["trust", "remove", &address]).ends(0);
    user.run(["trust", "remove", &address]).ends(7);
    user.run(["trust", "add", &address, "sha256//AAAA"]).ends(2);
    user.run([
        "ls",
        &url,
        "--accept-new",
        "--password-file",
        file.to_str().unwrap(),
    ])
    .ends(0);
    user.run(list).ends(0);
}

/// The server's certificate is shown and asked about; the answer, and what became of it.
fn answered(user: &User, server: &Pasarela, answer: &str) -> (Option<i32>, String) {
    let mut command = user.pasarela(["ls", &url(server, "")]);
    command.env("PASARELA_PASSWORD", PASSWORD);
    let mut terminal = Terminal::start(&command);
    let question = terminal.expect("no [no]: ");
    for fact in [
        "has not been seen before",
        "subject      CN=",
        "issuer ",
        "(itself)",
        "valid ",
        "certificate ",
        &pin(server),
    ] {
        assert!(question.contains(fact), "{fact}: {question}");
    }
    terminal.type_line(answer);
    let (status, shown) = terminal.end();
    (status.code(), shown)
}

#[test]
fn a_stranger_is_asked_about_where_somebody_can_answer() {
    let (server, user) = (Pasarela::start(&[]), User::new());
    std::fs::write(server.file("there"), "").unwrap();
    let (code, shown) = answered(&user, &server, "");
    assert_eq!(code, Some(5), "{shown}");
    assert!(
        !server.log().contains(&format!("user={USER}")),
        "a password went to a stranger"
    );
    assert_eq!(user.run(["trust", "list"]).ends(0), "");

    let (code, shown) = answered(&user, &server, "once");
    assert!(code == Some(0) && shown.contains("there"), "{code:?} {shown}");
    // That it had TLS is remembered, its key is not.
    assert!(user.run(["trust", "list"]).ends(0).contains("had TLS"));

    let (code, shown) = answered(&user, &server, "yes");
    assert!(code == Some(0) && shown.contains("there"), "{code:?} {shown}");
    assert!(user.run(["trust", "list"]).ends(0).contains(&pin(&server)));
    let file = password_file(&user);
    user.run(["ls", &url(&server, ""), "--password-file", file.to_str().unwrap()])
        .ends(0);
}
