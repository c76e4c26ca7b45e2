//! Saved places: a name for a server and a folder there, with its password.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use pasarela_testkit::{PASSWORD, Pasarela, Terminal, USER};

use crate::user::{Run, User, password_file, pin, url};

#[test]
fn a_place_is_saved_with_its_password_and_stands_for_its_folder() {
    let (server, user) = (Pasarela::start(&[]), User::new());
    fs::create_dir_all(server.file("www/deep")).unwrap();
    fs::write(server.file("www/deep/a"), "abc").unwrap();
    fs::write(server.file("top"), "top").unwrap();
    let (url, pin, file) = (url(&server, "www"), pin(&server), password_file(&user));
    let words = [
        "login",
        "site",
        &url,
        "--pin",
        &pin,
        "--password-file",
        file.to_str().unwrap(),
    ];
    let saved = user.run(words);
    assert!(
        saved.said.contains("passwords.toml") && saved.said.contains("not encrypted"),
        "{saved:?}"
    );
    saved.ends(0);

    let places = user.read("config/pasarela/places.toml");
    assert!(places.contains(&pin) && !places.contains(PASSWORD), "{places}");
    assert_eq!(user.mode("config/pasarela/places.toml"), 0o600);
    assert!(user.read("state/passwords.toml").contains(PASSWORD));
    assert_eq!(user.mode("state/passwords.toml"), 0o600);
    let listed = user.run(["login", "--list"]).ends(0);
    assert_eq!(listed, format!("site  {url}  (password: file)\n"));

    assert_eq!(user.run(["ls", "site:"]).ends(0), "deep/\n");
    assert_eq!(user.run(["cat", "site:deep/a"]).ends(0), "abc");
    assert_eq!(user.run(["cat", "site:/top"]).ends(0), "top");
    user.run(["put", file.to_str().unwrap(), "site:deep/"]).ends(0);
    assert!(server.file("www/deep/password").exists());
    user.run(["mv", "site:deep/a", "site:b"]).ends(0);
    user.run(["get", "site:b"]).ends(0);
    assert_eq!(user.read("b"), "abc");
    // Later flags go first.
    let wrong = "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    user.run(["ls", "--pin", wrong, "site:"]).ends(5);
    user.run(["sync", "site:", "copy"]).ends(0);
    assert_eq!(user.read("copy/b"), "abc");

    user.run(["login", "--remove", "site"]).ends(0);
    assert!(!user.read("state/passwords.toml").contains(PASSWORD));
    assert_eq!(user.run(["login", "--list"]).ends(0), "");
    user.run(["ls", "site:"]).ends(2);
    user.run(["login", "--remove", "site"]).ends(7);
}

#[test]
fn what_looks_like_a_place_is_a_file_where_it_is_one_and_never_made_by_a_slip() {
    let user = User::new();
    fs::write(user.path("12:30"), "x").unwrap();
    assert_eq!(user.run(["cat", "12:30"]).ends(0), "x");
    assert_eq!(user.run(["cat", "./12:30"]).ends(0), "x");
    let slip = user.run(["put", "12:30", "stie:x"]);
    assert!(slip.said.contains("pasarela login stie URL"), "{slip:?}");
    slip.ends(2);
    user.run(["put", "12:30", "./stie:x"]).ends(0);
    assert_eq!(user.read("stie:x"), "x");
}

#[test]
fn what_does_not_work_is_not_saved() {
    let (server, user) = (Pasarela::start(&[]), User::new());
    let (pin, file) = (pin(&server), password_file(&user));
    let file = file.to_str().unwrap();
    let nothere = url(&server, "nothere");
    user.run(["login", "x", &nothere, "--pin", &pin, "--password-file", file])
        .ends(7);
    let root = url(&server, "");
    user.run(["login", "x", &root, "--password-file", file]).ends(5);
    let mut wrong = user.pasarela(["login", "x", &root, "--pin", &pin]);
    wrong.env("PASARELA_PASSWORD", "wrong");
    Run::of(wrong).ends(4);
    user.run(["login", "no/name", &root, "--pin", &pin, "--password-file", file])
        .ends(2);
    user.run(["login", "here", &root, "--pin", &pin, "--password-file", file])
        .ends(2);
    assert_eq!(user.run(["login", "--list"]).ends(0), "");
    assert!(!user.path("state/passwords.toml").exists());
    user.run([
        "login",
        "x",
        &nothere,
        "--no-check",
        "--pin",
        &pin,
        "--password-file",
        file,
    ])
    .ends(0);
    user.run(["ls", "x:"]).ends(7);
}

#[test]
fn a_keyring_keeps_the_password_where_there_is_one() {
    let (server, user) = (Pasarela::start(&[]), User::new());
    // As secret-tool(1) would: attributes behind the verb, the password on standard input and output.
    let tool = "#!/bin/sh\nverb=$1; shift\n[ \"$verb\" = store ] && shift 2\nfile=\"$HOME/keyring\"\necho \"$*\" > \"$HOME/attributes\"\n\
         case $verb in\nstore) cat > \"$file\" ;;\nlookup) [ -e \"$file\" ] || exit 1; printf %s \"$(cat \"$file\")\" ;;\n\
         clear) rm -f \"$file\" ;;\nesac\n";
    fs::create_dir(user.path("bin")).unwrap();
    fs::write(user.path("bin/secret-tool"), tool).unwrap();
    fs::set_permissions(user.path("bin/secret-tool"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!(
        "{}:{}",
        user.path("bin").display(),
        std::env::var("PATH").unwrap()
    );
    let with_keyring = |mut command: Command| {
        command
            .env("PATH", &path)
            .env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere");
        Run::of(command)
    };
    let (url, pin, file) = (url(&server, ""), pin(&server), password_file(&user));
    let words = [
        "login",
        "site",
        &url,
        "--pin",
        &pin,
        "--password-file",
        file.to_str().unwrap(),
    ];
    let saved = with_keyring(user.pasarela(words));
    assert!(saved.said.contains("in the keyring"), "{saved:?}");
    saved.ends(0);
    assert_eq!(user.read("keyring"), PASSWORD);
    assert!(
        user.read("attributes")
            .starts_with("service pasarela login ftpes://")
    );
    assert!(!user.path("state/passwords.toml").exists());
    with_keyring(user.pasarela(["ls", "site:"])).ends(0);
    // Without it there is nobody to ask either.
    let without = user.run(["ls", "site:"]);
    assert!(without.said.contains("warning: the keyring"), "{without:?}");
    without.ends(2);
    with_keyring(user.pasarela(["login", "--remove", "site"])).ends(0);
    assert!(!user.path("keyring").exists());
}

#[test]
fn somebody_at_a_terminal_types_the_password_once() {
    let (server, user) = (Pasarela::start(&[]), User::new());
    let words = ["login", "site", &url(&server, ""), "--pin", &pin(&server)];
    let mut terminal = Terminal::start(&user.pasarela(words));
    terminal.expect(&format!("Password for ftpes://{USER}@"));
    terminal.type_line(PASSWORD);
    let (status, shown) = terminal.end();
    assert!(status.success() && !shown.contains(PASSWORD), "{shown}");
    assert!(shown.contains("saved: site: is ftpes://"), "{shown}");
    user.run(["ls", "site:"]).ends(0);

    // ^C at the question: nothing is saved, and the terminal shows what is typed again.
    let words = ["login", "other", &url(&server, ""), "--pin", &pin(&server)];
    let mut terminal = Terminal::start(&user.pasarela(words));
    terminal.expect("Password for ");
    terminal.type_keys("\x03");
    let (status, _) = terminal.end();
    assert_eq!(status.code(), Some(130));
    assert!(!user.run(["login", "--list"]).ends(0).contains("other"));
}

#[test]
fn a_password_that_no_name_uses_any_more_is_forgotten() {
    let (server, user) = (Pasarela::start(&["--user", "bob:other"]), User::new());
    let pin = pin(&server);
    let login = |name: &str, url: &str, password: &str| {
        let mut command = user.pasarela(["login", name, url, "--pin", &pin]);
        command.env("PASARELA_PASSWORD", password);
        Run::of(command).ends(0);
    };
    let maria = url(&server, "");
    let bob = maria.replace(USER, "bob");
    login("one", &maria, PASSWORD);
    login("two", &maria, PASSWORD);
    login("one", &bob, "other");
    assert!(
        user.read("state/passwords.toml").contains(PASSWORD),
        "another name has it"
    );
    login("two", &bob, "other");
    assert!(!user.read("state/passwords.toml").contains(PASSWORD));
    user.run(["login", "--remove", "one"]).ends(0);
    user.run(["ls", "two:"]).ends(0);
    // Refused: what to do is said.
    fs::write(
        user.path("state/passwords.toml"),
        user.read("state/passwords.toml").replace("other", "older"),
    )
    .unwrap();
    let refused = user.run(["ls", "two:"]);
    assert!(refused.said.contains("pasarela login NAME"), "{refused:?}");
    refused.ends(4);
}
